/*-------------------------------------------------------------------------
 *
 * api_cancel.c
 *	  SQL: cancel_run, cancel_runs; what they do to the children of a run.
 *
 * Job: end runs as CANCELED, begun or not, one or many.
 * Called by: SQL.
 * Locks: the live row of each run that it ends, FOR UPDATE.  cancel_runs() locks
 * what its filter chooses in the order of ids, so that two such calls wait, and do
 * not deadlock.  Children come after all of these, generation by generation, and
 * so in no order that another call would have: it tries them for a while, and
 * waits for no lock.  cancel_run() waits for its children's, as for its run's.
 * Crash: what has not begun is cancelled by the caller's commit.  What is being
 * executed is asked to stop, whatever becomes of the caller's transaction.
 *
 * Children are looked up (child.c) after their parent is locked, or has stopped:
 * from then on it can commit no more of them.  If it ended otherwise before it
 * could be stopped, they go on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "api.h"
#include "child.h"
#include "clock.h"
#include "compat.h"
#include "failure.h"
#include "filter.h"
#include "grant.h"
#include "guc.h"
#include "shmem.h"
#include "slot.h"
#include "stop.h"
#include "store.h"
#include "transition.h"
#include "triggerdo.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(tdo_sql_cancel_run);
PG_FUNCTION_INFO_V1(tdo_sql_cancel_runs);

#define CANCEL_LOOK_MS	10
#define MAX_LOOKS		50
#define MAX_CANCEL_WAIT_MS	10000
#define DEFAULT_REASON	"Canceled by user"

/* ------------------------------------------------------------------- one run */

typedef enum CancelStep
{
	CANCEL_LOCKED,				/* it is ours, and not begun */
	CANCEL_FINAL,
	CANCEL_ASKED,				/* it is executing, and was told to stop */
	CANCEL_ASKED_HELD,			/* the same, and its end waits for ours */
	CANCEL_LATER				/* claimed along with others: look again in a
								 * moment */
} CancelStep;

static void
pause_cancel(void)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = tdo_wait_event("TriggerdoCancel");
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 CANCEL_LOOK_MS, wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Lock the run, or stop it when it is being executed.  Other sessions' locks
 * are waited for as any row lock is; a run that an executor has claimed along
 * with others is the caller's to look at again, because in a moment it is either
 * begun or free.  Without `wait` so is one that another session holds.
 */
static CancelStep
lock_or_stop(const pg_uuid_t *id, const char *reason, bool wait, TdoLive *live)
{
	LockWaitPolicy policy = LockWaitSkip;
	int			looks = 0;
	bool		held = false;	/* we keep its executor from writing its end */

	for (;;)
	{
		TdoStopAnswer answer = tdo_stop_run(id, reason);

		if (answer == TDO_STOP_ASKED)
			return held ? CANCEL_ASKED_HELD : CANCEL_ASKED;

		/*
		 * A durable claim in hand holds no lock, so that to get the lock says
		 * nothing.  (It may be claimed in between all the same.)
		 */
		if (!held && (answer == TDO_STOP_NOT_IN_HAND || !tdo_live_get(id, live) ||
					  live->state != TDO_LIVE_CLAIMED))
		{
			switch (tdo_live_lock(id, policy, live))
			{
				case TDO_LOCKED:
					held = live->state == TDO_LIVE_CLAIMED &&
						tdo_slot_find_run(id, NULL) != TDO_NOT_IN_HAND;
					if (!held)
						return CANCEL_LOCKED;
					looks = 0;
					break;
				case TDO_LOCK_GONE:
					return CANCEL_FINAL;
				case TDO_LOCK_BUSY:
					break;
			}
		}
		if (held && ++looks > MAX_LOOKS)
			return CANCEL_FINAL;	/* it is done, and waits for us to say so */
		if (!held && (answer == TDO_STOP_LATER || !wait))
			return CANCEL_LATER;

		/*
		 * An executor locks first and shows it in its slot a moment later:
		 * only what stays so is another session's.
		 */
		if (!held && ++looks > MAX_LOOKS)
			policy = LockWaitBlock;
		else
			pause_cancel();
	}
}

