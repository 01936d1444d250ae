-- Part 85: helpers of the views, and the invariants.
-- _triggerdo's functions keep EXECUTE for PUBLIC, because a view's functions are
-- called with its reader's rights; nobody has USAGE on the schema, so no one can name them.

-- May the current user read a run of this task, with this owner, triggered by that role?
CREATE OR REPLACE FUNCTION _triggerdo.may_read(owner oid, triggered_by oid, task text)
    RETURNS bool LANGUAGE c STABLE PARALLEL RESTRICTED COST 1
    AS 'MODULE_PATHNAME', 'tdo_sql_may_read';
-- May the current user see this task's definition?
CREATE OR REPLACE FUNCTION _triggerdo.may_see(owner oid, task text)
    RETURNS bool LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 1
    AS 'MODULE_PATHNAME', 'tdo_sql_may_see';

-- What the view of runs shows and is not in the run's own row, by the query's
-- snapshot. STABLE, or the view would be planned as a table of its own; the COST
-- has them called after a LIMIT.
CREATE OR REPLACE FUNCTION _triggerdo.run_status(run_id uuid)
    RETURNS triggerdo.run_status LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 100
    AS 'MODULE_PATHNAME', 'tdo_sql_run_status';
CREATE OR REPLACE FUNCTION _triggerdo.run_attempt(run_id uuid)
    RETURNS int LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 100
    AS 'MODULE_PATHNAME', 'tdo_sql_run_attempt';
CREATE OR REPLACE FUNCTION _triggerdo.run_max_attempts(task text, of_run int)
    RETURNS int LANGUAGE c STABLE PARALLEL RESTRICTED COST 100
    AS 'MODULE_PATHNAME', 'tdo_sql_run_max_attempts';
CREATE OR REPLACE FUNCTION _triggerdo.run_queued_at(run_id uuid, priority int)
    RETURNS timestamptz LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 100
    AS 'MODULE_PATHNAME', 'tdo_sql_run_queued_at';
CREATE OR REPLACE FUNCTION _triggerdo.run_started_at(run_id uuid)
    RETURNS timestamptz LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 100
    AS 'MODULE_PATHNAME', 'tdo_sql_run_started_at';
CREATE OR REPLACE FUNCTION _triggerdo.run_finished_at(run_id uuid)
    RETURNS timestamptz LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 100
    AS 'MODULE_PATHNAME', 'tdo_sql_run_finished_at';
CREATE OR REPLACE FUNCTION _triggerdo.run_due(run_id uuid)
    RETURNS timestamptz LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 100
    AS 'MODULE_PATHNAME', 'tdo_sql_run_due';
CREATE OR REPLACE FUNCTION _triggerdo.run_output(run_id uuid)
    RETURNS jsonb LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 100
    AS 'MODULE_PATHNAME', 'tdo_sql_run_output';
CREATE OR REPLACE FUNCTION _triggerdo.run_error(run_id uuid)
    RETURNS jsonb LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 100
    AS 'MODULE_PATHNAME', 'tdo_sql_run_error';

-- The one place where a run's status is derived (api.md, Statuses).
CREATE OR REPLACE FUNCTION _triggerdo.derive_status(run_id uuid, result_status "char", live_state "char", live_attempt int2)
    RETURNS triggerdo.run_status LANGUAGE c VOLATILE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'tdo_sql_derive_status';

-- For the view of runs before PostgreSQL 15.
-- When the attempt in hand began; NULL when no executor has the run in hand.
CREATE OR REPLACE FUNCTION _triggerdo.in_hand_since(run_id uuid)
    RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'tdo_sql_in_hand_since';

CREATE OR REPLACE FUNCTION _triggerdo.max_attempts(of_run int, retry jsonb)
    RETURNS int LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_max_attempts';

-- The role's name; in rows that were loaded from a dump, the one it had there.
CREATE OR REPLACE FUNCTION _triggerdo.role_name(role oid)
    RETURNS name LANGUAGE c STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'tdo_sql_role_name';

CREATE OR REPLACE FUNCTION _triggerdo.is_paused()
    RETURNS bool LANGUAGE c STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'tdo_sql_is_paused';

CREATE OR REPLACE FUNCTION _triggerdo.worker_rows()
    RETURNS TABLE (kind text, pid int, database oid, role oid, state text, run_id uuid,
                   since timestamptz, runs_done int8, reason text, next_try timestamptz)
    LANGUAGE c VOLATILE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'tdo_sql_worker_rows';

-- Called by the install script: at commit the launcher starts this database's scheduler.
CREATE OR REPLACE FUNCTION _triggerdo.announce()
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_announce';

