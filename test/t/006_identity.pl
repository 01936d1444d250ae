# A task is never more than its owner: the table at the top of
# reference/reliability-and-security.md, every row that a function can try, and
# the settings and objects that an owner can plant where bookkeeping passes by.
#
# Red without: BackgroundWorkerInitializeConnectionByOid(args.database, args.role)
# in tdo_executor_main() (src/executor.c): connected as a superuser, each of these
# escapes; pin_role in tdo_execute() (src/execute.c), for run_now; the door in
# src/store.c; AtEOXact_GUC() in tdo_execute(); tdo_may_read() (src/api_view.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('identity');
setup_app($node);
$node->safe_psql('postgres', q{
	CREATE ROLE low LOGIN;
	GRANT USAGE ON SCHEMA triggerdo TO low;
	CREATE SCHEMA low AUTHORIZATION low;
	CREATE TABLE public.secret AS SELECT 'swordfish'::text AS word;
	CREATE TABLE public.loot (who text, login text, super bool, what text);
	GRANT INSERT, SELECT ON public.loot TO PUBLIC;
});
sub low { my ($sql) = @_; return app($node, $sql, role => 'low') }

# whoever calls it writes down who he is
low(q{
	CREATE FUNCTION low.spy(what text) RETURNS bool LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.loot SELECT current_user, session_user, current_setting('is_superuser')::bool, what;
		RETURN true;
	END $$;
	GRANT USAGE ON SCHEMA low TO PUBLIC;
	CREATE FUNCTION low.spy_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM low.spy(tg_argv[0]); RETURN NULL; END $$;
	CREATE TABLE low.late (x int);
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON low.late DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION low.spy_trigger('deferred trigger')});

sub low_task { my ($id, $body, @more) = @_; plpgsql_task($node, $id, $body, role => 'low', @more); return }

sub run_low
{
	my ($id) = @_;
	my $run = low("SELECT triggerdo.trigger_task('$id')");
	wait_runs($node, "EXISTS (SELECT FROM triggerdo.runs WHERE run_id = '$run' AND finished_at IS NOT NULL)");
	return $node->safe_psql('postgres',
		"SELECT status, coalesce(error ->> 'sqlstate', output #>> '{}') FROM triggerdo.runs WHERE run_id = '$run'");
}

# ------------------------------------------------------- becoming somebody else

