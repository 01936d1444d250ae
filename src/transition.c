/*-------------------------------------------------------------------------
 *
 * transition.c
 *	  Every change of a run's state, each in one function.
 *
 * Job: keep run, live, timer, attempt and result in step; ask for the wake-ups
 * that go with each change.  (DELAYED -> QUEUED by the clock is
 * tdo_timers_fire in rows.c.)
 * Called by: executor, run_now, cancel_run, the trigger functions.
 * Locks: the caller holds the live row FOR UPDATE for every change but the
 * first; rows of run, result and attempt are only ever inserted, but for a run
 * that leaves no history: its end deletes them.
 * Crash: each change is one transaction's, with whatever else it did.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/proc.h"

#include "child.h"
#include "clock.h"
#include "compat.h"
#include "fault.h"
#include "guc.h"
#include "idempotency.h"
#include "origin.h"
#include "quota.h"
#include "slot.h"
#include "transition.h"
#include "triggerdo.h"
#include "wake.h"

pg_uuid_t
tdo_enqueue(const TdoEnqueue *e)
{
	bool		is_cached;

	return tdo_enqueue_once(e, &is_cached);
}

pg_uuid_t
tdo_enqueue_once(const TdoEnqueue *e, bool *is_cached)
{
	TdoRun		run = {0};
	TdoLive		live = {0};
	TimestampTz now;
	bool		delayed;

	/*
	 * what is wrong with a call is wrong with one that finds its run there,
	 * too
	 */
	tdo_limit_size("payload", e->payload);
	tdo_limit_size("metadata", e->metadata);
	*is_cached = false;
	if (e->idempotency_key == NULL)
		tdo_new_run_id(run.run_id.data);
	else if (tdo_idempotency_claim(e->task->id, e->task->owner, e->idempotency_key,
								   e->idempotency_expires, &run.run_id))
	{
		*is_cached = true;
		return run.run_id;
	}
	/* after the wait that this may have been */
	now = tdo_now();
	delayed = e->run_at > now;
	run.created_at = now;
	run.delayed_until = delayed ? e->run_at : 0;
	run.owner = e->task->owner;
	run.triggered_by = e->by_nobody ? InvalidOid : GetUserId();
	run.max_attempts = e->max_attempts;
	run.max_duration = e->max_duration;
	if (e->parent)
	{
		run.has_parent = true;
		run.parent = *e->parent;
		run.root = *e->root;
	}
	if (e->batch)
	{
		run.has_batch = true;
		run.batch = *e->batch;
	}
	run.depth = e->depth;
	run.task = e->task->id;
	run.tags = e->tags;
	run.payload = e->payload;
	run.metadata = e->metadata;
	tdo_limit_run(&run);
	tdo_role_remember(run.owner);
	if (!e->by_nobody)
		tdo_role_remember(run.triggered_by);
	run.keep_result = e->keep_result;
	if (e->replay_of)
	{
		run.has_replay_of = true;
		run.replay_of = *e->replay_of;
	}
	run.idempotency_key = unconstify(char *, e->idempotency_key);
	tdo_run_insert(&run);
	TDO_FAULT("enqueue");

	live.run_id = run.run_id;
	live.owner = run.owner;
	live.order_key = delayed ? e->run_at : now;
	live.state = delayed ? TDO_LIVE_DELAYED : TDO_LIVE_QUEUED;
	tdo_live_insert(&live);

	if (delayed)
	{
		tdo_timer_insert(&run.run_id, e->run_at);
		tdo_wake_timer();
	}
	else
		tdo_wake_queued(run.owner, live.order_key);
	if (e->parent && !e->parent_ends_first)
		tdo_child_insert(e->parent, &run.run_id);
	return run.run_id;
}

char
tdo_keep(const TdoRun *run, const TdoTask *task)
{
	return run->keep_result || task == NULL ? TDO_KEEP_ALL : task->keep;
}

/* the run's task; an id that was dropped and defined anew by another role is another one */
static bool
task_of(const TdoRun *run, TdoTask *task)
{
	return tdo_task_get(run->task, task) && task->owner == run->owner;
}

