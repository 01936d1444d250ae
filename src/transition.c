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
 * first; rows of run, result and attempt are only ever inserted.
 * Crash: each change is one transaction's, with whatever else it did.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "clock.h"
#include "transition.h"
#include "triggerdo.h"
#include "wake.h"

pg_uuid_t
tdo_enqueue(const TdoEnqueue *e)
{
	TdoRun		run = {0};
	TdoLive		live = {0};
	TimestampTz now = tdo_now();
	bool		delayed = e->run_at > now;

	tdo_new_run_id(run.run_id.data);
	run.created_at = now;
	run.delayed_until = delayed ? e->run_at : 0;
	run.owner = e->task->owner;
	run.triggered_by = GetUserId();
	run.max_attempts = e->max_attempts;
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
	run.task = e->task->id;
	run.tags = e->tags;
	run.payload = e->payload;
	run.metadata = e->metadata;
	tdo_run_insert(&run);

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
	return run.run_id;
}

void
tdo_finish(const TdoLive *live, char status, TimestampTz started_at,
		   Jsonb *output, Jsonb *error)
{
	TdoResult	result = {0};

	result.run_id = live->run_id;
	result.queued_at = live->state == TDO_LIVE_QUEUED ? live->order_key : 0;
	result.started_at = started_at;
	result.finished_at = tdo_now();
	result.attempt = live->attempt + (started_at != 0 ? 1 : 0);
	result.status = status;
	result.output = output;
	result.error = error;
	tdo_result_insert(&result);
	tdo_live_delete(live);
	if (live->state == TDO_LIVE_DELAYED)
		tdo_timer_delete(&live->run_id);
	tdo_wake_finished(&live->run_id);
	CommandCounterIncrement();
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
		tdo_finish(live, TDO_FAILED, f->started_at, NULL, error);
		return;
	}
	attempt.run_id = live->run_id;
	attempt.attempt = live->attempt + 1;
	attempt.started_at = f->started_at;
	attempt.finished_at = now;
	attempt.retry_at = retry_at;
	attempt.error = error;
	tdo_attempt_insert(&attempt);

	next.attempt = live->attempt + 1;
	next.order_key = retry_at;
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

void
tdo_put_off(const pg_uuid_t *id)
{
	TdoLive		live;
	TimestampTz due;

	if (tdo_live_lock(id, LockWaitSkip, &live) != TDO_LOCKED ||
		live.state != TDO_LIVE_QUEUED)
		return;
	due = tdo_now() + (USECS_PER_SEC << Min(live.crashes, 6));
	live.crashes = Min(live.crashes + 1, PG_INT16_MAX);
	live.state = TDO_LIVE_DELAYED;
	live.order_key = due;
	tdo_live_update(&live);
	tdo_timer_insert(id, due);
	CommandCounterIncrement();
}
