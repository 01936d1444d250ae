-- Planted code on the search_path: nothing of triggerdo's ever calls it.
--
-- Schema evil holds a copy of every operator and nearly every function and
-- aggregate of pg_catalog, and domains named as its types, each of which counts
-- its calls. Every public function is called and every view is read with evil
-- first on the path: by a plain role, in its executors (ALTER ROLE ... SET), in
-- the scheduler (ALTER DATABASE ... SET), and by a superuser.
-- Red without: OPERATOR(pg_catalog. and door_pin("search_path") in src/store.c (two
-- walls: either holds alone), the same and SET search_path of check_invariants();
-- any unqualified name or operator in SQL that triggerdo may come to run.

SELECT current_user AS super \gset
-- (what purge() finds below is this test's alone, and retention does not take it first)
ALTER SYSTEM SET triggerdo.retention = 0;
SELECT pg_reload_conf();
SELECT triggerdo.purge('0') IS NOT NULL AS purged;
SET client_min_messages = error;
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
-- (a sequence: a rollback does not hide a hit; the warning names it)
CREATE SEQUENCE evil.hits MINVALUE 0 START 0;
CREATE FUNCTION evil.hit(what text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM nextval('evil.hits');
    RAISE WARNING 'planted code ran: %, superuser: %', what, (SELECT rolsuper FROM pg_roles WHERE rolname = session_user);
END $$;
-- domains named as types
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY '{uuid,jsonb,text,oid,timestamptz,interval,bool,int2,int4,int8,float8,name,"char",numeric,xid8,json,date}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION evil.%I(v pg_catalog.%s) RETURNS pg_catalog.bool LANGUAGE plpgsql AS %L', 'check_' || t, t,
                       format('BEGIN PERFORM evil.hit(%L); RETURN true; END', 'type ' || t));
        EXECUTE format('CREATE DOMAIN evil.%s AS pg_catalog.%s CHECK (evil.%I(VALUE))', t, t, 'check_' || t);
    END LOOP;
END $$;
-- functions, with the signatures of pg_catalog's (those that plpgsql can have)
DO $$
DECLARE p record; planted int := 0;
BEGIN
    FOR p IN SELECT proname, oid::regprocedure::text AS signature, oid, prorettype, proretset, pronargs, provariadic, proargtypes, prokind FROM pg_proc
              WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset AND provariadic = 0
                AND NOT ('{internal,cstring,"\"any\"",trigger,event_trigger,language_handler,fdw_handler,index_am_handler,table_am_handler,tsm_handler,record,pg_ddl_command}'::regtype[]
                         && (string_to_array(proargtypes::text, ' ')::oid[]::regtype[] || prorettype::regtype)) LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', p.proname,
                (SELECT coalesce(string_agg('pg_catalog.' || quote_ident(t.typname), ', ' ORDER BY a.n), '') FROM unnest(string_to_array(p.proargtypes::text, ' ')::oid[]) WITH ORDINALITY a(o, n) JOIN pg_type t ON t.oid = a.o),
                (SELECT 'pg_catalog.' || quote_ident(typname) FROM pg_type WHERE oid = p.prorettype),
                format(CASE p.prorettype WHEN 'void'::regtype THEN 'BEGIN PERFORM evil.hit(%L); END' ELSE 'BEGIN PERFORM evil.hit(%L); RETURN NULL; END' END, p.signature));
            planted := planted + 1;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    IF planted < 1500 THEN RAISE 'only % functions planted', planted; END IF;
END $$;
-- what takes any argument: an overload that fits better
CREATE FUNCTION evil.count_step(pg_catalog.int8) RETURNS pg_catalog.int8 LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.hit('count'); RETURN 0; END $$;
CREATE AGGREGATE evil.count(*) (SFUNC = evil.count_step, STYPE = pg_catalog.int8, INITCOND = '0');
CREATE FUNCTION evil.coalesce(VARIADIC anyarray) RETURNS anyelement LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.hit('coalesce'); RETURN NULL; END $$;
CREATE FUNCTION evil.jsonb_build_object(VARIADIC anyarray) RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.hit('jsonb_build_object'); RETURN NULL; END $$;
CREATE FUNCTION evil.format(pg_catalog.text, anyelement) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.hit('format'); RETURN NULL; END $$;
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY '{uuid,jsonb,text,oid,timestamptz,interval,bool,int2,int4,int8,float8}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION evil.step(pg_catalog.%1$s, pg_catalog.%1$s) RETURNS pg_catalog.%1$s LANGUAGE plpgsql AS %2$L', t, 'BEGIN PERFORM evil.hit(''aggregate''); RETURN $2; END');
        EXECUTE format('CREATE AGGREGATE evil.max(pg_catalog.%1$s) (SFUNC = evil.step, STYPE = pg_catalog.%1$s)', t);
        EXECUTE format('CREATE AGGREGATE evil.min(pg_catalog.%1$s) (SFUNC = evil.step, STYPE = pg_catalog.%1$s)', t);
        EXECUTE format('CREATE AGGREGATE evil.count(pg_catalog.%1$s) (SFUNC = evil.step, STYPE = pg_catalog.%1$s)', t);
    END LOOP;
