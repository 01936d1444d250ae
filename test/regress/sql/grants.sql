-- Grants: what an owner gives others on a task, what administrators may, and what of it ends when.
-- Red without: tdo_may() in tdo_get_triggerable() (src/api_trigger.c), tdo_get_manageable_run() (src/api_run.c) and
-- tdo_sql_define_task(); granted() in tdo_may_read(); keep_work(), same_schema() (src/api_task.c); tdo_grant_forget_task() in
-- drop_task; the comparison of owners in key_compare() (src/grant.c); tell(); remove_dropped().

SELECT current_user AS super \gset
ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
CREATE ROLE gina LOGIN; CREATE SCHEMA gina AUTHORIZATION gina;         -- the owner
CREATE ROLE greg LOGIN; CREATE ROLE gus LOGIN;                          -- those who are granted something
CREATE ROLE gteam; GRANT gteam TO gus;                                  -- of which gus is a member
CREATE ROLE gadmin LOGIN;
CREATE ROLE "G Odd""Name" LOGIN;
GRANT USAGE ON SCHEMA triggerdo TO gina, greg, gus, gadmin;
-- the run of that label
CREATE TABLE test.granted (label text PRIMARY KEY, run uuid);
GRANT SELECT, INSERT ON test.granted TO PUBLIC;
CREATE FUNCTION test.granted(label text) RETURNS uuid LANGUAGE sql STABLE SET search_path = pg_catalog AS $$ SELECT run FROM test.granted g WHERE g.label = $1 $$;
CREATE FUNCTION test.no_work(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
-- what one sees of the owner's tasks and runs
CREATE FUNCTION test.sees_of_gina() RETURNS text LANGUAGE sql AS $$
    SELECT format('tasks %s, runs %s, attempts %s, stats %s', (SELECT string_agg(id, ' ' ORDER BY id) FROM triggerdo.tasks WHERE id LIKE 'g-%'),
                  (SELECT string_agg(DISTINCT task || '/' || coalesce(payload->>'by', '-'), ' ') FROM triggerdo.runs WHERE task LIKE 'g-%'),
                  (SELECT count(*) FROM triggerdo.attempts WHERE task LIKE 'g-%'), (SELECT string_agg(task || ':' || queued + delayed, ' ' ORDER BY task) FROM triggerdo.stats WHERE task LIKE 'g-%')) $$;

SET ROLE gina;
CREATE FUNCTION gina.work(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN IF payload ? 'fail' THEN RAISE 'gina''s secret'; END IF; RETURN to_jsonb(current_user); END $$;
SELECT triggerdo.define_task('g-one', 'gina.work', retry => '{"maxAttempts":2,"minTimeoutInMs":60000}'), triggerdo.define_task('g-two', 'gina.work'), triggerdo.define_task('g-command', command => 'VACUUM gina.t');
INSERT INTO test.granted VALUES ('one', triggerdo.trigger_task('g-one', '{"by":"gina"}')), ('failed', triggerdo.trigger_task('g-one', '{"by":"gina","fail":1}')), ('two', triggerdo.trigger_task('g-two', '{"by":"gina"}'));
SELECT triggerdo.run_now(test.granted('failed'))->'ok' AS ok;

-- Before anything is granted; and that each privilege gives what it gives, and no more.
RESET ROLE; SET ROLE greg;
SELECT test.sees_of_gina();
SELECT test.error($$SELECT triggerdo.trigger_task('g-one')$$), test.error(format('SELECT triggerdo.run_result(%L)', test.granted('one'))), test.error(format('SELECT triggerdo.cancel_run(%L)', test.granted('one'))),
       test.error($$SELECT triggerdo.define_task('g-one')$$), test.error($$SELECT triggerdo.drop_task('g-one')$$);
RESET ROLE; SET ROLE gina;
SELECT triggerdo.grant_task('g-one', 'greg', 'trigger') AS new, triggerdo.grant_task('g-one', 'greg', 'TRIGGER') AS again;
RESET ROLE; SET ROLE greg;
SELECT test.sees_of_gina();
INSERT INTO test.granted VALUES ('by greg', triggerdo.trigger_task('g-one', '{"by":"greg"}'));
SELECT test.sees_of_gina();
SELECT owner, triggered_by FROM triggerdo.runs WHERE run_id = test.granted('by greg');
SELECT triggerdo.run_result(test.granted('by greg')) IS NULL AS not_yet, cardinality(triggerdo.batch_trigger_task('g-one', '{null,null}')) AS batch, (SELECT count(*) FROM triggerdo.trigger_batch('[{"task":"g-one"}]')) AS items;
SELECT test.error($$SELECT triggerdo.trigger_task('g-two')$$), test.error($$SELECT triggerdo.trigger_batch('[{"task":"g-one"},{"task":"g-two"}]')$$),
       test.error(format('SELECT triggerdo.cancel_run(%L)', test.granted('by greg'))) AS cancel_own, test.error(format('SELECT triggerdo.cancel_run(%L)', test.granted('one'))) AS cancel, test.error(format('SELECT triggerdo.run_now(%L)', test.granted('by greg'))) AS run_now_own,
       test.error(format('SELECT triggerdo.run_now(%L)', test.granted('one'))) AS run_now, test.error($$SELECT triggerdo.run_now('01890000-0000-7000-8000-000000000000')$$) AS run_now_unknown,
       test.error($$SELECT triggerdo.define_task('g-one')$$) AS define, test.error($$SELECT triggerdo.grant_task('g-one', 'gus', 'trigger')$$) AS pass_on, test.error($$SELECT triggerdo.revoke_task('g-one', 'greg', 'trigger')$$) AS give_back;
RESET ROLE; SET ROLE gina;
SELECT triggerdo.revoke_task('g-one', 'greg', 'trigger') AS there, triggerdo.revoke_task('g-one', 'greg', 'trigger') AS again;
RESET ROLE; SET ROLE greg;
-- what one has triggered one goes on to see
SELECT test.sees_of_gina();
SELECT test.error($$SELECT triggerdo.trigger_task('g-one')$$);

-- read: all its runs, in all views; through membership.
RESET ROLE; SET ROLE gina;
SELECT triggerdo.grant_task('g-one', 'gteam', 'read');
RESET ROLE; SET ROLE gus;
SELECT test.sees_of_gina();
SELECT error->>'message' AS error FROM triggerdo.runs WHERE run_id = test.granted('failed');
SELECT triggerdo.run_result(test.granted('one')) IS NULL AS may, test.error(format('SELECT triggerdo.run_result(%L)', test.granted('two')));
SELECT test.error($$SELECT triggerdo.trigger_task('g-one')$$), test.error(format('SELECT triggerdo.cancel_run(%L)', test.granted('one'))), test.error($$SELECT triggerdo.define_task('g-one')$$);
RESET ROLE;
REVOKE gteam FROM gus;
SET ROLE gus;
SELECT test.sees_of_gina();
RESET ROLE;
-- (before 16 it is the member that inherits or not, from then on the grant, by what the member was then)
ALTER ROLE gus NOINHERIT; GRANT gteam TO gus;
SET ROLE gus;
SELECT test.sees_of_gina() AS without_inherit;
RESET ROLE;
REVOKE gteam FROM gus; ALTER ROLE gus INHERIT; GRANT gteam TO gus;
SET ROLE gus;
SELECT test.sees_of_gina();
RESET ROLE;

-- manage: how it runs, not what. Defining again never changes the owner.
SET ROLE gina;
SELECT triggerdo.revoke_task('g-one', 'gteam', 'read'), triggerdo.grant_task('g-one', 'greg', 'manage'), triggerdo.grant_task('g-command', 'greg', 'manage'), triggerdo.grant_task('g-two', 'greg', 'work');
RESET ROLE; SET ROLE greg;
SELECT test.sees_of_gina();
-- (to manage is not to read)
SELECT test.error(format('SELECT triggerdo.run_result(%L)', test.granted('one'))), test.error($$SELECT triggerdo.trigger_task('g-one')$$);
SELECT triggerdo.cancel_run(test.granted('failed'), 'by a manager'), test.error(format('SELECT triggerdo.cancel_run(%L)', test.granted('two')));
SELECT triggerdo.define_task('g-one', description => 'managed', retry => '{"maxAttempts":7,"backoff":"fixed","minTimeoutInMs":5}', max_duration => '1 min', options => '{"keep":"failed","isolate":true}'), triggerdo.define_task('g-command', description => 'managed, too');
SELECT id, owner, kind, run, command, description, retry->'maxAttempts' AS attempts, max_duration, options FROM triggerdo.tasks WHERE id IN ('g-one', 'g-command') ORDER BY id;
SELECT test.error($$SELECT triggerdo.define_task('g-two', description => 'x')$$) AS not_granted, test.error($$SELECT triggerdo.define_task('g-one', 'greg.mine')$$) AS no_such, test.error($$SELECT triggerdo.define_task('g-one', 'test.no_work(jsonb)')$$) AS other_function,
       test.error($$SELECT triggerdo.define_task('g-one', command => 'SELECT 1')$$) AS other_command, test.error($$SELECT triggerdo.define_task('g-command', command => 'VACUUM')$$) AS other_text, test.error($$SELECT triggerdo.define_task('g-command', 'test.no_work(jsonb)')$$) AS other_kind,
       test.error($$SELECT triggerdo.define_task('g-one', options => '{"ownCommits":true}')$$) AS own_commits, test.error($$SELECT triggerdo.drop_task('g-one')$$) AS drop_task, test.error($$SELECT triggerdo.grant_task('g-one', 'greg', 'read')$$) AS more;
-- what is there may be repeated
RESET ROLE; GRANT USAGE ON SCHEMA gina TO greg; SET ROLE greg;
SELECT triggerdo.define_task('g-one', 'gina.work(jsonb)', description => 'repeated'), triggerdo.define_task('g-command', command => 'VACUUM gina.t');
SELECT id, owner, kind, run, command, description, retry FROM triggerdo.tasks WHERE id IN ('g-one', 'g-command') ORDER BY id;
RESET ROLE;
-- (hooks and a payload schema, of whatever form, are the owner's)
UPDATE _triggerdo.task SET hooks = '{"on_start":"gina.hook"}', payload_schema = '{"type":"object"}' WHERE id = 'g-one';
SET ROLE greg;
SELECT test.error($$SELECT triggerdo.define_task('g-one', payload_schema => '{}')$$) AS part_of_schema, test.error($$SELECT triggerdo.define_task('g-one', payload_schema => '{"type":["object"]}')$$) AS other_schema;
SELECT triggerdo.define_task('g-one', description => 'and kept', payload_schema => '{"type":"object"}');
RESET ROLE;
SELECT hooks, payload_schema, owner::regrole, description FROM _triggerdo.task WHERE id = 'g-one';
SET ROLE gina;
SELECT triggerdo.define_task('g-one', 'gina.work');

-- Who has what, as its owner, who has it, and others see it.
SELECT * FROM triggerdo.grants ORDER BY task, role, privilege;
RESET ROLE; SET ROLE greg; SELECT * FROM triggerdo.grants ORDER BY task, role, privilege;
RESET ROLE; SET ROLE gus; SELECT * FROM triggerdo.grants ORDER BY task, role, privilege;
RESET ROLE; SET ROLE gina;

-- Mistakes.
SELECT test.error($$SELECT triggerdo.grant_task('no such', 'greg', 'read')$$), test.error($$SELECT triggerdo.grant_task('g-one', 'no such', 'read')$$), test.error($$SELECT triggerdo.grant_task('g-one', 'greg', 'write')$$), test.error($$SELECT triggerdo.grant_task('g-one', 'public', 'read')$$),
       test.error($$SELECT triggerdo.grant_task(NULL, 'greg', 'read')$$), test.error($$SELECT triggerdo.grant_task('g-one', NULL, 'read')$$), test.error($$SELECT triggerdo.grant_task('g-one', 'greg', NULL)$$), test.error($$SELECT triggerdo.revoke_task('no such', 'greg', 'read')$$),
       test.error($$SELECT triggerdo.revoke_task('g-one', 'greg', '')$$), test.error($$SELECT triggerdo.grant_admin('greg')$$), test.error($$SELECT triggerdo.revoke_admin('greg')$$);
SELECT triggerdo.grant_task('g-one', 'G Odd"Name', 'read') AS odd_name, test.error($$SELECT triggerdo.grant_task('g-one', '"G Odd""Name"', 'read')$$);
BEGIN READ ONLY; SELECT test.error($$SELECT triggerdo.grant_task('g-one', 'greg', 'read')$$), test.error($$SELECT triggerdo.revoke_task('g-one', 'greg', 'read')$$); COMMIT;
-- Rolled back, also to a savepoint: nothing was granted.
BEGIN;
SAVEPOINT s; SELECT triggerdo.grant_task('g-two', 'gus', 'read') AS new; RESET ROLE; SET ROLE gus; SELECT test.sees_of_gina(); ROLLBACK TO s;
SET ROLE gus; SELECT test.sees_of_gina(); RESET ROLE; SET ROLE gina;
SELECT triggerdo.grant_task('g-two', 'gus', 'read') AS new; RESET ROLE; SET ROLE gus; SELECT test.sees_of_gina();
ROLLBACK;
RESET ROLE; SET ROLE gus;
SELECT test.sees_of_gina();
-- Within one statement, when its rights change: what a function has granted counts for what comes after it.
RESET ROLE; SET ROLE gina;
GRANT USAGE ON SCHEMA gina TO gus;
CREATE FUNCTION gina.let_in() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM triggerdo.grant_task('g-two', 'gus', 'trigger'); RETURN current_user; END $$;
RESET ROLE; SET ROLE gus;
SELECT gina.let_in(), triggerdo.trigger_task('g-two') IS NOT NULL AS triggered;
RESET ROLE; SET ROLE gina; SELECT triggerdo.revoke_task('g-two', 'gus', 'trigger'); RESET ROLE;

-- Administrators: others' runs, pause, purge, how others' tasks run; not what runs as others, nor who is one.
SELECT triggerdo.grant_admin('gadmin') AS new, triggerdo.grant_admin('gadmin') AS again;
SELECT test.error($$SELECT triggerdo.grant_admin('no such')$$), test.error($$SELECT triggerdo.grant_admin('public')$$), test.error($$SELECT triggerdo.grant_admin(NULL)$$), test.error($$SELECT triggerdo.revoke_admin(NULL)$$);
SET ROLE gadmin;
SELECT test.sees_of_gina() LIKE 'tasks g-command g-one g-two, runs %g-one/gina%g-two/gina%' AS sees_all;
SELECT triggerdo.cancel_run(test.granted('two'), 'by an administrator'), triggerdo.pause(), triggerdo.resume(), triggerdo.purge('1000 years'), triggerdo.define_task('g-two', description => 'by an administrator');
SELECT id, owner, run, description FROM triggerdo.tasks WHERE id = 'g-two';
SELECT test.error($$SELECT triggerdo.trigger_task('g-one')$$) AS trigger, test.error(format('SELECT triggerdo.run_now(%L)', test.granted('one'))) AS run_now, test.error($$SELECT triggerdo.define_task('g-two', 'test.no_work(jsonb)')$$) AS define, test.error($$SELECT triggerdo.drop_task('g-two')$$) AS drop_task,
       test.error($$SELECT triggerdo.grant_admin('gadmin')$$) AS grant_admin, test.error($$SELECT triggerdo.revoke_admin('gadmin')$$) AS revoke_admin, test.error('SELECT * FROM triggerdo.check_invariants()') AS invariants;
SELECT triggerdo.grant_task('g-two', 'gus', 'read') AS grants_on_others_tasks, triggerdo.revoke_task('g-two', 'gus', 'read');
SELECT * FROM triggerdo.grants WHERE privilege = 'admin' OR task LIKE 'g-%' ORDER BY task, role, privilege;
RESET ROLE;
SELECT triggerdo.revoke_admin('gadmin') AS there, triggerdo.revoke_admin('gadmin') AS again;
SET ROLE gadmin;
SELECT test.sees_of_gina();
SELECT test.error('SELECT triggerdo.pause()'), test.error('SELECT triggerdo.resume()'), test.error($$SELECT triggerdo.purge('1 day')$$);
RESET ROLE;

-- An id that is dropped takes its grants along; and runs of the one before are none of those that the next one grants.
SET ROLE gina;
SELECT triggerdo.grant_task('g-two', 'gus', 'read');
RESET ROLE; SET ROLE gus; SELECT test.sees_of_gina(); RESET ROLE;
SET ROLE gina;
SELECT triggerdo.drop_task('g-two');
RESET ROLE; SET ROLE gus; SELECT test.sees_of_gina(); RESET ROLE;
SET ROLE bob;
CREATE FUNCTION bob.g_two(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
SELECT triggerdo.define_task('g-two', 'bob.g_two');
SELECT triggerdo.trigger_task('g-two', '{"by":"bob"}') AS bobs \gset
RESET ROLE; SET ROLE gus; SELECT test.sees_of_gina(); RESET ROLE;
SET ROLE bob;
SELECT triggerdo.grant_task('g-two', 'gus', 'read'), triggerdo.grant_task('g-two', 'gus', 'manage');
RESET ROLE; SET ROLE gus;
SELECT test.sees_of_gina();
SELECT test.error(format('SELECT triggerdo.run_result(%L)', test.granted('two'))), test.error(format('SELECT triggerdo.cancel_run(%L)', test.granted('two'))), triggerdo.cancel_run(:'bobs');
RESET ROLE;
SELECT task, owner::regrole, role::regrole, privilege FROM _triggerdo."grant" WHERE task LIKE 'g-%' ORDER BY 1, 3, 4;
SET ROLE bob; SELECT triggerdo.drop_task('g-two'); RESET ROLE;

-- A role that is dropped leaves no right, whoever has its name next; what it was granted goes.
SET ROLE gina; SELECT triggerdo.grant_task('g-one', 'gus', 'read'); RESET ROLE;
SELECT triggerdo.grant_admin('gus');
REVOKE ALL ON SCHEMA triggerdo FROM gus; REVOKE ALL ON SCHEMA gina FROM gus; DROP ROLE gus;
CREATE ROLE gus LOGIN; GRANT USAGE ON SCHEMA triggerdo TO gus;
SET ROLE gus; SELECT test.sees_of_gina(); SELECT test.error($$SELECT triggerdo.pause()$$); RESET ROLE;
CREATE PROCEDURE test.await_grants_of_the_living(INOUT gone bool) LANGUAGE plpgsql AS $$
DECLARE until timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    WHILE EXISTS (SELECT FROM (SELECT role FROM _triggerdo."grant" UNION ALL SELECT role FROM _triggerdo.admin) g WHERE NOT EXISTS (SELECT FROM pg_roles a WHERE a.oid = g.role)) LOOP
        IF clock_timestamp() > until THEN gone := false; RETURN; END IF;
        PERFORM triggerdo.pause(); COMMIT; PERFORM triggerdo.resume(); COMMIT; PERFORM pg_sleep(0.01);   -- (wakes the scheduler)
    END LOOP;
    gone := true;
END $$;
CALL test.await_grants_of_the_living(NULL);
-- A role that is renamed is the same.
SET ROLE gina; SELECT triggerdo.grant_task('g-one', 'gus', 'read'); RESET ROLE;
ALTER ROLE gus RENAME TO gustav;
SET ROLE gustav; SELECT test.sees_of_gina() LIKE 'tasks g-one, runs %' AS still; RESET ROLE;

-- The rights are read once for a query, not for each row, also in a parallel plan; and the columns' memo does not grow when queries take turns.
-- Red without: the snapshot of the catalogs in tdo_origin() (src/origin.c) and read_granted(); memo_of() (src/api_state.c).
CREATE TABLE test.many AS SELECT i FROM generate_series(1, 20000) i;
GRANT SELECT ON test.many TO PUBLIC;
SET ROLE gina; SELECT cardinality(triggerdo.batch_trigger_task('g-one', array_fill(NULL::jsonb, '{500}'))); RESET ROLE;
CREATE FUNCTION test.plan_of(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || statement; END $$;
CREATE FUNCTION test.scans_of_rights() RETURNS bigint LANGUAGE sql SET search_path = pg_catalog AS $$ SELECT sum(pg_stat_get_xact_numscans(oid))::bigint FROM pg_class WHERE relnamespace = '_triggerdo'::regnamespace AND relname IN ('grant', 'admin', 'origin') $$;
\c -
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SET ROLE gustav;
SELECT bool_or(line ~ 'Gather') AS parallel FROM test.plan_of('SELECT count(*) FROM (SELECT max(i) AS most FROM test.many) m, triggerdo.runs r WHERE r.priority < m.most') line;
BEGIN;
SELECT count(*) > 500 AS runs FROM (SELECT max(i) AS most FROM test.many) m, triggerdo.runs r WHERE r.priority < m.most;
SELECT test.scans_of_rights() AS once_each;
DECLARE a CURSOR FOR SELECT status FROM triggerdo.runs;
DECLARE b CURSOR FOR SELECT status FROM triggerdo.runs;
DO $$ DECLARE s text; BEGIN FOR i IN 1..200 LOOP EXECUTE 'FETCH a' INTO s; EXECUTE 'FETCH b' INTO s; END LOOP; END $$;
RESET ROLE;
SELECT count(*) AS memos FROM pg_backend_memory_contexts WHERE name = 'triggerdo run';
ROLLBACK;
RESET ALL;

SET ROLE gina;
SELECT count(triggerdo.cancel_run(run_id)) > 500 AS canceled FROM triggerdo.runs WHERE finished_at IS NULL;
SELECT triggerdo.drop_task('g-one'), triggerdo.drop_task('g-command');
RESET ROLE;
SELECT count(*) AS left_over FROM _triggerdo."grant";
ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
SELECT * FROM triggerdo.check_invariants();
