/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  Rows of the run family, live and timer: reading, locking, writing.
 *
 * Job: every access to those tables that is not a view.
 * Called by: transition.c, ready.c, the SQL-callable functions, scheduler.
 * Locks: ROW EXCLUSIVE on the tables it writes, until the transaction ends;
 * the live row FOR UPDATE before it is changed or deleted (tdo_live_lock).
 * Crash: ordinary heap changes, all or nothing with their transaction.
 *
 * Why not SQL: no plan that ANALYZE could turn, no search_path, no user switch,
 * and less than half of the time.  SnapshotSelf ("committed now, or our own")
 * is what a claim must see, also in a REPEATABLE READ session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "rows.h"
#include "store.h"
#include "triggerdo.h"
#include "wake.h"

/* column numbers: sql/20_tables.sql */
enum
{
	RUN_ID = 1, RUN_CREATED_AT, RUN_DELAYED_UNTIL, RUN_EXPIRES_AT, RUN_OWNER,
	RUN_TRIGGERED_BY, RUN_PRIORITY, RUN_MAX_ATTEMPTS, RUN_PARENT, RUN_ROOT,
	RUN_BATCH, RUN_REPLAY_OF, RUN_TASK, RUN_QUEUE, RUN_CONCURRENCY_KEY,
	RUN_SCHEDULE, RUN_IDEMPOTENCY_KEY, RUN_TAGS, RUN_PAYLOAD, RUN_METADATA,
	RUN_OPTIONS, RUN_MAX_DURATION, RUN_DEPTH, RUN_KEEP_RESULT, RUN_NATTS = RUN_KEEP_RESULT
};

enum
{
	RESULT_ID = 1, RESULT_QUEUED_AT, RESULT_STARTED_AT, RESULT_FINISHED_AT,
	RESULT_ATTEMPT, RESULT_STATUS, RESULT_OUTPUT, RESULT_ERROR,
	RESULT_NATTS = RESULT_ERROR
};

enum
{
	ATTEMPT_ID = 1, ATTEMPT_ATTEMPT, ATTEMPT_STARTED_AT, ATTEMPT_FINISHED_AT,
	ATTEMPT_RETRY_AT, ATTEMPT_ERROR, ATTEMPT_NATTS = ATTEMPT_ERROR
};

enum
{
	LIVE_ID = 1, LIVE_ORDER_KEY, LIVE_OWNER, LIVE_ATTEMPT, LIVE_CRASHES,
	LIVE_STATE, LIVE_CLAIM, LIVE_NATTS = LIVE_CLAIM
};

enum
{
	TIMER_ID = 1, TIMER_DUE, TIMER_NATTS = TIMER_DUE
};

/* ------------------------------------------------------------------ helpers */

/* a scan for one id by a key index; the caller reads at most one row */
static SysScanDesc
scan_by_id(Relation rel, Oid index, const pg_uuid_t *id, Snapshot snapshot)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	return systable_beginscan(rel, index, true, snapshot, 1, &key);
}

static void
insert_into(Relation rel, Datum *values, bool *nulls)
{
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	/* the lock stays until the end, as any INSERT's does */
	relation_close(rel, NoLock);
}

static void
insert_row(Oid table, Datum *values, bool *nulls)
{
	insert_into(table_open(table, RowExclusiveLock), values, nulls);
}

/*
 * The day's partition is made if there is none; which retention may drop between
 * the look and the lock, where the clock went back.
 */
static void
insert_in_day(TdoFamily family, const pg_uuid_t *id, Datum *values, bool *nulls)
{
	Relation	rel;

	while ((rel = try_relation_open(tdo_partition_make(family, tdo_day_of(id)), RowExclusiveLock)) == NULL)
		CHECK_FOR_INTERRUPTS();
	insert_into(rel, values, nulls);
}

static Datum
column(HeapTuple tuple, Relation rel, int attno, bool *isnull)
{
	return heap_getattr(tuple, attno, RelationGetDescr(rel), isnull);
}

static pg_uuid_t
column_uuid(HeapTuple tuple, Relation rel, int attno, bool *isnull)
{
	Datum		d = column(tuple, rel, attno, isnull);
	pg_uuid_t	id = {{0}};

	if (!*isnull)
		id = *DatumGetUUIDP(d);
	return id;
}

