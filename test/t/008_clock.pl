# Time: days in milliseconds, and a clock that is set back; the partitions that
# days bring with them.
#
# Red without: tdo_timers_fire() in look() and tdo_wake_everyone() as the clock's
# "changed" (src/scheduler.c, src/wake.c); keep_partitions_ahead(); the state
# check in fire_one() and TDO_LOCK_BUSY there (src/rows.c); tdo_day_of()
# (src/store.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('clock');
setup_app($node);
plpgsql_task($node, 'echo', '');
plpgsql_task($node, 'wrong', q{RAISE 'on purpose';},
	define => q{retry => triggerdo.retry_policy(3, 'linear', min_delay => '2 days', max_delay => '30 days', jitter => false)});

sub clock { my ($sql) = @_; return $node->safe_psql('postgres', "SELECT triggerdo_test.$sql") }
sub status { my ($run) = @_; return app($node, "SELECT status FROM triggerdo.runs WHERE run_id = '$run'") }
sub partitions
{
	return $node->safe_psql('postgres', q{
		SELECT count(*) FILTER (WHERE relname ~ '^run_'), count(*) FILTER (WHERE relname ~ '^result_'),
			   count(*) FILTER (WHERE relname ~ '^attempt_')
		  FROM pg_class WHERE relnamespace = '_triggerdo'::regnamespace AND relispartition AND relkind = 'r'});
}

clock('freeze()');
clock(q{set_time('2031-03-01 12:00:00+00')});

# ----------------------------------------------------------------- partitions

is(partitions(), '0|0|0', 'no partition before the first run');
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
wait_runs($node, q{to_regclass('_triggerdo.run_20310301') IS NOT NULL});
clock(q{advance('1 s')});
wait_runs($node, q{to_regclass('_triggerdo.run_20310308') IS NOT NULL});
is(partitions(), '8|8|8', 'today and seven days ahead');
clock(q{advance('1 day')});
wait_runs($node, q{to_regclass('_triggerdo.run_20310309') IS NOT NULL});
is(partitions(), '9|9|9', 'the next day makes one more');

# each row in the partition of its day, at both ends of one
foreach my $time ('2031-03-03 00:00:00+00', '2031-03-03 23:59:59.9995+00')
{
	clock("set_time('$time')");
	my $run = app($node, q{SELECT triggerdo.trigger_task('echo')});
	all_final($node);
	foreach my $family ('run', 'result')
	{
		is($node->safe_psql('postgres', "SELECT tableoid::regclass FROM _triggerdo.$family WHERE run_id = '$run'"),
			"_triggerdo.${family}_20310303", "$family of $time");
	}
}

# far away, no scheduler was there before: the enqueue makes the day
clock(q{set_time('2040-02-29 10:00:00+00')});
my $run = app($node, q{SELECT triggerdo.trigger_task('echo')});
all_final($node);
is($node->safe_psql('postgres', "SELECT tableoid::regclass FROM _triggerdo.run WHERE run_id = '$run'"),
	'_triggerdo.run_20400229', 'an enqueue on a day far away makes its partition');
clock(q{advance('1 s')});		# or it takes until the scheduler looks by itself
wait_runs($node, q{to_regclass('_triggerdo.run_20400307') IS NOT NULL});

# --------------------------------------------------------------- delays, retries

$run = app($node, q{SELECT triggerdo.trigger_task('echo', delay => '30 days')});
my $at = app($node, q{SELECT triggerdo.trigger_task('echo', run_at => '2040-03-15 00:00:00+00')});
my $wrong = app($node, q{SELECT triggerdo.trigger_task('wrong')});
wait_runs($node, "EXISTS (SELECT FROM triggerdo.runs WHERE run_id = '$wrong' AND status = 'DELAYED' AND attempt = 1)");
clock(q{advance('1 day 23:59:59')});
clock(q{advance('1 ms')});
is(status($wrong), 'DELAYED', 'a retry after two days is not early');
clock(q{advance('1 s')});
wait_runs($node, "EXISTS (SELECT FROM triggerdo.runs WHERE run_id = '$wrong' AND status = 'DELAYED' AND attempt = 2)");
is(app($node, "SELECT retry_at - finished_at FROM triggerdo.attempts WHERE run_id = '$wrong' ORDER BY attempt"),
	"2 days\n4 days", 'retries are due as the policy says');
