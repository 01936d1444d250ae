-- Part 46: row changes.

CREATE OR REPLACE FUNCTION triggerdo.on_change(target regclass, task text,
    operations text[] DEFAULT '{INSERT,UPDATE,DELETE}', condition text DEFAULT NULL)
    RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_on_change';

CREATE OR REPLACE FUNCTION triggerdo.drop_on_change(target regclass, task text)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_drop_on_change';

-- What the triggers call. Nobody can name it, so nobody but on_change() makes one.
CREATE OR REPLACE FUNCTION _triggerdo.on_change()
    RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_change';
