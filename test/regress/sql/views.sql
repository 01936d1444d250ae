-- The views: who sees what, every status, and nothing leaks.

ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
CREATE ROLE vera LOGIN; GRANT USAGE ON SCHEMA triggerdo TO vera; CREATE SCHEMA vera AUTHORIZATION vera; -- an owner of her own
GRANT vera TO carol; GRANT vera TO dave;

SET ROLE vera;
CREATE FUNCTION vera.secretive(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN IF payload ? 'fail' THEN RAISE 'vera''s secret error'; END IF; RETURN '"vera''s secret output"'; END $$;
SELECT triggerdo.define_task('vera-task', 'vera.secretive', description => 'vera''s secret description'),
       triggerdo.define_task('vera-retried', 'vera.secretive', retry => '{"maxAttempts":3,"minTimeoutInMs":60000}');
SELECT triggerdo.trigger_task('vera-task', '{"secret":"completed"}', tags => '{secret}', metadata => '{"secret":1}') AS completed, triggerdo.trigger_task('vera-task', '{"fail":1}') AS failed,
       triggerdo.trigger_task('vera-task', '{"secret":"queued"}') AS queued, triggerdo.trigger_task('vera-task', delay => '1 day') AS delayed, triggerdo.trigger_task('vera-task') AS canceled,
       triggerdo.trigger_task('vera-retried', '{"fail":2}') AS retried \gset
SELECT triggerdo.run_now(:'completed')->'ok' AS completed, triggerdo.run_now(:'failed')->'ok' AS failed, triggerdo.run_now(:'retried')->'ok' AS retried, triggerdo.cancel_run(:'canceled') AS canceled;
RESET ROLE;
SET ROLE carol;
SELECT triggerdo.trigger_task('vera-task', '{"secret":"carol''s"}') AS carols \gset
RESET ROLE;

-- Every status a run can have here, and what each says of its times.
-- Red without: the cases of status_name() in src/api_view.c.
SET ROLE vera;
SELECT status, count(*), bool_and(output IS NOT NULL) AS output, bool_and(error IS NOT NULL) AS error, bool_and(attempt > 0) AS attempts, bool_and(queued_at IS NOT NULL) AS queued_at,
       bool_and(started_at IS NOT NULL) AS started_at, bool_and(finished_at IS NOT NULL) AS finished_at, bool_and(delayed_until IS NOT NULL) AS delayed_until,
       bool_and(coalesce(queued_at, created_at) BETWEEN created_at AND created_at + interval '1 min') AS queued_at_about
  FROM triggerdo.runs GROUP BY status ORDER BY status;
SELECT task, queued, delayed, executing, retrying, now() - oldest_queued_at < interval '1 min' AS oldest FROM triggerdo.stats ORDER BY task;
SELECT task, attempt, status, error->>'message' AS message, retry_at > finished_at AS retried FROM triggerdo.attempts ORDER BY run_id, attempt;
SELECT id, owner, kind, run, queue, description FROM triggerdo.tasks ORDER BY id;
RESET ROLE;

-- Who sees them: the owner, members that inherit, superusers; who triggered one, that one; nobody else.
-- Red without: _triggerdo.may_read() in each view of sql/90_views.sql.
CREATE FUNCTION test.sees() RETURNS TABLE (who name, tasks bigint, runs bigint, attempts bigint, stats bigint, queued numeric) LANGUAGE sql AS $$
    SELECT current_user, (SELECT count(*) FROM triggerdo.tasks WHERE id LIKE 'vera%'), (SELECT count(*) FROM triggerdo.runs WHERE task LIKE 'vera%'),
           (SELECT count(*) FROM triggerdo.attempts WHERE task LIKE 'vera%'), (SELECT count(*) FROM triggerdo.stats WHERE task LIKE 'vera%'),
           (SELECT sum(queued) FROM triggerdo.stats WHERE task LIKE 'vera%') $$;
SELECT * FROM test.sees() OFFSET 0 \gset su_
SELECT :su_tasks AS tasks, :su_runs AS runs, :su_attempts AS attempts, :su_stats AS stats, :su_queued AS queued;
SET ROLE vera;
SELECT * FROM test.sees();
SET ROLE carol;
SELECT * FROM test.sees();
RESET ROLE; SET ROLE dave;
SELECT * FROM test.sees();
RESET ROLE; SET ROLE eve;
SELECT * FROM test.sees();
RESET ROLE;
REVOKE vera FROM carol;
SET ROLE carol;
SELECT * FROM test.sees();
SELECT payload FROM triggerdo.runs WHERE task LIKE 'vera%';
RESET ROLE; SET ROLE outsider;
SELECT v, test.error('SELECT * FROM triggerdo.' || v) FROM unnest('{tasks,runs,attempts,workers,stats}'::text[]) v;
RESET ROLE;
-- within one session the answer follows the role, also in a prepared plan
SET plan_cache_mode = force_generic_plan;
PREPARE seen AS SELECT count(*) FROM triggerdo.runs WHERE task LIKE 'vera%';
EXECUTE seen;
SET ROLE eve;
EXECUTE seen;
SET ROLE vera;
EXECUTE seen;
RESET ROLE;
RESET plan_cache_mode;
-- in a view of somebody else's, and a SECURITY DEFINER function, it is the one whose rights count
SET ROLE eve;
CREATE FUNCTION eve.as_eve() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT count(*) FROM triggerdo.runs WHERE task LIKE 'vera%' $$;
GRANT USAGE ON SCHEMA eve TO vera;
SET ROLE vera;
SELECT eve.as_eve();
RESET ROLE;

CREATE FUNCTION test.explain(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || statement; END $$;
-- A leaky function that costs nothing is called for no row that is hidden, and an error tells of none.
-- Red without: security_barrier on each other view of sql/90_views.sql; of runs: ENABLE ROW LEVEL SECURITY on run (sql/20_tables.sql).
SET ROLE eve;
CREATE FUNCTION eve.leak(v text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'leaked: %', v; RETURN true; END $$;
CREATE FUNCTION eve.leak_eq(text, text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'leaked: %', $1; RETURN true; END $$;
CREATE OPERATOR eve.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = eve.leak_eq);
SELECT count(*) FROM triggerdo.runs r WHERE eve.leak(r::text);
SELECT count(*) FROM triggerdo.runs r WHERE eve.leak(payload::text) AND eve.leak(output::text) AND eve.leak(error::text);
SELECT count(*) FROM triggerdo.tasks t WHERE eve.leak(t::text);
SELECT count(*) FROM triggerdo.tasks t WHERE id OPERATOR(eve.===) 'x';
SELECT count(*) FROM triggerdo.attempts a WHERE eve.leak(a::text);
SELECT count(*) FROM triggerdo.stats s WHERE eve.leak(s::text);
SELECT count(*) FROM triggerdo.stats s WHERE eve.leak(task);
SELECT count(*) FROM triggerdo.workers w WHERE role IS NOT NULL AND eve.leak(w::text);
SELECT count(*) FROM triggerdo.tasks r JOIN triggerdo.stats a ON eve.leak(r.id || a.task) WHERE r.id < a.task;
SELECT count(*) FROM triggerdo.runs WHERE 1 / (length(task) - length(task)) = 1;
SELECT count(*) FROM triggerdo.runs WHERE (payload->>'secret')::int = 1;
SELECT r.run_id FROM generate_series(1, 1) g LEFT JOIN triggerdo.runs r ON eve.leak(r.payload::text);
-- wherever it stands: over the run's own columns, over those that functions give, in the output, in the order; as an error; in EXPLAIN ANALYZE
CREATE FUNCTION eve.leak_int(v text) RETURNS int LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'leaked: %', v; RETURN 1; END $$;
SELECT count(*) FROM triggerdo.runs WHERE eve.leak(status::text) AND eve.leak(output::text) AND eve.leak(error::text) AND eve.leak(attempt::text || finished_at::text || max_attempts);
SELECT eve.leak_int(payload::text), eve.leak_int(output::text) FROM triggerdo.runs;
SELECT run_id FROM triggerdo.runs ORDER BY eve.leak_int(payload::text), eve.leak_int(output::text) LIMIT 5;
SELECT eve.leak_int(task), count(*) FROM triggerdo.runs GROUP BY 1;
SELECT DISTINCT ON (eve.leak_int(task)) task FROM triggerdo.runs WHERE task = 'vera-task' ORDER BY eve.leak_int(task), created_at DESC LIMIT 50;
SELECT count(*) FROM triggerdo.runs WHERE (output#>>'{}')::int = 1;
SELECT count(*) FROM triggerdo.runs WHERE (error->>'message')::int = 1;
SELECT count(*) FROM triggerdo.runs a JOIN triggerdo.runs b ON eve.leak(a.payload::text || b.output::text);
SELECT count(*) FROM (SELECT * FROM triggerdo.runs OFFSET 0) r WHERE eve.leak(r::text);
SELECT line FROM test.explain('SELECT * FROM triggerdo.runs WHERE eve.leak(payload::text) ORDER BY created_at LIMIT 5') line WHERE line ~ 'actual rows=[1-9]';
CREATE VIEW eve.over AS SELECT * FROM triggerdo.runs WHERE eve.leak(payload::text); GRANT SELECT ON eve.over TO PUBLIC;
SELECT count(*) FROM eve.over;
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off;
SELECT count(*) FROM triggerdo.runs r WHERE eve.leak(r::text);
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_seqscan;
-- (it leaks what eve may see: the test would see it)
CREATE FUNCTION eve.own(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
SELECT triggerdo.define_task('eve-own', 'eve.own');
SELECT count(*) FROM triggerdo.tasks t WHERE eve.leak(id);

-- A plan that was made for somebody who sees all is not used for somebody who does not (CVE-2024-10976): also below a subquery, and in a function.
RESET ROLE;
SET plan_cache_mode = force_generic_plan;
PREPARE leaking AS SELECT count(*) FROM (SELECT payload FROM triggerdo.runs WHERE task = 'vera-task' OFFSET 0) r WHERE payload::text <> '';
CREATE FUNCTION test.noisy(v text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN IF current_user = 'eve' THEN RAISE NOTICE 'leaked: %', v; END IF; RETURN true; END $$;
PREPARE leaking_too AS SELECT (SELECT count(*) FROM triggerdo.runs WHERE task = 'vera-task' AND test.noisy(payload::text));
EXECUTE leaking; EXECUTE leaking_too;
SET ROLE eve;
EXECUTE leaking; EXECUTE leaking_too;
RESET ROLE; SET ROLE vera;
EXECUTE leaking; EXECUTE leaking_too;
RESET ROLE; SET ROLE eve;
EXECUTE leaking; EXECUTE leaking_too;
RESET ROLE;
RESET plan_cache_mode; DEALLOCATE leaking; DEALLOCATE leaking_too;
-- A role that bypasses row security sees no more of them. (But for it there is no barrier: docs/SECURITY.md.) Red without: may_read() in the view of runs.
CREATE ROLE bypass BYPASSRLS; GRANT USAGE ON SCHEMA triggerdo TO bypass;
SET ROLE bypass;
SELECT count(*) FROM triggerdo.runs;
SELECT test.error('SELECT * FROM _triggerdo.run');
RESET ROLE; REVOKE ALL ON SCHEMA triggerdo FROM bypass; DROP ROLE bypass;
-- What row security would change cannot be asked for without it.
SET ROLE eve;
SET row_security = off;
SELECT test.error('SELECT * FROM triggerdo.runs');
RESET row_security;

-- Views are read only, and their planner statistics are nobody's. Red with: GRANT ALL in sql/90_views.sql.
SELECT v, has_table_privilege('triggerdo.' || v, 'SELECT') AS may_select, has_table_privilege('triggerdo.' || v, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') AS may_change
  FROM unnest('{tasks,runs,attempts,workers,stats}'::text[]) v;
SELECT test.error($$DELETE FROM triggerdo.tasks$$);
SELECT count(*) FROM pg_stats WHERE schemaname = '_triggerdo';

-- _triggerdo cannot be named by a plain role: no table, no function, no type, no partition.
-- Red with: GRANT USAGE ON SCHEMA _triggerdo anywhere in sql/.
SELECT has_schema_privilege('_triggerdo', 'USAGE') AS usage, has_schema_privilege('_triggerdo', 'CREATE') AS create, has_schema_privilege('triggerdo', 'CREATE') AS create_public;
SELECT t, test.error('SELECT * FROM _triggerdo.' || t) AS error FROM unnest('{task,run,result,attempt,live,timer}'::text[]) t;
SELECT oid AS run FROM pg_class WHERE relname = 'run' AND relkind = 'p' \gset
SELECT oid AS part FROM pg_class WHERE relname ~ '^run_\d{8}$' LIMIT 1 \gset
-- (a server without libxml has not this way in)
SELECT regexp_replace(test.error(format('SELECT table_to_xml(%s::regclass, true, false, $$$$)', :run)), '^0A000 .*libxml.*', '42501 | permission denied for schema _triggerdo') AS by_oid, test.error(format('SELECT table_to_xml(%s::regclass, true, false, $$$$)', :part)) ~ '^(42501|0A000 .*libxml)' AS part_by_oid, test.error('TABLE _triggerdo.run');
SELECT test.error($$SELECT _triggerdo.run_output('01890000-0000-7000-8000-000000000000')$$), test.error($$SELECT _triggerdo.run_status('01890000-0000-7000-8000-000000000000')$$);
SELECT test.error($$INSERT INTO _triggerdo.live SELECT$$), test.error($$SELECT _triggerdo.may_read(0::oid, 0::oid)$$), test.error($$SELECT * FROM _triggerdo.worker_rows()$$),
       test.error($$SELECT _triggerdo.announce()$$), test.error($$SELECT '_triggerdo.announce'::regproc$$), test.error($$CREATE TABLE eve.t (LIKE _triggerdo.run)$$),
       test.error($$CREATE TABLE eve.t () INHERITS (_triggerdo.run)$$), test.error($$LOCK TABLE _triggerdo.live$$), test.error($$CREATE FUNCTION triggerdo.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'$$);
SELECT test.error('SELECT * FROM triggerdo.check_invariants()') AS for_superusers;
RESET ROLE;
-- and were it granted: tables have no privilege (run: SELECT, for its view) and row security without a policy, partitions too. Red without: ENABLE ROW LEVEL SECURITY in sql/20_tables.sql, make_one() in src/store.c.
SELECT count(*) > 8 AS some, bool_and(relrowsecurity) AS row_security, bool_and(relacl IS NULL) FILTER (WHERE relname <> 'run') AS no_grants, bool_and(relacl::text LIKE '{%,=r/%}') FILTER (WHERE relname = 'run') AS reading FROM pg_class WHERE relnamespace = '_triggerdo'::regnamespace AND relkind IN ('r', 'p');
GRANT USAGE ON SCHEMA _triggerdo TO eve;
SET ROLE eve;
SELECT (SELECT count(*) FROM _triggerdo.run) AS runs, (SELECT count(*) FROM _triggerdo.run r WHERE eve.leak(r::text)) AS leaked;
RESET ROLE;
REVOKE USAGE ON SCHEMA _triggerdo FROM eve;
SELECT count(*) FROM pg_policy p JOIN pg_class c ON c.oid = polrelid WHERE relnamespace = '_triggerdo'::regnamespace;

ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
\c -
SELECT triggerdo.wait_for_run(:'queued')->'ok' AS queued, triggerdo.wait_for_run(:'carols')->'ok' AS carols;
-- the executors of a role are seen by who may read its runs
SET ROLE vera;
SELECT kind, database, role FROM triggerdo.workers GROUP BY 1, 2, 3 ORDER BY kind COLLATE "C", role;
RESET ROLE;
SET ROLE eve;
SELECT kind, database, role FROM triggerdo.workers GROUP BY 1, 2, 3 ORDER BY kind COLLATE "C", role;
SELECT triggerdo.drop_task('eve-own');
RESET ROLE;
SELECT triggerdo.cancel_run(:'delayed'), triggerdo.cancel_run(:'retried');
SELECT * FROM triggerdo.check_invariants();
