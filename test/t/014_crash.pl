# Processes that end in the middle, one by one and all at once (F01, F02, F04, F05,
# F07, F08, F09, F32): what was in hand is done all the same, who was only near it
# loses nothing, and who brings the server down is CRASHED in the end.
#
# TDO_LONG_SECONDS=60 makes the long run beside the poison as long as the issue
# says; 15 is enough to be cut off and begun again.
#
# Red without, in src/crash.c: note_quit() (innocents become suspects, and the long
# run waits), hand->alone in suspect() (an innocent would be counted), START_US in
# suspect_in_turn() (a suspect whom nobody runs), read_hands(); in
# src/transition.c: "live.crashes == 1" and the delay in tdo_executor_ended(),
# too_many_crashes(); in src/executor.c: tdo_ended_add() in leave_slot(); in
# src/batch.c: TDO_TURN_WAIT; in src/ready.c: tdo_ready_void_claims().

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app answer wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $seconds = $ENV{TDO_LONG_SECONDS} // 15;
my $node = node('crash', init => { allows_streaming => 1 }, fast => 1, conf => "triggerdo.executors = 4\nlog_min_messages = log");
setup_app($node);
app($node, 'CREATE TABLE app.ledger (run uuid, began timestamptz, ended timestamptz DEFAULT clock_timestamp())');

my $done = q{INSERT INTO app.ledger SELECT run_id, statement_timestamp() FROM triggerdo.current_run();};
# (a line in the log outlives whatever happens to the run)
my $say = q{RAISE LOG 'begun: %', (SELECT run_id FROM triggerdo.current_run());};
plpgsql_task($node, 'function', "$say PERFORM pg_sleep((payload ->> 's')::float8); $done");
plpgsql_task($node, 'short', $done);
app($node, qq{
	CREATE PROCEDURE app.slow(payload jsonb) LANGUAGE plpgsql AS \$\$ BEGIN $say PERFORM pg_sleep((payload ->> 's')::float8); $done END \$\$;
	SELECT triggerdo.define_task('procedure', run => 'app.slow');
	SELECT triggerdo.define_task('command', command => 'DO \$x\$ BEGIN RAISE LOG ''begun: %'', (SELECT run_id FROM triggerdo.current_run());
		PERFORM pg_sleep((payload ->> ''s'')::float8) FROM triggerdo.current_run(); $done END \$x\$')});

sub trigger { my ($task, $payload) = @_; return app($node, "SELECT triggerdo.trigger_task('$task', '$payload')") }

sub executing
{
	my ($run) = @_;
	$node->poll_query_until('postgres', "SELECT status = 'EXECUTING' FROM triggerdo.runs WHERE run_id = '$run'")
	  or die "run $run does not begin";
	return $node->safe_psql('postgres', "SELECT pid FROM triggerdo.workers WHERE run_id = '$run'");
}

sub status
{
	my ($run) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT status, attempt, (SELECT count(*) FROM app.ledger WHERE run = run_id) FROM triggerdo.runs WHERE run_id = '$run'});
}

sub begun { my ($run) = @_; my @lines = slurp_file($node->logfile) =~ /begun: $run/g; return scalar @lines }

sub crashes { my @lines = slurp_file($node->logfile) =~ /terminated by signal \d+/g; return scalar @lines }

# the server is seen to be gone, and then to accept connections; that moment
sub back_again
{
	my ($crashes) = @_;
	my $until = time + 60;
	usleep(5_000) until crashes() > $crashes || time > $until;
	until (time > $until)
	{
		return time if (answer($node, 'SELECT 1') // '') eq '1';
		usleep(10_000);
	}
	die 'the server does not come back';
}

sub begins_again
{
	my ($run, $before, $limit, $name) = @_;
	return within($limit, $name, sub { begun($run) > $before });
}

# ---------------------------------------------- F01: kill -9, for every kind of task

foreach my $kind (qw(function procedure command))
{
	my $run = trigger($kind, '{"s": 3}');
	my $pid = executing($run);
	my $crashes = crashes();
	kill 'KILL', $pid;
	back_again($crashes);
	begins_again($run, 1, 2, "F01 $kind: killed, it begins again, after the server accepts connections,");
	all_final($node);
	is(status($run), 'COMPLETED|1|1', "F01 $kind: it is done once, and no attempt is counted");
}
foreach my $who (qw(scheduler launcher))
{
	my $run = trigger('function', '{"s": 2}');
	executing($run);
	my $crashes = crashes();
	kill 'KILL', pids($node, $who);
	back_again($crashes);
	begins_again($run, 1, 2, "F04 the $who is killed: the run begins again, after the server accepts connections,");
	all_final($node);
	is(status($run), 'COMPLETED|1|1', "F04 $who killed: and is done once");
}
invariants_ok($node, 'after kills');

# --------------------------------------------------- F02: one of four is terminated

my @long = map { trigger('function', '{"s": 4}') } 1 .. 4;
my @pids = map { executing($_) } @long;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pids[0])");
begins_again($long[0], 1, 2, 'F02: the run of a terminated executor begins again');
is(join(' ', map { executing($_) } @long[ 1 .. 3 ]), join(' ', @pids[ 1 .. 3 ]), 'F02: the other three go on where they were');
all_final($node);
is(join(' ', map { status($_) } @long), join(' ', ('COMPLETED|1|1') x 4), 'F02: each is done once');
is(join(' ', map { begun($_) } @long), '2 1 1 1', 'F02: and only the one was begun twice');

# ------------------------------------------------- F04: terminated again and again

# (each that lives for less than 10 s is followed by the next after twice the time)
for my $i (1 .. 6)
{
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'triggerdo scheduler'});
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'triggerdo launcher'}) if $i % 3 == 0;
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'triggerdo scheduler'});
}
my $delayed = app($node, q{SELECT triggerdo.trigger_task('short', '{}', delay => '200 ms')});
all_final($node);
is(status($delayed), 'COMPLETED|1|1', 'F04: after six ends of the scheduler the clock still goes');

