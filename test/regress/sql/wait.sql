-- wait_for_run, trigger_and_wait, run_result: who may wait, where, and for how long.

SET ROLE app;
CREATE FUNCTION app.quick(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN RETURN payload; END';
CREATE FUNCTION app.fails_loudly(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'loudly' USING DETAIL = 'd', HINT = 'h', ERRCODE = '22012'; END $$;
SELECT triggerdo.define_task('quick', 'app.quick'), triggerdo.define_task('fails-loudly', 'app.fails_loudly');

-- A run of the own open transaction can never start. Red without: TransactionIdIsCurrentTransactionId() in tdo_sql_wait_for_run().
SELECT test.error($$SELECT triggerdo.wait_for_run(triggerdo.trigger_task('quick'))$$);
BEGIN;
SELECT triggerdo.trigger_task('quick') AS run \gset
SAVEPOINT s;
SELECT test.error(format('SELECT triggerdo.wait_for_run(%L)', :'run'));
SELECT triggerdo.trigger_task('quick') AS run2 \gset
RELEASE s;
SELECT test.error(format('SELECT triggerdo.wait_for_run(%L)', :'run2'));
SELECT triggerdo.run_result(:'run') IS NULL AS not_final;
COMMIT;
SELECT triggerdo.wait_for_run(:'run')->'ok' AS ok, triggerdo.wait_for_run(:'run2', NULL)->'ok' AS ok2;
-- inside a transaction that began before: the wait sees the commit of others; also under a frozen snapshot
SELECT triggerdo.trigger_task('quick', '1') AS run \gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) > 0 AS snapshot_taken FROM triggerdo.runs;
SELECT triggerdo.wait_for_run(:'run')->'output' AS output;
COMMIT;
BEGIN READ ONLY;
SELECT triggerdo.wait_for_run(:'run')->'output' AS output, triggerdo.run_result(:'run');
COMMIT;

-- NULL at the timeout, soon. Red without: left <= 0 in tdo_wait_until_final().
SELECT triggerdo.trigger_task('quick', delay => '1 day') AS delayed \gset
SELECT clock_timestamp() AS begin \gset
SELECT triggerdo.wait_for_run(:'delayed', '50 ms') IS NULL AS timed_out, triggerdo.wait_for_run(:'delayed', '0') IS NULL AS at_once, triggerdo.wait_for_run(:'delayed', '-1 day') IS NULL AS negative;
SELECT clock_timestamp() - :'begin' BETWEEN interval '50 ms' AND interval '5 s' AS in_time;
SELECT triggerdo.run_result(:'delayed') IS NULL AS not_final;
-- interrupts are served
SET statement_timeout = '50ms';
SELECT triggerdo.wait_for_run(:'delayed');
RESET statement_timeout;
SELECT triggerdo.cancel_run(:'delayed');
SELECT triggerdo.wait_for_run(:'delayed', '0') - 'id' AS canceled;
SELECT test.error(format('SELECT triggerdo.run_result(%L)', :'delayed'));

-- A run that is not there, and one that may not be seen: the same answer. Red without: tdo_may_read() in tdo_get_readable_run().
SELECT f, test.error(format('SELECT triggerdo.%s(%L)', f, id)) FROM unnest('{run_result,wait_for_run,cancel_run,run_now}'::text[]) f,
       unnest('{01900000-0000-7000-8000-000000000000,ffffffff-ffff-ffff-ffff-ffffffffffff,00000000-0000-0000-0000-000000000000}'::uuid[]) id ORDER BY f, id;
RESET ROLE;
SET ROLE bob;
SELECT f, test.error(format('SELECT triggerdo.%s(%L)', f, :'run')) FROM unnest('{run_result,wait_for_run,cancel_run}'::text[]) f ORDER BY f;
RESET ROLE;
SET ROLE carol;
SELECT triggerdo.wait_for_run(:'run')->'output' AS member, triggerdo.run_result(:'run');
RESET ROLE;
SET ROLE app;
SELECT test.error('SELECT triggerdo.wait_for_run(NULL)'), test.error('SELECT triggerdo.run_result(NULL)'), test.error('SELECT triggerdo.cancel_run(NULL)');

-- trigger_and_wait: outside a transaction block only. Red without: require_top_level() in src/api_trigger.c.
CALL triggerdo.trigger_and_wait('quick', '{"a":1}', NULL) \gset
SELECT :'result'::jsonb - 'id' AS result;
CALL triggerdo.trigger_and_wait('fails-loudly', '{}', NULL) \gset
SELECT :'result'::jsonb - 'id' #- '{error,context}' #- '{error,stackTrace}' AS result;
CALL triggerdo.trigger_and_wait(task => 'quick', payload => NULL, result => NULL, options => '{"tags":["t"],"maxAttempts":2,"delay":"0.01 s"}') \gset
SELECT :'result'::jsonb->'output' AS output, tags, max_attempts, delayed_until > created_at AS delayed FROM triggerdo.runs WHERE run_id = (:'result'::jsonb->>'id')::uuid;
CALL triggerdo.trigger_and_wait('quick', '1', '"ignored"', NULL, NULL) \gset
SELECT :'result'::jsonb->'output' AS output;
SELECT count(*) AS before FROM triggerdo.runs \gset
BEGIN;
CALL triggerdo.trigger_and_wait('quick', '{}', NULL);
ROLLBACK;
CREATE FUNCTION app.waits_fn() RETURNS jsonb LANGUAGE plpgsql AS $$ DECLARE r jsonb; BEGIN CALL triggerdo.trigger_and_wait('quick', '{}', r); RETURN r; END $$;
SELECT test.error('SELECT app.waits_fn()');
SELECT app.waits_fn();
DO $$ DECLARE r jsonb; BEGIN BEGIN CALL triggerdo.trigger_and_wait('quick', '{}', r); EXCEPTION WHEN division_by_zero THEN NULL; END; END $$;
SELECT 1 \; CALL triggerdo.trigger_and_wait('quick', '{}', NULL);
CALL triggerdo.trigger_and_wait(NULL, '{}', NULL);
CALL triggerdo.trigger_and_wait('no such task', '{}', NULL);
CALL triggerdo.trigger_and_wait('quick', '{}', NULL, '{"nope":1}');
CALL triggerdo.trigger_and_wait('quick', '{}', NULL, '{"queue":"q"}');
CALL triggerdo.trigger_and_wait('quick', '{}', NULL, name => 'n');
SET default_transaction_read_only = on;
CALL triggerdo.trigger_and_wait('quick', '{}', NULL);
RESET default_transaction_read_only;
SELECT count(*) - :before AS written FROM triggerdo.runs;
-- a DO block, or a procedure of one's own, outside a transaction block may commit, and so may call it
DO $$ DECLARE r jsonb; BEGIN CALL triggerdo.trigger_and_wait('quick', '"in DO"', r); RAISE NOTICE '%', r->'output'; CALL triggerdo.trigger_and_wait('quick', '"twice"', r); RAISE NOTICE '%', r->'output'; END $$;
CREATE PROCEDURE app.waits_proc(INOUT a jsonb) LANGUAGE plpgsql AS $$ BEGIN CALL triggerdo.trigger_and_wait('quick', '"in a procedure"', a); END $$;
CALL app.waits_proc(NULL) \gset
SELECT :'a'::jsonb->'output' AS output;
-- a stranger may not
RESET ROLE;
SET ROLE bob;
CALL triggerdo.trigger_and_wait('quick', '{}', NULL);
RESET ROLE;
-- the wait holds no snapshot and no transaction id
SELECT backend_xid IS NULL AS no_xid FROM pg_stat_activity WHERE pid = pg_backend_pid();
SELECT * FROM triggerdo.check_invariants();
