-- Command tasks: SQL as a client would send it.

-- (one executor: the commands are done in their order)
ALTER SYSTEM SET triggerdo.executors = 1;
ALTER SYSTEM SET triggerdo.max_executors_per_role = 1;
SELECT pg_reload_conf();
\c -
CREATE SCHEMA cmd AUTHORIZATION app;
SET ROLE app;
CREATE FUNCTION cmd.ended(run uuid) RETURNS text LANGUAGE sql AS $$
    SELECT triggerdo.wait_for_run(run);
    SELECT concat_ws(' | ', status, 'attempt ' || attempt, output::text, error->>'sqlstate', error->>'message', 'HINT ' || nullif(error->>'hint', ''))
      FROM triggerdo.runs WHERE run_id = run $$;
CREATE TABLE cmd.orders (id int, note text);
INSERT INTO cmd.orders SELECT i, 'x' FROM generate_series(1, 100) i;
CREATE TABLE cmd.logged (run uuid, note text, xact xid8 DEFAULT pg_current_xact_id());
CREATE PROCEDURE cmd.twice() LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cmd.logged SELECT run_id, 'first' FROM triggerdo.current_run(); COMMIT;
    INSERT INTO cmd.logged SELECT run_id, 'second' FROM triggerdo.current_run(); COMMIT;
END $$;

-- Definition. Red without: tdo_toplevel_check() in tdo_sql_define_task(), its "empty" and check_statement(); "exclude each other".
SELECT c AS command, test.error(format('SELECT triggerdo.define_task(%L, command => %L)', 'no-command', c)) AS error
  FROM unnest(ARRAY['', ' ', ';', '-- nothing', 'SELEC 1', 'SELECT 1; SELEC 2', 'COPY cmd.orders FROM STDIN', 'COPY cmd.orders TO STDOUT', 'SELECT 1; COPY (SELECT 1) TO STDOUT', E'SELECT \'unfinished']) AS c;
SELECT test.error($$SELECT triggerdo.define_task('no-command', run => 'app.hello', command => 'VACUUM')$$);
SELECT test.error($$SELECT triggerdo.define_task('no-command', command => 'VACUUM', options => '{"ownCommits": true}')$$);
SELECT count(*) FROM triggerdo.tasks WHERE id = 'no-command';
SELECT triggerdo.define_task('shown', command => 'VACUUM cmd.orders', max_duration => '90 s', description => 'nightly');
SELECT id, kind, run, command, max_duration, description FROM triggerdo.tasks WHERE id IN ('shown', 'hello') ORDER BY id;
SELECT triggerdo.define_task('shown', run => 'app.hello');
SELECT id, kind, run, command, max_duration FROM triggerdo.tasks WHERE id = 'shown';
SELECT triggerdo.define_task('shown', command => 'SELECT 1');
SELECT id, kind, run, command FROM triggerdo.tasks WHERE id = 'shown';

-- What a command may be. Red without: tdo_portal_run() as top level in run_statement() (VACUUM, CONCURRENTLY), tdo_txn_implicit_block(),
-- the check of IsTransactionBlock() and of IsAbortedTransactionBlockState() in tdo_toplevel_command().
CREATE TEMP TABLE commands (n int GENERATED ALWAYS AS IDENTITY, id text, command text, run uuid);
INSERT INTO commands (id, command) VALUES
    ('vacuum', 'VACUUM (ANALYZE) cmd.orders'),
    ('index', 'CREATE INDEX CONCURRENTLY orders_id ON cmd.orders (id)'),
    ('reindex', 'REINDEX TABLE CONCURRENTLY cmd.orders'),
    ('drop-index', 'DROP INDEX CONCURRENTLY cmd.orders_id'),
    ('analyze', 'ANALYZE cmd.orders'),
    ('call', 'CALL cmd.twice()'),
    ('select', 'SELECT * FROM cmd.orders'),
    ('two', $$INSERT INTO cmd.logged SELECT run_id, 'a' FROM triggerdo.current_run(); INSERT INTO cmd.logged SELECT run_id, 'b' FROM triggerdo.current_run()$$),
    ('two-fail', $$INSERT INTO cmd.logged SELECT run_id, 'a' FROM triggerdo.current_run(); SELECT 1 / 0$$),
    ('begin', $$BEGIN; INSERT INTO cmd.logged SELECT run_id, 'a' FROM triggerdo.current_run(); COMMIT; INSERT INTO cmd.logged SELECT run_id, 'b' FROM triggerdo.current_run()$$),
    ('begin-fail', $$BEGIN; INSERT INTO cmd.logged SELECT run_id, 'a' FROM triggerdo.current_run(); COMMIT; SELECT 1 / 0$$),
    ('rollback', $$BEGIN; INSERT INTO cmd.logged SELECT run_id, 'a' FROM triggerdo.current_run(); ROLLBACK$$),
    ('savepoint', $$BEGIN; INSERT INTO cmd.logged SELECT run_id, 'a' FROM triggerdo.current_run(); SAVEPOINT s; INSERT INTO cmd.logged SELECT run_id, 'b' FROM triggerdo.current_run(); ROLLBACK TO s; COMMIT$$),
    ('left-open', $$BEGIN; INSERT INTO cmd.logged SELECT run_id, 'a' FROM triggerdo.current_run()$$),
    ('left-open-late', $$SELECT 1; BEGIN; INSERT INTO cmd.logged SELECT run_id, 'a' FROM triggerdo.current_run()$$),
    ('commit', 'COMMIT'),
    ('vacuum-in-two', 'SELECT 1; VACUUM cmd.orders'),
    ('do', $c$DO $x$ BEGIN INSERT INTO cmd.logged SELECT run_id, 'a' FROM triggerdo.current_run(); COMMIT; END $x$ $c$),
    ('payload', $$INSERT INTO cmd.logged SELECT run_id, payload->>'note' FROM triggerdo.current_run()$$),
    ('parameter', 'SELECT $1'),
    ('missing', 'VACUUM cmd.nowhere'),
    ('raise', $c$DO $x$ BEGIN RAISE 'no' USING ERRCODE = 'U1234', HINT = 'later'; END $x$ $c$),
    ('abort', $$SELECT triggerdo.abort_run('no use')$$),
    ('wait', $$SELECT triggerdo.wait_for_run('01900000-0000-7000-8000-000000000000')$$),
    ('database', 'CREATE DATABASE not_to_be'),
    ('system', $$ALTER SYSTEM SET work_mem = '1MB'$$),
    ('prepared', $$BEGIN; INSERT INTO cmd.logged SELECT run_id, 'a' FROM triggerdo.current_run(); PREPARE TRANSACTION 'of a command'$$),
    ('truncated', $$CREATE TABLE cmd.made (id int); INSERT INTO cmd.made VALUES (1); SELECT * FROM cmd.made$$),
    ('trigger', $$SELECT triggerdo.trigger_task('hello', '{"name": "a command"}')$$),
    ('explain', 'EXPLAIN SELECT * FROM cmd.orders'),
    ('show', 'SHOW work_mem'),
    ('cursor', 'DECLARE c CURSOR WITH HOLD FOR SELECT * FROM cmd.orders'),
    ('listen', 'LISTEN something');
