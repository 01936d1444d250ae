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
