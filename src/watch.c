/*-------------------------------------------------------------------------
 *
 * watch.c
 *	  Executors: what is seen to from a timer while user code runs, and nudges to
 *	  the scheduler.
 *
 * Job: see that the postmaster lives (every wait does, but user code may not wait
 * for hours), and let the scheduler see whether runs are queued behind us.
 * Called by: batch.c.
 * Locks: none.
 * Crash: nothing is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "utils/timeout.h"

#include "clock.h"
#include "crash.h"
#include "watch.h"

/* how often a batch in hand is looked after */
#define WATCH_MS			250

static TdoDatabase *database;
static TimeoutId watch_timeout;

/* runs in a signal handler */
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
	tdo_hand_seen();
	if (scheduler != NULL && !database->watching)
		SetLatch(scheduler);
	enable_timeout_after(watch_timeout, WATCH_MS);
}

void
tdo_watch_on(void)
{
	if (!get_timeout_active(watch_timeout))
		enable_timeout_after(watch_timeout, WATCH_MS);
}

void
tdo_watch_off(void)
{
	if (get_timeout_active(watch_timeout))
		disable_timeout(watch_timeout, false);
}

void
tdo_watch_deadline(int64 deadline_us)
{
	Latch	   *scheduler = database->latch;

	if (deadline_us != 0 && scheduler != NULL &&
		deadline_us - tdo_monotonic_us() < WATCH_MS * 1000L)
		SetLatch(scheduler);
}

void
tdo_watch_given_back(void)
{
	Latch	   *scheduler = database->latch;

	/*
	 * pairs with the one in the scheduler's look(): free first, then the look
	 * at it
	 */
	pg_memory_barrier();
	if (scheduler != NULL && !database->watching)
		SetLatch(scheduler);
}

void
tdo_watch_init(TdoDatabase *my_database)
{
	database = my_database;
	watch_timeout = RegisterTimeout(USER_TIMEOUT, watch);
}
