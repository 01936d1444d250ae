-- replay_run, reschedule_run, cancel_runs, replay_runs, and what a cancel does to children.

ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
SET ROLE app;
CREATE FUNCTION app.ctl_tells(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT jsonb_build_object('payload', c.payload, 'tags', c.tags, 'metadata', c.metadata, 'max_attempts', c.max_attempts, 'is_replay', c.is_replay, 'parent', c.parent_run_id IS NOT NULL)
              FROM triggerdo.current_run() c);
END $$;
SELECT triggerdo.define_task('ctl-tells', 'app.ctl_tells');

-- A replay: the same payload and options, unless told otherwise. Red without: any of the lines "e.x = original->x" of tdo_replay().
SELECT triggerdo.trigger_task('ctl-tells', '{"a":1}', tags => '{x,y}', metadata => '{"m":1}', max_attempts => 4, max_duration => '1 min', delay => '1 day') AS original \gset
SELECT triggerdo.replay_run(:'original') AS same,
       triggerdo.replay_run(:'original', '[2]', options => '{"tags":"z","metadata":{"n":2},"maxAttempts":2,"max_duration":"2 min","delay":"1 hour"}') AS other,
       triggerdo.replay_run(:'original', 'null', options => '{"tags":[],"metadata":{},"delay":null}') AS cleared \gset
SELECT r.payload, r.tags, r.metadata, r.max_attempts, r.status, r.replay_of = :'original' AS replay_of, r.parent_run_id, r.root_run_id, r.batch_id, r.delayed_until - r.created_at > '50 min' AS delayed
  FROM triggerdo.runs r WHERE r.replay_of = :'original' ORDER BY run_id;
RESET ROLE;
SELECT run_id = :'other' AS other, max_duration FROM _triggerdo.run WHERE replay_of = :'original' ORDER BY run_id;
SET ROLE app;
SELECT triggerdo.run_now(:'same') -> 'output' AS same;
SELECT triggerdo.run_now(:'cleared') -> 'output' AS cleared;
-- of a final run, and of a replay; by the definition of today
SELECT triggerdo.define_task('ctl-tells', 'app.ctl_tells', retry => triggerdo.retry_policy(7));
SELECT triggerdo.replay_run(:'same', options => '{"maxAttempts":7}') AS again \gset
SELECT triggerdo.run_now(:'again') -> 'output' AS again;
SELECT replay_of = :'same' AS replay_of FROM triggerdo.runs WHERE run_id = :'again';
-- what is wrong
SELECT test.error('SELECT triggerdo.replay_run(NULL)');
SELECT test.error($$SELECT triggerdo.replay_run('01900000-0000-7000-8000-000000000000')$$);
SELECT test.error(format($$SELECT triggerdo.replay_run(%L, from_checkpoint => 'x')$$, :'same'));
SELECT test.error(format($$SELECT triggerdo.replay_run(%L, options => '{"colour":1}')$$, :'same'));
SELECT test.error(format($$SELECT triggerdo.replay_run(%L, options => '[]')$$, :'same'));
BEGIN READ ONLY;
SELECT test.error(format('SELECT triggerdo.replay_run(%L)', :'same'));
SELECT test.error(format($$SELECT triggerdo.reschedule_run(%L, '1 s')$$, :'same'));
SELECT test.error($$SELECT triggerdo.cancel_runs('{"task":"ctl-tells"}')$$);
SELECT test.error($$SELECT triggerdo.replay_runs('{"task":"ctl-tells"}')$$);
COMMIT;
SELECT triggerdo.define_task('ctl-unkept', 'app.ctl_tells', options => '{"keep":"none"}');
SELECT triggerdo.trigger_task('ctl-unkept') AS unkept \gset
SELECT triggerdo.run_now(:'unkept') -> 'ok' AS ok;
SELECT test.error(format('SELECT triggerdo.replay_run(%L)', :'unkept'));
-- who may. Red without: tdo_get_readable_run() in tdo_sql_replay_run(), tdo_get_triggerable() in tdo_replay(), tdo_require_manage() in tdo_sql_reschedule_run().
RESET ROLE;
SET ROLE bob;
SELECT test.error(format('SELECT triggerdo.replay_run(%L)', :'same')) AS stranger, test.error(format($$SELECT triggerdo.reschedule_run(%L, '1 s')$$, :'other')) AS stranger_moves,
       triggerdo.replay_runs('{"task":"ctl-tells"}') AS replays, triggerdo.cancel_runs('{"task":"ctl-tells"}') AS cancels;
