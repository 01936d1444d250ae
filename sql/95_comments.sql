-- Part 95: comments. What \df+ and \d+ tell of each public object: arguments with
-- their units, the result, the errors with their SQLSTATE, where the meaning is from.
-- README says the same at length.
--
-- Not repeated below: NULL in an optional argument means its default; NULL in a
-- required one is 22004; an argument whose part of the surface is not built yet is
-- 0A000; a function that writes is 25006 in a read-only transaction or on a standby;
-- one that triggers, waits or cancels is 55000 where triggerdo was not preloaded.

COMMENT ON TYPE triggerdo.run_status IS
'Status of a run; the names are Trigger.dev''s thirteen public ones. '
'DELAYED: waits for its time (run_at, delay, or the next attempt). QUEUED: waits for an executor. '
'DEQUEUED: claimed together with other runs, not begun. EXECUTING: its function is being called. '
'The last seven are final, and a final run never changes: COMPLETED, CANCELED, FAILED, CRASHED (setting triggerdo.max_crashes), TIMED_OUT (max_duration); '
'SYSTEM_FAILURE and EXPIRED, like PENDING_VERSION and WAITING, do not occur in this version.';

-- Tasks

COMMENT ON FUNCTION triggerdo.version() IS
'Version of the loaded library, as text. Compare with pg_extension.extversion after an upgrade.';

COMMENT ON FUNCTION triggerdo.define_task(text, text, text, text, jsonb, text, interval, interval, jsonb, text,
                                          text, text, text, text, text, text, jsonb) IS
'Defines a task, or defines it again; gives its id. '
'id: 1 to 255 bytes, no control characters, no space at its ends. '
'run: a function, ''app.send_email'' or ''app.send_email(jsonb)'', with arguments (payload jsonb) or (), '
'that returns jsonb or void; or a procedure (payload jsonb, INOUT result jsonb) or (payload jsonb); found through search_path now, kept by schema and name. '
'command: one SQL string, run at the top level as a client would send it (VACUUM, CREATE INDEX CONCURRENTLY); instead of run. '
'max_duration: of each attempt; past it the run is TIMED_OUT and not retried, as in Trigger.dev. '
'retry: retry_policy(...) or an object with some of its keys; NULL: setting triggerdo.default_retry, itself empty = one attempt. '
'payload_schema: a JSON Schema (2020-12, or draft-07 by its $schema): every payload triggered from now on must fit it, or is refused; runs that wait already still run. '
'description: any text. on_start, on_success, on_failure, on_complete, on_cancel: functions (run jsonb) that return void, given the run''s row in triggerdo.runs; '
'catch_error: one (run jsonb, error jsonb) that returns jsonb, {"skipRetrying","retryAt","retryDelayInMs","error"} or NULL, called after each failed attempt but one of abort_run. '
'Hooks are found as run is, and called as the owner, in Trigger.dev''s order. '
'options: {"keep": "all" | "failed" | "none"}: which final runs keep their history ("failed": all but COMPLETED ones); {"isolate": bool}: each run has a transaction of its own; '
'{"ownCommits": bool}: the procedure may COMMIT, and its work is then done at least once. '
'The owner is current_user at the first definition, and every run runs as it. '
'Defining again replaces the whole definition, but never the owner; who is a member of the owner may do it. '
'Who was granted "manage" may, too, but for run, command, url, hooks and payload_schema: left out they stay, and anything else than what is there is 42501. '
'Errors: 42602 id; 42883 no such function; 42P13 or 42809 wrong kind of function; 42P17 temporary function; '
'42601 the command does not parse; 22023 retry, max_duration, options, payload_schema, an empty command, both of run and command; 54000 payload_schema too large; 42501 not the owner, superuser owner (setting triggerdo.allow_superuser_tasks), '
'NOLOGIN owner before PostgreSQL 17, owner without EXECUTE; '
'0A000 url, queue, ttl, options.synchronousCommit, a payload_schema that refers to another document, a task without run and command, a command that copies from or to a client.';

