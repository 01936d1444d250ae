# What scripts/check-deb does in a clean Debian, as root of a chroot; /tdo has the packages.
# Prints "  ok      NAME" or "  FAILED  NAME" for each test, and "end" at the end.
#
# Red without: shlibs and postgresql:Depends (debian/control.in); the update script, the
# control file (DATA_built, EXTENSION in Makefile); what README.Debian says, which is done here.
# shellcheck shell=bash

set -u
cluster=(15 main)
extension=/usr/share/postgresql/15/extension

check()
{
	local name=$1 said
	shift
	if said=$("$@" 2>&1); then
		printf '  ok      %s\n' "$name"
	else
		printf '  FAILED  %s\n' "$name"
		printf '%s\n' "$said" | tail -n 40 | sed 's/^/    /'
	fi
}

# is WANTED COMMAND...
is()
{
	local wanted=$1 got
	shift
	got=$("$@" 2>&1)
	[ "$got" = "$wanted" ] || { printf 'got:    %s\nwanted: %s\n' "$got" "$wanted"; return 1; }
}

says()
{
	local wanted=$1 got
	shift
	got=$("$@" 2>&1)
	[[ $got == *"$wanted"* ]] || { printf 'got:    %s\nwanted: ...%s...\n' "$got" "$wanted"; return 1; }
}

# from what the chroot has already
apt()
{
	apt-get -q -y -o Dir::Cache::archives=/debs -o Dpkg::Use-Pty=0 --no-install-recommends "$@" </dev/null
}

sql()
{
	local database=$1
	shift
	(cd / && setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtq -v ON_ERROR_STOP=1 -d "$database" "$@")
}

# until DATABASE CONDITION
until_true()
{
	local i
	for ((i = 0; i < 600; i++)); do
		[ "$(sql "$1" -c "SELECT $2" 2>&1)" != t ] || return 0
		sleep 0.1
	done
	sql "$1" -c "SELECT $2"
	sql "$1" -c 'SELECT * FROM triggerdo.workers'
	return 1
}

ours()
{
	find / -xdev \( -path /tdo -o -path /debs -o -path /proc -o -path /var/lib/postgresql -o -path /var/log \) -prune -o -name '*triggerdo*' -print
}

# ------------------------------------------------------------------- installed

check "0.1.0 installs with what its Depends bring" apt install /tdo/old.deb
dpkg-query -W postgresql-15-triggerdo >/dev/null 2>&1 || exit 1
check "there was nothing of it before but the server" is 0 bash -c 'dpkg-query -W "postgresql-server-dev-*" gcc 2>/dev/null | grep -c "[0-9]"'
check "README.Debian and the manual are there" ls /usr/share/doc/postgresql-15-triggerdo/README.Debian \
	/usr/share/doc/postgresql-15-triggerdo/README.md.gz
check "README.Debian: preloaded" pg_conftool "${cluster[@]}" set shared_preload_libraries triggerdo
check "README.Debian: more worker processes" pg_conftool "${cluster[@]}" set max_worker_processes 16
check "the cluster starts" pg_ctlcluster "${cluster[@]}" start

sql postgres -c 'CREATE ROLE app LOGIN' -c 'CREATE ROLE other LOGIN' -c 'CREATE DATABASE shop'
sql shop -c 'SET check_function_bodies = off; CREATE EXTENSION triggerdo' -f /tdo/data-0.1.0.sql -f /tdo/settle.sql
# (its delays are over)
sql shop -c "UPDATE _triggerdo.timer SET due = '2026-11-30 19:53:00+00'"
# (and its history is of a day long past)
sql postgres -c 'ALTER SYSTEM SET triggerdo.retention = 0'
sql postgres -c 'SELECT pg_reload_conf()'
check "a database of 0.1.0" is 0.1.0 sql shop -c "SELECT extversion FROM pg_extension WHERE extname = 'triggerdo'"

# -------------------------------------------------------------------- upgraded

check "upgrades" apt install /tdo/new.deb
check "dpkg finds nothing wrong" is '' dpkg --audit
check "each file is as it was packed" is '' dpkg --verify postgresql-15-triggerdo
check "the old script has gone" test ! -e "$extension/triggerdo--0.1.0.sql"
check "the server goes on meanwhile" is 1 sql shop -c 'SELECT 1'
check "README.Debian: restarted" pg_ctlcluster "${cluster[@]}" restart
check "and said so, where a database is not updated yet" says 'ALTER EXTENSION triggerdo UPDATE' \
	sql shop -c "SELECT triggerdo.trigger_task('echo')"
check "what waits, waits" is 12 sql shop -c 'SELECT count(*) FROM _triggerdo.live'
check "README.Debian: updated" sql shop -c 'ALTER EXTENSION triggerdo UPDATE'
check "every run runs" until_true shop "NOT EXISTS (SELECT FROM triggerdo.runs WHERE finished_at IS NULL)"
check "once" is $'again|1|1\nalone|2|2\necho|5|5\nsilent|2|2\nstep|3|3\nsteps|2|2' \
	sql shop -c 'SELECT task, count(*), count(DISTINCT run) FROM app.effect GROUP BY 1 ORDER BY 1'
check "the history is there" is 42 sql shop -c "SELECT output FROM triggerdo.runs WHERE task = 'twice'"
check "the invariants hold" is '' sql shop -c 'SELECT * FROM triggerdo.check_invariants()'

# the first result, as README has it
sql postgres -c 'CREATE DATABASE first' -c 'DROP DATABASE IF EXISTS none'
sed 's/^CREATE ROLE app LOGIN; *//' /tdo/hello.sql >/tdo/first.sql
check "the first result" says '{"hello": "Ada"}' sql first -f /tdo/first.sql

# --------------------------------------------------------------------- removed

check "removed" apt remove postgresql-15-triggerdo
pg_ctlcluster "${cluster[@]}" stop -m fast
check "README.Debian: a server that is to preload it does not start" bash -c "! pg_ctlcluster ${cluster[*]} start"
pg_conftool "${cluster[@]}" set shared_preload_libraries ''
check "README.Debian: taken out, it does" pg_ctlcluster "${cluster[@]}" start
check "README.Debian: the tables are there" is 20 sql shop -c 'SELECT count(*) FROM _triggerdo.run'
check "README.Debian: the functions say what is missing" says 'could not access file "$libdir/triggerdo"' \
	sql shop -c "SELECT triggerdo.trigger_task('echo')"
check "README.Debian: pg_dump works" says 'COPY _triggerdo.task' setpriv --reuid=postgres --regid=postgres --init-groups pg_dump shop
check "README.Debian: DROP EXTENSION works" sql first -c 'DROP EXTENSION triggerdo'
check "installed again" apt install /tdo/new.deb
pg_conftool "${cluster[@]}" set shared_preload_libraries triggerdo
check "the server restarts" pg_ctlcluster "${cluster[@]}" restart
sql shop -c "SET ROLE app; SELECT triggerdo.trigger_task('echo', '{\"when\": \"again\"}')" >/dev/null
check "README.Debian: all goes on where it was" until_true shop \
	"EXISTS (SELECT FROM triggerdo.runs WHERE payload->>'when' = 'again' AND status = 'COMPLETED')"
pg_ctlcluster "${cluster[@]}" stop -m fast
check "purged" apt purge postgresql-15-triggerdo
check "no file of it is left" is '' ours
echo end
