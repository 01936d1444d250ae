# The server stops when it is told to, whatever the tasks do, and when its
# postmaster dies; what was cut off is done once, afterwards.
#
# Red without: pqsignal(SIGTERM, die) in tdo_bgw_setup() (src/bgw.c);
# WL_EXIT_ON_PM_DEATH in tdo_bgw_sleep(); enable_timeout_after(watch_timeout...)
# in batch_transaction() (src/executor.c), for a task in a loop.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('shutdown');
setup_app($node);
app($node, 'CREATE TABLE app.effect (run uuid);
	CREATE TABLE app.gate (open bool)');

my $effect = 'INSERT INTO app.effect SELECT run_id FROM triggerdo.current_run();';
plpgsql_task($node, 'echo', $effect);
# what runs for ever unless the gate was open when it began: asleep, in a loop that looks, in one that does
# not, and one that swallows every error
plpgsql_task($node, 'asleep', qq{$effect IF NOT EXISTS (SELECT FROM app.gate) THEN PERFORM pg_sleep(3600); END IF;});
plpgsql_task($node, 'loop', qq{$effect IF NOT EXISTS (SELECT FROM app.gate) THEN LOOP END LOOP; END IF;});
plpgsql_task($node, 'stubborn', qq{$effect
	WHILE NOT EXISTS (SELECT FROM app.gate) LOOP
		BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled OR OTHERS THEN NULL; END;
	END LOOP;});
# the same at commit, where a deferred trigger runs
app($node, q{
	CREATE TABLE app.late (x int);
	CREATE FUNCTION app.late() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN IF NOT EXISTS (SELECT FROM app.gate) THEN LOOP END LOOP; END IF; RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.late DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION app.late();});
plpgsql_task($node, 'late', qq{$effect INSERT INTO app.late VALUES (1);});

my @long = qw(asleep loop stubborn late);
my $total = 0;

# every kind of long task in some executor's hand, and more queued
sub load
{
	my (@tasks) = @_;

	app($node, 'TRUNCATE app.gate');
	app($node, "SELECT triggerdo.trigger_task('$_')") foreach @tasks;
	wait_runs($node, '(SELECT count(DISTINCT run_id) FROM triggerdo.workers) = ' . @tasks);
	# (these have looked, and never will again; the next attempt will find it open)
	app($node, 'INSERT INTO app.gate VALUES (true)');
	app($node, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 200)});
	$total += 200 + @tasks;
	return;
}

sub finish
{
	my ($name) = @_;

	all_final($node);
	is( $node->safe_psql('postgres',
			'SELECT count(*), count(DISTINCT run) FROM app.effect'),
		"$total|$total", "$name: every run has its effect once");
	is( $node->safe_psql('postgres',
			q{SELECT DISTINCT status, attempt FROM triggerdo.runs}),
		'COMPLETED|1', "$name: and no attempt is lost");
	invariants_ok($node, $name);
	return;
}

# ---------------------------------------------------------------- fast shutdown

load(@long);
within(3, 'fast shutdown under load', sub { $node->stop('fast'); return 1 });
$node->start;
finish('after a fast shutdown');

# --------------------------------------------------------------- smart shutdown

load(@long);
my $session = $node->background_psql('postgres');
$session->query_safe('SELECT 1');
my $pidfile = $node->data_dir . '/postmaster.pid';
system_or_bail('pg_ctl', '-D', $node->data_dir, '-m', 'smart', '-W', 'stop');
ok(-e $pidfile, 'smart shutdown waits for the last client');
$session->quit;
within(3, 'smart shutdown after the last client has gone', sub { !-e $pidfile });
$node->_update_pid(0);
$node->start;
finish('after a smart shutdown');

# ---------------------------------------------------- immediate, as in a crash

load(@long);
$node->stop('immediate');
$node->start;
finish('after an immediate shutdown');

# ------------------------------------------------------------ postmaster killed

# (each kind by itself: one that is caught up in a loop is not told by others)
foreach my $tasks ([], map { [$_] } @long)
{
	my $name = 'postmaster killed with ' . (@$tasks ? "\"@$tasks\" running" : 'nothing running');
	load(@$tasks) if @$tasks;
	app($node, q{SELECT triggerdo.trigger_task('echo')}), $total++ unless @$tasks;
	my @all = split /\n/, $node->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'triggerdo %'});
	ok(@all >= 3, "$name: " . @all . ' processes of ours');

	$node->kill9;
	within(4, "$name: none is left", sub { !grep { kill 0, $_ } @all });
	kill 'KILL', @all;			# or the next start would fail
	# (the postmaster's own children: the server waits for shared memory)
	within(10, "$name: the server starts again", sub {
		return $node->start(fail_ok => 1) });
	finish($name);
}

$node->stop;
done_testing();
