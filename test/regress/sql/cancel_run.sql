-- cancel_run of runs that have not started.

ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
SET ROLE app;
CREATE TABLE app.ran (payload jsonb);
CREATE FUNCTION app.traces(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO app.ran VALUES (payload); RETURN payload; END $$;
SELECT triggerdo.define_task('traces', 'app.traces');

-- Queued and delayed runs; the error says why. Red without: tdo_finish(..., TDO_CANCELED) in tdo_sql_cancel_run(), tdo_timer_delete() in tdo_finish().
SELECT triggerdo.trigger_task('traces', '1') AS queued, triggerdo.trigger_task('traces', '2', delay => '1 day') AS delayed, triggerdo.trigger_task('traces', '3') AS kept,
       triggerdo.trigger_task('traces', '4') AS rolled_back \gset
SELECT triggerdo.cancel_run(:'queued'), triggerdo.cancel_run(:'delayed', 'No longer needed.');
SELECT payload, status, attempt, error, started_at, finished_at IS NOT NULL AS finished, queued_at IS NOT NULL AS was_queued, output, duration
  FROM triggerdo.runs WHERE run_id IN (:'queued', :'delayed') ORDER BY run_id;
SELECT count(*) AS attempts FROM triggerdo.attempts WHERE run_id IN (:'queued', :'delayed');
SELECT triggerdo.wait_for_run(:'queued', '0') - 'id' AS queued;
SELECT triggerdo.run_result(:'delayed');
-- a final run never changes
SELECT triggerdo.cancel_run(:'queued', 'again'), triggerdo.cancel_run(:'delayed');
SELECT error->>'message' AS message FROM triggerdo.runs WHERE run_id = :'queued';
-- it is part of the transaction
BEGIN;
SELECT triggerdo.cancel_run(:'rolled_back'), triggerdo.cancel_run(:'rolled_back');
SELECT status FROM triggerdo.runs WHERE run_id = :'rolled_back';
ROLLBACK;
SELECT status FROM triggerdo.runs WHERE run_id = :'rolled_back';
-- triggered and cancelled in one transaction
BEGIN;
SELECT triggerdo.trigger_task('traces', '5') AS run \gset
SELECT triggerdo.cancel_run(:'run', NULL);
COMMIT;
SELECT status, error->>'message' AS message FROM triggerdo.runs WHERE run_id = :'run';
BEGIN READ ONLY;
SELECT test.error(format('SELECT triggerdo.cancel_run(%L)', :'kept'));
COMMIT;

-- Who may: the owner and who acts for it. Red without: tdo_get_manageable_run() in tdo_sql_cancel_run().
RESET ROLE;
SET ROLE bob;
SELECT test.error(format('SELECT triggerdo.cancel_run(%L)', :'kept')) AS stranger;
RESET ROLE;
SET ROLE dave;
SELECT test.error(format('SELECT triggerdo.cancel_run(%L)', :'kept')) AS without_inherit;
RESET ROLE;
SET ROLE carol;
SELECT triggerdo.trigger_task('traces', '6') AS by_carol, triggerdo.trigger_task('traces', '7') AS by_carol2 \gset
SELECT triggerdo.cancel_run(:'by_carol') AS member;
RESET ROLE;
-- who triggered it sees it, no more
REVOKE app FROM carol;
SET ROLE carol;
SELECT payload, status FROM triggerdo.runs ORDER BY run_id;
SELECT test.error(format('SELECT triggerdo.cancel_run(%L)', :'by_carol2')) AS triggerer, triggerdo.run_result(:'by_carol2') IS NULL AS may_read;
RESET ROLE;
GRANT app TO carol;
SELECT triggerdo.cancel_run(:'by_carol2', 'by a superuser') AS superuser;
SELECT test.error($$SELECT triggerdo.cancel_run('01900000-0000-7000-8000-000000000000')$$) AS unknown, test.error('SELECT triggerdo.cancel_run(NULL)') AS null_run;

-- What was cancelled does not run; the rest does.
ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
\c -
SET ROLE app;
SELECT triggerdo.wait_for_run(:'kept')->'ok' AS kept, triggerdo.wait_for_run(:'rolled_back')->'ok' AS rolled_back;
SELECT triggerdo.cancel_run(:'kept') AS completed;
SELECT payload FROM app.ran ORDER BY 1;
-- by a run: others, its batch-mates after it, itself not
CREATE FUNCTION app.cancels(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF payload ? 'itself' THEN PERFORM triggerdo.cancel_run(run_id) FROM triggerdo.current_run(); END IF;
    RETURN to_jsonb((SELECT count(triggerdo.cancel_run(r.run_id)) FROM triggerdo.runs r, triggerdo.current_run() c
                      WHERE r.batch_id = c.batch_id AND r.run_id > c.run_id AND r.status IN ('QUEUED', 'DEQUEUED')));
END $$;
SELECT triggerdo.define_task('cancels', 'app.cancels');
SELECT triggerdo.trigger_task('cancels', '{"itself":1}') AS run \gset
SELECT triggerdo.wait_for_run(:'run') #>> '{error,sqlstate}' AS itself;
RESET ROLE;
SELECT * FROM triggerdo.check_invariants();
