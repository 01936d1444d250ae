# Idempotency keys under a storm: eight sessions at once, few keys, subtransactions and
# transactions that are rolled back at random, in every isolation level. A key has one
# run; and one that is not FAILED, where runs fail and free it meanwhile.
#
# Red without: take_latch(), XactLockTableWait() in await_key() (src/idempotency.c);
# free_key() in tdo_finish() (src/transition.c), for the second part.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest qw(node setup_app wait_runs invariants_ok app plpgsql_task all_final reload_with within pids);

my $node = node('storm', fast => 1);
setup_app($node);

sub value { return $node->safe_psql('postgres', $_[0]) }

plpgsql_task($node, 'good', '');
# fails twice of three times
plpgsql_task($node, 'bad', q{IF random() < 0.66 THEN RAISE 'bad luck'; END IF;});
app($node, q{CREATE TABLE app.given (key text, run uuid);
	CREATE PROCEDURE app.storm(task text, keys int) LANGUAGE plpgsql AS $$
	DECLARE
		k int[];
		one text;
	BEGIN
		FOR n IN 1 .. 25 LOOP
			-- (in one order, or they would deadlock)
			k := ARRAY(SELECT DISTINCT 1 + floor(random() * keys)::int FROM generate_series(1, 3) ORDER BY 1);
			FOREACH one IN ARRAY k LOOP
				BEGIN
					INSERT INTO app.given SELECT one, triggerdo.trigger_task(task, idempotency_key => one);
					IF random() < 0.3 THEN RAISE 'undo'; END IF;
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
			END LOOP;
			IF random() < 0.4 THEN ROLLBACK; ELSE COMMIT; END IF;
		END LOOP;
	END $$});

my $script = PostgreSQL::Test::Utils::tempdir . '/storm.sql';

sub storm
{
	my ($task, $keys, $times) = @_;

	append_to_file($script, '');
	open(my $fh, '>', $script) or die;
	print $fh <<"END";
\\set level random(1, 3)
\\if :level = 1
SET default_transaction_isolation = 'read committed';
\\elif :level = 2
SET default_transaction_isolation = 'repeatable read';
\\else
SET default_transaction_isolation = 'serializable';
\\endif
CALL app.storm('$task', $keys);
END
	close($fh);
	$node->command_ok([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', $times, '-U', 'app', '-f', $script, 'postgres' ],
		"a storm of $task");
	return;
}

# each key in few hands: many of its first takers are rolled back
reload_with($node, 'triggerdo.executors = 0');
within(10, 'no executor', sub { pids($node, 'executor') == 0 });
storm('good', 400, 8);
is(value(q{SELECT count(*) FROM (SELECT idempotency_key FROM triggerdo.runs WHERE task = 'good' GROUP BY 1 HAVING count(*) <> 1) x}), '0',
	'no key has two runs');
is(value(q{SELECT count(*) FROM (SELECT key FROM app.given GROUP BY key HAVING count(DISTINCT run) <> 1) x}), '0',
	'all callers with a key were given the same run');
is(value(q{SELECT count(*) FROM app.given g WHERE NOT EXISTS (SELECT FROM triggerdo.runs r WHERE r.run_id = g.run AND r.idempotency_key = g.key)}), '0',
	'and it is there, with that key');
is(value(q{SELECT count(*) FROM triggerdo.runs r WHERE task = 'good' AND NOT EXISTS (SELECT FROM app.given g WHERE g.run = r.run_id)}), '0',
	'no run was made that nobody was given');
cmp_ok(value(q{SELECT count(*) FROM app.given}), '>', 400, 'there were hits');
invariants_ok($node, 'after the storm');

# executors fail runs meanwhile
app($node, 'TRUNCATE app.given');
reload_with($node, 'triggerdo.executors = 2');
storm('bad', 20, 8);
all_final($node);
is(value(q{SELECT count(*) FROM (SELECT idempotency_key FROM triggerdo.runs WHERE task = 'bad' AND status <> 'FAILED' GROUP BY 1 HAVING count(*) > 1) x}), '0',
	'no key has two runs that did not fail');
cmp_ok(value(q{SELECT count(*) FROM triggerdo.runs WHERE task = 'bad' AND status = 'FAILED'}), '>', 0, 'some failed');
is(value(q{SELECT count(*) FROM app.given g WHERE NOT EXISTS (SELECT FROM triggerdo.runs r WHERE r.run_id = g.run AND r.idempotency_key = g.key)}), '0',
	'whoever was given a run finds it');
is(value(q{SELECT count(*) FROM _triggerdo.idempotency i JOIN _triggerdo.result s USING (run_id) WHERE s.status = 'F'}), '0',
	'a failed run keeps no key');
invariants_ok($node, 'after the failures');

$node->stop;
done_testing();
