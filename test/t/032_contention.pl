# Locks that cannot be had, memory that is not there, a commit that fails, a task
# that floods: each is an error of that run, or tried again, and its executor goes on.
#
# Red without: tdo_failure_is_contention() (src/failure.c); put_off(),
# commit_failed() and bookkeeping_failed() (src/batch.c), tdo_later()
# (src/transition.c); copy_text() (src/failure.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('contention', init => { extra => [ '--encoding=UTF8', '--locale=C' ] }, conf => 'max_connections = 20
	max_locks_per_transaction = 10
	max_worker_processes = 12
	autovacuum = off
	log_min_messages = warning
	log_statement = none
	triggerdo.executors = 1
	triggerdo.max_executors_per_role = 1');
setup_app($node);
plpgsql_task($node, 'echo', '');

sub value { return $node->safe_psql('postgres', $_[0]) }

# status, attempt, SQLSTATE of the runs of a task
sub outcome
{
	my ($task) = @_;
	return value(qq{SELECT DISTINCT status, attempt, error ->> 'sqlstate' FROM triggerdo.runs WHERE task = '$task'});
}
sub log_of { return substr(slurp_file($node->logfile), $_[0] // 0) }

app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
my ($pid) = pids($node, 'executor');

# ------------------------------------------------- F18: locks, within a function

# (a sequence counts the tries: no rollback takes it back)
app($node, 'CREATE SEQUENCE app.tries; CREATE TABLE app.busy (x int); CREATE TABLE app.calm (x int);');
plpgsql_task($node, 'nowait', q{PERFORM nextval('app.tries'); LOCK TABLE app.busy IN SHARE MODE NOWAIT;});
app($node, q{BEGIN; LOCK TABLE app.busy IN EXCLUSIVE MODE; PREPARE TRANSACTION 'holder'});
app($node, q{SELECT triggerdo.trigger_task('nowait')});
all_final($node);
is(outcome('nowait') . ' ' . value('SELECT last_value FROM app.tries'), 'FAILED|1|55P03 6',
	'F18: a lock that is not to be had: tried again at once, within a budget, then failed');
app($node, q{ROLLBACK PREPARED 'holder'; TRUNCATE app.calm; SELECT setval('app.tries', 1, false)});
plpgsql_task($node, 'nowait-twice', q{IF nextval('app.tries') < 3 THEN RAISE lock_not_available; END IF;});
app($node, q{SELECT triggerdo.trigger_task('nowait-twice')});
all_final($node);
is(outcome('nowait-twice'), 'COMPLETED|1|', 'F18: lock_not_available costs no attempt');

# beside others, in one batch
plpgsql_task($node, 'hog', q{PERFORM nextval('app.tries'); FOR i IN 1 .. 100000 LOOP PERFORM pg_advisory_xact_lock(i); END LOOP;});
app($node, q{SELECT setval('app.tries', 1, false); SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 20);
	SELECT triggerdo.trigger_task('hog'); SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 20)});
all_final($node);
is(outcome('hog') . ' ' . value('SELECT last_value FROM app.tries'), 'FAILED|1|53200 6', 'F18: a full lock table: tried again, then the failure of that run');
is(outcome('echo'), 'COMPLETED|1|', 'F18: the runs beside it complete');

# ---------------------------------------------- F18: locks, in our own bookkeeping

# it takes all locks that there are, and is content; sixteen tables first, which
# need no place in the shared table, so that ours will
app($node, qq{CREATE TABLE app.t$_ (x int)}) foreach 1 .. 20;
plpgsql_task($node, 'greedy', q{
	IF EXISTS (SELECT FROM app.calm) THEN RETURN '"calm"'; END IF;
	FOR t IN 1 .. 20 LOOP EXECUTE format('SELECT FROM app.t%s', t); END LOOP;
	BEGIN
		FOR i IN 1 .. 100000 LOOP
			BEGIN PERFORM pg_advisory_xact_lock(i);
			EXCEPTION WHEN out_of_memory THEN RETURN payload; END;
		END LOOP;
	END;});
my $from = -s $node->logfile;
my $run = app($node, q{SELECT triggerdo.trigger_task('greedy')});
within(20, 'F18: no lock left for our bookkeeping: the run is put off', sub {
	my ($rc, $out) = $node->psql('postgres', qq{SELECT status, attempt, due > now() FROM triggerdo.runs JOIN _triggerdo.timer USING (run_id) WHERE run_id = '$run'});
	return $rc == 0 && $out eq 'DELAYED|0|t' });
