# Stopping user code, and nothing but user code: cancel_run, max_duration, and
# pg_cancel_backend, which is none of ours (F03, F10 to F13).
#
# Red without, in src/stop.c: allow_cancel(false) in tdo_user_leave() and
# tdo_stop_init() (the storm); the compare-and-exchange in request(); before_commit()
# (deferred triggers); CONTROL_DIE in oversee() and handle_stop() (the loop that
# swallows); slot->reported. In src/execute.c: the ereport() after
# leave_user_code() (a swallowed cancel); in src/executor.c: ended.stop; in
# src/batch.c: tdo_attempt_report() in run_durable(), the branch of TDO_STOP_CANCEL in commit_failed(); in
# src/scheduler.c: tdo_stop_oversee().

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('stop', conf => "triggerdo.cancel_grace = '600ms'\ntriggerdo.max_executors_per_role = 2");
setup_app($node);
my $twice = q{retry => triggerdo.retry_policy(2, 'none')};
my $effect = 'INSERT INTO app.effect SELECT run_id, pg_backend_pid(), attempt FROM triggerdo.current_run();';

# the same body as a function, a procedure and (where it is one statement) a command
sub three
{
	my ($id, $body, %opts) = @_;
	my $define = $opts{define} ? ", $opts{define}" : '';

	plpgsql_task($node, "$id-function", $body, %opts);
	app($node, qq{
		CREATE OR REPLACE PROCEDURE app.${id}_p(payload jsonb) LANGUAGE plpgsql AS \$body\$ BEGIN $body END \$body\$;
		SELECT triggerdo.define_task('$id-procedure', run => 'app.${id}_p'$define);
		SELECT triggerdo.define_task('$id-command', command => 'DO \$x\$ BEGIN $opts{quoted} END \$x\$'$define)})
	  if $opts{quoted};
	return;
}

