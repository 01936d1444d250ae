-- Part 90: public views. security_barrier and a C predicate on the current user:
-- the barrier keeps a leaky function of the reader behind the predicate, and the
-- predicate holds where row security would not (a view's owner bypasses it).

CREATE OR REPLACE VIEW triggerdo.tasks WITH (security_barrier) AS
SELECT t.id,
       _triggerdo.role_name(t.owner) AS owner,
       CASE t.kind WHEN 'f' THEN 'function' WHEN 'p' THEN 'procedure' ELSE 'command' END AS kind,
       CASE WHEN t.command IS NULL
            THEN pg_catalog.quote_ident(t.run_schema) OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||)
                 pg_catalog.quote_ident(t.run_name) OPERATOR(pg_catalog.||)
                 CASE t.run_nargs WHEN 0 THEN '()' WHEN 1 THEN '(jsonb)' ELSE '(jsonb, jsonb)' END
       END AS run,
       t.command, t.max_duration::float8 OPERATOR(pg_catalog.*) '1 microsecond'::interval AS max_duration,
       t.retry, t.id AS queue, t.description, t.options, t.created_at, t.updated_at, t.payload_schema,
       t.hooks
  FROM _triggerdo.task t
 WHERE _triggerdo.may_see(t.owner, t.id);

-- Runs, two ways. From PostgreSQL 15 on: no barrier, but row security on the table,
-- as the reader (security_invoker): it is checked first, and does not keep an
-- index, ORDER BY and LIMIT from working together over a large history. The
-- predicate stands in the view, too, for roles that bypass row security. Before 15 a
-- barrier, behind which the view is planned by itself.
DO $do$
BEGIN
    IF current_setting('server_version_num')::int OPERATOR(pg_catalog.>=) 150000 THEN
        EXECUTE $v$
CREATE OR REPLACE VIEW triggerdo.runs WITH (security_invoker) AS
SELECT r.run_id, r.task,
       _triggerdo.run_status(r.run_id) AS status,
       coalesce(r.queue, r.task) AS queue, r.concurrency_key,
       r.payload,
       _triggerdo.run_output(r.run_id) AS output,
       _triggerdo.run_error(r.run_id) AS error,
       coalesce(r.metadata, '{}'::jsonb) AS metadata,
       coalesce(r.tags, '{}'::text[]) AS tags,
       _triggerdo.run_attempt(r.run_id) AS attempt,
       _triggerdo.run_max_attempts(r.task, r.max_attempts) AS max_attempts,
       r.priority, r.created_at,
       _triggerdo.run_queued_at(r.run_id, r.priority) AS queued_at,
       _triggerdo.run_started_at(r.run_id) AS started_at,
       _triggerdo.run_finished_at(r.run_id) AS finished_at,
       coalesce(_triggerdo.run_due(r.run_id), r.delayed_until) AS delayed_until,
       r.expires_at, r.parent_run_id, r.root_run_id, r.batch_id, r.schedule_id, r.idempotency_key, r.replay_of,
       _triggerdo.role_name(r.triggered_by) AS triggered_by,
       _triggerdo.role_name(r.owner) AS owner,
       _triggerdo.run_finished_at(r.run_id) OPERATOR(pg_catalog.-) _triggerdo.run_started_at(r.run_id) AS duration
  FROM _triggerdo.run r
 WHERE _triggerdo.may_read(r.owner, r.triggered_by, r.task);
$v$;
        -- nobody can name it; the view is its only reader
        GRANT SELECT ON _triggerdo.run TO PUBLIC;
    ELSE
        EXECUTE $v$
