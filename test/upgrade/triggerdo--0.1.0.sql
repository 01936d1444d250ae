-- triggerdo: background jobs in the database.
-- Part 00: schemas. Run once, by CREATE EXTENSION. Parts 10 and 20 run once as
-- well; every later part can be run again by an update script.
\echo Use "CREATE EXTENSION triggerdo" to load this file. \quit

-- No IF NOT EXISTS: a schema of that name which is not ours is an error here,
-- so whoever made it first cannot own what we put into it.
CREATE SCHEMA triggerdo;
CREATE SCHEMA _triggerdo;

COMMENT ON SCHEMA triggerdo IS 'triggerdo: background jobs. GRANT USAGE ON SCHEMA triggerdo TO a role makes it a user.';
COMMENT ON SCHEMA _triggerdo IS 'triggerdo''s tables and helpers; nobody''s to touch.';
-- Part 10: types (once).

CREATE TYPE triggerdo.run_status AS ENUM (
    'PENDING_VERSION', 'DELAYED', 'QUEUED', 'DEQUEUED', 'EXECUTING', 'WAITING',
    'COMPLETED', 'CANCELED', 'FAILED', 'CRASHED', 'SYSTEM_FAILURE', 'EXPIRED', 'TIMED_OUT');
COMMENT ON TYPE triggerdo.run_status IS
'Status of a run; Trigger.dev''s thirteen public names. The last seven are final: a final run never changes.';
-- Part 20: tables (once). src/rows.c, src/task.c and src/origin.c name these columns by number:
-- columns are only ever appended, and by the same change that extends the C side.
--
-- The run family (run, result, attempt) is keyed by run_id, a UUID version 7,
-- whose leading milliseconds are the day partition. The parents carry no key and
-- no index: pg_restore would attach a child and then fail to add the child's own
-- primary key a second time. Children are made by _triggerdo's C side as
-- <parent>_YYYYMMDD with PRIMARY KEY. No sequence, no trigger, no default that
-- computes, no foreign key: the write path is heap and btree calls from C.

CREATE TABLE _triggerdo.task (
    id          text NOT NULL,
    owner       oid NOT NULL,           -- the role every run of the task runs as
    owner_name  name NOT NULL,          -- its name when the task was defined
    kind        "char" NOT NULL,        -- f a function, p a procedure, c a command
    run_schema  name NOT NULL,          -- by name, never by oid: functions are replaced and restored
    run_name    name NOT NULL,
    run_nargs   int2 NOT NULL,          -- 0, 1 (payload jsonb), or a procedure's 2 (payload jsonb, INOUT result jsonb)
    isolate     bool NOT NULL,          -- options.isolate: a transaction of its own for each run
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    retry       jsonb,                  -- complete policy, or NULL: setting triggerdo.default_retry
    description text,
    options     jsonb NOT NULL,
    own_commits bool NOT NULL,          -- options.ownCommits: a procedure may COMMIT
    max_duration int8,                  -- microseconds for each attempt
    command     text,                   -- of a command
    keep        "char" NOT NULL,        -- options.keep: a all, f failed, n none
    CONSTRAINT task_pkey PRIMARY KEY (id)
);

CREATE TABLE _triggerdo.run (           -- one row per run, inserted once
    run_id          uuid NOT NULL,
    created_at      timestamptz NOT NULL,
    delayed_until   timestamptz,
    expires_at      timestamptz,
    owner           oid NOT NULL,
    triggered_by    oid NOT NULL,
    priority        int4 NOT NULL,
    max_attempts    int4,               -- trigger_task's; NULL: the task's policy
    parent_run_id   uuid,
    root_run_id     uuid,
    batch_id        uuid,
    replay_of       uuid,
    task            text NOT NULL,
    queue           text,               -- NULL: the task's own
    concurrency_key text,
    schedule_id     text,
    idempotency_key text,
    tags            text[],
    payload         jsonb NOT NULL,
    metadata        jsonb,
    options         jsonb,
    max_duration    int8,               -- trigger_task's, microseconds; NULL: the task's
    depth           int2 NOT NULL,      -- how many runs above it: its parent's and 1, or 0
    keep_result     bool                -- true: somebody waits for it, so it stays whatever the task keeps
) PARTITION BY RANGE (run_id);

