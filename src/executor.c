/*-------------------------------------------------------------------------
 *
 * executor.c
 *	  The process that runs tasks: one (database, role), connected as the role.
 *
 * Job: claim a batch of queued runs, run each in a subtransaction, write their
 * results in the same transaction, commit; rest on a latch when there is none.
 * Called by: the postmaster, on the scheduler's request.
 * Locks: live rows FOR UPDATE from the claim to the end of the transaction.
 * Crash: the transaction is gone with its locks; the runs are queued as before.
 *
 * Runs share a transaction as long as they are known to be short; a task that
 * is not known yet, or slow, or isolated, gets one of its own.  A batch whose
 * commit fails is run again one by one, so that the culprit fails alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/fmgrprotos.h"

#include "bgw.h"
#include "clock.h"
#include "compat.h"
#include "execute.h"
#include "executor.h"
#include "guc.h"
#include "ready.h"
#include "session.h"
#include "shmem.h"
#include "store.h"
#include "transition.h"
#include "triggerdo.h"
#include "txn.h"

/* half of PGPROC's cache: a run that follows may need several */
#define SUBXIDS_ENOUGH		32

#define MAX_ERROR_PAUSE_MS	5000

/* how often a batch in hand is looked after from a timer */
#define WATCH_MS			250

/* what became of a batch */
typedef enum BatchEnd
{
	BATCH_EMPTY,				/* nothing was claimable */
	BATCH_DONE,
	BATCH_ALONE,				/* its first run wants a transaction of its
								 * own */
	BATCH_AGAIN,				/* one run, and it met a serialization failure */
	BATCH_COMMIT_FAILED,
	BATCH_GONE					/* the extension is not here any more */
} BatchEnd;

static TdoWorkerArgs args;
static TdoSlot *slot;
static TdoDatabase *database;
static TdoReadyCursor cursor;
static MemoryContext batch_context;
static MemoryContext run_context;
static TimeoutId watch_timeout;
static uint32 wait_event_idle;
static double average_us;		/* of a run, for the size of the next batch */
static bool was_superuser;
static volatile bool role_changed = false;

/* the batch in hand */
static TdoLive claimed[TDO_MAX_BATCH];
static int	nclaimed;
static pg_uuid_t done[TDO_MAX_BATCH];	/* executed in the open transaction */
static int	ndone;
static pg_uuid_t again[TDO_MAX_BATCH];	/* met a serialization failure */
static int	nagain;
static TimestampTz last_started;	/* of the run executed last */
static bool committing;

static BatchEnd run_batch(int limit, const pg_uuid_t *only, bool last_try);

/* ---------------------------------------------------------------- the process */

static void
leave_slot(int code, Datum arg)
{
	TdoDatabase *db;

	tdo_slot_release(args.slot, args.generation);
	/* a run may have been queued for us a moment ago */
	db = tdo_database_find(args.database);
	if (db && db->latch)
		SetLatch(db->latch);
}

/*
 * While a batch goes on: see that the postmaster lives (every wait does, but
 * user code may not wait for hours), and let the scheduler see whether runs are
 * queued behind us.  Runs in a signal handler.
 */
static void
watch(void)
{
	Latch	   *scheduler = database->latch;

	if (!PostmasterIsAliveInternal())
	{
		InterruptPending = true;
		ProcDiePending = true;
		SetLatch(MyLatch);
		return;
	}
	if (scheduler != NULL && !database->watching)
		SetLatch(scheduler);
	enable_timeout_after(watch_timeout, WATCH_MS);
}

static void
role_invalidated(Datum arg, int cacheid, uint32 hashvalue)
{
	role_changed = true;
}

/* the state that a session takes in at login cannot be renewed: end instead */
static bool
role_still_fits(void)
{
	HeapTuple	tuple;
	bool		fits = false;

	role_changed = false;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(args.role));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_authid role = (Form_pg_authid) GETSTRUCT(tuple);

		fits = (role->rolcanlogin || TDO_NOLOGIN_ALLOWED) &&
			role->rolsuper == was_superuser;
		ReleaseSysCache(tuple);
	}
	return fits;
}

static void
report(const TdoRun *run)
{
	char	   *id = DatumGetCString(DirectFunctionCall1(uuid_out,
														 UUIDPGetDatum(&run->run_id)));

	pgstat_report_activity(STATE_RUNNING,
						   psprintf("triggerdo run %s of task %s", id, run->task));
}

