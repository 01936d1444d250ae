/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  One batch of runs: claimed, run, recorded and committed together.
 *
 * Job: claim queued runs of a role, run each in a subtransaction, write their
 * results in the same transaction, and commit; see to the runs for which that
 * did not do.
 * Called by: executor.
 * Locks: live rows FOR UPDATE from the claim to the end of the transaction.
 * Crash: the transaction is gone with its locks; the runs are queued as before.
 *
 * Runs share a transaction as long as they are known to be short; a task that
 * is not known yet, or slow, or isolated, gets one of its own.  A batch whose
 * commit fails is run again one by one, so that the culprit fails alone; so is
 * a run that met a serialization failure or a deadlock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "attempt.h"
#include "batch.h"
#include "bgw.h"
#include "clock.h"
#include "compat.h"
#include "crash.h"
#include "durable.h"
#include "execute.h"
#include "fault.h"
#include "guc.h"
#include "hook_run.h"
#include "origin.h"
#include "ready.h"
#include "session.h"
#include "slot.h"
#include "stop.h"
#include "store.h"
#include "transition.h"
#include "triggerdo.h"
#include "txn.h"
#include "watch.h"

/* half of PGPROC's cache: a run that follows may need several */
#define SUBXIDS_ENOUGH		32

#define MAX_ERROR_PAUSE_MS	5000

/* how often to look whether a suspect has had its turn */
#define SUSPECT_LOOK_MS		20

/* times that a run is put off because of the machine: some six minutes */
#define MAX_PUT_OFFS		10

static void run_each_alone(const pg_uuid_t *ids, int n);

/* what became of one transaction */
typedef enum BatchEnd
{
	BATCH_EMPTY,				/* nothing was claimable */
	BATCH_DONE,
	BATCH_ALONE,				/* its first run wants a transaction of its
								 * own */
	BATCH_AGAIN,				/* nothing but serialization failures */
	BATCH_CLAIMED,				/* its only run has a durable claim */
	BATCH_COMMIT_FAILED,
	BATCH_FAILED,				/* an error that is no task's */
	BATCH_GONE					/* nothing more for this process to do */
} BatchEnd;

static Oid	role;
static TdoSlot *slot;
static TdoDatabase *database;
static TdoReadyCursor cursor;
static MemoryContext batch_context; /* reset before each transaction */
static MemoryContext run_context;	/* reset before each run */
static uint32 wait_event_pause;
static double average_us;		/* of a run, for the size of the next batch */
static bool alone_next;			/* the last run's task wants transactions of
								 * its own */

/* the transaction in hand, or the last one */
static TdoLive claimed[TDO_MAX_BATCH];
static int	nclaimed;
static int	handling;			/* index of the run being seen to, or -1 */
static pg_uuid_t done[TDO_MAX_BATCH];	/* run and recorded */
static int	ndone;
static pg_uuid_t again[TDO_MAX_BATCH];	/* met a serialization failure */
static int	nagain;
static TimestampTz last_started;	/* of the run executed last */
static int64 last_deadline;		/* monotonic: of its runs; 0: none */
static TdoRun claimed_run;		/* of BATCH_CLAIMED, in run_context */
static TdoEntry *claimed_entry;
static TdoStop stopped;			/* why the commit failed, if that was on
								 * request */
static int	stopped_run;		/* index of the run that it was for */
static TdoStop decided;			/* a run has ended on request, which is to
								 * stand whatever its hooks do */
static int	decided_run;		/* its index */
static bool committing;
static bool claiming;			/* durably: that may be committed */
static bool stopped_one;		/* the last run ended on request */
static bool left_alone;			/* a run was, for the scheduler to see to */
static ErrorData *error;		/* of BATCH_COMMIT_FAILED and BATCH_FAILED */
static int	error_pause_ms = 0; /* the last pause; 0 after a success */

static void
begin_attempt(int index, TimestampTz started, int64 deadline)
{
	last_started = started;
	last_deadline = Max(last_deadline, deadline);
	tdo_slot_set_current(slot, index, started, deadline);
	tdo_watch_deadline(deadline);
}

