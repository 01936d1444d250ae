-- Part 81: pause and resume, and what resume() does to a database that was loaded
-- from a dump. The helpers are called through the door of src/store.c, which pins
-- what a session may have set.

CREATE OR REPLACE FUNCTION triggerdo.pause()
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_pause';

CREATE OR REPLACE FUNCTION triggerdo.resume()
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_resume';

-- The rows go from the oids they have to those of this server's roles with the
-- names on the map; names that no role has go to oids that no role can have. All
-- in one step for each table: an oid may be the old one of one role and the new
-- one of another. An oid that the map lacks gets the name '', which no role has.
CREATE OR REPLACE FUNCTION _triggerdo.bind_roles(loaded bool)
    RETURNS int8 LANGUAGE sql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
    DELETE FROM _triggerdo.role m
     WHERE EXISTS (SELECT FROM _triggerdo.role o
                    WHERE o.role OPERATOR(pg_catalog.=) m.role AND o.ctid OPERATOR(pg_catalog.>) m.ctid);

    INSERT INTO _triggerdo.role (role, name)
    SELECT DISTINCT x.role, ''::name
      FROM (SELECT t.owner AS role FROM _triggerdo.task t
            UNION ALL SELECT g.owner FROM _triggerdo."grant" g
            UNION ALL SELECT g.role FROM _triggerdo."grant" g
            UNION ALL SELECT a.role FROM _triggerdo.admin a
            UNION ALL SELECT c.role FROM _triggerdo.change c
            UNION ALL SELECT i.owner FROM _triggerdo.idempotency i
            UNION ALL SELECT l.owner FROM _triggerdo.live l
            UNION ALL SELECT h.owner FROM _triggerdo.hook h
            UNION ALL SELECT r.owner FROM _triggerdo.run r
            UNION ALL SELECT r.triggered_by FROM _triggerdo.run r) x
     WHERE loaded
       AND x.role OPERATOR(pg_catalog.<>) 0::oid
       AND NOT EXISTS (SELECT FROM _triggerdo.role m WHERE m.role OPERATOR(pg_catalog.=) x.role);

    UPDATE _triggerdo.role m SET target = a.oid
      FROM pg_catalog.pg_roles a
     WHERE a.rolname OPERATOR(pg_catalog.=) m.name
       AND (loaded OR m.role OPERATOR(pg_catalog.>=) 12000::oid AND m.role OPERATOR(pg_catalog.<) 16384::oid);

    UPDATE _triggerdo.role m SET target = coalesce(f.oid, 0::oid)  -- 0: nobody
      FROM (SELECT x.role, row_number() OVER (ORDER BY x.role) AS n
              FROM _triggerdo.role x WHERE loaded AND x.target IS NULL) w
      LEFT JOIN
           (SELECT g.i::oid AS oid, row_number() OVER (ORDER BY g.i) AS n
              FROM pg_catalog.generate_series(12000, 16383) g(i)
             WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles a WHERE a.oid OPERATOR(pg_catalog.=) g.i::oid)) f
           ON f.n OPERATOR(pg_catalog.=) w.n
     WHERE m.role OPERATOR(pg_catalog.=) w.role;

    UPDATE _triggerdo.task t SET owner = m.target
      FROM _triggerdo.role m
     WHERE m.role OPERATOR(pg_catalog.=) t.owner AND m.target OPERATOR(pg_catalog.<>) m.role;

    UPDATE _triggerdo."grant" g SET owner = coalesce(o.target, o.role), role = coalesce(b.target, b.role)
      FROM _triggerdo.role o, _triggerdo.role b
     WHERE o.role OPERATOR(pg_catalog.=) g.owner
       AND b.role OPERATOR(pg_catalog.=) g.role
       AND (o.target OPERATOR(pg_catalog.<>) o.role OR b.target OPERATOR(pg_catalog.<>) b.role);

    UPDATE _triggerdo.admin a SET role = m.target
      FROM _triggerdo.role m
     WHERE m.role OPERATOR(pg_catalog.=) a.role AND m.target OPERATOR(pg_catalog.<>) m.role;

    -- (0: there was no oid left, see above)
    DELETE FROM _triggerdo."grant" g WHERE g.role OPERATOR(pg_catalog.=) 0::oid;
    DELETE FROM _triggerdo.admin a WHERE a.role OPERATOR(pg_catalog.=) 0::oid;

    UPDATE _triggerdo.change c SET role = m.target
      FROM _triggerdo.role m
     WHERE m.role OPERATOR(pg_catalog.=) c.role AND m.target OPERATOR(pg_catalog.<>) m.role;

    -- (an owner before this one has none that count; so no two can meet below)
    DELETE FROM _triggerdo.idempotency i
     USING _triggerdo.task t
     WHERE t.id OPERATOR(pg_catalog.=) i.task
       AND t.owner OPERATOR(pg_catalog.<>) coalesce(
           (SELECT m.target FROM _triggerdo.role m WHERE m.role OPERATOR(pg_catalog.=) i.owner), i.owner);

    UPDATE _triggerdo.idempotency i SET owner = m.target
      FROM _triggerdo.role m
     WHERE m.role OPERATOR(pg_catalog.=) i.owner AND m.target OPERATOR(pg_catalog.<>) m.role;

    UPDATE _triggerdo.live l SET owner = m.target
      FROM _triggerdo.role m
     WHERE m.role OPERATOR(pg_catalog.=) l.owner AND m.target OPERATOR(pg_catalog.<>) m.role;

    UPDATE _triggerdo.hook h SET owner = m.target
      FROM _triggerdo.role m
     WHERE m.role OPERATOR(pg_catalog.=) h.owner AND m.target OPERATOR(pg_catalog.<>) m.role;

    UPDATE _triggerdo.run r SET owner = coalesce(o.target, o.role), triggered_by = coalesce(b.target, b.role)
      FROM _triggerdo.role o, (SELECT m.role, m.target FROM _triggerdo.role m
                               UNION ALL SELECT 0::oid, 0::oid) b
     WHERE EXISTS (SELECT FROM _triggerdo.role m WHERE m.target OPERATOR(pg_catalog.<>) m.role)
       AND o.role OPERATOR(pg_catalog.=) r.owner
       AND b.role OPERATOR(pg_catalog.=) r.triggered_by
       AND (o.target OPERATOR(pg_catalog.<>) o.role OR b.target OPERATOR(pg_catalog.<>) b.role);

    UPDATE _triggerdo.role SET role = target, target = NULL WHERE target IS NOT NULL;

    SELECT 0::int8;