COMMENT ON FUNCTION triggerdo.drop_task(text) IS
'Removes a definition: true, or false when there is none of that id. '
'Its on_change() subscriptions end (NOTICE): changes trigger nothing any more, also when the id is defined anew. '
'Runs keep their history; one that still waits fails at its next attempt (42704, TaskNotFoundError). '
'Its grants go along, and its idempotency keys are free; hooks that are queued are still called. '
'For the owner, members of it, superusers. Errors: 42501.';

COMMENT ON FUNCTION triggerdo.grant_task(text, name, text) IS
'Gives a role a privilege on a task: true, or false when it has it already. '
'id: of the task. role: its name, as in pg_roles. privilege: trigger (trigger it, and see what one triggered), '
'read (see all its runs, payloads, errors), work (claim its runs as an external worker), '
'manage (cancel, replay and reschedule its runs, and define it again with another retry, queue, max_duration, ttl, description, options). '
'Each by itself; all follow membership of roles. Ends with revoke_task, drop_task, DROP ROLE. '
'For the owner, members of it, administrators, superusers. '
'Errors: 42704 no such task or role; 22023 no such privilege, PUBLIC; 42501 not the caller''s task.';

COMMENT ON FUNCTION triggerdo.revoke_task(text, name, text) IS
'Takes a privilege away: true, or false when the role did not have it by itself. What it has triggered it goes on to see. '
'A statement that begins after the commit meets it. Arguments, callers and errors: as grant_task.';

COMMENT ON FUNCTION triggerdo.grant_admin(name) IS
'Makes a role, and its members, administrators of triggerdo in this database: true, or false when it is one already. '
'They see all tasks and runs, may manage them as the privilege "manage" does, grant on all tasks, pause(), resume(), purge(). '
'They do not trigger others'' tasks or change what these run. For superusers. '
'Errors: 42501; 42704 no such role; 22023 PUBLIC.';

COMMENT ON FUNCTION triggerdo.revoke_admin(name) IS
'Ends that: true, or false when the role was not named. For superusers. Errors: as grant_admin.';

COMMENT ON FUNCTION triggerdo.retry_policy(int, text, float8, interval, interval, bool) IS
'A complete retry policy as jsonb: {"maxAttempts","backoff","factor","minTimeoutInMs","maxTimeoutInMs","randomize"}. '
'max_attempts: 1 to 32767, the first attempt included. backoff: exponential, linear, fixed, none. '
'factor: above 0, of exponential only. min_delay, max_delay: 0 to 100 years, min_delay not above max_delay; a month counts 30 days. '
'jitter: multiply each delay by a random number in [1,2). '
'The keys and the defaults (3, exponential, 2, 1 s, 60 s, true) are Trigger.dev''s; linear, fixed and none are additions. '
'Errors: 22023.';

COMMENT ON FUNCTION triggerdo.retry_delay(jsonb, int) IS
'The delay after attempt number n has failed: min(max, r * base), rounded to milliseconds; NULL when n >= maxAttempts. '
'base: exponential min * factor^(n-1), linear min * n, fixed min; none is always 0. '
'r: 1, or with randomize a fresh number uniform in [1,2) at each call. Missing keys take retry_policy()''s defaults. '
'Trigger.dev''s formula: the cap comes after the jitter, so a capped delay has none. '
'Errors: 22023 for a policy that is wrong or an attempt below 1.';

-- Triggering

COMMENT ON FUNCTION triggerdo.trigger_task(text, jsonb, interval, timestamptz, interval, int, text, text, text, interval,
                                           jsonb, int, interval, text[], jsonb, jsonb) IS
