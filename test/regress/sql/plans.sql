-- Bookkeeping has no plan that ANALYZE could turn: statistics of empty tables do not bring a single sequential
-- scan of a hot table, whatever comes in afterwards. Red with: any of them read by SQL, or by a heap scan, in src/.

SELECT to_char(triggerdo_test.freeze(), 'YYYYMMDD') AS today \gset
CREATE FUNCTION test.scans(d text) RETURNS TABLE (relname text, seq_scan bigint) LANGUAGE sql AS $$
    SELECT regexp_replace(s.relname, '_\d{8}$', '_DAY'), sum(s.seq_scan)
      FROM pg_stat_user_tables s WHERE s.schemaname = '_triggerdo'
       AND s.relname IN ('task', 'live', 'timer', 'idempotency', 'run_' || d, 'result_' || d, 'attempt_' || d) GROUP BY 1 $$;
CREATE ROLE plans1 LOGIN; CREATE ROLE plans2 LOGIN;
GRANT USAGE ON SCHEMA triggerdo TO plans1, plans2;
CREATE SCHEMA plans; GRANT ALL ON SCHEMA plans TO plans1, plans2;
SET ROLE plans1;
CREATE FUNCTION plans.work(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF (payload->>'i')::int % 100 IN (0, 51) AND (SELECT attempt FROM triggerdo.current_run()) = 1 THEN RAISE 'once'; END IF;
    RETURN payload;
END $$;
SELECT triggerdo.define_task('plans1', 'plans.work', retry => triggerdo.retry_policy(2, 'fixed', min_delay => '1 day', max_delay => '1 day', jitter => false));
-- today's partitions
BEGIN;
SELECT triggerdo.run_now(triggerdo.trigger_task('plans1', '{"i":1}'))->'ok' AS ok;
COMMIT;
RESET ROLE;
SET ROLE plans2;
SELECT triggerdo.define_task('plans2', 'plans.work', retry => triggerdo.retry_policy(2, 'none'));
RESET ROLE;

-- Analyzed while there is nothing in them.
VACUUM _triggerdo.live, _triggerdo.timer;
ANALYZE _triggerdo.live, _triggerdo.timer, _triggerdo.task, _triggerdo.idempotency, _triggerdo.run, _triggerdo.result, _triggerdo.attempt;
-- (what this session has counted is written while it ends)
\c -
SELECT pg_sleep(1);
CREATE TABLE test.scans_before AS SELECT * FROM test.scans(:'today');

-- 20,000 runs of two owners: enqueued, delayed, claimed, done, failed and tried again, cancelled, waited for.
CREATE TABLE test.plan_runs AS SELECT i, triggerdo.trigger_task('plans' || 1 + i % 2, jsonb_build_object('i', i), delay => CASE WHEN i % 10 = 0 THEN interval '1 hour' END,
       idempotency_key => CASE WHEN i % 7 = 0 THEN 'key ' || i END) AS run FROM generate_series(1, 20000) i;
SELECT count(*) FILTER (WHERE (triggerdo.wait_for_run(run, '60 s')->'ok')::bool) AS done FROM test.plan_runs WHERE i % 10 > 0;
SELECT count(triggerdo.cancel_run(run)) AS canceled FROM test.plan_runs WHERE i % 1000 = 10;
SELECT triggerdo_test.advance('1 hour') IS NOT NULL AS later;
SELECT count(*) FILTER (WHERE (triggerdo.wait_for_run(run, '60 s')->'ok')::bool) AS done FROM test.plan_runs WHERE i % 10 = 0 AND i % 100 > 0;
SELECT triggerdo_test.advance('1 day') IS NOT NULL AS later;
SELECT count(*) FILTER (WHERE (triggerdo.wait_for_run(run, '60 s')->'ok')::bool) AS done FROM test.plan_runs WHERE i % 100 = 0;
SELECT triggerdo_test.reset() IS NOT NULL AS real_time;

-- Executors write what they have counted when they end.
ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
SELECT s.relname, s.seq_scan - b.seq_scan AS sequential_scans FROM test.scans(:'today') s LEFT JOIN test.scans_before b USING (relname) ORDER BY s.relname COLLATE "C";
ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();

-- By its id, a run is found by keys, in its own day only, whoever looks.
CREATE FUNCTION test.plan(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
        IF line ~ 'Scan .* on (run|result)_' THEN RETURN NEXT regexp_replace(regexp_replace(line, '_\d{8}', '_DAY', 'g'), '^ *(-> *)?', ''); END IF;
    END LOOP;
END $$;
SELECT run FROM test.plan_runs WHERE i = 1 \gset
GRANT EXECUTE ON FUNCTION test.plan(text) TO PUBLIC;
SELECT * FROM test.plan(format('SELECT * FROM triggerdo.runs WHERE run_id = %L', :'run'));
SET ROLE plans1;
SELECT * FROM test.plan(format('SELECT * FROM triggerdo.runs WHERE run_id = %L', :'run'));
RESET ROLE;

-- The newest of a task are read by an index in order, and no more of them than are asked for: no sort, no join; what functions
-- give comes after the LIMIT. Red without: the index in make_one() (src/store.c); security_invoker, COST (sql/).
CREATE FUNCTION test.whole_plan(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
        RETURN NEXT regexp_replace(regexp_replace(regexp_replace(line, '_\d{8}', '_DAY', 'g'), ' r_\d+', ' r'), '^ *(-> *)?', '');
    END LOOP;
END $$;
ANALYZE _triggerdo.run;
SELECT line FROM test.whole_plan('SELECT * FROM triggerdo.runs WHERE task = ''plans1'' ORDER BY created_at DESC LIMIT 50') WITH ORDINALITY l(line, n) GROUP BY line ORDER BY min(n);
SET ROLE plans1;
SELECT line FROM test.whole_plan('SELECT * FROM triggerdo.runs WHERE task = ''plans1'' ORDER BY created_at DESC LIMIT 50') WITH ORDINALITY l(line, n) GROUP BY line ORDER BY min(n);
RESET ROLE;

-- What a worker has in hand is looked up, for each, to see who may read it: all runs are never read. Red without: OFFSET in
-- triggerdo.workers (sql/90_views.sql).
SET ROLE plans1;
SELECT count(*) AS all_runs_at_once FROM test.whole_plan('SELECT * FROM triggerdo.workers') line WHERE line ~ 'hashed';
RESET ROLE;
SELECT * FROM triggerdo.check_invariants();
