# F16, F17, F30: Where no executor can run, runs stay queued: the reason is shown, said once, and
# tried again with a back-off; when the obstacle goes, they are done.
#
# Red without: connections_allowed(), note_trouble(), backing_off() and role_trouble() (src/scheduler.c);
# "news" in tdo_pool_trouble() (src/shmem.c); should_leave() (src/executor.c), for
# a role that changes while its executor lives.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

# launcher, scheduler, logical replication's launcher: one is left
my $node = node('slots', conf => 'max_worker_processes = 4
	max_parallel_workers = 0');
setup_app($node);
plpgsql_task($node, 'echo', '');

sub log_count
{
	my ($regex, $from) = @_;
	my $log = substr(slurp_file($node->logfile), $from);
	return scalar(() = $log =~ /$regex/g);
}
sub log_end { return -s $node->logfile }

sub reason
{
	my ($role) = @_;
	return $node->safe_psql('postgres',
		"SELECT string_agg(reason, ' ') FROM triggerdo.workers WHERE role = '$role' AND reason IS NOT NULL");
}

sub user
{
	my ($name) = @_;
	$node->safe_psql('postgres', "CREATE ROLE $name LOGIN;
		GRANT USAGE ON SCHEMA triggerdo TO $name; CREATE SCHEMA $name AUTHORIZATION $name");
	plpgsql_task($node, "of-$name", '', role => $name);
	return;
}

# a role whose executor cannot start: enqueue, obstacle seen, calm; gone, done
sub obstacle
{
	my ($role, $name, $make, $reason, $mend) = @_;

	$node->safe_psql('postgres',
		q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'triggerdo executor'});
	within(10, 'no executor', sub { pids($node, 'executor') == 0 });
	my $from = log_end();
	$node->safe_psql('postgres', $make);
	$node->safe_psql('postgres', "SELECT count(triggerdo.trigger_task('of-$role')) FROM generate_series(1, 20)");
	within(10, "$name: the reason is shown", sub { (reason($role) // '') =~ $reason })
	  or diag(reason($role));
	# time for some more looks, which must stay calm
	my $until = time + 3;
	my $max = 0;
	while (time < $until)
	{
		my $n = pids($node, 'executor', "usename = '$role'");
		$max = $n if $n > $max;
		usleep(50_000);
	}
	is($max, 0, "$name: nothing runs");
	is($node->safe_psql('postgres', "SELECT DISTINCT status, attempt FROM triggerdo.runs WHERE task = 'of-$role' AND finished_at IS NULL"),
		'QUEUED|0', "$name: the runs stay queued");
	is(log_count(qr/triggerdo cannot run tasks of role "$role"/, $from), 1, "$name: the log says it once");
	cmp_ok(log_count(qr/FATAL:  (?!terminating)/, $from), '<=', 4, "$name: few attempts to start");
	return unless defined $mend;
	$node->safe_psql('postgres', $mend);
	my $begin = time;
	all_final($node);
	cmp_ok(time - $begin, '<', 12, "$name: mended, the runs are done soon");
	is($node->safe_psql('postgres', "SELECT DISTINCT status FROM triggerdo.runs WHERE task = 'of-$role'"),
		'COMPLETED', "$name: mended, all complete");
	is(reason($role), '', "$name: mended, no reason is shown any more");
	return;
}

# ------------------------------------------------------------- no worker slot

app($node, 'CREATE TABLE app.gate (open bool)');
plpgsql_task($node, 'gated', q{
	WHILE NOT EXISTS (SELECT FROM app.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;});
user('crowded');
my $from = log_end();
app($node, q{SELECT triggerdo.trigger_task('gated')});
wait_runs($node, q{EXISTS (SELECT FROM triggerdo.workers WHERE run_id IS NOT NULL)});
app($node, q{SELECT triggerdo.trigger_task('of-crowded')}, role => 'crowded');
within(10, 'F16: no slot: the reason is shown', sub { reason('crowded') =~ /max_worker_processes/ });
app($node, q{SELECT pg_sleep(3)});		# what is watched is that nothing happens
is(log_count(qr/triggerdo cannot run tasks of role "crowded"/, $from), 1, 'F16: no slot: the log says it once');
is($node->safe_psql('postgres', q{SELECT status FROM triggerdo.runs WHERE task = 'of-crowded'}),
	'QUEUED', 'F16: no slot: the run stays queued');
reload_with($node, "triggerdo.idle_timeout = '100ms'");
app($node, 'INSERT INTO app.gate VALUES (true)');
all_final($node);
is(reason('crowded'), '', 'F16: a slot is free: no reason is shown any more');
is($node->safe_psql('postgres', q{SELECT status FROM triggerdo.runs WHERE task = 'of-crowded'}),
	'COMPLETED', 'F16: a slot is free: the run is done');
reload_with($node, "triggerdo.idle_timeout = '60s'");
$node->append_conf('postgresql.conf', "max_worker_processes = 24");
$node->restart;

# --------------------------------------------------------------- roles in trouble

user('low');
obstacle('low', 'F17: no CONNECT', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO app',
	qr/CONNECT/, 'GRANT CONNECT ON DATABASE postgres TO PUBLIC');
SKIP:
{
	skip 'an owner may be NOLOGIN from 17 on', 1 if $node->pg_version->major >= 17;
	obstacle('low', 'F17: NOLOGIN', 'ALTER ROLE low NOLOGIN', qr/NOLOGIN/, 'ALTER ROLE low LOGIN');
}
obstacle('low', 'F17: superuser', 'ALTER ROLE low SUPERUSER', qr/superuser/, 'ALTER ROLE low NOSUPERUSER');

# In another database, as nobody can log in here meanwhile
$node->safe_psql('postgres', 'CREATE DATABASE closed');
setup_app($node, 'closed');
plpgsql_task($node, 'echo', '', database => 'closed');
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)}, database => 'closed');
my $closed = $node->background_psql('closed');
$node->safe_psql('postgres', q{ALTER DATABASE closed ALLOW_CONNECTIONS false;
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'triggerdo executor'});
within(10, 'no executor', sub { pids($node, 'executor') == 0 });
$from = log_end();
$closed->query_safe(q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 20)});
within(10, 'F17: ALLOW_CONNECTIONS false: the reason is shown', sub { reason('app') =~ /ALLOW_CONNECTIONS/ });
usleep(3_000_000);
is(log_count(qr/triggerdo cannot run tasks of role "app"/, $from), 1, 'F17: ALLOW_CONNECTIONS false: the log says it once');
is(log_count(qr/FATAL:  (?!terminating)/, $from), 0, 'F17: ALLOW_CONNECTIONS false: nothing tries in vain');
is($closed->query_safe(q{SELECT status, attempt, count(*) FROM triggerdo.runs WHERE finished_at IS NULL GROUP BY 1, 2}),
	'QUEUED|0|20', 'F17: ALLOW_CONNECTIONS false: the runs stay queued');