'Triggers one run; gives its id, a UUID version 7. The run exists when, and only when, the caller''s transaction commits. '
'task: id of a task that the caller owns, is a member of the owner of, or was granted "trigger" on. payload: any jsonb that fits the task''s payload_schema, if it has one; NULL is {}. '
'delay: time from now, not negative; or run_at: the time itself, one in the past means now. '
'max_attempts: 1 to 32767, instead of the policy''s. max_duration: of each attempt, instead of the task''s. tags: no NULLs. metadata: an object. '
'idempotency_key: of any length, unique in its task, as Trigger.dev''s of scope global: while the key is taken nothing is written, and the id is that of the run that has it, '
'whatever its status, whoever triggered it. It is taken from the trigger on for idempotency_key_ttl (positive), also when the run''s history is gone; '
'a run that ends FAILED, CRASHED, SYSTEM_FAILURE, EXPIRED or TIMED_OUT gives it up, one that is COMPLETED or CANCELED does not. '
'Waits for a transaction that has triggered with the key and has not ended. '
'Inside a run the new run is its child (parent_run_id, root_run_id). '
'Errors: 42704 no such task; 42501 not the caller''s; 22023 an argument, a payload that does not fit (the message, and the fields column and constraint, name path and rule); 54000 one too costly to check; 22004 a NULL task or tag; '
'0A000 ttl, queue, concurrency_key, debounce, a priority other than 0, any option.';

COMMENT ON FUNCTION triggerdo.batch_trigger_task(text, jsonb[], jsonb) IS
'Triggers one run of a task for each payload; gives their ids in the order of the payloads. A NULL payload is {}. '
'options: trigger_task''s optional arguments for all of them, as {"delay":"5 min","max_attempts":3,"tags":["a"],"metadata":{}}, '
'snake_case or camelCase. Of an idempotency_key K item i, from 0, has the key K-i, as Trigger.dev''s [K, i]; where it is taken the item''s id is that of the run that has it. '
'The runs share a batch_id. All or none, with the caller''s transaction. '
'Errors: trigger_task''s; 22023 for an unknown option or an array of several dimensions.';

COMMENT ON FUNCTION triggerdo.trigger_batch(jsonb) IS
'Triggers runs of several tasks: items is an array of {"task","payload","options"}, options as in batch_trigger_task. '
'Gives a row for each item in their order: batch_id (the same in all), index from 0, run_id, is_cached (its idempotency key was taken: run_id is the run that has it). '
'All or none, with the caller''s transaction. '
'Errors: trigger_task''s; 22023 for items that are no array, an item that is no object, lacks "task" or has another key.';

COMMENT ON PROCEDURE triggerdo.trigger_and_wait(text, jsonb, jsonb, jsonb, text) IS
'Triggers a run, commits, waits without a snapshot until the run is final, and gives the object of wait_for_run in result (pass NULL). '
'There is no time-out: cancel the statement, or set statement_timeout; the run goes on. '
'options: as in batch_trigger_task. With an idempotency key that is taken it waits for the run that has it. name: not supported yet. '
'Errors: 25001 inside a transaction block, a function or a block with EXCEPTION; 2D000 inside a run; else trigger_task''s; '
'02000 the run that has the key left no history, or is not the caller''s to read. '
'A run that fails is no error here: look at "ok".';

COMMENT ON FUNCTION triggerdo.reset_idempotency_key(text, text) IS
'Frees an idempotency key of a task: the next trigger with it makes a new run; the run that has it goes on. True when it was taken. '
'For those who may trigger the task, as Trigger.dev''s idempotencyKeys.reset. Takes effect with the caller''s transaction; waits as trigger_task does. '
'key: as it was given; of a batch, with the item''s number: K-0. '
'Errors: 42704 no such task; 42501 not the caller''s; 22023 an empty key; 22004 a NULL.';

-- Row changes