my $began = time;
app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
cmp_ok(time - $began, '<', 10, 'F18: it does not keep back the runs behind it');
app($node, 'INSERT INTO app.calm VALUES (1)');
all_final($node);
is(value(qq{SELECT status, attempt, output FROM triggerdo.runs WHERE run_id = '$run'}), 'COMPLETED|1|"calm"',
	'F18: it is done later, and no attempt is lost');
like(log_of($from), qr/triggerdo executor could not run a batch: out of shared memory/, 'F18: the log says why');
is(join(' ', pids($node, 'executor')), $pid, 'F18: by the same process');

# ---------------------------------------------------------- F18: real contention

$node->append_conf('postgresql.conf', "deadlock_timeout = 10ms\ntriggerdo.executors = 2\ntriggerdo.max_executors_per_role = 2\ntriggerdo.batch_time = 0
triggerdo.serialization_retries = 50");
$node->restart;
app($node, q{CREATE TABLE app.account (id int PRIMARY KEY, n int); INSERT INTO app.account VALUES (1, 0), (2, 0)});
plpgsql_task($node, 'cross', q{
	UPDATE app.account SET n = n + 1 WHERE id = (payload ->> 'first')::int;
	PERFORM pg_sleep(0.01);
	UPDATE app.account SET n = n + 1 WHERE id = 3 - (payload ->> 'first')::int;});
app($node, q{SELECT count(triggerdo.trigger_task('cross', jsonb_build_object('first', 1 + i % 2))) FROM generate_series(1, 40) i});
all_final($node);
is(outcome('cross') . ' ' . value('SELECT string_agg(n::text, $$ $$) FROM app.account'), 'COMPLETED|1| 40 40',
	'F18: runs that deadlock with one another all complete, once each');

$node->safe_psql('postgres', 'ALTER ROLE app SET default_transaction_isolation = serializable; 
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = $$triggerdo executor$$');
plpgsql_task($node, 'count-up', q{
	PERFORM sum(n) FROM app.account;
	PERFORM pg_sleep(0.002);
	UPDATE app.account SET n = n + 1 WHERE id = 1;});
app($node, q{UPDATE app.account SET n = 0; SELECT count(triggerdo.trigger_task('count-up')) FROM generate_series(1, 60) i});
all_final($node);
is(outcome('count-up') . ' ' . value('SELECT n FROM app.account WHERE id = 1'), 'COMPLETED|1| 60',
	'F18: serializable runs that conflict all complete, once each');
$node->safe_psql('postgres', 'ALTER ROLE app RESET default_transaction_isolation; ');
$node->append_conf('postgresql.conf', "triggerdo.executors = 1\ntriggerdo.max_executors_per_role = 1\ntriggerdo.batch_time = '10ms'
triggerdo.serialization_retries = 5");
$node->restart;

# ---------------------------------------------------------------- F28: at the commit

app($node, q{CREATE TABLE app.parent (id int PRIMARY KEY);
	CREATE TABLE app.child (id int REFERENCES app.parent DEFERRABLE INITIALLY DEFERRED);
	SELECT setval('app.tries', 1, false);
	CREATE TABLE app.late (ok bool);
	CREATE FUNCTION app.late() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval('app.tries') < 3 OR NOT NEW.ok THEN
			RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full';
		END IF;
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.late();});
plpgsql_task($node, 'orphan', 'INSERT INTO app.child VALUES (7);');
plpgsql_task($node, 'late', 'INSERT INTO app.late VALUES ((payload ->> $$ok$$)::bool);');
app($node, q{SELECT count(triggerdo.trigger_task(CASE WHEN i % 4 = 0 THEN 'orphan' ELSE 'echo' END, metadata => '{"deferred": true}')) FROM generate_series(1, 20) i});
all_final($node);
is(outcome('orphan') . ' ' . value('SELECT count(*) FROM app.child'), 'FAILED|1|23503 0', 'F28: a deferred constraint fails its run, with its own error, and nothing of it stays');
is(value(q{SELECT count(*) FROM triggerdo.runs WHERE metadata ? 'deferred' AND status = 'COMPLETED'}), '15', 'F28: the others of its batches complete');
like(value(q{SELECT DISTINCT error ->> 'message' FROM triggerdo.runs WHERE task = 'orphan'}), qr/violates foreign key constraint "child_id_fkey"/, 'F28: the message is the constraint\'s');

$run = app($node, q{SELECT triggerdo.trigger_task('late', '{"ok": true}')});
all_final($node);
is(value(qq{SELECT status, attempt FROM triggerdo.runs WHERE run_id = '$run'}) . ' ' . value('SELECT count(*) FROM app.late'), 'COMPLETED|1 1',
	'F28: no room at the commit: later, and no attempt is lost');
$run = app($node, q{SELECT triggerdo.trigger_task('late', '{"ok": false}')});
foreach my $turn (1 .. 60)
{
	last if value(qq{SELECT finished_at IS NOT NULL FROM triggerdo.runs WHERE run_id = '$run'}) eq 't';
	value(q{SELECT triggerdo_test.advance('64 s'), pg_sleep(0.5)});
}
is(value(qq{SELECT status, attempt, error ->> 'sqlstate', error ->> 'message' FROM triggerdo.runs WHERE run_id = '$run'}), 'FAILED|1|53100|no room',
	'F28: but not for ever: what always fails so is a failure in the end');
value('SELECT triggerdo_test.reset()');

# ------------------------------------------------------------------- F10: memory

app($node, q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)});
($pid) = pids($node, 'executor');
plpgsql_task($node, 'too-long', q{payload := to_jsonb(repeat('x', (1 << 30) - 1));});
plpgsql_task($node, 'much', q{payload := to_jsonb(length(repeat('x', 400000000) || repeat('y', 400000000)));});
my ($vm) = slurp_file("/proc/$pid/status") =~ /^VmSize:\s+(\d+)/m;
system_or_bail('prlimit', '--pid', $pid, '--as=' . ($vm + 200_000) * 1024);
app($node, q{SELECT triggerdo.trigger_task('too-long'); SELECT triggerdo.trigger_task('much'); SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 20)});
all_final($node);
like(outcome('too-long'), qr/^FAILED\|1\|54000$|^FAILED\|1\|53200$/, 'F10: a string beyond what PostgreSQL can hold fails its run');
is(outcome('much'), 'FAILED|1|53200', 'F10: memory that is not there fails its run');
is(join(' ', pids($node, 'executor')), $pid, 'F10: by the same process, which lives');