/*
 * A cancel signal is for the user code that runs when it arrives: one that
 * comes at another moment is dropped, and never reaches bookkeeping or the
 * next run.
 */
static void
allow_cancel(bool allow)
{
	QueryCancelPending = false;
	QueryCancelHoldoffCount = allow ? 0 : 1;
}

/* ------------------------------------------------------------------ one run */

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

static void
record(const TdoLive *live, const TdoRun *run, TdoEntry *entry,
	   const TdoOutcome *outcome, TimestampTz started)
{
	TdoFailed	f = {0};

	if (outcome->ok)
	{
		tdo_finish(live, TDO_COMPLETED, started, outcome->output, NULL);
		return;
	}
	f.run = run;
	f.task = entry ? tdo_entry_task(entry) : NULL;
	f.failure = outcome->failure;
	f.started_at = started;
	f.retry_at = outcome->retry_at;
	f.for_good = outcome->for_good;
	tdo_fail(live, &f);
}

static void
execute_one(int index, const TdoLive *live, const TdoRun *run, TdoEntry *entry,
			bool last_try)
{
	TdoOutcome	outcome = {0};
	TimestampTz started = tdo_now();
	int64		begin = tdo_monotonic_us();
	int64		us;

	last_started = started;
	tdo_slot_set_current(slot, index, started);
	SetCurrentStatementStartTimestamp();
	if (entry == NULL)
		outcome.failure = tdo_failure_make(ERRCODE_UNDEFINED_OBJECT, "TaskNotFoundError",
										   psprintf("task \"%s\" does not exist", run->task),
										   "It was dropped after the run was triggered. Define it again, and trigger it again.");
	else
	{
		allow_cancel(true);
		tdo_execute(entry, run, live->attempt + 1, false, &outcome);
		allow_cancel(false);
	}

	if (!outcome.ok && !last_try && tdo_failure_is_transient(outcome.failure->sqlstate))
	{
		/* a batch holds the locks of several runs: not the next time */
		if (entry && ndone > 0)
			tdo_entry_make_solo(entry);
		again[nagain++] = live->run_id;
		return;
	}
	record(live, run, entry, &outcome, started);
	done[ndone++] = live->run_id;

	us = tdo_monotonic_us() - begin;
	if (entry)
		tdo_entry_measured(entry, us);
	average_us += (us - average_us) * 0.2;
}

/* ---------------------------------------------------------------- one batch */

static bool
batch_is_full(int64 begin)
{
	return tdo_monotonic_us() - begin > tdo_batch_time * 1000L ||
		MyProc->subxidStatus.count >= SUBXIDS_ENOUGH ||
		MyProc->subxidStatus.overflowed ||
		tdo_session_must_end_batch();
}

/* the claimed runs, in order, as far as they may share this transaction */
static BatchEnd
run_claimed(bool last_try)
{
	int64		begin = tdo_monotonic_us();

	for (int i = 0; i < nclaimed; i++)
	{
		TdoRun		run;
		TdoLive		live;
		TdoEntry   *entry;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(run_context);
		MemoryContextSwitchTo(run_context);

		/* a run before it, in this transaction, may have cancelled it */
		if (!tdo_live_get(&claimed[i].run_id, &live) ||
			!ItemPointerEquals(&live.tid, &claimed[i].tid))
			continue;
		if (!tdo_run_get(&live.run_id, &run))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a queued run has no row in %s.run", TDO_PRIVATE_SCHEMA)));
		entry = tdo_entry_get(run.task, run.owner);
		if (wants_own_transaction(entry))
		{
			if (ndone + nagain > 0)
				break;
			if (nclaimed > 1)
				return BATCH_ALONE;
		}
		report(&run);
		execute_one(i, &live, &run, entry, last_try);
		if (batch_is_full(begin) || (entry && tdo_entry_is_solo(entry)))
			break;
		tdo_session_between_runs();
	}
	return ndone > 0 ? BATCH_DONE : nagain > 0 ? BATCH_AGAIN : BATCH_DONE;
}

