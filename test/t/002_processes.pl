# The processes: up without a restart, executors on demand, each one replaced
# when it dies, and no run lost or doubled by it.
#
# Red without: tdo_wake_launcher() in tdo_sql_announce() (src/api_view.c);
# start_executor() and leave_slot() (src/scheduler.c, src/executor.c); "left <= 0"
# in serve() (src/executor.c); the detach() callbacks of launcher and scheduler;
# allow_cancel(false) in tdo_stop_init() (src/stop.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app answer poll wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('processes');

# ------------------------------------------------ up after CREATE EXTENSION

is(scalar pids($node, 'launcher'), 1, 'the launcher runs from the start');
setup_app($node);
within(10, 'the scheduler is up', sub { pids($node, 'scheduler') == 1 });
is(scalar pids($node, 'executor'), 0, 'no executor before there is work');

app($node, 'CREATE TABLE app.effect (run uuid, pid int);
	CREATE TABLE app.gate (open bool)');
plpgsql_task($node, 'echo',
	'INSERT INTO app.effect SELECT run_id, pg_backend_pid() FROM triggerdo.current_run();');
app($node, q{SELECT triggerdo.trigger_task('echo')});
all_final($node);
is( $node->safe_psql('postgres',
		q{SELECT DISTINCT usename FROM pg_stat_activity WHERE backend_type = 'triggerdo executor'}),
	'app', 'executors are connected as the owner');
is( $node->safe_psql('postgres',
		q{SELECT string_agg(DISTINCT kind, ' ' ORDER BY kind) FROM triggerdo.workers WHERE pid IN (SELECT pid FROM pg_stat_activity)}),
	'executor launcher scheduler', 'triggerdo.workers names the processes');

# ------------------------------------------------------------------ idle out

reload_with($node, "triggerdo.idle_timeout = '300ms'");
within(10, 'idle executors end', sub { pids($node, 'executor') == 0 });
app($node, q{SELECT triggerdo.trigger_task('echo')});
all_final($node);
within(10, 'and end again', sub { pids($node, 'executor') == 0 });
reload_with($node, "triggerdo.idle_timeout = '60s'");

# -------------------------------------------------- an executor dies in mid-run

plpgsql_task($node, 'gated', q{
	INSERT INTO app.effect SELECT run_id, pg_backend_pid() FROM triggerdo.current_run();
	WHILE NOT EXISTS (SELECT FROM app.gate) LOOP
		PERFORM pg_sleep(0.01);
	END LOOP;});

# the process that has the run in hand
sub in_hand
{
	my ($run) = @_;
	return $node->safe_psql('postgres',
		"SELECT pid FROM triggerdo.workers WHERE run_id = '$run'");
}

my $first;
foreach my $how ('pg_terminate_backend', 'kill -9')
{
	my $run = app($node, q{TRUNCATE app.gate; SELECT triggerdo.trigger_task('gated')});
	my $others = app($node, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 50)});
	wait_runs($node, "EXISTS (SELECT FROM triggerdo.workers WHERE run_id = '$run')");
	my $old = in_hand($run);

	if ($how eq 'kill -9')
	{
		kill 'KILL', $old;
		poll($node, 'SELECT true');
	}
	else
	{
		$node->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
	}
	within(15, "$how: another executor has the run", sub {
		return (answer($node, "SELECT pid FROM triggerdo.workers WHERE run_id = '$run' AND pid <> $old") // '') ne '';
	});
	app($node, 'INSERT INTO app.gate VALUES (true)');
	all_final($node);
	is( $node->safe_psql('postgres', qq{
			SELECT r.status, r.attempt, (SELECT count(*) FROM app.effect e WHERE e.run = r.run_id)
			  FROM triggerdo.runs r WHERE run_id = '$run'}),
		'COMPLETED|1|1', "$how: the run has its effect once, and no attempt is lost");
}
is( $node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT run) FROM app.effect'),
	'104|104', 'no effect is lost or doubled');

# -------------------------------------------- scheduler and launcher come back

foreach my $kinds (['scheduler'], ['launcher'], [ 'launcher', 'scheduler' ])
{
	my @old = map { pids($node, $_) } @$kinds;
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($_)") foreach @old;
	foreach my $kind (@$kinds)
	{
		within(10, "@$kinds terminated: a new $kind", sub {
			my @new = pids($node, $kind);
			return @new == 1 && !grep { $_ == $new[0] } @old;
		});
	}
	# (a delayed run needs the scheduler, whoever is idle)
	app($node, q{SELECT triggerdo.trigger_task('echo', delay => '100 ms')});
	all_final($node);
}

# --------------------------------------------------------- two databases at once

$node->safe_psql('postgres', 'CREATE DATABASE second');
setup_app($node, 'second');
plpgsql_task($node, 'here', 'payload := to_jsonb(current_database());', database => 'second');
plpgsql_task($node, 'here', 'payload := to_jsonb(current_database());');
foreach my $database ('postgres', 'second')
{
	app($node, q{SELECT count(triggerdo.trigger_task('here')) FROM generate_series(1, 20)},
		database => $database);
}
foreach my $database ('postgres', 'second')
{
	all_final($node, $database);
	is( $node->safe_psql($database,
			q{SELECT count(*), string_agg(DISTINCT output #>> '{}', ' ') FROM triggerdo.runs WHERE task = 'here'}),
		"20|$database", "runs of database $database are done there");
	invariants_ok($node, "in $database", $database);
}
is(scalar pids($node, 'scheduler'), 2, 'a scheduler for each database');

# --------------------------------------------------------------------- cancels

reload_with($node, 'triggerdo.executors = 1');
plpgsql_task($node, 'whoami', 'payload := to_jsonb(pg_backend_pid());');
wait_runs($node, q{NOT EXISTS (SELECT FROM triggerdo.workers WHERE state = 'busy')});
my @idle = pids($node, 'executor', q{datname = 'postgres'});
ok(@idle > 0, 'an executor is idle');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($_)") foreach @idle;
my @runs = map { app($node, q{SELECT triggerdo.trigger_task('whoami')}) } 1 .. 5;
all_final($node);
is( $node->safe_psql('postgres',
		q{SELECT DISTINCT status FROM triggerdo.runs WHERE task = 'whoami'}),
	'COMPLETED', 'a cancel that came while idle fails no run');
is_deeply([ pids($node, 'executor', q{datname = 'postgres'}) ],
	\@idle, 'and ends no executor');

my $run = app($node, q{TRUNCATE app.gate; SELECT triggerdo.trigger_task('gated')});
wait_runs($node, "EXISTS (SELECT FROM triggerdo.workers WHERE run_id = '$run')");
my $pid = in_hand($run);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
all_final($node);
is( $node->safe_psql('postgres',
		"SELECT status, error ->> 'sqlstate' FROM triggerdo.runs WHERE run_id = '$run'"),
	'FAILED|57014', 'a cancel in mid-run is the failure of that run');
is( $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"),
	'1', 'and its executor goes on');

invariants_ok($node, 'at the end');
$node->stop;
done_testing();
