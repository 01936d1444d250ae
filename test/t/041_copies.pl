# Copies of the data files start paused, and say so: restored to a point in time,
# started from a base backup, made with TEMPLATE. A standby that is promoted and a
# server that crashed go on. And pause() and resume() themselves.
#
# Red without: look_for_restore() and judge() (src/origin.c), line by line;
# tdo_origin_note(); "running" in look() (src/scheduler.c); the look at the standing
# in batch_transaction() (src/batch.c); transaction_ended(), subtransaction_ended()
# and the lack of a unique key (src/origin.c, tdo_role_remember), tdo_roles_follow().

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

# (the clock goes far ahead, and the history is to be compared)
my $primary = node('primary', init => { allows_streaming => 1, has_archiving => 1 },
	conf => 'triggerdo.retention = 0');
setup_app($primary);
app($primary, 'CREATE TABLE app.ledger (run uuid); CREATE TABLE app.gate (open bool)');
my $write = q{INSERT INTO app.ledger SELECT run_id FROM triggerdo.current_run();};
plpgsql_task($primary, 'echo', $write);
plpgsql_task($primary, 'gated', qq{$write WHILE NOT EXISTS (SELECT FROM app.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;});

sub state_of
{
	my ($node, $db) = @_;
	return $node->safe_psql($db // 'postgres', q{SELECT state, reason FROM triggerdo.workers WHERE kind = 'scheduler' AND database = current_database()});
}
sub clock { my ($node, $sql) = @_; return $node->safe_psql('postgres', "SELECT triggerdo_test.$sql") }
sub log_has { my ($node, $regex) = @_; return slurp_file($node->logfile) =~ $regex }
sub counts { my ($node, $db) = @_; return $node->safe_psql($db // 'postgres', 'SELECT status, count(*) FROM triggerdo.runs GROUP BY 1 ORDER BY 1') =~ s/\n/ /gr }
sub ledger_ok
{
	my ($node, $name, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($db // 'postgres', q{SELECT count(*) FROM triggerdo.runs r FULL JOIN app.ledger l ON l.run = r.run_id
		WHERE (l.run IS NULL) IS DISTINCT FROM (r.status <> 'COMPLETED') OR r.run_id IS NULL}), '0', "$name: what is done was done");
	is($node->safe_psql($db // 'postgres', 'SELECT count(*) - count(DISTINCT run) FROM app.ledger'), '0', "$name: once");
	return;
}
# waits until the scheduler is there
sub served
{
	my ($node) = @_;
	return within(15, 'a scheduler is there', sub {
		my ($rc, $out) = $node->psql('postgres', q{SELECT 1 FROM triggerdo.workers WHERE kind = 'scheduler' AND pid IS NOT NULL AND database = 'postgres'});
		return $out eq '1' });
}

# nothing begins, whatever is due
sub paused_ok
{
	my ($node, $name, $reason) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = counts($node);
	served($node);
	is(state_of($node), "paused|$reason", "$name: triggerdo.workers says so");
	is($node->safe_psql('postgres', 'SELECT DISTINCT paused FROM triggerdo.stats'), 't', "$name: triggerdo.stats too");
	clock($node, q{advance('80 days')});
	$node->safe_psql('postgres', 'SELECT pg_sleep(0.5)');	# in which nothing may happen
	is(counts($node), $before, "$name: nothing runs, no timer fires");
	is(pids($node, 'executor'), 0, "$name: there is no executor");
	return;
}

# ------------------------------------------------------------- pause() and resume()

app($primary, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
is($primary->safe_psql('postgres', 'BEGIN; SELECT triggerdo.pause(); ROLLBACK; SELECT 1'), "t\n1", 'a pause rolled back');
app($primary, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
pass('is none');
my $in_hand = app($primary, q{SELECT triggerdo.trigger_task('gated')});
wait_runs($primary, q{EXISTS (SELECT FROM triggerdo.runs WHERE status = 'EXECUTING')});
is($primary->safe_psql('postgres', 'SELECT triggerdo.pause()'), 't', 'pause() while a run is executed');
app($primary, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 3)});
app($primary, q{SELECT triggerdo.trigger_task('echo', delay => '1 day')});
is($primary->safe_psql('postgres', 'SELECT triggerdo.pause()'), 'f', 'a second pause() has nothing to do');
app($primary, 'INSERT INTO app.gate VALUES (true)');
wait_runs($primary, "EXISTS (SELECT FROM triggerdo.runs WHERE run_id = '$in_hand' AND status = 'COMPLETED')");
within(10, 'executors leave', sub { pids($primary, 'executor') == 0 });
is(counts($primary), 'DELAYED|1 QUEUED|3 COMPLETED|3', 'what was in hand is finished, nothing more is taken');
my $superuser = $primary->safe_psql('postgres', 'SELECT current_user');
paused_ok($primary, 'pause()', "paused by $superuser");
ok(log_has($primary, qr/LOG:  triggerdo is paused in database "postgres": paused by/), 'the log says so');
$primary->restart;
paused_ok($primary, 'pause(), after a restart', "paused by $superuser");
is(app($primary, q{BEGIN; SELECT triggerdo.run_now(triggerdo.trigger_task('echo'))->>'ok'; ROLLBACK}) , 'true', 'run_now() works meanwhile');
like(($primary->psql('postgres', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT triggerdo.resume()'))[2], qr/READ COMMITTED/, 'resume() wants to see all');
is($primary->safe_psql('postgres', 'BEGIN; SELECT triggerdo.resume(); ROLLBACK; SELECT 1'), "t\n1", 'a resume rolled back');
paused_ok($primary, 'a resume rolled back is none', "paused by $superuser");
is($primary->safe_psql('postgres', 'SELECT triggerdo.resume()'), 't', 'resume()');
clock($primary, q{advance('2 days')});
all_final($primary);
is(state_of($primary), 'running|', 'goes on');
is($primary->safe_psql('postgres', 'SELECT triggerdo.resume()'), 'f', 'a second resume() has nothing to do');
ledger_ok($primary, 'pause() and resume()');

# ------------------------------------------------------------------- the map of roles

$primary->safe_psql('postgres', 'CREATE ROLE first LOGIN; GRANT app TO first; CREATE ROLE second LOGIN; GRANT app TO second');
app($primary, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});	# (makes the day's partitions)
my $trigger = q{SELECT count(triggerdo.trigger_task('echo'))};
my @two = map { $primary->background_psql('postgres', extra_params => [ '-U', 'first' ]) } 1, 2;
foreach my $session (@two)
{
	$session->query_safe(q{SET statement_timeout = '5s'; BEGIN});
	$session->query_safe($trigger);
}
pass('two sessions meet a role first at the same time, and neither waits');
$_->query_safe('COMMIT') foreach @two;
is($primary->safe_psql('postgres', q{SELECT count(*) FROM _triggerdo.role WHERE name = 'first'}), '2', 'both have written it down');
$_->quit foreach @two;
foreach my $undo ([ 'BEGIN', 'ROLLBACK' ], [ 'BEGIN; SAVEPOINT s', 'ROLLBACK TO s; COMMIT' ])
{
	my $session = $primary->background_psql('postgres', extra_params => [ '-U', 'second' ]);
	$session->query_safe("$undo->[0]; $trigger");
	$session->query_safe($undo->[1]);
	is($primary->safe_psql('postgres', q{SELECT count(*) FROM _triggerdo.role WHERE name = 'second'}), '0', "$undo->[1]: it is not on the map");
	$session->query_safe($trigger);
	is($primary->safe_psql('postgres', q{SELECT count(*) FROM _triggerdo.role WHERE name = 'second'}), '1', "$undo->[1]: and is, when it is met again");
	$session->quit;
	$primary->safe_psql('postgres', q{DELETE FROM _triggerdo.role WHERE name = 'second'}) if $undo->[0] eq 'BEGIN';
}
$primary->safe_psql('postgres', 'ALTER ROLE first RENAME TO renamed');
clock($primary, q{advance('1 ms')});
within(10, 'the scheduler follows a rename, and one row is enough', sub {
	$primary->safe_psql('postgres', q{SELECT string_agg(name, ' ' ORDER BY name) FROM _triggerdo.role}) eq 'app renamed second' })
  or diag($primary->safe_psql('postgres', 'TABLE _triggerdo.role'));
all_final($primary);
invariants_ok($primary, 'the map of roles');

# -------------------------------------------------------- restored to a point in time

reload_with($primary, 'triggerdo.executors = 0');
within(10, 'no executor', sub { pids($primary, 'executor') == 0 });
app($primary, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 5)});
app($primary, q{SELECT count(triggerdo.trigger_task('echo', delay => '1 day')) FROM generate_series(1, 3)});
$primary->backup('week_old');
app($primary, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 2)});
$primary->safe_psql('postgres', q{SELECT pg_create_restore_point('then')});
app($primary, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 20)});
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');

sub copy_of
{
	my ($name, $of, $backup, $conf, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($of, $backup, %options);
	$node->append_conf('postgresql.conf', $conf) if $conf;
	return $node;
}
# as the original: its clock too
sub start_copy
{
	my ($node, $advance) = @_;
	$node->start;
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
	return;
}

# (no scheduler at first: that it was restored must be known later, too)
my $pitr = copy_of('pitr', $primary, 'week_old', q{
recovery_target_name = 'then'
recovery_target_action = 'promote'
triggerdo.databases = 'none'}, has_restoring => 1, standby => 0);
start_copy($pitr);
is($pitr->safe_psql('postgres', 'SELECT DISTINCT paused FROM triggerdo.stats'), 't', 'F45: restored to a point in time: paused');
$pitr->append_conf('postgresql.conf', q{triggerdo.databases = '*'});
$pitr->stop('immediate');
$pitr->start;
reload_with($pitr, 'triggerdo.executors = 2');
is(counts($pitr) =~ s/COMPLETED.*//r, 'DELAYED|3 QUEUED|7 ', 'F45: restored to a point in time: what waited then');
my $restored = 'this server was restored from a backup';
paused_ok($pitr, 'F45: restored to a point in time', $restored);
ok(log_has($pitr, qr/LOG:  triggerdo is paused in database "postgres": $restored/), 'F45: restored to a point in time: the log says so');
$pitr->restart;
paused_ok($pitr, 'F45: restored to a point in time, after a restart', $restored);
app($pitr, q{SELECT triggerdo.trigger_task('echo')});
is(app($pitr, q{SELECT count(*) FROM triggerdo.runs WHERE status = 'QUEUED'}), '8', 'F45: its roles are those of the original: app sees and triggers');
$pitr->backup('still_paused');
is($pitr->safe_psql('postgres', 'SELECT triggerdo.resume()'), 't', 'F45: resume()');
clock($pitr, q{advance('800 days')});
all_final($pitr);
ledger_ok($pitr, 'F45: restored to a point in time');
invariants_ok($pitr, 'F45: restored to a point in time');
$pitr->restart;
served($pitr);
is(state_of($pitr), 'running|', 'F45: a restart after resume() does not pause it again');

# ------------------------------------------------------------ standbys of such a server

$pitr->backup('resumed');
my $standby = copy_of('of_resumed', $pitr, 'resumed', q{recovery_target_name = ''}, has_streaming => 1);
$standby->start;
$pitr->wait_for_catchup($standby);
$standby->promote;
served($standby);
is(state_of($standby), 'running|', 'F45: a standby of a server that was restored, and resumed: promoted, it goes on');
app($standby, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
$standby->stop;
$standby = copy_of('of_paused', $pitr, 'still_paused', "recovery_target_name = ''\nrestore_command = ''");
$standby->set_standby_mode;
$standby->start;
$standby->promote;
served($standby);
is(state_of($standby), "paused|$restored", 'F45: a standby of one that was not resumed: promoted, it is still paused');
$standby->stop;
$pitr->stop;

# -------------------------------------------------------- a base backup simply started

my $plain = copy_of('plain', $primary, 'week_old', '');
start_copy($plain);
reload_with($plain, 'triggerdo.executors = 2');
paused_ok($plain, 'F45: a base backup that is started as it is', $restored);
$plain->stop;

# ------------------------------------------------- a standby that is told to stop early

my $early = copy_of('early', $primary, 'week_old', q{
recovery_target_name = 'then'
recovery_target_action = 'promote'}, has_restoring => 1);
start_copy($early);
reload_with($early, 'triggerdo.executors = 2');
paused_ok($early, 'F45: a standby with a recovery target', $restored);
$early->stop;

# ------------------------------------------------------- promotion and crash: go on

$standby = copy_of('standby', $primary, 'week_old', '', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);
reload_with($primary, 'triggerdo.executors = 2');
$primary->stop('immediate');
$primary->start;
clock($primary, q{advance('800 days')});
all_final($primary);
is(state_of($primary), 'running|', 'a server that crashed goes on');
ledger_ok($primary, 'after a crash');
$primary->safe_psql('postgres', 'SELECT triggerdo.pause()');
app($primary, q{SELECT triggerdo.trigger_task('echo')});
$primary->safe_psql('postgres', 'SELECT triggerdo.resume()');
all_final($primary);
my $log = -s $standby->logfile;
$primary->wait_for_catchup($standby);
$standby->promote;
reload_with($standby, 'triggerdo.executors = 2');
served($standby);
app($standby, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
is(state_of($standby), 'running|', 'F45: a promoted standby is no copy: it goes on');
unlike(substr(slurp_file($standby->logfile), $log), qr/triggerdo is paused/, 'F45: a promoted standby: never was paused');
ledger_ok($standby, 'F45: a promoted standby');
invariants_ok($standby, 'F45: a promoted standby');
$standby->stop;

# --------------------------------------------------------------------- other names

# another system, as after pg_upgrade
$primary->safe_psql('postgres', 'UPDATE _triggerdo.origin SET system_identifier = system_identifier - 1');
$primary->restart;
served($primary);
is(state_of($primary), 'paused|this server is a copy of another one, or an upgrade of it', 'F45: another system: paused');
$primary->safe_psql('postgres', 'SELECT triggerdo.resume()');
app($primary, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});

# a copy in the same server
$primary->safe_psql('postgres', q{ALTER SYSTEM SET triggerdo.databases = 'none'});
$primary->reload;
within(10, 'nobody is in the database', sub { pids($primary, 'scheduler', q{datname = 'postgres'}) + pids($primary, 'executor') == 0 });
app($primary, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 4)});
$primary->safe_psql('template1', 'CREATE DATABASE copy TEMPLATE postgres');
reload_with($primary, q{triggerdo.databases = 'copy'});
within(10, 'F45: a copy made with TEMPLATE: paused', sub {
	($primary->psql('copy', q{SELECT state, reason FROM triggerdo.workers WHERE kind = 'scheduler' AND database = 'copy'}))[1] eq 'paused|this database is a copy of another one' });
is(app($primary, q{SELECT count(*) FROM triggerdo.runs WHERE status = 'QUEUED'}, database => 'copy'), '4', 'F45: a copy made with TEMPLATE: app sees its runs');
app($primary, q{SELECT triggerdo.trigger_task('echo')}, database => 'copy');
is(pids($primary, 'executor'), 0, 'F45: a copy made with TEMPLATE: nothing runs');
is($primary->safe_psql('copy', 'SELECT triggerdo.resume()'), 't', 'F45: a copy made with TEMPLATE: resume()');
all_final($primary, 'copy');
ledger_ok($primary, 'F45: a copy made with TEMPLATE', 'copy');
invariants_ok($primary, 'F45: a copy made with TEMPLATE', 'copy');
is($primary->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.runs WHERE status = 'QUEUED'}), '4', 'the original is as it was');
$primary->safe_psql('postgres', q{ALTER SYSTEM RESET triggerdo.databases});
$primary->reload;
all_final($primary);
ledger_ok($primary, 'the original');
invariants_ok($primary, 'at the end');
$primary->stop;
done_testing();