CREATE TABLE _triggerdo.result (        -- one row per final run, inserted once
    run_id      uuid NOT NULL,
    queued_at   timestamptz,            -- when it last became QUEUED
    started_at  timestamptz,            -- of the last attempt
    finished_at timestamptz NOT NULL,
    attempt     int4 NOT NULL,          -- 0: never started
    status      "char" NOT NULL,        -- C completed X canceled F failed K crashed S system failure E expired T timed out
    output      jsonb,
    error       jsonb
) PARTITION BY RANGE (run_id);

CREATE TABLE _triggerdo.attempt (       -- one row per attempt that failed and was not the last
    run_id      uuid NOT NULL,
    attempt     int4 NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    retry_at    timestamptz NOT NULL,
    error       jsonb NOT NULL
) PARTITION BY RANGE (run_id);

-- The names of the roles whose oids are in the rows, so that a restore elsewhere
-- can tell whose they are (src/origin.c). No unique key: a role met first by two
-- sessions at once gets two rows, of which one goes later.
CREATE TABLE _triggerdo.role (
    role        oid NOT NULL,           -- 12000 to 16383: not known to this server
    name        name NOT NULL,          -- '': not known
    target      oid                     -- within resume(): the role to be bound to
);
CREATE INDEX role_oid ON _triggerdo.role (role);

-- One row from the first definition on: where the oids above are true, and
-- whether anything may run. Never dumped; see src/origin.c.
CREATE TABLE _triggerdo.origin (
    system_identifier int8 NOT NULL,    -- pg_control_system()'s
    database    oid NOT NULL,
    restored    int8 NOT NULL,          -- the mark of the server's last restore from a backup; 0: none
    paused_at   timestamptz,            -- NULL: not paused
    reason      text
);