/* the whole transaction; errors of the tasks are in the rows, others are raised */
static BatchEnd
batch_transaction(int limit, const pg_uuid_t *only, bool last_try)
{
	BatchEnd	end;

	tdo_txn_begin();
	if (tdo_objects_if_any() == NULL)
	{
		tdo_txn_commit();
		return BATCH_GONE;
	}
	tdo_session_reset();
	PushActiveSnapshot(GetTransactionSnapshot());

	/* a frozen snapshot is not for sharing */
	if (IsolationUsesXactSnapshot())
		limit = 1;
	if (only)
		nclaimed = tdo_ready_claim_one(only, &claimed[0]) ? 1 : 0;
	else
		nclaimed = tdo_ready_claim(args.role, limit, claimed, &cursor);
	if (nclaimed == 0)
	{
		PopActiveSnapshot();
		tdo_txn_commit();
		return BATCH_EMPTY;
	}
	if (slot->state != TDO_SLOT_BUSY)
		tdo_slot_set_state(slot, TDO_SLOT_BUSY);
	for (int i = 0; i < nclaimed; i++)
		done[i] = claimed[i].run_id;
	tdo_slot_set_batch(slot, nclaimed, done);

	enable_timeout_after(watch_timeout, WATCH_MS);
	end = run_claimed(last_try);
	disable_timeout(watch_timeout, false);

	MemoryContextSwitchTo(batch_context);
	PopActiveSnapshot();
	if (end == BATCH_ALONE || end == BATCH_AGAIN)
	{
		tdo_txn_abort();
		return end;
	}
	committing = true;
	allow_cancel(true);			/* deferred triggers are user code */
	tdo_txn_commit();
	allow_cancel(false);
	committing = false;
	slot->runs_done += ndone;
	return BATCH_DONE;
}

/* an error that is no task's: say it, at most once a second, and try later */
static void
bookkeeping_failed(ErrorData *edata)
{
	static int	pause_ms = 0;
	static int64 last_us = 0;
	int64		now = tdo_monotonic_us();

	if (now - last_us > 2 * MAX_ERROR_PAUSE_MS * 1000L)
		pause_ms = 0;
	if (!tdo_failure_is_transient(edata->sqlerrcode) && now - last_us > 1000000)
		ereport(LOG,
				(errcode(edata->sqlerrcode),
				 errmsg("triggerdo executor could not run a batch: %s", edata->message),
				 errdetail("Its runs stay queued.")));
	last_us = now;
	pause_ms = Min(Max(10, pause_ms * 2), MAX_ERROR_PAUSE_MS);
	tdo_bgw_sleep(pause_ms, wait_event_idle);
}

/* the commit of a batch of one failed: that is the run's failure */
static void
record_commit_failure(const pg_uuid_t *id, const ErrorData *edata)
{
	TdoOutcome	outcome = {0};
	TdoRun		run;
	TdoLive		live;

	outcome.failure = tdo_failure_from_error(edata);
	tdo_txn_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (tdo_ready_claim_one(id, &live) && tdo_run_get(id, &run))
	{
		TdoEntry   *entry = tdo_entry_get(run.task, run.owner);

		/* its runs need not fail another batch's commit */
		if (entry)
			tdo_entry_make_solo(entry);
		record(&live, &run, entry, &outcome, last_started);
	}
	PopActiveSnapshot();
	tdo_txn_commit();
}

/*
 * Run by run, each in a transaction of its own, some of them again and again
 * within the budget of serialization failures.
 */
static void
run_alone(const pg_uuid_t *id, int tries)
{
	for (;; tries++)
	{
		bool		last_try = tries >= tdo_serialization_retries;

		if (run_batch(1, id, last_try) != BATCH_AGAIN)
			return;
		/* 1 to 2 ms, then twice that, and so on: two of a kind drift apart */
		tdo_bgw_sleep((1 + tdo_random_uint64() % 2) << Min(tries, 6), wait_event_idle);
	}
}

static void
run_each_alone(const pg_uuid_t *ids, int n, int tries)
{
	pg_uuid_t	list[TDO_MAX_BATCH];

	memcpy(list, ids, n * sizeof(pg_uuid_t));
	for (int i = 0; i < n; i++)
		run_alone(&list[i], tries);
}

static BatchEnd
commit_failed(const ErrorData *edata, bool last_try)
{
	if (ndone > 1)
	{
		run_each_alone(done, ndone, 0);
		return BATCH_DONE;
	}
	if (tdo_failure_is_transient(edata->sqlerrcode) && !last_try)
	{
		again[0] = done[0];
		nagain = 1;
		return BATCH_AGAIN;
	}
	record_commit_failure(&done[0], edata);
	return BATCH_DONE;
}