# -------------------------------------------------------------- F08: stopped, and on

my $frozen = trigger('function', '{"s": 1}');
my $pid = executing($frozen);
kill 'STOP', $pid;
sleep 3;
is(status($frozen), 'EXECUTING|1|0', 'F08: a stopped executor keeps its run');
kill 'CONT', $pid;
all_final($node);
is(status($frozen), 'COMPLETED|1|1', 'F08: and does it once when it goes on');
is(begun($frozen), 1, 'F08: nobody else has begun it');

# ------------------------------------------ a run that ends its own process (F11, F32)

plpgsql_task($node, 'suicide', "$say PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10);",
	define => q{retry => triggerdo.retry_policy(5, 'none')});
my $suicide = trigger('suicide', '{}');
my $short = trigger('short', '{}');
within(2, 'F32: others are done meanwhile', sub { status($short) eq 'COMPLETED|1|1' });
all_final($node);
is( $node->safe_psql('postgres', "SELECT status, attempt, error ->> 'name' FROM triggerdo.runs WHERE run_id = '$suicide'"),
	'CRASHED|1|TaskProcessCrashedError', 'F11: a run that ends its own process is CRASHED');
is(begun($suicide), 3, 'F11: after triggerdo.max_crashes of them');
my @times = slurp_file($node->logfile) =~ /^(\S+ \S+) UTC.*begun: $suicide/mg;
is( $node->safe_psql('postgres', "SELECT '$times[1]'::timestamp - '$times[0]' < '900 ms', '$times[2]'::timestamp - '$times[1]' BETWEEN '950 ms' AND '5 s'"),
	't|t', 'F11: tried again at once, and then a second later');

reload_with($node, 'triggerdo.max_crashes = 0');
my $never = trigger('suicide', '{}');
for my $i (1 .. 5)
{
	$node->poll_query_until('postgres', "SELECT status = 'DELAYED' FROM triggerdo.runs WHERE run_id = '$never'") if $i > 1;
	$node->safe_psql('postgres', q{SELECT triggerdo_test.advance('1 min')}) if $i > 1;
	within(10, "max_crashes = 0: begun once more, $i", sub { begun($never) > $i });
}
is($node->safe_psql('postgres', "SELECT finished_at IS NULL FROM triggerdo.runs WHERE run_id = '$never'"), 't',
	'max_crashes = 0: never CRASHED');
$node->poll_query_until('postgres', "SELECT status = 'DELAYED' FROM triggerdo.runs WHERE run_id = '$never'");
is(app($node, "SELECT triggerdo.cancel_run('$never')"), 't', 'max_crashes = 0: and can be cancelled');
reload_with($node, 'triggerdo.max_crashes = 3');
$node->safe_psql('postgres', 'SELECT triggerdo_test.reset()');
invariants_ok($node, 'after processes that ended');

# --------------------------------------- F05: stop -m immediate; F07: no postmaster

