/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  Telling other processes, at commit, what this transaction did.
 *
 * Job: collect requests while a transaction runs, drop those of rolled-back
 * subtransactions, and at commit set latches and signal condition variables.
 * Called by: whoever writes live, timer or result.
 * Locks: none, but for the spinlock of a condition variable, and the shared
 * LWLock where CREATE EXTENSION announces a database.
 * Crash: requests are hints; the scheduler's look at the tables repairs a lost
 * one (a prepared transaction's within a second: see TdoDatabase.prepared).
 *
 * Nothing in the commit callback may allocate, log or fail: the transaction is
 * committed already, an ERROR there takes the whole cluster down.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"

#include "clock.h"
#include "shmem.h"
#include "slot.h"
#include "wake.h"

typedef enum WakeKind
{
	WAKE_QUEUED,
	WAKE_HOOK,
	WAKE_TIMER,
	WAKE_FINISHED,
	WAKE_LAUNCHER
} WakeKind;

typedef struct WakeRequest
{
	WakeKind	kind;
	SubTransactionId subid;
	Oid			owner;			/* WAKE_QUEUED, WAKE_HOOK */
	int			count;			/* WAKE_QUEUED; 0: summed up in another */
	int64		low_key;		/* WAKE_QUEUED: the lowest order key */
	int			bucket;			/* WAKE_FINISHED */
} WakeRequest;

/*
 * A transaction that asks for more than this wakes everything it could mean:
 * overflow is remembered with the lowest subtransaction that caused it, because
 * waking for nothing is harmless and forgetting is not.
 */
#define MAX_REQUESTS 256

static WakeRequest requests[MAX_REQUESTS];
static int	nrequests = 0;
static SubTransactionId overflow = InvalidSubTransactionId;

/* the last subtransaction that locked a queued run */
static SubTransactionId locked = InvalidSubTransactionId;

static void
add_request(WakeKind kind, Oid owner, int64 key, int bucket)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	WakeRequest *r;

	/* the same again, in the same subtransaction: count it */
	for (int i = nrequests - 1; i >= 0 && i >= nrequests - 4; i--)
	{
		r = &requests[i];
		if (r->kind == kind && r->subid == subid && r->owner == owner && r->bucket == bucket)
		{
			r->count++;
			r->low_key = Min(r->low_key, key);
			return;
		}
	}
	if (nrequests == MAX_REQUESTS)
	{
		if (overflow == InvalidSubTransactionId || subid < overflow)
			overflow = subid;
		return;
	}
	r = &requests[nrequests++];
	r->kind = kind;
	r->subid = subid;
	r->owner = owner;
	r->count = 1;
	r->low_key = key;
	r->bucket = bucket;
}

void
tdo_wake_queued(Oid owner, int64 order_key)
{
	add_request(WAKE_QUEUED, owner, order_key, 0);
}

void
tdo_wake_hook(Oid owner)
{
	add_request(WAKE_HOOK, owner, PG_INT64_MAX, 0);
}

void
tdo_wake_timer(void)
{
	add_request(WAKE_TIMER, InvalidOid, 0, 0);
}

void
tdo_wake_finished(const pg_uuid_t *run)
{
	add_request(WAKE_FINISHED, InvalidOid, 0, run->data[15] % TDO_WAIT_BUCKETS);
}

void
tdo_wake_if_rolled_back(void)
{
	locked = GetCurrentSubTransactionId();
}

void
tdo_wake_launcher(void)
{
	add_request(WAKE_LAUNCHER, InvalidOid, 0, 0);
}

/*
 * This database's entry, without the lock: entries never move, and what is
 * read of one that was given to another database wakes somebody for nothing.
 */
static TdoDatabase *
my_database(void)
{
	static TdoDatabase *mine = NULL;

	if (mine != NULL && tdo_database_is_served(mine, MyDatabaseId))
		return mine;
	for (int i = 0; i < TDO_MAX_DATABASES; i++)
	{
		TdoDatabase *db = &tdo_shared->databases[i];

		if (tdo_database_is_served(db, MyDatabaseId))
		{
			mine = db;
			return db;
		}
	}
	return NULL;
}

/* a latch lives in PGPROC, so a pointer read once stays valid memory */
static void
wake_scheduler(bool unless_watching)
{
	TdoDatabase *db = my_database();
	Latch	   *latch = db ? db->latch : NULL;

	if (latch != NULL && !(unless_watching && db->watching))
		SetLatch(latch);
}

static void
mark_prepared(void)
{
	TdoDatabase *db = my_database();

	if (db)
		pg_atomic_write_u32(&db->prepared, 1);
	wake_scheduler(false);
}

static void
wake_launcher(void)
{
	Latch	   *latch = tdo_shared->launcher_latch;

	(void) tdo_database_want(MyDatabaseId);
	if (latch != NULL)
		SetLatch(latch);
}

/*
 * The scheduler's word, not the setting: this session may have read it long ago, in
 * a procedure that has been running since.
 */
static bool
executors_are_off(void)
{
	TdoDatabase *db = my_database();

	return db != NULL && db->executors_off;
}

