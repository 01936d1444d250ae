-- Part 30: tables of 0.2.0 (once): run by CREATE EXTENSION after those of 0.1.0, and
-- by ALTER EXTENSION UPDATE from it. Run-family tables are not among them: no
-- update script alters those.

ALTER TABLE _triggerdo.task ADD COLUMN payload_schema jsonb;   -- NULL: any payload
ALTER TABLE _triggerdo.task ADD COLUMN hooks jsonb;            -- NULL: none; see src/task.h

-- Grants (src/grant.c). No key: resume() changes the oids in one step, in which one
-- role's old may be another's new; who writes locks the table.
CREATE TABLE _triggerdo."grant" (
    task        text NOT NULL,
    owner       oid NOT NULL,           -- the task's, when it was granted: an id may come to be another role's
    role        oid NOT NULL,           -- who has it
    privilege   "char" NOT NULL         -- t trigger r read w work m manage
);
CREATE TABLE _triggerdo.admin (         -- grant_admin
    role        oid NOT NULL
);
ALTER TABLE _triggerdo."grant" ENABLE ROW LEVEL SECURITY;
ALTER TABLE _triggerdo.admin ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('_triggerdo."grant"', '');
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.admin', '');

-- Who asked for on_change(): one row each. Its triggers name the id, on a table
-- that the row does not name (src/change.c); operations and condition are for the
-- view, the triggers have their own.
CREATE TABLE _triggerdo.change (
    id          uuid NOT NULL,
    role        oid NOT NULL,           -- who triggers
    task        text NOT NULL,
    created_at  timestamptz NOT NULL,
    operations  text[] NOT NULL,
    condition   text,
    CONSTRAINT change_pkey PRIMARY KEY (id)
);
ALTER TABLE _triggerdo.change ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.change', '');

-- Keys under which a task is triggered once (src/idempotency.c, which names the
-- columns by number). Not by the run's row: a partition has no key over all days, and a
-- key outlives a run that leaves no history.
CREATE TABLE _triggerdo.idempotency (
    task        text COLLATE "C" NOT NULL,
    owner       oid NOT NULL,           -- of the task, and of the run
    key         bytea NOT NULL,         -- SHA-256 of the key, which may be of any length
    run_id      uuid NOT NULL,          -- may be gone: not kept, or purged
    expires     timestamptz NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (task, owner, key)
) WITH (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX idempotency_expires ON _triggerdo.idempotency (expires);
ALTER TABLE _triggerdo.idempotency ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.idempotency', '');

-- Hooks. A queued one (q) waits for an executor and has all that it is shown, so
-- that it needs no other row; a failed one (e) is kept with its run; and a run that
-- may begin again has one for its on_start (d), until its first attempt ends.
CREATE TABLE _triggerdo.hook (
    run_id      uuid NOT NULL,
    kind        "char" NOT NULL,        -- in the order of calls: a on_start c on_cancel f on_failure s on_success z on_complete
    attempt     int4 NOT NULL,          -- the run's at that time
    state       "char" NOT NULL,        -- q queued, e failed, d done
    owner       oid NOT NULL,           -- the run's: it is called as this role
    tries       int2 NOT NULL,          -- of a queued one: counted before each call
    depth       int2 NOT NULL,          -- the run's
    at          timestamptz NOT NULL,   -- queued, failed or done at
    fn_schema   name NOT NULL,
    fn_name     name NOT NULL,
    run         jsonb,                  -- q: what it is shown
    error       jsonb,                  -- e: its error
    CONSTRAINT hook_pkey PRIMARY KEY (run_id, kind, attempt)
) WITH (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX hook_queue ON _triggerdo.hook (state, owner, at, run_id, kind);
ALTER TABLE _triggerdo.hook ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.hook', '');

-- The children, not final, of runs that commit before they are done: by this the
-- cancel of a run finds them (src/child.c).
CREATE TABLE _triggerdo.child (
    parent      uuid NOT NULL,
    run_id      uuid NOT NULL,
    CONSTRAINT child_pkey PRIMARY KEY (parent, run_id)
) WITH (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
ALTER TABLE _triggerdo.child ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.child', '');
INSERT INTO _triggerdo.child (parent, run_id)
SELECT r.parent_run_id, r.run_id
  FROM _triggerdo.live l
  JOIN _triggerdo.run r ON r.run_id OPERATOR(pg_catalog.=) l.run_id
  JOIN _triggerdo.live p ON p.run_id OPERATOR(pg_catalog.=) r.parent_run_id;