foreach my $how ('immediate', 'postmaster')
{
	my $f = $how eq 'immediate' ? 'F05' : 'F07';
	my @runs = (trigger('function', '{"s": 3}'), trigger('procedure', '{"s": 3}'), trigger('command', '{"s": 3}'));
	my @all = map { executing($_) } @runs;
	if ($how eq 'immediate')
	{
		$node->stop('immediate');
	}
	else
	{
		push @all, pids($node, 'scheduler'), pids($node, 'launcher');
		$node->kill9;
		within(2, 'F07: without a postmaster no process of ours stays', sub { !grep { kill 0, $_ } @all });
	}
	$node->start;
	begins_again($runs[0], 1, 2, "$f: after the start a run begins again");
	within(2, "$f: the others at the same time: none is suspect", sub {
		return $node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.runs WHERE status = 'EXECUTING'}) eq '3';
	});
	all_final($node);
	is(join(' ', map { status($_) } @runs), join(' ', ('COMPLETED|1|1') x 3), "$f: each is done once");
}

# ------------------------------------------------ F09: poison, and a long run beside it

# (a second: who triggers it is told so before the server ends, on a slow machine too)
plpgsql_task($node, 'poison', "$say PERFORM pg_sleep(1); PERFORM triggerdo_test.crash((payload ->> 'signal')::int);",
	define => q{retry => triggerdo.retry_policy(5, 'none')});
foreach my $signal (11, 9)
{
	my $long = trigger('function', qq{{"s": @{[ $signal == 11 ? $seconds : 3 ]}}});
	executing($long);
	my $crashes = crashes();
	my $poison = trigger('poison', qq{{"signal": $signal}});
	ok($node->poll_query_until('postgres', "SELECT finished_at IS NOT NULL FROM triggerdo.runs WHERE run_id = '$poison'"),
		"F09 signal $signal: the poison comes to an end");
	is( $node->safe_psql('postgres', "SELECT status, attempt, error ->> 'name' FROM triggerdo.runs WHERE run_id = '$poison'"),
		'CRASHED|1|TaskProcessCrashedError', "F09 signal $signal: a run that brings the server down is CRASHED");
	is(crashes() - $crashes, 4, "F09 signal $signal: once beside others, and max_crashes times alone");
	begins_again($long, 1, 5, "F09 signal $signal: then the long run goes on");
	all_final($node);
	is(status($long), 'COMPLETED|1|1', "F09 signal $signal: the long run beside it is COMPLETED, its attempt unburnt");
	is(begun($long), 2, "F09 signal $signal: and was cut off once");
}

# ------------------------------------------------------------- suspects take turns

my @two = (trigger('function', '{"s": 1}'), trigger('function', '{"s": 1}'));
@pids = map { executing($_) } @two;
my $crashes = crashes();
kill 'STOP', @pids;
kill 'KILL', @pids;
back_again($crashes);
all_final($node);
is(join(' ', map { status($_) } @two), 'COMPLETED|1|1 COMPLETED|1|1', 'two suspects: both are done once');
is( $node->safe_psql('postgres', qq{
		SELECT count(*) FROM app.ledger a, app.ledger b WHERE a.run = '$two[0]' AND b.run = '$two[1]'
		   AND tstzrange(a.ended - interval '1 s', a.ended) && tstzrange(b.ended - interval '1 s', b.ended)}),
	'0', 'two suspects: one at a time');

$node->safe_psql('postgres', q{CREATE ROLE gone LOGIN; GRANT USAGE ON SCHEMA triggerdo TO gone; CREATE SCHEMA gone AUTHORIZATION gone});
plpgsql_task($node, 'stuck', 'PERFORM pg_sleep(1);', role => 'gone');
my $stuck = app($node, q{SELECT triggerdo.trigger_task('stuck')}, role => 'gone');
$pid = executing($stuck);
$node->safe_psql('postgres', 'ALTER ROLE gone NOLOGIN');
$crashes = crashes();
kill 'KILL', $pid;
back_again($crashes);
$short = trigger('short', '{}');
within(9, 'a suspect whose role cannot log in: others run', sub { status($short) eq 'COMPLETED|1|1' });
SKIP: {
	skip 'an owner may be NOLOGIN from 17 on', 1 if $node->pg_version->major >= 17;
	is($node->safe_psql('postgres', "SELECT status FROM triggerdo.runs WHERE run_id = '$stuck'"), 'QUEUED', 'and it stays queued');
}
$node->safe_psql('postgres', 'ALTER ROLE gone LOGIN');
within(70, 'until it can', sub {
	$node->safe_psql('postgres', "SELECT status FROM triggerdo.runs WHERE run_id = '$stuck'") eq 'COMPLETED';
});

# ------------------------------------------------------------------- the hand file

ok(-s $node->data_dir . '/pg_stat_tmp/triggerdo_in_hand', 'the hand file is there');
$node->backup('copy');
ok(!-e $node->backup_dir . '/copy/pg_stat_tmp/triggerdo_in_hand', 'and no part of a base backup');

invariants_ok($node, 'at the end');
$node->stop;
done_testing();
