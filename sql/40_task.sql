-- Part 40: tasks and retry policies.

CREATE OR REPLACE FUNCTION triggerdo.version()
    RETURNS text LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_version';

CREATE OR REPLACE FUNCTION triggerdo.define_task(
    id              text,
    run             text     DEFAULT NULL,
    command         text     DEFAULT NULL,
    url             text     DEFAULT NULL,
    retry           jsonb    DEFAULT NULL,
    queue           text     DEFAULT NULL,
    max_duration    interval DEFAULT NULL,
    ttl             interval DEFAULT NULL,
    payload_schema  jsonb    DEFAULT NULL,
    description     text     DEFAULT NULL,
    on_start        text     DEFAULT NULL,
    on_success      text     DEFAULT NULL,
    on_failure      text     DEFAULT NULL,
    on_complete     text     DEFAULT NULL,
    on_cancel       text     DEFAULT NULL,
    catch_error     text     DEFAULT NULL,
    options         jsonb    DEFAULT '{}')
    RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_define_task';

CREATE OR REPLACE FUNCTION triggerdo.drop_task(id text)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_drop_task';

CREATE OR REPLACE FUNCTION triggerdo.retry_policy(
    max_attempts int      DEFAULT 3,
    backoff      text     DEFAULT 'exponential',
    factor       float8   DEFAULT 2,
    min_delay    interval DEFAULT '1 s',
    max_delay    interval DEFAULT '60 s',
    jitter       bool     DEFAULT true)
    RETURNS jsonb LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_retry_policy';

CREATE OR REPLACE FUNCTION triggerdo.retry_delay(policy jsonb, attempt int)
    RETURNS interval LANGUAGE c VOLATILE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_retry_delay';
