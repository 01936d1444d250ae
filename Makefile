# triggerdo: build, install, test.
#
#   make, make install    build and install, as with any PGXS extension
#   make setup            install what is needed to build and test (Debian)
#   make check [T=name]   all tests, or one of them, on throw-away servers
#   make check-more       what goes beyond it: PostgreSQL 17 and 18, sanitizers,
#                         valgrind, assertions (root); docs/TESTING.md
#   make check-majors, check-asan, check-valgrind, check-cassert
#                         its parts, in their longer forms
#   make chaos            the ledger of kills in its long form
#   make demo, bench      the example, also with KILL=1; the figures
#   make deb [DEB=dir]    a Debian package, into the directory above this one or DEB
#   make lint, indent     the house rules; the house layout
#
# Only make and git are needed to begin: all but the first call scripts/setup.

EXTENSION  = triggerdo
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" triggerdo.control)
MODULE_big = triggerdo

# Lowest layer first; scripts/lint knows the same layers.
OBJS = \
	src/clock.o src/fault.o src/json.o src/pattern_ecma.o src/pattern.o src/schema_values.o src/schema_refs.o src/schema_parts.o src/schema_keywords.o src/schema_compile.o src/schema_rules.o src/schema_check.o \
	src/retry.o src/failure.o \
	src/guc.o src/shmem.o src/crash.o src/slot.o src/stop.o src/txn.o src/bgw.o src/wake.o \
	src/store.o src/origin.o src/grant.o src/rows.o src/child.o src/status.o src/filter.o src/task.o src/definition.o src/payload.o src/change.o src/ready.o src/hook.o src/hook_rows.o src/quota.o src/idempotency.o src/transition.o src/history.o \
	src/session.o src/execute.o src/toplevel.o src/hook_run.o src/attempt.o src/durable.o src/watch.o src/batch.o src/executor.o src/scheduler.o src/launcher.o \
	src/utility.o \
	src/api_task.o src/api_grant.o src/api_trigger.o src/api_idempotency.o src/api_change.o src/api_run.o src/api_cancel.o src/api_control.o src/api_pause.o src/api_view.o src/api_state.o src/api_admin.o \
	src/triggerdo.o

# The install script is these parts, in this order.
SQL_PARTS = \
	sql/00_header.sql \
	sql/10_types.sql \
	sql/20_tables.sql \
	sql/25_dump.sql \
	sql/30_tables_0_2_0.sql \
	sql/40_task.sql \
	sql/42_grant.sql \
	sql/45_trigger.sql \
	sql/46_change.sql \
	sql/50_run.sql \
	sql/55_control.sql \
	sql/81_pause.sql \
	sql/82_history.sql \
	sql/85_maintenance.sql \
	sql/90_views.sql \
	sql/95_comments.sql \
	sql/99_start.sql

# An update runs the tables that the versions between brought, and all that can be run again.
UPDATE_FROM_0_1_0 = sql/30_tables_0_2_0.sql $(filter-out sql/0% sql/1% sql/2% sql/3%,$(SQL_PARTS))

DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql sql/$(EXTENSION)--0.1.0--$(EXTVERSION).sql

# The tests, in their order. The first one creates the extension, and so runs
# before any other that is asked for by name.
REGRESS   = install task retry trigger execution procedure command session run_now wait cancel_run control views clock grants access hostile keep hooks idempotency history plans payload_schema on_change
ISOLATION = claim claim-batch run-now run-now-claim cancel cancel-executing enqueue define-task first-of-day wait-for-run wait-for-none control-races idempotency-callers idempotency-free on-change grant-race hooks-cancel

PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wmissing-prototypes $(if $(WERROR),-Werror)

# patterns of payload schemas: src/pattern.c
SHLIB_LINK = -lpcre2-8

# ---------------------------------------------------------------------------
# The targets of the house. They run on a machine without PostgreSQL, so they
# must not need PGXS to be read; and PGXS has a "check" of its own. Hence: when
# one of them is asked for, PGXS stays out, and other goals named beside it are
# given to a second make.

HOUSE = setup check check-more check-majors check-asan check-valgrind check-cassert chaos demo bench deb lint indent

ifneq (,$(filter $(HOUSE) print-%,$(MAKECMDGOALS)))

.PHONY: $(HOUSE)

# T=name runs one test; KEEP=dir keeps the results
export T KEEP
# the ledger of kills and the demo: see the top of test/chaos/run, and of
# examples/debian-archive/run; EXAMPLE=name runs another
export KILLS RUNS SEED CLIENTS QUIET KILL

setup:
	@scripts/setup
lint indent: setup
check:
	@scripts/check
check-more:
	@scripts/check-more
check-majors:
	@scripts/check-majors
check-asan:
	@scripts/check-majors 17 --under asan
check-valgrind:
	@scripts/check-cassert --under valgrind T="$(or $(T),regress isolation)" --limit 7200
check-cassert:
	@scripts/check-cassert
chaos:
	@test/chaos/run
demo:
	@scripts/demo $(EXAMPLE)
bench:
	@scripts/bench
deb:
	@scripts/deb $(DEB)
lint:
	@scripts/lint
indent:
	@scripts/indent

# for scripts: the value of a variable
print-%:
	@echo $($*)

OTHER = $(filter-out $(HOUSE) print-%,$(MAKECMDGOALS))
.PHONY: $(OTHER)
$(OTHER): $(filter setup,$(MAKECMDGOALS))
	@$(MAKE) --no-print-directory $@

else

# Debian's pg_config may be off the PATH.
PG_CONFIG ?= $(firstword $(shell command -v pg_config 2>/dev/null) \
	$(wildcard /usr/lib/postgresql/*/bin/pg_config) pg_config)
# (pg_config alone, of libpq-dev, names a PGXS that is not there)
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))

ifneq (,$(PGXS))

# Plain "make installcheck" works too, where triggerdo is installed.
REGRESS_OPTS   = --inputdir=test/regress --temp-instance=./tmp_regress --temp-config=test/triggerdo.conf
ISOLATION_OPTS = --inputdir=test/isolation --temp-instance=./tmp_isolation --temp-config=test/triggerdo.conf
EXTRA_CLEAN    = tmp_regress tmp_isolation results output_iso log

include $(PGXS)

# Headers are few and small: any change rebuilds all.
$(OBJS): $(wildcard src/*.h)

else

.DEFAULT_GOAL := all
.PHONY: all install clean
all install:
	@echo "The PostgreSQL server headers (PGXS) are missing: run \"make setup\" first." >&2; exit 1
clean:
	rm -f $(EXTENSION).so $(OBJS) $(OBJS:.o=.bc) $(DATA_built)

endif

sql/$(EXTENSION)--$(EXTVERSION).sql: $(SQL_PARTS) $(EXTENSION).control Makefile
	@cat $(SQL_PARTS) >$@.tmp && mv $@.tmp $@

# (the install script's guard is in its first part)
sql/$(EXTENSION)--0.1.0--$(EXTVERSION).sql: $(UPDATE_FROM_0_1_0) $(EXTENSION).control Makefile
	@{ printf '%s\n' '\echo Use "ALTER EXTENSION $(EXTENSION) UPDATE" to load this file. \quit'; \
		cat $(UPDATE_FROM_0_1_0); } >$@.tmp && mv $@.tmp $@

endif
