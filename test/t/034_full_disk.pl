# A full disk: of the WAL, where the server itself stops and comes back when there
# is room (F14); of a tablespace, of temporary files, of our own tables (F15). The
# run that has no room fails, what is not a run's fault is done later, nothing is
# lost or done twice, and nobody turns in a loop or fills the log.
#
# Red without: class 53 in tdo_failure_is_environment() (src/failure.c);
# look_safely() (src/scheduler.c).

use strict;
use warnings;

# Small disks are file systems of our own, in name spaces that end with the test.
my $disks;

BEGIN
{
	$disks = "$ENV{TESTDIR}/disks";
	if (!$ENV{TRIGGERDO_DISKS})
	{
		my $mount = 'mount -t tmpfs -o size=96m,mode=0777 wal "$0/wal" && mount -t tmpfs -o size=24m,mode=0777 data "$0/data"';
		my @unshare = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c');
		mkdir $_ foreach ($disks, "$disks/wal", "$disks/data");
		if (system(@unshare, "$mount 2>/dev/null", $disks) != 0)
		{
			print "1..0 # SKIP no name spaces with mounts here (unshare --user --mount): disks cannot be made small\n";
			exit 0;
		}
		$ENV{TRIGGERDO_DISKS} = 1;
		my ($gid) = split / /, $);
		# (the server refuses to be root, in a name space too)
		exec(@unshare, "$mount && exec unshare --user --map-user=$> --map-group=$gid perl \"\$1\"", $disks, $0)
		  or die "could not start again: $!";
	}
}

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('disk', start => 0, init => { extra => [ '--wal-segsize=1', "--waldir=$disks/wal/pg_wal" ] },
	conf => "min_wal_size = 2MB
	max_wal_size = 6MB
	wal_recycle = off
	log_statement = none
	autovacuum = off
	triggerdo.executors = 0
	triggerdo.partitions_ahead = 0");
$node->start;

# a disk is filled by a file, and has room when it goes
sub fill
{
	my ($disk) = @_;
	open my $file, '>', "$disks/$disk/ballast" or die;
	my $block = "\0" x 4096;
	1 while syswrite($file, $block) == 4096;
	close $file;
	return;
}
sub room { unlink "$disks/$_[0]/ballast" or die; return }

sub log_end { return -s $node->logfile }
sub log_count
{
	my ($regex, $from) = @_;
	return scalar(() = substr(slurp_file($node->logfile), $from) =~ /$regex/g);
}

# processor time of processes, in ticks
sub ticks
{
	my $sum = 0;
	foreach my $pid (@_)
	{
		my $stat = eval { slurp_file("/proc/$pid/stat") } // next;
		$stat =~ s/.*\) //;
		my @field = split / /, $stat;
		$sum += $field[11] + $field[12];
	}
	return $sum;
}

# -------------------------------------------------------------------- F15: a task's

setup_app($node);
mkdir "$disks/data/space" or die;
$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '$disks/data/space'");
$node->safe_psql('postgres', 'GRANT CREATE ON TABLESPACE space TO app');
app($node, 'CREATE UNLOGGED TABLE app.large (x text) TABLESPACE space');
plpgsql_task($node, 'echo', '');
plpgsql_task($node, 'fill', q{FOR i IN 1 .. 100000 LOOP INSERT INTO app.large VALUES (repeat(md5(i::text), 30)); END LOOP;},
	define => q{retry => '{"maxAttempts": 3, "minTimeoutInMs": 200, "factor": 1, "randomize": false}'});
$node->safe_psql('postgres', "ALTER ROLE app SET temp_file_limit = '1MB'; ALTER ROLE app SET work_mem = '64kB'");
plpgsql_task($node, 'sort', q{PERFORM count(*) FROM (SELECT i FROM generate_series(1, 1000000) i ORDER BY md5(i::text) OFFSET 0) s;});
my $from = log_end();
app($node, q{SELECT count(triggerdo.trigger_task(t)) FROM unnest('{echo,fill,echo,sort,echo}'::text[]) t});
reload_with($node, 'triggerdo.executors = 1');
all_final($node);
is($node->safe_psql('postgres', q{SELECT status, attempt, error ->> 'sqlstate', (SELECT count(*) FROM triggerdo.attempts a WHERE a.run_id = r.run_id) FROM triggerdo.runs r WHERE task = 'fill'}),
	'FAILED|3|53100|3', 'F15: a full tablespace fails its run, after its retries');
is($node->safe_psql('postgres', q{SELECT status, attempt, error ->> 'sqlstate' FROM triggerdo.runs WHERE task = 'sort'}),
	'FAILED|1|53400', 'F15: temp_file_limit fails its run');
is($node->safe_psql('postgres', q{SELECT DISTINCT status FROM triggerdo.runs WHERE task = 'echo'}), 'COMPLETED', 'F15: the others complete');
is(log_count(qr/No space|temporary file size/, $from), 0, 'F15: a run\'s errors are in its row, not in the log');
invariants_ok($node, 'after full tablespaces');
reload_with($node, 'triggerdo.executors = 0');

