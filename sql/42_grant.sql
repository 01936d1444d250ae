-- Part 42: grants on tasks, and administrators. Who may call these is checked in C.

CREATE OR REPLACE FUNCTION triggerdo.grant_task(id text, role name, privilege text)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_grant_task';

CREATE OR REPLACE FUNCTION triggerdo.revoke_task(id text, role name, privilege text)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_revoke_task';

CREATE OR REPLACE FUNCTION triggerdo.grant_admin(role name)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_grant_admin';

CREATE OR REPLACE FUNCTION triggerdo.revoke_admin(role name)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_revoke_admin';