# ----------------------------------------------------------------- F25: floods

plpgsql_task($node, 'flood', q{FOR i IN 1 .. 1000000 LOOP RAISE NOTICE 'line % of many', i; END LOOP;});
plpgsql_task($node, 'shout', q{RAISE EXCEPTION '%', repeat('é', 5000000) USING DETAIL = repeat('d', 5000000), HINT = repeat('h', 5000000);});
plpgsql_task($node, 'context', q{EXECUTE 'SELECT 1/0 /*' || repeat('x', 10000000) || '*/';});
# resident memory, in kB
sub memory
{
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
	return $kb;
}
my $before = memory();
$from = -s $node->logfile;
app($node, q{SELECT triggerdo.trigger_task('flood')});
all_final($node);
my $grown = memory() - $before;
is(outcome('flood'), 'COMPLETED|1|', 'F25: a million lines of RAISE');
cmp_ok($grown, '<', 20_000, "F25: its executor has not grown: $grown kB");
# (the first ones make the heap as large as one of them needs)
foreach my $turn (1, 2)
{
	$before = memory();
	app($node, q{SELECT count(triggerdo.trigger_task(t)) FROM unnest('{shout,context,shout,context,shout,context}'::text[]) t});
	all_final($node);
	$grown = memory() - $before;
}
cmp_ok($grown, '<', 20_000, "F25: nor with errors of 20 MB: $grown kB");
cmp_ok((-s $node->logfile) - $from, '<', 20_000, 'F25: and nothing is in the server log');
is(outcome('shout'), 'FAILED|1|P0001', 'F25: an error of 20 MB');
cmp_ok(value(q{SELECT max(pg_column_size(error)) FROM triggerdo.runs WHERE task IN ('shout', 'context')}), '<', 400_000, 'F25: is kept in 64 kB a part');
is(value(q{SELECT DISTINCT ascii(right(error ->> 'message', 1)) FROM triggerdo.runs WHERE task = 'shout'}), '233', 'F25: cut between two characters');
is(outcome('context'), 'FAILED|1|22012', 'F25: a context of 10 MB');
is(join(' ', pids($node, 'executor')), $pid, 'F25: by the same process');

# -------------------------------------------------------------- F26: no commits

plpgsql_task($node, 'commits', 'INSERT INTO app.calm VALUES (26); COMMIT;');
plpgsql_task($node, 'rolls-back', 'INSERT INTO app.calm VALUES (26); ROLLBACK;');
app($node, q{SELECT count(triggerdo.trigger_task(t)) FROM unnest('{commits,echo,rolls-back,echo}'::text[]) t});
all_final($node);
is(outcome('commits') . ' ' . outcome('rolls-back'), 'FAILED|1|2D000 FAILED|1|2D000', 'F26: COMMIT and ROLLBACK in a function are refused');
is(value('SELECT count(*) FROM app.calm WHERE x = 26'), '0', 'F26: and nothing of it stays');

invariants_ok($node, 'at the end');
$node->stop;
done_testing();