clock(q{advance('4 days 1 s')});
wait_runs($node, "EXISTS (SELECT FROM triggerdo.runs WHERE run_id = '$wrong' AND status = 'FAILED' AND attempt = 3)");
is(status($run) . ' ' . status($at), 'DELAYED DELAYED', 'delayed runs wait');
clock(q{set_time('2040-03-15 00:00:00+00')});
wait_runs($node, "EXISTS (SELECT FROM triggerdo.runs WHERE run_id = '$at' AND status = 'COMPLETED')");
is(status($run), 'DELAYED', 'the other still waits');
clock(q{set_time('2040-03-30 10:00:00.999+00')});
is(status($run), 'DELAYED', 'a millisecond before its time too');
clock(q{advance('1 ms')});
wait_runs($node, "EXISTS (SELECT FROM triggerdo.runs WHERE run_id = '$run' AND status = 'COMPLETED')")
  or diag($node->safe_psql('postgres', "SELECT status, delayed_until, attempt, triggerdo_test.now() FROM triggerdo.runs WHERE run_id = '$run'; SELECT kind, role, state, reason, since, next_try FROM triggerdo.workers"));

# many at once: more than are fired in one go
app($node, q{SELECT count(triggerdo.trigger_task('echo', delay => '1 day')) FROM generate_series(1, 2500)});
clock(q{advance('1 day')});
all_final($node);

# -------------------------------------------------- a cancel and the timer at once

$run = app($node, q{SELECT triggerdo.trigger_task('echo', delay => '1 hour')});
my $other = app($node, q{SELECT triggerdo.trigger_task('echo', delay => '1 hour')});
foreach my $end ('ROLLBACK', 'COMMIT')
{
	my $session = $node->background_psql('postgres');
	$session->query_safe("BEGIN; SELECT triggerdo.cancel_run('$run')");
	clock(q{advance('1 hour')});
	# the other one fires: the scheduler has passed by
	wait_runs($node, "EXISTS (SELECT FROM triggerdo.runs WHERE run_id = '$other' AND status = 'COMPLETED')");
	is(status($run), 'DELAYED', "cancel not yet committed ($end): the run is not fired");
	$session->query_safe($end);
	$session->quit;
	wait_runs($node, "EXISTS (SELECT FROM triggerdo.runs WHERE run_id = '$run' AND status = '"
		  . ($end eq 'COMMIT' ? 'CANCELED' : 'COMPLETED') . "')");
	$run = app($node, q{SELECT triggerdo.trigger_task('echo', delay => '1 hour')});
	$other = app($node, q{SELECT triggerdo.trigger_task('echo', delay => '1 hour')});
}
clock(q{advance('1 hour')});
all_final($node);

# ------------------------------------------------------------- the clock is set back

# (from here on it goes by itself, as a real one does)
clock('reset()');
clock(q{set_time('2040-06-01 12:00:00+00')});
$run = app($node, q{SELECT triggerdo.trigger_task('echo', delay => '10 min')});
clock(q{advance('-3 hours')});
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
pass('runs are done while the clock is behind');
is(status($run), 'DELAYED', 'a delayed run waits for its time');
# obstacles met before the step are not remembered beyond it
reload_with($node, "triggerdo.idle_timeout = '100ms'");
clock(q{advance('40 days')});
$node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC');
within(10, 'executors end', sub {
	# (a row without a process tells of one that could not start; the run that has
	# come due may be late enough for that)
	$node->safe_psql('postgres', q{SELECT count(pid) FROM triggerdo.workers WHERE kind = 'executor'}) eq '0' });
my $stuck = $node->safe_psql('postgres', q{SELECT triggerdo.trigger_task('echo')});
wait_runs($node, q{EXISTS (SELECT FROM triggerdo.workers WHERE reason ~ 'CONNECT')})
  or diag($node->safe_psql('postgres', "SELECT status, run_id, owner FROM triggerdo.runs WHERE run_id = '$stuck'; SELECT kind, role, state, reason, since, next_try, triggerdo_test.now() FROM triggerdo.workers"));
clock(q{advance('-40 days')});
$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC');
clock(q{advance('2 minutes')});
wait_runs($node, "EXISTS (SELECT FROM triggerdo.runs WHERE run_id = '$stuck' AND status = 'COMPLETED')");
# the same for the launcher: a scheduler that ended is replaced whatever the clock says
clock(q{advance('40 days')});
my ($old) = pids($node, 'scheduler');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
within(10, 'a new scheduler', sub { my @p = pids($node, 'scheduler'); return @p == 1 && $p[0] != $old });
clock(q{advance('-40 days')});
($old) = pids($node, 'scheduler');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
clock(q{advance('2 minutes')});
within(15, 'a new scheduler after the clock was set back', sub { my @p = pids($node, 'scheduler'); return @p == 1 && $p[0] != $old });
clock(q{advance('4 hours')});
all_final($node);

clock('reset()');
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
invariants_ok($node, 'at the end');
$node->stop;
done_testing();
