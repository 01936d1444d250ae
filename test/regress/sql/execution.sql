-- Runs by executors: results, failures, retries, and functions that change under them.

SET ROLE app;
-- Every shape of function. Red without: call_by_plan(), call_by_fmgr() and the void test in src/execute.c.
CREATE FUNCTION app.sql_one(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT payload || '{"by": "sql"}' $$;
CREATE FUNCTION app.sql_none() RETURNS jsonb LANGUAGE sql AS $$ SELECT '"sql"'::jsonb $$;
CREATE FUNCTION app.sql_void(payload jsonb) RETURNS void LANGUAGE sql AS $$ SELECT 1 $$;
CREATE FUNCTION app.sql_null(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$;
CREATE FUNCTION app.sql_no_row(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT payload WHERE false $$;
CREATE FUNCTION app.sql_atomic(payload jsonb) RETURNS jsonb LANGUAGE sql RETURN payload || '{"by": "atomic"}'::jsonb;
CREATE FUNCTION app.sql_strict(payload jsonb) RETURNS jsonb STRICT LANGUAGE sql AS $$ SELECT payload $$;
CREATE FUNCTION app.pl_one(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN payload || '{"by": "plpgsql"}'; END $$;
CREATE FUNCTION app.pl_none() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"plpgsql"'; END $$;
CREATE FUNCTION app.pl_void(payload jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE FUNCTION app.pl_void_none() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE FUNCTION app.pl_null(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION app.pl_strict(payload jsonb) RETURNS jsonb STRICT LANGUAGE plpgsql AS $$ BEGIN RETURN payload; END $$;
CREATE FUNCTION app.pl_json_null(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN 'null'; END $$;
CREATE FUNCTION app.pl_scalar(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '1.50'; END $$;
CREATE FUNCTION app.pl_big(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN to_jsonb(repeat('x', 1000000)); END $$;
CREATE FUNCTION app.definer(payload jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET work_mem = '123kB' AS
$$ BEGIN RETURN jsonb_build_object('user', current_user, 'work_mem', current_setting('work_mem')); END $$;
CREATE FUNCTION app.stable_fn(payload jsonb) RETURNS jsonb STABLE LANGUAGE sql AS $$ SELECT payload $$;
CREATE TEMP TABLE shapes AS SELECT unnest('{sql_one,sql_none,sql_void,sql_null,sql_no_row,sql_atomic,sql_strict,pl_one,pl_none,pl_void,pl_void_none,
    pl_null,pl_strict,pl_json_null,pl_scalar,pl_big,definer,stable_fn}'::text[]) AS fn;
SELECT count(triggerdo.define_task(fn, 'app.' || fn)) FROM shapes;
ALTER TABLE shapes ADD run uuid;
UPDATE shapes SET run = triggerdo.trigger_task(fn, '{"n": 1}');
SELECT fn, CASE WHEN fn = 'pl_big' THEN to_jsonb(length(r->>'output')) ELSE r - 'id' - 'taskIdentifier' END AS result, r->>'id' = run::text AS id, r->>'taskIdentifier' = fn AS task
  FROM shapes, LATERAL (SELECT triggerdo.wait_for_run(run) AS r) w ORDER BY fn COLLATE "C";
-- run_result: the output alone; views agree
SELECT count(*), bool_and(triggerdo.run_result(run) IS NOT DISTINCT FROM r.output) AS same, bool_and(r.status = 'COMPLETED' AND r.attempt = 1 AND r.error IS NULL
       AND created_at <= queued_at AND queued_at <= started_at AND started_at <= finished_at AND duration = finished_at - started_at) AS in_order
  FROM shapes JOIN triggerdo.runs r ON r.run_id = run;
-- the owner runs it, whoever triggered it
CREATE FUNCTION app.whoami(payload jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('current_user', current_user, 'session_user', session_user, 'super', current_setting('is_superuser'),
                             'application_name', current_setting('application_name'), 'search_path', current_setting('search_path'), 'zone', current_setting('TimeZone')) $$;
SELECT triggerdo.define_task('whoami', 'app.whoami');
RESET ROLE;
SELECT triggerdo.trigger_task('whoami') AS run \gset
SELECT triggerdo.wait_for_run(:'run')->'output' AS output;
SET ROLE app;

-- A failure keeps SQLSTATE, message, detail, hint and context. Red without: each line of tdo_failure_from_error().
CREATE FUNCTION app.raises(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'out of %', payload->>'what' USING ERRCODE = payload->>'code', DETAIL = 'The shelf is empty.', HINT = 'Order more.';
END $$;
CREATE FUNCTION app.nested(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN app.raises(payload);
END $$;
SELECT triggerdo.define_task('nested', 'app.nested');
SELECT triggerdo.trigger_task('nested', '{"what": "paper", "code": "U1234"}') AS run \gset
SELECT triggerdo.wait_for_run(:'run')->'ok' AS ok;
SELECT key, value FROM jsonb_each_text(triggerdo.wait_for_run(:'run')->'error') ORDER BY key;
SELECT status, attempt, max_attempts, output, error = triggerdo.wait_for_run(:'run')->'error' AS same_error FROM triggerdo.runs WHERE run_id = :'run';
SELECT test.error(format('SELECT triggerdo.run_result(%L)', :'run'));
SELECT triggerdo.run_result(:'run');
-- errors of every kind, by both ways of calling
CREATE FUNCTION app.divides(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(1 / (payload->>'by')::int) $$;
CREATE FUNCTION app.forbidden(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(rolpassword) FROM pg_authid $$;
CREATE TABLE app.uniq (id int PRIMARY KEY);
CREATE FUNCTION app.duplicate(payload jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO app.uniq VALUES (1), (1) $$;
CREATE FUNCTION app.deep(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN app.deep(payload); END $$;
CREATE FUNCTION app.no_return(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE FUNCTION app.commits(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN COMMIT; RETURN '1'; END $$;
CREATE FUNCTION app.canceled(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_cancel_backend(pg_backend_pid()); PERFORM pg_sleep(10); RETURN '1'; END $$;
CREATE FUNCTION app.bad_state(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE 'XX000' USING MESSAGE = 'internal'; END $$;
CREATE FUNCTION app.waits(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN triggerdo.wait_for_run((payload->>'run')::uuid); END $$;
CREATE FUNCTION app.calls(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ DECLARE r jsonb; BEGIN CALL triggerdo.trigger_and_wait('sql_one', '{}', r); RETURN r; END $$;
CREATE TEMP TABLE errors AS SELECT unnest('{divides,forbidden,duplicate,deep,no_return,commits,canceled,bad_state,waits,calls}'::text[]) AS fn;
SELECT count(triggerdo.define_task(fn, 'app.' || fn)) FROM errors;
ALTER TABLE errors ADD run uuid;
-- a run that is not final is needed to wait for
SELECT triggerdo.trigger_task('sql_one', delay => '1 hour') AS waiting \gset
UPDATE errors SET run = triggerdo.trigger_task(fn, jsonb_build_object('by', 0, 'run', :'waiting'));
SELECT fn, e->>'name' AS name, e->>'sqlstate' AS sqlstate, e->>'message' AS message, e->>'detail' AS detail, left(e->>'hint', 40) AS hint, left(e->>'context', 40) AS context
  FROM errors, LATERAL (SELECT triggerdo.wait_for_run(run)->'error' AS e) w ORDER BY fn COLLATE "C";
SELECT triggerdo.cancel_run(:'waiting');
SELECT count(*) AS nothing FROM app.uniq;

-- Retries: attempts are kept with their errors and times; the effects of a failed one are gone.
-- Red without: tdo_attempt_insert() in tdo_fail(), tdo_sub_rollback() in tdo_execute().
CREATE TABLE app.effects (task text, attempt int);
CREATE SEQUENCE app.calls_made;
CREATE FUNCTION app.third_time(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE c record;
BEGIN
    SELECT * INTO STRICT c FROM triggerdo.current_run();
    INSERT INTO app.effects VALUES (c.task, c.attempt);
    IF c.attempt < 3 THEN RAISE 'attempt % failed', c.attempt USING ERRCODE = 'U000' || c.attempt; END IF;
    RETURN to_jsonb(c) - '{run_id,created_at}'::text[];
END $$;
SELECT triggerdo.define_task('third-time', 'app.third_time', retry => '{"maxAttempts":5,"minTimeoutInMs":20,"factor":2,"randomize":false}');
SELECT triggerdo.trigger_task('third-time', '{"p":1}', tags => '{t}', metadata => '{"m":1}') AS run \gset
SELECT triggerdo.wait_for_run(:'run')->'output' AS output;
SELECT * FROM app.effects ORDER BY 1, 2;
SELECT status, attempt, max_attempts, error FROM triggerdo.runs WHERE run_id = :'run';
SELECT task, attempt, status, finished_at >= started_at AS ended, retry_at - finished_at AS delay, error->>'message' AS message, error->>'sqlstate' AS sqlstate
  FROM triggerdo.attempts WHERE run_id = :'run' ORDER BY attempt;
-- attempts start when they are due, not before
SELECT bool_and(next.started_at >= a.retry_at) AS not_early
  FROM triggerdo.attempts a JOIN triggerdo.attempts next ON next.run_id = a.run_id AND next.attempt = a.attempt + 1 WHERE a.run_id = :'run';
-- every backoff, and running out of attempts; trigger_task's max_attempts alone implies the default policy's delays
CREATE FUNCTION app.never(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('app.calls_made'); RAISE 'never'; END $$;
SELECT triggerdo.define_task('never-' || b, 'app.never', retry => triggerdo.retry_policy(4, b, 2, '10 ms', '35 ms', false)) FROM unnest('{exponential,linear,fixed,none}'::text[]) b;
CREATE TEMP TABLE nevers AS SELECT b, triggerdo.trigger_task('never-' || b) AS run FROM unnest('{exponential,linear,fixed,none}'::text[]) b;
SELECT b, triggerdo.wait_for_run(run)->'ok' AS ok FROM nevers ORDER BY b;
SELECT b, array_agg(retry_at - finished_at ORDER BY attempt) AS delays FROM nevers JOIN triggerdo.attempts ON run_id = run GROUP BY b ORDER BY b;
SELECT last_value AS calls FROM app.calls_made;
SELECT triggerdo.define_task('never', 'app.never');
SELECT triggerdo_test.freeze() IS NOT NULL AS clock_stands;
SELECT triggerdo.trigger_task('never') AS once, triggerdo.trigger_task('never', max_attempts => 2) AS twice \gset
SELECT triggerdo.wait_for_run(:'once')->'ok' AS once, test.await_status(:'twice', 'DELAYED') AS twice;
SELECT attempt, retry_at - finished_at BETWEEN interval '1 s' AND interval '2 s' AS default_delay FROM triggerdo.attempts WHERE run_id = :'twice';
SELECT status, attempt, max_attempts, error->>'message' AS error, delayed_until > created_at AS retry_later FROM triggerdo.runs WHERE run_id = :'twice';
SELECT triggerdo.cancel_run(:'twice');
SELECT triggerdo_test.reset() IS NOT NULL AS clock_goes_on;

-- abort_run and retry_run_at. Red without: for_good and retry_at in tdo_execute(), in next_attempt().
CREATE FUNCTION app.aborts(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM triggerdo.abort_run('no use'); RETURN '1'; END $$;
CREATE FUNCTION app.later(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT attempt FROM triggerdo.current_run()) < 3 THEN PERFORM triggerdo.retry_run_at(triggerdo_test.now() + (payload #>> '{}')::interval, 'not now'); END IF;
    RETURN '"done"';
END $$;
SELECT triggerdo.define_task('aborts', 'app.aborts', retry => '{"maxAttempts":9}'), triggerdo.define_task('later', 'app.later', retry => '{"maxAttempts":9,"minTimeoutInMs":60000}'),
       triggerdo.define_task('later-once', 'app.later');
SELECT triggerdo.trigger_task('aborts') AS aborts, triggerdo.trigger_task('later', '"30 ms"') AS later, triggerdo.trigger_task('later', '"-1 day"') AS past,
       triggerdo.trigger_task('later-once', '"1 ms"') AS once, triggerdo.trigger_task('later', '"1 hour"') AS hour \gset
SELECT triggerdo.wait_for_run(:'aborts') - 'id' #- '{error,context}' #- '{error,stackTrace}' AS aborts;
SELECT triggerdo.wait_for_run(:'later')->'output' AS later, triggerdo.wait_for_run(:'past')->'output' AS past;
SELECT attempt, status, retry_at > finished_at AS later, error->>'name' AS name, error->>'message' AS message FROM triggerdo.attempts WHERE run_id = :'later' ORDER BY 1;
SELECT attempt, status, retry_at = finished_at AS at_once FROM triggerdo.attempts WHERE run_id = :'past' ORDER BY 1;
SELECT triggerdo.wait_for_run(:'once') #>> '{error,message}' AS once, test.await_status(:'hour', 'DELAYED') AS hour;
SELECT attempt, delayed_until - created_at > interval '59 min' AS in_an_hour FROM triggerdo.runs WHERE run_id = :'hour';
SELECT triggerdo.cancel_run(:'hour');
SELECT f, test.error('SELECT triggerdo.' || f) AS error FROM unnest(ARRAY[$$abort_run('x')$$, 'abort_run(NULL)', $$retry_run_at(now(), 'x')$$]) AS f;
CREATE FUNCTION app.wrong(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT triggerdo.' || (payload #>> '{}'); RETURN '1'; END $$;
SELECT triggerdo.define_task('wrong', 'app.wrong');
CREATE TEMP TABLE wrongs AS SELECT f, triggerdo.trigger_task('wrong', to_jsonb(f)) AS run
  FROM unnest(ARRAY['abort_run(NULL)', $$retry_run_at(NULL, 'x')$$, 'retry_run_at(now(), NULL)', $$retry_run_at('infinity', 'x')$$]) AS f;
SELECT f, triggerdo.wait_for_run(run) #>> '{error,sqlstate}' AS sqlstate, triggerdo.wait_for_run(run) #>> '{error,message}' AS message FROM wrongs ORDER BY f;
-- a task that swallows the error has the right to
CREATE FUNCTION app.swallows(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM triggerdo.abort_run('x'); EXCEPTION WHEN OTHERS THEN RETURN to_jsonb(SQLERRM); END $$;
SELECT triggerdo.define_task('swallows', 'app.swallows');
SELECT triggerdo.trigger_task('swallows') AS run \gset
SELECT triggerdo.wait_for_run(:'run')->'output' AS output;

-- current_run; children know their parent and their root. Red without: fill_enqueue()'s current.
CREATE FUNCTION app.child(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE depth int := (payload->>'depth')::int;
BEGIN
    IF depth > 0 THEN PERFORM triggerdo.trigger_task('child', jsonb_build_object('depth', depth - 1, 'family', payload->'family')); END IF;
    RETURN (SELECT to_jsonb(c) FROM triggerdo.current_run() c);
END $$;
SELECT triggerdo.define_task('child', 'app.child');
SELECT count(*) AS outside FROM triggerdo.current_run();
SELECT run_id AS child0 FROM triggerdo.trigger_batch('[{"task":"child","payload":{"depth":3}}]') \gset
SELECT test.await_all_final();
CREATE TEMP TABLE kin AS SELECT * FROM triggerdo.runs WHERE task = 'child';
SELECT r.payload->>'depth' AS depth, p.payload->>'depth' AS parent, g.payload->>'depth' AS root, r.batch_id IS NOT NULL AS batched, r.triggered_by,
       (r.output->>'run_id')::uuid = r.run_id AS run_id, (r.output->>'parent_run_id')::uuid IS NOT DISTINCT FROM r.parent_run_id AS parent_id,
       (r.output->>'root_run_id')::uuid IS NOT DISTINCT FROM r.root_run_id AS root_id, (r.output->>'created_at')::timestamptz = r.created_at AS created,
       (r.output->>'batch_id')::uuid IS NOT DISTINCT FROM r.batch_id AS batch_id, r.output->'payload' = r.payload AS payload
  FROM kin r LEFT JOIN kin p ON p.run_id = r.parent_run_id LEFT JOIN kin g ON g.run_id = r.root_run_id ORDER BY 1 DESC;

-- Functions change between runs, in the same executor: never a stale call, never a crash.
-- Red without: proc_changes compared last in call_function() (src/execute.c), resolve() by name.
CREATE FUNCTION app.morph(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"plpgsql 1"'; END $$;
SELECT triggerdo.define_task('morph', 'app.morph(jsonb)');
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT :'result'::jsonb->'output' AS output;
CREATE OR REPLACE FUNCTION app.morph(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"plpgsql 2"'; END $$;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT :'result'::jsonb->'output' AS output;
CREATE OR REPLACE FUNCTION app.morph(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"sql"'::jsonb $$;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT :'result'::jsonb->'output' AS output;
CREATE OR REPLACE FUNCTION app.morph(payload jsonb) RETURNS jsonb LANGUAGE sql SECURITY DEFINER SET work_mem = '77kB' AS $$ SELECT to_jsonb(current_setting('work_mem')) $$;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT :'result'::jsonb->'output' AS output;
CREATE OR REPLACE FUNCTION app.morph(payload jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET work_mem = '78kB' AS $$ BEGIN RETURN to_jsonb(current_setting('work_mem')); END $$;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT :'result'::jsonb->'output' AS output;
DROP FUNCTION app.morph; CREATE FUNCTION app.morph(payload jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT :'result'::jsonb->'output' AS output;
DROP FUNCTION app.morph; CREATE FUNCTION app.morph(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"sql again"'::jsonb $$;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT :'result'::jsonb->'output' AS output;
-- ... into what a task cannot be
DROP FUNCTION app.morph; CREATE FUNCTION app.morph(payload jsonb) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN 'x'; END $$;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT e->>'sqlstate' AS sqlstate, e->>'message' AS message, e->>'hint' AS hint FROM (SELECT :'result'::jsonb->'error' AS e) s;
DROP FUNCTION app.morph; CREATE FUNCTION app.morph(payload jsonb) RETURNS SETOF jsonb LANGUAGE sql AS $$ SELECT '1'::jsonb $$;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT e->>'sqlstate' AS sqlstate, e->>'message' AS message FROM (SELECT :'result'::jsonb->'error' AS e) s;
DROP FUNCTION app.morph; CREATE PROCEDURE app.morph(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN END $$;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT e->>'sqlstate' AS sqlstate, e->>'message' AS message FROM (SELECT :'result'::jsonb->'error' AS e) s;
DROP PROCEDURE app.morph;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT e->>'sqlstate' AS sqlstate, e->>'message' AS message, e->>'hint' AS hint FROM (SELECT :'result'::jsonb->'error' AS e) s;
-- what it calls is replaced: the plan kept for it is not
CREATE FUNCTION app.inner_fn() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION app.morph(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(app.inner_fn())';
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT :'result'::jsonb->'output' AS output;
CREATE OR REPLACE FUNCTION app.inner_fn() RETURNS int LANGUAGE sql AS 'SELECT 2';
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT :'result'::jsonb->'output' AS output;
-- EXECUTE is looked at for each run
REVOKE EXECUTE ON FUNCTION app.morph FROM PUBLIC, app;
CALL triggerdo.trigger_and_wait('morph', '{}', NULL) \gset
SELECT e->>'sqlstate' AS sqlstate, e->>'message' AS message FROM (SELECT :'result'::jsonb->'error' AS e) s;
GRANT EXECUTE ON FUNCTION app.morph TO app;
-- define again while runs are queued: they run what the task is when they start
RESET ROLE;
ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
SET ROLE app;
CREATE FUNCTION app.old_one(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"old"'::jsonb $$;
CREATE FUNCTION app.new_one() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"new"'; END $$;
SELECT triggerdo.define_task('redefined', 'app.old_one'), triggerdo.define_task('fn-dropped', 'app.old_one', retry => '{"maxAttempts":2,"backoff":"none"}'),
       triggerdo.define_task('task-dropped', 'app.new_one', retry => '{"maxAttempts":2,"backoff":"none"}');
SELECT triggerdo.trigger_task('redefined') AS redefined, triggerdo.trigger_task('fn-dropped') AS fn_dropped, triggerdo.trigger_task('task-dropped') AS task_dropped \gset
SELECT triggerdo.define_task('redefined', 'app.new_one'), triggerdo.drop_task('task-dropped');
DROP FUNCTION app.old_one;
RESET ROLE;
ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
\c -
SET ROLE app;
SELECT triggerdo.wait_for_run(:'redefined')->'output' AS redefined;
-- Red without: the entry == NULL branch in execute_one() (src/executor.c).
SELECT n, r->>'taskIdentifier' AS task, r #>> '{error,name}' AS name, r #>> '{error,sqlstate}' AS sqlstate, r #>> '{error,message}' AS message, r #>> '{error,hint}' AS hint
  FROM (VALUES (1, triggerdo.wait_for_run(:'fn_dropped')), (2, triggerdo.wait_for_run(:'task_dropped'))) v(n, r) ORDER BY n;
SELECT task, attempt, max_attempts FROM triggerdo.runs WHERE run_id IN (:'fn_dropped', :'task_dropped') ORDER BY task;

-- Serialization failures and deadlocks are tried again at once and cost no attempt, up to a budget; then they are a failure like any other.
-- Red without: tdo_failure_is_transient() in execute_one().
CREATE SEQUENCE app.serialization_calls; CREATE SEQUENCE app.deadlock_calls; CREATE SEQUENCE app.always_calls;
CREATE FUNCTION app.transient(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE n bigint := nextval(('app.' || (payload->>'kind') || '_calls')::regclass);
BEGIN
    IF n <= (payload->>'times')::int THEN RAISE 'again' USING ERRCODE = payload->>'code'; END IF;
    RETURN jsonb_build_object('calls', n, 'attempt', (SELECT attempt FROM triggerdo.current_run()));
END $$;
SELECT triggerdo.define_task('transient', 'app.transient');
SELECT triggerdo.trigger_task('transient', '{"kind":"serialization","code":"40001","times":2}') AS serialization,
       triggerdo.trigger_task('transient', '{"kind":"deadlock","code":"40P01","times":4}') AS deadlock,
       triggerdo.trigger_task('transient', '{"kind":"always","code":"40001","times":1000}') AS always \gset
SELECT triggerdo.wait_for_run(:'serialization')->'output' AS serialization, triggerdo.wait_for_run(:'deadlock')->'output' AS deadlock,
       triggerdo.wait_for_run(:'always') #>> '{error,sqlstate}' AS always;
SELECT status, attempt, (SELECT count(*) FROM triggerdo.attempts a WHERE a.run_id = r.run_id) AS attempts FROM triggerdo.runs r
 WHERE run_id IN (:'serialization', :'deadlock', :'always') ORDER BY run_id;
SELECT last_value BETWEEN 6 AND 60 AS calls_bounded FROM app.always_calls; -- (6; more when two executors pass it to each other)

-- A thousand runs of every kind in one transaction, each exactly once.
CREATE TABLE app.ledger (n int);
CREATE TABLE app.notes (n int);
CREATE FUNCTION app.mixed(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE n int := (payload->>'n')::int; a int := (SELECT attempt FROM triggerdo.current_run());
BEGIN
    INSERT INTO app.ledger VALUES (n);
    IF n % 10 = 1 THEN RAISE 'for good'; END IF;
    IF n % 10 = 2 AND a < 3 THEN RAISE 'not yet'; END IF;
    IF n % 10 = 3 THEN PERFORM triggerdo.abort_run('aborted'); END IF;
    IF n % 10 = 4 THEN BEGIN INSERT INTO app.ledger VALUES (n); RAISE 'inner'; EXCEPTION WHEN raise_exception THEN NULL; END; END IF;
    IF n % 10 = 5 THEN PERFORM triggerdo.trigger_task('mixed', jsonb_build_object('n', n + 10001)); END IF; -- ends with 6
    IF n % 100 = 7 AND a = 1 THEN INSERT INTO app.notes VALUES (n); SET LOCAL work_mem = '99kB'; END IF;
    RETURN to_jsonb(n);
END $$;
CREATE FUNCTION app.mixed_sql(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO app.ledger VALUES ((payload->>'n')::int) RETURNING to_jsonb(n) $$;
SELECT triggerdo.define_task('mixed', 'app.mixed', retry => '{"maxAttempts":3,"minTimeoutInMs":5}'), triggerdo.define_task('mixed-sql', 'app.mixed_sql');
SELECT count(triggerdo.trigger_task(CASE n % 10 WHEN 8 THEN 'mixed-sql' ELSE 'mixed' END, jsonb_build_object('n', n))) FROM generate_series(1, 1000) n;
SELECT test.await_all_final();
SELECT (payload->>'n')::int % 10 AS kind, (payload->>'n')::int > 10000 AS child, task, status, attempt, count(*), bool_and(status <> 'COMPLETED' OR output = payload->'n') AS output
  FROM triggerdo.runs WHERE task LIKE 'mixed%' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5;
SELECT count(*), count(DISTINCT n), count(*) FILTER (WHERE n % 10 IN (1, 3)) AS of_failed FROM app.ledger;
SELECT status, attempt, count(*) FROM triggerdo.attempts WHERE task LIKE 'mixed%' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM triggerdo.stats WHERE queued + delayed + executing + retrying > 0;
RESET ROLE;
SELECT * FROM triggerdo.check_invariants();
