/*-------------------------------------------------------------------------
 *
 * change.c
 *	  Subscriptions to row changes: rows of _triggerdo.change, and the triggers
 *	  that name them.
 *
 * Job: read and write subscriptions; find the one that a trigger is for.
 * Called by: api_change.c, api_task.c (drop_task).
 * Locks: ROW EXCLUSIVE on change to write, ACCESS SHARE to read.  Writers hold
 * the lock that definitions share (tdo_task_lock_definitions).
 * Crash: ordinary heap changes.
 *
 * A subscription has two halves: triggers on the user's table, which name its id,
 * and a row of ours, which says whose it is.  The row has no oid of the table, and
 * the trigger none of the role: a dump takes the triggers along with the table,
 * and the rows with our tables, and resume() binds the row's role by name.  A
 * trigger without a row does nothing; a row without a trigger is swept away.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "change.h"
#include "clock.h"
#include "compat.h"
#include "origin.h"
#include "store.h"

enum
{
	CHANGE_ID = 1, CHANGE_ROLE, CHANGE_TASK, CHANGE_CREATED_AT,
	CHANGE_OPERATIONS, CHANGE_CONDITION, CHANGE_NATTS = CHANGE_CONDITION
};

/* enough for a statement whose rows go to many partitions: each has its own trigger */
#define PLACES	256

typedef struct Place
{
	Oid			trigger;		/* InvalidOid: empty */
	uint64		changes;		/* the count when it was read */
	bool		found;
	TdoChange	change;
} Place;

static Place places[PLACES];
static uint64 changes = 1;
static Oid	change_relation = InvalidOid;

static void
relation_changed(Datum arg, Oid relid)
{
	/* no catalog access in a callback: the oid is the one last used */
	if (!OidIsValid(relid) || relid == change_relation)
		changes++;
}

void
tdo_change_init(void)
{
	tdo_watch_relations(relation_changed);
}

Oid
tdo_change_function(void)
{
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						   CStringGetDatum("on_change"),
						   PointerGetDatum(buildoidvector(NULL, 0)),
						   ObjectIdGetDatum(tdo_objects()->schema));
}

/* --------------------------------------------------------------------- rows */

static SysScanDesc
scan_id(Relation rel, const pg_uuid_t *id, Snapshot snapshot, ScanKey key)
{
	ScanKeyInit(key, CHANGE_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	return systable_beginscan(rel, tdo_objects()->change_pkey, true, snapshot, 1, key);
}

static Datum
column(Relation rel, HeapTuple tuple, int attno)
{
	bool		isnull;

	return heap_getattr(tuple, attno, RelationGetDescr(rel), &isnull);
}

/* an MVCC snapshot, as for a task: no row is missed in the middle of its update */
static bool
read_change(TdoChange *change)
{
	Relation	rel = table_open(tdo_objects()->change, AccessShareLock);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan = scan_id(rel, &change->id, latest, &key);
	HeapTuple	tuple = systable_getnext(scan);
	bool		found = HeapTupleIsValid(tuple);

	if (found)
	{
		change->role = DatumGetObjectId(column(rel, tuple, CHANGE_ROLE));
		text_to_cstring_buffer(DatumGetTextPP(column(rel, tuple, CHANGE_TASK)),
							   change->task, sizeof(change->task));
	}
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	table_close(rel, AccessShareLock);
	return found;
}

void
tdo_change_write(const TdoChange *change, ArrayType *operations, const char *condition)
{
	Relation	rel = table_open(tdo_objects()->change, RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan = scan_id(rel, &change->id, SnapshotSelf, &key);
	HeapTuple	old = systable_getnext(scan);
	Datum		values[CHANGE_NATTS];
	bool		nulls[CHANGE_NATTS] = {false};
	HeapTuple	new;

	values[CHANGE_ID - 1] = UUIDPGetDatum(&change->id);
	values[CHANGE_ROLE - 1] = ObjectIdGetDatum(change->role);
	values[CHANGE_TASK - 1] = CStringGetTextDatum(change->task);
	values[CHANGE_CREATED_AT - 1] = HeapTupleIsValid(old) ? column(rel, old, CHANGE_CREATED_AT)
		: TimestampTzGetDatum(tdo_now());
	values[CHANGE_OPERATIONS - 1] = PointerGetDatum(operations);
	nulls[CHANGE_CONDITION - 1] = condition == NULL;
	values[CHANGE_CONDITION - 1] = condition ? CStringGetTextDatum(condition) : (Datum) 0;
	new = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(rel, &old->t_self, new);
	else
		CatalogTupleInsert(rel, new);
	systable_endscan(scan);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
}

bool
tdo_change_delete(const pg_uuid_t *id)
{
	Relation	rel = table_open(tdo_objects()->change, RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan = scan_id(rel, id, SnapshotSelf, &key);
	HeapTuple	old = systable_getnext(scan);
	bool		found = HeapTupleIsValid(old);

	if (found)
		CatalogTupleDelete(rel, &old->t_self);
	systable_endscan(scan);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	return found;
}

int
tdo_change_delete_of_task(const char *task)
{
	Relation	rel = table_open(tdo_objects()->change, RowExclusiveLock);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, latest, 0, NULL);
	HeapTuple	tuple;
	int			n = 0;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (strcmp(TextDatumGetCString(column(rel, tuple, CHANGE_TASK)), task) != 0)
			continue;
		CatalogTupleDelete(rel, &tuple->t_self);
		n++;
	}
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	if (n > 0)
		CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	return n;
}

/* ----------------------------------------------------------------- triggers */

/* a superuser may have made a trigger by hand: an id that is none is found nowhere */
static bool
parse_id(const char *s, pg_uuid_t *id)
{
	static const char form[] = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";
	int			digits = 0;

	if (strlen(s) != sizeof(form) - 1)
		return false;
	for (int i = 0; form[i] != '\0'; i++)
	{
		int			digit = s[i] >= 'a' ? s[i] - 'a' + 10 : s[i] - '0';

		if (form[i] == '-' ? s[i] != '-' : digit < 0 || digit > 15)
			return false;
		if (form[i] == '-')
			continue;
		id->data[digits / 2] = digits % 2 == 0 ? digit << 4 : id->data[digits / 2] | digit;
		digits++;
	}
	return true;
}

static HTAB *
ids_of_rows(Relation rel)
{
	HASHCTL		ctl = {0};
	HTAB	   *ids;
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, latest, 0, NULL);
	HeapTuple	tuple;

	ctl.keysize = sizeof(pg_uuid_t);
	ctl.entrysize = sizeof(pg_uuid_t);
	ctl.hcxt = CurrentMemoryContext;
	ids = hash_create("triggerdo subscriptions", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		(void) hash_search(ids, DatumGetUUIDP(column(rel, tuple, CHANGE_ID)), HASH_ENTER, NULL);
	}
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	return ids;
}