static TimestampTz
column_time(HeapTuple tuple, Relation rel, int attno)
{
	bool		isnull;
	Datum		d = column(tuple, rel, attno, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(d);
}

static Jsonb *
column_jsonb(HeapTuple tuple, Relation rel, int attno)
{
	bool		isnull;
	Datum		d = column(tuple, rel, attno, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(d);
}

static inline void
set_jsonb(Datum *values, bool *nulls, int attno, Jsonb *j)
{
	nulls[attno - 1] = j == NULL;
	values[attno - 1] = JsonbPGetDatum(j);
}

static inline void
set_time(Datum *values, bool *nulls, int attno, TimestampTz t)
{
	nulls[attno - 1] = t == 0;
	values[attno - 1] = TimestampTzGetDatum(t);
}

/* ---------------------------------------------------------------------- run */

void
tdo_run_read(Relation rel, HeapTuple tuple, TdoRun *run)
{
	bool		isnull;
	Datum		d;

	memset(run, 0, sizeof(*run));
	run->run_id = column_uuid(tuple, rel, RUN_ID, &isnull);
	run->created_at = column_time(tuple, rel, RUN_CREATED_AT);
	run->delayed_until = column_time(tuple, rel, RUN_DELAYED_UNTIL);
	run->owner = DatumGetObjectId(column(tuple, rel, RUN_OWNER, &isnull));
	run->triggered_by = DatumGetObjectId(column(tuple, rel, RUN_TRIGGERED_BY, &isnull));
	run->priority = DatumGetInt32(column(tuple, rel, RUN_PRIORITY, &isnull));
	d = column(tuple, rel, RUN_MAX_ATTEMPTS, &isnull);
	run->max_attempts = isnull ? 0 : DatumGetInt32(d);
	d = column(tuple, rel, RUN_MAX_DURATION, &isnull);
	run->max_duration = isnull ? 0 : DatumGetInt64(d);
	run->parent = column_uuid(tuple, rel, RUN_PARENT, &isnull);
	run->has_parent = !isnull;
	run->root = column_uuid(tuple, rel, RUN_ROOT, &isnull);
	run->batch = column_uuid(tuple, rel, RUN_BATCH, &isnull);
	run->has_batch = !isnull;
	run->task = TextDatumGetCString(column(tuple, rel, RUN_TASK, &isnull));
	d = column(tuple, rel, RUN_TAGS, &isnull);
	run->tags = isnull ? NULL : DatumGetArrayTypePCopy(d);
	run->payload = column_jsonb(tuple, rel, RUN_PAYLOAD);
	run->metadata = column_jsonb(tuple, rel, RUN_METADATA);
	run->depth = DatumGetInt16(column(tuple, rel, RUN_DEPTH, &isnull));
	d = column(tuple, rel, RUN_KEEP_RESULT, &isnull);
	run->keep_result = !isnull && DatumGetBool(d);
	run->replay_of = column_uuid(tuple, rel, RUN_REPLAY_OF, &isnull);
	run->has_replay_of = !isnull;
	d = column(tuple, rel, RUN_IDEMPOTENCY_KEY, &isnull);
	run->idempotency_key = isnull ? NULL : TextDatumGetCString(d);
	d = column(tuple, rel, RUN_QUEUE, &isnull);
	run->queue = isnull ? NULL : TextDatumGetCString(d);
	d = column(tuple, rel, RUN_SCHEDULE, &isnull);
	run->schedule = isnull ? NULL : TextDatumGetCString(d);
}

bool
tdo_run_get(const pg_uuid_t *id, TdoRun *run)
{
	Oid			part = tdo_partition(TDO_RUN, tdo_day_of(id));
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	/* retention may drop it in this moment */
	rel = OidIsValid(part) ? try_relation_open(part, AccessShareLock) : NULL;
	if (rel == NULL)
		return false;
	scan = scan_by_id(rel, tdo_primary_key(rel), id, SnapshotSelf);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tdo_run_read(rel, tuple, run);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

void
tdo_run_insert(const TdoRun *run)
{
	Datum		values[RUN_NATTS];
	bool		nulls[RUN_NATTS];

	memset(nulls, true, sizeof(nulls));
	memset(values, 0, sizeof(values));

#define SET(attno, datum) (nulls[(attno) - 1] = false, values[(attno) - 1] = (datum))
	SET(RUN_ID, UUIDPGetDatum(&run->run_id));
	SET(RUN_CREATED_AT, TimestampTzGetDatum(run->created_at));
	set_time(values, nulls, RUN_DELAYED_UNTIL, run->delayed_until);
	SET(RUN_OWNER, ObjectIdGetDatum(run->owner));
	SET(RUN_TRIGGERED_BY, ObjectIdGetDatum(run->triggered_by));
	SET(RUN_PRIORITY, Int32GetDatum(run->priority));
	if (run->max_attempts > 0)
		SET(RUN_MAX_ATTEMPTS, Int32GetDatum(run->max_attempts));
	if (run->max_duration > 0)
		SET(RUN_MAX_DURATION, Int64GetDatum(run->max_duration));
	if (run->has_parent)
	{
		SET(RUN_PARENT, UUIDPGetDatum(&run->parent));
		SET(RUN_ROOT, UUIDPGetDatum(&run->root));
	}
	if (run->has_batch)
		SET(RUN_BATCH, UUIDPGetDatum(&run->batch));
	SET(RUN_TASK, CStringGetTextDatum(run->task));
	if (run->tags)
		SET(RUN_TAGS, PointerGetDatum(run->tags));
	SET(RUN_PAYLOAD, JsonbPGetDatum(run->payload));
	set_jsonb(values, nulls, RUN_METADATA, run->metadata);
	SET(RUN_DEPTH, Int16GetDatum((int16) Min(run->depth, PG_INT16_MAX)));
	if (run->keep_result)
		SET(RUN_KEEP_RESULT, BoolGetDatum(true));
	if (run->has_replay_of)
		SET(RUN_REPLAY_OF, UUIDPGetDatum(&run->replay_of));
	if (run->idempotency_key)
		SET(RUN_IDEMPOTENCY_KEY, CStringGetTextDatum(run->idempotency_key));
#undef SET
	insert_in_day(TDO_RUN, &run->run_id, values, nulls);
}

/* every row of that id; what a transaction of ours may delete it has locked, or nobody else writes any more */
static void
delete_by_id(Oid table, Oid index, const pg_uuid_t *id)
{
	Relation	rel = table_open(table, RowExclusiveLock);
	SysScanDesc scan = scan_by_id(rel, OidIsValid(index) ? index : tdo_primary_key(rel),
								  id, SnapshotSelf);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

void
tdo_run_delete(const pg_uuid_t *id)
{
	int			day = tdo_day_of(id);
	Oid			attempts = tdo_partition(TDO_ATTEMPT, day);
	Oid			runs = tdo_partition(TDO_RUN, day);

	if (OidIsValid(attempts))
		delete_by_id(attempts, InvalidOid, id);
	if (OidIsValid(runs))
		delete_by_id(runs, InvalidOid, id);
}

/* ------------------------------------------------------------------- result */

/* without its output and error unless `wide`: they may be large, and out of line */
static bool
get_result(const pg_uuid_t *id, Snapshot snapshot, bool wide, TdoResult *result)
{
	Oid			part = tdo_partition(TDO_RESULT, tdo_day_of(id));
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	/* retention may drop it in this moment */
	rel = OidIsValid(part) ? try_relation_open(part, AccessShareLock) : NULL;
	if (rel == NULL)
		return false;
	scan = scan_by_id(rel, tdo_primary_key(rel), id, snapshot);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		result->run_id = *id;
		result->queued_at = column_time(tuple, rel, RESULT_QUEUED_AT);
		result->started_at = column_time(tuple, rel, RESULT_STARTED_AT);
		result->finished_at = column_time(tuple, rel, RESULT_FINISHED_AT);
		result->attempt = DatumGetInt32(column(tuple, rel, RESULT_ATTEMPT, &isnull));
		result->status = DatumGetChar(column(tuple, rel, RESULT_STATUS, &isnull));
		result->output = wide ? column_jsonb(tuple, rel, RESULT_OUTPUT) : NULL;
		result->error = wide ? column_jsonb(tuple, rel, RESULT_ERROR) : NULL;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

bool
tdo_result_get(const pg_uuid_t *id, TdoResult *result)
{
	return get_result(id, SnapshotSelf, true, result);
}

char
tdo_result_status(const pg_uuid_t *id)
{
	TdoResult	result;

	return get_result(id, SnapshotSelf, false, &result) ? result.status : 0;
}

void
tdo_result_insert(const TdoResult *result)
{
	Datum		values[RESULT_NATTS];
	bool		nulls[RESULT_NATTS] = {false};

	values[RESULT_ID - 1] = UUIDPGetDatum(&result->run_id);
	set_time(values, nulls, RESULT_QUEUED_AT, result->queued_at);
	set_time(values, nulls, RESULT_STARTED_AT, result->started_at);
	values[RESULT_FINISHED_AT - 1] = TimestampTzGetDatum(result->finished_at);
	values[RESULT_ATTEMPT - 1] = Int32GetDatum(result->attempt);
	values[RESULT_STATUS - 1] = CharGetDatum(result->status);
	set_jsonb(values, nulls, RESULT_OUTPUT, result->output);
	set_jsonb(values, nulls, RESULT_ERROR, result->error);
	insert_in_day(TDO_RESULT, &result->run_id, values, nulls);
}

TimestampTz
tdo_result_finished_at(Relation rel, HeapTuple tuple)
{
	return column_time(tuple, rel, RESULT_FINISHED_AT);
}

pg_uuid_t
tdo_result_id(Relation rel, HeapTuple tuple)
{
	bool		isnull;

	return column_uuid(tuple, rel, RESULT_ID, &isnull);
}

void
tdo_attempt_insert(const TdoAttempt *attempt)
{
	Datum		values[ATTEMPT_NATTS];
	bool		nulls[ATTEMPT_NATTS] = {false};

	values[ATTEMPT_ID - 1] = UUIDPGetDatum(&attempt->run_id);
	values[ATTEMPT_ATTEMPT - 1] = Int32GetDatum(attempt->attempt);
	values[ATTEMPT_STARTED_AT - 1] = TimestampTzGetDatum(attempt->started_at);
	values[ATTEMPT_FINISHED_AT - 1] = TimestampTzGetDatum(attempt->finished_at);
	values[ATTEMPT_RETRY_AT - 1] = TimestampTzGetDatum(attempt->retry_at);
	set_jsonb(values, nulls, ATTEMPT_ERROR, attempt->error);
	insert_in_day(TDO_ATTEMPT, &attempt->run_id, values, nulls);
}

/* --------------------------------------------------------------------- live */

static void
live_values(const TdoLive *live, Datum *values, bool *nulls)
{
	memset(nulls, false, LIVE_NATTS);
	values[LIVE_ID - 1] = UUIDPGetDatum(&live->run_id);
	values[LIVE_ORDER_KEY - 1] = Int64GetDatum(live->order_key);
	values[LIVE_OWNER - 1] = ObjectIdGetDatum(live->owner);
	values[LIVE_ATTEMPT - 1] = Int16GetDatum((int16) live->attempt);
	values[LIVE_CRASHES - 1] = Int16GetDatum((int16) live->crashes);
	values[LIVE_STATE - 1] = CharGetDatum(live->state);
	values[LIVE_CLAIM - 1] = UUIDPGetDatum(&live->claim);
	nulls[LIVE_CLAIM - 1] = !live->has_claim;
}

void
tdo_live_insert(const TdoLive *live)
{
	Datum		values[LIVE_NATTS];
	bool		nulls[LIVE_NATTS];

	live_values(live, values, nulls);
	insert_row(tdo_objects()->live, values, nulls);
}

void
tdo_live_read(Relation rel, HeapTuple tuple, TdoLive *live)
{
	bool		isnull;

	live->run_id = column_uuid(tuple, rel, LIVE_ID, &isnull);
	live->order_key = DatumGetInt64(column(tuple, rel, LIVE_ORDER_KEY, &isnull));
	live->owner = DatumGetObjectId(column(tuple, rel, LIVE_OWNER, &isnull));
	live->attempt = DatumGetInt16(column(tuple, rel, LIVE_ATTEMPT, &isnull));
	live->crashes = DatumGetInt16(column(tuple, rel, LIVE_CRASHES, &isnull));
	live->state = DatumGetChar(column(tuple, rel, LIVE_STATE, &isnull));
	live->claim = column_uuid(tuple, rel, LIVE_CLAIM, &isnull);
	live->has_claim = !isnull;
	live->tid = tuple->t_self;
	live->xmin = HeapTupleHeaderGetXmin(tuple->t_data);
}

/*
 * A look with SnapshotSelf can miss a row that is updated meanwhile: it finds
 * the new version before, and the old one after the commit.  So nothing found
 * is believed only of an MVCC snapshot.
 */
static bool
find_live(Relation rel, Oid index, const pg_uuid_t *id, TdoLive *live)
{
	SysScanDesc scan = scan_by_id(rel, index, id, SnapshotSelf);
	HeapTuple	tuple = systable_getnext(scan);
	bool		found = HeapTupleIsValid(tuple);

	if (found)
		tdo_live_read(rel, tuple, live);
	systable_endscan(scan);
	if (!found)
	{
		Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());

		scan = scan_by_id(rel, index, id, latest);
		tuple = systable_getnext(scan);
		found = HeapTupleIsValid(tuple);
		if (found)
			tdo_live_read(rel, tuple, live);
		systable_endscan(scan);
		UnregisterSnapshot(latest);
	}
	return found;
}

bool
tdo_live_get(const pg_uuid_t *id, TdoLive *live)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->live, AccessShareLock);
	bool		found = find_live(rel, o->live_pkey, id, live);

	table_close(rel, AccessShareLock);
	return found;
}

bool
tdo_live_in_day(int day)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->live, AccessShareLock);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	pg_uuid_t	from = tdo_day_bound(day);
	pg_uuid_t	to = tdo_day_bound(day + 1);
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&keys[0], LIVE_ID, BTGreaterEqualStrategyNumber, F_UUID_GE, UUIDPGetDatum(&from));
	ScanKeyInit(&keys[1], LIVE_ID, BTLessStrategyNumber, F_UUID_LT, UUIDPGetDatum(&to));
	scan = systable_beginscan(rel, o->live_pkey, true, latest, 2, keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	table_close(rel, AccessShareLock);
	return found;
}

