# A procedure that ends its transactions itself, and a command at the top level,
# are never more than their owner either: the rest of the table of
# reference/reliability-and-security.md, section 0, and what an owner can plant
# where the bookkeeping of such runs passes by (S01, F26, F29).
#
# Red without: BackgroundWorkerInitializeConnectionByOid(args.database, args.role)
# in tdo_executor_main() (src/executor.c); in src/session.c: tdo_txn_as_defaults() and
# SetPGVariable("session_authorization") in tdo_session_reset();
# LockTimeout = 0 in tdo_claim_lock() (src/transition.c); heap access in place of
# SQL in src/rows.c (search_path, operators, pg_temp).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('toplevel', conf => "triggerdo.executors = 1\ntriggerdo.max_executors_per_role = 1");
setup_app($node);
$node->safe_psql('postgres', q{
	CREATE ROLE low LOGIN;
	GRANT USAGE ON SCHEMA triggerdo TO low;
	GRANT CREATE, TEMP ON DATABASE postgres TO low;
	CREATE SCHEMA low AUTHORIZATION low;
	CREATE SCHEMA evil AUTHORIZATION low;
	CREATE TABLE public.secret AS SELECT 'swordfish'::text AS word;
	CREATE TABLE public.loot (who text, login text, super bool, what text);
	GRANT INSERT, SELECT ON public.loot TO PUBLIC;
});
sub low { my ($sql) = @_; return app($node, $sql, role => 'low') }