my $who = q{PERFORM low.spy('%s'); payload := to_jsonb(current_user || ' ' || session_user || ' ' || current_setting('is_superuser'));};
my %attacks = (
	'nothing'      => [ '', 'COMPLETED|low low off' ],
	'reset-role'   => [ 'RESET ROLE;', 'COMPLETED|low low off' ],
	'role-none'    => [ 'SET ROLE NONE;', 'COMPLETED|low low off' ],
	'set-role'     => [ 'SET ROLE postgres;', 'FAILED|42501' ],
	'set-role-app' => [ 'SET ROLE app;', 'FAILED|42501' ],
	'set-config'   => [ q{PERFORM set_config('role', 'postgres', false);}, 'FAILED|42501' ],
	'authorization' => [ 'SET SESSION AUTHORIZATION postgres;', 'FAILED|42501' ],
	'authorization-default' => [ 'SET SESSION AUTHORIZATION DEFAULT;', 'COMPLETED|low low off' ],
	'config-authorization' => [ q{PERFORM set_config('session_authorization', 'postgres', false);}, 'FAILED|42501' ],
	'swallowed' => [ q{BEGIN SET ROLE postgres; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN SET SESSION AUTHORIZATION postgres; EXCEPTION WHEN OTHERS THEN NULL; END; RESET ROLE; RESET ALL;},
		'COMPLETED|low low off' ],
	'rollback'     => [ 'ROLLBACK;', 'FAILED|2D000' ],
	'commit'       => [ 'COMMIT;', 'FAILED|2D000' ],
	'rollback-swallowed' => [ q{BEGIN ROLLBACK; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN COMMIT; EXCEPTION WHEN OTHERS THEN NULL; END;}, 'COMPLETED|low low off' ],
	'execute-commit' => [ q{EXECUTE 'COMMIT';}, 'FAILED|0A000' ],
	'replication-role' => [ q{SET session_replication_role = replica;}, 'FAILED|42501' ],
	'log-min'      => [ q{SET log_min_messages = panic;}, 'FAILED|42501' ],
	'make-super'   => [ 'ALTER ROLE low SUPERUSER;', 'FAILED|42501' ],
	'make-role'    => [ 'CREATE ROLE lower;', 'FAILED|42501' ],
	'file'         => [ q{PERFORM pg_read_file('/etc/passwd');}, 'FAILED|42501' ],
	'program'      => [ q{COPY low.late FROM PROGRAM 'echo 1';}, 'FAILED|42501' ],
	'secret'       => [ q{PERFORM word FROM public.secret;}, 'FAILED|42501' ],
	'private'      => [ q{PERFORM count(*) FROM _triggerdo.run;}, 'FAILED|42501' ],
	'private-live' => [ q{DELETE FROM _triggerdo.live;}, 'FAILED|42501' ],
	'private-function' => [ q{PERFORM _triggerdo.announce();}, 'FAILED|42501' ],
	'private-path' => [ q{SET search_path = _triggerdo; PERFORM count(*) FROM live;}, 'FAILED|42P01' ],
	'others-task'  => [ q{PERFORM triggerdo.trigger_task('of-app');}, 'FAILED|42501' ],
	'redefine'     => [ q{PERFORM triggerdo.define_task('of-app', run => 'low.nothing');}, 'FAILED|42501' ],
	'drop-task'    => [ q{PERFORM triggerdo.drop_task('of-app');}, 'FAILED|42501' ],
	'deferred'     => [ 'INSERT INTO low.late VALUES (1);', 'COMPLETED|low low off' ],
	'deferred-definer' => [ q{ALTER FUNCTION low.spy_trigger() SECURITY DEFINER; INSERT INTO low.late VALUES (1);},
		'COMPLETED|low low off' ],
	'hold-cursor'  => [ q{EXECUTE $q$DECLARE held CURSOR WITH HOLD FOR SELECT low.spy('cursor with hold')$q$;},
		'COMPLETED|low low off' ],
	'cursor'       => [ q{EXECUTE $q$DECLARE held CURSOR FOR SELECT low.spy('cursor')$q$;}, 'COMPLETED|low low off' ],
	'definer'      => [ q{EXECUTE $q$CREATE OR REPLACE FUNCTION low.d() RETURNS void LANGUAGE sql SECURITY DEFINER AS $x$SELECT low.spy('definer')$x$$q$; PERFORM low.d();},
		'COMPLETED|low low off' ],
	'on-commit'    => [ q{CREATE TEMP TABLE t (x int CHECK (low.spy('check'))) ON COMMIT DROP; INSERT INTO t VALUES (1);},
		'COMPLETED|low low off' ],
	'listen'       => [ q{LISTEN x;}, 'FAILED|55000' ],
);

plpgsql_task($node, 'of-app', '');
my $of_app = app($node, q{SELECT triggerdo.trigger_task('of-app', '{"pin": 4711}')});
all_final($node);
foreach my $name (sort keys %attacks)
{
	my ($body, $expected) = @{ $attacks{$name} };
	low_task($name, $body . sprintf($who, $name));
	my $got = run_low($name);
	# (which refusal it is may differ between versions)
	$expected =~ s/\|\w+$//, $got =~ s/\|\w+$// if $name eq 'listen';
	is($got, $expected, "a task that tries \"$name\"");
}

# ------------------------------------------------------ others' runs are not seen