END $$;
-- operators, every one
DO $$
DECLARE o record; planted int := 0; args text;
BEGIN
    FOR o IN SELECT op.oprname, op.oid, l.typname AS l, r.typname AS r, res.typname AS res FROM pg_operator op LEFT JOIN pg_type l ON l.oid = oprleft JOIN pg_type r ON r.oid = oprright JOIN pg_type res ON res.oid = oprresult
              WHERE oprnamespace = 'pg_catalog'::regnamespace LOOP
        args := concat_ws(', ', 'pg_catalog.' || quote_ident(o.l), 'pg_catalog.' || quote_ident(o.r));
        BEGIN
            EXECUTE format('CREATE FUNCTION evil.op_%s(%s) RETURNS pg_catalog.%I LANGUAGE plpgsql AS %L', o.oid, args, o.res,
                           format('BEGIN PERFORM evil.hit(%L); RETURN NULL; END', format('operator %s (%s)', o.oprname, args)));
            EXECUTE format('CREATE OPERATOR evil.%s (%s RIGHTARG = pg_catalog.%I, FUNCTION = evil.op_%s)', o.oprname, 'LEFTARG = pg_catalog.' || quote_ident(o.l) || ',', o.r, o.oid);
            planted := planted + 1;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    IF planted < 600 THEN RAISE 'only % operators planted', planted; END IF;
END $$;
RESET client_min_messages;

