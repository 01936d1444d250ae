-- The end of history: purge() and triggerdo.retention, on the test clock.

ALTER SYSTEM SET triggerdo.executors = 0;
ALTER SYSTEM SET triggerdo.retention = 0;
ALTER SYSTEM SET triggerdo.partitions_ahead = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
CREATE FUNCTION test.runs() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(payload->>'n', ' ' ORDER BY run_id) FROM triggerdo.runs WHERE task = 'history' $$;
-- the days that have partitions, up to the clock's
CREATE FUNCTION test.days() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(to_char(substr(relname, 5)::date, 'Mon DD'), ', ' ORDER BY relname) FROM pg_class
     WHERE relnamespace = '_triggerdo'::regnamespace AND relispartition AND relname ~ '^run_2035' AND relkind = 'r'
       AND substr(relname, 5)::date <= triggerdo_test.now() $$;
CREATE FUNCTION test.await_dropped(day text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE until timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    WHILE EXISTS (SELECT FROM pg_class WHERE relnamespace = '_triggerdo'::regnamespace AND relname IN ('run_' || day, 'result_' || day, 'attempt_' || day)) LOOP
        IF clock_timestamp() > until THEN RETURN false; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN true;
END $$;
CREATE FUNCTION test.clock(by interval) RETURNS timestamptz LANGUAGE sql AS $$ SELECT triggerdo_test.advance(by) $$;
SET ROLE app;
CREATE FUNCTION app.past(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF payload ? 'fails' AND (SELECT attempt FROM triggerdo.current_run()) = 1 THEN RAISE 'first'; END IF;
    RETURN payload;
END $$;
SELECT triggerdo.define_task('history', 'app.past', retry => triggerdo.retry_policy(2, 'none'));
-- one run, done at once
CREATE FUNCTION app.one(n text) RETURNS jsonb LANGUAGE sql AS $$ SELECT triggerdo.run_now(triggerdo.trigger_task('history', jsonb_build_object('n', n)))->'ok' $$;
RESET ROLE;
SELECT triggerdo_test.freeze() IS NOT NULL AS frozen, triggerdo_test.set_time('2035-01-01 12:00+00');
-- what other tests have left
SELECT triggerdo.purge('0') > 0 AS some;

-- Who may, and what is no interval of time. Red without: require_admin(), tdo_require_arg() and the comparison in tdo_sql_purge().
SELECT a, test.error('SELECT triggerdo.purge(' || a || ')') FROM unnest(ARRAY['NULL', $$'-1 s'$$, $$'1 day -25 hours'$$, $$'300000 years'$$, '']) a;
SET ROLE app;
SELECT test.error($$SELECT triggerdo.purge('1 day')$$);
RESET ROLE;
BEGIN READ ONLY;
SELECT test.error($$SELECT triggerdo.purge('1 day')$$);
COMMIT;

-- Three days. On the first: a, b (failed once), c (waits for ten days); d, e on the second; f at noon of the third, g in its evening.
SET ROLE app;
SELECT app.one('a');
SELECT triggerdo.trigger_task('history', '{"n":"b","fails":1}') AS b, triggerdo.trigger_task('history', '{"n":"c"}', delay => '10 days') AS c \gset
SELECT triggerdo.run_now(:'b')->'ok' AS first, triggerdo.run_now(:'b')->'ok' AS second;
SELECT test.clock('1 day'), app.one('d'), app.one('e');
SELECT test.clock('1 day'), app.one('f');
SELECT test.clock('6 hours'), app.one('g');
RESET ROLE;
SELECT test.days(), test.runs(), (SELECT count(*) FROM triggerdo.attempts WHERE task = 'history') AS attempts;
SELECT triggerdo.purge('3 days'), triggerdo.purge('1000 years');
-- a day that something live points into loses rows only. Red without: tdo_live_in_day() in is_old(), drop_whole().
SELECT triggerdo.purge('36 hours');
SELECT test.days(), test.runs(), (SELECT count(*) FROM triggerdo.attempts WHERE task = 'history') AS attempts;
SELECT triggerdo.purge('36 hours');
SELECT * FROM triggerdo.check_invariants();
-- a whole day goes as a whole, of another what is old enough; with the transaction
BEGIN;
SELECT triggerdo.purge('2 hours');
SELECT test.days(), test.runs();
ROLLBACK;
SELECT test.days(), test.runs();
SELECT triggerdo.purge('2 hours');
SELECT test.days(), test.runs();
SELECT test.error(format('SELECT triggerdo.run_result(%L)', :'b'));
-- the end counts, not the beginning: c is of the first day. Red without: results_are_old() in is_old().
SELECT test.clock('8 days');
SELECT test.await_status(:'c', 'QUEUED');
SET ROLE app;
SELECT triggerdo.run_now(:'c')->'ok' AS c;
RESET ROLE;
SELECT triggerdo.purge('1 day');
SELECT test.days(), test.runs();
-- in a query that reads the history: rows then, because the partitions are in use. Red without: ERRCODE_OBJECT_IN_USE in drop_whole().
SELECT test.clock('2 days');
SELECT payload, triggerdo.purge('1 day') AS purged FROM triggerdo.runs WHERE task = 'history';
SELECT test.days(), test.runs();
-- and in one transaction with what it removes; a frozen snapshot does not keep it from what ended since
SET ROLE app;
SELECT app.one('h');
RESET ROLE;
SELECT test.clock('1 day');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.runs();
SELECT triggerdo.purge('0'), triggerdo.purge('0');
COMMIT;
SELECT test.days(), test.runs();
SELECT * FROM triggerdo.check_invariants();

-- Retention: days that are old, the oldest first; not one that something live points into, nor one in which a run has ended lately.
-- Red without: tdo_history_look() in look(); tdo_live_in_day() and results_are_old() in judge().
-- The scheduler has looked at everything since: it has fired a timer, and then another one.
CREATE PROCEDURE test.await_look() LANGUAGE plpgsql AS $$
DECLARE run uuid; until timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    FOR i IN 1 .. 2 LOOP
        run := triggerdo.trigger_task('history', '{}', delay => '1 s');
        COMMIT;
        PERFORM triggerdo_test.advance('1 s');
        WHILE (SELECT status FROM triggerdo.runs WHERE run_id = run) = 'DELAYED' AND clock_timestamp() < until LOOP
            COMMIT;
            PERFORM pg_sleep(0.005);
        END LOOP;
        PERFORM triggerdo.cancel_run(run);
        COMMIT;
    END LOOP;
END $$;
SELECT triggerdo_test.set_time('2035-02-01 12:00+00');
SET ROLE app;
SELECT triggerdo.trigger_task('history', '{"n":"waits"}', delay => '20 days') AS waits \gset
SELECT app.one('with it');
SELECT test.clock('1 day'), app.one('i');
SELECT test.clock('1 day'), app.one('j');
RESET ROLE;
ALTER SYSTEM SET triggerdo.retention = '2d';
SELECT pg_reload_conf();
SELECT triggerdo_test.set_time('2035-02-04 23:59:57+00');
CALL test.await_look();
SELECT triggerdo_test.now(), test.days();
SELECT test.clock('1 min');
SELECT test.await_dropped('20350202');
CALL test.await_look();
SELECT test.days(), test.runs();
SELECT test.clock('1 day');
SELECT test.await_dropped('20350203');
SELECT test.days(), test.runs();
-- it ends on the 21st, at 13:00
SELECT triggerdo_test.set_time('2035-02-21 11:00+00');
SET ROLE app;
SELECT app.one('k');
SELECT test.clock('2 hours');
SELECT test.await_status(:'waits', 'QUEUED');
SELECT triggerdo.run_now(:'waits')->'ok' AS waited;
RESET ROLE;
SELECT triggerdo_test.set_time('2035-02-23 12:59:30+00');
CALL test.await_look();
SELECT test.days(), test.runs();
SELECT test.clock('1 min');
SELECT test.await_dropped('20350201');
SELECT test.days(), test.runs();
-- 0: for ever
ALTER SYSTEM SET triggerdo.retention = 0;
SELECT pg_reload_conf();
\c -
SELECT triggerdo_test.set_time('2036-01-01 00:00+00');
CALL test.await_look();
SELECT test.days(), test.runs();
SELECT triggerdo.purge('0');
SELECT * FROM triggerdo.check_invariants();

ALTER SYSTEM RESET triggerdo.retention;
ALTER SYSTEM RESET triggerdo.executors;
ALTER SYSTEM RESET triggerdo.partitions_ahead;
SELECT triggerdo_test.reset() IS NOT NULL AS real_time;
SELECT pg_reload_conf();
