-- The access matrix: every function, procedure and view of schema triggerdo, by whom it is called, and what comes of it.
--
-- A new function or view needs a row, or this test fails. To add one:
--   1. one line in test.access below: its name, what the line is about, one statement, and nine outcomes, in the order of test.callers.
--      An outcome is "ok", a SQLSTATE, or a number: what the statement gives, if that is a number (so a view's is the count of its rows).
--      In the statement {run} is a queued run that the owner has triggered, {shared} one that the grantee of "trigger" has, {final} one
--      that is final, {free} an id that no run has; the task is a-task. It is rolled back, whatever it does.
--      A procedure's line has no statement: it is called below, by each in turn; copy those lines.
--   2. make check T="install access" KEEP=/tmp/k; read the difference (a line "wrong" must not be among them);
--      cp /tmp/k/regress/results/access.out expected/
--   3. put the lines that begin with "|" into docs/ACCESS.md: scripts/access-doc does (TAP 061_tenants compares)
-- Red without: each check of a right there is, among them tdo_may() in tdo_get_triggerable(), tdo_get_manageable_run(), tdo_get_readable_run(),
-- require_admin() in src/api_pause.c and src/api_admin.c, the predicates of sql/90_views.sql.

-- (one executor for the run that is in hand, none for the others)
ALTER SYSTEM SET triggerdo.executors = 1;
ALTER SYSTEM SET triggerdo.max_executors_per_role = 1;
SELECT pg_reload_conf();
\c -
CREATE ROLE a_admin LOGIN; CREATE ROLE a_owner LOGIN; CREATE ROLE a_trigger LOGIN; CREATE ROLE a_read LOGIN; CREATE ROLE a_work LOGIN; CREATE ROLE a_manage LOGIN; CREATE ROLE a_stranger LOGIN; CREATE ROLE a_outsider LOGIN;
GRANT USAGE ON SCHEMA triggerdo TO a_admin, a_owner, a_trigger, a_read, a_work, a_manage, a_stranger;
CREATE SCHEMA a_owner AUTHORIZATION a_owner;
GRANT USAGE ON SCHEMA a_owner TO PUBLIC;
CREATE FUNCTION test.other(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
-- a table that each of them owns, by membership
CREATE ROLE a_tables; CREATE TABLE test.followed (x int); ALTER TABLE test.followed OWNER TO a_tables;
GRANT a_tables TO a_admin, a_owner, a_trigger, a_read, a_work, a_manage, a_stranger, a_outsider;
SELECT triggerdo.grant_admin('a_admin');

-- Who calls, in the order of the outcomes.
CREATE TABLE test.callers (n int GENERATED ALWAYS AS IDENTITY, caller text, role name);
INSERT INTO test.callers (caller, role) VALUES ('superuser', current_user), ('admin', 'a_admin'), ('owner', 'a_owner'), ('trigger', 'a_trigger'), ('read', 'a_read'), ('work', 'a_work'), ('manage', 'a_manage'), ('stranger', 'a_stranger'), ('no USAGE', 'a_outsider');

CREATE TABLE test.access (n int GENERATED ALWAYS AS IDENTITY, name name, about text, statement text, expected text);
INSERT INTO test.access (name, about, statement, expected) VALUES
--                                                                                                    superuser admin owner trigger read work manage stranger outsider
    ('define_task', 'a new id', $$SELECT triggerdo.define_task('a-new', 'test.other')$$,                 '42501 ok ok ok ok ok ok ok 42501'),
    ('define_task', 'how the task runs', $$SELECT triggerdo.define_task('a-task', 'a_owner.work', description => 'again')$$, 'ok ok ok 42501 42501 42501 ok 42501 42501'),
    ('define_task', 'what the task runs', $$SELECT triggerdo.define_task('a-task', 'test.other')$$,      'ok 42501 ok 42501 42501 42501 42501 42501 42501'),
    ('drop_task', '', $$SELECT triggerdo.drop_task('a-task')$$,                                         'ok 42501 ok 42501 42501 42501 42501 42501 42501'),
    ('grant_task', '', $$SELECT triggerdo.grant_task('a-task', 'bob', 'read')$$,                        'ok ok ok 42501 42501 42501 42501 42501 42501'),
    ('revoke_task', '', $$SELECT triggerdo.revoke_task('a-task', 'bob', 'read')$$,                      'ok ok ok 42501 42501 42501 42501 42501 42501'),
    ('grant_admin', '', $$SELECT triggerdo.grant_admin('bob')$$,                                        'ok 42501 42501 42501 42501 42501 42501 42501 42501'),
    ('revoke_admin', '', $$SELECT triggerdo.revoke_admin('a_admin')$$,                                  'ok 42501 42501 42501 42501 42501 42501 42501 42501'),
    ('trigger_task', '', $$SELECT triggerdo.trigger_task('a-task')$$,                                   'ok 42501 ok ok 42501 42501 42501 42501 42501'),
    ('trigger_task', 'no such task', $$SELECT triggerdo.trigger_task('a-no-task')$$,                    '42704 42704 42704 42704 42704 42704 42704 42704 42501'),
    ('batch_trigger_task', '', $$SELECT triggerdo.batch_trigger_task('a-task', '{1,2}')$$,              'ok 42501 ok ok 42501 42501 42501 42501 42501'),
    ('trigger_batch', '', $$SELECT count(*)::text || ' item' FROM triggerdo.trigger_batch('[{"task":"a-task"}]')$$, 'ok 42501 ok ok 42501 42501 42501 42501 42501'),
    ('trigger_and_wait', '', NULL,                                                                      'ok 42501 ok ok 42501 42501 42501 42501 42501'),
    ('run_now', '', $$SELECT triggerdo.run_now('{run}')$$,                                              '42501 42501 ok 42501 42501 42501 42501 42501 42501'),
    ('run_now', 'triggered by the grantee', $$SELECT triggerdo.run_now('{shared}')$$,                   '42501 42501 ok 42501 42501 42501 42501 42501 42501'),
    ('run_now', 'no such run', $$SELECT triggerdo.run_now('{free}')$$,                                  '02000 42501 42501 42501 42501 42501 42501 42501 42501'),
    ('run_result', '', $$SELECT triggerdo.run_result('{run}')$$,                                        'ok ok ok 02000 ok 02000 02000 02000 42501'),
    ('run_result', 'triggered by the grantee', $$SELECT triggerdo.run_result('{shared}')$$,             'ok ok ok ok ok 02000 02000 02000 42501'),
    ('run_result', 'final', $$SELECT triggerdo.run_result('{final}') IS NOT NULL$$,                     'ok ok ok 02000 ok 02000 02000 02000 42501'),
    ('run_result', 'no such run', $$SELECT triggerdo.run_result('{free}')$$,                            '02000 02000 02000 02000 02000 02000 02000 02000 42501'),
    ('wait_for_run', '', $$SELECT triggerdo.wait_for_run('{run}', '0')$$,                               'ok ok ok 02000 ok 02000 02000 02000 42501'),
    ('cancel_run', '', $$SELECT triggerdo.cancel_run('{run}')$$,                                        'ok ok ok 02000 42501 02000 ok 02000 42501'),
    ('cancel_run', 'triggered by the grantee', $$SELECT triggerdo.cancel_run('{shared}')$$,             'ok ok ok 42501 42501 02000 ok 02000 42501'),
    ('cancel_run', 'no such run', $$SELECT triggerdo.cancel_run('{free}')$$,                            '02000 02000 02000 02000 02000 02000 02000 02000 42501'),
    ('cancel_runs', 'how many', $$SELECT triggerdo.cancel_runs('{"task":"a-task","status":"QUEUED"}')$$,  '2 2 2 0 0 0 2 0 42501'),
    ('reschedule_run', 'it is queued', $$SELECT triggerdo.reschedule_run('{run}', '1 h')$$,             'ok ok ok 02000 42501 02000 ok 02000 42501'),
    ('reschedule_run', 'triggered by the grantee', $$SELECT triggerdo.reschedule_run('{shared}', '1 h')$$, 'ok ok ok 42501 42501 02000 ok 02000 42501'),
    ('replay_run', '', $$SELECT triggerdo.replay_run('{run}')$$,                                        'ok ok ok 02000 42501 02000 ok 02000 42501'),
    ('replay_run', 'triggered by the grantee', $$SELECT triggerdo.replay_run('{shared}')$$,             'ok ok ok ok 42501 02000 ok 02000 42501'),
    ('replay_run', 'no such run', $$SELECT triggerdo.replay_run('{free}')$$,                            '02000 02000 02000 02000 02000 02000 02000 02000 42501'),
    ('replay_runs', 'how many', $$SELECT triggerdo.replay_runs('{"task":"a-task","status":"QUEUED"}')$$,  '2 2 2 1 0 0 2 0 42501'),
    ('on_change', 'of a table of the caller''s', $$SELECT triggerdo.on_change('test.followed', 'a-task')$$, 'ok 42501 ok ok 42501 42501 42501 42501 42501'),
    ('on_change', 'of a table of the owner''s', $$SELECT triggerdo.on_change('a_owner.followed', 'a-task')$$, 'ok 42501 ok 42501 42501 42501 42501 42501 42501'),
    ('drop_on_change', 'of a table of the owner''s', $$SELECT triggerdo.drop_on_change('a_owner.followed', 'a-task')$$, 'ok 42501 ok 42501 42501 42501 42501 42501 42501'),
    ('reset_idempotency_key', '', $$SELECT triggerdo.reset_idempotency_key('a-task', 'no such key')$$,  'ok 42501 ok ok 42501 42501 42501 42501 42501'),
    ('current_run', 'outside a run', $$SELECT count(*) FROM triggerdo.current_run()$$,                  '0 0 0 0 0 0 0 0 42501'),
    ('abort_run', 'outside a run', $$SELECT triggerdo.abort_run('x')$$,                                 '55000 55000 55000 55000 55000 55000 55000 55000 42501'),
    ('retry_run_at', 'outside a run', $$SELECT triggerdo.retry_run_at('2222-02-02', 'x')$$,             '55000 55000 55000 55000 55000 55000 55000 55000 42501'),
    ('retry_policy', '', $$SELECT triggerdo.retry_policy()$$,                                           'ok ok ok ok ok ok ok ok 42501'),
    ('retry_delay', '', $$SELECT triggerdo.retry_delay('{}', 1)$$,                                      'ok ok ok ok ok ok ok ok 42501'),
    ('version', '', $$SELECT triggerdo.version() || ''$$,                                               'ok ok ok ok ok ok ok ok 42501'),
    ('pause', '', $$SELECT triggerdo.pause()$$,                                                         'ok ok 42501 42501 42501 42501 42501 42501 42501'),
    ('resume', '', $$SELECT triggerdo.resume()$$,                                                       'ok ok 42501 42501 42501 42501 42501 42501 42501'),
    ('purge', '', $$SELECT triggerdo.purge('1000 years')$$,                                             '0 0 42501 42501 42501 42501 42501 42501 42501'),
    ('check_invariants', '', $$SELECT count(*) FROM triggerdo.check_invariants()$$,                     '0 42501 42501 42501 42501 42501 42501 42501 42501'),
    ('tasks', '', $$SELECT count(*) FROM triggerdo.tasks WHERE id LIKE 'a-%'$$,                         '2 2 2 1 1 1 1 0 42501'),
    ('runs', '', $$SELECT count(*) FROM triggerdo.runs WHERE task LIKE 'a-%'$$,                         '5 5 5 1 4 0 0 0 42501'),
    ('attempts', '', $$SELECT count(*) FROM triggerdo.attempts WHERE task LIKE 'a-%'$$,                 '1 1 1 0 1 0 0 0 42501'),
    ('changes', '', $$SELECT count(*) FROM triggerdo.changes WHERE task LIKE 'a-%'$$,                   '1 1 1 0 0 0 0 0 42501'),
    ('hooks', '', $$SELECT count(*) FROM triggerdo.hooks WHERE task LIKE 'a-%'$$,                       '1 1 1 0 1 0 0 0 42501'),
    ('grants', '', $$SELECT count(*) FROM triggerdo.grants WHERE task LIKE 'a-%'$$,                     '4 4 4 1 1 1 1 0 42501'),
    ('stats', 'runs that wait', $$SELECT coalesce(sum(queued), 0) FROM triggerdo.stats WHERE task LIKE 'a-%'$$, '3 3 3 1 2 0 0 0 42501'),
    ('workers', 'executors', $$SELECT count(*) FROM triggerdo.workers WHERE kind = 'executor' AND state = 'busy'$$, '1 1 1 0 1 0 0 0 42501'),
    ('workers', 'launcher', $$SELECT count(*) FROM triggerdo.workers WHERE kind = 'launcher'$$,         '1 1 1 1 1 1 1 1 42501');

-- a function or view without a line
SELECT proname AS without_a_line FROM pg_proc WHERE pronamespace = 'triggerdo'::regnamespace AND proname NOT IN (SELECT name FROM test.access)
UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'triggerdo'::regnamespace AND relkind IN ('v', 'm', 'r', 'f', 'p', 'S') AND relname NOT IN (SELECT name FROM test.access);
-- and a line without a function or view, or without nine outcomes
SELECT name FROM test.access WHERE name NOT IN (SELECT proname FROM pg_proc WHERE pronamespace = 'triggerdo'::regnamespace UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'triggerdo'::regnamespace)
    OR cardinality(string_to_array(expected, ' ')) <> (SELECT count(*) FROM test.callers);

-- The owner's task and runs: one in an executor's hand, one final, two queued, one of a task on which nothing is granted.
SET ROLE a_owner;
CREATE TABLE a_owner.go (x int); CREATE TABLE a_owner.followed (x int);
CREATE FUNCTION a_owner.work(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN WHILE payload ? 'wait' AND NOT EXISTS (SELECT FROM a_owner.go) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN payload; END $$;
CREATE FUNCTION a_owner.fails(run jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'failed'; END $$;
SELECT triggerdo.define_task('a-task', 'a_owner.work', on_success => 'a_owner.fails'), triggerdo.define_task('a-own', 'a_owner.work');
SELECT triggerdo.grant_task('a-task', r::name, p) FROM (VALUES ('a_trigger', 'trigger'), ('a_read', 'read'), ('a_work', 'work'), ('a_manage', 'manage')) x(r, p);
SELECT triggerdo.on_change('a_owner.followed', 'a-task');
SELECT triggerdo.trigger_task('a-task', '{"wait":1}') AS hand \gset
RESET ROLE;
SELECT test.await_status(:'hand', 'EXECUTING');
ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SET ROLE a_owner;
SELECT triggerdo.trigger_task('a-task', '1') AS final \gset
SELECT triggerdo.run_now(:'final')->'ok' AS ok;
SELECT triggerdo.trigger_task('a-task', '2') AS run, triggerdo.trigger_task('a-own', '3') AS own \gset
RESET ROLE; SET ROLE a_trigger;
SELECT triggerdo.trigger_task('a-task', '4') AS shared \gset
RESET ROLE;
UPDATE test.access SET statement = replace(replace(replace(replace(statement, '{run}', :'run'), '{shared}', :'shared'), '{final}', :'final'), '{free}', '01890000-0000-7000-8000-000000000000');

-- What a statement comes to when a role sends it; nothing of it stays.
CREATE FUNCTION test.attempt(role name, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE given text;
BEGIN
    PERFORM set_config('role', role, true);
    EXECUTE statement INTO given;
    RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = CASE WHEN given ~ '^\d+$' THEN given ELSE 'ok' END;
EXCEPTION WHEN SQLSTATE 'ZZ000' THEN RETURN sqlerrm; WHEN OTHERS THEN RETURN sqlstate;
END $$;
CREATE TABLE test.outcome (line int, caller int, outcome text);
INSERT INTO test.outcome SELECT a.n, c.n, test.attempt(c.role, a.statement) FROM test.access a, test.callers c WHERE a.statement IS NOT NULL;

-- Procedures, which commit: each caller by itself, in a session's own transaction.
INSERT INTO a_owner.go VALUES (1);
SELECT test.await_status(:'hand', 'COMPLETED');
ALTER SYSTEM SET triggerdo.executors = 1;
SELECT pg_reload_conf();
\c -
\set VERBOSITY terse
SELECT current_user AS super \gset
SELECT n AS line FROM test.access WHERE name = 'trigger_and_wait' \gset
\pset footer off
\t on
SET ROLE :"super"; CALL triggerdo.trigger_and_wait('a-task', '{}', NULL) \gset
\set state :SQLSTATE
RESET ROLE; INSERT INTO test.outcome VALUES (:line, 1, :'state');
SET ROLE a_admin; CALL triggerdo.trigger_and_wait('a-task', '{}', NULL) \gset
\set state :SQLSTATE
RESET ROLE; INSERT INTO test.outcome VALUES (:line, 2, :'state');
SET ROLE a_owner; CALL triggerdo.trigger_and_wait('a-task', '{}', NULL) \gset
\set state :SQLSTATE
RESET ROLE; INSERT INTO test.outcome VALUES (:line, 3, :'state');
SET ROLE a_trigger; CALL triggerdo.trigger_and_wait('a-task', '{}', NULL) \gset
\set state :SQLSTATE
RESET ROLE; INSERT INTO test.outcome VALUES (:line, 4, :'state');
SET ROLE a_read; CALL triggerdo.trigger_and_wait('a-task', '{}', NULL) \gset
\set state :SQLSTATE
RESET ROLE; INSERT INTO test.outcome VALUES (:line, 5, :'state');
SET ROLE a_work; CALL triggerdo.trigger_and_wait('a-task', '{}', NULL) \gset
\set state :SQLSTATE
RESET ROLE; INSERT INTO test.outcome VALUES (:line, 6, :'state');
SET ROLE a_manage; CALL triggerdo.trigger_and_wait('a-task', '{}', NULL) \gset
\set state :SQLSTATE
RESET ROLE; INSERT INTO test.outcome VALUES (:line, 7, :'state');
SET ROLE a_stranger; CALL triggerdo.trigger_and_wait('a-task', '{}', NULL) \gset
\set state :SQLSTATE
RESET ROLE; INSERT INTO test.outcome VALUES (:line, 8, :'state');
SET ROLE a_outsider; CALL triggerdo.trigger_and_wait('a-task', '{}', NULL) \gset
\set state :SQLSTATE
RESET ROLE; INSERT INTO test.outcome VALUES (:line, 9, :'state');
UPDATE test.outcome SET outcome = 'ok' WHERE outcome = '00000';

-- What is other than expected: nothing.
SELECT format('wrong: %s (%s) by %s: %s, not %s', a.name, a.about, c.caller, o.outcome, (string_to_array(a.expected, ' '))[c.n])
  FROM test.access a CROSS JOIN test.callers c LEFT JOIN test.outcome o ON o.line = a.n AND o.caller = c.n
 WHERE o.outcome IS DISTINCT FROM (string_to_array(a.expected, ' '))[c.n] ORDER BY a.n, c.n;

-- The matrix, for docs/ACCESS.md.
\pset format unaligned
SELECT '| function, view | about | ' || string_agg(caller, ' | ' ORDER BY n) || ' |' FROM test.callers;
SELECT '|---|---|' || string_agg('---', '|') || '|' FROM test.callers;
SELECT format('| `%s` | %s | %s |', a.name, a.about, string_agg(o.outcome, ' | ' ORDER BY o.caller)) FROM test.access a JOIN test.outcome o ON o.line = a.n GROUP BY a.n, a.name, a.about ORDER BY a.name COLLATE "C", a.n;
\pset format aligned
\t off
\pset footer on

SET ROLE a_owner;
SELECT count(triggerdo.cancel_run(run_id)) >= 0 AS canceled FROM triggerdo.runs WHERE finished_at IS NULL;
SELECT triggerdo.drop_task('a-task'), triggerdo.drop_task('a-own');
RESET ROLE;
SELECT triggerdo.revoke_admin('a_admin');
ALTER SYSTEM RESET triggerdo.executors;
ALTER SYSTEM RESET triggerdo.max_executors_per_role;
SELECT pg_reload_conf();
SELECT * FROM triggerdo.check_invariants();
