-- Part 82: the end of history.

CREATE OR REPLACE FUNCTION triggerdo.purge(older_than interval)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_purge';