char
tdo_keep_by_id(const TdoRun *run)
{
	TdoTask		task;

	return tdo_keep(run, task_of(run, &task) ? &task : NULL);
}

/*
 * A key that is busy at this moment is not waited for, least of all by an
 * executor.  Then the result must stay: who finds the key asks it.
 */
static bool
free_key(const TdoRun *run)
{
	return run == NULL || run->idempotency_key == NULL ||
		tdo_idempotency_free(run->task, run->owner, run->idempotency_key, &run->run_id);
}

/*
 * May it have begun before, and have done its on_start in a transaction of its own?
 * (What is a function now was a procedure then, perhaps.)
 */
static bool
may_begin_again(const TdoTask *task)
{
	return task == NULL || task->kind != TDO_KIND_FUNCTION || task->hooks != NULL;
}

void
tdo_finish(const TdoLive *live, const TdoRun *run, const TdoTask *task, char status,
		   TimestampTz started_at, Jsonb *output, Jsonb *error, TdoDue *due)
{
	char		keep = run ? tdo_keep(run, task) : TDO_KEEP_ALL;
	TdoResult	result = {0};
	TdoDue		queued;

	result.run_id = live->run_id;
	result.queued_at = live->state == TDO_LIVE_DELAYED ? 0 : live->order_key;
	result.started_at = started_at;
	result.finished_at = tdo_now();
	result.attempt = live->attempt + (started_at != 0 ? 1 : 0);
	result.status = status;
	result.output = output;
	result.error = error;

	if (tdo_frees_key(status) && !free_key(run))
		keep = TDO_KEEP_ALL;
	tdo_hooks_due(run, task, &result, due ? due : &queued);
	if (keep == TDO_KEEP_NONE || (keep == TDO_KEEP_FAILED && status == TDO_COMPLETED))
	{
		tdo_run_delete(&live->run_id);
		/* (of an on_start from the queue) */
		if (live->attempt > 0)
			tdo_hook_forget_run(&live->run_id);
	}
	else
		tdo_result_insert(&result);
	if (due == NULL)
		tdo_hooks_queue(run, result.attempt, &queued);
	if (may_begin_again(task))
		tdo_hook_forget_started(&live->run_id);
	tdo_live_delete(live);
	if (live->state == TDO_LIVE_DELAYED)
		tdo_timer_delete(&live->run_id);
	if (run && run->has_parent)
		tdo_child_delete(&run->parent, &run->run_id);
	tdo_wake_finished(&live->run_id);
	CommandCounterIncrement();
}

void
tdo_finish_unstarted(const TdoLive *live, const TdoRun *run, char status, Jsonb *error)
{
	TdoTask		task;
	bool		found = task_of(run, &task);

	tdo_finish(live, run, found ? &task : NULL, status, 0, NULL, error, NULL);
}

/* when the next attempt is due, or 0 when there is none */
static TimestampTz
next_attempt(const TdoLive *live, const TdoFailed *f, TimestampTz now)
{
	TdoRetryPolicy policy;
	int			attempt = live->attempt + 1;
	int			max_attempts;
	int64		delay_ms;

	if (f->for_good || f->task == NULL)
		return 0;
	max_attempts = tdo_task_policy(f->task->retry, f->run->max_attempts, &policy);
	delay_ms = tdo_retry_delay_ms(&policy, max_attempts, attempt,
								  tdo_retry_draw(&policy));
	if (delay_ms < 0)
		return 0;
	if (f->retry_at != 0)
		return Max(f->retry_at, now);
	return now + delay_ms * 1000;
}

