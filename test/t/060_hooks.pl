# Hooks that end their process, hang, or make the commit fail; queued hooks over a
# crash, a restart and a dump. Whatever a hook does, the end of its run stands, its
# body is not done again, each other hook is called once, and what went wrong is
# kept.
#
# Red without, in src/executor.c: slot->decided (the cancel is lost), ended.hook (a
# hook would make the run CRASHED); in src/hook_run.c: "live->crashes == 0" (it
# would end process after process), TDO_HOOK_TRIES, tdo_hook_count_try(); in
# src/attempt.c: TDO_KIND_COMMAND in may_call_hooks() (the command is done again);
# in src/stop.c: hook_time_is_over(), "hook_overdue++ > 0"; in src/scheduler.c:
# owners_of_hooks(); in sql/30_tables_0_2_0.sql: pg_extension_config_dump(); in
# src/hook_rows.c: the first tdo_slot_has_hook() in tdo_hook_next() (tries are used
# up); in src/slot.c: batch_started_us in tdo_slot_set_hook(); in src/hook_run.c:
# is_guest() in tdo_hooks_call() (the run would be CRASHED).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app answer poll wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('hooks', fast => 1,
	conf => "triggerdo.hook_timeout = '400ms'\ntriggerdo.cancel_grace = '300ms'\ntriggerdo.max_crashes = 1\nlog_min_messages = log");
