-- define_task, drop_task, the view tasks.

SET ROLE app;
CREATE FUNCTION app.plain(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN RETURN payload; END';
CREATE FUNCTION app.nothing() RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.both(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"one argument"'::jsonb $$;
CREATE FUNCTION app.both() RETURNS jsonb LANGUAGE sql AS $$ SELECT '"no argument"'::jsonb $$;
CREATE FUNCTION app.other(a int, b text) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION app.other(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"the right one"'::jsonb $$;

-- Names of functions. Red without, in src/task.c: lookup by search_path
-- (stringToQualifiedNameList), parse_function()'s "(" branch, the fallback to ().
SELECT triggerdo.define_task('t1', 'app.plain');
SELECT triggerdo.define_task('t2', run => 'app.plain(jsonb)');
SELECT triggerdo.define_task('t3', run => 'app.nothing');
SELECT triggerdo.define_task('t4', run => 'app.nothing()');
SELECT triggerdo.define_task('t5', run => 'app.both');
SELECT triggerdo.define_task('t6', run => 'app.both()');
SELECT triggerdo.define_task('t7', run => 'app.both(jsonb)');
SELECT triggerdo.define_task('t8', run => 'app.both( pg_catalog.jsonb )');
SELECT triggerdo.define_task('t9', run => 'app.other');
SELECT triggerdo.define_task('ta', run => 'APP.Plain');
SET search_path = app;
SELECT triggerdo.define_task('tb', run => 'plain');
RESET search_path;
CREATE SCHEMA AUTHORIZATION app; -- refused: no such right
RESET ROLE;
CREATE SCHEMA "We ird" AUTHORIZATION app;
SET ROLE app;
CREATE FUNCTION "We ird"."Fn"(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"weird"'::jsonb $$;
CREATE FUNCTION "We ird"."a.b(c)"(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"dots and parentheses"'::jsonb $$;
CREATE FUNCTION "We ird"."sel""ect"() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"a quote"'; END $$;
SELECT triggerdo.define_task('tc', run => '"We ird"."Fn"');
SELECT triggerdo.define_task('td', run => '"We ird"."Fn"(jsonb)');
SELECT triggerdo.define_task('te', run => '"We ird"."a.b(c)"');
SELECT triggerdo.define_task('tf', run => '"We ird"."a.b(c)"(jsonb)');
SELECT triggerdo.define_task('tg', run => '"We ird"."sel""ect"');
CREATE PROCEDURE app.procedure_one(payload jsonb) LANGUAGE plpgsql AS 'BEGIN END';
CREATE PROCEDURE app.procedure_two(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql AS 'BEGIN result := payload; END';
SELECT triggerdo.define_task('th', run => 'app.procedure_one');
SELECT triggerdo.define_task('ti', run => 'app.procedure_two');
-- ids are any text; each task runs what it names
SELECT triggerdo.define_task('Émile''s "task" / 1', run => 'app.plain');
SELECT id, kind, run FROM triggerdo.tasks ORDER BY id COLLATE "C";
CREATE TEMP TABLE triggered AS
  SELECT id, triggerdo.trigger_task(id, to_jsonb(id)) AS run FROM triggerdo.tasks WHERE id <> 'hello';
SELECT id, triggerdo.wait_for_run(run) - 'id' - 'taskIdentifier' AS result FROM triggered ORDER BY id COLLATE "C";

-- Refused functions, each with a hint. Red without: src/task.c check_shape() and
-- tdo_task_set_function() (temporary), tdo_task_resolve() (EXECUTE).
CREATE DOMAIN app.jdomain AS jsonb;
CREATE FUNCTION app.returns_set(payload jsonb) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT payload';
CREATE FUNCTION app.returns_table(payload jsonb) RETURNS TABLE (a jsonb) LANGUAGE sql AS 'SELECT payload';
CREATE FUNCTION app.has_out(payload jsonb, OUT result jsonb) LANGUAGE sql AS 'SELECT payload';
CREATE FUNCTION app.has_inout(INOUT payload jsonb) LANGUAGE sql AS 'SELECT payload';
CREATE FUNCTION app.variadic_fn(VARIADIC payload jsonb[]) RETURNS jsonb LANGUAGE sql AS 'SELECT payload[1]';
CREATE FUNCTION app.domain_arg(payload app.jdomain) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
CREATE FUNCTION app.domain_result(payload jsonb) RETURNS app.jdomain LANGUAGE sql AS 'SELECT payload';
CREATE FUNCTION app.polymorphic(payload anyelement) RETURNS anyelement LANGUAGE sql AS 'SELECT payload';
CREATE FUNCTION app.json_arg(payload json) RETURNS jsonb LANGUAGE sql AS 'SELECT payload::jsonb';
CREATE FUNCTION app.json_result(payload jsonb) RETURNS json LANGUAGE sql AS 'SELECT payload::json';
CREATE FUNCTION app.text_result(payload jsonb) RETURNS text LANGUAGE sql AS 'SELECT payload::text';
CREATE FUNCTION app.two_args(payload jsonb, more int) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
CREATE FUNCTION app.default_arg(payload jsonb, more int DEFAULT 1) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
CREATE FUNCTION app.returns_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION app.returns_record(payload jsonb) RETURNS record LANGUAGE sql AS 'SELECT 1, 2';
CREATE AGGREGATE app.aggregate_one(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb);
CREATE FUNCTION app.ambiguous(a int) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION app.ambiguous(a text) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION pg_temp.temporary(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
SELECT f AS run, test.error(format('SELECT triggerdo.define_task(%L, %L)', 'refused', f)) AS error
  FROM unnest('{returns_set,returns_table,has_out,has_inout,variadic_fn,variadic_fn(jsonb),domain_arg,domain_result,polymorphic,
                polymorphic(jsonb),json_arg,json_result,text_result,two_args,default_arg,returns_trigger,returns_record,
                aggregate_one,missing,missing(),missing(jsonb),plain(),plain(json)}'::text[]) AS u(n),
       LATERAL (SELECT 'app.' || n AS f) s;
SELECT f AS run, test.error(format('SELECT triggerdo.define_task(%L, %L)', 'refused', f)) AS error
  FROM unnest('{pg_temp.temporary,nowhere.fn,unknown_fn,"",app.,a.b.c.d,app.plain(jsonb,app.plain(jsonb) x,app.ambiguous,app.plain);--}'::text[]) AS u(f);
SELECT test.error($$SELECT triggerdo.define_task('refused', 'app."plain')$$);
-- EXECUTE is looked at, of the function and of its schema
RESET ROLE;
CREATE FUNCTION bob.secret(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
SET ROLE app;
SELECT test.error($$SELECT triggerdo.define_task('refused', 'bob.secret')$$);
RESET ROLE;
GRANT USAGE ON SCHEMA bob TO app;
REVOKE EXECUTE ON FUNCTION bob.secret FROM PUBLIC;
SET ROLE app;
SELECT test.error($$SELECT triggerdo.define_task('refused', 'bob.secret')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION bob.secret TO app;
SET ROLE app;
SELECT test.error($$SELECT triggerdo.define_task('granted', 'bob.secret')$$);

-- Refused ids. Red without: src/api_task.c task_id().
SELECT i AS id, test.error(format('SELECT triggerdo.define_task(%L, %L)', i, 'app.plain')) AS error
  FROM unnest(ARRAY['', ' x', 'x ', E'a\x01b', E'a\x7fb']) AS i;
SELECT test.error(format('SELECT triggerdo.define_task(%L, %L)', repeat('x', 256), 'app.plain')) LIKE '42602 |%' AS refused,
       length(triggerdo.define_task(repeat('x', 255), 'app.plain'));
SELECT triggerdo.drop_task(repeat('x', 255));

-- Refused owners. Red without: src/api_task.c check_owner().
RESET ROLE;
SELECT test.error($$SELECT triggerdo.define_task('refused', 'app.plain')$$);
CREATE FUNCTION nologin.fn(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
SET ROLE nologin;
SELECT test.error($$SELECT triggerdo.define_task('refused', 'nologin.fn')$$);
RESET ROLE;
CREATE ROLE "No Login" NOLOGIN; GRANT USAGE ON SCHEMA triggerdo TO "No Login";
SET ROLE "No Login";
SELECT test.error($$SELECT triggerdo.define_task('refused', 'app.plain')$$);
RESET ROLE;
REVOKE USAGE ON SCHEMA triggerdo FROM "No Login"; DROP ROLE "No Login";
-- no USAGE, no access
SET ROLE outsider;
SELECT test.error($$SELECT triggerdo.define_task('refused', 'app.plain')$$);
RESET ROLE;

-- NULL in a required argument, and what is not built yet.
-- Red without: tdo_require_arg(), refuse_unbuilt(), read_options() in src/api_task.c.
SET ROLE app;
SELECT test.error($$SELECT triggerdo.define_task(NULL, 'app.plain')$$);
SELECT test.error($$SELECT triggerdo.define_task('unbuilt')$$);
SELECT test.error($$SELECT triggerdo.drop_task(NULL)$$);
SELECT a AS argument, test.error(format($$SELECT triggerdo.define_task('unbuilt', 'app.plain', %s)$$, a)) AS error
  FROM unnest(ARRAY[$$command => 'VACUUM'$$, $$url => 'http://localhost'$$, $$queue => 'q'$$, $$max_duration => '0'$$, $$max_duration => '-1 s'$$,
                    $$ttl => '1 s'$$, $$payload_schema => '[]'$$, $$on_start => 'app.h'$$,
                    $$options => '{"keep":"some"}'$$, $$options => '{"synchronousCommit":true}'$$, $$options => '{"metadata":{}}'$$,
                    $$options => '{"ownCommits":true}'$$, $$options => '{"isolate":"yes"}'$$, $$options => '{"isolated":true}'$$,
                    $$options => '[]'$$, $$options => '1'$$, $$retry => '{"maxAttempts":0}'$$, $$retry => '{"attempts":3}'$$,
                    $$retry => '[]'$$]) AS a;
-- NULL in optional ones is their default
SELECT triggerdo.define_task('nulls', 'app.plain', command => NULL, url => NULL, retry => NULL, queue => NULL,
                             max_duration => NULL, ttl => NULL, payload_schema => NULL, description => NULL, options => NULL);
-- nothing of the refused ones was written
SELECT count(*) FROM triggerdo.tasks WHERE id IN ('refused', 'unbuilt');
BEGIN READ ONLY;
SELECT test.error($$SELECT triggerdo.define_task('refused', 'app.plain')$$), test.error($$SELECT triggerdo.drop_task('t1')$$);
COMMIT;

-- Defining again updates; the policy is kept complete.
-- Red without: tdo_task_update() and task.created_at = old.created_at in src/api_task.c.
SELECT triggerdo.define_task('again', 'app.plain', description => 'first', retry => '{"maxAttempts":5}', options => '{"isolate":true}');
SELECT id, owner, kind, run, retry, queue, description, options, created_at = updated_at AS fresh FROM triggerdo.tasks WHERE id = 'again';
SELECT triggerdo.define_task('again', 'app.nothing');
SELECT id, owner, kind, run, retry, queue, description, options, created_at < updated_at AS updated FROM triggerdo.tasks WHERE id = 'again';
-- a rolled back change leaves the first
BEGIN;
SELECT triggerdo.define_task('again', 'app.plain', description => 'rolled back');
SELECT description FROM triggerdo.tasks WHERE id = 'again';
ROLLBACK;
SELECT run, description FROM triggerdo.tasks WHERE id = 'again';

-- Only the owner, and who acts for it, may define again or drop; the owner stays.
-- Red without: tdo_may_act_as(old.owner), task.owner = old.owner in src/api_task.c.
RESET ROLE;
SET ROLE bob;
CREATE FUNCTION bob.mine(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
GRANT EXECUTE ON FUNCTION bob.mine TO PUBLIC;
SELECT test.error($$SELECT triggerdo.define_task('again', 'bob.mine')$$), test.error($$SELECT triggerdo.drop_task('again')$$);
RESET ROLE;
SET ROLE dave; -- a member that does not inherit
SELECT test.error($$SELECT triggerdo.define_task('again', 'app.plain')$$), test.error($$SELECT triggerdo.drop_task('again')$$);
RESET ROLE;
GRANT USAGE ON SCHEMA app TO carol;
SET ROLE carol; -- a member
SELECT triggerdo.define_task('again', 'app.plain', description => 'by carol');
SELECT id, owner, description FROM triggerdo.tasks WHERE id = 'again';
RESET ROLE;
SELECT triggerdo.define_task('again', 'app.plain', description => 'by a superuser');
SELECT id, owner, description FROM triggerdo.tasks WHERE id = 'again';
-- rights on the function are the owner's, not the definer's
CREATE SCHEMA hidden;
CREATE FUNCTION hidden.fn(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
SELECT test.error($$SELECT triggerdo.define_task('again', 'hidden.fn')$$);
DROP SCHEMA hidden CASCADE;

-- drop_task: true, then false. Red without: tdo_task_delete() in src/api_task.c.
SET ROLE app;
BEGIN;
SELECT triggerdo.drop_task('again');
ROLLBACK;
SELECT triggerdo.drop_task('again'), triggerdo.drop_task('again'), triggerdo.drop_task('never was');
SELECT count(triggerdo.drop_task(id)) FROM triggerdo.tasks WHERE id <> 'hello';
SELECT id FROM triggerdo.tasks ORDER BY id COLLATE "C";
RESET ROLE;

-- Superusers' tasks, when they are allowed. Red without: tdo_allow_superuser_tasks in check_owner().
CREATE FUNCTION test.super(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(current_setting('is_superuser')) $$;
ALTER SYSTEM SET triggerdo.allow_superuser_tasks = on;
SELECT pg_reload_conf();
\c -
SELECT triggerdo.define_task('super', 'test.super');
SELECT triggerdo.trigger_task('super') AS run \gset
SELECT triggerdo.wait_for_run(:'run') - 'id' AS result;
SELECT triggerdo.drop_task('super');
ALTER SYSTEM RESET triggerdo.allow_superuser_tasks;
SELECT pg_reload_conf();
\c -
SELECT * FROM triggerdo.check_invariants();
