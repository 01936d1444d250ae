/*-------------------------------------------------------------------------
 *
 * history.c
 *	  Where the history of final runs ends: retention and purge.
 *
 * Job: drop day partitions that are old enough; delete old rows of other days.
 * Called by: scheduler (tdo_history_look), api_admin.c (tdo_history_purge).
 * Locks: to drop a day, ACCESS EXCLUSIVE on the parents of the run family and the
 * day's partitions, waited for LOCK_TIMEOUT_MS each.  Enqueues and executors do
 * not touch the parents; readers of the views do, and are held up no longer.
 * Before that SHARE on the day's partition of run, not waited for.
 * Two purges take turns (the extension, sub-object 2).
 * Crash: a day goes, or rows go, with the transaction's commit.
 *
 * Why nothing is lost: a day is dropped only when it lies wholly before the
 * limit, no live row points into it, and all its results are older than the
 * limit, too.  Nothing can come into it behind our back.  Ids are minted from the
 * present clock, so only a transaction that was there on that day can have
 * inserted into it, and it holds ROW EXCLUSIVE on the day's partition of run
 * until it ends, prepared or not.  So once SHARE was had on it, the live rows
 * that there are, are all there will ever be, and where there is none, there will
 * be no more results (day_is_settled).  A process that minted an id on that day
 * and has not opened the partition since, makes it anew or gets an error; so does
 * one whose clock was set back, and its live row is looked for under the last lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/datetime.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "clock.h"
#include "guc.h"
#include "history.h"
#include "hook.h"
#include "rows.h"
#include "store.h"
#include "txn.h"

#define LOCK_TIMEOUT_MS		50
/* between two looks; after a lock that could not be had, twice as long each time */
#define LOOK_EVERY_US		USECS_PER_MINUTE
#define MAX_BACKOFF_US		USECS_PER_HOUR
/* of a day's results looked at in one go: the scheduler has timers to see to */
#define BLOCKS_AT_ONCE		4096

/* what the scheduler remembers between two looks */
static TimestampTz last_look = 0;
static TimestampTz next_look = 0;
static int64 backoff_us = LOOK_EVERY_US;
static int	seen_retention = -1;
static int	trouble = 0;		/* SQLSTATE of what holds a drop up, already
								 * logged */
static int	scanned_day = -1;	/* the day whose results are being looked at */
static BlockNumber scan_left;	/* its blocks that are still to be looked at */

/* the midnight with which a day begins */
static TimestampTz
day_begin(int day)
{
	return ((int64) day - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)) * USECS_PER_DAY;
}

static const char *
day_name(int day)
{
	int			year,
				month,
				mday;

	j2date(day + UNIX_EPOCH_JDATE, &year, &month, &mday);
	return psprintf("%04d-%02d-%02d", year, month, mday);
}

/*
 * Look at some blocks of a day's results: did all of these runs end before that
 * time?  Counts them.
 */
static bool
results_are_old(Relation rel, BlockNumber from, BlockNumber blocks,
				TimestampTz before, int64 *count)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan_strat(rel, latest, 0, NULL, true, false);
	HeapTuple	tuple;
	bool		old = true;

	heap_setscanlimits(scan, from, blocks);
	while (old && HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		old = tdo_result_finished_at(rel, tuple) < before;
		(*count)++;
	}
	table_endscan(scan);
	UnregisterSnapshot(latest);
	return old;
}

/* See above.  Held to the end of the transaction; an executor at work there has a live row, and writes to other partitions. */
static bool
lock_out_enqueues(int day)
{
	Oid			part = tdo_partition(TDO_RUN, day);

	return OidIsValid(part) && ConditionalLockRelationOid(part, ShareLock);
}

/* ---------------------------------------------------------------- retention */

typedef enum DayState
{
	DAY_KEEP,
	DAY_UNKNOWN,				/* look on in a moment */
	DAY_DROP
} DayState;

/*
 * A run that waited for long may have ended only now: then its day stays.  It is
 * found in the last blocks, so they are looked at first.
 */
static DayState
judge(int day, TimestampTz before)
{
	Oid			part = tdo_partition(TDO_RESULT, day);
	Relation	rel;
	BlockNumber blocks;
	int64		count = 0;
	bool		old = true;

	if (tdo_live_in_day(day))
		return DAY_KEEP;
	if (scanned_day != day)
	{
		if (!lock_out_enqueues(day))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("a transaction that triggered runs on %s has not ended", day_name(day))));
		if (tdo_live_in_day(day))
			return DAY_KEEP;
	}
	rel = OidIsValid(part) ? try_relation_open(part, AccessShareLock) : NULL;
	if (rel == NULL)
		return DAY_KEEP;
	if (scanned_day != day)
	{
		scanned_day = day;
		scan_left = RelationGetNumberOfBlocks(rel);
	}
	if (scan_left > 0)
	{
		blocks = Min(scan_left, BLOCKS_AT_ONCE);
		old = results_are_old(rel, scan_left - blocks, blocks, before, &count);
		scan_left -= blocks;
	}
	relation_close(rel, AccessShareLock);
	if (!old)
	{
		scanned_day = -1;
		return DAY_KEEP;
	}
	return scan_left > 0 ? DAY_UNKNOWN : DAY_DROP;
}

/* the oldest day that may go; true when there may be more to do */
static bool
drop_oldest(TimestampTz before)
{
	List	   *days = tdo_partition_days();
	ListCell   *lc;

	foreach(lc, days)
	{
		int			day = lfirst_int(lc);

		if (day_begin(day + 1) > before)
			break;
		/* those before it were judged when its scan began */
		if (scanned_day >= 0 && day < scanned_day)
			continue;
		switch (judge(day, before))
		{
			case DAY_KEEP:
				continue;
			case DAY_UNKNOWN:
				return true;
			case DAY_DROP:
				break;
		}
		if (!tdo_partition_lock(day, LOCK_TIMEOUT_MS) || tdo_live_in_day(day))
			continue;
		tdo_partition_drop(day);
		tdo_hook_forget_day(day);
		scanned_day = -1;
		ereport(LOG,
				(errmsg("triggerdo drops the history of %s", day_name(day))));
		return true;
	}
	scanned_day = -1;
	return false;
}

