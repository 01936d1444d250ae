-- Job: all that the superuser does for the example. Run once, in a new database.
\set ON_ERROR_STOP on
CREATE EXTENSION triggerdo;
-- Owns the tables and the tasks.
CREATE ROLE app LOGIN;
GRANT USAGE ON SCHEMA triggerdo TO app;
CREATE SCHEMA app AUTHORIZATION app;
-- Writes documents, and has never heard of triggerdo.
CREATE ROLE editor LOGIN;