CREATE OR REPLACE VIEW triggerdo.runs WITH (security_barrier) AS
SELECT r.run_id, r.task,
       _triggerdo.derive_status(r.run_id, s.status, l.state, l.attempt) AS status,
       coalesce(r.queue, r.task) AS queue, r.concurrency_key,
       r.payload, s.output,
       coalesce(s.error, a.error) AS error,
       coalesce(r.metadata, '{}'::jsonb) AS metadata,
       coalesce(r.tags, '{}'::text[]) AS tags,
       coalesce(s.attempt, l.attempt OPERATOR(pg_catalog.+)
                CASE WHEN _triggerdo.in_hand_since(r.run_id) IS NULL THEN 0 ELSE 1 END) AS attempt,
       _triggerdo.max_attempts(r.max_attempts, t.retry) AS max_attempts,
       r.priority, r.created_at,
       CASE WHEN s.run_id IS NOT NULL THEN s.queued_at
            WHEN l.state IN ('q', 'x')
            THEN '2000-01-01 00:00:00+00'::timestamptz OPERATOR(pg_catalog.+)
                 (l.order_key::float8 OPERATOR(pg_catalog.*) '1 microsecond'::interval)
                 OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => r.priority)
       END AS queued_at,
       coalesce(s.started_at, _triggerdo.in_hand_since(r.run_id)) AS started_at,
       s.finished_at,
       CASE WHEN s.run_id IS NOT NULL THEN r.delayed_until
            ELSE coalesce(tm.due, r.delayed_until) END AS delayed_until,
       r.expires_at, r.parent_run_id, r.root_run_id, r.batch_id, r.schedule_id, r.idempotency_key, r.replay_of,
       _triggerdo.role_name(r.triggered_by) AS triggered_by,
       _triggerdo.role_name(r.owner) AS owner,
       s.finished_at OPERATOR(pg_catalog.-) s.started_at AS duration
  FROM _triggerdo.run r
  LEFT JOIN _triggerdo.result s ON s.run_id OPERATOR(pg_catalog.=) r.run_id
  LEFT JOIN _triggerdo.live l ON l.run_id OPERATOR(pg_catalog.=) r.run_id
  LEFT JOIN _triggerdo.timer tm ON tm.run_id OPERATOR(pg_catalog.=) r.run_id
  LEFT JOIN _triggerdo.attempt a ON a.run_id OPERATOR(pg_catalog.=) r.run_id
        AND a.attempt OPERATOR(pg_catalog.=) l.attempt
  LEFT JOIN _triggerdo.task t ON t.id OPERATOR(pg_catalog.=) r.task
 WHERE _triggerdo.may_read(r.owner, r.triggered_by, r.task);
$v$;
    END IF;
END $do$;

-- The predicate stands above the UNION ALL: the planner flattens a UNION ALL
-- view without regard to security_barrier, and a leaky qual would go below a
-- predicate in each arm.
CREATE OR REPLACE VIEW triggerdo.attempts WITH (security_barrier) AS
SELECT x.run_id, x.task, x.attempt, x.status, x.started_at, x.finished_at, x.retry_at, x.error
  FROM (SELECT a.run_id, r.task, a.attempt, 'FAILED'::triggerdo.run_status AS status,
               a.started_at, a.finished_at, a.retry_at, a.error, r.owner, r.triggered_by
          FROM _triggerdo.attempt a
          JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) a.run_id
        UNION ALL
        SELECT s.run_id, r.task, s.attempt, _triggerdo.derive_status(s.run_id, s.status, NULL, NULL),
               s.started_at, s.finished_at, NULL, s.error, r.owner, r.triggered_by
          FROM _triggerdo.result s
          JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) s.run_id
         WHERE s.started_at IS NOT NULL) x
 WHERE _triggerdo.may_read(x.owner, x.triggered_by, x.task);

-- A subscription has one trigger for its rows, or one for TRUNCATE, or both; the
-- copies that partitions have are not shown.
CREATE OR REPLACE VIEW triggerdo.changes WITH (security_barrier) AS
SELECT g.name, g.target, c.task, c.operations, c.condition,
       _triggerdo.role_name(c.role) AS role,
       CASE g.enabled WHEN 'O' THEN 'origin' WHEN 'A' THEN 'always' WHEN 'R' THEN 'replica' ELSE 'disabled' END AS enabled,
       c.created_at
  FROM _triggerdo.change c
  JOIN (SELECT min(t.tgname::text) AS name, t.tgrelid::regclass AS target, min(t.tgenabled::text) AS enabled,
               pg_catalog.substr(t.tgargs, 1, 36) AS id, k.relowner AS owner
          FROM pg_catalog.pg_trigger t
          JOIN pg_catalog.pg_class k ON k.oid OPERATOR(pg_catalog.=) t.tgrelid
         WHERE t.tgfoid OPERATOR(pg_catalog.=) '_triggerdo.on_change()'::regprocedure::oid
           AND t.tgparentid OPERATOR(pg_catalog.=) 0::oid
         GROUP BY t.tgrelid, pg_catalog.substr(t.tgargs, 1, 36), k.relowner) g
    ON g.id OPERATOR(pg_catalog.=) pg_catalog.decode(c.id::text, 'escape')
 WHERE _triggerdo.may_read(c.role, g.owner, NULL::text);