-- One narrow row per run that is not final; deleted in the commit that writes
-- result. vacuum_truncate off: the exclusive lock would hold up every enqueue.
CREATE TABLE _triggerdo.live (
    run_id      uuid NOT NULL,
    order_key   int8 NOT NULL,          -- microseconds: queued at, less the priority
    owner       oid NOT NULL,
    attempt     int2 NOT NULL,          -- attempts that have failed so far
    crashes     int2 NOT NULL,          -- of its process, or of the server while it ran alone, in this attempt
    state       "char" NOT NULL,        -- q queued, d delayed or to be retried (a timer row says when), x claimed
    claim       uuid,                   -- x: the fence of the claim
    CONSTRAINT live_pkey PRIMARY KEY (run_id)
) WITH (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX live_order ON _triggerdo.live (owner, state, order_key, run_id);

CREATE TABLE _triggerdo.timer (         -- delayed and retried runs: when they become queued
    run_id      uuid NOT NULL,
    due         timestamptz NOT NULL,
    CONSTRAINT timer_pkey PRIMARY KEY (run_id)
) WITH (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX timer_due ON _triggerdo.timer (due, run_id);

-- A second wall behind the views: a role that were ever granted a table would
-- still see no row, because there is no policy. Of run's rows the library lets
-- those through that the role may read (src/api_state.c).
ALTER TABLE _triggerdo.task ENABLE ROW LEVEL SECURITY;
ALTER TABLE _triggerdo.run ENABLE ROW LEVEL SECURITY;
ALTER TABLE _triggerdo.result ENABLE ROW LEVEL SECURITY;
ALTER TABLE _triggerdo.attempt ENABLE ROW LEVEL SECURITY;
ALTER TABLE _triggerdo.role ENABLE ROW LEVEL SECURITY;
ALTER TABLE _triggerdo.origin ENABLE ROW LEVEL SECURITY;
ALTER TABLE _triggerdo.live ENABLE ROW LEVEL SECURITY;
ALTER TABLE _triggerdo.timer ENABLE ROW LEVEL SECURITY;
-- Part 25: what pg_dump takes along (once): definitions, and what waits. The day
-- partitions are made later, so they are dumped as any table is. Not among these:
-- origin, whose absence is how a restored database is known (src/origin.c).
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.task', '');
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.role', '');
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.live', '');
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.timer', '');
-- Part 40: tasks and retry policies.

CREATE OR REPLACE FUNCTION triggerdo.version()
    RETURNS text LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_version';

CREATE OR REPLACE FUNCTION triggerdo.define_task(
    id              text,
    run             text     DEFAULT NULL,
    command         text     DEFAULT NULL,
    url             text     DEFAULT NULL,
    retry           jsonb    DEFAULT NULL,
    queue           text     DEFAULT NULL,
    max_duration    interval DEFAULT NULL,
    ttl             interval DEFAULT NULL,
    payload_schema  jsonb    DEFAULT NULL,
    description     text     DEFAULT NULL,
    on_start        text     DEFAULT NULL,
    on_success      text     DEFAULT NULL,
    on_failure      text     DEFAULT NULL,
    on_complete     text     DEFAULT NULL,
    on_cancel       text     DEFAULT NULL,
    catch_error     text     DEFAULT NULL,
    options         jsonb    DEFAULT '{}')
    RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_define_task';

CREATE OR REPLACE FUNCTION triggerdo.drop_task(id text)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_drop_task';

CREATE OR REPLACE FUNCTION triggerdo.retry_policy(
    max_attempts int      DEFAULT 3,
    backoff      text     DEFAULT 'exponential',
    factor       float8   DEFAULT 2,
    min_delay    interval DEFAULT '1 s',
    max_delay    interval DEFAULT '60 s',
    jitter       bool     DEFAULT true)
    RETURNS jsonb LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_retry_policy';

CREATE OR REPLACE FUNCTION triggerdo.retry_delay(policy jsonb, attempt int)
    RETURNS interval LANGUAGE c VOLATILE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_retry_delay';
-- Part 45: triggering.

CREATE OR REPLACE FUNCTION triggerdo.trigger_task(
    task                text,
    payload             jsonb       DEFAULT '{}',
    delay               interval    DEFAULT NULL,
    run_at              timestamptz DEFAULT NULL,
    ttl                 interval    DEFAULT NULL,
    priority            int         DEFAULT 0,
    queue               text        DEFAULT NULL,
    concurrency_key     text        DEFAULT NULL,
    idempotency_key     text        DEFAULT NULL,
    idempotency_key_ttl interval    DEFAULT '30 days',
    debounce            jsonb       DEFAULT NULL,
    max_attempts        int         DEFAULT NULL,
    max_duration        interval    DEFAULT NULL,
    tags                text[]      DEFAULT '{}',
    metadata            jsonb       DEFAULT '{}',
    options             jsonb       DEFAULT '{}')
    RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_trigger_task';

CREATE OR REPLACE FUNCTION triggerdo.batch_trigger_task(task text, payloads jsonb[], options jsonb DEFAULT '{}')
    RETURNS uuid[] LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_batch_trigger_task';

CREATE OR REPLACE FUNCTION triggerdo.trigger_batch(items jsonb)
    RETURNS TABLE (batch_id uuid, index int, run_id uuid, is_cached bool)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_trigger_batch';

-- Commits, waits holding no snapshot, and gives the object of wait_for_run.
CREATE OR REPLACE PROCEDURE triggerdo.trigger_and_wait(
    task text, payload jsonb, INOUT result jsonb, options jsonb DEFAULT '{}', name text DEFAULT NULL)
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'tdo_sql_trigger_and_wait';
-- Part 50: one run: its result, waiting, cancelling, and what a run may say of itself.

CREATE OR REPLACE FUNCTION triggerdo.run_now(run uuid)
    RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_run_now';

CREATE OR REPLACE FUNCTION triggerdo.run_result(run uuid)
    RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_run_result';

CREATE OR REPLACE FUNCTION triggerdo.wait_for_run(run uuid, timeout interval DEFAULT '30 s')
    RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_wait_for_run';

CREATE OR REPLACE FUNCTION triggerdo.cancel_run(run uuid, reason text DEFAULT NULL)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_cancel_run';

CREATE OR REPLACE FUNCTION triggerdo.current_run()
    RETURNS TABLE (run_id uuid, task text, attempt int, max_attempts int, payload jsonb, tags text[],
                   metadata jsonb, parent_run_id uuid, root_run_id uuid, schedule_id text, batch_id uuid,
                   idempotency_key text, is_replay bool, created_at timestamptz)
    LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1
    AS 'MODULE_PATHNAME', 'tdo_sql_current_run';

CREATE OR REPLACE FUNCTION triggerdo.abort_run(message text)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_abort_run';

CREATE OR REPLACE FUNCTION triggerdo.retry_run_at(at timestamptz, message text)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_retry_run_at';
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
            UNION ALL SELECT l.owner FROM _triggerdo.live l
            UNION ALL SELECT r.owner FROM _triggerdo.run r
            UNION ALL SELECT r.triggered_by FROM _triggerdo.run r) x
     WHERE loaded
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

    UPDATE _triggerdo.live l SET owner = m.target
      FROM _triggerdo.role m
     WHERE m.role OPERATOR(pg_catalog.=) l.owner AND m.target OPERATOR(pg_catalog.<>) m.role;

    UPDATE _triggerdo.run r SET owner = coalesce(o.target, o.role), triggered_by = coalesce(b.target, b.role)
      FROM _triggerdo.role o, _triggerdo.role b
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

    UPDATE _triggerdo.live l SET attempt = 0
     WHERE l.attempt OPERATOR(pg_catalog.>) 0
       AND NOT EXISTS (SELECT FROM _triggerdo.attempt a WHERE a.run_id OPERATOR(pg_catalog.=) l.run_id);

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
-- Part 82: the end of history.

CREATE OR REPLACE FUNCTION triggerdo.purge(older_than interval)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_purge';
-- Part 85: helpers of the views, and the invariants.
-- _triggerdo's functions keep EXECUTE for PUBLIC, because a view's functions are
-- called with its reader's rights; nobody has USAGE on the schema, so no one can name them.

-- May the current user read a run with this owner, triggered by that role?
CREATE OR REPLACE FUNCTION _triggerdo.may_read(owner oid, triggered_by oid)
    RETURNS bool LANGUAGE c STABLE PARALLEL RESTRICTED COST 1
    AS 'MODULE_PATHNAME', 'tdo_sql_may_read';

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
    SELECT 'the roles of tasks and runs are on the map', x.role::text
      FROM (SELECT t.owner AS role FROM _triggerdo.task t
            UNION ALL SELECT l.owner FROM _triggerdo.live l
            UNION ALL SELECT r.owner FROM _triggerdo.run r
            UNION ALL SELECT r.triggered_by FROM _triggerdo.run r) x
     WHERE NOT EXISTS (SELECT FROM _triggerdo.role m WHERE m.role OPERATOR(pg_catalog.=) x.role)
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
    SELECT 'a final run has a known status, and times when it ran', s.run_id::text
      FROM _triggerdo.result s
     WHERE s.status NOT IN ('C', 'X', 'F', 'K', 'S', 'E', 'T')
        OR (s.status IN ('C', 'F') AND (s.started_at IS NULL OR s.queued_at IS NULL OR s.attempt OPERATOR(pg_catalog.<) 1))
$$;
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
       t.retry, t.id AS queue, t.description, t.options, t.created_at, t.updated_at
  FROM _triggerdo.task t
 WHERE _triggerdo.may_read(t.owner, 0::oid);

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
 WHERE _triggerdo.may_read(r.owner, r.triggered_by);
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
 WHERE _triggerdo.may_read(r.owner, r.triggered_by);
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
 WHERE _triggerdo.may_read(x.owner, x.triggered_by);

CREATE OR REPLACE VIEW triggerdo.workers WITH (security_barrier) AS
SELECT w.kind, w.pid, d.datname AS database, 
       -- (an oid of this server, also where this database's rows are not bound)
       CASE WHEN w.role OPERATOR(pg_catalog.>=) 12000::oid AND w.role OPERATOR(pg_catalog.<) 16384::oid
            THEN _triggerdo.role_name(w.role) ELSE pg_catalog.pg_get_userbyid(w.role) END AS role,
       w.state, w.run_id, w.since, w.runs_done, w.reason, w.next_try
  FROM _triggerdo.worker_rows() w
  LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) w.database
 WHERE w.role IS NULL OR _triggerdo.may_read(w.role, 0::oid);

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
         WHERE _triggerdo.may_read(r.owner, r.triggered_by)) x
 GROUP BY x.task;

