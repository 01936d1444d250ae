-- Job: triggers one run per package, in the order of the archive, and one that is wrong on purpose.
-- Run as app. It is one transaction: until it commits, no run exists; then all of them do.
\set ON_ERROR_STOP on
BEGIN;
SELECT count(triggerdo.trigger_task('index-package', jsonb_build_object('package', s.package)))
FROM (SELECT package FROM app.stanza ORDER BY position) AS s;
SELECT triggerdo.trigger_task('broken-mirror', '{"mirror": "nowhere"}');
COMMIT;
