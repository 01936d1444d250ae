# Retention and purge() beside a server at work: an open reader or a dump makes
# retention wait, says so once, and holds up nobody; what is enqueued late, in a
# transaction that stands prepared, is not lost; purge() goes on beside readers,
# enqueues and executors.
#
# Red without: put_off() and the time-out of tdo_partition_lock() in
# drop_oldest() (src/history.c); tdo_live_in_day() after the lock there; the
# subtransaction of drop_whole(); lock_out_enqueues() in judge().

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task all_final reload_with within);

my $node = node('history', conf => "triggerdo.partitions_ahead = 0\nmax_prepared_transactions = 5\n");
setup_app($node);
plpgsql_task($node, 'echo', '');

sub clock { my ($sql) = @_; return $node->safe_psql('postgres', "SELECT triggerdo_test.$sql") }
sub days
{
	return $node->safe_psql('postgres', q{
		SELECT string_agg(substr(relname, 9), ' ' ORDER BY relname) FROM pg_class
		 WHERE relnamespace = '_triggerdo'::regnamespace AND relispartition AND relkind = 'r' AND relname ~ '^run_'});
}
sub dropped { my ($day) = @_; return wait_runs($node, "to_regclass('_triggerdo.run_$day') IS NULL AND to_regclass('_triggerdo.result_$day') IS NULL AND to_regclass('_triggerdo.attempt_$day') IS NULL") }
sub logged { my ($text, $from) = @_; return scalar(() = slurp_file($node->logfile, $from // 0) =~ /$text/g) }
# seconds that an enqueue and its run take
sub round_trip
{
	my $begin = time;
	app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
	return time - $begin;
}

clock('freeze()');
clock(q{set_time('2031-03-01 12:00:00+00')});
app($node, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 100)});
all_final($node);

# ----------------------------------------------------- readers make it wait

my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM triggerdo.runs');
my $from = -s $node->logfile;
clock(q{set_time('2031-04-15 12:00:00+00')});
within(10, 'an open reader: retention waits, and says so', sub { logged('cannot drop old history yet', $from) > 0 });
like(slurp_file($node->logfile, $from), qr/DETAIL: +Transactions that read it hold it up, a dump too/, 'why');
foreach (1 .. 5)
{
	# (each goes beyond the next try)
	clock(q{advance('2 hours')});
	cmp_ok(round_trip(), '<', 5, 'runs are enqueued and done meanwhile');
}
is(logged('cannot drop old history yet', $from), 1, 'it is said once');
like(days(), qr/^0301 /, 'nothing is dropped');
$reader->query_safe('COMMIT');
clock(q{advance('2 hours')});
dropped('20310301');
is(logged('drops the history of 2031-03-01', $from), 1, 'dropped when the reader is gone');

# a dump, held up in its middle
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
my $today = $node->safe_psql('postgres', q{SELECT to_char(triggerdo_test.now(), 'YYYYMMDD')});
$node->safe_psql('postgres', 'CREATE TABLE public.held (i int)');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE public.held');
my ($in, $out, $err) = ('', '', '');
my $dump = IPC::Run::start([ 'pg_dump', '-f', "$PostgreSQL::Test::Utils::tmp_check/dump.sql", $node->connstr('postgres') ],
	'<', \$in, '>', \$out, '2>', \$err);
wait_runs($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE query ~ '^LOCK TABLE' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid())});
$from = -s $node->logfile;
clock(q{advance('40 days')});
within(10, 'a dump: retention waits', sub { logged('cannot drop old history yet', $from) > 0 });
clock(q{advance('1 hour')});
cmp_ok(round_trip(), '<', 5, 'runs are enqueued and done beside the dump');
is(logged('drops the history', $from), 0, 'nothing is dropped under the dump');
$holder->query_safe('COMMIT');
ok(IPC::Run::finish($dump), 'the dump ends well') or diag($err);
like(slurp_file("$PostgreSQL::Test::Utils::tmp_check/dump.sql"), qr/run_$today/, 'with the old day');
clock(q{advance('2 hours')});
dropped($today);
$_->quit foreach $reader, $holder;

# --------------------------------------- an enqueue that is not yet committed

clock(q{set_time('2032-01-01 12:00:00+00')});
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
my $run = app($node, q{BEGIN; SELECT triggerdo.trigger_task('echo'); PREPARE TRANSACTION 'late'});
$from = -s $node->logfile;
clock(q{set_time('2032-03-01 12:00:00+00')});
within(10, 'an old enqueue that stands prepared: retention waits', sub { logged('cannot drop old history yet', $from) > 0 });
is(logged('drops the history', $from), 0, 'its day is not dropped');
app($node, q{COMMIT PREPARED 'late'});
wait_runs($node, "(SELECT status FROM triggerdo.runs WHERE run_id = '$run') = 'COMPLETED'");
clock(q{advance('1 hour')});
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
is(app($node, "SELECT status FROM triggerdo.runs WHERE run_id = '$run'"), 'COMPLETED', 'it ended lately: its day stays');
clock(q{advance('31 days')});
dropped('20320101');

# -------------------------------------------------------------------- purge

# beside an open reader it deletes rows instead, and does not wait
clock(q{set_time('2033-01-01 12:00:00+00')});
app($node, q{SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 50)});
all_final($node);
clock(q{advance('1 day')});
$reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM triggerdo.runs');
is($node->safe_psql('postgres', q{SELECT triggerdo.purge('1 hour')}), '50', 'purge beside an open reader removes the runs');
like(days(), qr/0101/, 'but not the partitions');
$reader->query_safe('COMMIT');
is($node->safe_psql('postgres', q{SELECT triggerdo.purge('1 hour')}), '0', 'again: nothing is left');
unlike(days(), qr/0101/, 'and now the partitions go');

# an open purge holds up neither enqueues nor executors
my $purger = $node->background_psql('postgres');
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
clock(q{advance('1 day')});
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
is($purger->query_safe(q{BEGIN; SELECT triggerdo.purge('1 hour')}), '1', 'a purge that is not yet committed');
my $begin = time;
$run = app($node, q{SELECT triggerdo.trigger_task('echo')});
cmp_ok(time - $begin, '<', 5, 'an enqueue beside it');
is(app($node, "SELECT triggerdo.wait_for_run('$run', '10 s')->'ok'"), 'true', 'is done');
$purger->query_safe('COMMIT');
$_->quit foreach $reader, $purger;

# (purge looks at the clock, so it must go)
clock('reset()');
# many purges, enqueuers and executors at once: nothing that waits is lost
$node->safe_psql('postgres', 'CREATE TABLE public.done (run uuid)');
$node->safe_psql('postgres', 'GRANT ALL ON public.done TO app');
plpgsql_task($node, 'notes', q{INSERT INTO public.done SELECT run_id FROM triggerdo.current_run();});
$node->pgbench('-n -c 4 -j 2 -t 150', 0, [qr{actually processed: 600/600}], [qr{^$}], 'enqueues, purges and executors at once',
	{ '020_enqueue@9' => q{SET ROLE app; SELECT triggerdo.trigger_task('notes'); RESET ROLE;},
	  '020_purge@1' => q{SELECT triggerdo.purge('0');} });
all_final($node);
is($node->safe_psql('postgres', q{SELECT count(*) = count(DISTINCT run), count(*) > 400 FROM public.done}), 't|t', 'each run was done once');

invariants_ok($node, 'at the end');
$node->stop;
done_testing();