/* say it once per change, and try later */
static void
put_off(const ErrorData *edata, TimestampTz now)
{
	if (edata->sqlerrcode != trouble)
		ereport(LOG,
				(errcode(edata->sqlerrcode),
				 errmsg("triggerdo cannot drop old history yet: %s", edata->message),
				 errdetail("Transactions that read it hold it up, a dump too. It is tried again, less and less often.")));
	trouble = edata->sqlerrcode;
	next_look = now + backoff_us;
	backoff_us = Min(backoff_us * 2, MAX_BACKOFF_US);
}

bool
tdo_history_look(TimestampTz now)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool more = false;

	/* what was seen by another setting, or another clock, counts no more */
	if (tdo_retention != seen_retention || now < last_look)
	{
		seen_retention = tdo_retention;
		next_look = 0;
		scanned_day = -1;
	}
	last_look = now;
	if (tdo_retention == 0 || now < next_look)
		return false;
	PG_TRY();
	{
		tdo_txn_begin();
		if (tdo_objects_if_any() != NULL)
		{
			PushActiveSnapshot(GetTransactionSnapshot());
			more = drop_oldest(now - tdo_retention * USECS_PER_MINUTE);
			PopActiveSnapshot();
		}
		tdo_txn_commit();
		next_look = more ? 0 : now + LOOK_EVERY_US;
		backoff_us = LOOK_EVERY_US;
		trouble = 0;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		/* a lock time-out is a cancel signal */
		QueryCancelPending = false;
		tdo_txn_abort();
		put_off(edata, now);
		more = false;
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	return more;
}

/* -------------------------------------------------------------------- purge */

/* a day that may go as a whole */
typedef struct WholeDay
{
	int			day;
	int64		runs;
} WholeDay;

/* rows of the day's runs that ended before that time */
static int64
delete_rows(int day, TimestampTz before)
{
	Oid			part = tdo_partition(TDO_RESULT, day);
	Relation	rel = OidIsValid(part) ? try_relation_open(part, RowExclusiveLock) : NULL;
	Snapshot	latest;
	TableScanDesc scan;
	HeapTuple	tuple;
	int64		n = 0;

	if (rel == NULL)
		return 0;
	latest = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, latest, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		pg_uuid_t	id;

		CHECK_FOR_INTERRUPTS();
		if (tdo_result_finished_at(rel, tuple) >= before)
			continue;
		id = tdo_result_id(rel, tuple);
		CatalogTupleDelete(rel, &tuple->t_self);
		tdo_run_delete(&id);
		tdo_hook_forget_run(&id);
		n++;
	}
	table_endscan(scan);
	UnregisterSnapshot(latest);
	/* the lock stays until the end, as any DELETE's does */
	relation_close(rel, NoLock);
	return n;
}

/* all of the day's runs ended before that time; counts them */
static bool
is_old(int day, TimestampTz before, int64 *count)
{
	Oid			part = tdo_partition(TDO_RESULT, day);
	Relation	rel;
	bool		old;

	*count = 0;
	if (day_begin(day + 1) > before || !lock_out_enqueues(day) || tdo_live_in_day(day))
		return false;
	rel = OidIsValid(part) ? try_relation_open(part, AccessShareLock) : NULL;
	if (rel == NULL)
		return false;
	old = results_are_old(rel, 0, RelationGetNumberOfBlocks(rel), before, count);
	relation_close(rel, AccessShareLock);
	return old;
}

/* drop it; false when somebody, perhaps this very query, is using it */
static bool
drop_whole(int day)
{
	TdoSubTxn	sub;
	volatile bool dropped = false;

	tdo_sub_begin(&sub);
	PG_TRY();
	{
		if (tdo_partition_lock(day, LOCK_TIMEOUT_MS) && !tdo_live_in_day(day))
		{
			tdo_partition_drop(day);
			tdo_hook_forget_day(day);
			dropped = true;
		}
		tdo_sub_commit(&sub);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(sub.context);
		edata = CopyErrorData();
		FlushErrorState();
		tdo_sub_rollback(&sub);
		if (edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
			edata->sqlerrcode != ERRCODE_OBJECT_IN_USE)
			ReThrowError(edata);
		FreeErrorData(edata);
		dropped = false;
	}
	PG_END_TRY();
	return dropped;
}

/* Rows first: once a day is dropped, readers of the views wait for our commit. */
int64
tdo_history_purge(TimestampTz before)
{
	List	   *days;
	ListCell   *lc;
	WholeDay   *whole;
	int			nwhole = 0;
	int64		n = 0;

	LockDatabaseObject(ExtensionRelationId, tdo_objects()->extension, 2, ExclusiveLock);
	CommandCounterIncrement();
	days = tdo_partition_days();
	whole = palloc(sizeof(WholeDay) * (list_length(days) + 1));
	foreach(lc, days)
	{
		WholeDay   *w = &whole[nwhole];

		w->day = lfirst_int(lc);
		if (day_begin(w->day) >= before)
			break;
		if (is_old(w->day, before, &w->runs))
			nwhole++;
		else
			n += delete_rows(w->day, before);
	}
	for (int i = 0; i < nwhole; i++)
		n += drop_whole(whole[i].day) ? whole[i].runs : delete_rows(whole[i].day, before);
	return n;
}