low_task('peek', qq{payload := jsonb_build_object(
	'runs', (SELECT count(*) FROM triggerdo.runs WHERE owner <> 'low'),
	'tasks', (SELECT count(*) FROM triggerdo.tasks WHERE owner <> 'low'),
	'attempts', (SELECT count(*) FROM triggerdo.attempts WHERE task = 'of-app'),
	'workers', (SELECT count(*) FROM triggerdo.workers WHERE role <> 'low'),
	'stats', (SELECT count(*) FROM triggerdo.stats WHERE task = 'of-app'));});
is(run_low('peek'), 'COMPLETED|{"runs": 0, "stats": 0, "tasks": 0, "workers": 0, "attempts": 0}',
	'no view shows a run of somebody else');
foreach my $function (qw(run_result wait_for_run cancel_run run_now))
{
	low_task("ask-$function", "PERFORM triggerdo.$function('$of_app');");
	is(run_low("ask-$function"), $function eq 'run_now' ? 'FAILED|42501' : 'FAILED|02000',
		"$function: another's run is refused");
}
# a leaky predicate sees what the view lets through, and nothing else
low_task('leak', q{EXECUTE $q$CREATE OR REPLACE FUNCTION low.leak(o name, p jsonb) RETURNS bool LANGUAGE plpgsql COST 0.0001
	AS $x$ BEGIN PERFORM low.spy('saw ' || p::text || ' of ' || o); RETURN true; END $x$$q$;
	EXECUTE 'SELECT count(*) FROM triggerdo.runs WHERE low.leak(owner, payload)';});
is(run_low('leak'), 'COMPLETED|{}', 'a leaky function in a query of runs');
is($node->safe_psql('postgres', q{SELECT count(*) FROM public.loot WHERE what LIKE '%4711%'}), '0',
	'sees no payload of another role');

# (a cursor is closed after its run, unless that is the last of its transaction)
low_task('hold-alone', q{EXECUTE $q$DECLARE held CURSOR WITH HOLD FOR SELECT low.spy('cursor with hold, alone')$q$;},
	define => q{options => '{"isolate": true}'});
is(run_low('hold-alone'), 'COMPLETED|{}', 'a cursor WITH HOLD, in a transaction of its own');

# what ran late, at the end of the transaction, did run, and as low
is( $node->safe_psql('postgres', q{SELECT string_agg(DISTINCT what, ', ' ORDER BY what) FROM public.loot
		WHERE what IN ('deferred trigger', 'cursor with hold, alone', 'check', 'definer')}),
	'check, cursor with hold, alone, deferred trigger, definer', 'late events of the tasks took place');
is( $node->safe_psql('postgres',
		q{SELECT DISTINCT who, login, super, what FROM public.loot WHERE (who, login, super) IS DISTINCT FROM ('low', 'low', false)}),
	'', 'and none of it as anybody else');

# ----------------------------------------------- what an owner plants for the others

# operators, casts and functions on the search_path of his sessions, nearer than
# pg_catalog, that answer to whatever bookkeeping could want to compare
$node->safe_psql('postgres', 'TRUNCATE public.loot');
low(q{
	CREATE FUNCTION low.eq(uuid, uuid) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM low.spy('uuid ='); RETURN pg_catalog.uuid_eq($1, $2); END $$;
	CREATE FUNCTION low.ge(uuid, uuid) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM low.spy('uuid >='); RETURN pg_catalog.uuid_ge($1, $2); END $$;
	CREATE FUNCTION low.eq("char", "char") RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM low.spy('char ='); RETURN pg_catalog.chareq($1, $2); END $$;
	CREATE FUNCTION low.eq(oid, oid) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM low.spy('oid ='); RETURN pg_catalog.oideq($1, $2); END $$;
	CREATE FUNCTION low.eq(name, name) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM low.spy('name ='); RETURN pg_catalog.nameeq($1, $2); END $$;
	CREATE OPERATOR low.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = low.eq);
	CREATE OPERATOR low.>= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = low.ge);
	CREATE OPERATOR low.= (LEFTARG = "char", RIGHTARG = "char", FUNCTION = low.eq);
	CREATE OPERATOR low.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = low.eq);
	CREATE OPERATOR low.= (LEFTARG = name, RIGHTARG = name, FUNCTION = low.eq);
	CREATE FUNCTION low.current_database() RETURNS name LANGUAGE plpgsql AS $$ BEGIN PERFORM low.spy('current_database'); RETURN pg_catalog.current_database(); END $$;
	CREATE TABLE low.live (x int); CREATE TABLE low.run (x int); CREATE TABLE low.pg_prepared_xacts (database text);
	CREATE DOMAIN low.uuid AS pg_catalog.uuid CHECK (low.spy('domain uuid'));
	CREATE DOMAIN low.jsonb AS pg_catalog.jsonb CHECK (low.spy('domain jsonb'));
	CREATE TABLE low.effect (run pg_catalog.uuid);
});
low_task('work', q{INSERT INTO low.effect SELECT run_id FROM triggerdo.current_run();
	IF (payload ->> 'fail')::bool THEN RAISE 'on purpose'; END IF;},
	define => q{retry => '{"maxAttempts": 2, "backoff": "none"}'});