/* in how long we stop waiting for what others do, by the monotonic clock */
static int64
patience(int64 ms)
{
	return tdo_monotonic_us() + Min(ms, MAX_CANCEL_WAIT_MS) * INT64CONST(1000);
}

typedef enum StopEnd
{
	STOP_GOES_ON,
	STOP_CANCELED,
	STOP_ENDED_ELSE				/* it was quicker */
} StopEnd;

/* what became of a run that was asked to stop: its executor writes it, in a moment */
static StopEnd
look_at_stop(const TdoRun *run)
{
	TdoResult	result;
	bool		found = tdo_look_for_result(&run->run_id, &result);

	if (!found && !tdo_is_live(&run->run_id))
	{
		found = tdo_look_for_result(&run->run_id, &result);
		/* it left no history: COMPLETED, or we cannot know */
		if (!found)
			return tdo_keep_by_id(run) != TDO_KEEP_FAILED ? STOP_CANCELED : STOP_ENDED_ELSE;
	}
	if (!found)
		return STOP_GOES_ON;
	return result.status == TDO_CANCELED ? STOP_CANCELED : STOP_ENDED_ELSE;
}

/* one that is slow to react need not be waited for, nor may the caller's transaction */
static bool
await_stop(const TdoRun *run)
{
	int64		until = patience(tdo_cancel_grace);
	StopEnd		end;

	while ((end = look_at_stop(run)) == STOP_GOES_ON && tdo_monotonic_us() < until)
		pause_cancel();
	return end != STOP_ENDED_ELSE;
}

static void
finish_canceled(const TdoLive *live, const TdoRun *run, const char *reason)
{
	tdo_wake_if_rolled_back();
	tdo_finish_unstarted(live, run, TDO_CANCELED, tdo_failure_to_jsonb(tdo_failure_canceled(reason)));
}

/* ---------------------------------------------------------------------- many */

/* grows in the context that it was made in */
typedef struct Ids
{
	MemoryContext context;
	int			n;
	int			room;
	pg_uuid_t  *ids;
} Ids;

typedef struct Cancels
{
	const char *reason;
	bool		wait_for_children;	/* for the locks of other sessions on them */
	MemoryContext each;			/* of one run, at its end reset */
	Ids			asked;			/* to be waited for */
	Ids			later;			/* to be looked at again */
	Ids			children;		/* of those that were cancelled */
	int64		canceled;
	bool		spared_itself;
	int64		spared;			/* children that are not the caller's to
								 * cancel */
	int64		stuck;
} Cancels;