/* ------------------------------------------------------------------ one run */

static char *
run_id_text(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* may this run share the transaction with the runs before it? */
static bool
wants_own_transaction(TdoEntry *entry)
{
	double		us;

	if (entry == NULL)
		return false;			/* fails at once: its task is gone */
	us = tdo_entry_duration(entry);
	return tdo_entry_is_solo(entry) || us < 0 || us > tdo_batch_time * 500.0;
}

/* whatever becomes of this process from here on, in a hook or a deferred trigger, that is its end */
static void
note_decided(TdoStop stop, int index)
{
	char		reason[TDO_REASON_LEN];
	int			run;

	tdo_stop_reason(&run, reason);
	tdo_slot_set_decided(slot, stop, index, reason);
	decided = stop;
	decided_run = index;
}

/*
 * Its body and, before its first attempt, on_start; true: it met a serialization
 * failure, and is to be done again.  Then its on_start is undone with it: others of
 * the batch may be committed.
 */
static bool
execute_attempt(const TdoLive *live, const TdoRun *run, TdoEntry *entry, TdoOutcome *outcome)
{
	TdoSubTxn	sub;
	TdoHookFn	fn;
	bool		starts = live->attempt == 0 && tdo_hook_of(tdo_entry_task(entry), TDO_ON_START, &fn);
	bool		repeat;

	if (starts)
		tdo_sub_begin(&sub);
	tdo_execute(entry, run, live->attempt + 1, outcome);
	repeat = !outcome->ok && outcome->stop == TDO_STOP_NONE &&
		tdo_attempt_may_repeat(&live->run_id, outcome->edata);
	if (starts && repeat)
		tdo_sub_rollback(&sub);
	else if (starts)
		tdo_sub_commit(&sub);
	return repeat;
}

static void
execute_one(int index, const TdoLive *live, const TdoRun *run, TdoEntry *entry)
{
	TdoOutcome	outcome = {0};
	TimestampTz started = tdo_now();
	int64		begin = tdo_monotonic_us();
	int64		us;

	begin_attempt(index, started, tdo_attempt_deadline(run, entry));
	SetCurrentStatementStartTimestamp();
	if (entry == NULL)
		outcome.failure = tdo_failure_make(ERRCODE_UNDEFINED_OBJECT, "TaskNotFoundError",
										   psprintf("task \"%s\" does not exist", run->task),
										   "It was dropped after the run was triggered. Define it again, and trigger it again.");
	else if (execute_attempt(live, run, entry, &outcome))
	{
		/* a batch holds the locks of several runs: not the next time */
		if (ndone > 0)
			tdo_entry_make_solo(entry);
		again[nagain++] = live->run_id;
		return;
	}
	if (outcome.stop != TDO_STOP_NONE)
		note_decided(outcome.stop, index);
	tdo_attempt_record(live, run, entry, &outcome, started);
	stopped_one = outcome.stop != TDO_STOP_NONE;
	done[ndone++] = live->run_id;

	us = tdo_monotonic_us() - begin;
	if (entry)
		tdo_entry_measured(entry, us);
	alone_next = wants_own_transaction(entry);
	average_us += (us - average_us) * 0.2;
}

/* ---------------------------------------------------------- one transaction */

static bool
batch_is_full(int64 begin)
{
	return tdo_monotonic_us() - begin > tdo_batch_time * 1000L ||
		MyProc->subxidStatus.count >= SUBXIDS_ENOUGH ||
		MyProc->subxidStatus.overflowed ||
		tdo_session_must_end_batch();
}

/* somebody dropped the partition of its day: nothing is left to run */
static void
forget_orphan(const TdoLive *live)
{
	ereport(LOG,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("triggerdo forgets queued run %s: it has no row in %s.run",
					run_id_text(&live->run_id), TDO_PRIVATE_SCHEMA)));
	tdo_live_delete(live);
}