static TM_Result
lock_tuple(Relation rel, ItemPointer tid, LockWaitPolicy policy)
{
	HeapTupleData locked;
	Buffer		buffer;
	TM_FailureData failure;
	TM_Result	result;

	locked.t_self = *tid;
	result = heap_lock_tuple(rel, &locked, GetCurrentCommandId(false),
							 LockTupleExclusive, policy, false, &buffer, &failure);
	ReleaseBuffer(buffer);
	return result;
}

bool
tdo_live_lock_tuple(Relation rel, HeapTuple tuple)
{
	return lock_tuple(rel, &tuple->t_self, LockWaitSkip) == TM_Ok;
}

/* with `state`: one in another state is as good as gone, and not waited for */
static TdoLock
lock_live(const pg_uuid_t *id, LockWaitPolicy policy, char state, TdoLive *live)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->live, RowExclusiveLock);
	TdoLock		answer;

	/* rows this command has inserted must be lockable */
	CommandCounterIncrement();
	for (;;)
	{
		bool		found = find_live(rel, o->live_pkey, id, live) &&
		(state == 0 || live->state == state);
		TM_Result	result = found ? lock_tuple(rel, &live->tid, policy) : TM_Deleted;

		if (!found)
			answer = TDO_LOCK_GONE;
		else if (result == TM_Ok)
			answer = TDO_LOCKED;
		else if (result == TM_WouldBlock)
			answer = TDO_LOCK_BUSY;
		else
		{
			/* changed or deleted while we looked: look again */
			CHECK_FOR_INTERRUPTS();
			continue;
		}
		break;
	}
	table_close(rel, NoLock);
	return answer;
}