-- The schema is the gate: who has USAGE may read what the predicate lets through.
GRANT SELECT ON triggerdo.tasks, triggerdo.runs, triggerdo.attempts, triggerdo.workers, triggerdo.stats TO PUBLIC;
-- Part 95: comments. What \df+ and \d+ tell of each public object: arguments with
-- their units, the result, the errors with their SQLSTATE, where the meaning is from.
-- README says the same at length.
--
-- Not repeated below: NULL in an optional argument means its default; NULL in a
-- required one is 22004; an argument whose part of the surface is not built yet is
-- 0A000; a function that writes is 25006 in a read-only transaction or on a standby;
-- one that triggers, waits or cancels is 55000 where triggerdo was not preloaded.

COMMENT ON TYPE triggerdo.run_status IS
'Status of a run; the names are Trigger.dev''s thirteen public ones. '
'DELAYED: waits for its time (run_at, delay, or the next attempt). QUEUED: waits for an executor. '
'DEQUEUED: claimed together with other runs, not begun. EXECUTING: its function is being called. '
'The last seven are final, and a final run never changes: COMPLETED, CANCELED, FAILED, CRASHED (setting triggerdo.max_crashes), TIMED_OUT (max_duration); '
'SYSTEM_FAILURE and EXPIRED, like PENDING_VERSION and WAITING, do not occur in this version.';

