-- Idempotency keys: one run for each key of a task; what frees it; batches; who may.

-- Runs shall stay queued here, unless they are run by hand.
ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
SELECT triggerdo_test.freeze() IS NOT NULL AS frozen;

SET ROLE app;
-- does what its payload says
CREATE FUNCTION app.obey(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF payload->>'do' = 'fail' THEN RAISE 'failed, as asked for'; END IF;
    RETURN to_jsonb((SELECT idempotency_key FROM triggerdo.current_run()));
END $$;
SELECT triggerdo.define_task('once', 'app.obey'), triggerdo.define_task('once-too', 'app.obey', retry => triggerdo.retry_policy(2, 'none')),
       triggerdo.define_task('once-none', 'app.obey', options => '{"keep":"none"}');
-- the number that stands for a run in what follows
CREATE TABLE app.seen (n int GENERATED ALWAYS AS IDENTITY, id uuid);
CREATE FUNCTION app.nth(run uuid) RETURNS int LANGUAGE plpgsql AS $$
DECLARE nth int;
BEGIN
    SELECT n INTO nth FROM app.seen WHERE id = run;
    IF nth IS NULL THEN INSERT INTO app.seen (id) VALUES (run) RETURNING n INTO nth; END IF;
    RETURN nth;
END $$;
CREATE FUNCTION app.once(key text, payload jsonb DEFAULT '{}', task text DEFAULT 'once') RETURNS int LANGUAGE sql AS
$$ SELECT app.nth(triggerdo.trigger_task(task, payload, idempotency_key => key)) $$;
CREATE FUNCTION app.do_now(n int) RETURNS text LANGUAGE sql AS
$$ SELECT coalesce(o->>'output', o#>>'{error,message}') FROM (SELECT triggerdo.run_now(id) AS o FROM app.seen s WHERE s.n = do_now.n) x $$;

-- The same key gives the same run, and writes nothing; another key or task does not. Arguments of a later call count for nothing, but they are checked.
-- Red without: tdo_idempotency_claim() in tdo_enqueue_once(); task in insert_row() and look() (src/idempotency.c).
SELECT app.once('a') AS a, app.once('b') AS b, app.once('a') AS a_again, app.once('a', task => 'once-too') AS of_another_task, app.once(NULL) AS none, app.once(NULL) AS none_again;
SELECT app.nth(triggerdo.trigger_task('once', '{"other":1}', delay => '1 day', tags => '{t}', max_attempts => 7, idempotency_key => 'a', idempotency_key_ttl => '1 s')) AS a;
SELECT n, task, idempotency_key, payload, status, tags, max_attempts FROM app.seen JOIN triggerdo.runs ON run_id = id ORDER BY n;
SELECT a AS argument, test.error(format($$SELECT triggerdo.trigger_task('once', idempotency_key => 'a', %s)$$, a)) AS error
  FROM unnest(ARRAY['max_attempts => 0', $$metadata => '[]'$$, $$delay => '-1 s'$$, $$idempotency_key_ttl => '0'$$, $$idempotency_key_ttl => '-1 s'$$,
                    $$idempotency_key_ttl => '1 month -40 days'$$, $$idempotency_key_ttl => '-1 year 361 days'$$, $$idempotency_key_ttl => '2000000 years'$$, $$options => '{"x":1}'$$]) a;
-- an empty key is a mistake; the time alone is none
SELECT test.error($$SELECT triggerdo.trigger_task('once', idempotency_key => '')$$), test.error($$SELECT triggerdo.trigger_task('once', idempotency_key_ttl => '0')$$);
SELECT triggerdo.trigger_task('once', idempotency_key_ttl => '1 s') IS NOT NULL AS ok, triggerdo.trigger_task('once', idempotency_key => NULL, idempotency_key_ttl => NULL) IS NOT NULL AS ok;
-- a key may be as long as it likes, and is compared to its end
SELECT app.once(repeat('é', 100000) || '1') AS long1, app.once(repeat('é', 100000) || '2') AS long2, app.once(repeat('é', 100000) || '1') AS long1_again;
-- many calls in one statement
SELECT count(DISTINCT triggerdo.trigger_task('once', to_jsonb(i), idempotency_key => 'many-' || i % 100)) FROM generate_series(1, 1000) i;
-- what is too large is so for everybody. Red without: tdo_limit_size() before the key is looked at.
RESET ROLE;
ALTER SYSTEM SET triggerdo.max_payload_size = '1MB';
SELECT pg_reload_conf();
\c -
SET ROLE app;
SELECT test.error($$SELECT triggerdo.trigger_task('once', to_jsonb(repeat('x', 2000000)), idempotency_key => 'a')$$);
RESET ROLE;
ALTER SYSTEM RESET triggerdo.max_payload_size;
SELECT pg_reload_conf();
\c -
SET ROLE app;

-- The run knows its key.
SELECT app.do_now(1) AS completed;

-- What becomes of the key when the run ends. COMPLETED and CANCELED keep it.
-- Red without: free_key() in tdo_finish(), each status in tdo_frees_key().
SELECT app.once('a') AS a;
SELECT triggerdo.cancel_run(id) FROM app.seen WHERE n = 2;
SELECT app.once('b') AS b;
SELECT app.once('f', '{"do":"fail"}') AS f, app.once('f', '{}') AS f_again \gset
SELECT :f = :f_again AS same, app.do_now(:f) AS failed;
SELECT app.once('f') AS next, app.once('f') AS next_again \gset
SELECT :next > :f AS "new", :next = :next_again AS same, app.do_now(:next) AS output;
SELECT app.once('f') = :next AS same;
-- an attempt that is followed by another keeps it; the last frees it
SELECT app.once('r', '{"do":"fail"}', 'once-too') AS r \gset
SELECT app.do_now(:r) AS first, app.once('r', '{}', 'once-too') = :r AS same;
SELECT app.do_now(:r) AS last, app.once('r', '{}', 'once-too') > :r AS "new";
-- only if the key is still that run's
SELECT app.once('x', '{"do":"fail"}') AS x, triggerdo.reset_idempotency_key('once', 'x') AS reset, app.once('x') AS x_new \gset
SELECT :'reset' AS reset, :x_new > :x AS "new", app.do_now(:x) AS failed, app.once('x') = :x_new AS kept;
-- in the same transaction, and in a subtransaction that is undone
BEGIN;
SELECT app.once('t', '{"do":"fail"}') AS t \gset
SAVEPOINT s;
SELECT app.do_now(:t) AS failed, app.once('t') > :t AS "new";
ROLLBACK TO s;
SELECT app.once('t') = :t AS same;
SELECT app.do_now(:t) AS failed, app.once('t') > :t AS "new";
ROLLBACK;
BEGIN;
SELECT app.once('u') AS u \gset
ROLLBACK;
SELECT app.once('u') > :u AS "new";
RESET ROLE;
-- the other bad ends, written as whoever ends a run would: who finds the key asks the result. Red without: tdo_result_status() in is_taken().
BEGIN;
SELECT format('%s-%s', 'bad', s) AS key, app.once(format('%s-%s', 'bad', s)) AS run INTO TEMP bad FROM unnest('{F,K,S,E,T,C,X}'::"char"[]) s;
WITH gone AS (DELETE FROM _triggerdo.live l USING app.seen s, bad b WHERE l.run_id = s.id AND s.n = b.run RETURNING l.run_id, right(b.key, 1) AS status)
INSERT INTO _triggerdo.result (run_id, finished_at, attempt, status) SELECT run_id, now(), 0, status::"char" FROM gone;
SELECT key, app.once(key) > run AS "new" FROM bad ORDER BY key;
ROLLBACK;
SET ROLE app;

-- The history need not stay. A run that leaves none keeps its key if it ended well. Red without: free_key() before tdo_run_delete().
SELECT app.once('n', '{}', 'once-none') AS n, app.once('nf', '{"do":"fail"}', 'once-none') AS nf \gset
SELECT app.do_now(:n) AS completed, app.do_now(:nf) AS failed;
SELECT count(*) AS rows FROM triggerdo.runs WHERE task = 'once-none';
SELECT app.once('n', '{}', 'once-none') = :n AS same, app.once('nf', '{}', 'once-none') > :nf AS "new";
SELECT id AS gone FROM app.seen WHERE n = :n \gset
SELECT regexp_replace(test.error(format('SELECT triggerdo.wait_for_run(%L)', :'gone')), '[0-9a-f]+-[0-9a-f-]+', 'ID') AS error;
-- nor after a purge
SELECT app.once('p') AS p \gset
SELECT app.do_now(:p) AS completed;
RESET ROLE;
SELECT triggerdo_test.advance('1 min') IS NOT NULL AS clock;
SELECT triggerdo.purge('1 s') > 0 AS purged;
SET ROLE app;
SELECT count(*) FROM triggerdo.runs, app.seen WHERE run_id = id AND n = :p;
SELECT app.once('p') = :p AS same;

-- Its time: 30 days unless given, from the trigger on. Red without: expires in is_taken(), in fill_idempotency().
SELECT app.once('d') AS d, app.nth(triggerdo.trigger_task('once', idempotency_key => 'h', idempotency_key_ttl => '1 h')) AS h,
       app.nth(triggerdo.trigger_task('once', delay => '40 days', idempotency_key => 'delayed', idempotency_key_ttl => '2 h')) AS delayed,
       app.nth(triggerdo.trigger_task('once', idempotency_key => 'default', idempotency_key_ttl => NULL)) AS "default" \gset
RESET ROLE;
SELECT triggerdo_test.advance('59 min 59.999999 s') IS NOT NULL AS clock;
SET ROLE app;
SELECT app.once('h') = :h AS same;
RESET ROLE;
SELECT triggerdo_test.advance('1 us') IS NOT NULL AS clock;
SET ROLE app;
SELECT app.once('h') AS h2, app.once('h') AS h3, app.once('delayed') = :delayed AS same \gset
SELECT :h2 > :h AS "new", :h2 = :h3 AS same, :'same' AS delayed;
RESET ROLE;
SELECT triggerdo_test.advance('29 days 22:59:59.999999') IS NOT NULL AS clock;
SET ROLE app;
SELECT app.once('d') = :d AS d, app.once('default') = :default AS "default", app.once('h') = :h2 AS h, app.once('delayed') > :delayed AS delayed_new;
RESET ROLE;
SELECT triggerdo_test.advance('1 us') IS NOT NULL AS clock;
SET ROLE app;
SELECT app.once('d') > :d AS d_new, app.once('default') > :default AS default_new;
-- within one statement: the key that it has just taken, it takes over. Red without: CommandCounterIncrement() in delete_row().
RESET ROLE;
SELECT count(DISTINCT CASE WHEN triggerdo_test.advance('1 s') IS NOT NULL THEN triggerdo.trigger_task('once', idempotency_key => 'short', idempotency_key_ttl => '1 s') END) AS runs FROM generate_series(1, 3) i;
SET ROLE app;

-- A prepared transaction is waited for as any other.
BEGIN;
SELECT app.once('prepared') AS run \gset
PREPARE TRANSACTION 'idempotency';
SET lock_timeout = '10ms';
SELECT test.error($$SELECT triggerdo.trigger_task('once', idempotency_key => 'prepared')$$), test.error($$SELECT triggerdo.reset_idempotency_key('once', 'prepared')$$);
RESET lock_timeout;
COMMIT PREPARED 'idempotency';
SELECT app.once('prepared') = :run AS same;

-- reset_idempotency_key. Red without: is_taken() in tdo_idempotency_reset().
SELECT app.once('reset') AS run \gset
SELECT triggerdo.reset_idempotency_key('once', 'reset') AS was_taken, triggerdo.reset_idempotency_key('once', 'reset') AS again, triggerdo.reset_idempotency_key('once', 'never') AS never;
SELECT status FROM triggerdo.runs, app.seen WHERE run_id = id AND n = :run;
SELECT app.once('reset') > :run AS "new";
BEGIN;
SELECT triggerdo.reset_idempotency_key('once', 'reset') AS was_taken;
ROLLBACK;
SELECT triggerdo.reset_idempotency_key('once', 'reset') AS was_taken;
SELECT triggerdo.trigger_task('once', idempotency_key => 'reset', idempotency_key_ttl => '1 s') IS NOT NULL AS ok;
RESET ROLE;
SELECT triggerdo_test.advance('1 s') IS NOT NULL AS clock;
SET ROLE app;
SELECT triggerdo.reset_idempotency_key('once', 'reset') AS expired;
SELECT a AS arguments, test.error(format('SELECT triggerdo.reset_idempotency_key(%s)', a)) AS error
  FROM unnest(ARRAY[$$NULL, 'k'$$, $$'once', NULL$$, $$'once', ''$$, $$'no such task', 'k'$$]) a;
BEGIN READ ONLY;
SELECT test.error($$SELECT triggerdo.reset_idempotency_key('once', 'reset')$$);
ROLLBACK;

-- Batches. One key for all items is [key, index] for each; snake and camel case; the parts of a key; Trigger.dev's durations.
-- Red without: psprintf("%s-%d") in tdo_sql_batch_trigger_task(), is_cached in tdo_sql_trigger_batch(), parse_idempotency_key().
SELECT array_agg(app.nth(r) ORDER BY n) AS batch FROM unnest(triggerdo.batch_trigger_task('once', '{1,2,3}', '{"idempotencyKey":"batch"}')) WITH ORDINALITY u(r, n) \gset
SELECT array_agg(app.nth(r) ORDER BY n) = :'batch'::int[] AS same, (array_agg(app.nth(r) ORDER BY n))[1:3] = :'batch'::int[] AS first_3_same
  FROM unnest(triggerdo.batch_trigger_task('once', '{4,5,6,7}', '{"idempotency_key":["batch"],"idempotency_key_ttl":"2h30m"}')) WITH ORDINALITY u(r, n);
SELECT idempotency_key, payload FROM triggerdo.runs WHERE idempotency_key LIKE 'batch%' ORDER BY 1;
SELECT triggerdo.reset_idempotency_key('once', 'batch-1') AS reset;
CREATE TEMP TABLE batch AS SELECT *, app.nth(run_id) AS n FROM triggerdo.trigger_batch('[
  {"task": "once", "payload": 0, "options": {"idempotencyKey": "i", "idempotencyKeyTTL": "5m"}},
  {"task": "once", "payload": 1, "options": {"idempotencyKey": "i"}},
  {"task": "once-too", "payload": 2, "options": {"idempotency_key": "i", "idempotencyKeyTTL": "1w"}},
  {"task": "once", "payload": 3, "options": {"idempotencyKey": ["i", "j"], "idempotency_key_ttl": "1 hour"}},
  {"task": "once", "payload": 4, "options": {"idempotencyKey": "i-j"}},
  {"task": "once", "payload": 5},
  {"task": "once", "payload": 6, "options": {"idempotencyKey": null, "idempotencyKeyTTL": null}},
  {"task": "once", "payload": 7, "options": {"idempotencyKey": ["", "i", ""]}}]');
SELECT b.index, b.is_cached, b.n - min(b.n) OVER () AS nth, r.payload, r.idempotency_key, r.batch_id = b.batch_id AS batched FROM batch b JOIN triggerdo.runs r USING (run_id) ORDER BY b.index;
SELECT index, is_cached, app.nth(run_id) = (SELECT n FROM batch WHERE index = 0) AS same FROM triggerdo.trigger_batch('[{"task": "once", "options": {"idempotencyKey": "i"}}]');
RESET ROLE;
SELECT key, expires - triggerdo_test.now() AS left FROM (VALUES ('once', 'i'), ('once-too', 'i'), ('once', 'i-j'), ('once', 'batch-3'), ('once', 'batch-0')) v(task, text)
  JOIN _triggerdo.idempotency i ON i.task = v.task COLLATE "C" AND i.key = sha256(convert_to(v.text, 'UTF8')) ORDER BY expires, i.task, v.text;
-- Trigger.dev's durations, and PostgreSQL's. Red without: tdo_json_duration() in src/json.c (interval reads no letter w or hr before a digit).
CREATE TABLE test.ttl AS SELECT d FROM unnest('{90s,5m,2h30m,1hr,1d12hr,1w2d3h4m5s,1hr30m,PT5M,1 day,300}'::text[]) d;
SELECT count(triggerdo.batch_trigger_task('once', '{1}', jsonb_build_object('idempotencyKey', d, 'idempotencyKeyTTL', d, 'delay', d, 'maxDuration', d))) FROM test.ttl;
SELECT d, expires - triggerdo_test.now() AS ttl, delayed_until - created_at AS delay, max_duration * interval '1 us' AS max_duration
  FROM test.ttl JOIN _triggerdo.idempotency i ON i.task = 'once' AND i.key = sha256(convert_to(d || '-0', 'UTF8')) JOIN _triggerdo.run USING (run_id) ORDER BY d COLLATE "C";
SET ROLE app;
SELECT o AS options, test.error(format($$SELECT triggerdo.batch_trigger_task('once', '{1}', %L)$$, o)) AS error
  FROM unnest(ARRAY['{"idempotencyKey":""}', '{"idempotencyKey":7}', '{"idempotencyKey":{}}', '{"idempotencyKey":[]}', '{"idempotencyKey":["a",1]}', '{"idempotencyKey":"k","idempotencyKeyTTL":"0"}',
                    '{"idempotencyKey":"k","idempotencyKeyTTL":"-5m"}', '{"idempotencyKey":"k","idempotencyKeyTTL":"soon"}', '{"idempotencyKey":"k","idempotencyKeyTTL":[]}', '{"idempotencyKeyTTL":"0"}', '{"idempotencyKeyTTL":"1h2h"}', '{"idempotencyKeyTTL":"1hr2h"}', '{"idempotencyKeyTTL":"1x"}', '{"idempotencyKeyTTL":"999999999w"}', '{"idempotencyKeyTTL":""}']) o;

-- A key is for everybody who may trigger the task, and for nobody else.
RESET ROLE;
SET ROLE carol;
SELECT triggerdo.trigger_task('once', idempotency_key => 'i') = (SELECT id FROM app.seen WHERE n = (SELECT n FROM batch WHERE index = 0)) AS same;
SELECT triggerdo.reset_idempotency_key('once', 'i') AS reset;
RESET ROLE;
SET ROLE bob;
SELECT test.error($$SELECT triggerdo.trigger_task('once', idempotency_key => 'a')$$), test.error($$SELECT triggerdo.reset_idempotency_key('once', 'a')$$);
SELECT test.error($$TABLE _triggerdo.idempotency$$);
RESET ROLE;

-- Dropping a task drops its keys: the next of its name is another task. Red without: tdo_idempotency_forget_task() in drop_task.
SET ROLE app;
SELECT triggerdo.define_task('once-dropped', 'app.obey'), triggerdo.define_task('once-droppe', 'app.obey');
SELECT app.once('a', '{}', 'once-dropped') AS run, app.once('a', '{}', 'once-droppe') AS other \gset
BEGIN;
SELECT triggerdo.drop_task('once-dropped');
ROLLBACK;
SELECT app.once('a', '{}', 'once-dropped') = :run AS same;
SELECT triggerdo.drop_task('once-dropped');
SELECT triggerdo.define_task('once-dropped', 'app.obey');
SELECT app.once('a', '{}', 'once-dropped') > :run AS "new", app.once('a', '{}', 'once-droppe') = :other AS same;
RESET ROLE;

-- The scheduler takes the expired ones away: more than it does in one step. Red without: tdo_idempotency_sweep() in look() (src/scheduler.c).
SET ROLE app;
SELECT count(triggerdo.trigger_task('once', idempotency_key => 'sweep-' || i, idempotency_key_ttl => '1 h')) FROM generate_series(1, 2500) i;
SELECT app.once('stays') AS stays \gset
RESET ROLE;
SELECT count(*) AS keys FROM _triggerdo.idempotency WHERE expires <= triggerdo_test.now() + interval '1 h' \gset
SELECT :keys >= 2500 AS many;
SELECT triggerdo_test.advance('1 h') IS NOT NULL AS clock;
CREATE FUNCTION test.await_swept() RETURNS bool LANGUAGE plpgsql AS $$
DECLARE until timestamptz := clock_timestamp() + interval '60 s';
BEGIN
    WHILE EXISTS (SELECT FROM _triggerdo.idempotency WHERE expires <= triggerdo_test.now()) LOOP
        IF clock_timestamp() > until THEN RETURN false; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN true;
END $$;
SELECT test.await_swept();
SET ROLE app;
SELECT app.once('stays') = :stays AS same;
RESET ROLE;
SELECT * FROM triggerdo.check_invariants();

-- trigger_and_wait waits for the run that has the key, in executors, whose failures free keys as well.
ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
\c -
SET ROLE app;
CALL triggerdo.trigger_and_wait('once', '{}', NULL, '{"idempotencyKey":"wait"}') \gset
SELECT :'result'::jsonb - 'id' AS first, :'result'::jsonb->>'id' AS id \gset
SELECT :'first' AS first;
CALL triggerdo.trigger_and_wait('once', '{"do":"fail"}', NULL, '{"idempotencyKey":"wait"}') \gset
SELECT :'result'::jsonb->>'id' = :'id' AS same, :'result'::jsonb->'output' AS output;
CALL triggerdo.trigger_and_wait('once', '{"do":"fail"}', NULL, '{"idempotencyKey":"wait-f"}') \gset
SELECT :'result'::jsonb#>>'{error,message}' AS failed;
CALL triggerdo.trigger_and_wait('once', '{}', NULL, '{"idempotencyKey":"wait-f"}') \gset
SELECT :'result'::jsonb->'output' AS output;
-- keep none: its own run stays, but one that has the key may be gone
CALL triggerdo.trigger_and_wait('once-none', '{}', NULL, '{"idempotencyKey":"none"}') \gset
SELECT :'result'::jsonb->'output' AS kept;
SELECT triggerdo.trigger_task('once-none', idempotency_key => 'gone') IS NOT NULL AS ok;
SELECT test.await_none_queued();
\set VERBOSITY sqlstate
CALL triggerdo.trigger_and_wait('once-none', '{}', NULL, '{"idempotencyKey":"gone"}');
\set VERBOSITY default
RESET ROLE;
SELECT triggerdo_test.reset() IS NOT NULL AS clock;
SELECT bool_and(triggerdo.cancel_run(run_id)) FROM triggerdo.runs WHERE status = 'DELAYED' AND task LIKE 'once%';
SELECT * FROM triggerdo.check_invariants();
