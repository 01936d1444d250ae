# What no task and no user may take without end: large payloads, deep chains of
# runs, long queues. Each is a typed error with a hint, and nothing else is hurt.
#
# Red without: tdo_limit_size(), check_depth() and check_queued() (src/quota.c),
# tdo_limit_size() in execute_entry() (src/execute.c), "depth" in tdo_run_get()
# (src/rows.c); InitDirtySnapshot() in tdo_ready_count() (src/ready.c), for two
# sessions.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('limits', fast => 1);
setup_app($node);
plpgsql_task($node, 'echo', '');

# SQLSTATE, message and hint of the error of a statement of "app"
sub error_of
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $sql,
		extra_params => [ '-U', 'app', '-v', 'VERBOSITY=verbose' ]);
	return $rc == 0 ? 'none' : $err;
}
sub value { return $node->safe_psql('postgres', $_[0]) }

# --------------------------------------------------------------- max_payload_size

reload_with($node, "triggerdo.max_payload_size = '100kB'");
my $large = q{jsonb_build_object('x', repeat('x', 200000))};
my $fits = q{jsonb_build_object('x', repeat('x', 90000))};
like(error_of(qq{SELECT triggerdo.trigger_task('echo', $large)}),
	qr/54000: payload of 196 kB is larger than triggerdo.max_payload_size \(100 kB\).*HINT/s, 'F33: a payload over the limit');
like(error_of(qq{SELECT triggerdo.trigger_task('echo', metadata => $large)}),
	qr/54000: metadata of 196 kB/, 'F33: metadata over the limit');
like(error_of(qq{SELECT triggerdo.batch_trigger_task('echo', ARRAY['{}', $large])}),
	qr/54000: payload/, 'F33: in a batch');
like(error_of(qq{SELECT triggerdo.trigger_batch(jsonb_build_array(jsonb_build_object('task', 'echo', 'payload', $large)))}),
	qr/54000: payload/, 'F33: in a batch of items');
is(value('SELECT count(*) FROM triggerdo.runs'), '0', 'F33: nothing was enqueued');
app($node, qq{SELECT triggerdo.trigger_task('echo', $fits)});
plpgsql_task($node, 'grows', qq{payload := $large;});
my $run = app($node, q{SELECT triggerdo.trigger_task('grows')});
all_final($node);
is(value(q{SELECT status, length(output ->> 'x') FROM triggerdo.runs WHERE task = 'echo'}), 'COMPLETED|90000', 'F33: what fits is run');
is(value(qq{SELECT status, error ->> 'sqlstate', error ->> 'message' FROM triggerdo.runs WHERE run_id = '$run'}),
	'FAILED|54000|output of 196 kB is larger than triggerdo.max_payload_size (100 kB)', 'F33: an output over the limit fails its run');
reload_with($node, 'triggerdo.max_payload_size = 0');

# --------------------------------------------------------------------- max_depth

plpgsql_task($node, 'ping', q{PERFORM triggerdo.trigger_task('pong');});
plpgsql_task($node, 'pong', q{PERFORM triggerdo.trigger_task('ping');});
$run = app($node, q{SELECT triggerdo.trigger_task('ping')});
within(60, 'F31: a cycle of two tasks comes to an end', sub { value(q{SELECT count(*) FROM triggerdo.runs WHERE finished_at IS NULL}) eq '0' });
is(value(q{SELECT count(*), count(*) FILTER (WHERE status = 'COMPLETED') FROM triggerdo.runs WHERE task IN ('ping', 'pong')}),
	'1001|1000', 'F31: at triggerdo.max_depth');
like(value(q{SELECT error ->> 'sqlstate', error ->> 'message', error ->> 'detail', error ->> 'hint' FROM triggerdo.runs WHERE status = 'FAILED' AND task = 'ping'}),
	qr/^54001\|runs are nested too deeply: a run at depth 1000 .*first run of the chain is $run.*raise triggerdo.max_depth/s, 'F31: the run that goes too far says why');
is(value(q{SELECT string_agg(depth::text, ' ' ORDER BY depth) FROM _triggerdo.run WHERE depth < 3 AND task IN ('ping', 'pong')}), '0 1 2', 'F31: the depth is in the row');
# it may catch the error and stop there
plpgsql_task($node, 'careful', q{BEGIN PERFORM triggerdo.trigger_task('careful'); EXCEPTION WHEN statement_too_complex THEN payload := '"stopped"'; END;});
reload_with($node, 'triggerdo.max_depth = 2');
app($node, q{SELECT triggerdo.trigger_task('careful')});
all_final($node);
is(value(q{SELECT string_agg(output::text, ' ' ORDER BY created_at) FROM triggerdo.runs WHERE task = 'careful' AND status = 'COMPLETED'}),
	'{} {} "stopped"', 'F31: a task may catch the error');
