-- Delays and retries of days, on the test clock.

SET ROLE app;
CREATE FUNCTION app.stamps(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN to_jsonb(triggerdo_test.now()); END $$;
CREATE FUNCTION app.patient(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE a int := (SELECT attempt FROM triggerdo.current_run());
BEGIN
    IF a < 5 THEN RAISE 'attempt %', a; END IF;
    RETURN to_jsonb(a);
END $$;
SELECT triggerdo.define_task('stamps', 'app.stamps'),
       triggerdo.define_task('patient', 'app.patient', retry => triggerdo.retry_policy(5, 'exponential', 3, '1 day', '10 days', false));
RESET ROLE;
SELECT triggerdo_test.freeze() AS noon \gset
SET ROLE app;

-- Delays: each run starts when its time has come, in order, and not before.
-- Red without: tdo_wake_timer() in tdo_enqueue(), tdo_timers_fire() in src/rows.c, the seam in src/clock.c.
SELECT triggerdo.trigger_task('stamps', delay => '1 hour') AS hour, triggerdo.trigger_task('stamps', delay => '3 days') AS days, triggerdo.trigger_task('stamps', run_at => triggerdo_test.now() + interval '1 year') AS year,
       triggerdo.trigger_task('stamps') AS once, triggerdo.trigger_task('stamps', run_at => triggerdo_test.now()) AS now_run, triggerdo.trigger_task('stamps', run_at => triggerdo_test.now() + interval '1 us') AS tick \gset
SELECT triggerdo.wait_for_run(:'once')->'ok' AS once, triggerdo.wait_for_run(:'now_run')->'ok' AS now_run;
SELECT status, delayed_until - :'noon' AS due FROM triggerdo.runs WHERE run_id IN (:'hour', :'days', :'year', :'tick') ORDER BY run_id;
RESET ROLE;
SELECT triggerdo_test.advance('59 min 59.999999 s') - :'noon' AS clock;
SET ROLE app;
SELECT (triggerdo.wait_for_run(:'tick')->>'output')::timestamptz - :'noon' AS tick;
SELECT status FROM triggerdo.runs WHERE run_id = :'hour';
RESET ROLE;
SELECT triggerdo_test.advance('1 us') - :'noon' AS clock;
SET ROLE app;
SELECT (triggerdo.wait_for_run(:'hour')->>'output')::timestamptz - :'noon' AS hour;
SELECT status, created_at - :'noon' AS created, delayed_until - :'noon' AS delayed_until, queued_at - :'noon' AS queued, started_at - :'noon' AS started, duration FROM triggerdo.runs WHERE run_id = :'hour';
RESET ROLE;
SELECT triggerdo_test.advance('400 days') - :'noon' AS clock;
SET ROLE app;
SELECT triggerdo.wait_for_run(:'days')->'ok' AS days, triggerdo.wait_for_run(:'year')->'ok' AS year;
-- what is triggered after 400 days has its own day's partition
SELECT triggerdo.trigger_task('stamps') AS later \gset
SELECT (triggerdo.wait_for_run(:'later')->>'output')::timestamptz - :'noon' AS later;

-- Retries over 1, 3, 9 and 10 (the cap) days: an attempt a step. Red without: live.attempt + 1 and the timer in tdo_fail().
SELECT triggerdo.trigger_task('patient') AS run \gset
SELECT test.await_status(:'run', 'DELAYED');
SELECT attempt, retry_at - finished_at AS delay FROM triggerdo.attempts WHERE run_id = :'run' ORDER BY attempt;
CREATE FUNCTION app.await_attempt(run uuid, n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r record; until timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    LOOP
        SELECT status, attempt, error->>'message' AS message INTO r FROM triggerdo.runs WHERE run_id = run;
        EXIT WHEN r.attempt = n AND r.status IN ('DELAYED', 'COMPLETED', 'FAILED') OR clock_timestamp() > until;
        PERFORM pg_sleep(0.005);
    END LOOP;
    RETURN concat_ws(' ', r.status, r.attempt, r.message);
END $$;
RESET ROLE;
SELECT triggerdo_test.advance('23 hours 59 min') IS NOT NULL AS clock;
SELECT app.await_attempt(:'run', 1);
SELECT triggerdo_test.advance('1 min') IS NOT NULL AS clock;
SELECT app.await_attempt(:'run', 2);
SELECT triggerdo_test.advance('3 days') IS NOT NULL AS clock;
SELECT app.await_attempt(:'run', 3);
SELECT triggerdo_test.advance('9 days') IS NOT NULL AS clock;
SELECT app.await_attempt(:'run', 4);
SELECT triggerdo_test.advance('10 days') IS NOT NULL AS clock;
SELECT app.await_attempt(:'run', 5);
SELECT attempt, status, retry_at - finished_at AS delay, finished_at - started_at AS took, error->>'message' AS message FROM triggerdo.attempts WHERE run_id = :'run' ORDER BY attempt;
SELECT finished_at - created_at AS in_all, attempt, output FROM triggerdo.runs WHERE run_id = :'run';

-- Many timers at once, after a long sleep.
SET ROLE app;
SELECT count(triggerdo.trigger_task('stamps', to_jsonb(i), delay => make_interval(hours => i))) FROM generate_series(1, 2000) i;
RESET ROLE;
SELECT triggerdo_test.advance('1000 hours') IS NOT NULL AS clock;
SELECT test.await_none_queued();
CREATE FUNCTION test.await_left(n bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE was bigint; until timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    LOOP
        was := (SELECT sum(queued + delayed + executing) FROM triggerdo.stats);
        IF was = n OR clock_timestamp() > until THEN RETURN was; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT test.await_left(1000);
SELECT triggerdo_test.advance('1000 hours') IS NOT NULL AS clock;
SELECT test.await_all_final();
SELECT count(*), bool_and(started_at >= delayed_until) AS in_time FROM triggerdo.runs WHERE task = 'stamps' AND payload <> '{}' AND status = 'COMPLETED';

-- A clock that goes back harms nothing: what is due later waits for its time again.
SET ROLE app;
SELECT triggerdo.trigger_task('stamps', delay => '1 hour') AS run \gset
RESET ROLE;
SELECT triggerdo_test.advance('-2 hours') IS NOT NULL AS clock;
SET ROLE app;
CALL triggerdo.trigger_and_wait('stamps', '{}', NULL) \gset
SELECT :'result'::jsonb->'ok' AS ok, (SELECT status FROM triggerdo.runs WHERE run_id = :'run') AS status;
RESET ROLE;
SELECT triggerdo_test.advance('3 hours') IS NOT NULL AS clock;
SELECT triggerdo.wait_for_run(:'run')->'ok' AS ok;
SELECT triggerdo_test.reset() - clock_timestamp() BETWEEN interval '-1 min' AND interval '1 min' AS real_time;
CALL triggerdo.trigger_and_wait('stamps', '{}', NULL) \gset
SELECT :'result'::jsonb->'ok' AS ok;
SELECT * FROM triggerdo.check_invariants();
