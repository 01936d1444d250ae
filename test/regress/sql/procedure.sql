-- Procedure tasks: what may be one, what becomes of it, what its transactions do.

CREATE SCHEMA proc AUTHORIZATION app;
SET ROLE app;
-- how a run ended, as one line
CREATE FUNCTION proc.outcome(run uuid) RETURNS text LANGUAGE sql AS $$
    SELECT triggerdo.wait_for_run(run);
    SELECT concat_ws(' | ', status, 'attempt ' || attempt, output::text, error->>'sqlstate', regexp_replace(error->>'message', '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>'),
                     'DETAIL ' || nullif(error->>'detail', ''), 'HINT ' || nullif(error->>'hint', ''))
      FROM triggerdo.runs WHERE run_id = run $$;
CREATE TABLE proc.did (run uuid, what text, attempt int, xact xid8 DEFAULT pg_current_xact_id(), at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION proc.did(what text) RETURNS void LANGUAGE sql AS
$$ INSERT INTO proc.did SELECT run_id, $1, attempt FROM triggerdo.current_run() $$;

-- Shapes. Red without: check_procedure() in src/task.c; argument_mode(); the order {1, 2, 0} in parse_function().
CREATE PROCEDURE proc.one(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN PERFORM proc.did('one'); END $$;
CREATE PROCEDURE proc.two(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := payload || '{"by": "two"}'; END $$;
CREATE PROCEDURE proc.two_null(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := NULL; END $$;
CREATE PROCEDURE proc.two_given(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := to_jsonb(result IS NULL); END $$;
CREATE PROCEDURE proc.two_default(payload jsonb, INOUT result jsonb DEFAULT '1') LANGUAGE plpgsql AS $$ BEGIN result := to_jsonb(result IS NULL); END $$;
CREATE PROCEDURE proc.sql_two(payload jsonb, INOUT result jsonb) LANGUAGE sql AS $$ SELECT payload || '{"by": "sql"}' $$;
CREATE PROCEDURE proc.big(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := to_jsonb(repeat('x', 1000000)); END $$;
CREATE PROCEDURE proc."Odd (name)"(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := '"odd"'; END $$;
CREATE PROCEDURE proc.three(payload jsonb, a jsonb, b jsonb) LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE PROCEDURE proc.none() LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE PROCEDURE proc.out_arg(payload jsonb, OUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := payload; END $$;
CREATE PROCEDURE proc.in_arg(payload jsonb, result jsonb) LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE PROCEDURE proc.inout_first(INOUT payload jsonb) LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE PROCEDURE proc.inout_both(INOUT payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE PROCEDURE proc.wrong_type(payload json) LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE PROCEDURE proc.wrong_result(payload jsonb, INOUT result text) LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE PROCEDURE proc.variadic_p(VARIADIC payload jsonb[]) LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE PROCEDURE proc.definer(payload jsonb) LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN END $$;
CREATE PROCEDURE proc.with_set(payload jsonb) LANGUAGE plpgsql SET search_path = proc AS $$ BEGIN END $$;
CREATE PROCEDURE proc.overloaded(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := '"two arguments"'; END $$;
CREATE PROCEDURE proc.overloaded(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN PERFORM proc.did('one argument'); END $$;
CREATE PROCEDURE proc.overloaded(payload text) LANGUAGE plpgsql AS $$ BEGIN END $$;
SELECT f AS run, test.error(format('SELECT triggerdo.define_task(%L, %L)', f, 'proc.' || f)) AS error
  FROM unnest(ARRAY['one', 'one(jsonb)', 'two', 'two(jsonb, jsonb)', 'two(jsonb, INOUT jsonb)', 'two(payload jsonb, INOUT result jsonb)', 'two_null', 'two_given', 'two_default', 'sql_two', 'big',
                    '"Odd (name)"', '"Odd (name)"(jsonb,jsonb)', 'overloaded', 'overloaded(jsonb,jsonb)', 'overloaded(jsonb)',
                    'two(jsonb)', 'one(jsonb,jsonb)', 'three', 'none', 'none()', 'out_arg', 'in_arg', 'inout_first', 'inout_both', 'wrong_type', 'wrong_result', 'variadic_p',
                    'definer', 'with_set', 'overloaded(text)']) AS f;
SELECT id, kind, run FROM triggerdo.tasks WHERE kind = 'procedure' ORDER BY id COLLATE "C";
CREATE TEMP TABLE shapes AS SELECT id, triggerdo.trigger_task(id, '{"n": 1}') AS run FROM triggerdo.tasks WHERE kind = 'procedure';
SELECT id, replace(proc.outcome(run), repeat('x', 1000000), 'a million') AS outcome FROM shapes ORDER BY id COLLATE "C";
SELECT what, count(*) FROM proc.did GROUP BY 1 ORDER BY 1;
SELECT triggerdo.run_result(run) FROM shapes WHERE id = 'two';
-- EXECUTE is looked at
RESET ROLE;
CREATE PROCEDURE bob.secret_p(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN END $$;
REVOKE EXECUTE ON PROCEDURE bob.secret_p FROM PUBLIC;
GRANT USAGE ON SCHEMA bob TO app;
SET ROLE app;
SELECT test.error($$SELECT triggerdo.define_task('secret', 'bob.secret_p')$$);

-- A function replaced by a procedure, and back. Red without: check_shape(tuple, name) != task->kind in tdo_task_resolve(); a->kind == b->kind in same_function().
CREATE FUNCTION proc.morph(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"a function"'; END $$;
SELECT triggerdo.define_task('morph', 'proc.morph');
SELECT triggerdo.trigger_task('morph') AS run \gset
SELECT proc.outcome(:'run');
DROP FUNCTION proc.morph; CREATE PROCEDURE proc.morph(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN PERFORM proc.did('morphed'); END $$;
SELECT triggerdo.trigger_task('morph') AS run \gset
SELECT proc.outcome(:'run');
SELECT triggerdo.define_task('morph', 'proc.morph');
SELECT triggerdo.trigger_task('morph') AS run \gset
SELECT proc.outcome(:'run');
DROP PROCEDURE proc.morph; CREATE FUNCTION proc.morph(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"sql now"'::jsonb $$;
SELECT triggerdo.trigger_task('morph') AS run \gset
SELECT proc.outcome(:'run');
SELECT triggerdo.define_task('morph', 'proc.morph');
SELECT triggerdo.trigger_task('morph') AS run \gset
SELECT proc.outcome(:'run');
DROP FUNCTION proc.morph;
SELECT triggerdo.trigger_task('morph') AS run \gset
SELECT proc.outcome(:'run');
CREATE PROCEDURE proc.replaced(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := '"old"'; END $$;
SELECT triggerdo.define_task('replaced', 'proc.replaced');
SELECT triggerdo.trigger_task('replaced') AS run \gset
SELECT proc.outcome(:'run');
CREATE OR REPLACE PROCEDURE proc.replaced(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := '"new"'; END $$;
SELECT triggerdo.trigger_task('replaced') AS run \gset
SELECT proc.outcome(:'run');
-- made SECURITY DEFINER, or given a SET, after it was defined
ALTER PROCEDURE proc.replaced SECURITY DEFINER;
SELECT triggerdo.trigger_task('replaced') AS run \gset
SELECT proc.outcome(:'run');

-- Transactions. Red without: before_commit() in src/stop.c (the refused COMMIT); PushActiveSnapshot() left out of tdo_toplevel_call() (ROLLBACK works);
-- task->own_commits in call() of src/durable.c.
CREATE PROCEDURE proc.inner_p(what text) LANGUAGE plpgsql AS $$ BEGIN PERFORM proc.did('nested ' || what); END $$;
CREATE PROCEDURE proc.inner_commits() LANGUAGE plpgsql AS $$ BEGIN PERFORM proc.did('before nested commit'); COMMIT; END $$;
CREATE PROCEDURE proc.body(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    PERFORM proc.did('begun');
    CASE payload->>'do'
        WHEN 'error' THEN RAISE 'out of %', 'paper' USING ERRCODE = 'U1234', DETAIL = 'The shelf is empty.', HINT = 'Order more.';
        WHEN 'caught' THEN
            BEGIN PERFORM proc.did('lost'); PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN PERFORM proc.did('caught'); END;
        WHEN 'nested' THEN CALL proc.inner_p('call'); DO $x$ BEGIN PERFORM proc.did('do'); END $x$;
        WHEN 'rollback' THEN ROLLBACK; PERFORM proc.did('after rollback');
        WHEN 'commit' THEN COMMIT; PERFORM proc.did('after commit');
        WHEN 'commit and chain' THEN COMMIT AND CHAIN; PERFORM proc.did('after commit');
        WHEN 'rollback and commit' THEN ROLLBACK; COMMIT; PERFORM proc.did('after commit');
        WHEN 'nested commit' THEN CALL proc.inner_commits(); PERFORM proc.did('after nested commit');
        WHEN 'commit in do' THEN DO $x$ BEGIN COMMIT; END $x$; PERFORM proc.did('after commit in do');
        WHEN 'commit in block' THEN BEGIN COMMIT; EXCEPTION WHEN OTHERS THEN PERFORM proc.did('commit refused: ' || sqlstate); END;
        WHEN 'commit in loop' THEN
            FOR r IN SELECT i FROM generate_series(1, 3) i LOOP PERFORM proc.did('loop ' || r.i); COMMIT; END LOOP;
        WHEN 'rollback in loop' THEN
            FOR r IN SELECT i FROM generate_series(1, 3) i LOOP PERFORM proc.did('loop ' || r.i); ROLLBACK; END LOOP;
        WHEN 'execute commit' THEN EXECUTE 'COMMIT';
        WHEN 'commit, error' THEN COMMIT; PERFORM proc.did('to be repeated'); RAISE 'after the commit';
        WHEN 'trigger' THEN result := to_jsonb(triggerdo.trigger_task('one', '{"by": "a procedure"}'));
        WHEN 'wait' THEN PERFORM triggerdo.wait_for_run((payload->>'run')::uuid);
        WHEN 'who' THEN SELECT to_jsonb(c) - 'run_id' - 'created_at' - 'payload' INTO result FROM triggerdo.current_run() c;
        WHEN 'abort' THEN PERFORM triggerdo.abort_run('no use');
        WHEN 'retry' THEN
            IF (SELECT attempt < 3 FROM triggerdo.current_run()) THEN PERFORM triggerdo.retry_run_at(now(), 'not yet'); END IF;
        WHEN 'flaky' THEN
            IF (SELECT attempt < 3 FROM triggerdo.current_run()) THEN RAISE 'flaky'; END IF;
        WHEN 'fetch' THEN
            FOR r IN SELECT i FROM generate_series(1, 1000) i LOOP IF r.i = 10 THEN RAISE 'in the loop'; END IF; END LOOP;
        WHEN 'serializable' THEN
            ROLLBACK; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; PERFORM proc.did(current_setting('transaction_isolation'));
        WHEN 'read only' THEN ROLLBACK; SET TRANSACTION READ ONLY; result := to_jsonb(current_setting('transaction_read_only'));
    END CASE;
END $$;
SELECT triggerdo.define_task('atomic', 'proc.body', retry => triggerdo.retry_policy(3, 'fixed', min_delay => '10 ms'));
SELECT triggerdo.define_task('commits', 'proc.body', retry => triggerdo.retry_policy(3, 'fixed', min_delay => '10 ms'), options => '{"ownCommits": true}');
SELECT id, kind, run, options FROM triggerdo.tasks WHERE id IN ('atomic', 'commits') ORDER BY id;
SELECT triggerdo.trigger_task('one', delay => '1 hour') AS waiting \gset
CREATE TEMP TABLE bodies AS
  SELECT t.task, b.n, b.what, triggerdo.trigger_task(t.task, jsonb_build_object('do', b.what, 'run', :'waiting'), max_attempts => CASE WHEN b.what IN ('abort', 'retry', 'flaky', 'commit, error') THEN 3 ELSE 1 END) AS run
    FROM unnest(ARRAY['atomic', 'commits']) t(task),
         unnest(ARRAY['error', 'caught', 'nested', 'rollback', 'commit', 'commit and chain', 'rollback and commit', 'nested commit', 'commit in do', 'commit in block', 'commit in loop', 'rollback in loop',
                      'execute commit', 'commit, error', 'trigger', 'wait', 'who', 'abort', 'retry', 'flaky', 'fetch', 'serializable', 'read only']) WITH ORDINALITY b(what, n);
SELECT task, what, CASE WHEN what = 'trigger' THEN split_part(proc.outcome(run), ' |', 1) ELSE proc.outcome(run) END AS outcome
  FROM bodies ORDER BY task, n;
-- what each left: of those that may not commit, all or nothing; each number is a transaction
SELECT b.task, b.what, string_agg(format('%s (%s, %s)', d.what, d.attempt, d.xact), ', ' ORDER BY d.at) FILTER (WHERE d.run IS NOT NULL) AS did
  FROM bodies b LEFT JOIN (SELECT run, what, attempt, dense_rank() OVER (PARTITION BY run ORDER BY xact) AS xact, at FROM proc.did) d ON d.run = b.run
 GROUP BY b.task, b.n, b.what ORDER BY b.task, b.n;
-- a run triggered in it is its child
SELECT count(*), bool_and(r.parent_run_id = b.run AND r.root_run_id = b.run) AS child
  FROM bodies b JOIN triggerdo.runs r ON r.run_id = (triggerdo.run_result(b.run) #>> '{}')::uuid WHERE b.what = 'trigger';

-- A session is as fresh after a procedure as after a function, also across its commits.
-- Red without: tdo_session_reset() in batch_transaction(); tdo_session_drop_temp(durable) in one_transaction().
RESET ROLE;
ALTER SYSTEM SET triggerdo.executors = 1;
ALTER SYSTEM SET triggerdo.max_executors_per_role = 1;
SELECT pg_reload_conf();
\c -
CREATE ROLE proc_group; GRANT proc_group TO app;
SET ROLE app;
CREATE PROCEDURE proc.dirties(payload jsonb) LANGUAGE plpgsql AS $$
BEGIN
    SET work_mem = '111kB'; SET search_path = proc; PERFORM set_config('custom.x', 'left', false); SET default_transaction_read_only = on; SET lock_timeout = '1 s';
    CREATE TEMP TABLE t (id int);
    EXECUTE 'PREPARE p AS SELECT 1';
    PERFORM pg_advisory_lock(4711);
    EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1';
    IF payload ? 'commit' THEN COMMIT; END IF;
    SET ROLE proc_group;
    IF payload ? 'error' THEN RAISE 'failed'; END IF;
END $$;
CREATE PROCEDURE proc.looks(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
BEGIN
    result := jsonb_build_object('user', current_user, 'work_mem', current_setting('work_mem'), 'search_path', current_setting('search_path'),
        'custom', coalesce(current_setting('custom.x', true), ''), 'read_only', current_setting('transaction_read_only'), 'lock_timeout', current_setting('lock_timeout'),
        'temp', to_regclass('pg_temp.t') IS NOT NULL, 'cursors', (SELECT count(*) FROM pg_cursors WHERE name = 'c'),
        'prepared', (SELECT count(*) FROM pg_prepared_statements WHERE from_sql),
        'advisory', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()));
END $$;
CREATE FUNCTION proc.looks_f(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ DECLARE r jsonb; BEGIN CALL proc.looks(payload, r); RETURN r; END $$;
SELECT triggerdo.define_task('dirties', 'proc.dirties', options => '{"ownCommits": true}'), triggerdo.define_task('looks', 'proc.looks'), triggerdo.define_task('looks-f', 'proc.looks_f');
CREATE TEMP TABLE sessions AS
  SELECT n, p, triggerdo.trigger_task('dirties', p) AS dirty, triggerdo.trigger_task('looks') AS look, triggerdo.trigger_task('looks-f') AS look_f
    FROM unnest('{"{}","{\"commit\":1}","{\"error\":1}","{\"commit\":1,\"error\":1}"}'::jsonb[]) WITH ORDINALITY AS u(p, n);
SELECT p, proc.outcome(dirty) AS dirty, proc.outcome(look) AS look, proc.outcome(look) = proc.outcome(look_f) AS same FROM sessions ORDER BY n;
RESET ROLE;
ALTER SYSTEM RESET triggerdo.executors;
ALTER SYSTEM RESET triggerdo.max_executors_per_role;
SELECT pg_reload_conf();
\c -
SET ROLE app;

RESET ROLE;
GRANT SELECT ON pg_backend_memory_contexts TO app; GRANT EXECUTE ON FUNCTION pg_get_backend_memory_contexts TO app;
SET ROLE app;
-- 2,000 errors inside a loop over a query leave no cursor behind. Red without: PortalErrorCleanup() in tdo_durable_run().
CREATE PROCEDURE proc.leaky(payload jsonb) LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
    FOR r IN SELECT i FROM generate_series(1, 10) i LOOP
        COMMIT;
        RAISE 'in the loop';
    END LOOP;
END $$;
CREATE PROCEDURE proc.holds(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
BEGIN
    result := to_jsonb((SELECT count(*) FROM pg_cursors) < 5 AND (SELECT sum(total_bytes) FROM pg_backend_memory_contexts) < 30000000);
END $$;
SELECT triggerdo.define_task('leaky', 'proc.leaky', options => '{"ownCommits": true}'), triggerdo.define_task('holds', 'proc.holds');
SELECT count(triggerdo.trigger_task('leaky')) FROM generate_series(1, 2000);
CREATE TEMP TABLE holds AS SELECT triggerdo.trigger_task('holds') AS run FROM generate_series(1, 2);
SELECT proc.outcome(run) FROM holds;
SELECT test.await_status(max(run_id::text)::uuid, 'FAILED') FROM triggerdo.runs WHERE task = 'leaky';
SELECT status, error->>'message' AS message, count(*) FROM triggerdo.runs WHERE task = 'leaky' GROUP BY 1, 2;

-- A constraint that fails at the last commit is the run's failure. Red without: complete_procedure() in PG_TRY of tdo_durable_run().
CREATE TABLE proc.parents (id int PRIMARY KEY);
CREATE TABLE proc.children (id int REFERENCES proc.parents DEFERRABLE INITIALLY DEFERRED);
CREATE PROCEDURE proc.orphans(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN PERFORM proc.did('orphan'); INSERT INTO proc.children VALUES (1); END $$;
SELECT triggerdo.define_task('orphans', 'proc.orphans', retry => triggerdo.retry_policy(2, 'none'));
SELECT triggerdo.trigger_task('orphans') AS run \gset
SELECT proc.outcome(:'run');
SELECT attempt, error->>'sqlstate' AS sqlstate FROM triggerdo.attempts WHERE run_id = :'run';
SELECT count(*) AS effects FROM proc.did WHERE run = :'run';

-- It is no function, and is not run in the caller's transaction. Red without: the test of kind in tdo_sql_run_now().
RESET ROLE;
ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
SET ROLE app;
SELECT triggerdo.trigger_task('one') AS run \gset
SELECT test.error(format('SELECT triggerdo.run_now(%L)', :'run'));
SELECT status FROM triggerdo.runs WHERE run_id = :'run';
RESET ROLE;
ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
\c -
SET ROLE app;
SELECT split_part(triggerdo.wait_for_run(:'run')->>'ok', ' ', 1) AS ok;
SELECT triggerdo.cancel_run(:'waiting');
SELECT count(triggerdo.drop_task(id)) > 20 AS dropped FROM triggerdo.tasks WHERE kind = 'procedure';
RESET ROLE;
SELECT * FROM triggerdo.check_invariants();