# and a bomb: each of two triggers two
plpgsql_task($node, 'bomb', q{PERFORM triggerdo.trigger_task('bomb'), triggerdo.trigger_task('bomb');});
reload_with($node, 'triggerdo.max_depth = 6');
app($node, q{SELECT triggerdo.trigger_task('bomb')});
all_final($node);
is(value(q{SELECT count(*), count(*) FILTER (WHERE status = 'FAILED') FROM triggerdo.runs WHERE task = 'bomb'}), '127|64', 'F31: a fork bomb ends at the depth');

# ---------------------------------------------------------- max_queued_per_owner

reload_with($node, "triggerdo.max_depth = 0");
reload_with($node, "triggerdo.executors = 0");
reload_with($node, 'triggerdo.max_queued_per_owner = 100');
is(app($node, q{SELECT count(triggerdo.trigger_task('echo', metadata => '{"q": 1}')) FROM generate_series(1, 100)}), '100', 'F31: a quota can be filled');
like(error_of(q{SELECT triggerdo.trigger_task('echo')}),
	qr/53400: role "app" has 100 runs that are not final, as many as triggerdo.max_queued_per_owner allows.*HINT/s, 'F31: and not exceeded');
like(error_of(q{SELECT triggerdo.trigger_task('echo', delay => '1 day')}), qr/53400/, 'F31: delayed runs count');
like(error_of(q{SELECT triggerdo.batch_trigger_task('echo', ARRAY['{}']::jsonb[])}), qr/53400/, 'F31: in batches');
# one session, one by one, rolled back and not: exactly the quota
app($node, q{SELECT triggerdo.cancel_run(run_id) FROM (SELECT run_id FROM triggerdo.runs WHERE finished_at IS NULL LIMIT 37) r});
is(app($node, q{
	CREATE TABLE app.n (n int);
	DO $$
	DECLARE n int := 0;
	BEGIN
		LOOP
			BEGIN
				PERFORM triggerdo.trigger_task('echo', metadata => '{"q": 1}');
				IF n % 3 = 0 THEN RAISE EXCEPTION 'undo'; END IF;
				n := n + 1;
			EXCEPTION
				WHEN raise_exception THEN
					PERFORM triggerdo.trigger_task('echo', metadata => '{"q": 1}');
					n := n + 1;
				WHEN configuration_limit_exceeded THEN EXIT;
			END;
		END LOOP;
		INSERT INTO app.n VALUES (n);
	END $$;
	SELECT n FROM app.n}), '37', 'F31: one session takes all the room there is, and no more');
is(value(q{SELECT count(*) FROM triggerdo.runs WHERE finished_at IS NULL}), '100', 'F31: exactly the quota');
# another owner has a quota of its own
$node->safe_psql('postgres', 'CREATE ROLE other LOGIN; GRANT USAGE ON SCHEMA triggerdo TO other; CREATE SCHEMA other AUTHORIZATION other');
plpgsql_task($node, 'others', '', role => 'other');
app($node, q{SELECT triggerdo.trigger_task('others', metadata => '{"q": 2}')}, role => 'other');
# what others have not committed yet counts
app($node, q{SELECT triggerdo.cancel_run(run_id) FROM triggerdo.runs WHERE finished_at IS NULL});
app($node, q{BEGIN; SELECT count(triggerdo.trigger_task('echo')) FROM generate_series(1, 100); PREPARE TRANSACTION 'full'});
like(error_of(q{SELECT triggerdo.trigger_task('echo')}), qr/53400/, 'F31: uncommitted runs of another session count');
app($node, q{ROLLBACK PREPARED 'full'});
app($node, q{SELECT triggerdo.trigger_task('echo', metadata => '{"q": 3}')});

# a bomb without depth is stopped by the quota; its owner's other runs go on
reload_with($node, "triggerdo.executors = 2");
plpgsql_task($node, 'fork', q{PERFORM triggerdo.trigger_task('fork'), triggerdo.trigger_task('fork');});
app($node, q{SELECT triggerdo.trigger_task('fork')});
within(60, 'F31: the quota fills', sub { value(q{SELECT count(*) FROM triggerdo.runs WHERE task = 'fork' AND error ->> 'sqlstate' = '53400'}) > 0 });
cmp_ok(value(q{SELECT count(*) FROM triggerdo.runs WHERE finished_at IS NULL}), '<=', 100, 'F31: two executors stay within the quota');
app($node, q{SELECT triggerdo.drop_task('fork')});
all_final($node);
is(value(q{SELECT count(*) FILTER (WHERE status = 'COMPLETED') FROM triggerdo.runs WHERE metadata ->> 'q' IN ('2', '3')}), '2', 'F31: other runs are done');
invariants_ok($node, 'at the end');
$node->stop;
done_testing();
