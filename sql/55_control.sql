-- Part 55: runs again, at another time, and many at once.

CREATE OR REPLACE FUNCTION triggerdo.replay_run(
    run uuid, payload jsonb DEFAULT NULL, from_checkpoint text DEFAULT NULL, options jsonb DEFAULT '{}')
    RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_replay_run';

CREATE OR REPLACE FUNCTION triggerdo.reschedule_run(run uuid, delay interval DEFAULT NULL, run_at timestamptz DEFAULT NULL)
    RETURNS bool LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_reschedule_run';

CREATE OR REPLACE FUNCTION triggerdo.cancel_runs(filter jsonb)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_cancel_runs';

CREATE OR REPLACE FUNCTION triggerdo.replay_runs(filter jsonb)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'tdo_sql_replay_runs';