static void
ids_add(Ids *list, const pg_uuid_t *id)
{
	if (list->n == list->room)
	{
		list->room = Max(64, list->room * 2);
		if (list->ids == NULL)
			list->ids = MemoryContextAlloc(list->context, sizeof(pg_uuid_t) * list->room);
		else
			list->ids = repalloc_huge(list->ids, sizeof(pg_uuid_t) * list->room);
	}
	list->ids[list->n++] = *id;
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

static void
cancels_begin(Cancels *c, const char *reason, bool wait_for_children)
{
	memset(c, 0, sizeof(*c));
	c->reason = reason;
	c->wait_for_children = wait_for_children;
	c->each = AllocSetContextCreate(CurrentMemoryContext, "triggerdo cancel",
									ALLOCSET_DEFAULT_SIZES);
	c->asked.context = c->later.context = c->children.context = CurrentMemoryContext;
}

static void
note_children(Cancels *c, const pg_uuid_t *parent)
{
	int			n;
	pg_uuid_t  *children = tdo_children(parent, &n);

	for (int i = 0; i < n; i++)
		ids_add(&c->children, &children[i]);
}

static bool
may_cancel(Cancels *c, const TdoRun *run)
{
	if (!tdo_may(run->task, run->owner, TDO_MAY_MANAGE))
		return false;
	if (!tdo_inside_of(&run->run_id))
		return true;
	c->spared_itself = true;
	return false;
}

/* false: look again later */
static bool
cancel_one(Cancels *c, const TdoRun *run, bool wait)
{
	TdoLive		live;

	switch (lock_or_stop(&run->run_id, c->reason, wait, &live))
	{
		case CANCEL_LOCKED:
			finish_canceled(&live, run, c->reason);
			c->canceled++;
			break;
		case CANCEL_ASKED:
			ids_add(&c->asked, &run->run_id);
			return true;
		case CANCEL_ASKED_HELD:
			c->canceled++;
			break;
		case CANCEL_FINAL:
			return true;
		case CANCEL_LATER:
			return false;
	}
	note_children(c, &run->run_id);
	return true;
}

/* by id: the run is read anew, and may be gone */
static bool
cancel_by_id(Cancels *c, const pg_uuid_t *id)
{
	TdoRun		run;

	return !tdo_run_get(id, &run) || cancel_one(c, &run, false);
}

/*
 * Those that executors had claimed along with others: begun by now, or free.  Not
 * in the order of ids any more, so no lock is waited for: two such calls would
 * deadlock.
 */
static void
cancel_later(Cancels *c)
{
	int64		until = patience(MAX_CANCEL_WAIT_MS);

	while (c->later.n > 0)
	{
		int			left = 0;

		for (int i = 0; i < c->later.n; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(c->each);

			CHECK_FOR_INTERRUPTS();
			if (!cancel_by_id(c, &c->later.ids[i]))
				c->later.ids[left++] = c->later.ids[i];
			MemoryContextSwitchTo(old);
			MemoryContextReset(c->each);
		}
		c->later.n = left;
		if (left == 0)
			break;
		if (tdo_monotonic_us() >= until)
		{
			c->stuck += left;
			c->later.n = 0;
			break;
		}
		pause_cancel();
	}
}

static void
count_stopped(Cancels *c, const pg_uuid_t *id)
{
	c->canceled++;
	note_children(c, id);
}

/* all were asked already, so the slowest one decides; those still going on end as CANCELED, too */
static void
await_all(Cancels *c)
{
	int64		until = patience(tdo_cancel_grace);

	while (c->asked.n > 0)
	{
		int			left = 0;

		for (int i = 0; i < c->asked.n; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(c->each);
			TdoRun		run;
			StopEnd		end = STOP_CANCELED;

			if (tdo_run_get(&c->asked.ids[i], &run))
				end = look_at_stop(&run);
			if (end == STOP_GOES_ON)
				c->asked.ids[left++] = c->asked.ids[i];
			else if (end == STOP_CANCELED)
				count_stopped(c, &c->asked.ids[i]);
			MemoryContextSwitchTo(old);
			MemoryContextReset(c->each);
		}
		c->asked.n = left;
		if (left == 0 || tdo_monotonic_us() >= until)
			break;
		pause_cancel();
	}
	for (int i = 0; i < c->asked.n; i++)
		count_stopped(c, &c->asked.ids[i]);
	c->asked.n = 0;
}

/* one generation after the other, as far down as runs are not final */
static void
cancel_children(Cancels *c)
{
	while (c->children.n > 0)
	{
		Ids			generation = c->children;

		c->children.n = c->children.room = 0;
		c->children.ids = NULL;
		qsort(generation.ids, generation.n, sizeof(pg_uuid_t), compare_ids);
		for (int i = 0; i < generation.n; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(c->each);
			TdoRun		run;

			CHECK_FOR_INTERRUPTS();
			if (!tdo_run_get(&generation.ids[i], &run))
				;
			else if (!may_cancel(c, &run))
				c->spared += tdo_inside_of(&run.run_id) ? 0 : 1;
			else if (!cancel_one(c, &run, c->wait_for_children))
				ids_add(&c->later, &run.run_id);
			MemoryContextSwitchTo(old);
			MemoryContextReset(c->each);
		}
		cancel_later(c);
		await_all(c);
		pfree(generation.ids);
	}
}

static void
say_what_goes_on(const Cancels *c)
{
	if (c->spared_itself)
		ereport(NOTICE,
				(errmsg("the run that calls goes on: a run cannot cancel itself"),
				 errhint("triggerdo.abort_run() ends it for good.")));
	if (c->spared > 0)
		ereport(NOTICE,
				(errmsg_plural("%lld child run goes on: it is not yours to cancel",
							   "%lld child runs go on: they are not yours to cancel",
							   (unsigned long) c->spared, (long long) c->spared)));
	if (c->stuck > 0)
		ereport(NOTICE,
				(errmsg_plural("%lld run could not be cancelled now",
							   "%lld runs could not be cancelled now",
							   (unsigned long) c->stuck, (long long) c->stuck),
				 errdetail("An executor has them in hand together with others, and does not get on, or another session has them locked."),
				 errhint("Try again, in another transaction if this one holds locks that the other runs may wait for.")));
}

/* ------------------------------------------------------------------------ SQL */

/* true: this call ended it, or will have */
static bool
cancel_run(const TdoRun *run, const char *reason)
{
	TdoLive		live;
	int64		until = patience(MAX_CANCEL_WAIT_MS);

	for (;;)
	{
		switch (lock_or_stop(&run->run_id, reason, true, &live))
		{
			case CANCEL_ASKED:
				return await_stop(run);
			case CANCEL_ASKED_HELD:
				return true;
			case CANCEL_FINAL:
				return false;
			case CANCEL_LOCKED:
				finish_canceled(&live, run, reason);
				return true;
			case CANCEL_LATER:
				break;
		}
		/* what its executor waits for may be ours, which nobody could see */
		if (tdo_monotonic_us() >= until)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("run %s cannot be cancelled now",
							DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&run->run_id)))),
					 errdetail("An executor has it in hand together with others, and does not get on."),
					 errhint("Try again, in another transaction if this one holds locks that the other runs may wait for.")));
		pause_cancel();
	}
}