my @settings = (
	q{search_path = low, pg_catalog},
	q{default_transaction_isolation = 'serializable'},
	q{default_transaction_isolation = 'repeatable read'},
	q{default_transaction_read_only = on},
	q{lock_timeout = '1ms'},
	q{statement_timeout = '1ms'},
	q{idle_in_transaction_session_timeout = '1ms'},
	q{client_min_messages = 'error'},
	q{row_security = off},
	q{enable_indexscan = off},
	q{enable_seqscan = off},
	q{plan_cache_mode = 'force_custom_plan'},
	q{default_tablespace = 'nowhere'},
	q{default_table_access_method = 'heap'},
	q{bytea_output = 'escape'},
	q{datestyle = 'SQL, DMY'},
	q{intervalstyle = 'sql_standard'},
	q{timezone = 'Pacific/Chatham'},
	q{standard_conforming_strings = off},
	q{transform_null_equals = on},
	q{check_function_bodies = off},
	q{xmloption = 'document'},
	# 16 renamed it
	($node->pg_version->major >= 16 ? 'debug_parallel_query' : 'force_parallel_mode') . ' = on',
	q{jit = on},
	q{work_mem = '64kB'},
	q{synchronous_commit = off});
foreach my $setting (@settings)
{
	(my $name = $setting) =~ s/ = .*//;
	low("ALTER ROLE low SET $setting");
	# new sessions only: and each time a day without partitions, so that they are
	# made by a session that has these settings
	$node->safe_psql('postgres',
		q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'triggerdo executor';
		  SELECT triggerdo_test.advance('20 days')});
	# (to trigger, low switches read-only off himself)
	my $off = $name eq 'default_transaction_read_only' ? 'SET default_transaction_read_only = off;' : '';
	my $slow = $name eq 'statement_timeout' ? 'SET statement_timeout = 0;' : '';
	low("$off $slow SELECT triggerdo.trigger_task('work'), triggerdo.trigger_task('work', '{\"fail\": true}'),
		triggerdo.trigger_task('work', delay => '1 ms')");
	$node->safe_psql('postgres', q{SELECT triggerdo_test.advance('1 s')});
	all_final($node);
	my $expected = $name eq 'default_transaction_read_only' ? 'FAILED|25006|3' : 'COMPLETED||2, FAILED|P0001|1';
	is( $node->safe_psql('postgres', q{SELECT string_agg(x, ', ' ORDER BY x) FROM (
			SELECT status || '|' || coalesce(error ->> 'sqlstate', '') || '|' || count(*) AS x FROM triggerdo.runs
			 WHERE task = 'work' AND created_at > triggerdo_test.now() - interval '1 day' GROUP BY status, error ->> 'sqlstate') y}),
		$expected, "ALTER ROLE low SET $setting: the runs are done");
	$node->safe_psql('postgres', "ALTER ROLE low RESET $name");
}

