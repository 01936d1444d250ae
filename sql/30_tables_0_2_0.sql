-- Part 30: tables of 0.2.0 (once): run by CREATE EXTENSION after those of 0.1.0, and
-- by ALTER EXTENSION UPDATE from it. Run-family tables are not among them: no
-- update script alters those.

ALTER TABLE _triggerdo.task ADD COLUMN payload_schema jsonb;   -- NULL: any payload
ALTER TABLE _triggerdo.task ADD COLUMN hooks jsonb;            -- NULL: none; see src/task.h

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