Datum
tdo_sql_cancel_run(PG_FUNCTION_ARGS)
{
	TdoRun		run;
	Cancels		c;
	char	   *reason = DEFAULT_REASON;

	tdo_require_arg(fcinfo, 0, "run");
	tdo_require_shmem();
	PreventCommandIfReadOnly("cancel_run()");
	if (!PG_ARGISNULL(1))
		reason = text_to_cstring(PG_GETARG_TEXT_PP(1));
	tdo_get_manageable_run(PG_GETARG_UUID_P(0), &run);
	if (tdo_inside_of(&run.run_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a run cannot cancel itself"),
				 errhint("triggerdo.abort_run() ends it for good.")));
	if (!cancel_run(&run, reason))
		PG_RETURN_BOOL(false);
	cancels_begin(&c, reason, true);
	note_children(&c, &run.run_id);
	cancel_children(&c);
	say_what_goes_on(&c);
	PG_RETURN_BOOL(true);
}

Datum
tdo_sql_cancel_runs(PG_FUNCTION_ARGS)
{
	TdoFilterScan *scan;
	TdoRun		run;
	Cancels		c;
	int64		canceled;

	tdo_require_arg(fcinfo, 0, "filter");
	tdo_require_shmem();
	PreventCommandIfReadOnly("cancel_runs()");
	(void) tdo_objects();
	scan = tdo_filter_begin(tdo_filter_read(PG_GETARG_JSONB_P(0)), true);
	cancels_begin(&c, DEFAULT_REASON, false);
	while (tdo_filter_next(scan, &run))
	{
		MemoryContext old = MemoryContextSwitchTo(c.each);

		if (may_cancel(&c, &run) && !cancel_one(&c, &run, true))
			ids_add(&c.later, &run.run_id);
		MemoryContextSwitchTo(old);
		MemoryContextReset(c.each);
	}
	cancel_later(&c);
	await_all(&c);
	/* the children are cancelled, and not counted */
	canceled = c.canceled;
	cancel_children(&c);
	say_what_goes_on(&c);
	PG_RETURN_INT64(canceled);
}
