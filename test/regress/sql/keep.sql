-- options.keep: which final runs leave a history.

SET ROLE app;
-- fails as often as its payload says
CREATE FUNCTION app.keeps_fails(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT attempt FROM triggerdo.current_run()) <= (payload->>'fails')::int THEN RAISE 'failure'; END IF;
    RETURN payload;
END $$;
SELECT triggerdo.define_task('keep-' || k, 'app.keeps_fails', retry => triggerdo.retry_policy(3, 'none'), options => jsonb_build_object('keep', k))
  FROM unnest('{all,failed,none}'::text[]) k;
SELECT id, options FROM triggerdo.tasks WHERE id LIKE 'keep-%' ORDER BY id COLLATE "C";
SELECT k, test.error(format('SELECT triggerdo.define_task(%L, %L, options => %L)', 'keep-wrong', 'app.keeps_fails', k))
  FROM unnest(ARRAY['{"keep":"ALL"}', '{"keep":"fail"}', '{"keep":null}', '{"keep":true}', '{"keep":["all"]}']) k;

-- Run by executors: none, one and three attempts that fail. What is not kept leaves no row at all.
-- Red without: tdo_run_delete() in tdo_finish(), each half of its condition; delete_by_id() of the attempts in tdo_run_delete().
SELECT count(triggerdo.trigger_task(id, jsonb_build_object('fails', f))) FROM triggerdo.tasks, unnest('{0,1,3}'::int[]) f WHERE id LIKE 'keep-%';
SELECT test.await_all_final();
SELECT task, payload, status, attempt FROM triggerdo.runs WHERE task LIKE 'keep-%' ORDER BY task COLLATE "C", payload;
SELECT task, attempt, status FROM triggerdo.attempts WHERE task LIKE 'keep-%' ORDER BY task COLLATE "C", run_id, attempt;
RESET ROLE;
SELECT count(*) FROM _triggerdo.attempt a WHERE NOT EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id = a.run_id);
SELECT * FROM triggerdo.check_invariants();
SET ROLE app;

-- The other ends. run_now gives its object all the same; a cancelled run is no completed one.
-- Red without: tdo_keep() at each tdo_finish() of src/api_run.c, tdo_keep_by_id().
CREATE TEMP TABLE runs AS SELECT id AS task, triggerdo.trigger_task(id, '{"fails":0}', delay => '1 day') AS run FROM triggerdo.tasks WHERE id LIKE 'keep-%';
SELECT task, triggerdo.cancel_run(run) FROM runs ORDER BY task COLLATE "C";
SELECT task, status FROM triggerdo.runs WHERE run_id IN (SELECT run FROM runs) ORDER BY task COLLATE "C";
BEGIN;
SELECT task, triggerdo.run_now(run) - 'id' AS object FROM (SELECT id AS task, triggerdo.trigger_task(id, '{"fails":0}') AS run FROM triggerdo.tasks WHERE id LIKE 'keep-%' ORDER BY id COLLATE "C" OFFSET 0) x;
SELECT triggerdo.trigger_task('keep-none', '{"fails":2}') AS run \gset
SELECT triggerdo.run_now(:'run') #>> '{error,message}' AS first, triggerdo.run_now(:'run') #>> '{error,message}' AS second, triggerdo.run_now(:'run') - 'id' AS third;
SELECT test.error(format('SELECT triggerdo.run_now(%L)', :'run'));
SELECT task, payload, status, count(*) FROM triggerdo.runs WHERE task LIKE 'keep-%' GROUP BY 1, 2, 3 ORDER BY task COLLATE "C", payload, status;
COMMIT;

-- Who asks for it afterwards, or waits. Red without: is_live() in wait_loop().
SELECT triggerdo.trigger_task('keep-none', '{"fails":0}') AS run \gset
SELECT test.error(format('SELECT triggerdo.wait_for_run(%L)', :'run'));
SELECT f, test.error(format('SELECT triggerdo.%s(%L)', f, :'run')) FROM unnest('{run_result,wait_for_run,cancel_run}'::text[]) f;

-- trigger_and_wait always keeps its run's result. Red without: keep_result in tdo_sql_trigger_and_wait(), and in tdo_keep().
CALL triggerdo.trigger_and_wait('keep-none', '{"fails":0}', NULL) \gset
SELECT :'result'::jsonb - 'id' AS result, triggerdo.run_result((:'result'::jsonb->>'id')::uuid) AS kept;
CALL triggerdo.trigger_and_wait('keep-failed', '{"fails":1}', NULL) \gset
SELECT :'result'::jsonb - 'id' AS result, (SELECT attempt FROM triggerdo.runs WHERE run_id = (:'result'::jsonb->>'id')::uuid);

-- What counts is the definition at the end of the run; a task that was dropped keeps all.
SELECT triggerdo.trigger_task('keep-all', '{"fails":0,"later":1}', delay => '1 day') AS run \gset
SELECT triggerdo.define_task('keep-all', 'app.keeps_fails', options => '{"keep":"none"}');
SELECT triggerdo.cancel_run(:'run') AS canceled;
SELECT count(*) FROM triggerdo.runs WHERE run_id = :'run';
SELECT triggerdo.trigger_task('keep-none', '{"fails":0,"later":2}', delay => '1 day') AS run \gset
SELECT triggerdo.drop_task('keep-none');
SELECT triggerdo.cancel_run(:'run') AS canceled;
SELECT status FROM triggerdo.runs WHERE run_id = :'run';
RESET ROLE;
SET ROLE bob;
-- of another role by then: not that run's task
CREATE FUNCTION bob.nothing() RETURNS void LANGUAGE sql AS '';
RESET ROLE;
SET ROLE app;
SELECT triggerdo.trigger_task('keep-failed', '{"fails":0,"later":3}', delay => '1 day') AS run \gset
SELECT triggerdo.drop_task('keep-failed');
RESET ROLE;
SET ROLE bob;
SELECT triggerdo.define_task('keep-failed', 'bob.nothing', options => '{"keep":"none"}');
RESET ROLE;
SET ROLE app;
SELECT triggerdo.cancel_run(:'run') AS canceled;
SELECT status FROM triggerdo.runs WHERE run_id = :'run';
RESET ROLE;
SELECT * FROM triggerdo.check_invariants();
