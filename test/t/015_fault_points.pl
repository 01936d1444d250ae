# Every fault point (TDO_FAULT() in src/), with every fault, for every kind of
# task: no run lost, none done twice that may not be, and nothing bent.
#
# Red without, in src/batch.c: handling (record_outside() of what is not the
# machine's fault), run_each_alone() in commit_failed(), claiming
# in one_transaction() (the claimed run would wait a minute); in src/durable.c:
# tdo_claim_lock() in record() and complete_procedure(); in src/scheduler.c:
# tdo_ready_void_claims() in see_to_the_ended().

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app answer poll wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('faults', fast => 1, conf => "triggerdo.idle_timeout = '60s'\nlog_min_messages = log");
setup_app($node);
my $retry = q{retry => triggerdo.retry_policy(9, 'fixed', min_delay => '10 ms')};
app($node, qq{
	CREATE TABLE app.ledger (run uuid, task text, step int);
	CREATE PROCEDURE app.pay(payload jsonb) LANGUAGE plpgsql AS \$\$
	BEGIN INSERT INTO app.ledger SELECT run_id, task, 1 FROM triggerdo.current_run(); END \$\$;
	CREATE PROCEDURE app.steps(payload jsonb) LANGUAGE plpgsql AS \$\$
	BEGIN
		INSERT INTO app.ledger SELECT run_id, task, 1 FROM triggerdo.current_run();
		COMMIT;
		INSERT INTO app.ledger SELECT run_id, task, 2 FROM triggerdo.current_run();
	END \$\$;
	SELECT triggerdo.define_task('procedure', run => 'app.pay', $retry);
	SELECT triggerdo.define_task('steps', run => 'app.steps', options => '{"ownCommits": true}', $retry);
	SELECT triggerdo.define_task('command', command =>
		'INSERT INTO app.ledger SELECT run_id, task, 1 FROM triggerdo.current_run()', $retry)});
plpgsql_task($node, 'function', 'INSERT INTO app.ledger SELECT run_id, task, 1 FROM triggerdo.current_run();',
	define => $retry);
plpgsql_task($node, 'fork', q{INSERT INTO app.ledger SELECT run_id, task, 1 FROM triggerdo.current_run();
	PERFORM triggerdo.trigger_task('function');}, define => $retry);

# crashes of the server so far, as its log has them
sub crashes
{
	my @lines = slurp_file($node->logfile) =~ /terminated by signal \d+/g;
	return scalar @lines;
}