/* the claimed runs, in order, as far as they may share this transaction */
static BatchEnd
run_claimed(void)
{
	int64		begin = tdo_monotonic_us();

	for (int i = 0; i < nclaimed; i++)
	{
		TdoRun		run;
		TdoLive		live;
		TdoEntry   *entry;

		CHECK_FOR_INTERRUPTS();
		handling = i;
		MemoryContextReset(run_context);
		MemoryContextSwitchTo(run_context);

		/* its last executor ended in its middle: first the scheduler */
		if (tdo_ended_has(&claimed[i].run_id))
		{
			left_alone = true;
			continue;
		}
		/* a run before it, in this transaction, may have cancelled it */
		if (!tdo_live_get(&claimed[i].run_id, &live) ||
			!ItemPointerEquals(&live.tid, &claimed[i].tid))
			continue;
		if (!tdo_run_get(&live.run_id, &run))
		{
			forget_orphan(&live);
			continue;
		}
		entry = tdo_entry_get(run.task, run.owner);
		if (wants_own_transaction(entry) || tdo_transient_is_known(MyDatabaseId, &live.run_id))
		{
			if (ndone + nagain > 0)
				break;
			if (nclaimed > 1)
				return BATCH_ALONE;
		}
		if (entry && tdo_entry_task(entry)->kind != TDO_KIND_FUNCTION)
		{
			claimed_run = run;
			claimed_entry = entry;
			claimed[i] = live;
			tdo_claim_durably(&claimed[i]);
			claiming = true;
			handling = -1;
			return BATCH_CLAIMED;
		}
		tdo_attempt_report(&run);
		execute_one(i, &live, &run, entry);
		/* what it was asked for is not to be lost with those that follow */
		if (stopped_one || batch_is_full(begin) || (entry && tdo_entry_is_solo(entry)))
			break;
		tdo_session_between_runs();
	}
	handling = -1;
	return ndone > 0 || nagain == 0 ? BATCH_DONE : BATCH_AGAIN;
}

/* the whole transaction; errors of the tasks are in the rows, others are raised */
static BatchEnd
batch_transaction(int limit, const pg_uuid_t *only)
{
	BatchEnd	end;

	tdo_txn_begin();
	/* before anything takes a snapshot under the last task's isolation level */
	tdo_session_reset();
	if (!tdo_session_still_fits() || tdo_objects_if_any() == NULL ||
		tdo_origin()->standing != TDO_RUNNING)
	{
		tdo_txn_commit();
		return BATCH_GONE;
	}
	PushActiveSnapshot(GetTransactionSnapshot());

	/* a frozen snapshot is not for sharing */
	if (IsolationUsesXactSnapshot())
		limit = 1;
	if (only)
		nclaimed = tdo_ready_claim_one(only, &claimed[0]) ? 1 : 0;
	else
		nclaimed = tdo_ready_claim(role, limit, claimed, &cursor);
	if (nclaimed == 0)
	{
		PopActiveSnapshot();
		tdo_txn_commit();
		return BATCH_EMPTY;
	}

	/*
	 * Claims see what is committed now, a frozen snapshot does not: a run
	 * must not miss what was committed together with it.
	 */
	if (IsolationUsesXactSnapshot() &&
		XidInMVCCSnapshot(claimed[0].xmin, GetActiveSnapshot()))
	{
		tdo_txn_abort();
		return BATCH_ALONE;
	}
	TDO_FAULT("after_claim");
	if (slot->state != TDO_SLOT_BUSY)
		tdo_slot_set_state(slot, TDO_SLOT_BUSY);
	for (int i = 0; i < nclaimed; i++)
		done[i] = claimed[i].run_id;
	tdo_slot_set_batch(slot, nclaimed, done);

	tdo_watch_on();
	end = run_claimed();

	MemoryContextSwitchTo(batch_context);
	PopActiveSnapshot();
	if (end == BATCH_ALONE || end == BATCH_AGAIN)
	{
		tdo_txn_abort();
		return end;
	}
	if (end == BATCH_CLAIMED)
	{
		/* what it is for may not be lost by a crash */
		tdo_txn_force_sync();
		TDO_FAULT("before_durable_claim");
		tdo_txn_commit();
		TDO_FAULT("after_durable_claim");
		return end;
	}
	tdo_slot_set_committing(slot, last_deadline);
	committing = true;
	tdo_user_commits(TDO_COMMITS_OURS);
	tdo_user_enter();			/* deferred triggers are user code */
	tdo_hooks_bound();
	TDO_FAULT("before_commit");
	tdo_txn_commit();
	TDO_FAULT("after_commit");
	(void) tdo_user_leave();
	tdo_user_commits(TDO_COMMITS_NONE);
	committing = false;
	if (slot->runs_done == 0)
		tdo_pool_clear(MyDatabaseId, role); /* it does work */
	/* only now: the commit may have met one, too */
	for (int i = 0; i < ndone; i++)
		tdo_transient_forget(MyDatabaseId, &done[i]);
	slot->runs_done += ndone;
	error_pause_ms = 0;
	return BATCH_DONE;
}