COMMENT ON FUNCTION triggerdo.on_change(regclass, text, text[], text) IS
'Each change of a row of the table triggers a run of the task, in the same transaction, as the role that called this; gives the trigger''s name. '
'target: a table, partitioned or foreign table that the caller owns, or is a member of its owner; not a view, a temporary table, a system catalog. '
'task: one that the caller may trigger. operations: of INSERT, UPDATE, DELETE (these unless given) and TRUNCATE, in any case. '
'condition: the WHEN of CREATE TRIGGER: one boolean expression over OLD and NEW, that must fit each of the operations. '
'Payload: {"operation","schema","table","old","new"}: the names of target now, the rows as to_jsonb() makes them in the session that writes, null where there is none. '
'Who writes needs no right to the task. Again for the same table and task: replaces operations, condition and the role. '
'At each change the role must exist, own the table, and have the right to trigger the task, else the change fails: 55000, 42501; as trigger_task for the rest. '
'Errors: 22004; 42P01 no such table; 42809 it cannot be followed; 42501 not the owner of the table, no right to the task; 42704 no such task; '
'22023 operations; 42601, 42P17 and others of CREATE TRIGGER for the condition; 42710 the trigger''s name is taken.';

COMMENT ON FUNCTION triggerdo.drop_on_change(regclass, text) IS
'Ends what on_change() began for that table and task; true, or false when there was nothing. Waits for those who are writing the table. '
'For the table''s owner and its members, whoever asked for it. Also what drop_task() has ended: its triggers, which do nothing any more. '
'Errors: 22004; 42P01 no such table; 42501 not the owner of the table.';

-- One run

COMMENT ON FUNCTION triggerdo.run_now(uuid) IS
'Runs a queued run at once, as an executor would, in the caller''s session and transaction; gives the object of wait_for_run. '
'For tests: BEGIN, trigger_task, run_now, look, ROLLBACK. A failure is recorded and not raised; when it is to be retried, '
'the object has that attempt''s error and the run is DELAYED or QUEUED again. In a session that was not logged in as the owner '
'it is a security-restricted operation: no SET ROLE, no temporary tables, no deferred triggers. '
'Errors: 55000 the run is not queued (delayed, in hand, final); 42501 current_user is not the owner itself, or there is no such run (a superuser is told 02000); '
'42809 its task is a procedure or command; 42704 its task was dropped; 57014 the caller was cancelled: nothing is recorded.';

COMMENT ON FUNCTION triggerdo.run_result(uuid) IS
'Output of a COMPLETED run; NULL while the run is not final, and when the output is NULL. '
'Any other final run raises its error with the SQLSTATE, message, detail, hint and context it had. '
'Sees what is committed now, also in REPEATABLE READ. Errors: 02000 no such run, or one the caller may not read.';

COMMENT ON FUNCTION triggerdo.wait_for_run(uuid, interval) IS
'Waits until a run is final: {"ok":true,"id","taskIdentifier","output"} or {"ok":false,"id","taskIdentifier","error"}; NULL at the time-out. '
'timeout: 30 s unless given; 0 or less looks once. The error object has name, message, sqlstate, detail, hint, context, stackTrace. '
'Like any SELECT it holds a snapshot while it waits: for long waits CALL trigger_and_wait, or ask run_result now and then. '
'Errors: 55000 the run is of the caller''s own open transaction and cannot start; 2D000 inside a run; 02000 no such run.';