-- Tasks

COMMENT ON FUNCTION triggerdo.version() IS
'Version of the loaded library, as text. Compare with pg_extension.extversion after an upgrade.';

COMMENT ON FUNCTION triggerdo.define_task(text, text, text, text, jsonb, text, interval, interval, jsonb, text,
                                          text, text, text, text, text, text, jsonb) IS
'Defines a task, or defines it again; gives its id. '
'id: 1 to 255 bytes, no control characters, no space at its ends. '
'run: a function, ''app.send_email'' or ''app.send_email(jsonb)'', with arguments (payload jsonb) or (), '
'that returns jsonb or void; or a procedure (payload jsonb, INOUT result jsonb) or (payload jsonb); found through search_path now, kept by schema and name. '
'command: one SQL string, run at the top level as a client would send it (VACUUM, CREATE INDEX CONCURRENTLY); instead of run. '
'max_duration: of each attempt; past it the run is TIMED_OUT and not retried, as in Trigger.dev. '
'retry: retry_policy(...) or an object with some of its keys; NULL: setting triggerdo.default_retry, itself empty = one attempt. '
'description: any text. options: {"keep": "all" | "failed" | "none"}: which final runs keep their history ("failed": all but COMPLETED ones); {"isolate": bool}: each run has a transaction of its own; '
'{"ownCommits": bool}: the procedure may COMMIT, and its work is then done at least once. '
'The owner is current_user at the first definition, and every run runs as it. '
'Defining again replaces the whole definition, but never the owner; who is a member of the owner may do it. '
'Errors: 42602 id; 42883 no such function; 42P13 or 42809 wrong kind of function; 42P17 temporary function; '
'42601 the command does not parse; 22023 retry, max_duration, options, both of run and command; 42501 not the owner, superuser owner (setting triggerdo.allow_superuser_tasks), '
'NOLOGIN owner before PostgreSQL 17, owner without EXECUTE; '
'0A000 url, queue, ttl, payload_schema, hooks, a task without run and command, a command that copies from or to a client.';