/* after the claim's commit, with the run still in hand */
static BatchEnd
run_durable(void)
{
	TimestampTz started = tdo_now();

	tdo_attempt_report(&claimed_run);
	begin_attempt(0, started, tdo_attempt_deadline(&claimed_run, claimed_entry));
	if (!tdo_durable_run(&claimed[0], &claimed_run, claimed_entry, started))
	{
		again[nagain++] = claimed[0].run_id;
		return BATCH_AGAIN;
	}
	if (slot->runs_done == 0)
		tdo_pool_clear(MyDatabaseId, role);
	slot->runs_done++;
	return BATCH_DONE;
}

static BatchEnd
one_transaction(int limit, const pg_uuid_t *only)
{
	volatile BatchEnd end = BATCH_FAILED;
	volatile bool durable = false;

	nclaimed = ndone = nagain = 0;
	handling = -1;
	committing = claiming = false;
	error = NULL;
	stopped = decided = TDO_STOP_NONE;
	stopped_one = left_alone = false;
	last_started = tdo_now();
	last_deadline = 0;
	(void) tdo_user_leave();
	tdo_hooks_begin();
	MemoryContextReset(batch_context);
	MemoryContextSwitchTo(batch_context);
	PG_TRY();
	{
		end = batch_transaction(limit, only);
		durable = end == BATCH_CLAIMED;
		if (durable)
			end = run_durable();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		stopped = tdo_user_leave();
		tdo_user_commits(TDO_COMMITS_NONE);
		MemoryContextSwitchTo(batch_context);
		error = CopyErrorData();
		FlushErrorState();
		tdo_txn_abort();
		tdo_execute_reset();
		RESUME_INTERRUPTS();
		end = committing ? BATCH_COMMIT_FAILED : BATCH_FAILED;
	}
	PG_END_TRY();
	if (committing && stopped != TDO_STOP_NONE)
	{
		char		reason[TDO_REASON_LEN];

		tdo_stop_reason(&stopped_run, reason);
	}
	MemoryContextSwitchTo(batch_context);
	/* given back, all or some: the next look is from the start */
	if (end != BATCH_DONE && end != BATCH_EMPTY)
	{
		tdo_ready_rewind(&cursor);
		/* one alone is tried again by us, and at once unless it failed */
		if (nclaimed > (end == BATCH_FAILED ? 0 : 1))
			tdo_watch_given_back();
	}
	tdo_slot_set_batch(slot, 0, NULL);
	pgstat_report_activity(STATE_IDLE, NULL);
	/* of several transactions only the last one's flags are known */
	tdo_session_drop_temp(durable);
	if (claiming && end == BATCH_FAILED)
	{
		/* only now, when no slot shows it any more, is the claim void */
		pg_atomic_write_u32(&database->claims, 1);
		tdo_watch_given_back();
	}
	if (left_alone)
	{
		/* it is free for the scheduler meanwhile */
		tdo_watch_off();
		tdo_bgw_sleep(SUSPECT_LOOK_MS, wait_event_pause);
	}
	return end;
}

/* ---------------------------------------------------- when that did not do it */

