-- run_now: a queued run of the caller's, in the caller's transaction.

CREATE ROLE boss SUPERUSER LOGIN;
-- No executor takes the runs away.
ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();

SET ROLE app;
CREATE TABLE app.done (n int);
CREATE FUNCTION app.work(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.done VALUES ((payload->>'n')::int);
    IF payload ? 'sql' THEN EXECUTE payload->>'sql'; END IF;
    RETURN jsonb_build_object('n', payload->'n', 'attempt', (SELECT attempt FROM triggerdo.current_run()), 'user', current_user);
END $$;
SELECT triggerdo.define_task('work', 'app.work'), triggerdo.define_task('work-retried', 'app.work', retry => '{"maxAttempts":2,"minTimeoutInMs":60000,"randomize":false}'),
       triggerdo.define_task('work-at-once', 'app.work', retry => '{"maxAttempts":2,"backoff":"none"}');

-- As a test of one's own would do it: everything is there, and then gone.
-- Red without: tdo_finish() in tdo_sql_run_now().
BEGIN;
SELECT triggerdo.trigger_task('work', '{"n":1}') AS run \gset
SELECT triggerdo.run_now(:'run') - 'id' AS result;
SELECT status, attempt, output, error, started_at IS NOT NULL AS started, finished_at >= started_at AS finished FROM triggerdo.runs WHERE run_id = :'run';
SELECT task, attempt, status FROM triggerdo.attempts WHERE run_id = :'run';
SELECT triggerdo.run_result(:'run');
SELECT triggerdo.wait_for_run(:'run') = triggerdo.wait_for_run(:'run', '0') AS final_runs_can_be_waited_for;
SELECT * FROM app.done;
-- it is final now
SELECT test.error(format('SELECT triggerdo.run_now(%L)', :'run'));
ROLLBACK;
SELECT count(*) FROM app.done;
SELECT test.error(format('SELECT triggerdo.run_now(%L)', :'run'));

-- A failure is recorded as an executor would. Red without: tdo_fail() in tdo_sql_run_now().
SELECT triggerdo.trigger_task('work', '{"n":2,"sql":"SELECT 1/0"}') AS run \gset
SELECT triggerdo.run_now(:'run') - 'id' #- '{error,context}' #- '{error,stackTrace}' AS result;
SELECT status, attempt, error->>'message' AS message FROM triggerdo.runs WHERE run_id = :'run';
SELECT triggerdo.run_result(:'run');
SELECT count(*) AS undone FROM app.done;
-- and its retry
SELECT triggerdo.trigger_task('work-retried', '{"n":3,"sql":"SELECT 1/0"}') AS run \gset
SELECT triggerdo.run_now(:'run') - 'id' #- '{error,context}' #- '{error,stackTrace}' AS result;
SELECT status, attempt, error->>'message' AS message, triggerdo.run_result(:'run') IS NULL AS not_final FROM triggerdo.runs WHERE run_id = :'run';
SELECT attempt, status, retry_at - finished_at AS delay FROM triggerdo.attempts WHERE run_id = :'run';
-- delayed now: not queued
SELECT test.error(format('SELECT triggerdo.run_now(%L)', :'run'));
SELECT triggerdo.cancel_run(:'run');
SELECT triggerdo.trigger_task('work-at-once', '{"n":4,"sql":"SELECT 1/0"}') AS run \gset
SELECT triggerdo.run_now(:'run')->'ok' AS first;
SELECT status, attempt FROM triggerdo.runs WHERE run_id = :'run';
SELECT triggerdo.run_now(:'run')->'ok' AS second;
SELECT status, attempt FROM triggerdo.runs WHERE run_id = :'run';
SELECT triggerdo.trigger_task('work-retried', $${"n":5,"sql":"SELECT triggerdo.abort_run('enough')"}$$) AS run \gset
SELECT triggerdo.run_now(:'run') #>> '{error,message}' AS aborted;
SELECT status, attempt FROM triggerdo.runs WHERE run_id = :'run';

-- A savepoint rolled back puts the run back into the queue.
SELECT triggerdo.trigger_task('work', '{"n":6}') AS run \gset
BEGIN;
SAVEPOINT s;
SELECT triggerdo.run_now(:'run')->'ok' AS ok;
ROLLBACK TO s;
SELECT status FROM triggerdo.runs WHERE run_id = :'run';
SELECT triggerdo.run_now(:'run')->'output' AS output;
COMMIT;
SELECT status FROM triggerdo.runs WHERE run_id = :'run';

-- Refused. Red without: each ereport of tdo_sql_run_now().
SELECT triggerdo.trigger_task('work', '{"n":7}') AS run, triggerdo.trigger_task('work', '{"n":8}', delay => '1 day') AS delayed \gset
SELECT test.error('SELECT triggerdo.run_now(NULL)'), test.error(format('SELECT triggerdo.run_now(%L)', :'delayed')),
       test.error($$SELECT triggerdo.run_now('01900000-0000-7000-8000-000000000000')$$), test.error($$SELECT triggerdo.run_now('00000000-0000-0000-0000-000000000000')$$);
BEGIN READ ONLY;
SELECT test.error(format('SELECT triggerdo.run_now(%L)', :'run'));
COMMIT;
RESET ROLE;
SELECT test.error(format('SELECT triggerdo.run_now(%L)', :'run')) AS superuser;
SET ROLE carol;
SELECT test.error(format('SELECT triggerdo.run_now(%L)', :'run')) AS member;
RESET ROLE;
SET ROLE bob;
SELECT test.error(format('SELECT triggerdo.run_now(%L)', :'run')) AS stranger;
RESET ROLE;
SET ROLE app;
SELECT status FROM triggerdo.runs WHERE run_id = :'run';
SELECT triggerdo.cancel_run(:'delayed');
-- a run of a dropped task
SELECT triggerdo.define_task('dropped', 'app.work');
SELECT triggerdo.trigger_task('dropped') AS dropped \gset
SELECT triggerdo.drop_task('dropped');
SELECT test.error(format('SELECT triggerdo.run_now(%L)', :'dropped'));
SELECT triggerdo.cancel_run(:'dropped');

-- The session may be a superuser's: the task becomes nobody else. Its settings do not stay.
-- Red without: SECURITY_LOCAL_USERID_CHANGE in tdo_execute(), NewGUCNestLevel().
SELECT s AS sql, r #>> '{error,sqlstate}' AS sqlstate, coalesce(r #>> '{error,message}', r->>'output') AS result
  FROM unnest(ARRAY['SET ROLE boss', 'RESET ROLE', 'SET LOCAL ROLE bob', $$SELECT set_config('role', 'boss', false)$$, 'SET SESSION AUTHORIZATION boss',
                    'RESET SESSION AUTHORIZATION', $$SELECT set_config('session_authorization', 'boss', false)$$, 'RESET ALL', 'DISCARD ALL', 'COMMIT',
                    $$SET work_mem = '123kB'$$, $$SET search_path = app$$]) WITH ORDINALITY u(s, n),
       LATERAL (SELECT triggerdo.run_now(triggerdo.trigger_task('work', jsonb_build_object('n', 100 + n, 'sql', s))) AS r) x ORDER BY n;
SELECT current_user, current_setting('work_mem') AS work_mem, current_setting('search_path') AS search_path;
-- nested: a task that runs another, and never itself
SELECT triggerdo.trigger_task('work', '{"n":9}') AS inner_run \gset
SELECT triggerdo.trigger_task('work', jsonb_build_object('n', 10, 'sql', format('SELECT triggerdo.run_now(%L)', :'inner_run'))) AS outer_run \gset
SELECT triggerdo.run_now(:'outer_run')->'output' AS outer_output;
SELECT payload->'n' AS n, status, output->'attempt' AS attempt FROM triggerdo.runs WHERE run_id IN (:'inner_run', :'outer_run') ORDER BY run_id;
SELECT count(*) AS outside_again FROM triggerdo.current_run();
SELECT triggerdo.trigger_task('work', '{"n":11,"sql":"SELECT triggerdo.run_now(run_id) FROM triggerdo.current_run()"}') AS itself \gset
SELECT triggerdo.run_now(:'itself') #>> '{error,sqlstate}' AS itself;
RESET ROLE;
ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
\c -
SELECT test.await_none_queued();
SELECT * FROM triggerdo.check_invariants();