TdoLock
tdo_live_lock(const pg_uuid_t *id, LockWaitPolicy policy, TdoLive *live)
{
	return lock_live(id, policy, 0, live);
}

TdoLock
tdo_live_lock_delayed(const pg_uuid_t *id, TdoLive *live)
{
	return lock_live(id, LockWaitBlock, TDO_LIVE_DELAYED, live);
}

void
tdo_live_delete(const TdoLive *live)
{
	Relation	rel = table_open(tdo_objects()->live, RowExclusiveLock);
	ItemPointerData tid = live->tid;

	CatalogTupleDelete(rel, &tid);
	table_close(rel, NoLock);
}

void
tdo_live_update(const TdoLive *live)
{
	Relation	rel = table_open(tdo_objects()->live, RowExclusiveLock);
	ItemPointerData tid = live->tid;
	Datum		values[LIVE_NATTS];
	bool		nulls[LIVE_NATTS];
	HeapTuple	tuple;

	live_values(live, values, nulls);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleUpdate(rel, &tid, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

/* -------------------------------------------------------------------- timer */

void
tdo_timer_insert(const pg_uuid_t *id, TimestampTz due)
{
	Datum		values[TIMER_NATTS];
	bool		nulls[TIMER_NATTS] = {false};

	values[TIMER_ID - 1] = UUIDPGetDatum(id);
	values[TIMER_DUE - 1] = TimestampTzGetDatum(due);
	insert_row(tdo_objects()->timer, values, nulls);
}

void
tdo_timer_delete(const pg_uuid_t *id)
{
	const TdoObjects *o = tdo_objects();

	delete_by_id(o->timer, o->timer_pkey, id);
}

TimestampTz
tdo_timer_next(void)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->timer, AccessShareLock);
	Relation	index = index_open(o->timer_due, AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 0, NULL);
	HeapTuple	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	TimestampTz due = 0;

	if (HeapTupleIsValid(tuple))
		due = column_time(tuple, rel, TIMER_DUE);
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return due;
}

