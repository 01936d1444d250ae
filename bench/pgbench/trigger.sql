-- triggerdo: one run a commit
SELECT triggerdo.trigger_task('noop', '{}');
