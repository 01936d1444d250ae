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
