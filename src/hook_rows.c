/*-------------------------------------------------------------------------
 *
 * hook_rows.c
 *	  Rows of _triggerdo.hook: hooks that wait for an executor, hooks that
 *	  failed, and that an on_start is done.
 *
 * Job: every access to that table that is not a view.
 * Called by: transition.c (queues), hook_run.c (calls), scheduler.c (owners),
 * history.c.
 * Locks: ROW EXCLUSIVE on the table, until the transaction ends; a queued row
 * FOR UPDATE, skipped when held, by the executor that calls it.
 * Crash: ordinary heap changes, all or nothing with their transaction.
 *
 * A queued hook is called in two transactions: the first counts the try, so that
 * one that ends its process, or crashes the server, is known by that; the second
 * calls it and deletes the row, or keeps the error.  Between the two the
 * executor's slot shows the row, and nobody else takes it.  The count is the
 * fence of the second.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "clock.h"
#include "hook.h"
#include "slot.h"
#include "store.h"
#include "wake.h"

/* column numbers: sql/30_tables_0_2_0.sql */
enum
{
	HOOK_RUN_ID = 1, HOOK_KIND, HOOK_ATTEMPT, HOOK_STATE, HOOK_OWNER, HOOK_TRIES, HOOK_DEPTH,
	HOOK_AT, HOOK_FN_SCHEMA, HOOK_FN_NAME, HOOK_RUN, HOOK_ERROR, HOOK_NATTS = HOOK_ERROR
};

/* ------------------------------------------------------------------ helpers */

static HeapTuple
form_hook(Relation rel, const TdoHook *hook)
{
	Datum		values[HOOK_NATTS];
	bool		nulls[HOOK_NATTS] = {false};

	values[HOOK_RUN_ID - 1] = UUIDPGetDatum(&hook->run_id);
	values[HOOK_KIND - 1] = CharGetDatum(hook->kind);
	values[HOOK_ATTEMPT - 1] = Int32GetDatum(hook->attempt);
	values[HOOK_STATE - 1] = CharGetDatum(hook->state);
	values[HOOK_OWNER - 1] = ObjectIdGetDatum(hook->owner);
	values[HOOK_TRIES - 1] = Int16GetDatum((int16) hook->tries);
	values[HOOK_DEPTH - 1] = Int16GetDatum((int16) hook->depth);
	values[HOOK_AT - 1] = TimestampTzGetDatum(hook->at);
	values[HOOK_FN_SCHEMA - 1] = NameGetDatum(&hook->fn.schema);
	values[HOOK_FN_NAME - 1] = NameGetDatum(&hook->fn.name);
	nulls[HOOK_RUN - 1] = hook->run == NULL;
	values[HOOK_RUN - 1] = JsonbPGetDatum(hook->run);
	nulls[HOOK_ERROR - 1] = hook->error == NULL;
	values[HOOK_ERROR - 1] = JsonbPGetDatum(hook->error);
	return heap_form_tuple(RelationGetDescr(rel), values, nulls);
}

static void
insert_hook(const TdoHook *hook)
{
	Relation	rel = table_open(tdo_objects()->hook, RowExclusiveLock);

	CatalogTupleInsert(rel, form_hook(rel, hook));
	table_close(rel, NoLock);
}

static Datum
column(Relation rel, HeapTuple tuple, int attno, bool *isnull)
{
	return heap_getattr(tuple, attno, RelationGetDescr(rel), isnull);
}

/* what it is shown, only with `wide`: it may be large */
static void
read_hook(Relation rel, HeapTuple tuple, bool wide, TdoHook *hook)
{
	bool		isnull;
	Datum		d;

	memset(hook, 0, sizeof(*hook));
	hook->run_id = *DatumGetUUIDP(column(rel, tuple, HOOK_RUN_ID, &isnull));
	hook->kind = DatumGetChar(column(rel, tuple, HOOK_KIND, &isnull));
	hook->attempt = DatumGetInt32(column(rel, tuple, HOOK_ATTEMPT, &isnull));
	hook->state = DatumGetChar(column(rel, tuple, HOOK_STATE, &isnull));
	hook->owner = DatumGetObjectId(column(rel, tuple, HOOK_OWNER, &isnull));
	hook->tries = DatumGetInt16(column(rel, tuple, HOOK_TRIES, &isnull));
	hook->depth = DatumGetInt16(column(rel, tuple, HOOK_DEPTH, &isnull));
	hook->at = DatumGetTimestampTz(column(rel, tuple, HOOK_AT, &isnull));
	hook->fn.schema = *DatumGetName(column(rel, tuple, HOOK_FN_SCHEMA, &isnull));
	hook->fn.name = *DatumGetName(column(rel, tuple, HOOK_FN_NAME, &isnull));
	hook->fn.nargs = hook->kind == TDO_CATCH_ERROR ? 2 : 1;
	d = wide ? column(rel, tuple, HOOK_RUN, &isnull) : (Datum) 0;
	hook->run = wide && !isnull ? DatumGetJsonbPCopy(d) : NULL;
	hook->tid = tuple->t_self;
}

