-- Part 10: types (once).

CREATE TYPE triggerdo.run_status AS ENUM (
    'PENDING_VERSION', 'DELAYED', 'QUEUED', 'DEQUEUED', 'EXECUTING', 'WAITING',
    'COMPLETED', 'CANCELED', 'FAILED', 'CRASHED', 'SYSTEM_FAILURE', 'EXPIRED', 'TIMED_OUT');
COMMENT ON TYPE triggerdo.run_status IS
'Status of a run; Trigger.dev''s thirteen public names. The last seven are final: a final run never changes.';
