/*-------------------------------------------------------------------------
 *
 * ready.c
 *	  Which runs are next: the one module that knows how claims find them.
 *
 * Job: find and lock queued runs over the index live_order
 * (owner, state, order_key, run_id).  A ready index in shared memory will take
 * its place; nothing outside this file depends on how.
 * Called by: executor, scheduler (owners), run_now, quota.c (the count).
 * Locks: live rows FOR UPDATE SKIP LOCKED, to the end of the transaction.
 * Crash: locks vanish, and the runs are as claimable as before.
 *
 * Two claimers can never have one run: a row lock is held from the claim to
 * the end of the transaction that also writes the result, and a row that
 * changed between the scan and the lock is passed over.
 *
 * The cursor keeps claims from walking over the dead entries of finished runs
 * again and again, while vacuum has not removed them (an old snapshot may keep
 * it from that).  Runs commit out of order: whoever makes one claimable lowers
 * the executors' low_key to its order key, after it is visible, and before it
 * looks whom to wake.  What slips through (a lost wake-up, runs that a batch
 * gave back) is found by the scheduler, which lowers it to the start, and by a
 * busy executor, which looks from the start once a second.  A sleeping executor
 * looks when it is woken, and not before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/table.h"
#include "access/transam.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "clock.h"
#include "ready.h"
#include "slot.h"
#include "store.h"
#include "triggerdo.h"

#define FULL_SCAN_EVERY_US	1000000

/* column numbers of live, as the index has them */
#define LIVE_COL_ORDER_KEY	2
#define LIVE_COL_OWNER		3
#define LIVE_COL_STATE		6

static int
claim_from(Oid owner, int64 from_key, int limit, TdoLive *claimed)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->live, RowExclusiveLock);
	Relation	index = index_open(o->live_order, AccessShareLock);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;
	int			n = 0;

	ScanKeyInit(&keys[0], LIVE_COL_OWNER, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(owner));
	ScanKeyInit(&keys[1], LIVE_COL_STATE, BTEqualStrategyNumber, F_CHAREQ,
				CharGetDatum(TDO_LIVE_QUEUED));
	ScanKeyInit(&keys[2], LIVE_COL_ORDER_KEY, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum(from_key));
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 3, keys);
	while (n < limit &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		if (!tdo_live_lock_tuple(rel, tuple))
			continue;
		tdo_live_read(rel, tuple, &claimed[n++]);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
	return n;
}

void
tdo_ready_rewind(TdoReadyCursor *cursor)
{
	cursor->from_key = PG_INT64_MIN;
}

int
tdo_ready_claim(Oid owner, int limit, TdoLive *claimed, TdoReadyCursor *cursor)
{
	int64		now = tdo_monotonic_us();
	bool		due = now - cursor->full_scan_us >= FULL_SCAN_EVERY_US;
	int			n;

	/* taken before the look: what is queued later lowers it again */
	if (cursor->low_key)
	{
		/* (a local: Min evaluates its arguments twice) */
		int64		low_key = (int64) pg_atomic_exchange_u64(cursor->low_key,
															 (uint64) PG_INT64_MAX);

		cursor->from_key = Min(cursor->from_key, low_key);
	}
	/* a run that wakes a resting executor does not wait for the long look */
	if (due && !cursor->dry)
		cursor->from_key = PG_INT64_MIN;
	n = claim_from(owner, cursor->from_key, limit, claimed);
	if (n == 0 && due && cursor->from_key != PG_INT64_MIN)
	{
		cursor->from_key = PG_INT64_MIN;
		n = claim_from(owner, cursor->from_key, limit, claimed);
	}
	if (cursor->from_key == PG_INT64_MIN)
		cursor->full_scan_us = now;
	cursor->from_key = n > 0 ? claimed[0].order_key : PG_INT64_MAX;
	cursor->dry = n == 0;
	return n;
}

