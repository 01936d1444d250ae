-- Part 30: tables of 0.2.0 (once): run by CREATE EXTENSION after those of 0.1.0, and
-- by ALTER EXTENSION UPDATE from it. Run-family tables are not among them: no
-- update script alters those.

ALTER TABLE _triggerdo.task ADD COLUMN payload_schema jsonb;   -- NULL: any payload
ALTER TABLE _triggerdo.task ADD COLUMN hooks jsonb;            -- NULL: none; see src/task.h