COMMENT ON FUNCTION triggerdo.drop_task(text) IS
'Removes a definition: true, or false when there is none of that id. '
'Runs keep their history; one that still waits fails at its next attempt (42704, TaskNotFoundError). '
'Errors: 42501 when the caller is neither the owner nor a member of it.';

COMMENT ON FUNCTION triggerdo.retry_policy(int, text, float8, interval, interval, bool) IS
'A complete retry policy as jsonb: {"maxAttempts","backoff","factor","minTimeoutInMs","maxTimeoutInMs","randomize"}. '
'max_attempts: 1 to 32767, the first attempt included. backoff: exponential, linear, fixed, none. '
'factor: above 0, of exponential only. min_delay, max_delay: 0 to 100 years, min_delay not above max_delay; a month counts 30 days. '
'jitter: multiply each delay by a random number in [1,2). '
'The keys and the defaults (3, exponential, 2, 1 s, 60 s, true) are Trigger.dev''s; linear, fixed and none are additions. '
'Errors: 22023.';

COMMENT ON FUNCTION triggerdo.retry_delay(jsonb, int) IS
'The delay after attempt number n has failed: min(max, r * base), rounded to milliseconds; NULL when n >= maxAttempts. '
'base: exponential min * factor^(n-1), linear min * n, fixed min; none is always 0. '
'r: 1, or with randomize a fresh number uniform in [1,2) at each call. Missing keys take retry_policy()''s defaults. '
'Trigger.dev''s formula: the cap comes after the jitter, so a capped delay has none. '
'Errors: 22023 for a policy that is wrong or an attempt below 1.';

-- Triggering

COMMENT ON FUNCTION triggerdo.trigger_task(text, jsonb, interval, timestamptz, interval, int, text, text, text, interval,
                                           jsonb, int, interval, text[], jsonb, jsonb) IS
'Triggers one run; gives its id, a UUID version 7. The run exists when, and only when, the caller''s transaction commits. '
'task: id of a task that the caller owns, or is a member of its owner. payload: any jsonb. '
'delay: time from now, not negative; or run_at: the time itself, one in the past means now. '
'max_attempts: 1 to 32767, instead of the policy''s. max_duration: of each attempt, instead of the task''s. tags: no NULLs. metadata: an object. '
'Inside a run the new run is its child (parent_run_id, root_run_id). '
'Errors: 42704 no such task; 42501 not the caller''s; 22023 an argument; 22004 a NULL task or tag; '
'0A000 ttl, queue, concurrency_key, idempotency_key, idempotency_key_ttl, debounce, a priority other than 0, any option.';

COMMENT ON FUNCTION triggerdo.batch_trigger_task(text, jsonb[], jsonb) IS
'Triggers one run of a task for each payload; gives their ids in the order of the payloads. A NULL payload is {}. '
'options: trigger_task''s optional arguments for all of them, as {"delay":"5 min","max_attempts":3,"tags":["a"],"metadata":{}}, '
'snake_case or camelCase. The runs share a batch_id. All or none, with the caller''s transaction. '
'Errors: trigger_task''s; 22023 for an unknown option or an array of several dimensions.';