-- What is called: one statement at least for each public function and each view.
CREATE TABLE test.known (name text PRIMARY KEY, run uuid);
CREATE TABLE test.calls (n int GENERATED ALWAYS AS IDENTITY, function name, statement text);
GRANT SELECT, INSERT, UPDATE ON test.known TO PUBLIC;
GRANT SELECT ON test.calls TO PUBLIC;
CREATE FUNCTION test.known(name text) RETURNS uuid LANGUAGE sql STABLE SET search_path = pg_catalog AS $$ SELECT run FROM test.known k WHERE k.name = $1 $$;
INSERT INTO test.calls (function, statement) VALUES
    ('version', $$SELECT triggerdo.version()$$),
    ('define_task', $$SELECT triggerdo.define_task('h-quick', 'eve.quick', retry => triggerdo.retry_policy(3, 'none'), description => 'd', options => '{"isolate":true}')$$),
    ('define_task', $$SELECT triggerdo.define_task('h-quick', 'eve.quick(jsonb)', payload_schema => '{"maxProperties": 9, "pattern": "^.", "multipleOf": 1, "uniqueItems": true}')$$),
    ('define_task', $$SELECT triggerdo.define_task('h-dropped', 'eve.quick')$$),
    ('define_task', $$SELECT triggerdo.define_task('h-refused', 'no.such')$$),
    ('drop_task', $$SELECT triggerdo.drop_task('h-dropped')$$),
    ('grant_task', $$SELECT triggerdo.grant_task('h-quick', 'bob', 'read'), triggerdo.grant_task('h-quick', 'bob', 'manage')$$),
    ('revoke_task', $$SELECT triggerdo.revoke_task('h-quick', 'bob', 'read'), triggerdo.revoke_task('h-quick', 'bob', 'manage')$$),
    ('grant_admin', $$SELECT triggerdo.grant_admin('bob')$$),
    ('revoke_admin', $$SELECT triggerdo.revoke_admin('bob')$$),
    ('on_change', $$SELECT triggerdo.on_change('eve.followed', 'h-quick', '{INSERT,UPDATE,TRUNCATE}', 'pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>=) 0')$$),
    ('on_change', $$INSERT INTO eve.followed VALUES (1, 'a', '2030-01-01', '{}', '{1,2}'), (2, NULL, NULL, NULL, NULL)$$),
    ('changes', $$SELECT v.target, v.condition FROM triggerdo.changes v$$),
    ('on_change', $$TRUNCATE eve.followed$$),
    ('drop_on_change', $$SELECT triggerdo.drop_on_change('eve.followed', 'h-quick')$$),
    ('retry_policy', $$SELECT triggerdo.retry_policy(4, 'linear', 2, '1 s', '1 min', false)$$),
    ('retry_delay', $$SELECT triggerdo.retry_delay('{"maxAttempts":4,"backoff":"linear","randomize":false}', 2)$$),
    ('batch_trigger_task', $$SELECT pg_catalog.cardinality(triggerdo.batch_trigger_task('h-quick', '{1,2}', '{"tags":["x"],"delay":"1h","maxAttempts":2,"metadata":{}}'))$$),
    ('trigger_batch', $$SELECT pg_catalog.count(b.*) FROM triggerdo.trigger_batch('[{"task":"h-quick","payload":1,"options":{"runAt":"2222-02-02","tags":"a"}},{"task":"h-fails"}]') b$$),
    ('trigger_batch', $$SELECT index, is_cached FROM triggerdo.trigger_batch('[{"task":"h-quick","options":{"idempotencyKey":"h","idempotencyKeyTTL":"5m"}},{"task":"h-quick","options":{"idempotencyKey":"h"}}]')$$),
    ('reset_idempotency_key', $$SELECT triggerdo.reset_idempotency_key('h-quick', 'h')$$),
    ('trigger_and_wait', $$DO 'DECLARE r pg_catalog.jsonb; BEGIN CALL triggerdo.trigger_and_wait(''h-quick'', ''{}'', r, ''{"tags":["x"]}''); END'$$),
    ('trigger_and_wait', $$DO 'DECLARE r pg_catalog.jsonb; BEGIN CALL triggerdo.trigger_and_wait(''h-fails'', ''{}'', r); END'$$),
    ('run_now', $$SELECT pg_catalog.count(triggerdo.run_now(triggerdo.trigger_task('h-quick')))$$),
    ('run_now', $$SELECT pg_catalog.count(triggerdo.run_now(triggerdo.trigger_task('h-fails')))$$),
    ('run_result', $$SELECT triggerdo.run_result(test.known('completed'))$$),
    ('run_result', $$SELECT triggerdo.run_result(test.known('failed'))$$),
    ('wait_for_run', $$SELECT pg_catalog.count(triggerdo.wait_for_run(test.known('completed'), '1 s'))$$),
    ('wait_for_run', $$SELECT pg_catalog.count(triggerdo.wait_for_run(test.known('delayed'), '1 ms'))$$),
    ('cancel_run', $$SELECT triggerdo.cancel_run(test.known('completed'), 'late')$$),
    ('cancel_run', $$SELECT triggerdo.cancel_run(triggerdo.trigger_task('h-quick', delay => '1 hour'), 'reason')$$),
    ('cancel_runs', $$SELECT triggerdo.cancel_runs('{"task":["h-quick","none"],"status":"DELAYED","tag":"none","queue":"q","schedule":"s","batch":"01900000-0000-7000-8000-000000000000","created_after":"2020-02-02","created_before":"2222-02-02"}')$$),
    ('cancel_runs', $$SELECT triggerdo.cancel_runs(pg_catalog.jsonb_build_object('run_ids', triggerdo.trigger_task('h-quick', delay => '1 hour')))$$),
    ('replay_run', $$SELECT pg_catalog.count(triggerdo.replay_run(test.known('completed'), '7', options => '{"tags":["x"],"maxAttempts":2,"delay":"1h"}'))$$),
    ('replay_runs', $$SELECT triggerdo.replay_runs('{"task":"h-quick","status":["COMPLETED"],"tag":"none"}')$$),
    ('reschedule_run', $$SELECT triggerdo.reschedule_run(triggerdo.trigger_task('h-quick', delay => '1 hour'), '2 hours')$$),
    ('current_run', $$SELECT pg_catalog.count(c.*) FROM triggerdo.current_run() c$$),
    ('abort_run', $$SELECT triggerdo.abort_run('x')$$),
    ('retry_run_at', $$SELECT triggerdo.retry_run_at('2222-02-02', 'x')$$),
    ('check_invariants', $$SELECT * FROM triggerdo.check_invariants()$$),
    ('pause', $$SELECT triggerdo.pause()$$),
    ('resume', $$SELECT triggerdo.resume()$$),
    ('purge', $$SELECT triggerdo.purge('1 day')$$),
    ('runs', $$SELECT pg_catalog.count(v.*) OPERATOR(pg_catalog.>) 0 AS rows FROM triggerdo.runs v$$),
    ('tasks', $$SELECT pg_catalog.count(v.*) OPERATOR(pg_catalog.>) 0 AS rows FROM triggerdo.tasks v$$),
    ('attempts', $$SELECT pg_catalog.count(v.*) OPERATOR(pg_catalog.>) 0 AS rows FROM triggerdo.attempts v$$),
    ('grants', $$SELECT pg_catalog.count(v.*) OPERATOR(pg_catalog.>) 0 AS rows FROM triggerdo.grants v$$),
    ('stats', $$SELECT pg_catalog.count(v.*) OPERATOR(pg_catalog.>) 0 AS rows FROM triggerdo.stats v$$),
    ('hooks', $$SELECT pg_catalog.count(v.*) OPERATOR(pg_catalog.>) 0 AS rows FROM triggerdo.hooks v$$),
    ('workers', $$SELECT pg_catalog.count(v.*) OPERATOR(pg_catalog.>) 0 AS rows FROM triggerdo.workers v$$);