/* all hooks of a run, in the order in which they are called */
static SysScanDesc
scan_run(Relation rel, const pg_uuid_t *run, Snapshot snapshot)
{
	ScanKeyData key;

	ScanKeyInit(&key, HOOK_RUN_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(run));
	return systable_beginscan(rel, tdo_objects()->hook_pkey, true, snapshot, 1, &key);
}

static bool
lock_hook(Relation rel, ItemPointer tid)
{
	HeapTupleData locked;
	Buffer		buffer;
	TM_FailureData failure;
	TM_Result	result;

	locked.t_self = *tid;
	result = heap_lock_tuple(rel, &locked, GetCurrentCommandId(false),
							 LockTupleExclusive, LockWaitSkip, false, &buffer, &failure);
	ReleaseBuffer(buffer);
	return result == TM_Ok;
}

/* -------------------------------------------------------------------- writing */

static void
fill_hook(TdoHook *hook, const TdoRun *run, char kind, char state, int attempt, const TdoHookFn *fn)
{
	memset(hook, 0, sizeof(*hook));
	hook->run_id = run->run_id;
	hook->kind = kind;
	hook->state = state;
	hook->attempt = attempt;
	hook->owner = run->owner;
	hook->depth = run->depth;
	hook->at = tdo_now();
	hook->fn = *fn;
}

void
tdo_hooks_queue(const TdoRun *run, int attempt, const TdoDue *due)
{
	for (int i = 0; i < due->n; i++)
	{
		TdoHook		hook;

		fill_hook(&hook, run, due->kinds[i], TDO_HOOK_QUEUED, attempt, &due->fns[i]);
		hook.run = due->run;
		insert_hook(&hook);
	}
	if (due->n > 0)
		tdo_wake_hook(run->owner);
}

bool
tdo_hook_queue_start(const TdoRun *run, const TdoTask *task)
{
	TdoResult	state = {.attempt = 1};
	TdoDue		due = {.n = 1,.kinds = {TDO_ON_START}};

	if (!tdo_hook_of(task, TDO_ON_START, &due.fns[0]))
		return false;
	due.run = tdo_hook_run(run, task, &state);
	tdo_hooks_queue(run, 1, &due);
	return true;
}

void
tdo_hook_keep_error(const TdoRun *run, char kind, int attempt, const TdoHookFn *fn, Jsonb *error)
{
	TdoHook		hook;

	fill_hook(&hook, run, kind, TDO_HOOK_FAILED, attempt, fn);
	hook.error = error;
	insert_hook(&hook);
}

void
tdo_hook_note_started(const TdoRun *run, const TdoHookFn *fn)
{
	TdoHook		hook;

	fill_hook(&hook, run, TDO_ON_START, TDO_HOOK_DONE, 1, fn);
	insert_hook(&hook);
}

bool
tdo_hook_has_started(const pg_uuid_t *run)
{
	Relation	rel = table_open(tdo_objects()->hook, AccessShareLock);
	SysScanDesc scan = scan_run(rel, run, SnapshotSelf);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TdoHook		hook;

		read_hook(rel, tuple, false, &hook);
		found = hook.state == TDO_HOOK_DONE;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* those in that state of a run */
static void
delete_of_run(const pg_uuid_t *run, char state)
{
	Relation	rel = table_open(tdo_objects()->hook, RowExclusiveLock);
	SysScanDesc scan = scan_run(rel, run, SnapshotSelf);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TdoHook		hook;

		read_hook(rel, tuple, false, &hook);
		if (hook.state == state)
			CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

void
tdo_hook_forget_started(const pg_uuid_t *run)
{
	delete_of_run(run, TDO_HOOK_DONE);
}

void
tdo_hook_forget_run(const pg_uuid_t *run)
{
	delete_of_run(run, TDO_HOOK_FAILED);
}

void
tdo_hook_forget_day(int day)
{
	Relation	rel = table_open(tdo_objects()->hook, RowExclusiveLock);
	pg_uuid_t	from = tdo_day_bound(day);
	pg_uuid_t	to = tdo_day_bound(day + 1);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], HOOK_RUN_ID, BTGreaterEqualStrategyNumber, F_UUID_GE, UUIDPGetDatum(&from));
	ScanKeyInit(&keys[1], HOOK_RUN_ID, BTLessStrategyNumber, F_UUID_LT, UUIDPGetDatum(&to));
	scan = systable_beginscan(rel, tdo_objects()->hook_pkey, true, SnapshotSelf, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TdoHook		hook;

		CHECK_FOR_INTERRUPTS();
		read_hook(rel, tuple, false, &hook);

		/*
		 * (no run of the day goes on, so whose on_start is done does not
		 * matter)
		 */
		if (hook.state != TDO_HOOK_QUEUED)
			CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* ---------------------------------------------------------------- the queue */

/* is an earlier hook of the same run still to be called? */
static bool
has_earlier(Relation rel, const TdoHook *hook)
{
	/* not SnapshotSelf, which can miss a row that is updated in this moment */
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = scan_run(rel, &hook->run_id, latest);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TdoHook		other;

		read_hook(rel, tuple, false, &other);
		found = other.state == TDO_HOOK_QUEUED && other.kind < hook->kind;
	}
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	return found;
}

/*
 * The next one that was queued then or later; *first: when the first that is there
 * was, or left alone.
 */
static bool
next_since(Oid owner, TimestampTz since, TdoHook *hook, TimestampTz *first)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->hook, RowExclusiveLock);
	Relation	index = index_open(o->hook_queue, AccessShareLock);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		any = false;
	bool		found = false;

	ScanKeyInit(&keys[0], HOOK_STATE, BTEqualStrategyNumber, F_CHAREQ, CharGetDatum(TDO_HOOK_QUEUED));
	ScanKeyInit(&keys[1], HOOK_OWNER, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(owner));
	ScanKeyInit(&keys[2], HOOK_AT, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE, TimestampTzGetDatum(since));
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 3, keys);
	while (!found &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		read_hook(rel, tuple, false, hook);
		if (!any)
			*first = hook->at;
		any = true;

		/*
		 * Locked first, and then the look at the slots: an executor shows the
		 * row before it commits its count, until what came of it is
		 * committed.  Before the lock, too: the executor that has counted it
		 * skips a row that is held, so one in its hand is not to be locked.
		 */
		found = !has_earlier(rel, hook) && !tdo_slot_has_hook(&hook->run_id, hook->kind) &&
			lock_hook(rel, &tuple->t_self) && !tdo_slot_has_hook(&hook->run_id, hook->kind);
		if (found)
			read_hook(rel, tuple, true, hook);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
	return found;
}

