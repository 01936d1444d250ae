# Exactly once, under everything at once: 20,000 runs that write into a ledger
# without a unique key; among them some that fail, deadlock, meet serialization
# failures, fail at commit, are slow; executors terminated in between, and a crash
# of the whole server.
#
# Red without: the result, the live row's delete and the task's effects in one
# transaction (batch_transaction() in src/executor.c, tdo_finish() in
# src/transition.c); tdo_sub_rollback() in tdo_execute(); run_each_alone().

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app poll wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('ledger', conf => "deadlock_timeout = '50ms'
	triggerdo.executors = 4
	log_min_messages = fatal");
setup_app($node);
app($node, q{
	CREATE TABLE app.ledger (run uuid, kind text, attempt int);
	CREATE TABLE app.account (id int PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
	INSERT INTO app.account SELECT generate_series(1, 10);
	CREATE TABLE app.parent (id int PRIMARY KEY);
	INSERT INTO app.parent VALUES (1);
	CREATE TABLE app.child (id int REFERENCES app.parent DEFERRABLE INITIALLY DEFERRED);
	CREATE SEQUENCE app.dice});

my $effect = q{INSERT INTO app.ledger SELECT run_id, task, attempt FROM triggerdo.current_run();};
my $retry = q{retry => triggerdo.retry_policy(20, 'fixed', min_delay => '10 ms')};

plpgsql_task($node, 'plain', $effect);
# fails at its first two attempts, after its effect
plpgsql_task($node, 'flaky', qq{$effect
	IF (SELECT attempt FROM triggerdo.current_run()) < 3 THEN RAISE 'not yet'; END IF;}, define => $retry);
# fails for good
plpgsql_task($node, 'wrong', qq{$effect RAISE 'never';}, define => q{retry => triggerdo.retry_policy(2, 'none')});
# two rows, in either order: deadlocks
plpgsql_task($node, 'transfer', qq{$effect
	UPDATE app.account SET n = n + 1 WHERE id = (payload ->> 'from')::int;
	PERFORM pg_sleep(0.002);
	UPDATE app.account SET n = n - 1 WHERE id = (payload ->> 'to')::int;}, define => $retry);
# a serialization failure, now and then
plpgsql_task($node, 'serial', qq{$effect
	IF nextval('app.dice') % 3 = 0 THEN RAISE 'again' USING ERRCODE = 'serialization_failure'; END IF;}, define => $retry);
# half of them fail when they commit
plpgsql_task($node, 'late', qq{$effect INSERT INTO app.child VALUES ((payload ->> 'parent')::int);},
	define => q{retry => triggerdo.retry_policy(2, 'none')});
plpgsql_task($node, 'slow', qq{$effect PERFORM pg_sleep(0.05);});
# triggers another in its own transaction, and may then fail
plpgsql_task($node, 'fork', qq{$effect PERFORM triggerdo.trigger_task('plain', '{"forked": true}');
	IF (SELECT attempt FROM triggerdo.current_run()) < 2 THEN RAISE 'after the fork'; END IF;}, define => $retry);

my %n = (plain => 16_000, flaky => 600, wrong => 300, transfer => 600, serial => 900, late => 400, slow => 200, fork => 1000);
my $sql = join ' UNION ALL ', map {
	my $payload = $_ eq 'transfer' ? q{jsonb_build_object('from', 1 + i % 2, 'to', 2 - i % 2)}
	  : $_ eq 'late' ? q{jsonb_build_object('parent', 1 + i % 2)} : q{'{}'::jsonb};
	"SELECT '$_' AS task, $payload AS payload FROM generate_series(1, $n{$_}) i"
} sort keys %n;
app($node, "SELECT count(triggerdo.trigger_task(task, payload)) FROM (SELECT * FROM ($sql) x ORDER BY md5(task || random())) y");

# ------------------------------------------------------------ while it works

my $deadline = time + 150;
my ($left, $round, $killed) = (1, 0, 0);
while ($left && time < $deadline)
{
	my ($rc, $out) = $node->psql('postgres', 'SELECT count(*) FROM _triggerdo.live');
	$left = $out if $rc == 0 && $out ne '';
	$round++;
	if ($round % 5 == 2)
	{
		$node->psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE backend_type = 'triggerdo executor' ORDER BY random() LIMIT 1});
		$killed++;
	}
	# the server as a whole, once
	if ($round == 8)
	{
		my ($rc, $pid) = $node->psql('postgres',
			q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'triggerdo executor' LIMIT 1});
		kill 'KILL', $pid if $rc == 0 && $pid =~ /^\d+$/;
		poll($node, 'SELECT true');
	}
	usleep(200_000);
}
is($left, 0, 'every run has ended');
diag("executors terminated: $killed") if $left;

# ------------------------------------------------------------- the balance

my $forked = $n{fork};
foreach my $task (sort keys %n)
{
	my $runs = $n{$task} + ($task eq 'plain' ? $forked : 0);
	my $ok = $task eq 'wrong' ? 0 : $task eq 'late' ? $runs / 2 : $runs;

	is( $node->safe_psql('postgres', qq{
			SELECT count(*), count(*) FILTER (WHERE status = 'COMPLETED'), count(*) FILTER (WHERE status = 'FAILED')
			  FROM triggerdo.runs WHERE task = '$task'}),
		join('|', $runs, $ok, $runs - $ok), "$task: every run has its end");
	is( $node->safe_psql('postgres', qq{
			SELECT count(*), count(DISTINCT run) FROM app.ledger WHERE kind = '$task'}),
		"$ok|$ok", "$task: what completed has its effect once, what failed has none");
}
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM app.ledger l FULL JOIN
			(SELECT run_id FROM triggerdo.runs WHERE status = 'COMPLETED') r ON r.run_id = l.run
		 WHERE l.run IS NULL OR r.run_id IS NULL}),
	'0', 'the ledger and the completed runs are the same');
is($node->safe_psql('postgres', 'SELECT sum(n), count(*) FROM app.account'), '0|10', 'no transfer is half done');
is($node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.runs WHERE task = 'flaky' AND attempt <> 3}),
	'0', 'failed attempts are counted, cut off ones are not');
is($node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.attempts WHERE task = 'wrong' AND error ->> 'message' <> 'never'}),
	'0', 'errors are the tasks\' own');
my @signals = slurp_file($node->logfile) =~ /terminated by signal (?!9\b)(\d+)/g;
is("@signals", '', 'no process crashed by itself');
invariants_ok($node, 'at the end');
$node->stop;
done_testing();
