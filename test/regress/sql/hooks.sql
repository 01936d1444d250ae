-- Hooks and catch_error. What ends processes, and who races whom: test/t/060_hooks.pl, spec hooks-cancel.

SET ROLE app;
CREATE TABLE app.hook_log (n serial, run uuid, hook text, status text, run_row jsonb, more jsonb, txid xid8 DEFAULT pg_current_xact_id(), by name DEFAULT current_user);
GRANT USAGE ON SCHEMA app TO bob;
CREATE FUNCTION app.note(run jsonb, hook text, more jsonb DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    INSERT INTO app.hook_log (run, hook, status, run_row, more) VALUES ((run->>'run_id')::uuid, hook, run->>'status', run, more) $$;
CREATE FUNCTION app.h_start(run jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM app.note(run, 'on_start');
    IF run->'payload' ? 'start_fails' THEN RAISE 'start failed'; END IF; END $$;
CREATE FUNCTION app.h_success(run jsonb) RETURNS void LANGUAGE sql AS $$ SELECT app.note(run, 'on_success') $$;
CREATE FUNCTION app.h_failure(run jsonb) RETURNS void LANGUAGE sql AS $$ SELECT app.note(run, 'on_failure') $$;
CREATE FUNCTION app.h_cancel(run jsonb) RETURNS void LANGUAGE sql AS $$ SELECT app.note(run, 'on_cancel') $$;
CREATE FUNCTION app.h_complete(run jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM app.note(run, 'on_complete'); END $$;
-- fails as often as its payload says, and has an effect of its own
CREATE FUNCTION app.hooked(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.hook_log (run, hook) SELECT run_id, 'body' FROM triggerdo.current_run();
    IF (SELECT attempt FROM triggerdo.current_run()) <= (payload->>'fails')::int THEN RAISE 'failure' USING ERRCODE = 'HK001'; END IF;
    IF payload ? 'abort' THEN PERFORM triggerdo.abort_run('for good'); END IF;
    IF payload ? 'sleep' THEN PERFORM pg_sleep(600); END IF;
    RETURN payload->'gives';
END $$;
SELECT triggerdo.define_task('hooked', 'app.hooked', retry => triggerdo.retry_policy(2, 'none'),
    on_start => 'app.h_start', on_success => 'app.h_success', on_failure => 'app.h_failure(jsonb)', on_complete => 'app.h_complete', on_cancel => 'app.h_cancel');
SELECT jsonb_pretty(hooks) FROM triggerdo.tasks WHERE id = 'hooked';

-- What define_task refuses. Red without: tdo_hooks_define(), check_shape() and check_rights() in src/hook.c.
CREATE FUNCTION app.h_wrong(run jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT run';
CREATE FUNCTION app.h_set(run jsonb) RETURNS SETOF void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.h_text(run text) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE PROCEDURE app.h_procedure(run jsonb) LANGUAGE sql AS 'SELECT';
CREATE FUNCTION pg_temp.h_temporary(run jsonb) RETURNS void LANGUAGE sql AS 'SELECT';
SELECT h, test.error(format('SELECT triggerdo.define_task(%L, %L, %s => %L)', 'hook-wrong', 'app.hooked', split_part(h, ' ', 1), split_part(h, ' ', 2)))
  FROM unnest(ARRAY['on_start app.h_missing', 'on_success app.h_wrong', 'on_failure app.h_set', 'on_complete app.h_text', 'on_cancel app.h_procedure',
    'on_cancel app.h_text(text)', 'catch_error app.h_wrong', 'catch_error app.h_success', 'on_start pg_temp.h_temporary', 'on_start nowhere.f', 'on_start app.h_start(']) h;
SELECT count(*) FROM triggerdo.tasks WHERE id = 'hook-wrong';
RESET ROLE;
REVOKE EXECUTE ON FUNCTION app.h_success(jsonb) FROM PUBLIC;
SET ROLE bob;
CREATE FUNCTION bob.idle(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
SELECT test.error($$SELECT triggerdo.define_task('hook-bob', 'bob.idle', on_success => 'app.h_success')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION app.h_success(jsonb) TO PUBLIC;
SET ROLE app;

-- The order, once each; on_start and body of the first attempt are rolled back apart; a failed attempt that is retried ends nothing.
-- Red without: tdo_start_hook()'s subtransaction, attempt == 1 in tdo_execute(), each case of tdo_hooks_due().
CREATE FUNCTION app.hook_story(which uuid) RETURNS TABLE (story text, transactions bigint, by name) LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', hook, status), ', ' ORDER BY n), count(DISTINCT txid), min(by) FROM app.hook_log WHERE run = which $$;
CREATE TEMP TABLE stories AS SELECT p AS payload, triggerdo.trigger_task('hooked', p) AS run
  FROM unnest('{"{\"gives\":1}","{\"fails\":1,\"gives\":{\"a\":1}}","{\"fails\":2}","{\"abort\":1}","{\"start_fails\":1}"}'::jsonb[]) p;
SELECT test.await_all_final();
SELECT stories.payload, status, attempt, error->>'message' AS error, s.* FROM stories JOIN triggerdo.runs r ON r.run_id = run, LATERAL app.hook_story(run) s ORDER BY run;

-- What a hook is shown is the row of the view as it is afterwards: the same keys, the same values. Red without: any line of tdo_hook_run().
CREATE TEMP TABLE shown AS SELECT triggerdo.trigger_task('hooked', '{"gives":{"a":[1,"x"]}}', tags => '{t1,"t 2"}', metadata => '{"m":1}', max_attempts => 5) AS run;
SELECT test.await_all_final();
INSERT INTO shown SELECT run FROM stories;
SET intervalstyle = postgres;
SELECT hook, count(*), count(*) FILTER (WHERE run_row = to_jsonb(r)) AS equal,
       jsonb_agg(DISTINCT d.key) FILTER (WHERE d.key IS NOT NULL) AS different
  FROM shown JOIN app.hook_log l USING (run) JOIN triggerdo.runs r ON r.run_id = run
  LEFT JOIN LATERAL (SELECT coalesce(a.key, b.key) AS key FROM jsonb_each(run_row) a FULL JOIN jsonb_each(to_jsonb(r)) b USING (key) WHERE a.value IS DISTINCT FROM b.value) d ON true
 WHERE hook <> 'body' GROUP BY hook ORDER BY hook COLLATE "C";

-- Ends that others make: a cancel in a session queues the hook, and an executor calls it. Red without: tdo_hooks_queue() in tdo_finish(), tdo_wake_hook().
SELECT triggerdo.trigger_task('hooked', '{}', delay => '1 day') AS run \gset
SELECT triggerdo.trigger_task('hooked', '{"sleep":1}') AS executing \gset
SELECT test.await_status(:'executing', 'EXECUTING');
BEGIN;
SELECT triggerdo.cancel_run(:'run', 'enough');
SELECT task, hook, function, state, attempt, tries, error FROM triggerdo.hooks ORDER BY hook COLLATE "C";
COMMIT;
CREATE FUNCTION app.await_no_queued() RETURNS bool LANGUAGE plpgsql AS $$
DECLARE until timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    WHILE EXISTS (SELECT FROM triggerdo.hooks WHERE state = 'queued') AND clock_timestamp() < until LOOP PERFORM pg_sleep(0.005); END LOOP;
    RETURN NOT EXISTS (SELECT FROM triggerdo.hooks WHERE state = 'queued');
END $$;
SELECT app.await_no_queued();
SELECT story, by FROM app.hook_story(:'run');
SELECT run_row = to_jsonb(r) AS equal, run_row #>> '{error,message}' AS error FROM app.hook_log l JOIN triggerdo.runs r ON r.run_id = run WHERE run = :'run' AND hook = 'on_cancel';
-- The executor's own end of a run that is cancelled in its middle: in its transaction.
SELECT triggerdo.cancel_run(:'executing', 'stop it');
SELECT story, transactions FROM app.hook_story(:'executing');
SELECT triggerdo.trigger_task('hooked', '{"sleep":1}', max_duration => '0.2 s') AS run \gset
SELECT triggerdo.wait_for_run(:'run') #>> '{error,name}' AS error;
SELECT story, transactions FROM app.hook_story(:'run');

-- Errors of hooks are kept, and change nothing; they are those of the function that is there at that time.
-- Red without: keep_error() in tdo_hooks_call(), end_with_error(), tdo_hook_resolve() in prepare_hook().
CREATE FUNCTION app.h_bad(run jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO app.hook_log (run, hook) VALUES ((run->>'run_id')::uuid, 'undone');
    RAISE 'bad hook' USING ERRCODE = 'HK002', HINT = 'a hint'; END $$;
SELECT triggerdo.define_task('hook-bad', 'app.hooked', on_success => 'app.h_bad', on_failure => 'app.h_bad', on_cancel => 'app.h_bad', on_complete => 'app.h_complete');
CREATE TEMP TABLE bad AS SELECT p AS payload, triggerdo.trigger_task('hook-bad', p, delay => CASE WHEN p ? 'cancel' THEN interval '1 day' END) AS run
  FROM unnest('{"{\"gives\":1}","{\"fails\":2}","{\"cancel\":1}"}'::jsonb[]) p;
SELECT triggerdo.cancel_run(run) FROM bad WHERE payload ? 'cancel';
SELECT test.await_all_final(), app.await_no_queued();
SELECT b.payload, r.status, story, h.hook, h.function, h.state, h.attempt, h.error->>'message' AS error, h.error->>'sqlstate' AS sqlstate, h.error->>'hint' AS hint
  FROM bad b JOIN triggerdo.runs r ON r.run_id = run, LATERAL app.hook_story(run), triggerdo.hooks h WHERE h.run_id = run ORDER BY run;
-- replaced, changed into what is no hook, dropped
CREATE OR REPLACE FUNCTION app.h_bad(run jsonb) RETURNS void LANGUAGE sql AS $$ SELECT app.note(run, 'replaced') $$;

CREATE FUNCTION app.hook_now(task text, payload jsonb, OUT story text, OUT error text) LANGUAGE plpgsql AS $$
DECLARE run uuid; BEGIN
    run := triggerdo.trigger_task(task, payload);
    PERFORM triggerdo.run_now(run);
    story := (SELECT s.story FROM app.hook_story(run) s);
    error := (SELECT string_agg(concat_ws(' ', hook, h.error->>'sqlstate', h.error->>'message'), ', ') FROM triggerdo.hooks h WHERE run_id = run);
END $$;
SELECT * FROM app.hook_now('hook-bad', '{"gives":2}');
DROP FUNCTION app.h_bad;
SELECT * FROM app.hook_now('hook-bad', '{"gives":3}');
CREATE FUNCTION app.h_bad(run jsonb) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT * FROM app.hook_now('hook-bad', '{"gives":4}');
DROP FUNCTION app.h_bad;
-- who may read the run may read its hooks' errors, and nobody else
RESET ROLE;
SET ROLE bob;
SELECT count(*) FROM triggerdo.hooks;
RESET ROLE;
SET ROLE carol;
SELECT count(*) > 0 AS carol FROM triggerdo.hooks;
RESET ROLE;
SET ROLE app;

-- catch_error decides after an attempt that failed and may be tried again. Red without: each branch of read_answer(), catch_error_failed().
CREATE FUNCTION app.h_catch(run jsonb, error jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
    PERFORM app.note(run, 'catch_error', error);
    IF run->'payload' ? 'raise' THEN RAISE 'catch failed' USING ERRCODE = 'HK003'; END IF;
    RETURN run->'payload'->'answer'; END $$;
SELECT triggerdo.define_task('hook-catch', 'app.hooked', retry => triggerdo.retry_policy(3, 'none'), catch_error => 'app.h_catch', on_failure => 'app.h_failure');
CREATE TEMP TABLE caught AS SELECT n, p AS payload, triggerdo.trigger_task('hook-catch', p) AS run
  FROM unnest(ARRAY['{"fails":1}', '{"fails":9}', '{"fails":9,"answer":{"skipRetrying":true,"error":"said so"}}', '{"fails":1,"answer":{"skipRetrying":false}}',
    '{"fails":9,"answer":{"error":{"name":"MyError","message":"mine","sqlstate":"MY001"}}}', '{"fails":1,"answer":{"retryDelayInMs":0}}', '{"fails":1,"answer":{"retryAt":"2000-01-01T00:00:00Z"}}',
    '{"abort":1}', '{"fails":9,"raise":1}', '{"fails":9,"answer":[]}', '{"fails":9,"answer":{"retryAt":5}}', '{"fails":9,"answer":{"retryAt":"soon"}}', '{"fails":9,"answer":{"retryDelayInMs":-1}}',
    '{"fails":9,"answer":{"error":1}}', '{"fails":9,"answer":{"again":true}}', '{"fails":9,"answer":{"error":{"sqlstate":"x"}}}', '{"fails":9,"answer":{"skipRetrying":1}}']::jsonb[]) WITH ORDINALITY x(p, n);
SELECT test.await_all_final();
SELECT n, c.payload, status, attempt, error->>'name' AS name, error->>'message' AS message, error->>'sqlstate' AS sqlstate, error->>'detail' AS detail,
       (SELECT count(*) FROM app.hook_log l WHERE l.run = c.run AND hook = 'catch_error') AS asked
  FROM caught c JOIN triggerdo.runs r ON r.run_id = run ORDER BY n;
SELECT run_row->>'status' AS status, run_row->'attempt' AS attempt, run_row->'max_attempts' AS max_attempts, run_row #> '{error,message}' AS earlier, more->>'message' AS error, more->>'sqlstate' AS sqlstate
  FROM app.hook_log l JOIN caught c USING (run) WHERE c.n = 2 AND hook = 'catch_error' ORDER BY l.n;
SELECT triggerdo.trigger_task('hook-catch', '{"fails":1,"answer":{"retryDelayInMs":86400000}}') AS run \gset
SELECT test.await_status(:'run', 'DELAYED');
SELECT retry_at - finished_at BETWEEN '23:59:00' AND '24:00:00' AS tomorrow FROM triggerdo.attempts WHERE run_id = :'run';
SELECT triggerdo.cancel_run(:'run');
-- retry_run_at's own time is the default that catch_error may overrule; serialization failures are no failed attempts
SELECT status, error->>'message' AS error FROM triggerdo.runs WHERE run_id = :'run';

-- run_now: all of it in the caller's transaction, undone with it; the errors, too.
BEGIN;
SELECT * FROM app.hook_now('hooked', '{"gives":5}');
SELECT triggerdo.trigger_task('hook-catch', '{"fails":9,"answer":{"error":"now","skipRetrying":true}}') AS run \gset
SELECT triggerdo.run_now(:'run') #>> '{error,message}' AS error;
SELECT story, transactions FROM app.hook_story(:'run');
ROLLBACK;
SELECT count(*) FROM app.hook_log WHERE run = :'run';

-- Inside a hook: current_run() is the run, what it triggers is its child, and it may not wait or cancel itself; what it leaves in its session goes.
CREATE FUNCTION app.h_inside(run jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE c record; child uuid;
BEGIN
    SELECT * INTO c FROM triggerdo.current_run();
    child := triggerdo.trigger_task('hook-child', '{}');
    SET work_mem = '123kB';
    PERFORM app.note(run, 'inside', jsonb_build_object('same', c.run_id::text = run->>'run_id', 'task', c.task, 'attempt', c.attempt, 'max_attempts', c.max_attempts,
        'payload', c.payload, 'tags', c.tags, 'metadata', c.metadata, 'child', child));
END $$;
CREATE FUNCTION app.h_after(run jsonb) RETURNS void LANGUAGE sql AS $$ SELECT app.note(run, 'after', jsonb_build_object('work_mem', current_setting('work_mem'))) $$;
SELECT triggerdo.define_task('hook-child', 'app.hooked', options => '{"keep":"all"}');
SELECT triggerdo.define_task('hook-inside', 'app.hooked', retry => triggerdo.retry_policy(4), on_success => 'app.h_inside', on_cancel => 'app.h_inside', on_complete => 'app.h_after');
SELECT triggerdo.trigger_task('hook-inside', '{"gives":1}', tags => '{a}', metadata => '{"b":2}') AS run \gset
SELECT triggerdo.trigger_task('hook-inside', '{"c":1}', delay => '1 day', tags => '{d,e}') AS canceled \gset
SELECT triggerdo.cancel_run(:'canceled');
SELECT test.await_all_final(), app.await_no_queued();
SELECT test.await_all_final();
SELECT hook, more - 'child' AS more, r.parent_run_id = l.run AND r.root_run_id = l.run AND r.status = 'COMPLETED' AS child
  FROM app.hook_log l LEFT JOIN triggerdo.runs r ON r.run_id = (more->>'child')::uuid WHERE l.run IN (:'run', :'canceled') AND hook <> 'body' ORDER BY l.run, l.n;

-- Of a run that leaves no history hooks see what it was; what fails goes to the log. Red without: the order of tdo_hooks_due() and tdo_run_delete().
SELECT triggerdo.define_task('hook-none', 'app.hooked', on_success => 'app.h_success', on_failure => 'app.h_inside', on_cancel => 'app.h_inside', options => '{"keep":"none"}');
SELECT triggerdo.trigger_task('hook-none', '{"gives":{"kept":false}}') AS run \gset
SELECT triggerdo.trigger_task('hook-none', '{"fails":9}') AS failed \gset
SELECT triggerdo.trigger_task('hook-none', '{"c":1}', delay => '1 day', tags => '{d,e}') AS canceled \gset
SELECT triggerdo.cancel_run(:'canceled');
SELECT test.await_all_final(), app.await_no_queued();
SELECT hook, status, run_row->'output' AS output, run_row #> '{error,message}' AS error, more - 'child' AS more FROM app.hook_log WHERE run IN (:'run', :'failed', :'canceled') AND hook <> 'body' ORDER BY run, n;
SELECT count(*) FROM triggerdo.runs WHERE run_id IN (:'run', :'failed', :'canceled');
CREATE FUNCTION app.h_error(run jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'for the log'; END $$;
SELECT triggerdo.define_task('hook-none', 'app.hooked', on_success => 'app.h_error', on_cancel => 'app.h_error', options => '{"keep":"none"}');
SELECT triggerdo.trigger_task('hook-none', '{"gives":1}') AS run \gset
SELECT triggerdo.trigger_task('hook-none', '{"c":1}', delay => '1 day') AS canceled \gset
SELECT triggerdo.cancel_run(:'canceled');
SELECT test.await_all_final(), app.await_no_queued();
SELECT count(*) FROM triggerdo.hooks WHERE run_id IN (:'run', :'canceled');

-- Deferred triggers of a hook cannot undo the end of the run; those of other runs in the batch, and constraints' modes, are as they would be without hooks.
-- Red without: tdo_hooks_put_off() in run_alone(), commit_failed() and record_outside() (it would be FAILED, or turn for ever), commit_failed() in src/hook_run.c.
CREATE TABLE app.h_parent (id int PRIMARY KEY);
CREATE TABLE app.h_child_row (id int REFERENCES app.h_parent DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION app.h_orphan(run jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    PERFORM app.note(run, 'orphan');
    IF run->'payload' ? 'orphan' THEN INSERT INTO app.h_child_row VALUES (-1); END IF; END $$;
CREATE FUNCTION app.child_first(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
    IF payload ? 'n' THEN
        INSERT INTO app.h_child_row VALUES ((payload->>'n')::int);
        INSERT INTO app.h_parent VALUES ((payload->>'n')::int);
    END IF;
    IF payload ? 'fails' THEN INSERT INTO app.h_child_row VALUES (-2); END IF;
    RETURN payload; END $$;
SELECT triggerdo.define_task('hook-orphan', 'app.child_first', on_start => 'app.h_start', on_success => 'app.h_orphan', on_failure => 'app.h_orphan', on_complete => 'app.h_complete');
CREATE TEMP TABLE orphans AS SELECT p AS payload, triggerdo.trigger_task('hook-orphan', p) AS run
  FROM (SELECT jsonb_build_object('n', i) || CASE i WHEN 5 THEN '{"orphan":1}' WHEN 7 THEN '{"fails":1}' WHEN 9 THEN '{"fails":1,"orphan":1}' ELSE '{}' END::jsonb AS p FROM generate_series(1, 12) i) x;
SELECT test.await_all_final(), app.await_no_queued();
SELECT o.payload - 'n' AS payload, status, story, r.error->>'sqlstate' AS sqlstate, count(*), h.hook, h.error->>'sqlstate' AS kept
  FROM orphans o JOIN triggerdo.runs r ON r.run_id = run CROSS JOIN LATERAL app.hook_story(run) LEFT JOIN triggerdo.hooks h ON h.run_id = run GROUP BY 1, 2, 3, 4, 6, 7 ORDER BY 1, 6;
SELECT count(*) FROM app.h_child_row;

-- Procedures and commands: on_start in a transaction of its own, once; a procedure's end in its last transaction; a command's hooks, and those of one that commits by itself, from the queue.
CREATE PROCEDURE app.hooked_p(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := app.hooked(payload); END $$;
CREATE PROCEDURE app.hooked_c(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN COMMIT; result := app.hooked(payload); END $$;
SELECT triggerdo.define_task(x, run => r, command => c, options => o, retry => triggerdo.retry_policy(2, 'none'), on_start => 'app.h_start', on_success => 'app.h_success',
    on_failure => 'app.h_failure', on_complete => 'app.h_complete', on_cancel => 'app.h_cancel', catch_error => 'app.h_catch')
  FROM (VALUES ('hook-procedure', 'app.hooked_p', NULL, '{}'::jsonb), ('hook-commits', 'app.hooked_c', NULL, '{"ownCommits":true}'), ('hook-command', NULL, 'SELECT app.hooked(payload) FROM triggerdo.current_run()', '{}')) t(x, r, c, o);
CREATE TEMP TABLE durables AS SELECT t AS task, p AS payload, triggerdo.trigger_task(t, p) AS run
  FROM unnest('{hook-procedure,hook-commits,hook-command}'::text[]) t, unnest('{"{\"gives\":1}","{\"fails\":1}","{\"fails\":2}","{\"abort\":1}","{\"start_fails\":1}"}'::jsonb[]) p;
SELECT test.await_all_final(), app.await_no_queued();
SELECT task, d.payload, status, attempt, story, transactions FROM durables d JOIN triggerdo.runs r USING (task) CROSS JOIN LATERAL app.hook_story(d.run) WHERE r.run_id = d.run ORDER BY task COLLATE "C", r.run_id;
CREATE TEMP TABLE stopped AS SELECT t AS task, triggerdo.trigger_task(t, '{"sleep":1}') AS run FROM unnest('{hook-procedure,hook-commits,hook-command}'::text[]) t;
SELECT task, test.await_status(run, 'EXECUTING') FROM stopped;
SELECT task, triggerdo.cancel_run(run) FROM stopped;
SELECT test.await_all_final(), app.await_no_queued();
SELECT task, story FROM stopped, app.hook_story(run) ORDER BY task COLLATE "C";
CREATE PROCEDURE app.orphan_p(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN PERFORM app.child_first(payload); END $$;
SELECT triggerdo.define_task('hook-orphan-p', 'app.orphan_p', on_success => 'app.h_orphan', on_complete => 'app.h_complete');
SELECT triggerdo.trigger_task('hook-orphan-p', '{"n":100,"orphan":1}') AS run \gset
SELECT test.await_all_final(), app.await_no_queued();
SELECT status, story, h.hook, h.error->>'sqlstate' AS kept FROM triggerdo.runs r, app.hook_story(:'run'), triggerdo.hooks h WHERE r.run_id = :'run' AND h.run_id = :'run';

-- Many short runs share transactions with their hooks.
SELECT count(triggerdo.trigger_task('hooked', '{"gives":0}')) FROM generate_series(1, 500);
SELECT test.await_all_final();
SELECT hook, count(DISTINCT run) FROM app.hook_log JOIN triggerdo.runs r ON r.run_id = run WHERE r.payload = '{"gives":0}' GROUP BY hook ORDER BY hook COLLATE "C";

-- A run that meets a serialization failure beside others, which are committed, is done again with its on_start. Red without: tdo_sub_rollback() in execute_attempt().
CREATE SEQUENCE app.h_contended;
CREATE FUNCTION app.contended(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
    IF payload ? 'contended' AND nextval('app.h_contended') = 1 THEN RAISE 'again' USING ERRCODE = '40001'; END IF;
    RETURN payload; END $$;
SELECT triggerdo.define_task('hook-contended', 'app.contended', on_start => 'app.h_start');
SELECT count(triggerdo.trigger_task('hook-contended', CASE i WHEN 395 THEN '{"contended":1}' ELSE '{}' END::jsonb)) FROM generate_series(1, 400) i;
SELECT test.await_all_final();
SELECT story, count(*) FROM triggerdo.runs r, app.hook_story(r.run_id) WHERE task = 'hook-contended' GROUP BY story;
SELECT last_value AS calls FROM app.h_contended;

-- A deadlock of a hook may be of the batch's making: it is called again, alone. Red without: queue_rest().
CREATE SEQUENCE app.h_deadlocked;
CREATE FUNCTION app.h_deadlock(run jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM app.note(run, 'deadlock');
    IF nextval('app.h_deadlocked') = 1 OR run->'payload' ? 'always' THEN RAISE 'deadlock' USING ERRCODE = '40P01'; END IF; END $$;
SELECT triggerdo.define_task('hook-deadlock', 'app.contended', on_success => 'app.h_deadlock', on_complete => 'app.h_complete');
SELECT triggerdo.trigger_task('hook-deadlock', '{}') AS once \gset
SELECT test.await_all_final(), app.await_no_queued();
SELECT triggerdo.trigger_task('hook-deadlock', '{"always":1}') AS always \gset
SELECT test.await_all_final(), app.await_no_queued();
SELECT payload, status, story, h.hook, h.tries, h.error->>'sqlstate' AS kept
  FROM triggerdo.runs r CROSS JOIN LATERAL app.hook_story(r.run_id) LEFT JOIN triggerdo.hooks h USING (run_id) WHERE r.run_id IN (:'once', :'always') ORDER BY r.run_id;

-- Body, hooks and commit: catch_error is asked about a commit that the body made fail; one that makes it fail itself is asked once an attempt; an on_start that
-- was undone with the body comes before what follows. Red without: silenced in src/hook_run.c (not asked; for ever), tdo_hooks_queue_those_of() in record_outside().
CREATE FUNCTION app.h_skip(run jsonb, error jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
    PERFORM app.note(run, 'catch_error', error);
    IF run->'payload' ? 'bad' THEN INSERT INTO app.h_child_row VALUES (-3); END IF;
    RETURN run->'payload'->'answer'; END $$;
SELECT triggerdo.define_task('hook-commit', 'app.child_first', retry => triggerdo.retry_policy(3, 'none'), on_success => 'app.h_success', catch_error => 'app.h_skip');
SELECT triggerdo.define_task('hook-late', 'app.child_first', on_start => 'app.h_start', on_failure => 'app.h_failure');
CREATE TEMP TABLE commits AS SELECT t AS task, p AS payload, triggerdo.trigger_task(t, p) AS run
  FROM (VALUES ('hook-commit', '{"fails":1,"answer":{"skipRetrying":true,"error":"asked"}}'::jsonb), ('hook-commit', '{"fails":1,"bad":1}'), ('hook-late', '{"fails":1}')) x(t, p);
SELECT test.await_all_final(), app.await_no_queued();
SELECT c.payload, status, attempt, error->>'message' AS error, story FROM commits c JOIN triggerdo.runs r ON r.run_id = run, app.hook_story(run) ORDER BY run;

-- What catch_error gives is cut as any error is, and 2000-01-01 is a time. Red without: tdo_failure_text(), "at != 0" in src/hook_run.c.
SELECT triggerdo.define_task('hook-answer', 'app.hooked', retry => triggerdo.retry_policy(2, min_delay => '1 day', max_delay => '1 day'), catch_error => 'app.h_catch');
SELECT triggerdo.trigger_task('hook-answer', jsonb_build_object('fails', 9, 'answer', jsonb_build_object('error', repeat('x', 100000), 'retryAt', '2000-01-01T00:00:00Z'))) AS run \gset
SELECT test.await_all_final();
SELECT status, attempt, length(error->>'message') AS length FROM triggerdo.runs WHERE run_id = :'run';

-- In on_start retry_run_at() names the time, too. Red without: retry_at in tdo_start_hook().
CREATE FUNCTION app.h_later(run jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM triggerdo.retry_run_at(now() + interval '1 day', 'later'); END $$;
CREATE PROCEDURE app.later_p(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN END $$;
SELECT triggerdo.define_task(t, f, retry => triggerdo.retry_policy(2, 'none'), on_start => 'app.h_later') FROM (VALUES ('hook-later', 'app.hooked'), ('hook-later-p', 'app.later_p')) x(t, f);
SELECT triggerdo.trigger_task('hook-later') AS run, triggerdo.trigger_task('hook-later-p') AS procedure \gset
SELECT test.await_status(:'run', 'DELAYED'), test.await_status(:'procedure', 'DELAYED');
SELECT task, status, retry_at - finished_at > '23:00:00' AS tomorrow, error->>'message' AS error FROM triggerdo.attempts WHERE run_id IN (:'run', :'procedure') ORDER BY task;
SELECT count(triggerdo.cancel_run(run_id)) FROM triggerdo.runs WHERE run_id IN (:'run', :'procedure');

-- The settings, and the role, that a procedure or a command leaves are not its hooks'. Red without: tdo_session_reset_settings() in tdo_call_hook().
CREATE PROCEDURE app.sets_p(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN
    SET ROLE app_member; SET work_mem = '123kB';
    IF payload ? 'fails' THEN COMMIT; RAISE 'failure'; END IF; END $$;
CREATE FUNCTION app.h_setting(run jsonb) RETURNS void LANGUAGE sql AS $$ SELECT app.note(run, 'setting', to_jsonb(current_setting('work_mem'))) $$;
CREATE FUNCTION app.h_setting(run jsonb, error jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT app.h_setting(run); SELECT NULL::jsonb $$;
SELECT triggerdo.define_task('hook-sets', 'app.sets_p', on_success => 'app.h_setting'), triggerdo.define_task('hook-sets-c', 'app.sets_p', catch_error => 'app.h_setting', options => '{"ownCommits":true}');
RESET ROLE;
CREATE ROLE app_member;
GRANT app_member TO app;
SET ROLE app;
SELECT triggerdo.trigger_task('hook-sets', '{}') AS run, triggerdo.trigger_task('hook-sets-c', '{"fails":1}') AS failed \gset
SELECT test.await_all_final();
SELECT task, r.status, r.error->>'message' AS error, hook, more <> '"123kB"' AS fresh, by FROM triggerdo.runs r JOIN app.hook_log l ON run = run_id WHERE run IN (:'run', :'failed') ORDER BY task COLLATE "C";
RESET ROLE;
DROP ROLE app_member;
SET ROLE app;

-- A task that another role defines anew while its run goes on: neither that one's function nor its hooks are called as the old owner, not even where the
-- definition is read again in between. Red without: "task->owner != run->owner" in tdo_hooks_due(), tdo_catch_error() and execute_entry().
RESET ROLE;
SET ROLE bob;
CREATE FUNCTION bob.h_evil(run jsonb) RETURNS void LANGUAGE sql AS $$ SELECT app.note(run, 'evil') $$;
CREATE FUNCTION bob.h_evil(run jsonb, error jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT app.note(run, 'evil'); SELECT NULL::jsonb $$;
CREATE FUNCTION bob.evil(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO app.hook_log (run, hook) SELECT run_id, 'evil body' FROM triggerdo.current_run(); SELECT payload $$;
CREATE FUNCTION bob.take_over() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT triggerdo.define_task('hook-taken', 'bob.evil', retry => triggerdo.retry_policy(2, 'none'), on_success => 'bob.h_evil', on_failure => 'bob.h_evil', on_complete => 'bob.h_evil', catch_error => 'bob.h_evil') $$;
GRANT USAGE ON SCHEMA bob TO app;
RESET ROLE;
SET ROLE app;
CREATE FUNCTION app.taken(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
    PERFORM triggerdo.drop_task('hook-taken'), bob.take_over();
    BEGIN PERFORM triggerdo.run_now((payload->>'other')::uuid); EXCEPTION WHEN undefined_object THEN INSERT INTO app.hook_log (run, hook) VALUES ((payload->>'other')::uuid, 'gone'); END;
    IF payload ? 'fails' THEN RAISE 'failure'; END IF;
    RETURN '"done"'; END $$;
CREATE FUNCTION app.h_taken(run jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM app.taken(run->'payload'); END $$;
CREATE FUNCTION app.take(run text, on_start text, more jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE other uuid; one uuid; gives jsonb; BEGIN
    PERFORM triggerdo.define_task('hook-taken', run, on_start => on_start);
    other := triggerdo.trigger_task('hook-taken', '{}');
    one := triggerdo.trigger_task('hook-taken', more || jsonb_build_object('other', other));
    gives := triggerdo.run_now(one);
    RETURN jsonb_build_object('output', gives->'output', 'error', gives #> '{error,message}', 'called', (SELECT jsonb_agg(hook ORDER BY n) FROM app.hook_log l WHERE l.run IN (one, other)));
END $$;
BEGIN; SELECT app.take('app.taken', NULL, '{}'); ROLLBACK;
BEGIN; SELECT app.take('app.taken', NULL, '{"fails":1}'); ROLLBACK;
BEGIN; SELECT app.take('app.hooked', 'app.h_taken', '{}'); ROLLBACK;

-- A task that was dropped has no hooks any more, and purge() takes what is kept of them.
SELECT triggerdo.trigger_task('hook-inside', '{"c":2}', delay => '1 day') AS run \gset
SELECT triggerdo.drop_task('hook-inside'), triggerdo.cancel_run(:'run');
SELECT count(*) FROM app.hook_log WHERE run = :'run';
RESET ROLE;
SELECT * FROM triggerdo.check_invariants();
SELECT count(*) > 0 AS kept FROM _triggerdo.hook;
SELECT triggerdo.purge('0 s') > 0 AS purged;
SELECT count(*) FROM _triggerdo.hook;
SELECT * FROM triggerdo.check_invariants();
