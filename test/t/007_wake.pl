# F34: A commit wakes who has to work; a wake-up that nobody could send (COMMIT
# PREPARED, a restart) is made good within a second.
#
# Red without: tdo_wake_queued() in tdo_enqueue() (src/transition.c); send_all()
# and mark_prepared() (src/wake.c); the loop of subxact_callback() there; the look at database->prepared in look(), and
# its being set in tdo_scheduler_main() (src/scheduler.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('wake');
setup_app($node);
app($node, 'CREATE TABLE app.gate (open bool)');
plpgsql_task($node, 'echo', '');
plpgsql_task($node, 'gated', q{
	WHILE NOT EXISTS (SELECT FROM app.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;});

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[ $#sorted / 2 ];
}

# from trigger to start, in milliseconds, of the runs of a task
sub latencies
{
	my ($where) = @_;
	return split /\n/, $node->safe_psql('postgres', qq{
		SELECT extract(epoch FROM started_at - created_at) * 1000
		  FROM triggerdo.runs WHERE $where});
}

# -------------------------------------------------------------- commit to start

app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
foreach (1 .. 20)
{
	wait_runs($node, q{EXISTS (SELECT FROM triggerdo.workers WHERE kind = 'executor' AND state = 'idle')})
	  if $_ == 1;
	app($node, q{SELECT triggerdo.trigger_task('echo', metadata => '{"n": 1}')});
	usleep(20_000);
}
all_final($node);
my @ms = latencies(q{metadata ? 'n'});
cmp_ok(median(@ms), '<', 50, 'an idle executor starts a run at once: median '
	  . sprintf('%.1f ms', median(@ms)));

# the scheduler sleeps for a minute: it must not be needed, or be woken
reload_with($node, "triggerdo.idle_timeout = '200ms'");
within(10, 'executors end', sub { pids($node, 'executor') == 0 });
my $began = time;
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
cmp_ok(time - $began, '<', 2, 'a run starts soon also when no executor is there');

within(10, 'executors end', sub { pids($node, 'executor') == 0 });
reload_with($node, "triggerdo.idle_timeout = '60s'");

# one executor, that gets busy: the next run needs a second one
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
is(scalar pids($node, 'executor'), 1, 'one executor is there');
# (let the scheduler come to rest, or it would see what follows by chance)
wait_runs($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'triggerdo scheduler'
	AND state = 'idle' AND state_change < clock_timestamp() - interval '700 ms')});
app($node, q{SELECT triggerdo.trigger_task('gated')});
$began = time;
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
cmp_ok(time - $began, '<', 3, 'a busy executor does not keep the next run waiting');
app($node, 'INSERT INTO app.gate VALUES (true)');
all_final($node);

# a delayed run, with the scheduler asleep
$began = time;
app($node, q{SELECT triggerdo.wait_for_run(triggerdo.trigger_task('echo')) WHERE false;
	SELECT triggerdo.trigger_task('echo', delay => '300 ms', metadata => '{"delayed": 1}')});
all_final($node);
cmp_ok(time - $began, '<', 3, 'a delayed run starts when it is due');

# rolled back: nothing
my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM triggerdo.runs');
app($node, q{BEGIN; SELECT triggerdo.trigger_task('echo'); ROLLBACK});
app($node, q{BEGIN; SAVEPOINT s; SELECT triggerdo.trigger_task('echo'); ROLLBACK TO s; COMMIT});
is($node->safe_psql('postgres', 'SELECT count(*) FROM triggerdo.runs'),
	$before, 'F34: what was rolled back leaves nothing');

# a long transaction: nothing before its commit, everything at once after it
my $long = $node->background_psql('postgres');
$long->query_safe(q{SET ROLE app; BEGIN; SELECT triggerdo.trigger_task('echo', metadata => '{"long": 1}')});
$long->query_safe('SELECT pg_sleep(1.5)');
is($node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.runs WHERE metadata ? 'long'}),
	'0', 'F34: a transaction enqueues and sleeps: nobody sees it');
$began = time;
$long->query_safe('COMMIT');
wait_runs($node, q{EXISTS (SELECT FROM triggerdo.runs WHERE metadata ? 'long' AND status = 'COMPLETED')});
cmp_ok(time - $began, '<', 1, 'F34: and at its commit its run starts');

# what a subtransaction that is rolled back enqueued wakes nobody: the processes sleep
# through its commit
my $awake = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'triggerdo %'
	AND backend_type <> 'triggerdo launcher' AND state_change > clock_timestamp() - interval '900 ms'};
within(10, 'all of ours sleep', sub { $node->safe_psql('postgres', $awake) eq '0' });
$long->query_safe(q{BEGIN; SAVEPOINT s; SELECT triggerdo.trigger_task('echo');
	SELECT triggerdo.trigger_task('echo', delay => '1 hour'); ROLLBACK TO s; COMMIT});
