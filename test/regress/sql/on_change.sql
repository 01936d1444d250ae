-- on_change, drop_on_change, the view changes: which changes trigger what, as whom.
-- Red without, in src/api_change.c: CHECK_FOR_INTERRUPTS() in tdo_sql_change (the cancelled
-- statement), tdo_as_role (triggered_by, and a writer without rights), check_role (the former
-- owner), is_expression (more than a condition), has_privs_of_role in check_table, old->enabled,
-- the second kind (TRUNCATE); in src/change.c: AcceptInvalidationMessages() is spec on-change's,
-- tdo_change_sweep (rows of tables that are gone), tdo_change_target (a partition's table); the copies in find_trigger, on a server with assertions;
-- in src/api_task.c end_subscriptions (a write after drop_task).

SET ROLE app;
CREATE FUNCTION app.follow(payload jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
SELECT triggerdo.define_task('follow', 'app.follow');
SELECT triggerdo.define_task('follow-2', 'app.follow');
RESET ROLE;
SET ROLE bob;
CREATE FUNCTION bob.noop(payload jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
SELECT triggerdo.define_task('bobs', 'bob.noop');
RESET ROLE;

-- The runs since the last look (in the order of one session's ids).
CREATE TABLE test.seen AS SELECT run_id FROM triggerdo.runs;
CREATE FUNCTION test.changes() RETURNS TABLE (task text, by name, op text, tab text, old jsonb, new jsonb) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT r.task, r.triggered_by, r.payload->>'operation', concat_ws('.', r.payload->>'schema', r.payload->>'table'), r.payload->'old', r.payload->'new'
      FROM triggerdo.runs r WHERE NOT EXISTS (SELECT FROM test.seen s WHERE s.run_id = r.run_id) ORDER BY r.run_id;
    INSERT INTO test.seen SELECT run_id FROM triggerdo.runs EXCEPT SELECT run_id FROM test.seen;
END $$;

-- Every operation, old and new row; and who writes needs no right to the task, nor to triggerdo.
SET ROLE app;
CREATE TABLE app.docs (id int PRIMARY KEY, body text, n numeric);
GRANT ALL ON app.docs TO PUBLIC;
GRANT USAGE ON SCHEMA app TO PUBLIC;
SELECT triggerdo.on_change('app.docs', 'follow', '{insert,UPDATE,Delete,truncate,INSERT}');
RESET ROLE;
SET ROLE outsider;
INSERT INTO app.docs VALUES (1, 'one', 1.50), (2, NULL, NULL);
UPDATE app.docs SET body = 'two' WHERE id = 2;
INSERT INTO app.docs VALUES (2, 'again'), (3, 'three') ON CONFLICT (id) DO UPDATE SET body = excluded.body;
INSERT INTO app.docs VALUES (2, 'ignored') ON CONFLICT DO NOTHING;
SELECT current_setting('server_version_num')::int >= 150000 AS merge \gset
\if :merge
MERGE INTO app.docs d USING (VALUES (3, 'merged'), (4, 'four')) s(id, body) ON d.id = s.id
 WHEN MATCHED THEN UPDATE SET body = s.body WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.body);
\else
UPDATE app.docs SET body = 'merged' WHERE id = 3;
INSERT INTO app.docs VALUES (4, 'four');
\endif
DELETE FROM app.docs WHERE id = 1;
COPY app.docs (id, body) FROM stdin;
10	ten
11	\N
\.
TRUNCATE app.docs;
BEGIN; INSERT INTO app.docs VALUES (99, 'rolled back'); ROLLBACK;
BEGIN; SAVEPOINT s; INSERT INTO app.docs VALUES (98, 'rolled back'); ROLLBACK TO s; INSERT INTO app.docs VALUES (5, 'five'); COMMIT;
RESET ROLE;
SELECT * FROM test.changes();
SELECT payload FROM triggerdo.runs WHERE task = 'follow' ORDER BY run_id DESC LIMIT 1;
SELECT owner, triggered_by, parent_run_id FROM triggerdo.runs WHERE task = 'follow' ORDER BY run_id DESC LIMIT 1;

-- The view: the role that asked and the table's owner see it; again replaces; drop.
SELECT name, target, task, operations, condition, role, enabled FROM triggerdo.changes;
SELECT tgname, tgenabled, split_part(encode(tgargs, 'escape'), '\000', 2) FROM pg_trigger WHERE tgrelid = 'app.docs'::regclass ORDER BY tgname;
SET ROLE bob;
SELECT count(*) FROM triggerdo.changes;
SET ROLE carol;
SELECT count(*) FROM triggerdo.changes;
SELECT triggerdo.on_change('app.docs', 'follow', '{UPDATE}', 'OLD.body IS DISTINCT FROM NEW.body');
RESET ROLE;
SELECT name, operations, condition, role FROM triggerdo.changes;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'app.docs'::regclass ORDER BY tgname;
UPDATE app.docs SET n = 1;
UPDATE app.docs SET body = 'changed';
TRUNCATE app.docs;
SELECT * FROM test.changes();
SET ROLE carol;
SELECT triggerdo.drop_on_change('app.docs', 'follow');
SELECT triggerdo.drop_on_change('app.docs', 'follow');
SELECT triggerdo.drop_on_change('app.docs', 'no such task');
RESET ROLE;
SELECT count(*) FROM _triggerdo.change;
INSERT INTO app.docs VALUES (1);
SELECT * FROM test.changes();

-- Only TRUNCATE; two tasks of one table; a long name, and one that is another's.
SET ROLE app;
SELECT triggerdo.on_change('app.docs', 'follow', '{TRUNCATE}');
SELECT triggerdo.on_change('app.docs', 'follow-2', ARRAY['DELETE']);
TRUNCATE app.docs;
SELECT triggerdo.define_task(repeat('é', 127), 'app.follow') IS NOT NULL AS ok;
SELECT triggerdo.on_change('app.docs', repeat('é', 127), '{INSERT}') AS name \gset
SELECT octet_length(:'name') < 64 AS fits;
INSERT INTO app.docs VALUES (1);
DELETE FROM app.docs;
CREATE FUNCTION app.no_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TABLE app.taken (a int);
CREATE TRIGGER on_change_follow AFTER INSERT ON app.taken FOR EACH ROW EXECUTE FUNCTION app.no_change();
SELECT test.error($$SELECT triggerdo.on_change('app.taken', 'follow')$$);
RESET ROLE;
SELECT left(task, 8) AS task, op, tab FROM test.changes();
SET ROLE app;
SELECT triggerdo.drop_on_change('app.docs', task) FROM (SELECT task FROM triggerdo.changes) c;
-- A trigger that was renamed is the same subscription.
SELECT triggerdo.on_change('app.docs', 'follow');
ALTER TRIGGER on_change_follow ON app.docs RENAME TO mine;
SELECT triggerdo.on_change('app.docs', 'follow', '{INSERT}');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'app.docs'::regclass;
-- A server that checks itself forgets its caches at every look: nothing is used that may be built anew.
RESET ROLE;
SELECT set_config('debug_discard_caches', CASE current_setting('debug_assertions') WHEN 'on' THEN '1' ELSE '0' END, false) IS NOT NULL AS ok;
SELECT triggerdo.on_change('app.docs', 'follow', '{INSERT,TRUNCATE}');
BEGIN; INSERT INTO app.docs VALUES (97); ROLLBACK;
SELECT triggerdo.on_change('app.docs', 'follow', '{INSERT}');
RESET debug_discard_caches;
SET ROLE app;
SELECT triggerdo.on_change('app.docs', 'follow', '{INSERT}');

-- Arguments. Nothing is written.
SELECT test.error($$SELECT triggerdo.on_change(NULL, 'follow')$$);
SELECT test.error($$SELECT triggerdo.on_change('app.docs', NULL)$$);
SELECT test.error($$SELECT triggerdo.drop_on_change(NULL, 'follow')$$);
SELECT test.error($$SELECT triggerdo.drop_on_change('app.docs', NULL)$$);
SELECT test.error($$SELECT triggerdo.on_change('app.docs', 'no such')$$);
SELECT test.error($$SELECT triggerdo.on_change('app.docs', 'follow', '{}')$$);
SELECT test.error($$SELECT triggerdo.on_change('app.docs', 'follow', '{SELECT}')$$);
SELECT test.error($$SELECT triggerdo.on_change('app.docs', 'follow', '{NULL}')$$);
SELECT test.error($$SELECT triggerdo.on_change(4294967000, 'follow')$$);
SELECT test.error($$SELECT triggerdo.drop_on_change(4294967000, 'follow')$$);
SELECT c AS condition, test.error(format('SELECT triggerdo.on_change(''app.docs'', ''follow-2'', o::text[], %L) FROM (VALUES (%L)) v(o)', c, o)) FROM (VALUES
    ('', '{UPDATE}'), ('NEW.id >', '{UPDATE}'), ('NEW.id', '{UPDATE}'), ('NEW.nope = 1', '{UPDATE}'), ('id = 1', '{UPDATE}'),
    ('NEW.id = 1; DROP TABLE app.docs', '{UPDATE}'), ('true) EXECUTE FUNCTION app.no_change() --', '{UPDATE}'), ('true FROM app.docs', '{UPDATE}'), ('true AS x', '{UPDATE}'),
    ('*', '{UPDATE}'), ('true, false', '{UPDATE}'), ('true WHERE true', '{UPDATE}'), ('true ORDER BY 1', '{UPDATE}'), ('true LIMIT 1', '{UPDATE}'), ('DISTINCT true', '{UPDATE}'), ('true FOR UPDATE', '{UPDATE}'),
    ('true UNION SELECT true', '{UPDATE}'), ('$1', '{UPDATE}'), ('(SELECT true)', '{UPDATE}'), ('EXISTS (SELECT FROM app.docs)', '{UPDATE}'), ('count(*) > 1', '{UPDATE}'), ('generate_series(1, 2) = 1', '{UPDATE}'),
    ('OLD.id = 1', '{INSERT,UPDATE}'), ('NEW.id = 1', '{DELETE}'), ('NEW.id = 1', '{TRUNCATE}')) v(c, o);
RESET ROLE;
BEGIN READ ONLY;
SELECT triggerdo.on_change('app.docs', 'follow');
ROLLBACK;
BEGIN READ ONLY;
SELECT triggerdo.drop_on_change('app.docs', 'follow');
ROLLBACK;
SELECT count(*) FROM triggerdo.changes;

-- What cannot be followed.
SET ROLE app;
CREATE VIEW app.v AS SELECT 1 AS a;
CREATE MATERIALIZED VIEW app.mv AS SELECT 1 AS a;
CREATE SEQUENCE app.num;
CREATE TEMP TABLE tmp (a int);
SELECT test.error(format('SELECT triggerdo.on_change(%L, ''follow'')', t)) FROM unnest('{app.v,app.mv,app.num,tmp}'::text[]) t;
RESET ROLE;
SELECT test.error(format('SELECT triggerdo.on_change(%L, ''follow'')', t)) FROM unnest('{pg_class,_triggerdo.task,triggerdo.runs}'::text[]) t;
DROP TABLE tmp;

-- Whose table, whose task. dave is a member without the rights; a superuser may.
SET ROLE bob;
CREATE TABLE bob.t (a int);
SELECT test.error($$SELECT triggerdo.on_change('app.docs', 'bobs')$$);
SELECT test.error($$SELECT triggerdo.drop_on_change('app.docs', 'follow')$$);
SELECT test.error($$SELECT triggerdo.on_change('bob.t', 'follow')$$);
SELECT test.error($$CREATE TRIGGER t AFTER INSERT ON bob.t FOR EACH ROW EXECUTE FUNCTION _triggerdo.on_change('x', 'follow')$$);
SET ROLE dave;
SELECT test.error($$SELECT triggerdo.on_change('app.docs', 'follow')$$);
RESET ROLE;
SET ROLE outsider;
SELECT test.error($$SELECT triggerdo.on_change('app.docs', 'follow')$$);
RESET ROLE;
SELECT triggerdo.on_change('bob.t', 'follow');
INSERT INTO bob.t VALUES (1);
SELECT by = current_user AS super, task, op, tab FROM test.changes();
SET ROLE bob;
INSERT INTO bob.t VALUES (2);
RESET ROLE;
SELECT by = current_user AS super, task, op, tab FROM test.changes();
-- The function itself is nobody's to call, and what a superuser makes with it by hand does nothing.
SELECT test.error($$SELECT _triggerdo.on_change()$$);
CREATE TRIGGER by_hand BEFORE INSERT ON bob.t FOR EACH ROW EXECUTE FUNCTION _triggerdo.on_change('x');
SELECT test.error($$INSERT INTO bob.t VALUES (3)$$);
DROP TRIGGER by_hand ON bob.t;
CREATE TRIGGER by_hand AFTER INSERT ON bob.t FOR EACH ROW EXECUTE FUNCTION _triggerdo.on_change();
CREATE TRIGGER by_hand_2 AFTER INSERT ON bob.t FOR EACH ROW EXECUTE FUNCTION _triggerdo.on_change('not-an-id', 'follow');
INSERT INTO bob.t VALUES (3);
SELECT count(*) FROM test.changes();
DROP TABLE bob.t;

-- Another owner: the role that asked has no right to the table any more. It is said, not passed over.
SET ROLE app;
CREATE TABLE app.given (a int);
SELECT triggerdo.on_change('app.given', 'follow');
RESET ROLE;
ALTER TABLE app.given OWNER TO bob;
SELECT test.error($$INSERT INTO app.given VALUES (1)$$);
SET ROLE bob;
SELECT triggerdo.drop_on_change('app.given', 'follow');
SELECT triggerdo.on_change('app.given', 'bobs');
INSERT INTO app.given VALUES (2);
RESET ROLE;
SELECT task, by, op, tab, new FROM test.changes();
-- No right to the task any more: membership is looked at with each change.
CREATE ROLE frank;
GRANT USAGE ON SCHEMA triggerdo, app TO frank;
GRANT app TO frank;
CREATE TABLE franks (a int);
ALTER TABLE franks OWNER TO frank;
SET ROLE frank;
SELECT triggerdo.on_change('franks', 'follow', NULL, NULL);
INSERT INTO franks VALUES (1);
RESET ROLE;
REVOKE app FROM frank;
SELECT test.error($$INSERT INTO franks VALUES (2)$$);
GRANT app TO frank;
INSERT INTO franks VALUES (3);
SELECT task, by, op, tab, new FROM test.changes();
-- A role that is gone.
ALTER TABLE franks OWNER TO app;
DROP OWNED BY frank;
DROP ROLE frank;
SELECT regexp_replace(test.error($$INSERT INTO franks VALUES (4)$$), 'OID=\d+', 'OID=n');
SET ROLE app;
SELECT triggerdo.on_change('franks', 'follow');
INSERT INTO franks VALUES (5);
RESET ROLE;
SELECT task, by, op, tab, new FROM test.changes();
DROP TABLE franks;

-- drop_task ends subscriptions; writes go on. Defined anew, the task has none.
SET ROLE app;
SELECT triggerdo.define_task('gone', 'app.follow');
CREATE TABLE app.gone (a int);
SELECT triggerdo.on_change('app.gone', 'gone');
INSERT INTO app.gone VALUES (1);
SELECT triggerdo.drop_task('gone');
INSERT INTO app.gone VALUES (2);
SELECT triggerdo.define_task('gone', 'app.follow');
INSERT INTO app.gone VALUES (3);
SELECT count(*) FROM triggerdo.changes WHERE task = 'gone';
SELECT triggerdo.on_change('app.gone', 'gone');
INSERT INTO app.gone VALUES (4);
RESET ROLE;
SELECT task, op, new FROM test.changes();
-- The row goes with the table, at the next on_change.
DROP TABLE app.gone;
SELECT count(*) FROM triggerdo.changes WHERE task = 'gone';
SET ROLE app;
SELECT triggerdo.drop_on_change('app.docs', 'no such');
RESET ROLE;
SELECT count(*) FROM _triggerdo.change WHERE task = 'gone';

-- Partitions: the table that was asked for; a row that moves; one attached later; one that is a target itself.
SET ROLE app;
CREATE TABLE app.parts (k int, v text) PARTITION BY LIST (k);
CREATE TABLE app.parts_1 PARTITION OF app.parts FOR VALUES IN (1);
SELECT triggerdo.on_change('app.parts', 'follow', '{INSERT,UPDATE,DELETE,TRUNCATE}');
CREATE TABLE app.parts_2 (v text, extra int, k int);
ALTER TABLE app.parts_2 DROP COLUMN extra;
ALTER TABLE app.parts ATTACH PARTITION app.parts_2 FOR VALUES IN (2);
CREATE TABLE app.parts_3 PARTITION OF app.parts FOR VALUES IN (3) PARTITION BY LIST (v);
CREATE TABLE app.parts_3_x PARTITION OF app.parts_3 DEFAULT;
SELECT triggerdo.on_change('app.parts_2', 'follow-2', '{INSERT}');
-- (the copy of a trigger that a partition has is not its own)
SELECT test.error($$SELECT triggerdo.on_change('app.parts_1', 'follow')$$);
SELECT triggerdo.drop_on_change('app.parts_1', 'follow');
INSERT INTO app.parts VALUES (1, 'a'), (2, 'b'), (3, 'c');
UPDATE app.parts SET k = 2 WHERE k = 1;
INSERT INTO app.parts_2 (k, v) VALUES (2, 'direct');
DELETE FROM app.parts WHERE v IN ('c', 'direct');
TRUNCATE app.parts;
ALTER TABLE app.parts DETACH PARTITION app.parts_2;
INSERT INTO app.parts_2 (k, v) VALUES (2, 'detached');
SELECT name, target, task FROM triggerdo.changes WHERE target::text LIKE 'parts%' ORDER BY task;
ALTER TRIGGER on_change_follow ON app.parts RENAME TO renamed;
SELECT triggerdo.on_change('app.parts', 'follow', '{INSERT}', 'NEW.v = ''x''');
INSERT INTO app.parts VALUES (1, 'y'), (1, 'x'), (3, 'x'), (3, 'z');
SELECT triggerdo.drop_on_change('app.parts', 'follow');
INSERT INTO app.parts VALUES (1, 'x');
RESET ROLE;
SELECT * FROM test.changes();

-- Inheritance: the parent's own rows, as with any trigger.
SET ROLE app;
CREATE TABLE app.base (a int);
CREATE TABLE app.derived (b int) INHERITS (app.base);
SELECT triggerdo.on_change('app.base', 'follow', '{INSERT,UPDATE}');
INSERT INTO app.base VALUES (1);
INSERT INTO app.derived VALUES (2, 2);
UPDATE app.base SET a = a + 10;
RESET ROLE;
SELECT op, tab, old, new FROM test.changes();

-- A foreign table can be followed (what its wrapper makes of it is not ours).
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE app.away (a int) SERVER nowhere;
SELECT triggerdo.on_change('app.away', 'follow', '{INSERT}');
DROP FOREIGN DATA WRAPPER nowhere CASCADE;

-- Foreign keys' cascades.
SET ROLE app;
CREATE TABLE app.customer (id int PRIMARY KEY);
CREATE TABLE app.purchase (id int, customer int REFERENCES app.customer ON DELETE CASCADE ON UPDATE CASCADE);
SELECT triggerdo.on_change('app.purchase', 'follow', '{UPDATE,DELETE}');
INSERT INTO app.customer VALUES (1);
INSERT INTO app.purchase VALUES (1, 1), (2, 1);
UPDATE app.customer SET id = 7;
DELETE FROM app.customer;
RESET ROLE;
SELECT op, tab, old, new FROM test.changes();

-- session_replication_role: fires where the change is made, unless ENABLE ALWAYS; that survives a second call.
SET session_replication_role = replica;
INSERT INTO app.docs VALUES (100);
ALTER TABLE app.docs ENABLE ALWAYS TRIGGER mine;
INSERT INTO app.docs VALUES (101);
RESET session_replication_role;
SET ROLE app;
SELECT triggerdo.on_change('app.docs', 'follow', '{INSERT,UPDATE}');
RESET ROLE;
SELECT enabled, operations FROM triggerdo.changes WHERE target = 'app.docs'::regclass;
SET session_replication_role = replica;
INSERT INTO app.docs VALUES (102);
RESET session_replication_role;
ALTER TABLE app.docs DISABLE TRIGGER mine;
INSERT INTO app.docs VALUES (103);
ALTER TABLE app.docs ENABLE TRIGGER mine;
SELECT op, new->'id' AS id FROM test.changes();

-- The table changes: names, columns, generated and dropped ones, a default that no old row has.
SET ROLE app;
ALTER TABLE app.docs ADD COLUMN twice int GENERATED ALWAYS AS (id * 2) STORED, DROP COLUMN n, ADD COLUMN late text DEFAULT 'late';
ALTER TABLE app.docs RENAME body TO "Content";
ALTER TABLE app.docs RENAME TO "Docs";
RESET ROLE;
CREATE SCHEMA app2 AUTHORIZATION app;
SET ROLE app;
ALTER TABLE app."Docs" SET SCHEMA app2;
UPDATE app2."Docs" SET "Content" = 'x' WHERE id IN (100);
SELECT triggerdo.drop_on_change('app2."Docs"', 'follow');
RESET ROLE;
SELECT * FROM test.changes();

-- Types: composites, arrays, domains, ranges, json, the edges of numbers; a cast to json of the user's own, called as who writes.
SET ROLE app;
CREATE TYPE app.pair AS (x int, y text);
CREATE TYPE app.mood AS ENUM ('sad', 'ok');
CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
CREATE TYPE app.secret AS ENUM ('hidden');
CREATE FUNCTION app.secret_json(app.secret) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN to_json('cast as ' || current_user); END $$;
CREATE CAST (app.secret AS json) WITH FUNCTION app.secret_json(app.secret);
CREATE TABLE app.types (p app.pair, pp app.pair[], m app.mood, d app.positive, r int4range, j json, jb jsonb, ts timestamptz, f float8, b bytea, s app.secret, i interval, u uuid);
GRANT ALL ON app.types TO PUBLIC;
SELECT triggerdo.on_change('app.types', 'follow', '{INSERT}');
SET ROLE outsider;
SET timezone = 'UTC';
INSERT INTO app.types VALUES ((1, 'a'), ARRAY[(2, 'b')]::app.pair[], 'ok', 3, '[1,5)', '{"b":1, "a":[null]}', '{"z":{}}', '2030-01-01 00:00:00+00', 'NaN', '\x00ff', 'hidden', '1 day', '00000000-0000-0000-0000-000000000001');
RESET ROLE;
RESET timezone;
SELECT new FROM test.changes();

-- A wide row is detoasted; max_payload_size is said, and the write fails.
SET ROLE app;
CREATE TABLE app.wide (id int, a text);
SELECT triggerdo.on_change('app.wide', 'follow');
INSERT INTO app.wide SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 32768) i;
UPDATE app.wide SET id = 2;
RESET ROLE;
SELECT op, length(old->>'a') AS old, length(new->>'a') AS new, md5(new->>'a') = (SELECT md5(a) FROM app.wide) AS same FROM test.changes();
ALTER SYSTEM SET triggerdo.max_payload_size = '100kB';
SELECT pg_reload_conf();
\c -
SELECT regexp_replace(test.error($$UPDATE app.wide SET id = 3$$), '\d+ kB is', 'n kB is');
ALTER SYSTEM RESET triggerdo.max_payload_size;
SELECT pg_reload_conf();
\c -
SELECT id FROM app.wide;
SELECT count(*) FROM test.changes();

-- A cancelled statement ends, and nothing of it stays. (The request comes between the
-- executor's last look and ours: from the last expression of a trigger before ours.)
SET ROLE app;
CREATE TABLE app.many (i int);
SELECT triggerdo.on_change('app.many', 'follow', '{INSERT}');
CREATE FUNCTION app.cancel_me() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN pg_cancel_backend(pg_backend_pid()) THEN NULL::app.many END; END $$;
CREATE TRIGGER a AFTER INSERT ON app.many FOR EACH ROW WHEN (NEW.i = 3) EXECUTE FUNCTION app.cancel_me();
RESET ROLE;
INSERT INTO app.many SELECT generate_series(1, 3);
SELECT count(*) FROM app.many;
SELECT count(*) FROM test.changes();

-- A task that writes the table it follows triggers itself: as a child, which max_depth ends.
SET ROLE app;
CREATE TABLE app.loop (i int);
CREATE FUNCTION app.loops(payload jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO app.loop SELECT (payload->'new'->>'i')::int + 1 WHERE (payload->'new'->>'i')::int < 3 $$;
SELECT triggerdo.define_task('loops', 'app.loops');
SELECT triggerdo.on_change('app.loop', 'loops', '{INSERT}');
INSERT INTO app.loop VALUES (1);
RESET ROLE;
SELECT test.await_none_queued();
SELECT task, by, op, new FROM test.changes() ORDER BY new;
SELECT count(parent_run_id), count(*) FROM triggerdo.runs WHERE task = 'loops';

-- DROP EXTENSION names the triggers, and goes no further.
\set VERBOSITY terse
DROP EXTENSION triggerdo_test, triggerdo;
\set VERBOSITY default
SELECT count(*) > 0 AS still FROM triggerdo.changes;

DROP SCHEMA app2 CASCADE;
DROP TABLE app.given, app.taken, app.parts, app.parts_2, app.base, app.derived, app.customer, app.purchase, app.types, app.wide, app.many, app.loop;
SELECT count(*) FROM triggerdo.changes;
SELECT * FROM triggerdo.check_invariants();
