/*-------------------------------------------------------------------------
 *
 * idempotency.c
 *	  Keys under which a task is triggered once.
 *
 * Job: give a key to exactly one run among any number of callers; free it when the
 * run ended badly, when it is reset, and when it expires.
 * Called by: transition.c (enqueue, end of a run), api_task.c (drop_task),
 * api_idempotency.c (reset), scheduler (sweep).
 * Locks: ROW EXCLUSIVE on idempotency until the transaction ends; a latch for each
 * key (an object lock that no user can take, by the hash of the key), held from a
 * look at the key to the change of its row, and never while waiting for anything.
 * Between the two, claim and reset wait for the transaction that changes the key.
 * Crash: a key is its row, all or nothing with the transaction of its run.
 *
 * The row holds the SHA-256 of the key, so a key may be of any length.  It holds
 * the task's owner, too: a call may be under way while the task is dropped and its
 * id defined anew by another role, and what it leaves is no key of the new task.
 * The look
 * is dirty, because what another transaction has not committed decides too: who
 * finds its row waits for its end, and looks again.  It cannot miss a row that is
 * being replaced, because rows change under the latch only.  The latch is what
 * makes look and insert one step; a speculative insertion would be the other
 * way, which works where every change is an insert, and here some are a delete
 * and an insert.  A lock for each key to the end of the transaction would fill the
 * lock table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "clock.h"
#include "idempotency.h"
#include "rows.h"
#include "store.h"
#include "triggerdo.h"

/* deleted in one transaction, and how often a sweep begins */
#define SWEEP_AT_ONCE		1000
#define SWEEP_EVERY_US		USECS_PER_MINUTE

/* column numbers: sql/30_tables_0_2_0.sql */
enum
{
	KEY_TASK = 1, KEY_OWNER, KEY_HASH, KEY_RUN, KEY_EXPIRES, KEY_NATTS = KEY_EXPIRES
};

/* one key, its table open */
typedef struct Key
{
	Relation	rel;
	Datum		task;
	Datum		owner;
	Datum		hash;			/* bytea of 32 bytes */
} Key;

/* what a look at a key finds */
typedef struct Held
{
	TransactionId busy;			/* who is about to change it; or invalid */
	bool		found;			/* then: */
	ItemPointerData tid;
	pg_uuid_t	run;
	TimestampTz expires;
} Held;

/* ------------------------------------------------------------------ one key */

static void
open_key(Key *k, const char *task, Oid owner, const char *key)
{
	k->rel = table_open(tdo_objects()->idempotency, RowExclusiveLock);
	k->task = CStringGetTextDatum(task);
	k->owner = ObjectIdGetDatum(owner);
	k->hash = DirectFunctionCall1(sha256_bytea, CStringGetTextDatum(key));
}

/* the table lock stays until the end, as any INSERT's does */
static void
close_key(Key *k)
{
	table_close(k->rel, NoLock);
}

/* two keys that share a latch hold each other up for microseconds */
static Oid
latch_of(const Key *k)
{
	Oid			number;

	memcpy(&number, VARDATA_ANY(DatumGetPointer(k->hash)), sizeof(number));
	return number;
}

/* a class that no catalog has, so nobody else takes such a lock */
static void
take_latch(const Key *k)
{
	LockDatabaseObject(RelationGetRelid(k->rel), latch_of(k), 0, ExclusiveLock);
}

static void
release_latch(const Key *k)
{
	UnlockDatabaseObject(RelationGetRelid(k->rel), latch_of(k), 0, ExclusiveLock);
}

static void
read_row(Relation rel, HeapTuple tuple, Held *held)
{
	bool		isnull;

	held->found = true;
	held->tid = tuple->t_self;
	held->run = *DatumGetUUIDP(heap_getattr(tuple, KEY_RUN, RelationGetDescr(rel), &isnull));
	held->expires = DatumGetTimestampTz(heap_getattr(tuple, KEY_EXPIRES,
													 RelationGetDescr(rel), &isnull));
}

/* our own changes count as made, those of others as under way */
static void
look(const Key *k, Held *held)
{
	SnapshotData dirty;
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;

	memset(held, 0, sizeof(*held));
	InitDirtySnapshot(dirty);
	ScanKeyInit(&keys[0], KEY_TASK, BTEqualStrategyNumber, F_TEXTEQ, k->task);
	ScanKeyInit(&keys[1], KEY_OWNER, BTEqualStrategyNumber, F_OIDEQ, k->owner);
	ScanKeyInit(&keys[2], KEY_HASH, BTEqualStrategyNumber, F_BYTEAEQ, k->hash);
	scan = systable_beginscan(k->rel, tdo_objects()->idempotency_pkey, true, &dirty, 3, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		held->busy = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		if (TransactionIdIsValid(held->busy))
			break;
		read_row(k->rel, tuple, held);
	}
	systable_endscan(scan);
}

/* with the latch; who is busy, nobody has found out yet */
static bool
try_key(const Key *k, Held *held)
{
	take_latch(k);
	look(k, held);
	if (!TransactionIdIsValid(held->busy))
		return true;
	release_latch(k);
	return false;
}

/* the latch is ours, and what it guards is settled */
static void
await_key(const Key *k, Held *held)
{
	while (!try_key(k, held))
	{
		CHECK_FOR_INTERRUPTS();
		/* its subtransaction's rollback is enough, its commit is not */
		XactLockTableWait(held->busy, NULL, NULL, XLTW_None);
	}
}

static void
delete_row(const Key *k, const Held *held)
{
	ItemPointerData tid = held->tid;

	/* perhaps this very command has inserted it */
	CommandCounterIncrement();
	CatalogTupleDelete(k->rel, &tid);
}