/* say it, at most once a second, and try later: nothing is lost */
static void
pause_after(const ErrorData *edata)
{
	static int64 logged_us = 0;
	int64		now = tdo_monotonic_us();

	if (!tdo_failure_is_transient(edata->sqlerrcode) &&
		(logged_us == 0 || now - logged_us > 1000000))
	{
		ereport(LOG,
				(errcode(edata->sqlerrcode),
				 errmsg("triggerdo executor could not run a batch: %s", edata->message),
				 errdetail("Its runs stay queued.")));
		logged_us = now;
	}
	error_pause_ms = Min(Max(10, error_pause_ms * 2), MAX_ERROR_PAUSE_MS);
	/* (its signal would end the sleep) */
	tdo_watch_off();
	tdo_bgw_sleep(error_pause_ms, wait_event_pause);
}

/* it is seen to */
static void
forget_done(const pg_uuid_t *id)
{
	for (int i = 0; i < ndone; i++)
	{
		if (memcmp(&done[i], id, sizeof(*id)) == 0)
			done[i--] = done[--ndone];
	}
}

/*
 * Since our rollback gave the run back, another executor may have made the
 * attempt anew, and recorded its end: then ours is no other one's failure.
 */
static bool
still_that_attempt(const TdoLive *live)
{
	for (int i = 0; i < nclaimed; i++)
	{
		if (memcmp(&claimed[i].run_id, &live->run_id, sizeof(pg_uuid_t)) == 0)
			return claimed[i].attempt == live->attempt;
	}
	return true;
}

/*
 * What the run did is rolled back and its error known: record it as the run's
 * failure, in a transaction of its own.
 */
static void
record_outside(const pg_uuid_t *id, const ErrorData *edata, TdoStop stop)
{
	volatile bool recorded = false;
	volatile bool again = false;
	TdoOutcome	outcome;
	TdoRun		run;
	TdoLive		live;

	tdo_attempt_failed(&outcome, edata, stop);
	tdo_transient_forget(MyDatabaseId, id);
	tdo_hooks_begin();

	/*
	 * in hand again, for its hooks; of its end nothing is to be lost with
	 * them
	 */
	tdo_slot_set_batch(slot, 1, id);
	if (stop != TDO_STOP_NONE)
		note_decided(stop, 0);
	PG_TRY();
	{
		tdo_txn_begin_ours();
		PushActiveSnapshot(GetTransactionSnapshot());
		if (tdo_ready_claim_one(id, &live) &&
			(stop == TDO_STOP_CANCEL || still_that_attempt(&live)) &&
			tdo_run_get(id, &run))
		{
			TdoEntry   *entry = tdo_entry_get(run.task, run.owner);

			/* its runs need not spoil another batch */
			if (entry)
				tdo_entry_make_solo(entry);
			TDO_FAULT("record_outside");
			tdo_slot_set_current(slot, 0, last_started, 0);

			/*
			 * its on_start has gone with the rest, and comes before the
			 * others
			 */
			if (entry && live.attempt == 0 && tdo_entry_task(entry)->kind == TDO_KIND_FUNCTION &&
				!tdo_hook_has_started(id) &&
				tdo_hook_queue_start(&run, tdo_entry_task(entry)))
				tdo_hooks_queue_those_of(id);
			tdo_attempt_record(&live, &run, entry, &outcome, last_started);
			recorded = true;
		}
		PopActiveSnapshot();
		tdo_hooks_commit();
	}
	PG_CATCH();
	{
		ErrorData  *second;

		MemoryContextSwitchTo(batch_context);
		second = CopyErrorData();
		FlushErrorState();
		(void) tdo_user_leave();
		tdo_user_commits(TDO_COMMITS_NONE);
		tdo_txn_abort();
		again = tdo_hooks_put_off(id);
		if (!again)
		{
			tdo_attempt_unrecorded(id, stop, last_started);
			pause_after(second);
		}
		recorded = true;		/* has paused */
	}
	PG_END_TRY();
	tdo_slot_set_batch(slot, 0, NULL);
	if (again)
	{
		record_outside(id, edata, stop);
		return;
	}
	/* somebody else has it, or it is gone: do not turn in a tight loop */
	if (!recorded)
		pause_after(edata);
}