/* a timer whose run is locked by us, or gone */
typedef struct Due
{
	pg_uuid_t	id;
	TimestampTz at;
	bool		has_live;
	TdoLive		live;
} Due;

static void
fire(Due *due)
{
	if (due->has_live && due->live.state == TDO_LIVE_DELAYED)
	{
		due->live.state = TDO_LIVE_QUEUED;
		due->live.order_key = due->at;
		tdo_live_update(&due->live);
		tdo_wake_queued(due->live.owner, due->live.order_key);
	}
	tdo_timer_delete(&due->id);
}

/*
 * The live row is locked first, as everywhere.  One that somebody holds (a
 * cancel not yet committed) keeps its timer for a later look, and must not
 * keep the others back: the limit counts what can be fired.
 */
int
tdo_timers_fire(TimestampTz now, int limit)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->timer, RowExclusiveLock);
	Relation	index = index_open(o->timer_due, AccessShareLock);
	Due		   *due = palloc(sizeof(Due) * limit);
	SysScanDesc scan;
	HeapTuple	tuple;
	ScanKeyData key;
	int			n = 0;

	ScanKeyInit(&key, TIMER_DUE, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(now));
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 1, &key);
	while (n < limit &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool		isnull;
		TdoLock		lock;

		CHECK_FOR_INTERRUPTS();
		due[n].id = column_uuid(tuple, rel, TIMER_ID, &isnull);
		due[n].at = column_time(tuple, rel, TIMER_DUE);
		lock = tdo_live_lock(&due[n].id, LockWaitSkip, &due[n].live);
		if (lock == TDO_LOCK_BUSY)
			continue;
		due[n].has_live = lock == TDO_LOCKED;
		n++;
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);

	for (int i = 0; i < n; i++)
		fire(&due[i]);
	pfree(due);
	return n;
}