sub trigger { my ($task, $more) = @_; return app($node, "SELECT triggerdo.trigger_task('$task'" . ($more // '') . ')') }

# (limits are a second, so that a look each 100 ms finds the run before it is over)
sub executing
{
	my ($run) = @_;
	$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM triggerdo.workers WHERE run_id = '$run')")
	  or die "run $run does not begin";
	return $node->safe_psql('postgres', "SELECT pid FROM triggerdo.workers WHERE run_id = '$run'");
}

sub outcome
{
	my ($run) = @_;
	my $final = app($node, "SELECT triggerdo.wait_for_run('$run', '20 s') IS NOT NULL");
	return "not final" unless $final eq 't';
	return $node->safe_psql('postgres', qq{
		SELECT concat_ws(' ', status, error ->> 'name', error ->> 'sqlstate', 'attempt', attempt)
		  FROM triggerdo.runs WHERE run_id = '$run'});
}

sub effects
{
	my ($run) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM app.effect WHERE run = '$run'");
}

sub alive { my ($pid) = @_; return $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") }

app($node, 'CREATE TABLE app.effect (run uuid, pid int, attempt int)');

# ------------------------------------------------------- F03: pg_cancel_backend

(my $quoted = $effect) =~ s/'/''/g;
three('slow', "$effect IF (SELECT attempt = 1 FROM triggerdo.current_run()) THEN PERFORM pg_sleep(30); END IF;",
	quoted => "$quoted IF (SELECT attempt = 1 FROM triggerdo.current_run()) THEN PERFORM pg_sleep(30); END IF;",
	define => $twice);
foreach my $kind (qw(function procedure command))
{
	my $run = trigger("slow-$kind");
	my $pid = executing($run);
	usleep(100_000);
	is($node->safe_psql('postgres', "SELECT state, query FROM pg_stat_activity WHERE pid = $pid"),
		"active|triggerdo run $run of task slow-$kind", "$kind: shown as active in pg_stat_activity");
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
	is(outcome($run), 'COMPLETED attempt 2', "F03 $kind: pg_cancel_backend fails the attempt, which is tried again");
	is( $node->safe_psql('postgres', "SELECT error ->> 'sqlstate' FROM triggerdo.attempts WHERE run_id = '$run' AND attempt = 1"),
		'57014', "F03 $kind: with 57014");
	is(effects($run), '1', "F03 $kind: its effect is there once");
	is(alive($pid), '1', "F03 $kind: the executor survives");
}

# ------------------------------------------- F12: max_duration, and cancel_run

three('long', "$effect PERFORM pg_sleep(30);", quoted => "$quoted PERFORM pg_sleep(30);",
	define => q{max_duration => '1 s', retry => triggerdo.retry_policy(3, 'none')});
three('ever', "$effect PERFORM pg_sleep(30);", quoted => "$quoted PERFORM pg_sleep(30);",
	define => q{retry => triggerdo.retry_policy(3, 'none')});
three('loop', "$effect LOOP END LOOP;", quoted => "$quoted LOOP END LOOP;", define => q{max_duration => '1 s'});
foreach my $kind (qw(function procedure command))
{
	foreach my $task ('long', 'loop')
	{
		my $begin = time;
		my $run = trigger("$task-$kind");
		my $pid = executing($run);
		like(outcome($run), qr/^TIMED_OUT \S+ .*attempt 1$/, "F12 $task $kind: max_duration ends it for good");
		cmp_ok(time - $begin, '<', 5, "F12 $task $kind: in time");
		is(effects($run), '0', "F12 $task $kind: without effect");
		is(alive($pid), '1', "F12 $task $kind: the executor survives");
	}
	# the run's own limit counts, not the task's
	my $run = app($node, "SELECT (triggerdo.batch_trigger_task('ever-$kind', ARRAY['{}']::jsonb[], '{\"maxDuration\": \"200 ms\"}'))[1]");
	like(outcome($run), qr/^TIMED_OUT/, "F12 $kind: options.maxDuration");
	$run = trigger("ever-$kind");
	my $pid = executing($run);
	is(app($node, "SELECT triggerdo.cancel_run('$run', 'enough of $kind')"), 't', "cancel_run of an executing $kind");
	is( $node->safe_psql('postgres', "SELECT status, error ->> 'message', attempt FROM triggerdo.runs WHERE run_id = '$run'"),
		"CANCELED|enough of $kind|1", "$kind: is recorded when it returns, with its reason, and not tried again");
	is(effects($run), '0', "$kind: a cancelled run has no effect");
	is(alive($pid), '1', "$kind: its executor survives");
	is(app($node, "SELECT triggerdo.cancel_run('$run')"), 'f', "$kind: cancelled again: it is final");
}

# --------------------------------------------------------- F13: it swallows that

my $swallow = "$effect BEGIN PERFORM pg_sleep(30); EXCEPTION WHEN query_canceled THEN NULL; END;";
(my $qswallow = $swallow) =~ s/INSERT/INSERT/g;
three('swallow', $swallow, quoted => $qswallow);
three('deaf', "$effect LOOP BEGIN PERFORM pg_sleep(30); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;",
	quoted => "$quoted LOOP BEGIN PERFORM pg_sleep(30); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;");
foreach my $kind (qw(function procedure command))
{
	foreach my $how ('cancel', 'timeout')
	{
		my $status = $how eq 'cancel' ? 'CANCELED' : 'TIMED_OUT';
		foreach my $task ('swallow', 'deaf')
		{
			my $run = trigger("$task-$kind", $how eq 'timeout' ? q{, max_duration => '1 s'} : '');
			my $pid = executing($run);
			usleep(100_000);
			my $begin = time;
			app($node, "SELECT triggerdo.cancel_run('$run')") if $how eq 'cancel';
			like(outcome($run), qr/^$status .*attempt 1$/, "F13 $task $kind, $how: is $status all the same");
			cmp_ok(time - $begin, '<', 6, "F13 $task $kind, $how: in time");
			is(effects($run), '0', "F13 $task $kind, $how: without effect");
			within(3, $task eq 'deaf' ? "F13 $task $kind, $how: its process is ended" : "F13 $task $kind, $how: the executor survives",
				sub { alive($pid) eq ($task eq 'deaf' ? '0' : '1') });
		}
	}
}

# --------------------------------------- F12: C code that never looks whether it is to stop

plpgsql_task($node, 'spin', "$effect PERFORM triggerdo_test.spin(4);", define => q{max_duration => '200 ms'});
my $log = -s $node->logfile;
my $run = trigger('spin');
my $other = trigger('swallow-function', q{, max_duration => '1 s'});
like(outcome($run), qr/^TIMED_OUT/, 'F12: C code without a check for interrupts is stopped when it returns');
my @reports = slurp_file($node->logfile, $log) =~ /run $run does not stop/g;
is(scalar @reports, 1, 'F12: and reported once');
is(effects($run), '0', 'F12: without effect');
like(outcome($other), qr/^TIMED_OUT/, 'F12: others were served meanwhile');

# ---------------------------------------------------- at commit; one of a batch

app($node, q{
	CREATE TABLE app.late (run uuid, seconds float8);
	CREATE FUNCTION app.linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(NEW.seconds); RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.late DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION app.linger()});
three('late', "$effect INSERT INTO app.late SELECT run_id, 30 FROM triggerdo.current_run();",
	quoted => "$quoted INSERT INTO app.late SELECT run_id, 30 FROM triggerdo.current_run();");
foreach my $kind (qw(function procedure command))
{
	foreach my $how ('cancel', 'timeout')
	{
		my $run = trigger("late-$kind", $how eq 'timeout' ? q{, max_duration => '1 s'} : '');
		my $pid = executing($run);
		usleep(200_000);
		app($node, "SELECT triggerdo.cancel_run('$run')") if $how eq 'cancel';
		like(outcome($run), $how eq 'cancel' ? qr/^CANCELED/ : qr/^TIMED_OUT/, "$kind, $how: in a deferred trigger, at its commit");
		is(effects($run), '0', "$kind, $how at commit: without effect");
		is(alive($pid), '1', "$kind, $how at commit: the executor survives");
	}
}

reload_with($node, 'triggerdo.executors = 1', q{triggerdo.batch_time = '1s'});
my $n_case = 0;
foreach my $case ([ 'in its middle', '{"sleep": 30}', 4, 4 ],
	[ 'at its commit', '{"sleep": 0, "late": 30}', 4, 4 ],
	[ 'another of it at its commit', '{"sleep": 0, "late": 2}', 4, 2 ])
{
	my ($name, $payload, $slow, $victim) = @$case;
	# (a task whose commit has failed keeps to itself for a while: each case has its own)
	my $task = 'one-of-' . ++$n_case;
	plpgsql_task($node, $task, qq{$effect
		PERFORM pg_sleep((payload ->> 'sleep')::float8);
		IF payload ? 'late' THEN INSERT INTO app.late VALUES (NULL, (payload ->> 'late')::float8); END IF;});
	# (known to be short, it shares a transaction from now on)
	app($node, qq{SELECT count(triggerdo.trigger_task('$task', '{"sleep": 0}')) FROM generate_series(1, 30)});
	all_final($node);
	my @runs = split /\n/, app($node, qq{
		SELECT triggerdo.trigger_task('$task', CASE i WHEN $slow THEN '$payload' ELSE '{"sleep": 0}' END::jsonb)
		  FROM generate_series(0, 9) i});
	my $run = $runs[$victim];
	wait_runs($node, "EXISTS (SELECT FROM triggerdo.workers WHERE run_id IS NOT NULL AND kind = 'executor')");
	usleep(400_000);
	is(app($node, "SELECT triggerdo.cancel_run('$run')"), 't', "one of a batch, $name: cancel_run");
	all_final($node);
	my $list = join ',', map { "'$_'" } @runs;
	is( $node->safe_psql('postgres', qq{
			SELECT r.status::text, count(*), sum((SELECT count(*) FROM app.effect e WHERE e.run = r.run_id))
			  FROM triggerdo.runs r WHERE run_id IN ($list) GROUP BY 1 ORDER BY 1}),
		"CANCELED|1|0\nCOMPLETED|9|9", "one of a batch, $name: the others are done, once");
	is($node->safe_psql('postgres', "SELECT status FROM triggerdo.runs WHERE run_id = '$run'"), 'CANCELED',
		"one of a batch, $name: and it was the right one");
}
reload_with($node, 'triggerdo.executors = 2', q{triggerdo.batch_time = '10ms'});
invariants_ok($node, 'before the storm');

# --------------------------------------------------------------------- a storm

app($node, q{CREATE TABLE app.storm (run uuid, kind text)});
my $mark = q{INSERT INTO app.storm SELECT run_id, task FROM triggerdo.current_run();};
plpgsql_task($node, 'storm-function', "$mark PERFORM pg_sleep(random() * 0.002);");
app($node, qq{
	CREATE PROCEDURE app.storm_p(payload jsonb) LANGUAGE plpgsql AS \$\$ BEGIN $mark PERFORM pg_sleep(random() * 0.002); END \$\$;
	SELECT triggerdo.define_task('storm-procedure', run => 'app.storm_p')});
trigger('storm-function') foreach 1 .. 2;
all_final($node);
my @pool = pids($node, 'executor');
my $n = 2000;
app($node, qq{
	SELECT count(triggerdo.trigger_task(CASE WHEN i % 4 = 0 THEN 'storm-procedure' ELSE 'storm-function' END)) FROM generate_series(1, $n) i});
my @storms;
foreach my $role ('app', 'app', 'postgres')
{
	my $what = $role eq 'app'
	  ? q{PERFORM triggerdo.cancel_run(run_id) FROM (SELECT run_id FROM triggerdo.workers WHERE run_id IS NOT NULL ORDER BY random() LIMIT 1) x}
	  : q{PERFORM pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'triggerdo executor'};
	my $left = q{NOT EXISTS (SELECT FROM triggerdo.stats)};
	my ($in, $out, $error) = ('', '', '');
	push @storms,
	  [ IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-U', $role, '-v', 'ON_ERROR_STOP=1', '-c',
			qq{DO \$\$ BEGIN FOR i IN 1 .. 100000 LOOP $what; COMMIT; PERFORM pg_sleep(0.003); EXIT WHEN $left; COMMIT; END LOOP; END \$\$} ],
		'<', \$in, '>', \$out, '2>', \$error, IPC::Run::timeout(120)), \$error ];
}
ok($node->poll_query_until('postgres', 'SELECT NOT EXISTS (SELECT FROM _triggerdo.live)'), 'storm: every run ends');
foreach my $s (@storms)
{
	my ($h, $error) = @$s;
	eval { IPC::Run::finish($h) } or diag($@);
	is(${$error} // '', '', 'storm: the one who made it had no error');
}
my $balance = $node->safe_psql('postgres', q{
	SELECT string_agg(format('%s %s %s %s', task, status, error ->> 'sqlstate', n), ', ' ORDER BY task, status) FROM
		(SELECT task, status, error, count(*) AS n FROM (SELECT task, status, jsonb_build_object('sqlstate', error ->> 'sqlstate') AS error
			FROM triggerdo.runs WHERE task LIKE 'storm-%') r GROUP BY 1, 2, 3) x});
note($balance);
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM triggerdo.runs r WHERE task LIKE 'storm-%' AND NOT CASE status
			WHEN 'COMPLETED' THEN (SELECT count(*) = 1 FROM app.storm s WHERE s.run = r.run_id)
			WHEN 'CANCELED' THEN NOT EXISTS (SELECT FROM app.storm s WHERE s.run = r.run_id)
			WHEN 'FAILED' THEN error ->> 'sqlstate' = '57014' AND NOT EXISTS (SELECT FROM app.storm s WHERE s.run = r.run_id)
			ELSE false END}),
	'0', "storm: each is COMPLETED with its effect, or stopped without ($balance)");
like($balance, qr/function CANCELED.*function FAILED 57014.*procedure CANCELED/, 'storm: there were hits of every sort');
my %now = map { $_ => 1 } pids($node, 'executor');
is(join(' ', grep { !$now{$_} } @pool), '', 'storm: no executor is lost');
trigger('storm-function');
all_final($node);
invariants_ok($node, 'at the end');
$node->stop;
done_testing();