/*
 * The machine is to blame: the run is put off, for 1 s, then 2 s and so on, so
 * that it does not keep back those behind it; no attempt is counted.  An error
 * that stays while this can be written is the run's own after all.
 */
static void
put_off(const pg_uuid_t *id, const ErrorData *edata)
{
	int			tries = tdo_transient_count(MyDatabaseId, id);

	if (tries > MAX_PUT_OFFS)
	{
		record_outside(id, edata, TDO_STOP_NONE);
		return;
	}
	PG_TRY();
	{
		tdo_txn_begin();
		PushActiveSnapshot(GetTransactionSnapshot());
		tdo_later(id, USECS_PER_SEC << Min(tries - 1, 6));
		PopActiveSnapshot();
		tdo_txn_commit();
	}
	PG_CATCH();
	{
		/* then it is the next one again, after the pause */
		MemoryContextSwitchTo(batch_context);
		FlushErrorState();
		(void) tdo_user_leave();
		tdo_txn_abort();
	}
	PG_END_TRY();
	pause_after(edata);
}

/*
 * An error of ours while a run was seen to is that run's, unless the machine is
 * to blame; and then it is tried without those that shared its transaction, for
 * all that they hold.
 */
static void
bookkeeping_failed(void)
{
	const pg_uuid_t *id;

	if (handling < 0)
	{
		pause_after(error);
		return;
	}
	id = &claimed[handling].run_id;
	if (!tdo_failure_is_environment(error->sqlerrcode))
		record_outside(id, error, TDO_STOP_NONE);
	else if (nclaimed > 1)
		run_each_alone(id, 1);
	else
		put_off(id, error);
}

/* what its deferred triggers raised is the run's; that nothing can be written is not */
static void
single_commit_failed(const pg_uuid_t *id)
{
	if (stopped == TDO_STOP_NONE && tdo_failure_is_exhaustion(error->sqlerrcode))
		put_off(id, error);
	else
		record_outside(id, error, stopped);
}

/* that a run ended on request could not be committed with what its hooks left: without them */
static void
end_decided(void)
{
	pg_uuid_t	id = claimed[decided_run].run_id;
	TdoStop		stop = decided;

	(void) tdo_hooks_put_off(&id);
	record_outside(&id, error, stop);
	forget_done(&id);
}

/* one run in transactions of its own, as often as its serialization failures may be tried again */
static void
run_alone(const pg_uuid_t *id)
{
	for (int tries = 0; tdo_executors > 0; tries++)
	{
		switch (one_transaction(1, id))
		{
			case BATCH_AGAIN:
				break;
			case BATCH_COMMIT_FAILED:
				if (decided != TDO_STOP_NONE)
				{
					end_decided();
					return;
				}
				if (stopped != TDO_STOP_CANCEL && tdo_hooks_put_off(id))
					break;
				if (stopped == TDO_STOP_NONE && !tdo_failure_is_exhaustion(error->sqlerrcode) &&
					tdo_attempt_may_repeat(id, error))
					break;
				single_commit_failed(id);
				return;
			case BATCH_FAILED:
				bookkeeping_failed();
				return;
			case BATCH_EMPTY:	/* somebody else has it, or it is final */
			case BATCH_DONE:
			case BATCH_ALONE:
			case BATCH_CLAIMED:
			case BATCH_GONE:
				return;
		}
		/* 1 to 2 ms, then twice that, and so on: two of a kind drift apart */
		tdo_bgw_sleep((1 + tdo_random_uint64() % 2) << Min(tries, 6), wait_event_pause);
	}
}

static void
run_each_alone(const pg_uuid_t *ids, int n)
{
	pg_uuid_t	list[TDO_MAX_BATCH];

	/* the originals are the next transaction's */
	memcpy(list, ids, n * sizeof(pg_uuid_t));
	for (int i = 0; i < n; i++)
		run_alone(&list[i]);
}

