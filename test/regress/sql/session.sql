-- Runs that share a transaction: each begins in a fresh session, what a run leaves
-- behind the next one does not see, and a commit that fails is the failure of its culprit alone.

-- (one executor, which gets to know all three tasks)
ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
ALTER SYSTEM SET triggerdo.executors = 1;
ALTER SYSTEM SET triggerdo.max_executors_per_role = 1;
ALTER SYSTEM SET triggerdo.batch_time = 1000;
SELECT pg_reload_conf();
\c -
SET ROLE app;
CREATE SEQUENCE app.seq;
CREATE TABLE app.dp (id int PRIMARY KEY);
CREATE TABLE app.dc (id int, p int REFERENCES app.dp DEFERRABLE INITIALLY IMMEDIATE);
CREATE FUNCTION app.looks(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    seen jsonb;
    val text;
BEGIN
    seen := jsonb_build_object('user', current_user, 'role', current_setting('role'), 'work_mem', current_setting('work_mem'),
        'search_path', current_setting('search_path'), 'custom', coalesce(current_setting('custom.x', true), ''),
        'isolation', current_setting('transaction_isolation'), 'read_only', current_setting('transaction_read_only'), 'zone', current_setting('TimeZone'),
        'temp', to_regclass('pg_temp.t') IS NOT NULL, 'cursors', (SELECT count(*) FROM pg_cursors WHERE name = 'c'),
        'prepared', (SELECT count(*) FROM pg_prepared_statements WHERE from_sql), 'replication_role', current_setting('session_replication_role'),
        'advisory', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
        'listening', (SELECT count(*) FROM pg_listening_channels()));
    BEGIN
        val := currval('app.seq');
    EXCEPTION WHEN object_not_in_prerequisite_state THEN val := 'none';
    END;
    RETURN seen || jsonb_build_object('currval', val, 'pid', pg_backend_pid(), 'txid', pg_current_xact_id()::text, 'started', statement_timestamp());
END $$;
CREATE FUNCTION app.dirties(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    CASE payload->>'what'
        WHEN 'set' THEN SET work_mem = '111kB'; SET search_path = app; SET TimeZone = 'Asia/Tokyo';
        WHEN 'set local' THEN SET LOCAL work_mem = '112kB';
        WHEN 'set_config' THEN PERFORM set_config('custom.x', 'left behind', false), set_config('work_mem', '113kB', false);
        WHEN 'read only' THEN SET TRANSACTION READ ONLY;
        WHEN 'role' THEN SET ROLE carol_group;
        WHEN 'authorization' THEN SET SESSION AUTHORIZATION app;
        WHEN 'temp' THEN CREATE TEMP TABLE t (id int) ON COMMIT DROP;
        WHEN 'temp kept' THEN CREATE TEMP TABLE t (id int);
        WHEN 'cursor' THEN EXECUTE 'DECLARE c CURSOR FOR SELECT 1';
        WHEN 'held cursor' THEN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1';
        WHEN 'prepare' THEN EXECUTE 'PREPARE p AS SELECT 1';
        WHEN 'advisory' THEN PERFORM pg_advisory_lock(4711);
        WHEN 'advisory xact' THEN PERFORM pg_advisory_xact_lock(4711);
        WHEN 'sequence' THEN PERFORM nextval('app.seq');
        WHEN 'constraints' THEN SET CONSTRAINTS ALL DEFERRED;
        WHEN 'listen' THEN LISTEN channel;
        WHEN 'failing' THEN SET work_mem = '114kB'; PERFORM set_config('custom.x', 'y', false); RAISE 'failed';
    END CASE;
    RETURN to_jsonb(pg_current_xact_id()::text);
END $$;
-- only where constraints are checked at once does this fail by itself
CREATE FUNCTION app.orphan(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.dc VALUES (1, 99);
    RETURN '"not checked"';
EXCEPTION WHEN foreign_key_violation THEN
    RETURN '"checked at once"';
END $$;
RESET ROLE;
CREATE ROLE carol_group; GRANT carol_group TO app;
SET ROLE app;
SELECT triggerdo.define_task('looks', 'app.looks'), triggerdo.define_task('dirties', 'app.dirties'), triggerdo.define_task('orphan', 'app.orphan');
-- measured once, so that the executor lets them share a transaction
SELECT triggerdo.trigger_task('looks') AS a, triggerdo.trigger_task('dirties', '{"what":"sequence"}') AS b, triggerdo.trigger_task('orphan') AS c \gset
SELECT triggerdo.wait_for_run(:'a')->'ok' AS a, triggerdo.wait_for_run(:'b')->'ok' AS b, triggerdo.wait_for_run(:'c')->'ok' AS c;

-- Red without: tdo_session_between_runs(), the GUC nest level in tdo_execute(), tdo_session_must_end_batch(), tdo_session_reset().
CREATE TEMP TABLE pairs AS SELECT n, what FROM unnest('{set,set local,set_config,read only,role,authorization,temp,temp kept,cursor,held cursor,
    prepare,advisory,advisory xact,sequence,constraints,listen,failing}'::text[]) WITH ORDINALITY u(what, n);
ALTER TABLE pairs ADD before uuid, ADD dirt uuid, ADD look uuid, ADD orphan uuid;
UPDATE pairs SET before = triggerdo.trigger_task('looks'), dirt = triggerdo.trigger_task('dirties', jsonb_build_object('what', what)),
                 look = triggerdo.trigger_task('looks'), orphan = triggerdo.trigger_task('orphan');
SELECT test.await_all_final();
CREATE FUNCTION app.fresh_part(run uuid) RETURNS jsonb LANGUAGE sql AS $$ SELECT triggerdo.run_result(run) - '{pid,txid,started}'::text[] $$;
SELECT what, d->'ok' AS ok, d #>> '{error,message}' AS error, app.fresh_part(look) = app.fresh_part(before) AS fresh, o->'output' AS orphan,
       (SELECT jsonb_object_agg(key, value) FROM jsonb_each(app.fresh_part(look)) WHERE value <> app.fresh_part(before)->key) AS seen
  FROM pairs, LATERAL (SELECT triggerdo.wait_for_run(dirt) AS d, triggerdo.wait_for_run(orphan) AS o) w ORDER BY n;
SELECT * FROM jsonb_each_text((SELECT app.fresh_part(before) FROM pairs WHERE n = 1)) ORDER BY key;
-- it was a shared transaction that they did not see one another in (else this tests nothing)
SELECT count(*) FILTER (WHERE triggerdo.run_result(look)->>'txid' = triggerdo.run_result(before)->>'txid') > 3 AS shared FROM pairs;
-- statement_timestamp is each run's own
SELECT bool_and((triggerdo.run_result(look)->>'started')::timestamptz > (triggerdo.run_result(before)->>'started')::timestamptz) AS own_time FROM pairs;
SELECT count(*) FROM app.dc;
-- a function replaces itself, and the next run of the batch is the new one
CREATE FUNCTION app.selfish(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION app.selfish(payload jsonb) RETURNS jsonb LANGUAGE %s', CASE (payload->>'n')::int % 2 WHEN 0 THEN
        'sql AS ''SELECT to_jsonb(0)''' ELSE 'plpgsql AS ''BEGIN RETURN to_jsonb(1); END''' END);
    RETURN '"itself"';
END $$;
SELECT triggerdo.define_task('selfish', 'app.selfish');
SELECT triggerdo.batch_trigger_task('selfish', '{"{\"n\":1}","{\"n\":2}","{\"n\":3}"}') AS ids \gset
SELECT n, triggerdo.wait_for_run(run)->'output' AS output FROM unnest(:'ids'::uuid[]) WITH ORDINALITY u(run, n) ORDER BY n;
-- A deferred constraint that fails at the commit fails that run alone; what it shared a transaction with completes, once.
-- Red without: the retry one by one after BATCH_COMMIT_FAILED in src/batch.c.
CREATE TABLE app.parents (id int PRIMARY KEY);
CREATE TABLE app.children (id int, parent int REFERENCES app.parents DEFERRABLE INITIALLY DEFERRED);
INSERT INTO app.parents VALUES (1);
CREATE FUNCTION app.adopt(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.children VALUES ((payload->>'id')::int, (payload->>'parent')::int);
    RETURN payload;
END $$;
SELECT triggerdo.define_task('adopt', 'app.adopt', retry => '{"maxAttempts":2,"backoff":"none"}');
-- (measured once, so that they share a transaction)
CALL triggerdo.trigger_and_wait('adopt', '{"id":0,"parent":1}', NULL) \gset
SELECT triggerdo.batch_trigger_task('adopt', array_agg(jsonb_build_object('id', i, 'parent', CASE i WHEN 7 THEN 99 WHEN 13 THEN 98 ELSE 1 END) ORDER BY i)) AS ids FROM generate_series(1, 20) i \gset
SELECT r->'ok' AS ok, array_agg(n ORDER BY n) AS runs, r #>> '{error,sqlstate}' AS sqlstate, r #>> '{error,message}' AS message, r #>> '{error,detail}' AS detail
  FROM (SELECT n, triggerdo.wait_for_run(run) AS r FROM unnest(:'ids'::uuid[]) WITH ORDINALITY u(run, n)) s GROUP BY 1, 3, 4, 5 ORDER BY 1, 2;
SELECT array_agg(id ORDER BY id) AS children FROM app.children;
SELECT payload->>'id' AS id, status, attempt FROM triggerdo.runs WHERE run_id = ANY (:'ids') AND status <> 'COMPLETED' ORDER BY 1;

-- nothing is left in the executor either
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';
RESET ROLE;
ALTER SYSTEM RESET triggerdo.executors;
ALTER SYSTEM RESET triggerdo.batch_time;
ALTER SYSTEM RESET triggerdo.max_executors_per_role;
SELECT pg_reload_conf();
\c -
SELECT * FROM triggerdo.check_invariants();