-- (what a queued one is shown is in the run's row, or is the owner's to see)
CREATE OR REPLACE VIEW triggerdo.hooks WITH (security_barrier) AS
SELECT h.run_id,
       CASE WHEN h.state OPERATOR(pg_catalog.=) 'q' THEN h.run OPERATOR(pg_catalog.->>) 'task' ELSE r.task END AS task,
       CASE h.kind WHEN 'a' THEN 'on_start' WHEN 'c' THEN 'on_cancel'
                   WHEN 'f' THEN 'on_failure' WHEN 's' THEN 'on_success' ELSE 'on_complete' END AS hook,
       pg_catalog.quote_ident(h.fn_schema) OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||)
       pg_catalog.quote_ident(h.fn_name) AS function,
       CASE h.state WHEN 'q' THEN 'queued' ELSE 'failed' END AS state,
       h.attempt, h.tries::int AS tries, h.at, h.error
  FROM _triggerdo.hook h
  LEFT JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) h.run_id
 WHERE h.state IN ('q', 'e')
   AND _triggerdo.may_read(h.owner, r.triggered_by, CASE WHEN h.state OPERATOR(pg_catalog.=) 'q' THEN h.run OPERATOR(pg_catalog.->>) 'task' ELSE r.task END);

CREATE OR REPLACE VIEW triggerdo.workers WITH (security_barrier) AS
SELECT w.kind, w.pid, d.datname AS database, 
       -- (an oid of this server, also where this database's rows are not bound)
       CASE WHEN w.role OPERATOR(pg_catalog.>=) 12000::oid AND w.role OPERATOR(pg_catalog.<) 16384::oid
            THEN _triggerdo.role_name(w.role) ELSE pg_catalog.pg_get_userbyid(w.role) END AS role,
       w.state, w.run_id, w.since, w.runs_done, w.reason, w.next_try
  FROM _triggerdo.worker_rows() w
  LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) w.database
 WHERE w.role IS NULL
    OR pg_catalog.pg_has_role(w.role, 'USAGE')
    -- (administrators: of this database)
    OR (d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
        AND _triggerdo.may_read(w.role, 0::oid, NULL::text))
    -- in the middle of a run that one may read. OFFSET: else the planner reads all
    -- runs once, to look there for each worker.
    OR EXISTS (SELECT FROM _triggerdo.run r
                WHERE r.run_id OPERATOR(pg_catalog.=) w.run_id
                  AND _triggerdo.may_read(r.owner, r.triggered_by, r.task) OFFSET 0);

CREATE OR REPLACE VIEW triggerdo.stats WITH (security_barrier) AS
SELECT x.task,
       count(*) FILTER (WHERE x.status OPERATOR(pg_catalog.=) 'QUEUED') AS queued,
       count(*) FILTER (WHERE x.status OPERATOR(pg_catalog.=) 'DELAYED') AS delayed,
       count(*) FILTER (WHERE x.status IN ('DEQUEUED', 'EXECUTING')) AS executing,
       count(*) FILTER (WHERE x.failed OPERATOR(pg_catalog.>) 0) AS retrying,
       min(x.queued_at) AS oldest_queued_at,
       _triggerdo.is_paused() AS paused
  FROM (SELECT r.task, l.attempt AS failed,
               _triggerdo.derive_status(l.run_id, NULL, l.state, l.attempt) AS status,
               CASE WHEN l.state OPERATOR(pg_catalog.=) 'q'
                    THEN '2000-01-01 00:00:00+00'::timestamptz OPERATOR(pg_catalog.+)
                 (l.order_key::float8 OPERATOR(pg_catalog.*) '1 microsecond'::interval)
                         OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => r.priority) END AS queued_at
          FROM _triggerdo.live l
          JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) l.run_id
         WHERE _triggerdo.may_read(r.owner, r.triggered_by, r.task)) x
 GROUP BY x.task;

-- The predicate's second role is here the one that has the right.
CREATE OR REPLACE VIEW triggerdo.grants WITH (security_barrier) AS
SELECT x.task, _triggerdo.role_name(x.owner) AS owner, _triggerdo.role_name(x.role) AS role, x.privilege
  FROM (SELECT g.task, g.owner, g.role,
               CASE WHEN g.privilege OPERATOR(pg_catalog.=) 't' THEN 'trigger'
                    WHEN g.privilege OPERATOR(pg_catalog.=) 'r' THEN 'read'
                    WHEN g.privilege OPERATOR(pg_catalog.=) 'w' THEN 'work'
                    ELSE 'manage' END AS privilege
          FROM _triggerdo."grant" g
        UNION ALL
        SELECT NULL, NULL, a.role, 'admin'
          FROM _triggerdo.admin a) x
 WHERE _triggerdo.may_read(x.owner, x.role, NULL::text);

-- 0.1.0's predicate, which no view is made of any more.
DROP FUNCTION IF EXISTS _triggerdo.may_read(oid, oid);

-- The schema is the gate: who has USAGE may read what the predicate lets through.
GRANT SELECT ON triggerdo.tasks, triggerdo.runs, triggerdo.attempts, triggerdo.changes, triggerdo.hooks, triggerdo.workers, triggerdo.stats, triggerdo.grants TO PUBLIC;