COMMENT ON FUNCTION triggerdo.cancel_run(uuid, text) IS
'Ends a run as CANCELED: true; false when it is final. The error''s message is the reason, '
'''Canceled by user'' unless given (255 bytes of it, when the run is executing). One that has not started is ended by the caller''s commit. One that is executing is stopped at once, '
'whatever becomes of the caller''s transaction: its code is cancelled, after setting triggerdo.cancel_grace its process is ended; it is waited for, '
'at most as long as that or 10 s. A run that is claimed together with others is waited for. Trigger.dev''s meaning: not retried. '
'Its children that are not final are cancelled with it, and theirs, as far as runs are not final and the caller may cancel them (NOTICE for others). '
'For the owner, members of it, roles with the privilege "manage", administrators. '
'Errors: 42501 none of these; 02000 no such run, or one the caller may not read; 55000 a run that cancels itself.';

COMMENT ON FUNCTION triggerdo.cancel_runs(jsonb) IS
'Cancels the runs that the filter chooses, as cancel_run does, and gives how many: those that were not final, and that the caller may cancel; '
'their children are cancelled too, and not counted. The filter is an object of status, task, queue, tag, schedule, batch, run_ids (each a string or an array of strings, of which one must fit), '
'created_after (inclusive) and created_before (exclusive); all keys given must fit. A run that calls is not cancelled by it (NOTICE). '
'Errors: 22023 unknown key or status, or an empty filter; 22P02 no uuid; 22007 no time.';

COMMENT ON FUNCTION triggerdo.replay_runs(jsonb) IS
'Replays the runs that the filter (see cancel_runs) chooses, as replay_run does without options, and gives how many: those of tasks that are still there, '
'and that the caller may replay. All or none: an error in one undoes all. The new runs are not among those it looks at. Errors: as cancel_runs, trigger_task.';

COMMENT ON FUNCTION triggerdo.replay_run(uuid, jsonb, text, jsonb) IS
'Triggers a run once more, final or not, and gives the new run''s id: as the task is defined now, with the same payload unless one is given, '
'and the same tags, metadata, max_attempts and max_duration unless options (trigger_task''s arguments, snake_case or camelCase) say otherwise. It starts at once unless options have a delay. '
'The new run has replay_of; current_run().is_replay is true in it. Not taken over: delay, idempotency key, batch, parent (inside a run it is that run''s child). '
'For the owner, members of it, roles with the privilege "manage", administrators, and roles with "trigger" for runs that they may read; who manages the task and may not read the run does not read the replay either: its triggered_by is NULL. '
'Errors: as trigger_task; 42501 none of these; 02000 no such run, or one the caller may neither read nor manage, or its task keeps no history; 0A000 from_checkpoint, which is not built yet. Semantics: Trigger.dev''s runs.replay.';

COMMENT ON FUNCTION triggerdo.reschedule_run(uuid, interval, timestamptz) IS
'Gives a DELAYED run another time, by delay from now or by run_at, also one that waits for its next attempt; a time that has come queues it at once. '
'false: it is not delayed, or not any more. For whom cancel_run is. Errors: 22023 both or neither, negative, infinite; 42501 none of these; 02000 no such run. '
'Semantics: Trigger.dev''s runs.reschedule.';

COMMENT ON FUNCTION triggerdo.current_run() IS
'The run in which it is called, as one row; no row outside a run. attempt counts from 1. '
'schedule_id is NULL in this version.';

COMMENT ON FUNCTION triggerdo.abort_run(text) IS
'Inside a run: fails it for good with this message, whatever attempts are left (SQLSTATE TD001, AbortTaskRunError, as in Trigger.dev). '
'An EXCEPTION block that catches it undoes it. Errors: 55000 outside a run.';

COMMENT ON FUNCTION triggerdo.retry_run_at(timestamptz, text) IS
'Inside a run: fails this attempt with this message and asks for the next one at the given time (SQLSTATE TD002, RetryTaskRunError); '
'a time in the past means at once. The attempt counts: where none is left the run is FAILED. '
'An EXCEPTION block that catches it undoes it. Errors: 55000 outside a run; 22023 an infinite time.';

-- Views and invariants

COMMENT ON VIEW triggerdo.tasks IS
'Definitions of tasks that the current user owns, is a member of the owner of, or was granted any privilege on. '
'kind: function, procedure, command. hooks: its hooks'' functions. run: the function with its argument list, or command: the text; retry NULL: setting triggerdo.default_retry applies; payload_schema NULL: any payload; queue: always the task''s id.';

COMMENT ON VIEW triggerdo.runs IS
'Runs of tasks that the current user owns or was granted "read" on, and runs it triggered; all by membership. One row per run, final or not. '
'error: of the last failed attempt while the run goes on, of the end when it is final. '
'attempt: the one in hand, else how many there were; max_attempts: the run''s own, else the policy''s. '
'queued_at: NULL while DELAYED. delayed_until: while DELAYED the time it waits for, of a final run the time it was triggered for. '
'started_at, duration: of the last attempt. idempotency_key: as it was triggered, also when the key is free again. replay_of: the run that it repeats. '
'triggered_by: NULL of a replay by a role that may not read the run. '
'NULL or 0 in this version: concurrency_key, priority, expires_at, schedule_id.';

COMMENT ON VIEW triggerdo.grants IS
'What was granted on tasks that the current user owns, and what it was granted itself, by membership: task, its owner, role, '
'privilege (trigger, read, work, manage); and who is an administrator: privilege admin, without a task. Administrators and superusers see all.';

COMMENT ON VIEW triggerdo.attempts IS
'Attempts of the runs in triggerdo.runs that ended: those that failed and were to be retried (retry_at says when), '
'and the last one of each final run, with the run''s status. None of a run that ended before it started.';

COMMENT ON VIEW triggerdo.changes IS
'Subscriptions of on_change() that the current user asked for, and those to tables that it owns; both by membership; administrators and superusers see all. '
'name: the trigger''s. operations, condition: as given last. role: who triggers. '
'enabled: origin (fires where the change is made), always, replica, disabled: what ALTER TABLE ... ENABLE | DISABLE TRIGGER made of it.';

COMMENT ON VIEW triggerdo.hooks IS
'Hooks that wait for an executor (state queued), and hooks that failed (state failed, with the error, in the shape of a run''s), of the runs that the current user may read. '
'hook: on_start, on_success, on_failure, on_complete, on_cancel; catch_error''s own errors are those of the attempt. attempt: of the run, when it came to call the hook. '
'tries: how often a queued one was begun. at: when it was queued, or failed. '
'A failed one goes with its run''s history; of a run that leaves none the server log has it.';

COMMENT ON VIEW triggerdo.workers IS
'The launcher, the schedulers, the executors of roles that the current user is a member of or that are in the middle of a run that it may read (an administrator: all of this database), and why a role''s executors cannot start. '
'kind: launcher, scheduler, executor. state: running, not running, paused; starting, idle, busy, leaving; cannot start. '
'run_id: being called now. since: of the state, or of the run. runs_done: by this executor. '
'reason: of "paused" and "cannot start", next_try: of "cannot start"; the row goes when an executor of that role has started, or none of its runs is queued. '
'All databases of the server are shown. Errors: 55000 where triggerdo was not preloaded.';

COMMENT ON VIEW triggerdo.stats IS
'Runs that are not final, counted by task: queued, delayed, executing (DEQUEUED ones too), '
'retrying (those with a failed attempt, in any of these states), and the oldest queued_at. paused: nothing begins in this database (triggerdo.workers has the reason). Counts the rows when read.';

COMMENT ON FUNCTION triggerdo.pause() IS
'Lets nothing begin in this database from its commit on: executors finish what they have in hand and end, timers do not fire; '
'enqueues work and wait. Lasts until resume(), also over a restart. true: it was not paused before. '
'For superusers and administrators: 42501. Rolled back: nothing happened.';

COMMENT ON FUNCTION triggerdo.resume() IS
'Lets a database go on that was paused by pause(), or by itself because it is a copy: restored from a dump or a backup, '
'made with TEMPLATE, upgraded. What was loaded from a dump is bound to this server''s roles by their names; '
'rows of roles that it lacks stay as they are (WARNING) until CREATE ROLE and another resume(); waiting runs without payload are forgotten, '
'runs without their place in the queue are CANCELED (NOTICE). true: the database was paused. '
'For superusers, and for administrators where no rows wait to be bound: 42501; 25001 above READ COMMITTED.';

COMMENT ON FUNCTION triggerdo.purge(interval) IS
'Removes the history of final runs that ended longer ago than older_than; gives their number. '
'Days that go as a whole are dropped, of others, and of those in use, rows are deleted. Part of the caller''s transaction. '
'For superusers and administrators. Errors: 42501; 22004 NULL; 22023 a negative interval.';

COMMENT ON FUNCTION triggerdo.check_invariants() IS
'What does not hold of the tables: no row when all is well, else invariant and the run. Reads everything, so it takes time. '
'For superusers: it reads the tables with the caller''s rights (42501).';
