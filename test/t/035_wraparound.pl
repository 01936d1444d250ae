# F24: near the end of the transaction ids, triggerdo leaves those that are left to
# VACUUM: it starts nothing, says so once, and goes on when there are some again.
# In single-user mode it starts nothing either.
#
# Red without: tdo_xids_are_scarce() (src/txn.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('wrap', conf => "wal_level = logical\nmax_replication_slots = 4\nautovacuum = off\ntriggerdo.executors = 0\nlog_statement = none");
setup_app($node);
plpgsql_task($node, 'echo', '');
reload_with($node, 'triggerdo.executors = 1');
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
reload_with($node, 'triggerdo.executors = 0');
app($node, q{SELECT count(triggerdo.trigger_task('echo', metadata => '{"n": 1}')) FROM generate_series(1, 100);
	SELECT count(triggerdo.trigger_task('echo', delay => '100 ms', metadata => '{"n": 1}')) FROM generate_series(1, 10)});
# (it keeps VACUUM from moving the horizon, autovacuum's forced one too)
$node->safe_psql('postgres', q{SELECT pg_create_logical_replication_slot('old', 'pgoutput')});
my $oldest = $node->safe_psql('postgres', 'SELECT datfrozenxid FROM pg_database WHERE datname = current_database()');

# ---------------------------------------------------------------- single-user mode

$node->stop;
my ($out, $err) = ('', '');
my $input = "SELECT count(*) FROM triggerdo.runs\nSELECT triggerdo.trigger_task('echo', metadata => '{\"n\": 1}')\n";
# (as a superuser: of a task of "app", whose run waits for an executor)
ok(run_log([ 'postgres', '--single', '-D', $node->data_dir, 'postgres' ], '<', \$input, '>', \$out, '2>', \$err), 'F24: single-user mode ends well');
like($out, qr/count = "111"/, 'F24: single-user mode: runs can be read');
like($out, qr/trigger_task = "[0-9a-f]{8}-/, 'F24: single-user mode: and triggered');
unlike($out . $err, qr/triggerdo (?:launcher|scheduler|executor)|PANIC|FATAL|signal/, 'F24: single-user mode: nothing is started');

# ------------------------------------------------------------- near the end of the ids

# 20 million before the end: past the 40 million at which the server warns, before
# the 3 million at which it refuses
my $next = ($oldest + 2**31 - 1 - 20_000_000) & 0xffff_ffff;
my $per_segment = 32 * 8192 * 4;
my $segment = sprintf('%s/pg_xact/%04X', $node->data_dir, $next / $per_segment);
open my $file, '>', $segment or die;
syswrite($file, "\0" x (256 * 1024));
close $file;
system_or_bail('pg_resetwal', '-f', '-x', $next, $node->data_dir);
# (the segment's pages count as written)
my $from = -s $node->logfile;
$node->append_conf('postgresql.conf', 'triggerdo.executors = 2');
$node->start;
$node->safe_psql('postgres', 'ALTER SYSTEM RESET triggerdo.executors');
reload_with($node, 'triggerdo.executors = 2');

sub log_count
{
	my ($regex) = @_;
	return scalar(() = substr(slurp_file($node->logfile), $from) =~ /$regex/g);
}
within(20, 'F24: the scheduler says that it waits', sub { log_count(qr/triggerdo scheduler has to wait: the server is running out of transaction ids/) > 0 });
my $before = $node->safe_psql('postgres', 'SELECT triggerdo_test.xid_burnt()');
sleep(4);		# what is tested is that nothing happens
is($node->safe_psql('postgres', 'SELECT triggerdo_test.xid_burnt()'), $before, 'F24: no transaction id is burnt');
is($node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.runs WHERE metadata ? 'n' AND finished_at IS NULL}), '111', 'F24: runs stay queued');
is(log_count(qr/triggerdo scheduler has to wait/), 1, 'F24: said once');
my ($scheduler) = pids($node, 'scheduler');
is(log_count(qr/\[$scheduler\] WARNING/), 0, 'F24: without a warning for each id');
is(scalar pids($node, 'executor'), 0, 'F24: no executor is started');

# ------------------------------------------------------------------------- recovery

$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('old')});
$node->safe_psql('postgres', q{UPDATE pg_database SET datallowconn = true WHERE datname = 'template0'});
$node->safe_psql($_, 'VACUUM FREEZE') foreach qw(postgres template1 template0);
all_final($node);
is($node->safe_psql('postgres', q{SELECT status, attempt, count(*) FROM triggerdo.runs WHERE metadata ? 'n' GROUP BY 1, 2}), 'COMPLETED|1|111', 'F24: after VACUUM FREEZE the runs are done');
invariants_ok($node, 'at the end');
$node->stop;
done_testing();