bool
tdo_ready_claim_one(const pg_uuid_t *id, TdoLive *claimed)
{
	return tdo_live_lock(id, LockWaitSkip, claimed) == TDO_LOCKED &&
		claimed->state == TDO_LIVE_QUEUED;
}

/* the first owner above the given one that has a queued run, by one index descent */
static bool
next_owner(Relation rel, Relation index, Oid above, Oid *owner)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key, LIVE_COL_OWNER, BTGreaterStrategyNumber, F_OIDGT,
				ObjectIdGetDatum(above));
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 1, &key);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		TdoLive		live;

		tdo_live_read(rel, tuple, &live);
		*owner = live.owner;
		found = true;
	}
	systable_endscan_ordered(scan);
	return found;
}

/* is the row locked, or being deleted, by a transaction that goes on? */
static bool
is_taken(HeapTuple tuple)
{
	uint16		infomask = tuple->t_data->t_infomask;
	TransactionId xmax = HeapTupleHeaderGetRawXmax(tuple->t_data);

	if (infomask & HEAP_XMAX_INVALID)
		return false;
	if (infomask & HEAP_XMAX_IS_MULTI)
		return MultiXactIdIsRunning(xmax, HEAP_XMAX_IS_LOCKED_ONLY(infomask));
	return TransactionIdIsInProgress(xmax);
}

static bool
has_queued(Relation rel, Relation index, Oid owner)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], LIVE_COL_OWNER, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(owner));
	ScanKeyInit(&keys[1], LIVE_COL_STATE, BTEqualStrategyNumber, F_CHAREQ,
				CharGetDatum(TDO_LIVE_QUEUED));
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 2, keys);
	while (!found &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		found = !is_taken(tuple);
	}
	systable_endscan_ordered(scan);
	return found;
}

static int
void_claims_of(Relation rel, Relation index, Oid owner, pg_uuid_t *ids, int limit)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	int			n = 0;

	ScanKeyInit(&keys[0], LIVE_COL_OWNER, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(owner));
	ScanKeyInit(&keys[1], LIVE_COL_STATE, BTEqualStrategyNumber, F_CHAREQ,
				CharGetDatum(TDO_LIVE_CLAIMED));
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 2, keys);
	while (n < limit &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		TdoLive		live;

		CHECK_FOR_INTERRUPTS();
		tdo_live_read(rel, tuple, &live);
		if (tdo_slot_find_run(&live.run_id, NULL) == TDO_NOT_IN_HAND)
			ids[n++] = live.run_id;
	}
	systable_endscan_ordered(scan);
	return n;
}

int
tdo_ready_void_claims(pg_uuid_t *ids, int limit)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->live, AccessShareLock);
	Relation	index = index_open(o->live_order, AccessShareLock);
	Oid			owner = InvalidOid;
	int			n = 0;

	while (n < limit && next_owner(rel, index, owner, &owner))
		n += void_claims_of(rel, index, owner, ids + n, limit - n);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return n;
}

/*
 * A dirty read, because sessions that enqueue at the same time must see each
 * other's runs, or each could fill the quota by itself.
 */
int
tdo_ready_count(Oid owner, int limit)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->live, AccessShareLock);
	Relation	index = index_open(o->live_order, AccessShareLock);
	SnapshotData dirty;
	ScanKeyData key;
	SysScanDesc scan;
	int			n = 0;

	InitDirtySnapshot(dirty);
	ScanKeyInit(&key, LIVE_COL_OWNER, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(owner));
	scan = systable_beginscan_ordered(rel, index, &dirty, 1, &key);
	while (n < limit &&
		   HeapTupleIsValid(systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		n++;
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return n;
}

List *
tdo_ready_owners(void)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->live, AccessShareLock);
	Relation	index = index_open(o->live_order, AccessShareLock);
	List	   *owners = NIL;
	Oid			owner = InvalidOid;

	while (next_owner(rel, index, owner, &owner))
	{
		CHECK_FOR_INTERRUPTS();
		if (has_queued(rel, index, owner))
			owners = lappend_oid(owners, owner);
	}
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return owners;
}