bool
tdo_hook_next(Oid owner, TdoHook *hook)
{
	static TimestampTz since = DT_NOBEGIN;
	static int64 whole_us = 0;
	int64		now = tdo_monotonic_us();

	/*
	 * Not over all that is done with each time, which an old snapshot may
	 * keep in the index.  One whose commit came late lies before: so a whole
	 * look once a second, and before there is said to be none.
	 */
	if (since != DT_NOBEGIN && now - whole_us < USECS_PER_SEC &&
		next_since(owner, since, hook, &since))
		return true;
	whole_us = now;
	since = DT_NOBEGIN;
	return next_since(owner, DT_NOBEGIN, hook, &since);
}

bool
tdo_hook_again(const TdoHook *seen, TdoHook *hook)
{
	Relation	rel = table_open(tdo_objects()->hook, RowExclusiveLock);
	SysScanDesc scan = scan_run(rel, &seen->run_id, SnapshotSelf);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		read_hook(rel, tuple, true, hook);
		found = hook->kind == seen->kind && hook->attempt == seen->attempt &&
			hook->state == TDO_HOOK_QUEUED && hook->tries == seen->tries &&
			lock_hook(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

static void
update_hook(const TdoHook *hook)
{
	Relation	rel = table_open(tdo_objects()->hook, RowExclusiveLock);
	ItemPointerData tid = hook->tid;

	CatalogTupleUpdate(rel, &tid, form_hook(rel, hook));
	table_close(rel, NoLock);
}

void
tdo_hook_count_try(TdoHook *hook)
{
	hook->tries++;
	update_hook(hook);
}

void
tdo_hook_done(const TdoHook *hook)
{
	Relation	rel = table_open(tdo_objects()->hook, RowExclusiveLock);
	ItemPointerData tid = hook->tid;

	CatalogTupleDelete(rel, &tid);
	table_close(rel, NoLock);
	/* the next one of the same run may wait for this one's end */
	tdo_wake_hook(hook->owner);
}

void
tdo_hook_failed(const TdoHook *hook, Jsonb *error)
{
	TdoHook		failed = *hook;

	failed.state = TDO_HOOK_FAILED;
	failed.at = tdo_now();
	failed.run = NULL;
	failed.error = error;
	update_hook(&failed);
	tdo_wake_hook(hook->owner);
}

List *
tdo_hook_owners(void)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->hook, AccessShareLock);
	Relation	index = index_open(o->hook_queue, AccessShareLock);
	List	   *owners = NIL;
	Oid			above = InvalidOid;
	bool		found;

	do
	{
		ScanKeyData keys[2];
		SysScanDesc scan;
		HeapTuple	tuple;

		CHECK_FOR_INTERRUPTS();
		ScanKeyInit(&keys[0], HOOK_STATE, BTEqualStrategyNumber, F_CHAREQ, CharGetDatum(TDO_HOOK_QUEUED));
		ScanKeyInit(&keys[1], HOOK_OWNER, BTGreaterStrategyNumber, F_OIDGT, ObjectIdGetDatum(above));
		scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 2, keys);
		tuple = systable_getnext_ordered(scan, ForwardScanDirection);
		found = HeapTupleIsValid(tuple);
		if (found)
		{
			TdoHook		hook;

			read_hook(rel, tuple, false, &hook);
			above = hook.owner;
			owners = lappend_oid(owners, above);
		}
		systable_endscan_ordered(scan);
	} while (found);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return owners;
}