$$;

-- Parts of a dump may have been left out. What waits without its run is forgotten,
-- and so is what else belongs to no run; what both waits and has a result is final.
CREATE OR REPLACE FUNCTION _triggerdo.forget_orphans()
    RETURNS int8 LANGUAGE sql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
    DELETE FROM _triggerdo.change c
     WHERE NOT EXISTS (SELECT FROM _triggerdo.task t WHERE t.id OPERATOR(pg_catalog.=) c.task);

    -- (the next task of that id and owner is another one)
    DELETE FROM _triggerdo."grant" g
     WHERE NOT EXISTS (SELECT FROM _triggerdo.task t
                        WHERE t.id OPERATOR(pg_catalog.=) g.task AND t.owner OPERATOR(pg_catalog.=) g.owner);

    DELETE FROM _triggerdo.result s
     WHERE NOT EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id OPERATOR(pg_catalog.=) s.run_id);

    DELETE FROM _triggerdo.attempt a
     WHERE NOT EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id OPERATOR(pg_catalog.=) a.run_id);

    DELETE FROM _triggerdo.live l
     USING _triggerdo.result s WHERE s.run_id OPERATOR(pg_catalog.=) l.run_id;

    DELETE FROM _triggerdo.timer t
     WHERE NOT EXISTS (SELECT FROM _triggerdo.live l
                        WHERE l.run_id OPERATOR(pg_catalog.=) t.run_id AND l.state OPERATOR(pg_catalog.=) 'd'
                          AND EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id OPERATOR(pg_catalog.=) l.run_id));

    INSERT INTO _triggerdo.timer (run_id, due)
    SELECT l.run_id, '2000-01-01 00:00:00+00'::timestamptz OPERATOR(pg_catalog.+)
           (l.order_key::float8 OPERATOR(pg_catalog.*) '1 microsecond'::interval)
      FROM _triggerdo.live l
      JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) l.run_id
     WHERE l.state OPERATOR(pg_catalog.=) 'd'
       AND NOT EXISTS (SELECT FROM _triggerdo.timer t WHERE t.run_id OPERATOR(pg_catalog.=) l.run_id);

    DELETE FROM _triggerdo.child c
     WHERE NOT EXISTS (SELECT FROM _triggerdo.live l
                        WHERE l.run_id OPERATOR(pg_catalog.=) c.run_id
                          AND EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id OPERATOR(pg_catalog.=) l.run_id));

    INSERT INTO _triggerdo.child (parent, run_id)
    SELECT r.parent_run_id, r.run_id
      FROM _triggerdo.live l
      JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) l.run_id
      JOIN _triggerdo.live p ON p.run_id OPERATOR(pg_catalog.=) r.parent_run_id
     WHERE NOT EXISTS (SELECT FROM _triggerdo.child c WHERE c.run_id OPERATOR(pg_catalog.=) r.run_id);

    UPDATE _triggerdo.live l SET attempt = 0
     WHERE l.attempt OPERATOR(pg_catalog.>) 0
       AND NOT EXISTS (SELECT FROM _triggerdo.attempt a WHERE a.run_id OPERATOR(pg_catalog.=) l.run_id);

    -- a run that was not done and is not there: who asks for it again shall have it
    DELETE FROM _triggerdo.idempotency i
     USING _triggerdo.live l
     WHERE l.run_id OPERATOR(pg_catalog.=) i.run_id
       AND NOT EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id OPERATOR(pg_catalog.=) l.run_id);

    -- (a queued one has all that it needs)
    DELETE FROM _triggerdo.hook h
     WHERE h.state OPERATOR(pg_catalog.<>) 'q'
       AND NOT EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id OPERATOR(pg_catalog.=) h.run_id)
        OR h.state OPERATOR(pg_catalog.=) 'd'
       AND NOT EXISTS (SELECT FROM _triggerdo.live l WHERE l.run_id OPERATOR(pg_catalog.=) h.run_id);

    WITH gone AS (
        DELETE FROM _triggerdo.live l
         WHERE NOT EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id OPERATOR(pg_catalog.=) l.run_id)
        RETURNING l.run_id)
    SELECT count(*) FROM gone;
$$;

-- A run that neither waits nor has a result was loaded without what tells which
-- of the two it was. It may have been done: it must not run again.
CREATE OR REPLACE FUNCTION _triggerdo.end_unrestored(at timestamptz)
    RETURNS int8 LANGUAGE sql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
    WITH ended AS (
        INSERT INTO _triggerdo.result (run_id, finished_at, attempt, status, error)
        SELECT r.run_id, at, (SELECT count(*) FROM _triggerdo.attempt a WHERE a.run_id OPERATOR(pg_catalog.=) r.run_id), 'X',
               pg_catalog.jsonb_build_object(
                   'name', 'TaskRunCancelledError', 'sqlstate', 'TD003',
                   'message', 'The run was loaded from a dump without its place in the queue',
                   'detail', NULL, 'hint', NULL, 'context', NULL, 'stackTrace', NULL)
          FROM _triggerdo.run r
         WHERE NOT EXISTS (SELECT FROM _triggerdo.result s WHERE s.run_id OPERATOR(pg_catalog.=) r.run_id)
           AND NOT EXISTS (SELECT FROM _triggerdo.live l WHERE l.run_id OPERATOR(pg_catalog.=) r.run_id)
        RETURNING run_id)
    SELECT count(*) FROM ended;
$$;