low(q{
	CREATE FUNCTION low.spy(what text) RETURNS bool LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.loot VALUES (current_user, session_user, current_setting('is_superuser')::bool, what);
		RETURN true;
	END $$;
	CREATE FUNCTION low.spy_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM low.spy(tg_argv[0]); RETURN NULL; END $$;
	CREATE TABLE low.late (x int);
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON low.late DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION low.spy_trigger('deferred trigger');
	-- operators and functions that would be found first
	CREATE FUNCTION evil.eq(uuid, uuid) RETURNS bool LANGUAGE sql AS 'SELECT low.spy(''operator'')';
	CREATE OPERATOR evil.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = evil.eq);
	CREATE FUNCTION evil.eq(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT low.spy(''operator'')';
	CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq);
	CREATE FUNCTION evil.eq("char", "char") RETURNS bool LANGUAGE sql AS 'SELECT low.spy(''operator'')';
	CREATE OPERATOR evil.= (LEFTARG = "char", RIGHTARG = "char", FUNCTION = evil.eq);
	CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT low.spy(''now''); SELECT ''2000-01-01''::timestamptz'});

my $mark = q{PERFORM low.spy('%s');};
my $who = q{result := to_jsonb(current_user || ' ' || session_user || ' ' || current_setting('is_superuser'));};
my $tell = "$mark $who";
my $low = 'COMPLETED|low low off';

# body, outcome: each runs as a procedure that may commit, and says who it is at its end
my %procedures = (
	'rollback'      => [ "ROLLBACK; $tell", $low ],
	'commit'        => [ "COMMIT; $tell", $low ],
	'commit-chain'  => [ "COMMIT AND CHAIN; $tell ROLLBACK AND CHAIN; $tell", $low ],
	'many'          => [ "FOR i IN 1 .. 50 LOOP COMMIT; ROLLBACK; END LOOP; $tell", $low ],
	'reset-role'    => [ "COMMIT; RESET ROLE; $mark ROLLBACK; RESET ROLE; COMMIT; $tell", $low ],
	'role-none'     => [ "ROLLBACK; SET ROLE NONE; COMMIT; $tell", $low ],
	'set-role'      => [ "COMMIT; SET ROLE postgres; $tell", 'FAILED|42501' ],
	'authorization' => [ "COMMIT; SET SESSION AUTHORIZATION postgres; $tell", 'FAILED|42501' ],
	'authorization-default' => [ "COMMIT; SET SESSION AUTHORIZATION DEFAULT; COMMIT; $tell", $low ],
	'config'        => [ "COMMIT; PERFORM set_config('session_authorization', 'postgres', false); $tell", 'FAILED|42501' ],
	'reset-all'     => [ "RESET ALL; COMMIT; RESET ALL; RESET SESSION AUTHORIZATION; RESET ROLE; $tell", $low ],
	'deferred'      => [ "INSERT INTO low.late VALUES (1); COMMIT; INSERT INTO low.late VALUES (2); $tell", $low ],
	'hold-cursor'   => [ "EXECUTE \$q\$DECLARE held CURSOR WITH HOLD FOR SELECT low.spy('cursor with hold')\$q\$; COMMIT; $tell", $low ],
	'on-commit'     => [ "CREATE TEMP TABLE t (x int CHECK (low.spy('check'))) ON COMMIT DELETE ROWS; INSERT INTO t VALUES (1); COMMIT; INSERT INTO t VALUES (2); $tell", $low ],
	'path'          => [ "SET search_path = evil, pg_catalog; COMMIT; $tell", $low ],
	'temp-types'    => [ "CREATE DOMAIN pg_temp.uuid AS pg_catalog.text; CREATE DOMAIN pg_temp.jsonb AS pg_catalog.text; CREATE TEMP TABLE live (x int); CREATE TEMP TABLE result (x int); CREATE TEMP TABLE pg_proc (x int); SET search_path = pg_temp, pg_catalog; COMMIT; $tell", $low ],
	'read-only'     => [ "$mark COMMIT; SET default_transaction_read_only = on; COMMIT; $who", $low ],
	'read-only-now' => [ "$mark COMMIT; SET TRANSACTION READ ONLY; $who", $low ],
	'serializable'  => [ "COMMIT; SET default_transaction_isolation = 'serializable'; COMMIT; $tell", $low ],
	'lock-timeout'  => [ "SET lock_timeout = 1; SET statement_timeout = 1; COMMIT; $tell", $low ],
	'gucs'          => [ "SET jit_above_cost = 0; SET plan_cache_mode = force_custom_plan; SET enable_indexscan = off; SET transform_null_equals = on; SET default_tablespace = pg_default; SET row_security = off; COMMIT; $tell", $low ],
	'replication'   => [ "COMMIT; SET session_replication_role = replica; $tell", 'FAILED|42501' ],
	'lock-table'    => [ "COMMIT; LOCK TABLE _triggerdo.live; $tell", 'FAILED|42501' ],
	'drop-table'    => [ "COMMIT; DROP TABLE _triggerdo.live; $tell", 'FAILED|42501' ],
	'truncate'      => [ "COMMIT; TRUNCATE _triggerdo.result; $tell", 'FAILED|42501' ],
	'trigger-ours'  => [ "COMMIT; CREATE TRIGGER t AFTER INSERT ON _triggerdo.result FOR EACH ROW EXECUTE FUNCTION low.spy_trigger('ours'); $tell", 'FAILED|42501' ],
	'own-row'       => [ "COMMIT; DELETE FROM _triggerdo.live; $tell", 'FAILED|42501' ],
	'own-claim'     => [ "COMMIT; UPDATE _triggerdo.live SET claim = gen_random_uuid(); $tell", 'FAILED|42501' ],
	'cancel-itself' => [ "COMMIT; PERFORM triggerdo.cancel_run(run_id) FROM triggerdo.current_run(); $tell", 'FAILED|55000' ],
	'run-itself'    => [ "COMMIT; PERFORM triggerdo.run_now(run_id) FROM triggerdo.current_run(); $tell", 'FAILED|55000' ],
	'redefine-itself' => [ "COMMIT; PERFORM triggerdo.define_task('redefine-itself', run => 'low.redefine_itself'); COMMIT; $tell", $low ],
	'drop-itself'   => [ "PERFORM triggerdo.drop_task('drop-itself'); COMMIT; $tell", $low ],
	# (PostgreSQL's own: a procedure that drops itself and commits cannot return)
	'drop-procedure' => [ "DROP PROCEDURE low.drop_procedure; COMMIT; $tell", 'FAILED|XX000' ],
	'secret'        => [ "COMMIT; PERFORM word FROM public.secret; $tell", 'FAILED|42501' ],
	'program'       => [ "COMMIT; COPY low.late FROM PROGRAM 'echo 1'; $tell", 'FAILED|42501' ],
	'event-trigger' => [ "COMMIT; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION low.spy(); $tell", 'FAILED|42501' ],
);

# command, outcome
my $spy = q{SELECT low.spy('%s')};
my %commands = (
	'c-rollback'      => [ "BEGIN; ROLLBACK; $spy", 'COMPLETED' ],
	'c-commit'        => [ "BEGIN; COMMIT; $spy; COMMIT; $spy", 'COMPLETED' ],
	'c-reset-role'    => [ "RESET ROLE; $spy; SET ROLE NONE; COMMIT; RESET ROLE; $spy", 'COMPLETED' ],
	'c-set-role'      => [ "SET ROLE postgres; $spy", 'FAILED|42501' ],
	'c-authorization' => [ "SET SESSION AUTHORIZATION postgres; $spy", 'FAILED|42501' ],
	'c-authorization-default' => [ "SET SESSION AUTHORIZATION DEFAULT; RESET SESSION AUTHORIZATION; $spy", 'COMPLETED' ],
	'c-discard'       => [ 'DISCARD ALL', 'COMPLETED' ],
	'c-discard-more'  => [ "BEGIN; COMMIT; RESET ALL; DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES; $spy", 'COMPLETED' ],
	'c-deferred'      => [ 'INSERT INTO low.late VALUES (3)', 'COMPLETED' ],
	'c-hold-cursor'   => [ "DECLARE held CURSOR WITH HOLD FOR SELECT low.spy('cursor with hold, command')", 'COMPLETED' ],
	'c-prepare'       => [ "PREPARE p AS $spy; EXECUTE p", 'COMPLETED' ],
	'c-path'          => [ "SET search_path = evil, pg_catalog; $spy", 'COMPLETED' ],
	'c-temp'          => [ "CREATE DOMAIN pg_temp.uuid AS text; CREATE TEMP TABLE live (x int); SET search_path = pg_temp, pg_catalog; $spy", 'COMPLETED' ],
	'c-read-only'     => [ 'SET default_transaction_read_only = on', 'COMPLETED' ],
	'c-characteristics' => [ 'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE', 'COMPLETED' ],
	'c-lock-timeout'  => [ 'SET lock_timeout = 1; SET statement_timeout = 1; SET idle_in_transaction_session_timeout = 1; SET idle_session_timeout = 1', 'COMPLETED' ],
	'c-replication'   => [ 'SET session_replication_role = replica', 'FAILED|42501' ],
	'c-lock'          => [ 'BEGIN; LOCK TABLE _triggerdo.live; COMMIT', 'FAILED|42501' ],
	'c-drop'          => [ 'DROP SCHEMA _triggerdo CASCADE', 'FAILED|42501' ],
	'c-extension'     => [ 'DROP EXTENSION triggerdo CASCADE', 'FAILED|42501' ],
	'c-live'          => [ 'DELETE FROM _triggerdo.live', 'FAILED|42501' ],
	'c-vacuum'        => [ 'VACUUM _triggerdo.live', 'FAILED|42501' ],
	'c-cancel'        => [ 'SELECT triggerdo.cancel_run(run_id) FROM triggerdo.current_run()', 'FAILED|55000' ],
	'c-drop-task'     => [ q{SELECT triggerdo.drop_task('c-drop-task')}, 'COMPLETED' ],
	'c-alter-system'  => [ q{ALTER SYSTEM SET triggerdo.allow_superuser_tasks = on}, 'FAILED|42501' ],
	'c-super'         => [ 'ALTER ROLE low SUPERUSER', 'FAILED|42501' ],
	'c-load'          => [ q{LOAD 'triggerdo_test'}, 'FAILED|42501' ],
	'c-program'       => [ q{COPY low.late FROM PROGRAM 'echo 1'}, 'FAILED|42501' ],
);

my %expected;
foreach my $name (sort keys %procedures)
{
	my ($body, $outcome) = @{ $procedures{$name} };
	(my $function = "low.$name") =~ s/-/_/g;
	$body =~ s/%s/$name/g;
	low(qq{CREATE PROCEDURE $function(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS \$b\$ BEGIN $body END \$b\$;
		SELECT triggerdo.define_task('$name', run => '$function', options => '{"ownCommits": true}')});
	$expected{$name} = $outcome;
}
foreach my $name (sort keys %commands)
{
	my ($sql, $outcome) = @{ $commands{$name} };
	$sql =~ s/%s/$name/g;
	low("SELECT triggerdo.define_task('$name', command => \$c\$$sql\$c\$)");
	$expected{$name} = $outcome;
}
# what a run finds that comes after each of them, in the same process
plpgsql_task($node, 'after', q{
	IF (current_user, session_user, current_setting('search_path'), current_setting('transaction_read_only'), current_setting('transaction_isolation'),
		current_setting('lock_timeout'), to_regclass('pg_temp.live')) IS DISTINCT FROM ('low', 'low', '"$user", public', 'off', 'read committed', '0', NULL)
	THEN RAISE 'something is left: % % % % %', current_user, current_setting('search_path'), current_setting('transaction_read_only'),
		current_setting('transaction_isolation'), current_setting('lock_timeout'); END IF;
	PERFORM low.spy('after');}, role => 'low');

foreach my $name (sort keys %expected)
{
	my $run = low("SELECT triggerdo.trigger_task('$name')");
	my $after = low("SELECT triggerdo.trigger_task('after')");
	low("SELECT triggerdo.wait_for_run('$after', '20 s')");
	is( $node->safe_psql('postgres', qq{
			SELECT concat_ws('|', status, coalesce(error ->> 'sqlstate', output #>> '{}')) FROM triggerdo.runs WHERE run_id = '$run'}),
		$expected{$name}, "\"$name\": its outcome");
	is( $node->safe_psql('postgres', "SELECT status || coalesce(error ->> 'message', '') FROM triggerdo.runs WHERE run_id = '$after'"),
		'COMPLETED', "\"$name\": the run after it begins afresh");
}

is($node->safe_psql('postgres', q{SELECT DISTINCT who, login, super FROM public.loot}), 'low|low|f', 'whoever ran, it was low, and no superuser');
is( $node->safe_psql('postgres', q{SELECT string_agg(DISTINCT what, ', ' ORDER BY what) FROM public.loot
		WHERE what IN ('deferred trigger', 'check', 'cursor with hold', 'cursor with hold, command', 'operator', 'now')}),
	'check, cursor with hold, cursor with hold, command, deferred trigger', 'late code ran, and no operator or function of his in our bookkeeping');
is($node->safe_psql('postgres', q{SELECT count(*) FROM public.loot WHERE what = 'deferred trigger'}), '3', 'each deferred trigger once');

invariants_ok($node, 'at the end');
$node->stop;
done_testing();