/* take out those that a trigger names */
static void
remove_named(HTAB *ids)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	Oid			function = tdo_change_function();
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
		bytea	   *args;
		char	   *first;
		pg_uuid_t	id;

		CHECK_FOR_INTERRUPTS();
		if (form->tgfoid != function || form->tgnargs < 1)
			continue;
		args = DatumGetByteaPP(column(rel, tuple, Anum_pg_trigger_tgargs));
		/* (each argument ends with a zero byte) */
		first = pnstrdup(VARDATA_ANY(args), VARSIZE_ANY_EXHDR(args));
		if (parse_id(first, &id))
			(void) hash_search(ids, &id, HASH_REMOVE, NULL);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

void
tdo_change_sweep(void)
{
	Relation	rel;
	HTAB	   *ids;
	HASH_SEQ_STATUS status;
	pg_uuid_t  *id;

	/* half of a dump may be loaded: the rows, and not yet the triggers */
	if (tdo_origin()->standing == TDO_UNBOUND)
		return;
	rel = table_open(tdo_objects()->change, RowExclusiveLock);
	/* the rows first: who committed both halves since is not among them */
	CommandCounterIncrement();
	ids = ids_of_rows(rel);
	remove_named(ids);
	hash_seq_init(&status, ids);
	while ((id = hash_seq_search(&status)) != NULL)
		(void) tdo_change_delete(id);
	hash_destroy(ids);
	table_close(rel, NoLock);
}

Oid
tdo_change_target(Oid trigger)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	Oid			target = InvalidOid;

	while (OidIsValid(trigger))
	{
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(trigger));
		scan = systable_beginscan(rel, TriggerOidIndexId, true, NULL, 1, &key);
		tuple = systable_getnext(scan);
		trigger = InvalidOid;
		if (HeapTupleIsValid(tuple))
		{
			Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);

			target = form->tgrelid;
			trigger = form->tgparentid;
		}
		systable_endscan(scan);
	}
	table_close(rel, AccessShareLock);
	return target;
}

static void
fill_place(Place *place, const Trigger *trigger, uint64 now)
{
	TdoChange	change = {0};
	bool		found;

	place->trigger = InvalidOid;	/* an error leaves it empty */
	found = trigger->tgnargs > TDO_CHANGE_ARG_ID &&
		parse_id(trigger->tgargs[TDO_CHANGE_ARG_ID], &change.id) &&
		read_change(&change);
	if (found)
		change.target = tdo_change_target(trigger->tgoid);
	place->change = change;
	place->found = found;
	place->changes = now;
	place->trigger = trigger->tgoid;
}

/*
 * Each call accepts what other sessions have sent, so that a change that comes
 * after drop_task()'s commit triggers nothing.  The target's oid cannot change
 * while the trigger is there.
 */
bool
tdo_change_of(const Trigger *trigger, TdoChange *change)
{
	Place	   *place = &places[trigger->tgoid % PLACES];

	AcceptInvalidationMessages();
	change_relation = tdo_objects()->change;
	if (place->trigger != trigger->tgoid || place->changes != changes)
		fill_place(place, trigger, changes);
	*change = place->change;
	return place->found;
}
