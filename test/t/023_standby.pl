# F42, F44: on a standby nothing runs, reading works, and everything starts soon
# after the promotion; in binary upgrade mode nothing starts.
#
# Red without: BgWorkerStart_RecoveryFinished in fill() (src/bgw.c);
# PreventCommandIfReadOnly() in tdo_enqueue() and its like;
# IsBinaryUpgrade in _PG_init() (src/triggerdo.c).

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $primary = node('primary', init => { allows_streaming => 1 });
setup_app($primary);
app($primary, 'CREATE TABLE app.effect (run uuid, at timestamptz); CREATE TABLE app.gate (open bool)');
my $effect = 'INSERT INTO app.effect SELECT run_id, clock_timestamp() FROM triggerdo.current_run();';
plpgsql_task($primary, 'echo', $effect);
plpgsql_task($primary, 'long', qq{$effect
	WHILE NOT EXISTS (SELECT FROM app.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;});
my $done = app($primary, q{SELECT triggerdo.trigger_task('echo', '{"x": 1}')});
all_final($primary);

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# -------------------------------------------------------------------- in recovery

app($primary, q{SELECT triggerdo.trigger_task('long')});
wait_runs($primary, q{EXISTS (SELECT FROM triggerdo.runs WHERE status = 'EXECUTING')});
reload_with($primary, 'triggerdo.executors = 0');
app($primary, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 100)});
my $delayed = app($primary, q{SELECT triggerdo.trigger_task('echo', delay => '2 s')});
my $later = app($primary, q{BEGIN; SELECT triggerdo.trigger_task('echo'); PREPARE TRANSACTION 'p'});
$primary->wait_for_catchup($standby);

is(scalar(pids($standby, 'launcher') + pids($standby, 'scheduler') + pids($standby, 'executor')),
	0, 'F42: nothing of ours runs on a standby');
is(app($standby, q{SELECT count(*), count(finished_at) FROM triggerdo.runs}), '103|1', 'F42: runs can be read');
is(app($standby, qq{SELECT triggerdo.run_result('$done'), triggerdo.wait_for_run('$done') ->> 'ok'}),
	'{"x": 1}|true', 'F42: results too');
is(app($standby, q{SELECT triggerdo.wait_for_run(run_id, '100 ms') IS NULL FROM triggerdo.runs WHERE task = 'long'}),
	't', 'F42: waiting is waiting');
is(app($standby, q{SELECT count(*) FROM triggerdo.tasks}), '2', 'F42: tasks can be read');
is(app($standby, q{SELECT kind, state FROM triggerdo.workers}), 'launcher|not running', 'F42: workers tells how it is');
app($standby, 'SELECT * FROM triggerdo.attempts, triggerdo.stats');
foreach my $call (
	q{SELECT triggerdo.trigger_task('echo')},
	q{SELECT triggerdo.trigger_task('echo', delay => '1 s')},
	q{SELECT triggerdo.batch_trigger_task('echo', '{"{}"}')},
	q{SELECT * FROM triggerdo.trigger_batch('[{"task": "echo"}]')},
	q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)},
	qq{SELECT triggerdo.cancel_run('$delayed')},
	q{SELECT triggerdo.run_now(run_id) FROM triggerdo.runs WHERE task = 'echo' AND status = 'QUEUED' LIMIT 1},
	q{SELECT triggerdo.define_task('echo', run => 'app.echo')},
	q{SELECT triggerdo.drop_task('echo')})
{
	my ($rc, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\n$call",
		extra_params => [ '-U', 'app' ]);
	is($err =~ s/^psql:\S+ //r, 'ERROR:  25006', "F42: read-only: $call");
}
invariants_ok($standby, 'on the standby');
ok(-s $standby->logfile && slurp_file($standby->logfile) !~ /PANIC|triggerdo.*(FATAL|ERROR)/,
	'F42: the standby has nothing to say about us');

# ----------------------------------------------------------------------- promotion

$primary->stop('immediate');
my $begin = time;
$standby->promote;
within(5, 'F42: promoted, the scheduler runs', sub { pids($standby, 'scheduler') == 1 });
wait_runs($standby, q{NOT EXISTS (SELECT FROM triggerdo.runs WHERE task = 'echo' AND status = 'QUEUED')});
cmp_ok(time - $begin, '<', 8, 'F42: and what was queued is done soon');
$standby->safe_psql('postgres', q{COMMIT PREPARED 'p'});
app($standby, 'INSERT INTO app.gate VALUES (true)');
all_final($standby);
is(app($standby, q{SELECT count(*), count(DISTINCT run) FROM app.effect}), '104|104',
	'F42: every run has its effect once, the one cut off in mid-run too');
is(app($standby, q{SELECT DISTINCT status, attempt FROM triggerdo.runs}), 'COMPLETED|1',
	'F42: no attempt is burnt');
invariants_ok($standby, 'after the promotion');

# ------------------------------------------------------------- binary upgrade mode

reload_with($standby, 'triggerdo.executors = 0');
app($standby, q{SELECT triggerdo.trigger_task('echo')});
$standby->safe_psql('postgres', 'ALTER SYSTEM RESET triggerdo.executors; CREATE DATABASE second');
$standby->stop;
my $log = PostgreSQL::Test::Utils::tempdir() . '/binary.log';
system_or_bail('pg_ctl', '-w', '-s', '-D', $standby->data_dir, '-l', $log, '-o', '-b', 'start');
# (psql as the only role that may connect)
my $query = sub {
	my ($sql) = @_;
	my $out = `psql -XAtq -d "@{[ $standby->connstr('postgres') ]}" -c "$sql" 2>&1`;
	chomp $out;
	return $out;
};
usleep(1_500_000);
is($query->(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'triggerdo%'}), '0',
	'F44: in binary upgrade mode nothing of ours runs');
is($query->(q{SELECT status FROM triggerdo.runs WHERE finished_at IS NULL}), 'QUEUED',
	'F44: and what is queued stays');
is($query->('DROP DATABASE second'), '', 'F44: statements on databases are as without us');
system_or_bail('pg_ctl', '-w', '-s', '-D', $standby->data_dir, '-m', 'fast', 'stop');
unlike(slurp_file($log), qr/PANIC|ERROR/, 'F44: no error in the log');
$standby->start;
all_final($standby);
invariants_ok($standby, 'after binary upgrade mode');

$standby->stop;
done_testing();