-- SECURITY INVOKER on purpose: it reads the tables, so it is for those who may (superusers).
CREATE OR REPLACE FUNCTION triggerdo.check_invariants()
    RETURNS TABLE (invariant text, detail text)
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    SET search_path = pg_catalog, pg_temp
    SET jit = off   -- compiling for each partition would take longer than looking
AS $$
    SELECT 'a run is live or final, never both', r.run_id::text
      FROM _triggerdo.live l JOIN _triggerdo.result r ON r.run_id OPERATOR(pg_catalog.=) l.run_id
    UNION ALL
    SELECT 'a run is live or final, never neither', r.run_id::text
      FROM _triggerdo.run r
     WHERE NOT EXISTS (SELECT FROM _triggerdo.live l WHERE l.run_id OPERATOR(pg_catalog.=) r.run_id)
       AND NOT EXISTS (SELECT FROM _triggerdo.result s WHERE s.run_id OPERATOR(pg_catalog.=) r.run_id)
    UNION ALL
    SELECT 'a live row has its run, with the same owner', l.run_id::text
      FROM _triggerdo.live l LEFT JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) l.run_id
     WHERE r.owner IS DISTINCT FROM l.owner
    UNION ALL
    SELECT 'the roles of tasks, runs and grants are on the map', x.role::text
      FROM (SELECT t.owner AS role FROM _triggerdo.task t
            UNION ALL SELECT g.owner FROM _triggerdo."grant" g
            UNION ALL SELECT g.role FROM _triggerdo."grant" g
            UNION ALL SELECT a.role FROM _triggerdo.admin a
            UNION ALL SELECT c.role FROM _triggerdo.change c
            UNION ALL SELECT l.owner FROM _triggerdo.live l
            UNION ALL SELECT h.owner FROM _triggerdo.hook h
            UNION ALL SELECT r.owner FROM _triggerdo.run r
            UNION ALL SELECT r.triggered_by FROM _triggerdo.run r) x
     WHERE x.role OPERATOR(pg_catalog.<>) 0::oid
       AND NOT EXISTS (SELECT FROM _triggerdo.role m WHERE m.role OPERATOR(pg_catalog.=) x.role)
    UNION ALL
    SELECT 'a grant is on a task of that owner, of a known privilege', g.task
      FROM _triggerdo."grant" g LEFT JOIN _triggerdo.task t ON t.id OPERATOR(pg_catalog.=) g.task
     WHERE t.owner IS DISTINCT FROM g.owner OR g.privilege NOT IN ('t', 'r', 'w', 'm')
    UNION ALL
    SELECT 'nothing is granted twice', x.task
      FROM (SELECT g.task, g.role, g.privilege FROM _triggerdo."grant" g
            UNION ALL SELECT 'administration', a.role, NULL FROM _triggerdo.admin a) x
     GROUP BY x.task, x.role, x.privilege
    HAVING count(*) OPERATOR(pg_catalog.>) 1
    UNION ALL
    SELECT 'a subscription to changes has its task', c.id::text
      FROM _triggerdo.change c
     WHERE NOT EXISTS (SELECT FROM _triggerdo.task t WHERE t.id OPERATOR(pg_catalog.=) c.task)
    UNION ALL
    SELECT 'a result has its run', s.run_id::text
      FROM _triggerdo.result s
     WHERE NOT EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id OPERATOR(pg_catalog.=) s.run_id)
    UNION ALL
    SELECT 'a failed attempt has its run', a.run_id::text
      FROM _triggerdo.attempt a
     WHERE NOT EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id OPERATOR(pg_catalog.=) a.run_id)
    UNION ALL
    SELECT 'a live state is known', l.run_id::text
      FROM _triggerdo.live l WHERE l.state NOT IN ('q', 'd', 'x')
    UNION ALL
    SELECT 'claimed means a fence, a fence means claimed', l.run_id::text
      FROM _triggerdo.live l
     WHERE (l.state OPERATOR(pg_catalog.=) 'x') OPERATOR(pg_catalog.<>) (l.claim IS NOT NULL)
    UNION ALL
    SELECT 'delayed means a timer, a timer means delayed', coalesce(l.run_id, t.run_id)::text
      FROM _triggerdo.live l FULL JOIN _triggerdo.timer t ON t.run_id OPERATOR(pg_catalog.=) l.run_id
     WHERE (l.state IS NOT DISTINCT FROM 'd') OPERATOR(pg_catalog.<>) (t.run_id IS NOT NULL)
    UNION ALL
    SELECT 'what is kept of a child is true, and goes with it', c.run_id::text
      FROM _triggerdo.child c
     WHERE NOT EXISTS (SELECT FROM _triggerdo.live l JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) l.run_id
                        WHERE l.run_id OPERATOR(pg_catalog.=) c.run_id AND r.parent_run_id OPERATOR(pg_catalog.=) c.parent)
    UNION ALL
    SELECT 'a child of a run that goes on can be found by it', r.run_id::text
      FROM _triggerdo.live l
      JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) l.run_id
      JOIN _triggerdo.live p ON p.run_id OPERATOR(pg_catalog.=) r.parent_run_id
     WHERE NOT EXISTS (SELECT FROM _triggerdo.child c
                        WHERE c.parent OPERATOR(pg_catalog.=) r.parent_run_id AND c.run_id OPERATOR(pg_catalog.=) r.run_id)
    UNION ALL
    SELECT 'failed attempts are numbered from 1 without a gap', a.run_id::text
      FROM _triggerdo.attempt a
     GROUP BY a.run_id
    HAVING min(a.attempt) OPERATOR(pg_catalog.<>) 1
        OR max(a.attempt) OPERATOR(pg_catalog.<>) count(*)
    UNION ALL
    SELECT 'live counts its failed attempts', l.run_id::text
      FROM _triggerdo.live l
     WHERE l.attempt OPERATOR(pg_catalog.<>)
           (SELECT count(*) FROM _triggerdo.attempt a WHERE a.run_id OPERATOR(pg_catalog.=) l.run_id)
    UNION ALL
    SELECT 'a completed run has no error, every other final run has one', s.run_id::text
      FROM _triggerdo.result s
     WHERE (s.status OPERATOR(pg_catalog.=) 'C') OPERATOR(pg_catalog.<>) (s.error IS NULL)
    UNION ALL
    SELECT 'an idempotency key is a hash, and names a run of its task that has a key', i.run_id::text
      FROM _triggerdo.idempotency i LEFT JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) i.run_id
     WHERE octet_length(i.key) OPERATOR(pg_catalog.<>) 32
        OR (r.run_id IS NOT NULL AND (r.task OPERATOR(pg_catalog.<>) i.task COLLATE pg_catalog."C" OR r.owner OPERATOR(pg_catalog.<>) i.owner OR r.idempotency_key IS NULL))
    UNION ALL
    SELECT 'a run has one idempotency key at most', i.run_id::text
      FROM _triggerdo.idempotency i
     GROUP BY i.run_id
    HAVING count(*) OPERATOR(pg_catalog.>) 1
    UNION ALL
    SELECT 'a final run has a known status, and times when it ran', s.run_id::text
      FROM _triggerdo.result s
     WHERE s.status NOT IN ('C', 'X', 'F', 'K', 'S', 'E', 'T')
        OR (s.status IN ('C', 'F') AND (s.started_at IS NULL OR s.queued_at IS NULL OR s.attempt OPERATOR(pg_catalog.<) 1))
    UNION ALL
    SELECT 'a hook is known', h.run_id::text
      FROM _triggerdo.hook h
     WHERE h.kind NOT IN ('a', 'c', 'f', 's', 'z') OR h.state NOT IN ('q', 'e', 'd')
        OR (h.state OPERATOR(pg_catalog.=) 'd' AND h.kind OPERATOR(pg_catalog.<>) 'a')
    UNION ALL
    SELECT 'a queued hook has what it is shown, a failed one its error', h.run_id::text
      FROM _triggerdo.hook h
     WHERE (h.state OPERATOR(pg_catalog.=) 'q') OPERATOR(pg_catalog.<>) (h.run IS NOT NULL)
        OR (h.state OPERATOR(pg_catalog.=) 'e') OPERATOR(pg_catalog.<>) (h.error IS NOT NULL)
    UNION ALL
    SELECT 'a hook of the end means that the run has ended', h.run_id::text
      FROM _triggerdo.hook h JOIN _triggerdo.live l ON l.run_id OPERATOR(pg_catalog.=) h.run_id
     WHERE h.kind OPERATOR(pg_catalog.<>) 'a'
    UNION ALL
    SELECT 'an on_start that is noted as done belongs to a run that goes on', h.run_id::text
      FROM _triggerdo.hook h
     WHERE h.state OPERATOR(pg_catalog.=) 'd'
       AND NOT EXISTS (SELECT FROM _triggerdo.live l WHERE l.run_id OPERATOR(pg_catalog.=) h.run_id)
    UNION ALL
    SELECT 'a failed hook is kept with its run', h.run_id::text
      FROM _triggerdo.hook h
     WHERE h.state OPERATOR(pg_catalog.=) 'e'
       AND NOT EXISTS (SELECT FROM _triggerdo.run r WHERE r.run_id OPERATOR(pg_catalog.=) h.run_id)
$$;