sub settled
{
	my ($seconds) = @_;
	my $until = time + $seconds;
	while (time < $until)
	{
		return 1 if (answer($node, 'SELECT count(*) FROM _triggerdo.live') // '') eq '0';
		usleep(50_000);
	}
	return 0;
}

my $rounds = 0;

# round_of(TASK, RUNS, POINT, ACTION, [OPTION => VALUE...]): one fault, and what is left of it
sub round_of
{
	my ($task, $n, $point, $action, %opts) = @_;
	my $name = "$task: $action at $point";
	my $dies = $action eq 'kill' || $action eq 'segv';
	my $before = crashes();

	$node->safe_psql('postgres', 'TRUNCATE app.ledger; SELECT triggerdo_test.reset_faults();'
		. ($opts{arm} // '') . "SELECT triggerdo_test.fault('$point', '$action', skip => " . ($opts{skip} // 0) . ')');
	my $how = $opts{how} // '';
	# (the server may crash before the session has taken its leave)
	my $tag = 'round ' . ++$rounds;
	$node->psql('postgres', "SELECT count(triggerdo.trigger_task('$task'$how, tags => '{$tag}')) FROM generate_series(1, $n)",
		extra_params => [ '-U', 'app' ]);
	$opts{meanwhile}->($tag) if $opts{meanwhile};
	settled(30);
	my @runs = split /\n/, $node->safe_psql('postgres', "SELECT run_id FROM triggerdo.runs WHERE tags = '{$tag}'");
	my $list = join ',', map { "'$_'" } @runs;
	is($dies ? crashes() - $before : $node->safe_psql('postgres', "SELECT triggerdo_test.fault_hits('$point')"),
		'1', "$name: it happened once");
	is( $node->safe_psql('postgres', "SELECT count(*) FILTER (WHERE status = 'COMPLETED') FROM triggerdo.runs WHERE run_id IN ($list)"),
		"$n", "$name: none is lost")
	  or diag($node->safe_psql('postgres', "SELECT run_id, status, attempt, error, (SELECT l FROM _triggerdo.live l WHERE l.run_id = r.run_id) FROM triggerdo.runs r WHERE run_id IN ($list)"));
	my $exact = $task eq 'command' ? '<' : '<>';
	is( $node->safe_psql('postgres', qq{
		SELECT count(*) FROM unnest(ARRAY[$list]::uuid[]) r,
			   LATERAL (SELECT count(*) FILTER (WHERE step = 1) AS one, count(*) FILTER (WHERE step = 2) AS two
						  FROM app.ledger WHERE run = r) l
		 WHERE CASE '$task' WHEN 'steps' THEN one < 1 OR two <> 1 ELSE one $exact 1 END}),
		'0', $task eq 'command' ? "$name: each is done" : "$name: none is done twice");
	return;
}

my @points = qw(after_claim before_user after_user before_record before_commit after_commit);
foreach my $task (qw(function procedure steps command))
{
	my $durable = $task ne 'function';
	foreach my $point (@points, $durable ? qw(before_durable_claim after_durable_claim) : ())
	{
		foreach my $action ($task eq 'steps' ? qw(error fatal) : qw(error full fatal kill))
		{
			round_of($task, $durable ? 3 : 20, $point, $action);
		}
	}
	invariants_ok($node, "$task, after every fault");
}

# in a task that triggers another, in the scheduler, and when a failure is recorded
foreach my $action (qw(error full fatal kill))
{
	# (the first five are the session's)
	round_of('fork', 5, 'enqueue', $action, skip => 5);
	is($node->safe_psql('postgres', q{SELECT count(*) FROM app.ledger WHERE task = 'function'}),
		'5', "enqueue, $action: each has triggered one");
	round_of('function', 5, 'timers', $action, how => q{, delay => '50 ms'});
	round_of('function', 1, 'record_outside', $action,
		arm => q{SELECT triggerdo_test.fault('before_commit', 'error');});
}
invariants_ok($node, 'after faults of the scheduler');

# an executor ends, and then the scheduler that sees to its run
plpgsql_task($node, 'slow', q{PERFORM pg_sleep(0.3);
	INSERT INTO app.ledger SELECT run_id, task, 1 FROM triggerdo.current_run();}, define => $retry);
foreach my $action (qw(error full fatal kill))
{
	round_of('slow', 1, 'ended', $action, meanwhile => sub {
		my ($tag) = @_;
		$node->poll_query_until('postgres', "SELECT status = 'EXECUTING' FROM triggerdo.runs WHERE tags = '{$tag}'");
		$node->psql('postgres', "SELECT pg_terminate_backend(w.pid) FROM triggerdo.workers w JOIN triggerdo.runs r USING (run_id) WHERE r.tags = '{$tag}'");
	});
}

# a session that dies in the middle of an enqueue
foreach my $action (qw(error fatal kill))
{
	$node->safe_psql('postgres', "SELECT triggerdo_test.reset_faults(), triggerdo_test.fault('enqueue', '$action')");
	my $runs = $node->safe_psql('postgres', 'SELECT count(*) FROM triggerdo.runs');
	my ($rc) = $node->psql('postgres', q{SELECT triggerdo.trigger_task('function')}, extra_params => [ '-U', 'app' ]);
	isnt($rc, 0, "enqueue in a session, $action: it fails");
	poll($node, 'SELECT true');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM triggerdo.runs'), $runs, "enqueue in a session, $action: no run");
}

invariants_ok($node, 'at the end');
$node->stop;
done_testing();
