# F38, F39: DROP EXTENSION under load, again and again; rolled back, refused, cut
# off; a schema of our name that is not ours.
#
# Red without: want_drop_extension() and xact_callback() (src/utility.c): DROP
# waits for the run in hand, or nothing ever runs again; tdo_database_is_held() in
# should_leave() (src/executor.c) and in tdo_scheduler_main() (src/scheduler.c),
# for the log; tdo_database_has_process() in make_way(), for a run that drops the
# extension; getExtensionOfObject() in is_served() (src/store.c); the order in find_task()
# (src/api_trigger.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('extension', conf => "triggerdo.sweep_interval = '1 s'");
setup_app($node);
app($node, 'CREATE TABLE app.effect (run uuid); CREATE TABLE app.gate (open bool)');

sub define
{
	my $effect = 'INSERT INTO app.effect SELECT run_id FROM triggerdo.current_run();';
	plpgsql_task($node, 'short', "$effect PERFORM pg_sleep(0.002);");
	plpgsql_task($node, 'long', qq{$effect
		WHILE NOT EXISTS (SELECT FROM app.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;});
	return;
}

sub load
{
	app($node, q{TRUNCATE app.gate, app.effect; SELECT triggerdo.trigger_task('long')});
	wait_in_hand();
	app($node, q{SELECT count(triggerdo.trigger_task('short')) FROM generate_series(1, 200)});
	return;
}

sub wait_in_hand
{
	return $node->poll_query_until('postgres',
		q{SELECT EXISTS (SELECT FROM triggerdo.runs WHERE task = 'long' AND status = 'EXECUTING')});
}

sub ours
{
	return $node->safe_psql('postgres', q{SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity
		WHERE backend_type = 'triggerdo scheduler' OR query LIKE '%of task long'});
}

sub none_left
{
	my ($name) = @_;
	my $took = within(1, $name, sub {
		return !(pids($node, 'scheduler', q{datname = 'postgres'}) + pids($node, 'executor')) });
	return $took;
}

sub finish
{
	my ($name) = @_;

	ok(wait_in_hand(), "F38: $name: the run cut off is in hand again");
	is($node->safe_psql('postgres', 'SELECT max(crashes) FROM _triggerdo.live'),
		'0', "F38: $name: it is not counted as a crash");
	app($node, 'INSERT INTO app.gate VALUES (true)');
	all_final($node);
	is( $node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT run) FROM app.effect}),
		'201|201', "F38: $name: every run has its effect once");
	is( $node->safe_psql('postgres', q{SELECT DISTINCT status, attempt FROM triggerdo.runs}),
		'COMPLETED|1', "F38: $name: no attempt is burnt");
	invariants_ok($node, $name);
	return;
}

# what our processes and the server itself have to say: none of it is an error
sub quiet_since
{
	my ($from, $name) = @_;
	my @lines = grep { /\[\d+\] (ERROR|PANIC|WARNING)|was terminated by signal/ }
	  split /\n/, substr(slurp_file($node->logfile), $from);
	is("@lines", '', $name);
	return;
}

# ---------------------------------------------- dropped and made anew, under load

# sessions that enqueue all the time, whatever comes of it
my $script = PostgreSQL::Test::Utils::tempdir() . '/enqueue.sql';
append_to_file($script, q{SELECT triggerdo.trigger_task('short'); SELECT pg_sleep(0.005);} . "\n") for 1 .. 5000;
my @enqueuers = map {
	IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' user=app', '-f', $script ],
		'<', '/dev/null', '>', '/dev/null', '2>', '/dev/null', IPC::Run::timeout(280))
} 1 .. 2;

define();
my $from = -s $node->logfile;
my (@slow, @stayed, @stuck);
foreach my $turn (1 .. 25)
{
	$node->safe_psql('postgres', q{SET client_min_messages = error;
		CREATE EXTENSION IF NOT EXISTS triggerdo; GRANT USAGE ON SCHEMA triggerdo TO app});
	define();
	app($node, q{TRUNCATE app.gate, app.effect; SELECT triggerdo.trigger_task('long')});
	# (each fifth at a moment that nobody chose)
	push @stuck, $turn unless $turn % 5 == 0 || wait_in_hand();
	my $begin = time;
	$node->safe_psql('postgres', 'DROP EXTENSION triggerdo');
	push @slow, sprintf('%.2f s', time - $begin) if time - $begin > 1;
	$begin = time;
	usleep(20_000)
	  while time - $begin < 1 && pids($node, 'executor') + pids($node, 'scheduler', q{datname = 'postgres'});
	push @stayed, $turn if time - $begin >= 1;
}
is("@stuck", '', 'F38: 25 times made anew: its runs start');
is("@slow", '', 'F38: 25 times dropped while a run is in hand: each within 1 s');
is("@stayed", '', 'F38: our processes have left within 1 s');
quiet_since($from, 'F38: no error of theirs in the log');
ok(scalar(grep { $_->pumpable } @enqueuers), 'F38: the enqueuers enqueue still');
$_->kill_kill foreach @enqueuers;

# -------------------------------------------------------- refused, and rolled back

