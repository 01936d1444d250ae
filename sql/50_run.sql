-- Part 50: one run: its result, waiting, cancelling, and what a run may say of itself.

CREATE OR REPLACE FUNCTION triggerdo.run_now(run uuid)
    RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_run_now';

CREATE OR REPLACE FUNCTION triggerdo.run_result(run uuid)
    RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_run_result';

CREATE OR REPLACE FUNCTION triggerdo.wait_for_run(run uuid, timeout interval DEFAULT '30 s')
    RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_wait_for_run';

CREATE OR REPLACE FUNCTION triggerdo.cancel_run(run uuid, reason text DEFAULT NULL)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_cancel_run';

CREATE OR REPLACE FUNCTION triggerdo.current_run()
    RETURNS TABLE (run_id uuid, task text, attempt int, max_attempts int, payload jsonb, tags text[],
                   metadata jsonb, parent_run_id uuid, root_run_id uuid, schedule_id text, batch_id uuid,
                   idempotency_key text, is_replay bool, created_at timestamptz)
    LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1
    AS 'MODULE_PATHNAME', 'tdo_sql_current_run';

CREATE OR REPLACE FUNCTION triggerdo.abort_run(message text)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_abort_run';

CREATE OR REPLACE FUNCTION triggerdo.retry_run_at(at timestamptz, message text)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_retry_run_at';
