# Each run begins in a fresh session: what the run before it left behind in the
# same process is not there, whether they share a transaction or not.
#
# Red without: tdo_session_between_runs(), tdo_session_reset(),
# tdo_session_must_end_batch() and tdo_session_drop_temp() (src/session.c);
# NewGUCNestLevel() in tdo_execute() (src/execute.c); grown_too_big()
# (src/executor.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('fresh', conf => 'triggerdo.executors = 1
	triggerdo.batch_time = 2s
	triggerdo.max_executors_per_role = 1');
setup_app($node);
$node->safe_psql('postgres', 'CREATE ROLE other; GRANT other TO app');
app($node, q{
	CREATE SEQUENCE app.s;
	CREATE TABLE app.gate (open bool);
	CREATE TABLE app.p (x int PRIMARY KEY DEFERRABLE);
	CREATE FUNCTION app.look() RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE lastval text := 'none';
	BEGIN
		BEGIN lastval := pg_catalog.lastval()::text; EXCEPTION WHEN OTHERS THEN NULL; END;
		RETURN jsonb_build_object(
			'user', current_user, 'session', session_user, 'role', current_setting('role'),
			'path', current_setting('search_path'), 'timezone', current_setting('timezone'),
			'work_mem', current_setting('work_mem'), 'custom', coalesce(nullif(current_setting('my.own', true), ''), 'none'),
			'seqscan', current_setting('enable_seqscan'), 'datestyle', current_setting('datestyle'),
			'app', current_setting('application_name'),
			'temp', (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
			'prepared', (SELECT count(*) FROM pg_prepared_statements),
			'cursors', (SELECT count(*) FROM pg_cursors WHERE name <> '' AND name !~ '^<unnamed'),
			'locks', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
			'isolation', current_setting('transaction_isolation'), 'read_only', current_setting('transaction_read_only'),
			'lastval', lastval, 'listening', (SELECT count(*) FROM pg_listening_channels()),
			'current_run', (SELECT count(*) FROM triggerdo.current_run()));
	END $$});
plpgsql_task($node, 'look', q{payload := app.look() || jsonb_build_object('pid', pg_backend_pid(), 'xid', pg_current_xact_id()::text);});
plpgsql_task($node, 'hold', q{WHILE NOT EXISTS (SELECT FROM app.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;});

my %dirt = (
	'set' => q{SET work_mem = '99MB'; SET timezone = 'Asia/Tokyo'; SET enable_seqscan = off; SET datestyle = 'German'; SET application_name = 'mine'; SET my.own = 'x';},
	'set-local' => q{SET LOCAL work_mem = '98MB';},
	'set-config' => q{PERFORM set_config('my.own', 'y', false), set_config('search_path', 'nowhere', false);},
	'role' => q{SET ROLE other;},
	'temp' => q{CREATE TEMP TABLE t (x int); INSERT INTO t VALUES (1);},
	'temp-drop' => q{CREATE TEMP TABLE t (x int) ON COMMIT DROP;},
	'prepare' => q{EXECUTE 'PREPARE p AS SELECT 1';},
	'cursor' => q{EXECUTE 'DECLARE c CURSOR FOR SELECT 1';},
	'cursor-hold' => q{EXECUTE 'DECLARE h CURSOR WITH HOLD FOR SELECT 1';},
	'advisory' => q{PERFORM pg_advisory_lock(4711), pg_advisory_lock_shared(4712);},
	'advisory-xact' => q{PERFORM pg_advisory_xact_lock(4713);},
	'sequence' => q{PERFORM nextval('app.s');},
	'constraints' => q{SET CONSTRAINTS ALL DEFERRED;},
	'nested-error' => q{SET my.own = 'z'; BEGIN SET my.own = 'w'; RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END;},
	'fails' => q{SET my.own = 'f'; SET ROLE other; CREATE TEMP TABLE tf (x int); PERFORM pg_advisory_lock(4714); RAISE 'on purpose';},
);

# what a run finds when nobody was there before
my $clean = app($node, q{SELECT triggerdo.run_result(triggerdo.trigger_task('look')) IS NULL});
all_final($node);
my $fresh = app($node, q{SELECT output - 'pid' - 'xid' FROM triggerdo.runs WHERE task = 'look'});

# known to be short, so that the runs share transactions
plpgsql_task($node, "dirt-$_", $dirt{$_}) foreach sort keys %dirt;
app($node, "SELECT triggerdo.trigger_task('dirt-$_')") foreach sort keys %dirt;
all_final($node);

foreach my $name (sort keys %dirt)
{
	# enqueued together while the executor is held: one batch
	app($node, 'TRUNCATE app.gate');
	app($node, q{SELECT triggerdo.trigger_task('hold')});
	my $ids = app($node, qq{
		SELECT string_agg(id::text, ' ') FROM (
			SELECT triggerdo.trigger_task(CASE WHEN i % 2 = 1 THEN 'dirt-$name' ELSE 'look' END, jsonb_build_object('i', i)) AS id
			  FROM generate_series(1, 6) i) x});
	app($node, 'INSERT INTO app.gate VALUES (true)');
	all_final($node);
	my $list = join ',', map { "'$_'" } split / /, $ids;
	is( app($node, "SELECT DISTINCT output - 'pid' - 'xid' FROM triggerdo.runs WHERE task = 'look' AND run_id IN ($list)"),
		$fresh, "F27: nothing is left of \"$name\"");
	like(app($node, "SELECT string_agg(DISTINCT status::text, ' ') FROM triggerdo.runs WHERE task <> 'look' AND run_id IN ($list)"),
		$name eq 'fails' ? qr/^FAILED$/ : qr/^COMPLETED$/, "\"$name\" could be done again and again");
}
cmp_ok(app($node, q{SELECT count(DISTINCT output -> 'pid') FROM triggerdo.runs WHERE task = 'look'}), '<=', 3,
	'all of it in the same process, or nearly');
cmp_ok(app($node, q{SELECT count(DISTINCT output -> 'xid') FROM triggerdo.runs WHERE task = 'look'}), '<',
	app($node, q{SELECT count(*) FROM triggerdo.runs WHERE task = 'look'}), 'and some of it in one transaction');

# ------------------------------------------------------------------------ memory

# cached plans of ever new statements are never given back: the process is
reload_with($node, q{triggerdo.executor_memory = '16MB'});
plpgsql_task($node, 'hog', q{
	FOR i IN 1 .. 300 LOOP
		EXECUTE format('CREATE OR REPLACE FUNCTION app.hog_%s() RETURNS int LANGUAGE plpgsql AS $f$ DECLARE x int; BEGIN %s RETURN 1; END $f$',
			payload ->> 'i', repeat('x := 1 + ' || i || '; ', 60));
		EXECUTE format('SELECT app.hog_%s()', payload ->> 'i');
	END LOOP;
	payload := to_jsonb(pg_backend_pid());}, define => q{options => '{"isolate": true}'});
app($node, q{SELECT count(triggerdo.trigger_task('hog', jsonb_build_object('i', i))) FROM generate_series(1, 40) i});
all_final($node);
cmp_ok(app($node, q{SELECT count(DISTINCT output #>> '{}') FROM triggerdo.runs WHERE task = 'hog'}), '>', 1,
	'an executor that has grown too big is replaced');
is(app($node, q{SELECT DISTINCT status FROM triggerdo.runs WHERE task = 'hog'}), 'COMPLETED', 'and no run suffers');

invariants_ok($node, 'at the end');
$node->stop;
done_testing();