setup_app($node);
app($node, q{
	CREATE TABLE app.body (run uuid);
	CREATE TABLE app.called (run uuid, hook text, status text);
	CREATE TABLE app.trap (run uuid);
	CREATE SEQUENCE app.begun;
	CREATE FUNCTION app.trap() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.run IS NULL THEN PERFORM pg_sleep(60); END IF;
		PERFORM pg_terminate_backend(pg_backend_pid());
		PERFORM pg_sleep(20);
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER trap AFTER INSERT ON app.trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.trap();
	CREATE FUNCTION app.good(run jsonb) RETURNS void LANGUAGE sql AS $$
		INSERT INTO app.called VALUES ((run ->> 'run_id')::uuid, 'good', run ->> 'status') $$;
	-- what its payload says
	CREATE FUNCTION app.evil(run jsonb) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		how text := run #>> '{payload,evil}';
	BEGIN
		INSERT INTO app.called VALUES ((run ->> 'run_id')::uuid, 'evil', run ->> 'status');
		PERFORM nextval('app.begun');
		IF how = 'ends' THEN
			PERFORM pg_terminate_backend(pg_backend_pid());
			PERFORM pg_sleep(20);
		ELSIF how = 'ends later' THEN
			INSERT INTO app.trap VALUES ((run ->> 'run_id')::uuid);
		ELSIF how = 'hangs later' THEN
			INSERT INTO app.trap VALUES (NULL);
		ELSIF how = 'sleeps' THEN
			PERFORM pg_sleep(60);
		ELSIF how = 'swallows' THEN
			BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END;
		ELSIF how = 'hangs' THEN
			LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
		END IF;
	END $$;
	CREATE FUNCTION app.judge(run jsonb, error jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN PERFORM app.evil(run); RETURN NULL; END $$;
	CREATE FUNCTION app.work(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO app.body SELECT run_id FROM triggerdo.current_run();
		IF payload ? 'sleep' THEN PERFORM pg_sleep(60); END IF;
		IF payload ? 'crash' THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(20); END IF;
		IF payload ? 'fail' THEN RAISE 'failure'; END IF;
		RETURN payload;
	END $$;
	CREATE PROCEDURE app.work_p(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN PERFORM app.work(payload); END $$;
	CREATE PROCEDURE app.work_c(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN PERFORM app.work(payload); COMMIT; END $$;
	SELECT triggerdo.define_task(id, run => r, command => c, options => o, retry => triggerdo.retry_policy(1),
			on_success => 'app.evil', on_failure => 'app.evil', on_cancel => 'app.evil', on_complete => 'app.good')
	  FROM (VALUES ('function', 'app.work', NULL, '{}'::jsonb), ('procedure', 'app.work_p', NULL, '{}'), ('commits', 'app.work_c', NULL, '{"ownCommits":true}'),
			('command', NULL, 'SELECT app.work(payload) FROM triggerdo.current_run()', '{}')) t(id, r, c, o);
	SELECT triggerdo.define_task('judged', run => 'app.work', retry => triggerdo.retry_policy(2, 'none'), catch_error => 'app.judge', on_complete => 'app.good')});

sub trigger { my ($task, $payload, $more) = @_; return app($node, "SELECT triggerdo.trigger_task('$task', '$payload'" . ($more // '') . ')') }

sub executing
{
	my ($run) = @_;
	$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM triggerdo.workers WHERE run_id = '$run')")
	  or die "run $run does not begin";
	return;
}

# final, and its hooks called: status, times that its body was done, calls of each hook, what is kept
sub story
{
	my ($run) = @_;
	poll($node, qq{SELECT finished_at IS NOT NULL AND NOT EXISTS (SELECT FROM triggerdo.hooks WHERE run_id = '$run' AND state = 'queued')
		FROM triggerdo.runs WHERE run_id = '$run'}) or return 'not final, or its hooks are queued';
	return $node->safe_psql('postgres', qq{
		SELECT concat_ws(' ', status, attempt, 'body', (SELECT count(*) FROM app.body b WHERE b.run = run_id),
			   'evil', (SELECT count(*) FROM app.called c WHERE c.run = run_id AND hook = 'evil'),
			   'good', (SELECT count(*) FROM app.called c WHERE c.run = run_id AND hook = 'good' AND c.status = r.status::text),
			   (SELECT string_agg(concat_ws(' ', hook, h.error ->> 'message'), ', ') FROM triggerdo.hooks h WHERE h.run_id = r.run_id))
		  FROM triggerdo.runs r WHERE run_id = '$run'});
}

my %kept = (
	'ends' => 'The process that called the hook ended 3 times in its middle.',
	'ends later' => 'The process that called the hook ended 3 times in its middle.',
	'hangs later' => 'canceling statement due to user request',
	'sleeps' => 'hook exceeded triggerdo.hook_timeout of 400 ms',
	'swallows' => 'hook exceeded triggerdo.hook_timeout of 400 ms',
	'hangs' => 'The process that called the hook ended 3 times in its middle.');

# ------------------------------------------------- what a hook can do, at each end

foreach my $how ('ends', 'ends later', 'sleeps', 'swallows', 'hangs', 'hangs later')
{
	foreach my $task (qw(function procedure commits command))
	{
		my $success = trigger($task, qq({"evil":"$how"}));
		is(story($success), "COMPLETED 1 body 1 evil 0 good 1 on_success $kept{$how}", "$task: on_success $how");
		# (in a row of its own transaction the body of one that commits is not undone)
		my $failure = trigger($task, qq({"evil":"$how","fail":1}));
		is(story($failure), "FAILED 1 body 0 evil 0 good 1 on_failure $kept{$how}", "$task: on_failure $how");
		my $cancel = trigger($task, qq({"evil":"$how","sleep":1}));
		executing($cancel);
		app($node, "SELECT triggerdo.cancel_run('$cancel')");
		is(story($cancel), "CANCELED 1 body 0 evil 0 good 1 on_cancel $kept{$how}", "$task: on_cancel $how");
	}
	my $queued = trigger('function', qq({"evil":"$how"}), q(, delay => '1 day'));
	app($node, "SELECT triggerdo.cancel_run('$queued')");
	is(story($queued), "CANCELED 0 body 0 evil 0 good 1 on_cancel $kept{$how}", "queued: on_cancel $how");
}
my $late = trigger('function', '{"evil":"ends","sleep":1}', q(, max_duration => '300 ms'));
is(story($late), "TIMED_OUT 1 body 0 evil 0 good 1 on_failure $kept{ends}", 'on_failure of one past its max_duration ends its process');
my $crashed = trigger('function', '{"crash":1}');
is(story($crashed), 'CRASHED 1 body 0 evil 1 good 1', 'a run that crashed: its hooks are queued');
invariants_ok($node, 'after hooks that end, sleep and hang');

# several in one batch: the others are not harmed
reload_with($node, 'triggerdo.executors = 0');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'reloaded');
my $many = app($node, q{SELECT string_agg(quote_literal(triggerdo.trigger_task('function', CASE i WHEN 7 THEN '{"evil":"ends"}' WHEN 13 THEN '{"evil":"ends later"}' ELSE '{"n":1}' END::jsonb)), ',') FROM generate_series(1, 20) i});
reload_with($node, 'triggerdo.executors = 2');
wait_runs($node, "(SELECT count(*) = 20 FROM triggerdo.runs WHERE run_id IN ($many) AND status = 'COMPLETED') AND NOT EXISTS (SELECT FROM triggerdo.hooks WHERE state = 'queued')");
is($node->safe_psql('postgres', qq{SELECT (SELECT count(*) FROM app.body WHERE run IN ($many)), count(*) FILTER (WHERE hook = 'evil'), count(*) FILTER (WHERE hook = 'good') FROM app.called WHERE run IN ($many)}),
	'20|18|20', 'a batch with two that end their process: each is done once, each hook called once');

# a hook that has run another run by itself is a hook still
app($node, q{
	CREATE FUNCTION app.nest(run jsonb) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM triggerdo.run_now(triggerdo.trigger_task('function', '{"nested":1}'));
		PERFORM app.evil(run);
	END $$;
	SELECT triggerdo.define_task('nest', 'app.work', on_success => 'app.nest', on_complete => 'app.good')});
is(story(trigger('nest', '{"evil":"ends"}')), "COMPLETED 1 body 1 evil 0 good 1 on_success $kept{ends}", 'one that uses run_now() ends its process');

# executors that look for queued hooks at the same time do not get into each other's way
reload_with($node, 'triggerdo.executors = 4');
app($node, q{
	CREATE FUNCTION app.raises(run jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'raised'; END $$;
	SELECT triggerdo.define_task('raises', 'app.work', on_cancel => 'app.raises', on_complete => 'app.raises');
	SELECT count(triggerdo.cancel_run(triggerdo.trigger_task('raises', delay => '1 day'))) FROM generate_series(1, 2000)});
wait_runs($node, q{NOT EXISTS (SELECT FROM triggerdo.hooks WHERE state = 'queued')});
is($node->safe_psql('postgres', q{SELECT tries, error ->> 'message', count(*) FROM triggerdo.hooks WHERE task = 'raises' GROUP BY 1, 2}),
	'1|raised|4000', 'each of 4000 queued hooks is begun once');

# runs do not wait for hooks that sleep: one more executor is started
reload_with($node, 'triggerdo.executors = 1', "triggerdo.hook_timeout = '1min'");
app($node, q{
	CREATE FUNCTION app.sleeps(run jsonb) RETURNS void LANGUAGE sql AS $$ SELECT pg_sleep(600) $$;
	SELECT triggerdo.define_task('sleeps', 'app.work', on_cancel => 'app.sleeps');
	SELECT count(triggerdo.cancel_run(triggerdo.trigger_task('sleeps', delay => '1 day'))) FROM generate_series(1, 4)});
$node->poll_query_until('postgres', q{SELECT count(*) > 0 AND bool_and(state = 'busy') FROM triggerdo.workers WHERE kind = 'executor'});
is(story(trigger('function', '{}')), 'COMPLETED 1 body 1 evil 1 good 1', 'a run while the executors sit in hooks');
$node->safe_psql('postgres', q{DELETE FROM _triggerdo.hook; SELECT pg_terminate_backend(pid) FROM triggerdo.workers WHERE kind = 'executor'});
reload_with($node, 'triggerdo.executors = 2', "triggerdo.hook_timeout = '400ms'");
invariants_ok($node, 'after those');

# what is too large to be shown in one piece is not shown, and the run ends all the same
# Red without: fits_in_one() (src/hook.c).
app($node, q{
	CREATE FUNCTION app.shown(run jsonb) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO app.called (run, hook, status) VALUES ((run ->> 'run_id')::uuid, 'good',
			concat_ws(' ', run ->> 'status', jsonb_typeof(run -> 'payload'), jsonb_typeof(run -> 'metadata'), jsonb_typeof(run -> 'output')));
	END $$;
	CREATE FUNCTION app.nothing(payload jsonb) RETURNS void LANGUAGE sql AS '';
	SELECT triggerdo.define_task('large', 'app.nothing', on_complete => 'app.shown')});
foreach my $end ('COMPLETED', 'CANCELED')
{
	my $delay = $end eq 'CANCELED' ? q(, delay => '1 day') : '';
	my $large = app($node, q{SELECT triggerdo.trigger_task('large', to_jsonb(repeat('x', 140000000)), metadata => jsonb_build_object('m', repeat('y', 140000000))} . "$delay)");
	app($node, "SELECT triggerdo.cancel_run('$large')") if $delay;
	poll($node, "SELECT EXISTS (SELECT FROM app.called WHERE run = '$large')");
	is($node->safe_psql('postgres', "SELECT r.status, c.status FROM triggerdo.runs r JOIN app.called c ON c.run = r.run_id WHERE r.run_id = '$large'"),
		"$end|$end null null null", "a run with 280 MB to be shown: $end");
}

# ------------------------------------------------------------------ catch_error

foreach my $how (qw(sleeps swallows))
{
	my $run = trigger('judged', qq({"evil":"$how","fail":1}));
	is(story($run), 'FAILED 2 body 0 evil 0 good 1', "catch_error $how");
	is($node->safe_psql('postgres', "SELECT error ->> 'name', error ->> 'message' FROM triggerdo.runs WHERE run_id = '$run'"),
		"HANDLE_ERROR_ERROR|$kept{$how}", "catch_error $how: that is the attempt's error");
}
my $run = trigger('judged', '{"evil":"ends","fail":1}');
is(story($run), 'CRASHED 1 body 0 evil 0 good 1', 'catch_error that ends its process is part of the attempt');

# ---------------------------------------------------------- faults, crashes, restarts

my $faults = 0;
foreach my $fault ('before_hook kill', 'before_hook fatal', 'hook_taken kill', 'hook_taken fatal', 'before_commit fatal', 'before_commit kill')
{
	my ($point, $action) = split / /, $fault;
	# a run that an executor ends, and one that the session does
	foreach my $delay ('', q(, delay => '1 day'))
	{
		next if $delay eq '' && $point eq 'hook_taken';
		next if $delay ne '' && $point eq 'before_commit';
		$node->safe_psql('postgres', "SELECT triggerdo_test.reset_faults(), triggerdo_test.fault('$point', '$action')");
		# (the server may crash before the session has taken its leave)
		my $tag = 'fault ' . ++$faults;
		eval { $node->psql('postgres', "SELECT triggerdo.trigger_task('function', '{}', tags => '{$tag}'$delay)", extra_params => [ '-U', 'app' ]) };
		my $one;
		within(60, "$tag: triggered", sub {
			$one = answer($node, "SELECT run_id FROM triggerdo.runs WHERE tags = '{$tag}'") });
		eval { $node->psql('postgres', "SELECT triggerdo.cancel_run('$one')", extra_params => [ '-U', 'app' ]) } if $delay;
		is(story($one), $delay ? 'CANCELED 0 body 0 evil 1 good 1' : 'COMPLETED 1 body 1 evil 1 good 1',
			"$action at $point" . ($delay ? ', queued' : ''));
	}
}
invariants_ok($node, 'after crashes');

# nobody is there to call them: over a restart and a crash they wait, and a dump takes them along
reload_with($node, 'triggerdo.executors = 0');
$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM triggerdo.workers WHERE kind = 'executor')});
my @wait = map { trigger('function', '{}', q(, delay => '1 day')) } 1 .. 3;
app($node, "SELECT triggerdo.cancel_run('$_')") foreach @wait;
my $list = join ',', map { "'$_'" } @wait;
is($node->safe_psql('postgres', "SELECT count(*) FROM triggerdo.hooks WHERE run_id IN ($list) AND state = 'queued'"), '6', 'six wait');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', "SELECT count(*) FROM triggerdo.hooks WHERE run_id IN ($list) AND state = 'queued'"), '6', 'six wait after a crash');
my $dump = $node->basedir . '/hooks.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('copy'), $dump ], 'restored');
# (another server would know app by another oid)
$node->safe_psql('copy', q{UPDATE _triggerdo.role SET role = 424242 WHERE name = 'app'; UPDATE _triggerdo.task SET owner = 424242; UPDATE _triggerdo.live SET owner = 424242;
	UPDATE _triggerdo.run SET owner = 424242, triggered_by = 424242; UPDATE _triggerdo.hook SET owner = 424242});
$node->safe_psql('copy', 'SELECT triggerdo.resume()');
reload_with($node, 'triggerdo.executors = 2');
foreach my $database (qw(postgres copy))
{
	wait_runs($node, "NOT EXISTS (SELECT FROM triggerdo.hooks WHERE state = 'queued')", $database);
	is($node->safe_psql($database, "SELECT hook, status, count(*), count(DISTINCT run) FROM app.called WHERE run IN ($list) GROUP BY 1, 2 ORDER BY 1"),
		"evil|CANCELED|3|3\ngood|CANCELED|3|3", "$database: each is called once");
	invariants_ok($node, "at the end: $database", $database);
}
$node->stop;
done_testing();