/* ---------------------------------------------------------------- for the views */

static bool
live_as_of(const pg_uuid_t *id, Snapshot snapshot, TdoLive *live)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->live, AccessShareLock);
	SysScanDesc scan = scan_by_id(rel, o->live_pkey, id, snapshot);
	HeapTuple	tuple = systable_getnext(scan);
	bool		found = HeapTupleIsValid(tuple);

	if (found)
		tdo_live_read(rel, tuple, live);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static TimestampTz
timer_as_of(const pg_uuid_t *id, Snapshot snapshot)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->timer, AccessShareLock);
	SysScanDesc scan = scan_by_id(rel, o->timer_pkey, id, snapshot);
	HeapTuple	tuple = systable_getnext(scan);
	TimestampTz due = HeapTupleIsValid(tuple) ? column_time(tuple, rel, TIMER_DUE) : 0;

	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return due;
}

/* the error of that attempt, or NULL */
static Jsonb *
attempt_error_as_of(const pg_uuid_t *id, int attempt, Snapshot snapshot)
{
	Oid			part = tdo_partition(TDO_ATTEMPT, tdo_day_of(id));
	Relation	rel = OidIsValid(part) ? try_relation_open(part, AccessShareLock) : NULL;
	SysScanDesc scan;
	HeapTuple	tuple;
	Jsonb	   *error = NULL;
	bool		isnull;

	if (rel == NULL)
		return NULL;
	scan = scan_by_id(rel, tdo_primary_key(rel), id, snapshot);
	while (error == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (DatumGetInt32(column(tuple, rel, ATTEMPT_ATTEMPT, &isnull)) == attempt)
			error = column_jsonb(tuple, rel, ATTEMPT_ERROR);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return error;
}

void
tdo_state_as_of(const pg_uuid_t *id, Snapshot snapshot, bool wide, TdoState *state)
{
	memset(state, 0, sizeof(*state));
	state->is_final = get_result(id, snapshot, wide, &state->result);
	if (state->is_final)
		return;
	state->is_live = live_as_of(id, snapshot, &state->live);
	if (!state->is_live)
		return;
	state->due = timer_as_of(id, snapshot);
	if (wide && state->live.attempt > 0)
		state->error = attempt_error_as_of(id, state->live.attempt, snapshot);
}