COMMENT ON FUNCTION triggerdo.trigger_batch(jsonb) IS
'Triggers runs of several tasks: items is an array of {"task","payload","options"}, options as in batch_trigger_task. '
'Gives a row for each item in their order: batch_id (the same in all), index from 0, run_id, is_cached (always false in this version). '
'All or none, with the caller''s transaction. '
'Errors: trigger_task''s; 22023 for items that are no array, an item that is no object, lacks "task" or has another key.';

COMMENT ON PROCEDURE triggerdo.trigger_and_wait(text, jsonb, jsonb, jsonb, text) IS
'Triggers a run, commits, waits without a snapshot until the run is final, and gives the object of wait_for_run in result (pass NULL). '
'There is no time-out: cancel the statement, or set statement_timeout; the run goes on. '
'options: as in batch_trigger_task. name: not supported yet. '
'Errors: 25001 inside a transaction block, a function or a block with EXCEPTION; 2D000 inside a run; else trigger_task''s. '
'A run that fails is no error here: look at "ok".';

-- One run

COMMENT ON FUNCTION triggerdo.run_now(uuid) IS
'Runs a queued run at once, as an executor would, in the caller''s session and transaction; gives the object of wait_for_run. '
'For tests: BEGIN, trigger_task, run_now, look, ROLLBACK. A failure is recorded and not raised; when it is to be retried, '
'the object has that attempt''s error and the run is DELAYED or QUEUED again. In a session that was not logged in as the owner '
'it is a security-restricted operation: no SET ROLE, no temporary tables, no deferred triggers. '
'Errors: 55000 the run is not queued (delayed, in hand, final); 42501 current_user is not the owner itself; '
'42809 its task is a procedure or command; 02000 no such run; 42704 its task was dropped; 57014 the caller was cancelled: nothing is recorded.';

COMMENT ON FUNCTION triggerdo.run_result(uuid) IS
'Output of a COMPLETED run; NULL while the run is not final, and when the output is NULL. '
'Any other final run raises its error with the SQLSTATE, message, detail, hint and context it had. '
'Sees what is committed now, also in REPEATABLE READ. Errors: 02000 no such run, or one the caller may not read.';

COMMENT ON FUNCTION triggerdo.wait_for_run(uuid, interval) IS
'Waits until a run is final: {"ok":true,"id","taskIdentifier","output"} or {"ok":false,"id","taskIdentifier","error"}; NULL at the time-out. '
'timeout: 30 s unless given; 0 or less looks once. The error object has name, message, sqlstate, detail, hint, context, stackTrace. '
'Like any SELECT it holds a snapshot while it waits: for long waits CALL trigger_and_wait, or ask run_result now and then. '
'Errors: 55000 the run is of the caller''s own open transaction and cannot start; 2D000 inside a run; 02000 no such run.';

