-- CREATE EXTENSION, the first result of api.md, and the roles and helpers of
-- the other tests, each of which needs this one and no other.

-- The test module comes after the extension.
-- Red without: triggerdo.control "superuser = true" (bob would get further).
CREATE ROLE bob LOGIN;
SET ROLE bob;
CREATE EXTENSION triggerdo;
RESET ROLE;

-- A schema of our name that is somebody else's is not taken over.
-- Red without: the plain "CREATE SCHEMA _triggerdo" in sql/00_header.sql (IF NOT EXISTS would take it).
CREATE SCHEMA _triggerdo AUTHORIZATION bob;
CREATE EXTENSION triggerdo;
DROP SCHEMA _triggerdo;

-- The first result, as README opens with it.
-- Red without: SELECT _triggerdo.announce() in sql/99_start.sql (no scheduler, no executor: it hangs).
CREATE EXTENSION triggerdo;
CREATE ROLE app LOGIN;  GRANT USAGE ON SCHEMA triggerdo TO app;  CREATE SCHEMA app AUTHORIZATION app;
SET ROLE app;
CREATE FUNCTION app.hello(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('hello', payload->>'name') $$;
SELECT triggerdo.define_task('hello', run => 'app.hello');
-- (the run's id differs each time)
CALL triggerdo.trigger_and_wait('hello', '{"name":"Ada"}', NULL) \gset
SELECT :'result'::jsonb - 'id' AS result;
SELECT triggerdo.version();
SELECT task, status, attempt, max_attempts, payload, output, error, owner, triggered_by FROM triggerdo.runs;
RESET ROLE;

CREATE EXTENSION triggerdo_test;

-- Every process is there, and belongs to this database.
SELECT kind, database, role, state FROM triggerdo.workers WHERE kind <> 'executor' ORDER BY kind COLLATE "C";

-- The control file keeps the extension where it is, and nothing is made in public.
-- Red without: triggerdo.control "relocatable = false".
ALTER EXTENSION triggerdo SET SCHEMA public;
SELECT count(*) FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
  JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
 WHERE e.extname = 'triggerdo' AND p.pronamespace NOT IN ('triggerdo'::regnamespace, '_triggerdo'::regnamespace);

-- The whole surface. No public function is STRICT (api.md, Conventions) or SECURITY DEFINER.
-- Red when a signature of sql/4*.sql, 50_run.sql changes.
\t on
\pset format unaligned
SELECT format('%s(%s) %s', proname, pg_get_function_arguments(oid), 'RETURNS ' || pg_get_function_result(oid))
  FROM pg_proc p WHERE pronamespace = 'triggerdo'::regnamespace ORDER BY proname COLLATE "C";
\t off
\pset format aligned
SELECT proname FROM pg_proc WHERE pronamespace = 'triggerdo'::regnamespace AND (proisstrict OR prosecdef);
SELECT enum_range(NULL::triggerdo.run_status);
SELECT relname, attname, format_type(atttypid, atttypmod) AS type
  FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
 WHERE relnamespace = 'triggerdo'::regnamespace AND relkind = 'v' AND attnum > 0
 ORDER BY relname COLLATE "C", attnum;
SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'triggerdo'::regnamespace AND relkind = 'v'
 ORDER BY relname COLLATE "C";

-- Who takes part in the other tests.
GRANT USAGE ON SCHEMA triggerdo TO bob;
CREATE SCHEMA bob AUTHORIZATION bob;
CREATE ROLE carol LOGIN;                        -- member of app
GRANT app TO carol;
GRANT USAGE ON SCHEMA triggerdo TO carol;
CREATE ROLE dave LOGIN NOINHERIT;               -- member of app, without its rights
GRANT app TO dave;
GRANT USAGE ON SCHEMA triggerdo TO dave;
CREATE ROLE eve LOGIN;                          -- a user of triggerdo, and hostile
GRANT USAGE ON SCHEMA triggerdo TO eve;
CREATE SCHEMA eve AUTHORIZATION eve;
CREATE ROLE outsider LOGIN;                     -- no user of triggerdo
CREATE ROLE nologin NOLOGIN;
GRANT USAGE ON SCHEMA triggerdo TO nologin;
CREATE SCHEMA nologin AUTHORIZATION nologin;

-- Helpers.
CREATE SCHEMA test;
GRANT USAGE ON SCHEMA test TO PUBLIC;

-- What a statement raises, as one line; the statement's effects stay when it raises nothing.
CREATE FUNCTION test.error(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; code text; detail text; hint text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS OR query_canceled THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, code = RETURNED_SQLSTATE,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', code, regexp_replace(message, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>', 'g'),
                     'DETAIL ' || nullif(detail, ''), 'HINT ' || nullif(hint, ''));
END $$;

-- Waits until a run has a status; says which it has when it does not come to that.
CREATE FUNCTION test.await_status(run uuid, wanted triggerdo.run_status) RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    status triggerdo.run_status;
    until timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    LOOP
        SELECT r.status INTO status FROM triggerdo.runs r WHERE r.run_id = run;
        IF status = wanted OR clock_timestamp() > until THEN
            RETURN coalesce(status::text, 'no such run');
        END IF;
        PERFORM pg_sleep(0.005);
    END LOOP;
END $$;

-- Waits until there is no executor. Needs triggerdo.executors = 0, a reload and a
-- new connection before it: the postmaster has then told all processes.
CREATE FUNCTION test.await_no_executors() RETURNS bool LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    until timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    WHILE EXISTS (SELECT FROM triggerdo.workers WHERE kind = 'executor' AND state <> 'cannot start') LOOP
        IF clock_timestamp() > until THEN
            RETURN false;
        END IF;
        PERFORM pg_sleep(0.005);
    END LOOP;
    RETURN current_setting('triggerdo.executors') = '0';
END $$;

-- Waits until no run is queued, delayed or executing.
CREATE FUNCTION test.await_all_final() RETURNS bool LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    until timestamptz := clock_timestamp() + interval '60 s';
BEGIN
    WHILE EXISTS (SELECT FROM triggerdo.stats WHERE queued + delayed + executing > 0) LOOP
        IF clock_timestamp() > until THEN
            RETURN false;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN true;
END $$;

-- Waits until no run is queued or executing.
CREATE FUNCTION test.await_none_queued() RETURNS bool LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE until timestamptz := clock_timestamp() + interval '60 s';
BEGIN
    WHILE EXISTS (SELECT FROM triggerdo.stats WHERE queued + executing > 0) LOOP
        IF clock_timestamp() > until THEN RETURN false; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN true;
END $$;

SELECT * FROM triggerdo.check_invariants();
