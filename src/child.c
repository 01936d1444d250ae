/*-------------------------------------------------------------------------
 *
 * child.c
 *	  Which runs that are not final were triggered by which run.
 *
 * Job: rows of _triggerdo.child, by which the cancel of a run finds its
 * children.
 * Called by: transition.c (a child begins, a child ends), api_cancel.c.
 * Locks: ROW EXCLUSIVE on the table, to the end of the transaction.  A row is
 * its child's: who deletes it has the child's live row locked.
 * Crash: rows come and go with the child's live row, in its transactions.
 *
 * Rows are written only for children that others can see while their parent
 * goes on: of procedures and commands, which commit in between.  A function's
 * appear with its result, or not at all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "child.h"
#include "store.h"

/* column numbers: sql/30_tables_0_2_0.sql */
enum
{
	CHILD_PARENT = 1, CHILD_ID, CHILD_NATTS = CHILD_ID
};

void
tdo_child_insert(const pg_uuid_t *parent, const pg_uuid_t *child)
{
	Relation	rel = table_open(tdo_objects()->child, RowExclusiveLock);
	Datum		values[CHILD_NATTS] = {UUIDPGetDatum(parent), UUIDPGetDatum(child)};
	bool		nulls[CHILD_NATTS] = {false};
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

void
tdo_child_delete(const pg_uuid_t *parent, const pg_uuid_t *child)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->child, RowExclusiveLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], CHILD_PARENT, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(parent));
	ScanKeyInit(&keys[1], CHILD_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(child));
	scan = systable_beginscan(rel, o->child_pkey, true, SnapshotSelf, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* (rows are never updated, so SnapshotSelf misses none that is committed) */
pg_uuid_t *
tdo_children(const pg_uuid_t *parent, int *n)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel = table_open(o->child, AccessShareLock);
	Relation	index = index_open(o->child_pkey, AccessShareLock);
	pg_uuid_t  *children = NULL;
	int			room = 0;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	*n = 0;
	ScanKeyInit(&key, CHILD_PARENT, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(parent));
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (*n == room)
		{
			room = Max(16, room * 2);
			children = children ? repalloc_huge(children, sizeof(pg_uuid_t) * room)
				: palloc(sizeof(pg_uuid_t) * room);
		}
		children[(*n)++] = *DatumGetUUIDP(heap_getattr(tuple, CHILD_ID, RelationGetDescr(rel), &isnull));
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return children;
}
