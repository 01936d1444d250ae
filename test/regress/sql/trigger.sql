-- trigger_task, batch_trigger_task, trigger_batch: what is written, and what is refused.

-- Runs shall stay queued here.
ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();

SET ROLE app;
CREATE FUNCTION app.echo(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN RETURN payload; END';
SELECT triggerdo.define_task('echo', 'app.echo'), triggerdo.define_task('echo2', 'app.echo', retry => '{"maxAttempts":7}');

-- One run: a version 7 id, the row as asked for. Red without: tdo_new_run_id(), tdo_enqueue() in src/transition.c.
SELECT triggerdo.trigger_task('echo') AS run \gset
SELECT substr(:'run', 15, 1) AS version, substr(:'run', 20, 1) IN ('8','9','a','b') AS variant,
       abs(extract(epoch FROM now()) - ('x' || lpad(replace(left(:'run', 13), '-', ''), 16, '0'))::bit(64)::bigint / 1000.0) < 60 AS made_now;
\x on
SELECT task, status, queue, concurrency_key, payload, output, error, metadata, tags, attempt, max_attempts, priority,
       created_at = queued_at AS queued_at_once, started_at, finished_at, delayed_until, expires_at, parent_run_id, root_run_id,
       batch_id, schedule_id, idempotency_key, replay_of, triggered_by, owner, duration
  FROM triggerdo.runs WHERE run_id = :'run';
\x off
-- every payload is a payload; NULL is {}
SELECT triggerdo.trigger_task('echo', p) IS NOT NULL AS run
  FROM unnest(ARRAY['{"a": [1, {"b": null}]}', '[]', '"text"', '1.50', 'true', 'null', NULL]::jsonb[]) p;
SELECT payload FROM triggerdo.runs WHERE run_id > :'run' ORDER BY run_id;

-- max_attempts, tags, metadata. Red without: fill_enqueue() in src/api_trigger.c.
SELECT triggerdo.trigger_task('echo2', max_attempts => 2, tags => '{a,"b c",a}', metadata => '{"k": {"v": 1}}') AS run1,
       triggerdo.trigger_task('echo2', max_attempts => 32767, tags => '{}', metadata => '{}') AS run2,
       triggerdo.trigger_task('echo2', max_attempts => NULL, tags => NULL, metadata => NULL) AS run3,
       triggerdo.trigger_task('echo2', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL) AS run4 \gset
SELECT max_attempts, tags, metadata, payload FROM triggerdo.runs WHERE task = 'echo2' ORDER BY run_id;

-- delay and run_at. Red without: start_time() in src/api_trigger.c, the timer in tdo_enqueue().
SELECT triggerdo.trigger_task('echo2', delay => '1 hour') AS run1,
       triggerdo.trigger_task('echo2', delay => '0') AS run2,
       triggerdo.trigger_task('echo2', run_at => now() + interval '2 days') AS run3,
       triggerdo.trigger_task('echo2', run_at => now() - interval '2 days') AS run4,
       triggerdo.trigger_task('echo2', delay => '1 month -2 days 3 hours') AS run5 \gset
SELECT n, status, delayed_until - created_at BETWEEN wanted - interval '1 s' AND wanted + interval '1 s' AS due, queued_at IS NULL AS not_queued
  FROM (VALUES (1, :'run1'::uuid, interval '1 hour'), (2, :'run2', NULL), (3, :'run3', interval '2 days'),
               (4, :'run4', NULL), (5, :'run5', NULL)) v(n, run_id, wanted) JOIN triggerdo.runs USING (run_id) ORDER BY n;

-- Refused, and nothing written. Red without: invalid() in start_time(), fill_enqueue(), check_tags(); refuse_unbuilt().
SELECT count(*) AS before FROM triggerdo.runs \gset
SELECT a AS argument, test.error(format($$SELECT triggerdo.trigger_task('echo', %s)$$, a)) AS error
  FROM unnest(ARRAY[$$delay => '1 s', run_at => now()$$, $$delay => '-1 s'$$, $$delay => '-1 month 29 days'$$, $$run_at => 'infinity'$$,
                    $$run_at => '-infinity'$$, $$delay => '100000000 days'$$, 'max_attempts => 0', 'max_attempts => -1', 'max_attempts => 32768',
                    $$tags => '{{a,b},{c,d}}'$$, $$tags => '{a,NULL}'$$, $$metadata => '[]'$$, $$metadata => '1'$$, $$metadata => 'null'$$,
                    $$options => '[]'$$, $$options => '{"delay":"1 s"}'$$]) AS a;
SELECT a AS argument, test.error(format($$SELECT triggerdo.trigger_task('echo', %s)$$, a)) AS error
  FROM unnest(ARRAY[$$ttl => '1 s'$$, 'priority => 1', $$queue => 'echo'$$, $$concurrency_key => 'k'$$,
                    $$debounce => '{}'$$, $$max_duration => '-1 s'$$, $$options => '{"traceparent":"00-0"}'$$,
                    $$options => '{"cancelOn":[]}'$$]) AS a;
SELECT test.error($$SELECT triggerdo.trigger_task(NULL)$$), test.error($$SELECT triggerdo.trigger_task('no such task')$$),
       test.error($$SELECT triggerdo.trigger_task('')$$);
-- (another way to say the default)
SELECT triggerdo.trigger_task('echo', idempotency_key_ttl => '720 hours', priority => 0) IS NOT NULL AS ok;
-- who may not. Red without: get_task()'s tdo_may_act_as().
RESET ROLE;
SET ROLE bob;
SELECT test.error($$SELECT triggerdo.trigger_task('echo')$$), test.error($$SELECT triggerdo.batch_trigger_task('echo', '{}')$$),
       test.error($$SELECT triggerdo.trigger_batch('[{"task":"echo"}]')$$);
RESET ROLE;
SET ROLE dave;
SELECT test.error($$SELECT triggerdo.trigger_task('echo')$$);
RESET ROLE;
SET ROLE outsider;
SELECT test.error($$SELECT triggerdo.trigger_task('echo')$$);
RESET ROLE;
SET ROLE carol;
SELECT triggerdo.trigger_task('echo', '"by carol"') AS run \gset
SELECT triggered_by, owner FROM triggerdo.runs WHERE run_id = :'run';
RESET ROLE;
SELECT triggerdo.trigger_task('echo', '"by a superuser"') AS run \gset
SELECT triggered_by = current_user AS me, owner FROM triggerdo.runs WHERE run_id = :'run';
SET ROLE app;
-- a read-only transaction. Red without: PreventCommandIfReadOnly in prepare_to_write().
BEGIN READ ONLY;
SELECT test.error($$SELECT triggerdo.trigger_task('echo')$$);
SELECT test.error($$SELECT triggerdo.batch_trigger_task('echo', '{}')$$);
SELECT test.error($$SELECT triggerdo.trigger_batch('[]')$$);
COMMIT;
SELECT count(*) - :before AS written FROM triggerdo.runs;

-- It is part of the transaction, and of the savepoint. Red without: writing in the caller's transaction (rows.c).
SELECT count(*) AS before FROM triggerdo.runs \gset
BEGIN;
SELECT triggerdo.trigger_task('echo') IS NOT NULL AS ok;
ROLLBACK;
BEGIN;
SELECT triggerdo.trigger_task('echo', '"kept 1"') IS NOT NULL AS ok;
SAVEPOINT s;
SELECT triggerdo.trigger_task('echo', '"lost"') IS NOT NULL AS ok, count(triggerdo.trigger_task('echo', '"lost"', delay => '1 day')) FROM generate_series(1, 10);
SELECT count(*) - :before AS seen FROM triggerdo.runs;
ROLLBACK TO s;
SELECT triggerdo.trigger_task('echo', '"kept 2"') IS NOT NULL AS ok;
RELEASE s;
COMMIT;
SELECT payload, status FROM triggerdo.runs ORDER BY run_id DESC LIMIT 3;
SELECT count(*) - :before AS seen FROM triggerdo.runs;
-- also in a failing statement, and in an exception block
SELECT triggerdo.trigger_task('echo'), 1 / (i - 3) FROM generate_series(1, 5) i;
DO $$ BEGIN PERFORM triggerdo.trigger_task('echo'); RAISE 'lost'; EXCEPTION WHEN raise_exception THEN NULL; END $$;
SELECT count(*) - :before AS seen FROM triggerdo.runs;
-- by a trigger, a function with SECURITY DEFINER (the right is the definer's)
CREATE TABLE app.orders (id int);
CREATE FUNCTION app.on_order() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS
$$ BEGIN PERFORM triggerdo.trigger_task('echo', to_jsonb(NEW)); RETURN NEW; END $$;
CREATE TRIGGER on_order AFTER INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.on_order();
GRANT INSERT ON app.orders TO bob; GRANT USAGE ON SCHEMA app TO bob;
RESET ROLE;
SET ROLE bob;
INSERT INTO app.orders VALUES (41), (42);
RESET ROLE;
SET ROLE app;
SELECT payload, triggered_by FROM triggerdo.runs ORDER BY run_id DESC LIMIT 2;
RESET ROLE;
REVOKE USAGE ON SCHEMA app FROM bob;
SET ROLE app;

-- In bulk: ids rise, one each.
SELECT count(*), count(DISTINCT r), array_agg(r ORDER BY i) = array_agg(r ORDER BY r) AS in_order
  FROM (SELECT i, triggerdo.trigger_task('echo', to_jsonb(i)) AS r FROM generate_series(1, 10000) i) s;
SELECT count(*), sum(payload::int) FROM triggerdo.runs WHERE payload @> '1' OR jsonb_typeof(payload) = 'number' AND payload <> '1.50';

-- batch_trigger_task: ids in input order, one batch. Red without: ids[i] = in tdo_sql_batch_trigger_task().
SELECT triggerdo.batch_trigger_task('echo2', '{"1","2",NULL,"\"d\"","{\"e\":5}"}', '{"tags":["x","y"],"maxAttempts":4,"metadata":{"m":1}}') AS ids \gset
SELECT n, payload, tags, max_attempts, metadata, batch_id IS NOT NULL AS batched
  FROM unnest(:'ids'::uuid[]) WITH ORDINALITY u(run_id, n) JOIN triggerdo.runs USING (run_id) ORDER BY n;
SELECT count(DISTINCT batch_id) FROM triggerdo.runs WHERE run_id = ANY (:'ids');
SELECT triggerdo.batch_trigger_task('echo', '{}') AS nothing, cardinality(triggerdo.batch_trigger_task('echo', array_fill('1'::jsonb, '{2000}'))) AS many;
SELECT a AS arguments, test.error(format('SELECT triggerdo.batch_trigger_task(%s)', a)) AS error
  FROM unnest(ARRAY[$$NULL, '{}'$$, $$'echo', NULL$$, $$'echo', ARRAY[['1','2'],['3','4']]::jsonb[]$$, $$'none', '{}'$$, $$'echo', '{}', '[]'$$,
                    $$'echo', '{"1"}', '{"delay":"soon"}'$$, $$'echo', '{"1"}', '{"delay":"-5m"}'$$, $$'echo', '{"1"}', '{"delay":[]}'$$,
                    $$'echo', '{"1"}', '{"runAt":"yesterday o clock"}'$$, $$'echo', '{"1"}', '{"maxAttempts":"3"}'$$, $$'echo', '{"1"}', '{"max_attempts":0}'$$,
                    $$'echo', '{"1"}', '{"tags":[1]}'$$, $$'echo', '{"1"}', '{"tags":{}}'$$, $$'echo', '{"1"}', '{"metadata":[]}'$$,
                    $$'echo', '{"1"}', '{"delays":"5m"}'$$,
                    $$'echo', '{"1"}', '{"ttl":"1m"}'$$, $$'echo', '{"1"}', '{"priority":1}'$$, $$'echo', '{"1"}', '{"queue":"q"}'$$,
                    $$'echo', '{"1"}', '{"concurrencyKey":"q"}'$$, $$'echo', '{"1"}', '{"debounce":{}}'$$, $$'echo', '{"1"}', '{"maxDuration":"0"}'$$]) AS a;
-- NULL options, and null in them, are the defaults
SELECT cardinality(triggerdo.batch_trigger_task('echo', '{"1"}', NULL)), cardinality(triggerdo.batch_trigger_task('echo', '{"1"}', '{"delay":null,"ttl":null}'));

-- trigger_batch: mixed tasks, options per item in both spellings, durations as Trigger.dev writes them.
-- Red without: read_options() per item, is_key() in src/api_trigger.c.
CREATE TEMP TABLE batch AS SELECT * FROM triggerdo.trigger_batch('[
  {"task": "echo", "payload": {"n": 0}},
  {"task": "echo2", "payload": [1], "options": {"delay": "5m", "tags": "one", "maxAttempts": 3}},
  {"task": "echo", "options": {"delay": "2h30m", "max_attempts": 4, "metadata": {"a": 1}}},
  {"task": "echo2", "payload": null, "options": {"runAt": "2000-01-01T00:00:00Z", "tags": ["x", "y"]}},
  {"task": "echo", "payload": "text", "options": {"run_at": "2222-02-02 02:02:02+00"}},
  {"task": "echo", "payload": 6, "options": {"delay": "1d"}},
  {"task": "echo", "payload": 7, "options": {"delay": "1w"}},
  {"task": "echo", "payload": 8, "options": {"delay": "90s"}},
  {"task": "echo", "payload": 9, "options": null}]');
SELECT b.index, b.is_cached, r.task, r.status, r.payload, r.tags, r.max_attempts, r.metadata, r.batch_id = b.batch_id AS batched,
       CASE WHEN r.delayed_until < '2200-01-01' THEN justify_hours(date_trunc('second', r.delayed_until - r.created_at + interval '0.5 s')) END AS delay,
       CASE WHEN r.delayed_until > '2200-01-01' THEN r.delayed_until END AS run_at
  FROM batch b JOIN triggerdo.runs r USING (run_id) ORDER BY b.index;
SELECT count(*), count(DISTINCT batch_id), array_agg(run_id ORDER BY index) = array_agg(run_id ORDER BY run_id) AS in_order FROM batch;
SELECT * FROM triggerdo.trigger_batch('[]');
SELECT count(*) AS before FROM triggerdo.runs \gset
SELECT a AS items, test.error(format('SELECT * FROM triggerdo.trigger_batch(%L)', a)) AS error
  FROM unnest(ARRAY[NULL, '{}', '"x"', '[1]', '[[]]', '[{}]', '[{"task":1}]', '[{"task":"none"}]', '[{"task":"echo"},{"task":"echo","payloads":1}]',
                    '[{"task":"echo"},{"task":"echo","options":[]}]', '[{"task":"echo"},{"task":"echo","options":{"delay":"x"}}]',
                    '[{"task":"echo"},{"task":"echo","options":{"nope":1}}]',
                    '[{"task":"echo","options":{"delay":"1m","runAt":"2222-02-02"}}]']) AS a;
SELECT count(*) - :before AS written FROM triggerdo.runs;
-- where a set may stand
SELECT (triggerdo.trigger_batch('[{"task":"echo"},{"task":"echo"}]')).index;

-- A definition that is rolled back is unknown again, also to who has used it; one that is restored is known.
-- Red without: relation_changed() in src/definition.c.
BEGIN;
SAVEPOINT s;
SELECT triggerdo.define_task('fleeting', run => 'app.echo');
SELECT triggerdo.trigger_task('fleeting') IS NOT NULL AS triggered, triggerdo.trigger_task('fleeting') IS NOT NULL AS again;
ROLLBACK TO s;
SELECT test.error($$SELECT triggerdo.trigger_task('fleeting')$$);
SELECT triggerdo.trigger_task('echo') IS NOT NULL AS triggered;
SELECT triggerdo.drop_task('echo');
SELECT test.error($$SELECT triggerdo.trigger_task('echo')$$);
ROLLBACK TO s;
SELECT triggerdo.trigger_task('echo') IS NOT NULL AS triggered;
ROLLBACK;

RESET ROLE;
SELECT * FROM triggerdo.check_invariants();

-- And all of it runs. (Delayed ones wait for clock.sql.)
ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
\c -
SELECT test.await_none_queued();
SELECT task, status, count(*) > 0 AS some, bool_and(output IS NOT DISTINCT FROM payload) AS echoed FROM triggerdo.runs
 WHERE task LIKE 'echo%' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT bool_and(triggerdo.cancel_run(run_id)) FROM triggerdo.runs WHERE status = 'DELAYED';
SELECT * FROM triggerdo.check_invariants();