INSERT INTO test.calls (function, statement) VALUES
    ('trigger_task', $$SELECT pg_catalog.count(triggerdo.trigger_task('h-quick', '{"a":[1,{"b":2}]}', tags => '{t}', metadata => '{"m":1}', max_attempts => 2))$$),
    ('trigger_task', $$SELECT pg_catalog.count(triggerdo.trigger_task('h-inside', '"retry"'))$$),
    ('trigger_task', $$SELECT pg_catalog.count(triggerdo.trigger_task('h-quick', delay => '1 hour'))$$);
-- a public function or view that is not called here is a hole in this test
SELECT proname AS not_called FROM pg_proc WHERE pronamespace = 'triggerdo'::regnamespace AND proname NOT IN (SELECT function FROM test.calls)
UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'triggerdo'::regnamespace AND relkind = 'v' AND relname NOT IN (SELECT function FROM test.calls);

SET ROLE eve;
CREATE TABLE eve.followed (i pg_catalog.int4, t pg_catalog.text, d pg_catalog.date, j pg_catalog.jsonb, a pg_catalog.int4[]);
CREATE FUNCTION eve.quick(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN payload; END $$;
CREATE FUNCTION eve.fails(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'failed' USING DETAIL = 'd'; END $$;
-- inside a run, with the path the task itself has set, and temporary tables that bear our names
CREATE FUNCTION eve.inside(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE a pg_catalog.int4;
BEGIN
    CREATE TEMP TABLE run (run_id uuid); CREATE TEMP TABLE live (run_id uuid); CREATE TEMP TABLE result (run_id uuid); CREATE TEMP TABLE attempt (run_id uuid);
    CREATE TEMP TABLE task (id text); CREATE TEMP TABLE timer (due int); CREATE TEMP TABLE pg_class (oid int); CREATE TEMP TABLE pg_proc (oid int);
    SET search_path = pg_temp, evil, pg_catalog;
    PERFORM triggerdo.trigger_task('h-quick', '"child"');
    a := (SELECT c.attempt FROM triggerdo.current_run() c);
    PERFORM pg_catalog.count(r.*) FROM triggerdo.runs r;
    IF a OPERATOR(pg_catalog.=) 1 THEN PERFORM triggerdo.retry_run_at(triggerdo_test.now(), 'once more'); END IF;
    IF a OPERATOR(pg_catalog.=) 2 THEN RAISE 'and again'; END IF;
    PERFORM triggerdo.abort_run('enough');
    RETURN NULL;
END $$;
SELECT triggerdo.define_task('h-quick', 'eve.quick'), triggerdo.define_task('h-fails', 'eve.fails', retry => '{"maxAttempts":2,"backoff":"none"}'),
       triggerdo.define_task('h-inside', 'eve.inside', retry => '{"maxAttempts":5,"backoff":"none"}');
INSERT INTO test.known VALUES ('completed', triggerdo.trigger_task('h-quick', '"done"')), ('failed', triggerdo.trigger_task('h-fails')), ('delayed', triggerdo.trigger_task('h-quick', delay => '1000 days'));
SELECT name, triggerdo.wait_for_run(run)->'ok' AS ok FROM test.known WHERE name <> 'delayed' ORDER BY name;
RESET ROLE;

-- (a role that a copy's server lacks: so resume() has rows to bind)
INSERT INTO _triggerdo.role (role, name) VALUES (12000, 'not-here');

-- The traps work: this one is sprung.
SET search_path = evil, pg_catalog;
\set VERBOSITY terse
SELECT now() AS now;
SELECT 1 = 2 AS eq;
SELECT '1'::jsonb AS js;
SELECT count(*);
SELECT max(x.a) FROM (VALUES (1), (2)) x(a);
SELECT pg_get_userbyid('10');
RESET search_path;
SELECT setval('evil.hits', 0, false);

-- 1. By a plain role, in its own session.
SET ROLE eve;
CREATE TEMP TABLE run (run_id uuid); CREATE TEMP TABLE live (run_id uuid); CREATE TEMP TABLE result (run_id uuid); CREATE TEMP TABLE attempt (run_id uuid); CREATE TEMP TABLE timer (run_id uuid);
CREATE TEMP TABLE task (id text); CREATE TEMP TABLE pg_class (oid int); CREATE TEMP TABLE pg_proc (oid int); CREATE TEMP TABLE pg_extension (oid int); CREATE TEMP TABLE pg_authid (oid int);
SET search_path = pg_temp, evil, pg_catalog;
SELECT statement FROM test.calls \gexec
RESET search_path;
RESET ROLE;
SELECT test.await_none_queued();
SET ROLE eve;
SET search_path = pg_temp, evil, pg_catalog;
-- and where triggerdo's own DDL runs: a day that has no partitions yet
SELECT pg_catalog.count(triggerdo.trigger_task('h-quick')) FROM triggerdo_test.advance('30 days');
RESET search_path;
RESET ROLE;
SELECT test.await_none_queued();
SELECT last_value AS planted_code_ran, is_called FROM evil.hits;

-- 2. In executors that log in with the path, and in a session of the role.
ALTER ROLE eve SET search_path = evil, pg_catalog;
ALTER ROLE eve SET default_transaction_isolation = serializable;
ALTER ROLE eve SET default_transaction_read_only = off;
ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();
ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
\c - eve
SHOW search_path;
SELECT statement FROM test.calls \gexec
\c - :super
SELECT test.await_none_queued();
SELECT last_value AS planted_code_ran, is_called FROM evil.hits;
ALTER ROLE eve RESET ALL;

-- 3. In the scheduler, and by a superuser whose sessions inherit the path from the database.
SELECT current_database() AS db \gset
SELECT pid AS scheduler FROM triggerdo.workers WHERE kind = 'scheduler' AND database = current_database() \gset
ALTER DATABASE :db SET search_path = evil, pg_catalog;
SELECT pg_catalog.pg_terminate_backend(:scheduler);
\c - :super
SHOW search_path;
CREATE OR REPLACE FUNCTION test.await_scheduler(old pg_catalog.int4) RETURNS pg_catalog.bool LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE until timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    WHILE NOT EXISTS (SELECT FROM triggerdo.workers WHERE kind = 'scheduler' AND database = current_database() AND pid <> old AND state = 'running') LOOP
        IF clock_timestamp() > until THEN RETURN false; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN true;
END $$;
SELECT test.await_scheduler(:scheduler);
SELECT statement FROM test.calls \gexec
-- the scheduler fires timers, makes partitions, starts executors
SELECT triggerdo_test.advance('2 days') IS NOT NULL AS clock;
SELECT test.await_none_queued();
BEGIN;
SELECT pg_catalog.count(triggerdo.trigger_task('h-quick'));
PREPARE TRANSACTION 'hostile';
COMMIT PREPARED 'hostile';
SELECT test.await_none_queued();
RESET search_path;
ALTER DATABASE :db RESET search_path;
\c - :super
SELECT last_value AS planted_code_ran, is_called FROM evil.hits;
-- and nothing that triggerdo made (partitions, their constraints) was built upon evil's
SELECT count(*) AS built_upon_evil FROM pg_depend
 WHERE (refclassid, refobjid) IN (SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace = 'evil'::regnamespace
                                  UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = 'evil'::regnamespace
                                  UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = 'evil'::regnamespace)
   AND (classid, objid) IN (SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace IN ('_triggerdo'::regnamespace, 'triggerdo'::regnamespace)
                            UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE connamespace = '_triggerdo'::regnamespace);
-- what ran, ran as itself
SELECT task, status, attempt, count(*) > 0 AS some FROM triggerdo.runs WHERE task LIKE 'h-%' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT triggerdo_test.reset() IS NOT NULL AS clock;
SELECT bool_and(triggerdo.cancel_run(run_id)) FROM triggerdo.runs WHERE status = 'DELAYED' AND task LIKE 'h-%';
SET client_min_messages = error;
DROP SCHEMA evil CASCADE;
RESET client_min_messages;
ALTER SYSTEM RESET triggerdo.retention;
SELECT pg_reload_conf();
SELECT * FROM triggerdo.check_invariants();
