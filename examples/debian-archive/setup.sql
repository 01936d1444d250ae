-- Job: all that the superuser does for the example. Run once, in a new database.
\set ON_ERROR_STOP on
CREATE EXTENSION triggerdo;
CREATE ROLE app LOGIN;
GRANT USAGE ON SCHEMA triggerdo TO app;
CREATE SCHEMA app AUTHORIZATION app;