RESET ROLE;
SET ROLE carol;
SELECT triggerdo.trigger_task('ctl-tells', delay => '1 day') AS of_carol \gset
RESET ROLE;
REVOKE app FROM carol;
SET ROLE carol;
-- (she may read what she triggered)
SELECT test.error(format('SELECT triggerdo.replay_run(%L)', :'of_carol')) AS triggerer, test.error(format($$SELECT triggerdo.reschedule_run(%L, '1 s')$$, :'of_carol')) AS triggerer_moves,
       triggerdo.cancel_runs(jsonb_build_object('run_ids', :'of_carol'::uuid)) AS cancels, triggerdo.replay_runs(jsonb_build_object('run_ids', :'of_carol'::uuid)) AS replays;
RESET ROLE;
GRANT app TO carol;
SET ROLE app;
SELECT triggerdo.cancel_run(:'of_carol');

-- Another time. Red without: in tdo_reschedule(), each of its lines.
SELECT triggerdo.trigger_task('ctl-tells', delay => '1 day') AS r, triggerdo.trigger_task('ctl-tells') AS queued \gset
SELECT delayed_until AS before FROM triggerdo.runs WHERE run_id = :'r' \gset
SELECT triggerdo.reschedule_run(:'r', run_at => '2222-02-02 00:00+00');
SELECT status, delayed_until = '2222-02-02 00:00+00' AS moved FROM triggerdo.runs WHERE run_id = :'r';
SELECT triggerdo.reschedule_run(:'r', '1 hour'), triggerdo.reschedule_run(:'r', '2 hours');
SELECT status, delayed_until - now() BETWEEN '119 min' AND '121 min' AS moved FROM triggerdo.runs WHERE run_id = :'r';
BEGIN;
SELECT triggerdo.reschedule_run(:'r', run_at => '2001-01-01');
SELECT status, queued_at >= now() AS queued_now FROM triggerdo.runs WHERE run_id = :'r';
SELECT triggerdo.reschedule_run(:'r', '1 hour');
ROLLBACK;
SELECT status FROM triggerdo.runs WHERE run_id = :'r';
SELECT triggerdo.reschedule_run(:'r', '0');
SELECT status FROM triggerdo.runs WHERE run_id = :'r';
SELECT triggerdo.reschedule_run(:'r', '1 s') AS queued, triggerdo.reschedule_run(:'queued', '1 s') AS never_delayed, triggerdo.reschedule_run(:'same', '1 s') AS final;
SELECT triggerdo.run_now(:'r') -> 'ok' AS ran;
-- one that waits for its next attempt
CREATE FUNCTION app.ctl_fails(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
SELECT triggerdo.define_task('ctl-fails', 'app.ctl_fails', retry => triggerdo.retry_policy(3, 'fixed', min_delay => '1 day', max_delay => '1 day'));
SELECT triggerdo.trigger_task('ctl-fails') AS f \gset
SELECT triggerdo.run_now(:'f') -> 'ok' AS ok;
SELECT triggerdo.reschedule_run(:'f', '0') AS moved;
SELECT status, attempt FROM triggerdo.runs WHERE run_id = :'f';
SELECT triggerdo.run_now(:'f') -> 'ok' AS ok;
SELECT status, attempt FROM triggerdo.runs WHERE run_id = :'f';
SELECT triggerdo.cancel_run(:'f');
SELECT test.error(format('SELECT triggerdo.reschedule_run(%L)', :'r')) AS neither, test.error(format($$SELECT triggerdo.reschedule_run(%L, '1 s', now())$$, :'r')) AS both,
       test.error(format($$SELECT triggerdo.reschedule_run(%L, '-1 s')$$, :'r')) AS negative, test.error(format($$SELECT triggerdo.reschedule_run(%L, run_at => 'infinity')$$, :'r')) AS never,
       test.error($$SELECT triggerdo.reschedule_run(NULL, '1 s')$$) AS null_run, test.error($$SELECT triggerdo.reschedule_run('01900000-0000-7000-8000-000000000000', '1 s')$$) AS unknown;
SELECT triggerdo.cancel_runs('{"status":["QUEUED","DELAYED"]}') > 0 AS cleaned;

-- Filters. Red without: the line of matches() for the key.
SELECT triggerdo.define_task('ctl-one', 'app.ctl_tells'), triggerdo.define_task('ctl-two', 'app.ctl_tells');
SELECT triggerdo.trigger_task('ctl-one', '1', tags => '{a,b}') AS r1, triggerdo.trigger_task('ctl-one', '2', tags => '{b}', delay => '1 day') AS r2, triggerdo.trigger_task('ctl-two', '3') AS r3, triggerdo.trigger_task('ctl-two', '4', tags => '{c}') AS r4 \gset
SELECT (triggerdo.batch_trigger_task('ctl-one', '{5,6}'))[1] AS r5 \gset
SELECT batch_id AS batch FROM triggerdo.runs WHERE run_id = :'r5' \gset
CREATE FUNCTION app.ctl_cancels(filter jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE n bigint; which text;
BEGIN
    n := triggerdo.cancel_runs(filter);
    SELECT string_agg(payload::text, ',' ORDER BY run_id) INTO which FROM triggerdo.runs WHERE status = 'CANCELED' AND task IN ('ctl-one', 'ctl-two');
    RAISE EXCEPTION USING MESSAGE = concat_ws(': ', n, which), ERRCODE = 'AB001';  -- undone again
EXCEPTION WHEN SQLSTATE 'AB001' THEN RETURN sqlerrm;
END $$;
SELECT filter, app.ctl_cancels(filter::jsonb) FROM unnest(ARRAY[
    '{"task":"ctl-one"}', '{"task":["ctl-two","none"]}', '{"task":[]}', '{"status":"QUEUED"}', '{"status":"DELAYED","task":"ctl-one"}', '{"status":["COMPLETED","CANCELED"]}',
    '{"queue":"ctl-two"}', '{"tag":"b"}', '{"tag":["a","c"]}', '{"tag":"none"}', '{"schedule":"s"}',
    '{"created_before":"2001-01-01"}', '{"created_after":"2001-01-01","created_before":"infinity"}', '{"created_after":"2222-01-01"}', '{"run_ids":[]}']) filter;
SELECT app.ctl_cancels(jsonb_build_object('batch', :'batch'::uuid)) AS batch, app.ctl_cancels(jsonb_build_object('batch', jsonb_build_array(:'batch'::uuid, :'r1'::uuid), 'task', 'ctl-two')) AS none,
       app.ctl_cancels(jsonb_build_object('run_ids', jsonb_build_array(:'r3'::uuid, :'r1'::uuid, :'r3'::uuid, :'same'::uuid, '01900000-0000-7000-8000-000000000000'))) AS ids,
       app.ctl_cancels(jsonb_build_object('run_ids', :'r2'::uuid, 'task', 'ctl-two')) AS both;
SELECT app.ctl_cancels(jsonb_build_object('created_after', created_at)) AS from_r3, app.ctl_cancels(jsonb_build_object('created_before', created_at)) AS before_r3 FROM triggerdo.runs WHERE run_id = :'r3';
SELECT filter, test.error(format('SELECT triggerdo.cancel_runs(%L)', filter)) AS cancels, test.error(format('SELECT triggerdo.replay_runs(%L)', filter)) = test.error(format('SELECT triggerdo.cancel_runs(%L)', filter)) AS same
  FROM unnest(ARRAY['{}', '[]', '7', '{"taks":"ctl-one"}', '{"task":null}', '{"task":1}', '{"task":["ctl-one",2]}', '{"task":{}}', '{"status":"queued"}', '{"run_ids":"x"}', '{"batch":"x"}', '{"created_after":"x"}', '{"created_before":1}', NULL]) filter;

-- Many replays: what it adds is not replayed (a large history: TAP 067_control).
SELECT triggerdo.cancel_runs('{"task":"ctl-one"}') AS cancelled;
SELECT triggerdo.replay_runs('{"task":"ctl-one"}') AS by_task, triggerdo.replay_runs('{"task":["ctl-one","ctl-two"],"status":"CANCELED"}') AS by_status, triggerdo.replay_runs('{"status":"QUEUED"}') AS live,
       triggerdo.replay_runs('{"tag":"a","status":["CANCELED"]}') AS no_task, triggerdo.replay_runs('{"created_after":"2222-01-01"}') AS none, triggerdo.replay_runs('{"created_before":"2001-01-01"}') AS none2,
       triggerdo.replay_runs(jsonb_build_object('run_ids', jsonb_build_array(:'r1'::uuid, :'r3'::uuid))) AS ids;
-- a task named twice is looked at once. Red without: each_word_once() in read_key().
SELECT triggerdo.replay_runs('{"task":["ctl-two","ctl-one","ctl-two","ctl-one"],"status":"CANCELED"}') AS named_twice;
SELECT o.payload, o.status, count(*) FROM triggerdo.runs r JOIN triggerdo.runs o ON o.run_id = r.replay_of WHERE r.task IN ('ctl-one', 'ctl-two') AND o.replay_of IS NULL GROUP BY o.run_id, 1, 2 ORDER BY o.run_id;
-- of a task that is gone: not counted
SELECT triggerdo.drop_task('ctl-two');
SELECT triggerdo.replay_runs('{"task":"ctl-two"}') AS dropped, test.error(format('SELECT triggerdo.replay_run(%L)', :'r3')) AS by_id;
SELECT triggerdo.cancel_runs('{"created_before":"infinity"}') > 0 AS cleaned;

-- Children. Red without: note_children() in cancel_one(), cancel_children() in tdo_sql_cancel_run() and tdo_sql_cancel_runs(),
-- tdo_child_insert() in tdo_enqueue().
RESET ROLE;
ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
\c -
SET ROLE app;
CREATE PROCEDURE app.ctl_parents(payload jsonb) LANGUAGE plpgsql AS $$
DECLARE down int := (payload->>'down')::int;
BEGIN
    IF down > 0 THEN
        PERFORM triggerdo.trigger_task('ctl-parents', jsonb_build_object('down', down - 1));
        PERFORM triggerdo.trigger_task('ctl-tells', payload, delay => '1 day', tags => '{of-parents}');
    END IF;
    COMMIT;
    PERFORM pg_sleep(100);
END $$;
SELECT triggerdo.define_task('ctl-parents', 'app.ctl_parents', options => '{"ownCommits":true}');
SELECT triggerdo.trigger_task('ctl-parents', '{"down":1}') AS p \gset
CREATE FUNCTION app.ctl_await_children(parent uuid, n int) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..3000 LOOP
        IF (SELECT count(*) FROM triggerdo.runs WHERE parent_run_id = parent AND status IN ('EXECUTING', 'DELAYED')) = n THEN RETURN true; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN false;
END $$;
SELECT app.ctl_await_children(:'p', 2);
SELECT triggerdo.cancel_run(:'p', 'all of it');
SELECT task, status, error->>'message' AS message, parent_run_id IS NULL AS top FROM triggerdo.runs WHERE run_id = :'p' OR root_run_id = :'p' ORDER BY run_id;
-- by a filter, which counts what it chose
SELECT triggerdo.trigger_task('ctl-parents', '{"down":1}') AS p \gset
SELECT app.ctl_await_children(:'p', 2);
SELECT triggerdo.cancel_runs(jsonb_build_object('run_ids', :'p'::uuid));
SELECT task, status, error->>'message' AS message, parent_run_id IS NULL AS top FROM triggerdo.runs WHERE run_id = :'p' OR root_run_id = :'p' ORDER BY run_id;
-- a final parent has nothing more to do with them
CREATE PROCEDURE app.ctl_leaves(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN PERFORM triggerdo.trigger_task('ctl-tells', payload, delay => '1 day'); END $$;
SELECT triggerdo.define_task('ctl-leaves', 'app.ctl_leaves');
CALL triggerdo.trigger_and_wait('ctl-leaves', '1', NULL) \gset
SELECT triggerdo.cancel_run((:'result'::jsonb ->> 'id')::uuid) AS final;
SELECT status FROM triggerdo.runs WHERE parent_run_id = (:'result'::jsonb ->> 'id')::uuid;
SELECT triggerdo.cancel_runs('{"task":"ctl-tells"}');

-- A run that cancels its parent goes on; its children are its own. Red without: tdo_inside_of() in may_cancel().
CREATE FUNCTION app.ctl_rebels(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE up uuid := (SELECT parent_run_id FROM triggerdo.current_run());
BEGIN
    PERFORM triggerdo.trigger_task('ctl-tells', '"of the rebel"', delay => '1 day');
    RETURN jsonb_build_array(triggerdo.cancel_run(up), triggerdo.cancel_runs(jsonb_build_object('run_ids', (SELECT jsonb_build_array(run_id, parent_run_id) FROM triggerdo.current_run()))));
END $$;
CREATE PROCEDURE app.ctl_has_a_rebel(payload jsonb) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM triggerdo.trigger_task('ctl-rebels');
    PERFORM triggerdo.trigger_task('ctl-tells', '"of the parent"', delay => '1 day');
    COMMIT;
    PERFORM pg_sleep(100);
END $$;
SELECT triggerdo.define_task('ctl-rebels', 'app.ctl_rebels'), triggerdo.define_task('ctl-has-a-rebel', 'app.ctl_has_a_rebel', options => '{"ownCommits":true}');
SELECT triggerdo.trigger_task('ctl-has-a-rebel') AS p \gset
SELECT test.await_status(:'p', 'CANCELED');
SELECT test.await_status((SELECT run_id FROM triggerdo.runs WHERE task = 'ctl-rebels'), 'COMPLETED');
SELECT task, status, output, payload FROM triggerdo.runs WHERE run_id = :'p' OR root_run_id = :'p' ORDER BY task COLLATE "C", payload;
SELECT triggerdo.cancel_runs('{"task":"ctl-tells"}');

-- Children of another owner go on. Red without: tdo_may() in may_cancel().
RESET ROLE;
GRANT app TO bob;
SET ROLE bob;
CREATE PROCEDURE bob.lends(payload jsonb) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM triggerdo.trigger_task('ctl-tells', '"of bob"', delay => '1 day');
    COMMIT;
    PERFORM pg_sleep(100);
END $$;
SELECT triggerdo.define_task('ctl-lends', 'bob.lends', options => '{"ownCommits":true}');
SELECT triggerdo.trigger_task('ctl-lends') AS p \gset
RESET ROLE;
SELECT app.ctl_await_children(:'p', 1);
REVOKE app FROM bob;
SET ROLE bob;
SELECT triggerdo.cancel_run(:'p');
RESET ROLE;
SELECT task, status FROM triggerdo.runs WHERE run_id = :'p' OR root_run_id = :'p' ORDER BY run_id;
SELECT triggerdo.cancel_runs('{"task":["ctl-tells","ctl-lends"]}');

-- What on_start triggers is cancelled with its run, what the hooks of its end trigger is not. Red without: ends_first in tdo_hooks_call() (src/hook_run.c), and with it in tdo_start_hook().
SET ROLE app;
CREATE FUNCTION app.ctl_begins(run jsonb) RETURNS void LANGUAGE sql AS $$ SELECT triggerdo.trigger_task('ctl-tells', '"of on_start"', delay => '1 day') $$;
CREATE FUNCTION app.ctl_ends(run jsonb) RETURNS void LANGUAGE sql AS $$ SELECT triggerdo.trigger_task('ctl-tells', '"of on_cancel"', delay => '1 day') $$;
CREATE PROCEDURE app.ctl_sleeps(payload jsonb) LANGUAGE plpgsql AS $$ BEGIN COMMIT; PERFORM pg_sleep(100); END $$;
SELECT triggerdo.define_task('ctl-hooked', 'app.ctl_sleeps', on_start => 'app.ctl_begins', on_cancel => 'app.ctl_ends', options => '{"ownCommits":true}');
CREATE FUNCTION app.ctl_sleeps_once(payload jsonb) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(100)';
SELECT triggerdo.define_task('ctl-stopped', 'app.ctl_sleeps_once', on_cancel => 'app.ctl_ends');
SELECT triggerdo.trigger_task('ctl-hooked') AS p, triggerdo.trigger_task('ctl-hooked', delay => '1 day') AS q, triggerdo.trigger_task('ctl-stopped') AS s \gset
SELECT app.ctl_await_children(:'p', 1);
SELECT test.await_status(:'s', 'EXECUTING');
SELECT triggerdo.cancel_run(:'p') AS p, triggerdo.cancel_run(:'q') AS q, triggerdo.cancel_run(:'s') AS s;
SELECT app.ctl_await_children(:'p', 1) AS p, app.ctl_await_children(:'q', 1) AS q, app.ctl_await_children(:'s', 1) AS s;
SELECT o.task, o.started_at IS NULL AS unstarted, r.payload, r.status FROM triggerdo.runs r JOIN triggerdo.runs o ON o.run_id = r.parent_run_id WHERE o.run_id IN (:'p', :'q', :'s') ORDER BY 1, 2, 3;
SELECT triggerdo.cancel_runs('{"task":"ctl-tells"}'), triggerdo.drop_task('ctl-hooked'), triggerdo.drop_task('ctl-stopped');
RESET ROLE;

-- Shared: who manages a task and may not read its runs replays them as nobody, so that it neither sees anything of them nor acts as another role; who may trigger it, what it may read.
-- Red without: e.by_nobody in tdo_replay(), OidIsValid() in tdo_sql_role_name(); each line of tdo_may_replay(), and in it the comparison of owners.
CREATE ROLE ctl_manages LOGIN; CREATE ROLE ctl_triggers LOGIN; CREATE ROLE ctl_admin LOGIN;
GRANT USAGE ON SCHEMA triggerdo TO ctl_manages, ctl_triggers, ctl_admin;
SELECT triggerdo.grant_admin('ctl_admin');
SET ROLE app;
SELECT triggerdo.define_task('ctl-shared', 'app.ctl_tells');
SELECT triggerdo.grant_task('ctl-shared', 'ctl_manages', 'manage'), triggerdo.grant_task('ctl-shared', 'ctl_triggers', 'trigger');
SELECT triggerdo.trigger_task('ctl-shared', '"of app"', delay => '1 day') AS r \gset
RESET ROLE; SET ROLE ctl_triggers;
SELECT triggerdo.trigger_task('ctl-shared', '"of triggers"', delay => '1 day') AS t \gset
SELECT triggerdo.replay_run(:'t', options => '{"delay":"1 day"}') IS NOT NULL AS own, test.error(format('SELECT triggerdo.replay_run(%L)', :'r')) AS others, triggerdo.cancel_runs('{"task":"ctl-shared"}') AS cancels;
RESET ROLE; SET ROLE ctl_manages;
SELECT triggerdo.replay_run(:'r', options => '{"delay":"1 day"}') AS m, triggerdo.replay_run(:'r', '"other"', options => '{"delay":"1 day"}') IS NOT NULL AS other_payload \gset
SELECT triggerdo.reschedule_run(:'m', '2 days') AS moved, test.error(format('SELECT triggerdo.run_result(%L)', :'m')) AS reads, (SELECT count(*) FROM triggerdo.runs) AS sees;
RESET ROLE; SET ROLE ctl_admin;
SELECT triggerdo.replay_run(:'r', '"of admin"', options => '{"delay":"1 day"}') IS NOT NULL AS admin;
RESET ROLE;
SELECT r.payload, o.payload AS original, r.owner, r.triggered_by, r.status FROM triggerdo.runs r JOIN triggerdo.runs o ON o.run_id = r.replay_of WHERE r.task = 'ctl-shared' ORDER BY r.run_id;
-- the id is another owner's by now: a run is his who reads it and triggers the other's task
SET ROLE app; SELECT triggerdo.drop_task('ctl-shared');
RESET ROLE; SET ROLE bob;
CREATE FUNCTION bob.shared(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
SELECT triggerdo.define_task('ctl-shared', 'bob.shared');
SELECT triggerdo.grant_task('ctl-shared', 'ctl_manages', 'manage'), triggerdo.grant_task('ctl-shared', 'ctl_triggers', 'trigger'), triggerdo.grant_task('ctl-shared', 'ctl_admin', 'manage');
SELECT test.error(format('SELECT triggerdo.replay_run(%L)', :'r')) AS new_owner, triggerdo.replay_runs('{"task":"ctl-shared"}');
RESET ROLE; SET ROLE app;
SELECT test.error(format('SELECT triggerdo.replay_run(%L)', :'r')) AS old_owner, triggerdo.replay_runs('{"task":"ctl-shared"}');
RESET ROLE; SET ROLE ctl_manages;
SELECT test.error(format('SELECT triggerdo.replay_run(%L)', :'r')) AS manages, triggerdo.replay_runs('{"task":"ctl-shared"}'), triggerdo.cancel_runs('{"task":"ctl-shared"}');
RESET ROLE; SET ROLE ctl_admin;
SELECT test.error(format('SELECT triggerdo.replay_run(%L)', :'r')) AS admin, triggerdo.replay_runs('{"task":"ctl-shared"}');
RESET ROLE; SET ROLE ctl_triggers;
SELECT triggerdo.replay_run(:'t', options => '{"delay":"1 day"}') AS again \gset
RESET ROLE;
SELECT payload, owner, triggered_by, replay_of = :'t' AS replay FROM triggerdo.runs WHERE run_id = :'again';
SELECT triggerdo.cancel_runs('{"task":"ctl-shared"}'), triggerdo.revoke_admin('ctl_admin');
SET ROLE bob; SELECT triggerdo.drop_task('ctl-shared'); RESET ROLE;
SELECT count(*) FROM _triggerdo.child;
SELECT * FROM triggerdo.check_invariants();