is( $node->safe_psql('postgres',
		q{SELECT DISTINCT who, login, super, what FROM public.loot WHERE (who, login, super) IS DISTINCT FROM ('low', 'low', false)}),
	'', 'nothing of low ran as anybody else');

# the public functions and views, called by a superuser on whose search_path low is
low_task('called', q{IF (payload ->> 'fail')::bool THEN RAISE 'on purpose'; END IF;});
$node->safe_psql('postgres', q{
	TRUNCATE public.loot;
	SET search_path = low, pg_catalog;
	SELECT triggerdo_test.advance('20 days');
	SELECT triggerdo.trigger_task('called');
	SELECT triggerdo.batch_trigger_task('called', ARRAY['{}'::pg_catalog.jsonb]);
	SELECT triggerdo.trigger_batch('[{"task": "called"}]');
	SELECT triggerdo.cancel_run(triggerdo.trigger_task('called', delay => '1 h'));
	SELECT triggerdo.retry_delay(triggerdo.retry_policy(), 1);
	CALL triggerdo.trigger_and_wait('called', '{}', NULL);
	SELECT triggerdo.wait_for_run(run_id), triggerdo.run_result(run_id) FROM triggerdo.runs
	 ORDER BY created_at DESC LIMIT 1;
	SELECT * FROM triggerdo.runs; SELECT * FROM triggerdo.tasks; SELECT * FROM triggerdo.attempts;
	SELECT * FROM triggerdo.workers; SELECT * FROM triggerdo.stats;
	SELECT * FROM triggerdo.check_invariants();
	BEGIN; SELECT triggerdo.trigger_task('called'); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';
});
all_final($node);
is($node->safe_psql('postgres', 'SELECT DISTINCT who, what FROM public.loot'),
	'', 'the public functions call nothing from the search_path of their caller');

# ----------------------------------------------------------------------- run_now

# a superuser who has SET ROLE low, to try a task in his own transaction
$node->safe_psql('postgres', 'TRUNCATE public.loot');
low_task('escape', q{RESET ROLE; PERFORM low.spy('after reset role');});
low_task('escape-late', q{BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END; PERFORM low.spy('now');
	INSERT INTO low.late VALUES (1);});
low_task('escape-cursor', q{EXECUTE $q$DECLARE held CURSOR WITH HOLD FOR SELECT low.spy('with hold, at commit')$q$;});
reload_with($node, 'triggerdo.executors = 0');
wait_runs($node, q{current_setting('triggerdo.executors') = '0'});
$node->safe_psql('postgres',
	q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'triggerdo executor'});
within(10, 'executors end', sub { pids($node, 'executor') == 0 });

sub run_now
{
	my ($task) = @_;
	my $run = low("SELECT triggerdo.trigger_task('$task')");
	my ($rc, $out, $err) = $node->psql('postgres', qq{
		BEGIN; SET ROLE low;
		SELECT coalesce(triggerdo.run_now('$run') -> 'error' ->> 'sqlstate', 'ok');
		RESET ROLE; SELECT current_user; COMMIT;});
	return $out;
}
is(run_now('escape'), "42501\npostgres", 'run_now as a superuser with SET ROLE: RESET ROLE is refused');
run_now('escape-late');
run_now('escape-cursor');
is( $node->safe_psql('postgres', q{SELECT DISTINCT who, super, what FROM public.loot WHERE who <> 'low' OR super ORDER BY what}),
	'', 'and nothing is left behind that runs as the superuser at his commit');
my $run = low(q{SELECT triggerdo.trigger_task('escape')});
my ($rc, $out, $err) = $node->psql('postgres', "SELECT triggerdo.run_now('$run')");
like($err, qr/must be owner of task/, 'a superuser who is not the owner is refused');

reload_with($node, 'triggerdo.executors = 2');
all_final($node);
invariants_ok($node, 'at the end');
$node->stop;
done_testing();