/* which of several it was for a deadline, or an error, shows when each runs alone */
static void
commit_failed(void)
{
	pg_uuid_t	canceled = claimed[stopped_run].run_id;
	bool		some = stopped == TDO_STOP_CANCEL || decided != TDO_STOP_NONE;

	if (decided != TDO_STOP_NONE)
		end_decided();
	if (stopped == TDO_STOP_CANCEL)
	{
		record_outside(&canceled, error, stopped);
		forget_done(&canceled);
	}
	if (some)
		run_each_alone(done, ndone);
	else if (ndone > 1 || tdo_hooks_put_off(&done[0]) ||
			 (stopped == TDO_STOP_NONE && !tdo_failure_is_exhaustion(error->sqlerrcode) &&
			  tdo_attempt_may_repeat(&done[0], error)))
		run_each_alone(done, ndone);
	else
		single_commit_failed(&done[0]);
}

static int
batch_size(void)
{
	double		fits = tdo_batch_time * 1000.0 / Max(average_us, 1.0);

	if (alone_next)
		return 1;
	return (int) Max(1.0, Min(fits, (double) TDO_MAX_BATCH));
}

TdoBatchEnd
tdo_batch_run(void)
{
	pg_uuid_t	suspect;
	bool		hooks = false;

	/* the scheduler says so, and wakes us when they are not any more */
	if (tdo_xids_are_scarce())
	{
		tdo_watch_off();
		return TDO_BATCH_EMPTY;
	}
	switch (tdo_suspect_turn(MyDatabaseId, role, &suspect))
	{
		case TDO_TURN_FREE:
			break;
		case TDO_TURN_MINE:
			tdo_hooks_put_off_all(true);
			run_alone(&suspect);
			tdo_hooks_put_off_all(false);
			tdo_suspect_drop(&suspect);
			return TDO_BATCH_DONE;
		case TDO_TURN_WAIT:
			tdo_watch_off();
			tdo_bgw_sleep(SUSPECT_LOOK_MS, wait_event_pause);
			return TDO_BATCH_DONE;
	}

	/*
	 * one between two batches, so that neither keeps the other waiting for
	 * long
	 */
	if (pg_atomic_read_u32(&slot->hooks) != 0)
	{
		tdo_watch_on();
		hooks = tdo_hooks_serve();
	}
	switch (one_transaction(batch_size(), NULL))
	{
		case BATCH_EMPTY:
			if (hooks)
				return TDO_BATCH_DONE;
			tdo_watch_off();
			return TDO_BATCH_EMPTY;
		case BATCH_GONE:
			return TDO_BATCH_GONE;
		case BATCH_DONE:
			/* it broke off early, and we are not back at once */
			if (nagain > 0 && nclaimed > ndone + nagain)
				tdo_watch_given_back();
			/* FALLTHROUGH */
		case BATCH_AGAIN:
			run_each_alone(again, nagain);
			break;
		case BATCH_ALONE:
			run_each_alone(&claimed[0].run_id, 1);
			break;
		case BATCH_COMMIT_FAILED:
			commit_failed();
			break;
		case BATCH_FAILED:
			bookkeeping_failed();
			break;
		case BATCH_CLAIMED:
			break;
	}
	return TDO_BATCH_DONE;
}

void
tdo_batch_init(Oid my_role, TdoSlot *my_slot, TdoDatabase *my_database)
{
	role = my_role;
	slot = my_slot;
	database = my_database;
	wait_event_pause = tdo_wait_event("TriggerdoExecutorPause");
	tdo_watch_init(database);
	batch_context = AllocSetContextCreate(TopMemoryContext, "triggerdo batch",
										  ALLOCSET_DEFAULT_SIZES);
	run_context = AllocSetContextCreate(TopMemoryContext, "triggerdo run",
										ALLOCSET_DEFAULT_SIZES);
	average_us = tdo_batch_time * 1000.0;
	cursor.low_key = &slot->low_key;
	tdo_session_init(role);
	tdo_stop_init(slot);
	tdo_durable_init(slot);
	tdo_hooks_init(role, slot);
}
