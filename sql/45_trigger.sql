-- Part 45: triggering.

CREATE OR REPLACE FUNCTION triggerdo.trigger_task(
    task                text,
    payload             jsonb       DEFAULT '{}',
    delay               interval    DEFAULT NULL,
    run_at              timestamptz DEFAULT NULL,
    ttl                 interval    DEFAULT NULL,
    priority            int         DEFAULT 0,
    queue               text        DEFAULT NULL,
    concurrency_key     text        DEFAULT NULL,
    idempotency_key     text        DEFAULT NULL,
    idempotency_key_ttl interval    DEFAULT '30 days',
    debounce            jsonb       DEFAULT NULL,
    max_attempts        int         DEFAULT NULL,
    max_duration        interval    DEFAULT NULL,
    tags                text[]      DEFAULT '{}',
    metadata            jsonb       DEFAULT '{}',
    options             jsonb       DEFAULT '{}')
    RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_trigger_task';

CREATE OR REPLACE FUNCTION triggerdo.batch_trigger_task(task text, payloads jsonb[], options jsonb DEFAULT '{}')
    RETURNS uuid[] LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_batch_trigger_task';

CREATE OR REPLACE FUNCTION triggerdo.trigger_batch(items jsonb)
    RETURNS TABLE (batch_id uuid, index int, run_id uuid, is_cached bool)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_trigger_batch';

-- Commits, waits holding no snapshot, and gives the object of wait_for_run.
CREATE OR REPLACE PROCEDURE triggerdo.trigger_and_wait(
    task text, payload jsonb, INOUT result jsonb, options jsonb DEFAULT '{}', name text DEFAULT NULL)
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'tdo_sql_trigger_and_wait';

CREATE OR REPLACE FUNCTION triggerdo.reset_idempotency_key(task text, key text)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_reset_idempotency_key';