void
tdo_fail(const TdoLive *live, const TdoFailed *f)
{
	TimestampTz now = tdo_now();
	TimestampTz retry_at = next_attempt(live, f, now);
	Jsonb	   *error = tdo_failure_to_jsonb(f->failure);
	TdoAttempt	attempt = {0};
	TdoLive		next = *live;

	if (retry_at == 0)
	{
		tdo_finish(live, f->run, f->task, TDO_FAILED, f->started_at, NULL, error, f->due);
		return;
	}
	if (may_begin_again(f->task))
		tdo_hook_forget_started(&live->run_id);
	attempt.run_id = live->run_id;
	attempt.attempt = live->attempt + 1;
	attempt.started_at = f->started_at;
	attempt.finished_at = now;
	attempt.retry_at = retry_at;
	attempt.error = error;
	tdo_attempt_insert(&attempt);

	next.attempt = live->attempt + 1;
	next.crashes = 0;
	next.order_key = retry_at;
	next.state = TDO_LIVE_QUEUED;
	next.has_claim = false;
	if (retry_at > now)
	{
		next.state = TDO_LIVE_DELAYED;
		tdo_timer_insert(&live->run_id, retry_at);
		tdo_wake_timer();
	}
	else
		tdo_wake_queued(live->owner, next.order_key);
	tdo_live_update(&next);
	CommandCounterIncrement();
}

/* ------------------------------------------------------------ stopped, crashed */

int64
tdo_max_duration(const TdoRun *run, const TdoTask *task)
{
	if (run->max_duration > 0)
		return run->max_duration;
	return task ? task->max_duration : 0;
}

void
tdo_stopped(const TdoLive *live, const TdoRun *run, const TdoTask *task,
			TdoStop stop, const char *reason, TimestampTz started_at, TdoDue *due)
{
	TdoFailure *failure = stop == TDO_STOP_CANCEL ? tdo_failure_canceled(reason)
	: tdo_failure_timed_out(tdo_max_duration(run, task));

	tdo_finish(live, run, task, stop == TDO_STOP_CANCEL ? TDO_CANCELED : TDO_TIMED_OUT,
			   started_at, NULL, tdo_failure_to_jsonb(failure), due);
}

static void
crashed(const TdoLive *live, TimestampTz started_at, const char *message)
{
	TdoRun		run;
	TdoTask		task;
	bool		found = tdo_run_get(&live->run_id, &run);
	bool		has_task = found && task_of(&run, &task);

	tdo_finish(live, found ? &run : NULL, has_task ? &task : NULL, TDO_CRASHED, started_at, NULL,
			   tdo_failure_to_jsonb(tdo_failure_crashed(message)), NULL);
}

static bool
too_many_crashes(const TdoLive *live)
{
	return tdo_max_crashes > 0 && live->crashes >= tdo_max_crashes;
}

/* a claimed run whose executor is gone is as good as queued, and nobody else may have it */
static TdoLock
lock_ended(const pg_uuid_t *id, TdoLive *live)
{
	TdoLock		lock = tdo_live_lock(id, LockWaitSkip, live);

	if (lock != TDO_LOCKED)
		return lock;
	if (tdo_slot_find_run(id, NULL) != TDO_NOT_IN_HAND)
		return TDO_LOCK_BUSY;
	/* what happened to it since leaves nothing to do */
	if (live->state != TDO_LIVE_QUEUED && live->state != TDO_LIVE_CLAIMED)
		return TDO_LOCK_GONE;
	return TDO_LOCKED;
}

static void
queue_again(TdoLive *live)
{
	live->state = TDO_LIVE_QUEUED;
	live->has_claim = false;
	tdo_live_update(live);
	tdo_wake_queued(live->owner, live->order_key);
	CommandCounterIncrement();
}

static void
delay_until(TdoLive *live, TimestampTz due)
{
	live->state = TDO_LIVE_DELAYED;
	live->has_claim = false;
	live->order_key = due;
	tdo_live_update(live);
	tdo_timer_insert(&live->run_id, due);
	tdo_wake_timer();
	CommandCounterIncrement();
}

void
tdo_later(const pg_uuid_t *id, int64 delay_us)
{
	TdoLive		live;

	if (tdo_live_lock(id, LockWaitSkip, &live) == TDO_LOCKED &&
		live.state == TDO_LIVE_QUEUED)
		delay_until(&live, tdo_now() + delay_us);
}