static void
send_request(const WakeRequest *r)
{
	TdoPoolCount count;

	switch (r->kind)
	{
		case WAKE_QUEUED:
			if (r->count == 0)
				break;			/* in its owner's sum */
			tdo_pool_count(MyDatabaseId, r->owner, r->count, r->low_key, 0, &count);

			/*
			 * More runs than resting executors: the scheduler may have to
			 * start one.  Not while it watches a busy pool anyway, waits for
			 * the pool's next try, or may not start any.
			 */
			if (count.woken < r->count && !executors_are_off() &&
				!tdo_pool_is_backing_off(MyDatabaseId, r->owner))
				wake_scheduler(true);
			break;
		case WAKE_HOOK:
			tdo_pool_look_for_hooks(MyDatabaseId, r->owner);
			tdo_pool_count(MyDatabaseId, r->owner, 1, PG_INT64_MAX, 0, &count);
			if (count.woken == 0 && !executors_are_off())
				wake_scheduler(true);
			break;
		case WAKE_TIMER:
			wake_scheduler(false);
			break;
		case WAKE_FINISHED:
			if (pg_atomic_read_u32(&tdo_shared->waiters) > 0)
				ConditionVariableBroadcast(&tdo_shared->wait[r->bucket]);
			break;
		case WAKE_LAUNCHER:
			wake_launcher();
			break;
	}
}

/*
 * Requests of several subtransactions become one for each owner: each by
 * itself would wake the same resting executor again, and the next one not.
 */
static void
sum_owners(void)
{
	for (int i = 0; i < nrequests; i++)
	{
		WakeRequest *r = &requests[i];

		if (r->kind != WAKE_QUEUED || r->count == 0)
			continue;
		for (int j = i + 1; j < nrequests; j++)
		{
			WakeRequest *other = &requests[j];

			if (other->kind != WAKE_QUEUED || other->owner != r->owner)
				continue;
			r->count += other->count;
			r->low_key = Min(r->low_key, other->low_key);
			other->count = 0;
		}
	}
}

static void
send_all(void)
{
	sum_owners();
	/* pairs with tdo_slot_set_state: our rows are visible before we look */
	pg_memory_barrier();
	for (int i = 0; i < nrequests; i++)
		send_request(&requests[i]);
	if (overflow != InvalidSubTransactionId)
	{
		wake_scheduler(false);
		for (int i = 0; i < tdo_shared->nslots; i++)
		{
			TdoSlot    *slot = &tdo_shared->slots[i];
			Latch	   *latch = slot->latch;

			if (slot->database != MyDatabaseId)
				continue;
			tdo_slot_lower_key(slot, PG_INT64_MIN);
			pg_atomic_write_u32(&slot->hooks, 1);
			if (slot->state == TDO_SLOT_IDLE && latch)
				SetLatch(latch);
		}
		for (int i = 0; i < TDO_WAIT_BUCKETS; i++)
			ConditionVariableBroadcast(&tdo_shared->wait[i]);
	}
}

static void
forget_all(void)
{
	nrequests = 0;
	overflow = InvalidSubTransactionId;
	locked = InvalidSubTransactionId;
}

static void
xact_callback(XactEvent event, void *arg)
{
	if (nrequests == 0 && overflow == InvalidSubTransactionId &&
		locked == InvalidSubTransactionId)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
			if (tdo_shared)
				send_all();
			forget_all();
			break;
		case XACT_EVENT_PREPARE:

			/*
			 * the rows appear at COMMIT PREPARED, in whichever session that
			 * is
			 */
			if (tdo_shared)
				mark_prepared();
			forget_all();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			if (tdo_shared && locked != InvalidSubTransactionId)
				wake_scheduler(false);
			forget_all();
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			break;
	}
}

/* ids of subtransactions grow, so what a child did has an id above its parent's */
static void
subxact_callback(SubXactEvent event, SubTransactionId mySubid,
				 SubTransactionId parentSubid, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (nrequests > 0 && requests[nrequests - 1].subid >= mySubid)
		nrequests--;
	if (overflow != InvalidSubTransactionId && overflow >= mySubid)
		overflow = InvalidSubTransactionId;

	/*
	 * it may have locked others before: keep the mark, the next one wakes
	 * again
	 */
	if (tdo_shared && locked != InvalidSubTransactionId && locked >= mySubid)
		wake_scheduler(false);
}

void
tdo_wake_everyone(void)
{
	if (tdo_shared == NULL)
		return;
	for (int i = 0; i < TDO_MAX_DATABASES; i++)
	{
		Latch	   *latch = tdo_shared->databases[i].latch;

		if (latch)
			SetLatch(latch);
	}
	for (int i = 0; i < tdo_shared->nslots; i++)
	{
		Latch	   *latch = tdo_shared->slots[i].latch;

		if (latch)
			SetLatch(latch);
	}
	if (tdo_shared->launcher_latch)
		SetLatch(tdo_shared->launcher_latch);
}

void
tdo_wake_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
	tdo_clock_seam.changed = tdo_wake_everyone;
}
