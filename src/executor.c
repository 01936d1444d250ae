/*-------------------------------------------------------------------------
 *
 * executor.c
 *	  The process that runs tasks: one (database, role), connected as the role.
 *
 * Job: run batches as long as there are any, rest on a latch, leave in time.
 * Called by: the postmaster, on the scheduler's request.
 * Locks: none of its own (batch.c).
 * Crash: its slot goes with shared memory; if only the process ended, the slot
 * is freed on the way out and the scheduler told.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "batch.h"
#include "bgw.h"
#include "clock.h"
#include "compat.h"
#include "crash.h"
#include "executor.h"
#include "guc.h"
#include "hook_run.h"
#include "shmem.h"
#include "slot.h"
#include "stop.h"
#include "triggerdo.h"
#include "txn.h"

static TdoWorkerArgs args;
static TdoSlot *slot;
static TdoDatabase *database;
static uint32 wait_event_idle;

/*
 * Ended in the middle of a run: it must not begin again in a loop.  Noted before
 * the abort gives up the run's lock, so that nobody begins it before the
 * scheduler has seen to that.
 */
static void
note_ended(int code, Datum arg)
{
	TdoEnded	ended = {0};
	bool		shared;
	int			index;

	if (slot == NULL || slot->current < 0 || slot->current >= slot->nruns)
		return;
	shared = slot->committing && slot->current > 0 && slot->decided == TDO_STOP_NONE;
	index = slot->current;
	ended.stop = tdo_user_ended();
	/* its end is decided, though the process was past that */
	if (slot->decided != TDO_STOP_NONE)
		ended.stop = slot->decided;
	/* it had to make way for a statement: that was not the run's doing */
	if (ended.stop == TDO_STOP_NONE && tdo_database_is_held(database))
		return;
	if (shared && ended.stop != TDO_STOP_CANCEL)
	{
		/* whose deferred trigger it was shows when each runs alone */
		for (int i = 0; i <= slot->current; i++)
			(void) tdo_transient_count(args.database, &slot->runs[i]);
		return;
	}
	if (shared || slot->decided != TDO_STOP_NONE)
		index = slot->stop_run;
	ended.database = args.database;
	ended.run = slot->runs[index];
	ended.hook = tdo_hooks_called(&ended.run);
	ended.started = slot->run_started;
	memcpy(ended.reason, slot->stop_reason, TDO_REASON_LEN);
	tdo_ended_add(&ended);
}

/* after the abort: the locks of what was in hand are gone */
static void
leave_slot(int code, Datum arg)
{
	bool		had_runs;
	Latch	   *scheduler;

	if (slot == NULL)
	{
		tdo_slot_abandon(args.slot, args.generation);
		return;
	}
	had_runs = slot->nruns > 0;
	tdo_slot_release(args.slot, args.generation);
	if (had_runs)
		pg_atomic_write_u32(&database->claims, 1);
	/* a run may have been queued for us a moment ago */
	scheduler = database->latch;
	if (scheduler)
		SetLatch(scheduler);
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
	return tdo_executors == 0 || !tdo_database_is_served(database, args.database) ||
		tdo_database_is_held(database) || grown_too_big();
}

static void
serve(void)
{
	int64		idle_since = 0;

	for (;;)
	{
		TdoBatchEnd end;
		long		left;

		CHECK_FOR_INTERRUPTS();
		tdo_bgw_reload();
		if (should_leave())
			return;
		end = tdo_batch_run();
		if (end == TDO_BATCH_GONE)
			return;
		if (end != TDO_BATCH_EMPTY)
			continue;
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
	database = tdo_database_find(args.database);
	if (database == NULL || !tdo_slot_begin(args.slot, args.generation))
		proc_exit(0);
	on_shmem_exit(leave_slot, (Datum) 0);
	BackgroundWorkerInitializeConnectionByOid(args.database, args.role, TDO_CONNECT_FLAGS);
	if (!tdo_slot_attach(args.slot, args.generation))
		proc_exit(0);
	slot = &tdo_shared->slots[args.slot];
	/* (registered after that of the abort, so it comes before it) */
	before_shmem_exit(note_ended, (Datum) 0);

	tdo_hand_take(args.slot);

	pgstat_report_appname("triggerdo executor");
	wait_event_idle = tdo_wait_event("TriggerdoExecutorIdle");
	tdo_batch_init(args.role, slot, database);

	serve();
	proc_exit(0);
}