static BatchEnd
run_batch(int limit, const pg_uuid_t *only, bool last_try)
{
	volatile BatchEnd end = BATCH_EMPTY;
	ErrorData  *volatile edata = NULL;
	pg_uuid_t	first;

	nclaimed = ndone = nagain = 0;
	committing = false;
	MemoryContextReset(batch_context);
	MemoryContextSwitchTo(batch_context);
	PG_TRY();
	{
		end = batch_transaction(limit, only, last_try);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(batch_context);
		edata = CopyErrorData();
		FlushErrorState();
		allow_cancel(false);
		disable_timeout(watch_timeout, false);
		tdo_txn_abort();
		tdo_execute_reset();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(batch_context);
	pgstat_report_activity(STATE_IDLE, NULL);
	tdo_session_drop_temp();
	first = claimed[0].run_id;

	if (edata != NULL)
	{
		if (committing)
			end = commit_failed(edata, last_try);
		else
		{
			bookkeeping_failed(edata);
			end = BATCH_DONE;
		}
	}
	else if (end == BATCH_ALONE)
		end = run_batch(1, &first, false);

	/* once more, alone: what a lone run met is its caller's to count */
	if (nagain > 0 && only == NULL)
	{
		if (end == BATCH_AGAIN)
			end = BATCH_DONE;
		run_each_alone(again, nagain, 1);
	}
	tdo_slot_set_batch(slot, 0, NULL);
	return end;
}

/* ------------------------------------------------------------------- the loop */

static int
batch_size(void)
{
	double		fits = tdo_batch_time * 1000.0 / Max(average_us, 1.0);

	return (int) Max(1.0, Min(fits, (double) TDO_MAX_BATCH));
}

/* memory that user code's errors leak is given back with the process */
static bool
grown_too_big(void)
{
	static int64 last_us = 0;
	int64		now = tdo_monotonic_us();

	if (now - last_us < 1000000)
		return false;
	last_us = now;
	return MemoryContextMemAllocated(TopMemoryContext, true) / 1024 > tdo_executor_memory;
}

static bool
should_leave(void)
{
	bool		leave = tdo_executors == 0 || grown_too_big() ||
	(was_superuser && !tdo_allow_superuser_tasks);

	if (!leave && role_changed)
	{
		tdo_txn_begin();
		leave = !role_still_fits();
		tdo_txn_commit();
	}
	return leave;
}

static void
serve(void)
{
	int64		idle_since = 0;

	allow_cancel(false);
	for (;;)
	{
		BatchEnd	end;
		long		left;

		CHECK_FOR_INTERRUPTS();
		if (should_leave())
			return;
		end = run_batch(batch_size(), NULL, false);
		if (end == BATCH_GONE)
			return;
		if (end != BATCH_EMPTY)
		{
			idle_since = 0;
			continue;
		}
		if (slot->state == TDO_SLOT_LEAVING)
			return;
		if (slot->state != TDO_SLOT_IDLE)
		{
			/* look once more: who enqueued before this saw us busy */
			tdo_slot_set_state(slot, TDO_SLOT_IDLE);
			idle_since = tdo_monotonic_us();
			continue;
		}
		left = tdo_idle_timeout - (tdo_monotonic_us() - idle_since) / 1000;
		if (left <= 0)
			tdo_slot_set_state(slot, TDO_SLOT_LEAVING);
		else
			tdo_bgw_sleep(left, wait_event_idle);
	}
}

void
tdo_executor_main(Datum main_arg)
{
	tdo_bgw_args(&args);
	tdo_bgw_setup();
	before_shmem_exit(leave_slot, (Datum) 0);
	BackgroundWorkerInitializeConnectionByOid(args.database, args.role, TDO_CONNECT_FLAGS);
	if (!tdo_slot_attach(args.slot, args.generation))
		proc_exit(0);
	slot = &tdo_shared->slots[args.slot];
	database = tdo_database_find(args.database);
	if (database == NULL)
		proc_exit(0);
	tdo_pool_clear(args.database, args.role);

	pgstat_report_appname("triggerdo executor");
	wait_event_idle = tdo_wait_event("TriggerdoExecutorIdle");
	watch_timeout = RegisterTimeout(USER_TIMEOUT, watch);
	batch_context = AllocSetContextCreate(TopMemoryContext, "triggerdo batch",
										  ALLOCSET_DEFAULT_SIZES);
	run_context = AllocSetContextCreate(TopMemoryContext, "triggerdo run",
										ALLOCSET_DEFAULT_SIZES);
	average_us = tdo_batch_time * 1000.0;
	tdo_session_init();
	CacheRegisterSyscacheCallback(AUTHOID, role_invalidated, (Datum) 0);
	tdo_txn_begin();
	was_superuser = superuser_arg(args.role);
	tdo_txn_commit();

	serve();
	proc_exit(0);
}