$node->safe_psql('postgres', q{CREATE EXTENSION triggerdo; GRANT USAGE ON SCHEMA triggerdo TO app});
my ($rc, $out, $err) = $node->psql('postgres', q{SELECT triggerdo.trigger_task('misspelt')}, extra_params => [ '-U', 'app' ]);
like($err, qr/ERROR:  task "misspelt" does not exist/, 'a new database has no task, which is all there is to say');
define();
load();
my $before = ours();
($rc, $out, $err) = $node->psql('postgres', 'DROP EXTENSION triggerdo CASCADE',
	extra_params => [ '-U', 'app' ]);
like($err, qr/must be owner of extension/, 'F38: refused to who does not own it');
is(ours(), $before, 'F38: which ends none of our processes');

$node->safe_psql('postgres', 'CREATE VIEW public.mine AS SELECT * FROM triggerdo.runs');
$from = -s $node->logfile;
($rc, $out, $err) = $node->psql('postgres', 'DROP EXTENSION triggerdo');
like($err, qr/because other objects depend on it/, 'F38: refused because something depends on it');
finish('refused late');

load();
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe('SET client_min_messages = error; DROP EXTENSION triggerdo CASCADE');
none_left('F38: dropped and not committed: our processes have left');
usleep(1_500_000);
is(scalar pids($node, 'executor'), 0, 'F38: and stay away, also over a sweep');
$session->query_safe('ROLLBACK');
finish('rolled back');

load();
$session->query_safe('BEGIN');
$session->query_safe('SET client_min_messages = error; DROP EXTENSION triggerdo CASCADE');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
finish('its session terminated');
eval { $session->quit };

load();
app($node, q{BEGIN; SELECT triggerdo.trigger_task('short'); PREPARE TRANSACTION 'p'});
($rc, $out, $err) = $node->psql('postgres',
	q{SET lock_timeout = '500 ms'; DROP EXTENSION triggerdo CASCADE});
like($err, qr/lock timeout/, 'F38: held up by a prepared transaction, given up');
app($node, q{ROLLBACK PREPARED 'p'});
finish('given up');
quiet_since($from, 'F38: no error of ours in the log');

# ----------------------------------------------------- a run that would do it itself

reload_with($node, 'triggerdo.allow_superuser_tasks = on');
$node->safe_psql('postgres', q{
	CREATE FUNCTION public.suicide(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS
	$$ BEGIN DROP EXTENSION triggerdo CASCADE; RETURN NULL; END $$});
is( $node->safe_psql('postgres', q{
	SELECT triggerdo.define_task('suicide', run => 'public.suicide') \gset
	SELECT triggerdo.trigger_task('suicide') AS run \gset
	SELECT triggerdo.wait_for_run(:'run') -> 'error' ->> 'sqlstate'}),
	'55006', 'F38: a run cannot drop the extension');
invariants_ok($node, 'after that');

# ------------------------------------------------------- gone, and somebody's schema

$node->safe_psql('postgres', q{SET client_min_messages = error; DROP EXTENSION triggerdo CASCADE});
none_left('F38: dropped for good: our processes have left');

foreach my $schema ('triggerdo', '_triggerdo')
{
	$from = -s $node->logfile;
	# tables as ours, and what would hurt who believes in them
	$node->safe_psql('postgres', qq{
		CREATE SCHEMA $schema AUTHORIZATION app;
		SET ROLE app;
		CREATE TABLE $schema.task (id text PRIMARY KEY);
		CREATE TABLE $schema.live (run_id uuid PRIMARY KEY);
		CREATE TABLE $schema.timer (due timestamptz)});
	($rc, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION triggerdo');
	like($err, qr/schema "$schema" already exists/, "F39: a foreign schema $schema: CREATE EXTENSION is refused");
	usleep(2_500_000);			# two sweeps: nobody has to do with it
	is(scalar pids($node, 'scheduler', q{datname = 'postgres'}), 0, "F39: a foreign schema $schema is nobody's to serve");
	quiet_since($from, "F39: a foreign schema $schema: the log is quiet");
	$node->safe_psql('postgres', "DROP SCHEMA $schema CASCADE");
}

# ours renamed, and another in its place
$node->safe_psql('postgres', q{CREATE EXTENSION triggerdo; GRANT USAGE ON SCHEMA triggerdo TO app});
define();
load();
$from = -s $node->logfile;
$node->safe_psql('postgres', q{ALTER SCHEMA _triggerdo RENAME TO mine;
	CREATE SCHEMA _triggerdo AUTHORIZATION app});
($rc, $out, $err) = $node->psql('postgres', q{SELECT triggerdo.trigger_task('short')},
	extra_params => [ '-U', 'app' ]);
like($err, qr/cannot serve.*Schema "_triggerdo" is not the extension's.*HINT/s,
	'F39: our schema renamed, another in its place: a clear error');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'triggerdo %'});
usleep(2_500_000);
is(scalar(pids($node, 'executor')), 0, 'F39: and nothing runs');
is(scalar(() = substr(slurp_file($node->logfile), $from) =~ /does nothing in database/g),
	1, 'F39: the log says so once');
$node->safe_psql('postgres', q{DROP SCHEMA _triggerdo; ALTER SCHEMA mine RENAME TO _triggerdo});
app($node, 'INSERT INTO app.gate VALUES (true)');
all_final($node);
invariants_ok($node, 'its name given back');

$node->stop;
done_testing();