# --------------------------------------------------------------------- F15: our own

# a database all of whose tables have no room
$node->safe_psql('postgres', 'DROP TABLE app.large; ALTER ROLE app RESET ALL; CREATE DATABASE full_one TABLESPACE space');
setup_app($node, 'full_one');
plpgsql_task($node, 'talks', q{payload := to_jsonb((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 100) i));}, database => 'full_one');
app($node, q{SELECT count(triggerdo.trigger_task('talks')) FROM generate_series(1, 400);
	SELECT count(triggerdo.trigger_task('talks', delay => '1 s')) FROM generate_series(1, 1500)}, database => 'full_one');
fill('data');
$from = log_end();
reload_with($node, 'triggerdo.executors = 1');
within(20, 'F15: our own tables have no room: the log says so', sub {
	log_count(qr/triggerdo executor could not run a batch: could not extend file.*No space left/, $from) > 0 });
within(20, 'F15: the scheduler has no room either: it waits', sub { log_count(qr/triggerdo scheduler has to wait: could not extend file/, $from) > 0 });
my @pids = (pids($node, 'executor', q{datname = 'full_one'}), pids($node, 'scheduler', q{datname = 'full_one'}));
my ($before, $began) = (ticks(@pids), time);
$from = log_end();
sleep(8);		# what is tested is what happens meanwhile
cmp_ok(ticks(@pids) - $before, '<', 200, 'F15: nobody turns in a loop: ' . (ticks(@pids) - $before) . ' ticks in 8 s');
cmp_ok(log_count(qr/triggerdo (?:executor|scheduler)/, $from), '<=', 1 + time - $began, 'F15: no more than a line a second in the log');
is($node->safe_psql('full_one', q{SELECT count(*) FROM triggerdo.runs WHERE status IN ('FAILED', 'CRASHED', 'SYSTEM_FAILURE') OR attempt > 1 OR (attempt > 0 AND status <> 'COMPLETED' AND status <> 'EXECUTING')}),
	'0', 'F15: no run has failed, no attempt is lost');
cmp_ok($node->safe_psql('full_one', q{SELECT count(*) FROM triggerdo.runs WHERE finished_at IS NULL}), '>', 0, 'F15: runs wait');
my ($rc, $out, $err) = $node->psql('full_one', q{SELECT triggerdo.trigger_task('talks', to_jsonb((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) i)))},
	extra_params => [ '-U', 'app', '-v', 'VERBOSITY=sqlstate' ]);
like($err, qr/53100/, 'F15: an enqueue without room is a typed error');
is(join(' ', sort { $a <=> $b } @pids), join(' ', sort { $a <=> $b } pids($node, 'executor', q{datname = 'full_one'}), pids($node, 'scheduler', q{datname = 'full_one'})), 'F15: the same processes');
room('data');
all_final($node, 'full_one');
is($node->safe_psql('full_one', q{SELECT status, attempt, count(*) FROM triggerdo.runs GROUP BY 1, 2}), 'COMPLETED|1|1900', 'F15: with room again, all complete in their first attempt');
invariants_ok($node, 'after our own tables were full', 'full_one');
reload_with($node, 'triggerdo.executors = 0');

# ------------------------------------------------------------------------ F14: WAL

app($node, q{CREATE TABLE app.ledger (run uuid, x text)});
plpgsql_task($node, 'writes', q{INSERT INTO app.ledger SELECT run_id, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 60) i) FROM triggerdo.current_run();});
app($node, q{SELECT count(triggerdo.trigger_task('writes')) FROM generate_series(1, 3000)});
$node->safe_psql('postgres', 'CHECKPOINT');
$from = log_end();
$node->append_conf('postgresql.conf', 'triggerdo.executors = 2');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET triggerdo.executors');
fill('wal');
$node->reload;
within(60, 'F14: no room for WAL: the server stops', sub { log_count(qr/PANIC:  could not write/, $from) > 0 });
# (whether it comes back by itself, and stops again, or waits to be started)
foreach my $turn (1 .. 2)
{
	sleep(1);
	next if $node->psql('postgres', 'SELECT 1') == 0;
	$node->stop('immediate', fail_ok => 1);
	$node->start(fail_ok => 1);
}
room('wal');
if ($node->psql('postgres', 'SELECT 1') != 0)
{
	$node->stop('immediate', fail_ok => 1);
	$node->start;
}
all_final($node);
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT run) FROM app.ledger}), '3000|3000', 'F14: with room again: nothing lost, nothing doubled');
is($node->safe_psql('postgres', q{SELECT status, count(*) FROM triggerdo.runs WHERE task = 'writes' GROUP BY 1}), 'COMPLETED|3000', 'F14: every run complete');
invariants_ok($node, 'after a full WAL');
$node->stop;
done_testing();