COMMENT ON FUNCTION triggerdo.cancel_run(uuid, text) IS
'Ends a run as CANCELED: true; false when it is final. The error''s message is the reason, '
'''Canceled by user'' unless given. One that has not started is ended by the caller''s commit. One that is executing is stopped at once, '
'whatever becomes of the caller''s transaction: its code is cancelled, after setting triggerdo.cancel_grace its process is ended; it is waited for, '
'at most as long as that or 10 s. A run that is claimed together with others is waited for. Trigger.dev''s meaning: not retried. '
'Errors: 42501 not the owner nor a member of it; 02000 no such run; 55000 a run that cancels itself.';

COMMENT ON FUNCTION triggerdo.current_run() IS
'The run in which it is called, as one row; no row outside a run. attempt counts from 1. '
'schedule_id and idempotency_key are NULL and is_replay is false in this version.';

COMMENT ON FUNCTION triggerdo.abort_run(text) IS
'Inside a run: fails it for good with this message, whatever attempts are left (SQLSTATE TD001, AbortTaskRunError, as in Trigger.dev). '
'An EXCEPTION block that catches it undoes it. Errors: 55000 outside a run.';

COMMENT ON FUNCTION triggerdo.retry_run_at(timestamptz, text) IS
'Inside a run: fails this attempt with this message and asks for the next one at the given time (SQLSTATE TD002, RetryTaskRunError); '
'a time in the past means at once. The attempt counts: where none is left the run is FAILED. '
'An EXCEPTION block that catches it undoes it. Errors: 55000 outside a run; 22023 an infinite time.';

-- Views and invariants

COMMENT ON VIEW triggerdo.tasks IS
'Definitions of tasks that the current user owns, or is a member of the owner of. '
'kind: function, procedure, command. run: the function with its argument list, or command: the text; retry NULL: setting triggerdo.default_retry applies; queue: always the task''s id.';

COMMENT ON VIEW triggerdo.runs IS
'Runs of tasks that the current user owns, and runs it triggered; owner and triggered_by by membership. One row per run, final or not. '
'error: of the last failed attempt while the run goes on, of the end when it is final. '
'attempt: the one in hand, else how many there were; max_attempts: the run''s own, else the policy''s. '
'queued_at: NULL while DELAYED. delayed_until: while DELAYED the time it waits for, of a final run the time it was triggered for. '
'started_at, duration: of the last attempt. NULL or 0 in this version: '
'concurrency_key, priority, expires_at, schedule_id, idempotency_key, replay_of.';

COMMENT ON VIEW triggerdo.attempts IS
'Attempts of the runs in triggerdo.runs that ended: those that failed and were to be retried (retry_at says when), '
'and the last one of each final run, with the run''s status. None of a run that ended before it started.';

COMMENT ON VIEW triggerdo.workers IS
'The launcher, the schedulers, the executors of roles that the current user is a member of, and why a role''s executors cannot start. '
'kind: launcher, scheduler, executor. state: running, not running, paused; starting, idle, busy, leaving; cannot start. '
'run_id: being called now. since: of the state, or of the run. runs_done: by this executor. '
'reason: of "paused" and "cannot start", next_try: of "cannot start"; the row goes when an executor of that role has started, or none of its runs is queued. '
'All databases of the server are shown. Errors: 55000 where triggerdo was not preloaded.';

COMMENT ON VIEW triggerdo.stats IS
'Runs that are not final, counted by task: queued, delayed, executing (DEQUEUED ones too), '
'retrying (those with a failed attempt, in any of these states), and the oldest queued_at. paused: nothing begins in this database (triggerdo.workers has the reason). Counts the rows when read.';

COMMENT ON FUNCTION triggerdo.pause() IS
'Lets nothing begin in this database from its commit on: executors finish what they have in hand and end, timers do not fire; '
'enqueues work and wait. Lasts until resume(), also over a restart. true: it was not paused before. '
'For superusers: 42501. Rolled back: nothing happened.';

COMMENT ON FUNCTION triggerdo.resume() IS
'Lets a database go on that was paused by pause(), or by itself because it is a copy: restored from a dump or a backup, '
'made with TEMPLATE, upgraded. What was loaded from a dump is bound to this server''s roles by their names; '
'rows of roles that it lacks stay as they are (WARNING) until CREATE ROLE and another resume(); waiting runs without payload are forgotten, '
'runs without their place in the queue are CANCELED (NOTICE). true: the database was paused. '
'For superusers: 42501; 25001 above READ COMMITTED.';

COMMENT ON FUNCTION triggerdo.purge(interval) IS
'Removes the history of final runs that ended longer ago than older_than; gives their number. '
'Days that go as a whole are dropped, of others, and of those in use, rows are deleted. Part of the caller''s transaction. '
'For superusers. Errors: 42501; 22004 NULL; 22023 a negative interval.';

COMMENT ON FUNCTION triggerdo.check_invariants() IS
'What does not hold of the tables: no row when all is well, else invariant and the run. Reads everything, so it takes time. '
'For superusers: it reads the tables with the caller''s rights (42501).';
-- Part 99: at commit the launcher hears of this database.
SELECT _triggerdo.announce();