static void
insert_row(const Key *k, const pg_uuid_t *run, TimestampTz expires)
{
	Datum		values[KEY_NATTS];
	bool		nulls[KEY_NATTS] = {false};
	HeapTuple	tuple;

	values[KEY_TASK - 1] = k->task;
	values[KEY_OWNER - 1] = k->owner;
	values[KEY_HASH - 1] = k->hash;
	values[KEY_RUN - 1] = UUIDPGetDatum(run);
	values[KEY_EXPIRES - 1] = TimestampTzGetDatum(expires);
	tuple = heap_form_tuple(RelationGetDescr(k->rel), values, nulls);
	CatalogTupleInsert(k->rel, tuple);
	heap_freetuple(tuple);
}

/*
 * A run that ended badly has freed its key, unless the key was busy at that
 * moment; so its result is asked, too.
 */
static bool
is_taken(const Held *held)
{
	return held->found && held->expires > tdo_now() &&
		!tdo_frees_key(tdo_result_status(&held->run));
}

/* by as long as the caller has waited: or a key might be given out expired */
static TimestampTz
later(TimestampTz expires, TimestampTz asked)
{
	TimestampTz now = tdo_now();

	/* (a clock that was set back) */
	if (TIMESTAMP_NOT_FINITE(expires) || now <= asked ||
		!IS_VALID_TIMESTAMP(expires + (now - asked)))
		return expires;
	return expires + (now - asked);
}

/* ------------------------------------------------------------------ the calls */

bool
tdo_idempotency_claim(const char *task, Oid owner, const char *key, TimestampTz expires,
					  pg_uuid_t *run)
{
	TimestampTz asked = tdo_now();
	Key			k;
	Held		held;
	bool		taken;

	open_key(&k, task, owner, key);
	await_key(&k, &held);
	taken = is_taken(&held);
	if (taken)
		*run = held.run;
	else
	{
		if (held.found)
			delete_row(&k, &held);
		/* minted now, and not before a wait: the id names the day */
		tdo_new_run_id(run->data);
		insert_row(&k, run, later(expires, asked));
	}
	release_latch(&k);
	close_key(&k);
	return taken;
}

bool
tdo_idempotency_free(const char *task, Oid owner, const char *key, const pg_uuid_t *run)
{
	Key			k;
	Held		held;
	bool		settled;

	open_key(&k, task, owner, key);
	settled = try_key(&k, &held);
	if (settled)
	{
		/* it may have expired, or been reset, and be another run's */
		if (held.found && memcmp(&held.run, run, UUID_LEN) == 0)
			delete_row(&k, &held);
		release_latch(&k);
	}
	close_key(&k);
	return settled;
}

bool
tdo_idempotency_reset(const char *task, Oid owner, const char *key)
{
	Key			k;
	Held		held;
	bool		taken;

	open_key(&k, task, owner, key);
	await_key(&k, &held);
	taken = is_taken(&held);
	if (held.found)
		delete_row(&k, &held);
	release_latch(&k);
	close_key(&k);
	return taken;
}

/* ------------------------------------------------------------------ many keys */

/* delete what a scan has just shown; false: somebody else is at it, or was */
static bool
delete_shown(Relation rel, HeapTuple tuple, TimestampTz expired_by)
{
	Key			k;
	Held		held;
	bool		isnull;
	bool		deleted = false;

	k.rel = rel;
	k.task = heap_getattr(tuple, KEY_TASK, RelationGetDescr(rel), &isnull);
	k.owner = heap_getattr(tuple, KEY_OWNER, RelationGetDescr(rel), &isnull);
	k.hash = heap_getattr(tuple, KEY_HASH, RelationGetDescr(rel), &isnull);
	if (!try_key(&k, &held))
		return false;
	if (held.found && held.expires <= expired_by)
	{
		delete_row(&k, &held);
		deleted = true;
	}
	release_latch(&k);
	return deleted;
}

void
tdo_idempotency_forget_task(const char *task)
{
	Relation	rel = table_open(tdo_objects()->idempotency, RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, KEY_TASK, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(task));
	scan = systable_beginscan(rel, tdo_objects()->idempotency_pkey, true, SnapshotSelf, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		(void) delete_shown(rel, tuple, DT_NOEND);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* *from: where in time to begin, and where it ended; gives how many went */
static int
sweep(TimestampTz *from, TimestampTz now)
{
	Relation	rel = table_open(tdo_objects()->idempotency, RowExclusiveLock);
	Relation	index = index_open(tdo_objects()->idempotency_expires, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	int			n = 0;

	ScanKeyInit(&keys[0], KEY_EXPIRES, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
				TimestampTzGetDatum(*from));
	ScanKeyInit(&keys[1], KEY_EXPIRES, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(now));
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 2, keys);
	while (n < SWEEP_AT_ONCE &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		Held		held;

		CHECK_FOR_INTERRUPTS();
		read_row(rel, tuple, &held);
		*from = held.expires;
		if (delete_shown(rel, tuple, now))
			n++;
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
	return n;
}

/*
 * A sweep of many steps does not begin each at the dead rows of those before it,
 * which cannot go while somebody holds an old snapshot.  What was busy, or
 * committed after it had expired, is the next sweep's.
 */
bool
tdo_idempotency_sweep(TimestampTz now)
{
	static TimestampTz last = DT_NOBEGIN;
	static TimestampTz from = DT_NOBEGIN;

	/* (a clock that was set back) */
	if (from == DT_NOBEGIN && now >= last && last != DT_NOBEGIN && now - last < SWEEP_EVERY_US)
		return false;
	last = now;
	if (sweep(&from, now) == SWEEP_AT_ONCE)
		return true;
	from = DT_NOBEGIN;
	return false;
}