usleep(200_000);
is($node->safe_psql('postgres', $awake), '0', 'F34: a rolled back subtransaction wakes nobody');
$long->query_safe(q{BEGIN; SAVEPOINT s; SELECT triggerdo.trigger_task('echo'); RELEASE s; COMMIT});
usleep(200_000);
isnt($node->safe_psql('postgres', $awake), '0', 'F34: a released one does');
all_final($node);
$long->quit;

# many, in many subtransactions: more wake requests than are kept
app($node, q{DO $$ BEGIN
	FOR i IN 1 .. 1000 LOOP
		BEGIN
			PERFORM triggerdo.trigger_task('echo');
			IF i % 3 = 0 THEN RAISE EXCEPTION 'undo'; END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP; END $$});
$began = time;
all_final($node);
cmp_ok(time - $began, '<', 5, 'a thousand subtransactions wake the executors too');

# ---------------------------------------------------------------- two phases

my @took;
foreach my $n (1 .. 5)
{
	app($node, qq{BEGIN; SELECT triggerdo.trigger_task('echo', metadata => '{"p": $n}'); PREPARE TRANSACTION 'p$n'});
	# (also when the scheduler has looked in between, and had nothing to do)
	usleep(300_000 * $n % 1_000_000);
	is($node->safe_psql('postgres', "SELECT count(*) FROM triggerdo.runs WHERE metadata ->> 'p' = '$n'"),
		'0', "F34: prepared transaction $n is not seen");
	app($node, "COMMIT PREPARED 'p$n'");
	my $begin = time;
	wait_runs($node, "EXISTS (SELECT FROM triggerdo.runs WHERE metadata ->> 'p' = '$n' AND finished_at IS NOT NULL)");
	push @took, time - $begin;
}
cmp_ok(median(@took), '<', 2, 'F34: COMMIT PREPARED: picked up in ' . sprintf('%.1f s', median(@took)));
cmp_ok((sort { $b <=> $a } @took)[0], '<', 4, 'at most in ' . sprintf('%.1f s', (sort { $b <=> $a } @took)[0]));

$before = $node->safe_psql('postgres', 'SELECT count(*) FROM triggerdo.runs');
app($node, q{BEGIN; SELECT triggerdo.trigger_task('echo'); PREPARE TRANSACTION 'r'});
app($node, q{ROLLBACK PREPARED 'r'});
is($node->safe_psql('postgres', 'SELECT count(*) FROM triggerdo.runs'),
	$before, 'F34: ROLLBACK PREPARED leaves nothing');

invariants_ok($node, 'after two-phase commits');

# ------------------------------------------------------------------- restarts

reload_with($node, 'triggerdo.executors = 0');
app($node, q{SELECT count(triggerdo.trigger_task('echo', metadata => '{"r": 1}')) FROM generate_series(1, 100)});
app($node, q{SELECT triggerdo.trigger_task('echo', delay => '1 s', metadata => '{"r": 1}')});
app($node, q{BEGIN; SELECT triggerdo.trigger_task('echo', metadata => '{"r": 2}'); PREPARE TRANSACTION 'over'});
app($node, q{BEGIN; SELECT triggerdo.trigger_task('echo', delay => '100 ms', metadata => '{"r": 2}'); PREPARE TRANSACTION 'late'});
$node->stop;
$node->start;
reload_with($node, 'triggerdo.executors = 2');
all_final($node);
is($node->safe_psql('postgres', q{SELECT count(*), min(status), max(status) FROM triggerdo.runs WHERE metadata ->> 'r' = '1'}),
	'101|COMPLETED|COMPLETED', 'queued and delayed runs are done after a restart');
foreach my $name ('over', 'late')
{
	app($node, "COMMIT PREPARED '$name'");
	my $begin = time;
	# (polled as a superuser: no session of app wakes anybody)
	wait_runs($node, q{NOT EXISTS (SELECT FROM triggerdo.runs WHERE finished_at IS NULL)});
	cmp_ok(time - $begin, '<', 4, "F34: COMMIT PREPARED of \"$name\" after a restart is picked up");
}
is($node->safe_psql('postgres', q{SELECT count(*), min(status) FROM triggerdo.runs WHERE metadata ->> 'r' = '2'}),
	'2|COMPLETED', 'and the runs are done');

# the same after a crash
app($node, q{BEGIN; SELECT triggerdo.trigger_task('echo', metadata => '{"r": 3}'); PREPARE TRANSACTION 'crash'});
$node->stop('immediate');
$node->start;
app($node, q{COMMIT PREPARED 'crash'});
wait_runs($node, q{EXISTS (SELECT FROM triggerdo.runs WHERE metadata ->> 'r' = '3' AND status = 'COMPLETED')});

invariants_ok($node, 'at the end');
$node->stop;
done_testing();