SELECT count(triggerdo.define_task(id, command => command, retry => CASE WHEN id IN ('raise', 'abort') THEN triggerdo.retry_policy(2, 'none') END)) FROM commands;
UPDATE commands SET run = triggerdo.trigger_task(id, jsonb_build_object('note', 'from the payload'));
-- (without a snapshot, which CREATE INDEX CONCURRENTLY would wait for)
DO $$ BEGIN
    WHILE EXISTS (SELECT FROM triggerdo.runs r JOIN commands c ON c.run = r.run_id WHERE finished_at IS NULL) LOOP
        COMMIT;
        PERFORM pg_sleep(0.01);
        COMMIT;
    END LOOP;
END $$;
SELECT id, cmd.ended(run) AS ended FROM commands ORDER BY n;
SELECT c.id, string_agg(l.note, ', ' ORDER BY l.note) AS logged, count(DISTINCT xact) AS transactions
  FROM commands c JOIN cmd.logged l ON l.run = c.run GROUP BY c.id ORDER BY c.id COLLATE "C";
SELECT count(*) FROM pg_prepared_xacts;
ROLLBACK PREPARED 'of a command';
SELECT count(*) AS children FROM triggerdo.runs r JOIN commands c ON r.parent_run_id = c.run WHERE c.id = 'trigger';
SELECT relname FROM pg_class WHERE relnamespace = 'cmd'::regnamespace AND relname IN ('orders_id', 'made');

-- What it sets does not last. Red without: ResetAllOptions(), tdo_txn_as_defaults() in tdo_session_reset(); tdo_session_drop_temp(durable).
CREATE FUNCTION cmd.sees(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN jsonb_build_object('user', current_user, 'work_mem', current_setting('work_mem'), 'path', current_setting('search_path'),
        'read_only', current_setting('transaction_read_only'), 'temp', to_regclass('pg_temp.mine') IS NOT NULL,
        'cursors', (SELECT count(*) FROM pg_cursors WHERE name = 'c'), 'prepared', (SELECT count(*) FROM pg_prepared_statements WHERE from_sql),
        'advisory', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()));
END $$;
SELECT triggerdo.define_task('sees', 'cmd.sees');
SELECT triggerdo.define_task('sets', command => $$SET work_mem = '111kB'; SET search_path = cmd; SET default_transaction_read_only = on; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY$$),
       triggerdo.define_task('keeps', command => $$CREATE TEMP TABLE mine (id int); PREPARE p AS SELECT 1; DECLARE c CURSOR WITH HOLD FOR SELECT 1; SELECT pg_advisory_lock(4711)$$),
       triggerdo.define_task('drops', command => $$BEGIN; CREATE TEMP TABLE mine (id int); COMMIT; SELECT 1; DO 'BEGIN RAISE ''left''; END' $$);
CREATE TEMP TABLE looks AS
  SELECT n, id, triggerdo.trigger_task(id) AS run, triggerdo.trigger_task('sees') AS look FROM unnest('{sees,sets,keeps,drops}'::text[]) WITH ORDINALITY u(id, n);
SELECT id, left(cmd.ended(run), 21) AS ended, cmd.ended(look) AS look FROM looks ORDER BY n;
RESET ROLE;
ALTER SYSTEM RESET triggerdo.executors;
ALTER SYSTEM RESET triggerdo.max_executors_per_role;
SELECT pg_reload_conf();
\c -
SET ROLE app;
-- defined anew while runs wait: they do what it says now
SELECT triggerdo.trigger_task('show', delay => '1 hour') AS run \gset
SELECT triggerdo.define_task('show', command => $$INSERT INTO cmd.logged SELECT run_id, 'anew' FROM triggerdo.current_run()$$);
SELECT triggerdo.cancel_run(:'run');
SELECT triggerdo.trigger_task('show') AS run \gset
SELECT cmd.ended(:'run');
SELECT count(triggerdo.drop_task(id)) > 30 AS dropped FROM triggerdo.tasks WHERE kind = 'command';
RESET ROLE;
SELECT * FROM triggerdo.check_invariants();