$node->safe_psql('postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
all_final($node, 'closed');
invariants_ok($node, 'in the closed database', 'closed');
$closed->quit;
$node->safe_psql('postgres', 'DROP DATABASE closed');

# Connection limits are for sessions: 18, and the minor releases of the others since
# 2025, neither count background workers nor refuse them. (An older one refuses them,
# which is a start that failed, as any other.)
foreach my $limited ('ROLE low', 'DATABASE postgres')
{
	my @sessions = map { $node->background_psql('postgres', extra_params => [ '-U', 'low' ]) } 1 .. 2;
	$node->safe_psql('postgres', qq{ALTER $limited CONNECTION LIMIT 1;
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'triggerdo executor'});
	within(10, 'no executor', sub { pids($node, 'executor') == 0 });
	my ($rc, $out, $err) = $node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'low' ]);
	like($err, qr/too many connections/, "F17: ALTER $limited CONNECTION LIMIT: no session can be made");
	$node->safe_psql('postgres', q{SELECT triggerdo.trigger_task('of-low')});
	all_final($node);
	is($node->safe_psql('postgres', q{SELECT DISTINCT status FROM triggerdo.runs WHERE task = 'of-low'}),
		'COMPLETED', "F17: ALTER $limited CONNECTION LIMIT: runs are done nevertheless");
	$node->safe_psql('postgres', "ALTER $limited CONNECTION LIMIT -1");
	$_->quit foreach @sessions;
}

# the same while its executor lives
foreach my $change ([ 'NOLOGIN', 'LOGIN' ], [ 'SUPERUSER', 'NOSUPERUSER' ])
{
	next if $change->[0] eq 'NOLOGIN' && $node->pg_version->major >= 17;
	app($node, q{CALL triggerdo.trigger_and_wait('of-low', '{}', NULL)}, role => 'low');
	ok(pids($node, 'executor', q{usename = 'low'}) > 0, 'an executor is there');
	$node->safe_psql('postgres', "ALTER ROLE low $change->[0]");
	$node->safe_psql('postgres', q{SELECT triggerdo.trigger_task('of-low')});
	within(5, "$change->[0]: the executor ends", sub { pids($node, 'executor', q{usename = 'low'}) == 0 });
	is($node->safe_psql('postgres', q{SELECT status FROM triggerdo.runs WHERE task = 'of-low' AND finished_at IS NULL}),
		'QUEUED', "$change->[0]: the run was not started");
	$node->safe_psql('postgres', "ALTER ROLE low $change->[1]");
	all_final($node);
}

# a role that is gone: others go on
user('gone');
obstacle('gone', 'F30: role to be dropped', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO app, low',
	qr/CONNECT/, undef);
$node->safe_psql('postgres', 'DROP OWNED BY gone; DROP ROLE gone');
$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC');
# a new one of that name is another role
$node->safe_psql('postgres', 'CREATE ROLE gone LOGIN; GRANT USAGE ON SCHEMA triggerdo TO gone');
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
within(15, 'F30: dropped role: the reason is shown', sub {
	$node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.workers WHERE reason ~ 'does not exist'}) eq '1' });
is($node->safe_psql('postgres', q{SELECT status, count(*) FROM triggerdo.runs WHERE task = 'of-gone' GROUP BY 1}),
	'QUEUED|20', 'F30: dropped role: its runs stay queued, also for a new role of that name');
is($node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE triggerdo.cancel_run(run_id)) FROM triggerdo.runs WHERE task = 'of-gone'}),
	'20', 'F30: dropped role: a superuser can cancel them');

# every place for sessions is taken: ours have places of their own
$node->append_conf('postgresql.conf', 'max_connections = 6
superuser_reserved_connections = 2');
$node->restart;
app($node, q{SELECT triggerdo.trigger_task('echo', delay => '1 s')});
my @sessions = map { $node->background_psql('postgres', extra_params => [ '-U', 'app' ]) } 1 .. 4;
my ($rc, $out, $err) = $node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'app' ]);
like($err, qr/remaining connection slots|too many clients/, 'F17: max_connections: no session can be made');
within(10, 'F17: max_connections: runs are done nevertheless', sub {
	$node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.runs WHERE task = 'echo' AND finished_at IS NULL}) eq '0' });
$_->quit foreach @sessions;
invariants_ok($node, 'at the end');
$node->stop;
done_testing();
