# At rest nothing is done: no transaction id is burnt, and no processor used.
#
# Red without: the sleeps of serve() (src/executor.c), tdo_scheduler_main()
# (src/scheduler.c) and tdo_launcher_main() (src/launcher.c) on their latches;
# claim_from() taking no id before it has found a run (src/ready.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep sleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('idle', conf => "autovacuum = off");
setup_app($node);
plpgsql_task($node, 'echo', '');

my $xid = 'SELECT triggerdo_test.xid_burnt()';

# user and system time in ticks, and voluntary context switches, of our processes
sub used
{
	my (@pids) = @_;
	my ($ticks, $switches) = (0, 0);

	foreach my $pid (@pids)
	{
		my $stat = slurp_file("/proc/$pid/stat");
		$stat =~ s/.*\) //;
		my @field = split / /, $stat;
		$ticks += $field[11] + $field[12];
		my ($n) = slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
		$switches += $n;
	}
	return ($ticks, $switches);
}

sub quiet
{
	my ($name, $seconds) = @_;
	my @pids = map { pids($node, $_) } qw(launcher scheduler executor);

	# (the time itself is what is tested)
	my $before = $node->safe_psql('postgres', $xid);
	my ($ticks, $switches) = used(@pids);
	sleep($seconds);
	my ($ticks_after, $switches_after) = used(@pids);
	is($node->safe_psql('postgres', $xid), $before, "$name: no transaction id is burnt");
	cmp_ok($ticks_after - $ticks, '<=', 3, "$name: no processor is used (" . @pids . ' processes)');
	cmp_ok($switches_after - $switches, '<=', 5 * $seconds, "$name: nobody wakes up for nothing");
	is_deeply([ map { pids($node, $_) } qw(launcher scheduler executor) ], \@pids, "$name: the same processes");
	return;
}

within(10, 'the scheduler is up', sub { pids($node, 'scheduler') == 1 });
quiet('before the first run', 5);

app($node, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 100)});
app($node, q{SELECT triggerdo.trigger_task('echo', delay => '1 day')});
wait_runs($node, q{(SELECT count(*) FROM triggerdo.runs WHERE finished_at IS NULL) = 1});
# (the watch on a busy pool ends, partitions are made)
wait_runs($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'triggerdo scheduler'
	AND state = 'idle' AND state_change < clock_timestamp() - interval '700 ms')});
ok(pids($node, 'executor') > 0, 'executors are there');
quiet('with executors and a delayed run', 10);

reload_with($node, "triggerdo.idle_timeout = '100ms'");
within(10, 'executors end', sub { pids($node, 'executor') == 0 });
wait_runs($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'triggerdo scheduler'
	AND state = 'idle' AND state_change < clock_timestamp() - interval '700 ms')});
quiet('executors gone', 5);

# work that cannot be done must not be polled for in a hurry, nor burn ids
reload_with($node, 'triggerdo.executors = 0');
app($node, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 100)});
quiet('runs queued, executors switched off', 5);

reload_with($node, 'triggerdo.executors = 2');
wait_runs($node, q{(SELECT count(*) FROM triggerdo.runs WHERE finished_at IS NULL) = 1});
invariants_ok($node, 'at the end');
$node->stop;
done_testing();
