# Runs that one executor has not got round to are not left lying while another
# one rests.
#
# Red without: sum_owners() (src/wake.c); watch_on() keeping a watch that goes on
# already, and tell_given_back() (src/batch.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with);

my $node = node('second');
setup_app($node);
plpgsql_task($node, 'echo', '');
plpgsql_task($node, 'nap', 'PERFORM pg_sleep(0.06); payload := to_jsonb(pg_backend_pid());');
plpgsql_task($node, 'long', 'PERFORM pg_sleep(0.5); payload := to_jsonb(pg_backend_pid());');

# two executors rest, and the scheduler sleeps and is not about to look
sub at_rest
{
	all_final($node);
	wait_runs($node, q{(SELECT count(*) FROM triggerdo.workers WHERE kind = 'executor' AND state = 'idle') = 2
		AND EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'triggerdo scheduler'
			AND state = 'idle' AND state_change < clock_timestamp() - interval '700 ms')});
	return;
}

# runs of this name: how many, and by how many executors
sub done_by
{
	my ($name) = @_;
	return $node->safe_psql('postgres',
		"SELECT count(*), count(DISTINCT output) FROM triggerdo.runs WHERE metadata ->> 'name' = '$name' AND status = 'COMPLETED'");
}

# (starts both)
app($node, q{SELECT count(triggerdo.trigger_task('long')) FROM generate_series(1, 2)});

# ---------------------------------------------- many requests in one transaction

reload_with($node, 'triggerdo.batch_time = 0');		# a run a transaction
at_rest();
my ($scheduler) = pids($node, 'scheduler');
kill 'STOP', $scheduler;	# nobody repairs what the commit forgets
app($node, q{BEGIN;
	SAVEPOINT a; SELECT triggerdo.trigger_task('long', metadata => '{"name": "sum"}'); RELEASE a;
	SAVEPOINT b; SELECT triggerdo.trigger_task('long', metadata => '{"name": "sum"}'); RELEASE b;
	COMMIT});
all_final($node);
kill 'CONT', $scheduler;
is(done_by('sum'), '2|2', 'two subtransactions that enqueue wake two executors');

# --------------------------------------------------- short runs, one after another

at_rest();
my @executors = pids($node, 'executor');
is(scalar @executors, 2, 'two executors rest');
# (so that each commit wakes the same one)
kill 'STOP', @executors;
app($node, q{SELECT triggerdo.trigger_task('nap', metadata => '{"name": "watch"}')}) foreach 1 .. 15;
kill 'CONT', @executors;
all_final($node);
is(done_by('watch'), '15|2', 'an executor busy with many short runs gets help');
reload_with($node, "triggerdo.batch_time = '10ms'");

# ------------------------------------------------------------ what is given back

# a task that is not measured yet wants a transaction of its own: the others
# claimed with it are given back
my @ms;
foreach my $n (1 .. 5)
{
	plpgsql_task($node, "new-$n", 'PERFORM pg_sleep(0.5);');
	# (short runs make the next batch large again)
	app($node, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 300)});
	at_rest();
	app($node, qq{SELECT count(triggerdo.trigger_task('new-$n')) FROM generate_series(1, 2)});
	all_final($node);
	push @ms, $node->safe_psql('postgres', qq{SELECT extract(epoch FROM max(started_at - created_at)) * 1000
		FROM triggerdo.runs WHERE task = 'new-$n'});
}
@ms = sort { $a <=> $b } @ms;
cmp_ok($ms[2], '<', 150, sprintf('runs given back are taken by who rests, before a watch (250 ms): median %.1f ms', $ms[2]));

is($node->safe_psql('postgres', q{SELECT DISTINCT status FROM triggerdo.runs}), 'COMPLETED', 'all complete');
invariants_ok($node, 'at the end');
$node->stop;
done_testing();