bool
tdo_reschedule(const pg_uuid_t *id, TimestampTz at)
{
	TdoLive		live;
	TimestampTz now = tdo_now();

	if (tdo_live_lock_delayed(id, &live) != TDO_LOCKED)
		return false;
	/* the clock passes over what is locked */
	tdo_wake_if_rolled_back();
	tdo_timer_delete(id);
	if (at > now)
	{
		delay_until(&live, at);
		return true;
	}
	live.order_key = now;
	queue_again(&live);
	return true;
}

bool
tdo_executor_ended(const TdoEnded *ended)
{
	TdoLive		live;
	TdoRun		run;
	TdoTask		task;
	TdoLock		lock = lock_ended(&ended->run, &live);

	if (lock != TDO_LOCKED)
		return lock == TDO_LOCK_GONE;
	if (ended->stop != TDO_STOP_NONE)
	{
		if (tdo_run_get(&ended->run, &run))
			tdo_stopped(&live, &run, task_of(&run, &task) ? &task : NULL, ended->stop,
						ended->reason, ended->started, NULL);
		return true;
	}
	live.crashes = Min(live.crashes + 1, PG_INT16_MAX);
	if (too_many_crashes(&live) && !ended->hook)
		crashed(&live, ended->started,
				psprintf("The process that executed the run ended %d times in its middle.", live.crashes));
	else if (live.crashes == 1)
		queue_again(&live);
	else
		delay_until(&live, tdo_now() + (USECS_PER_SEC << Min(live.crashes - 2, 6)));
	return true;
}

bool
tdo_suspected(const pg_uuid_t *id, bool counts, TimestampTz started, Oid *owner)
{
	TdoLive		live;
	TdoLock		lock = lock_ended(id, &live);

	*owner = InvalidOid;
	if (lock != TDO_LOCKED)
		return lock == TDO_LOCK_GONE;
	if (counts)
		live.crashes = Min(live.crashes + 1, PG_INT16_MAX);
	if (counts && too_many_crashes(&live))
	{
		crashed(&live, started,
				psprintf("The server crashed while it executed the run alone, after %d crashes in all.", live.crashes));
		return true;
	}
	queue_again(&live);
	*owner = live.owner;
	return true;
}

/* --------------------------------------------------------------- durable claims */

void
tdo_claim_durably(TdoLive *live)
{
	uint64		random[2] = {tdo_random_uint64(), tdo_random_uint64()};

	live->state = TDO_LIVE_CLAIMED;
	memcpy(&live->claim, random, sizeof(random));
	live->has_claim = true;
	tdo_live_update(live);
	/* its rollback gives the run back */
	tdo_wake_if_rolled_back();
}

void
tdo_unclaim(const TdoLive *live)
{
	TdoLive		next = *live;

	queue_again(&next);
}

bool
tdo_claim_lock(const TdoLive *claimed, TdoLive *live)
{
	int			lock_timeout = LockTimeout;
	TdoLock		lock = TDO_LOCK_GONE;

	/* the task may have set one */
	LockTimeout = 0;
	PG_TRY();
	{
		lock = tdo_live_lock(&claimed->run_id, LockWaitBlock, live);
	}
	PG_FINALLY();
	{
		LockTimeout = lock_timeout;
	}
	PG_END_TRY();
	return lock == TDO_LOCKED && live->state == TDO_LIVE_CLAIMED && live->has_claim &&
		memcmp(&live->claim, &claimed->claim, sizeof(pg_uuid_t)) == 0;
}

/*
 * An executor shows the run in its slot before it commits the claim, and until
 * what it wrote about the run's end is committed: so a claimed row that we have
 * locked, of a run in nobody's hand, is nobody's.
 */
void
tdo_claim_is_void(const pg_uuid_t *id)
{
	TdoLive		live;

	/* of one whose executor ended in its middle there is more to say */
	if (!tdo_ended_has(id) && lock_ended(id, &live) == TDO_LOCKED &&
		live.state == TDO_LIVE_CLAIMED)
		queue_again(&live);
}
