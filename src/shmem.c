/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  What triggerdo's processes know of one another.
 *
 * Job: databases and their schedulers, executor slots, start trouble, and the
 * condition variables of sessions that wait for a run.
 * Called by: every process; views read it.
 * Locks: the named LWLock "triggerdo", held for short loops only: never across
 * allocation, ereport or page access.  A slot's mutex nests inside it.
 * Crash: a crash of any backend re-creates all of it empty; the launcher and
 * the schedulers rebuild it from the catalogs and tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "guc.h"
#include "shmem.h"

TdoShared  *tdo_shared = NULL;

static shmem_startup_hook_type prev_shmem_startup = NULL;
#ifdef TDO_HAVE_SHMEM_REQUEST_HOOK
static shmem_request_hook_type prev_shmem_request = NULL;
#endif

static Size
shared_size(void)
{
	return add_size(offsetof(TdoShared, slots),
					mul_size(sizeof(TdoSlot), tdo_max_executors));
}

static void
shmem_request(void)
{
#ifdef TDO_HAVE_SHMEM_REQUEST_HOOK
	if (prev_shmem_request)
		prev_shmem_request();
#endif
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche("triggerdo", 1);
}

static void
shmem_startup(void)
{
	bool		found;

	if (prev_shmem_startup)
		prev_shmem_startup();

	tdo_shared = NULL;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	tdo_shared = ShmemInitStruct("triggerdo", shared_size(), &found);
	if (!found)
	{
		memset(tdo_shared, 0, shared_size());
		tdo_shared->lock = &(GetNamedLWLockTranche("triggerdo"))->lock;
		tdo_shared->nslots = tdo_max_executors;
		pg_atomic_init_u32(&tdo_shared->waiters, 0);
		pg_atomic_init_u32(&tdo_shared->ntransients, 0);
		for (int i = 0; i < TDO_WAIT_BUCKETS; i++)
			ConditionVariableInit(&tdo_shared->wait[i]);
		for (int i = 0; i < TDO_MAX_DATABASES; i++)
			pg_atomic_init_u32(&tdo_shared->databases[i].prepared, 0);
		for (int i = 0; i < tdo_shared->nslots; i++)
		{
			SpinLockInit(&tdo_shared->slots[i].mutex);
			tdo_shared->slots[i].current = -1;
			pg_atomic_init_u64(&tdo_shared->slots[i].low_key, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

void
tdo_shmem_init(void)
{
#ifdef TDO_HAVE_SHMEM_REQUEST_HOOK
	prev_shmem_request = shmem_request_hook;
	shmem_request_hook = shmem_request;
#else
	shmem_request();
#endif
	prev_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

void
tdo_require_shmem(void)
{
	if (tdo_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("triggerdo is not loaded"),
				 errhint("Add triggerdo to shared_preload_libraries and restart the server.")));
}

/* ---------------------------------------------------------------- databases */

/* caller holds the lock */
static TdoDatabase *
database_lookup(Oid database, bool make)
{
	TdoDatabase *unused = NULL;
	TdoDatabase *spare = NULL;

	for (int i = 0; i < TDO_MAX_DATABASES; i++)
	{
		TdoDatabase *db = &tdo_shared->databases[i];

		if (db->state != TDO_DB_UNUSED && db->database == database)
			return db;
		if (db->state == TDO_DB_UNUSED && unused == NULL)
			unused = db;
		if (db->state == TDO_DB_NONE && spare == NULL)
			spare = db;
	}
	if (unused == NULL)
		unused = spare;
	if (!make || unused == NULL)
		return NULL;
	unused->database = database;
	unused->state = TDO_DB_WANTED;
	unused->pid = 0;
	unused->latch = NULL;
	unused->announced = false;
	unused->watching = false;
	unused->failures = 0;
	unused->next_try_us = 0;
	pg_atomic_write_u32(&unused->prepared, 0);
	return unused;
}

TdoDatabase *
tdo_database_find(Oid database)
{
	TdoDatabase *db;

	LWLockAcquire(tdo_shared->lock, LW_SHARED);
	db = database_lookup(database, false);
	LWLockRelease(tdo_shared->lock);
	return db;
}

TdoDatabase *
tdo_database_want(Oid database)
{
	TdoDatabase *db;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	db = database_lookup(database, true);
	if (db)
		db->announced = true;
	if (db && db->state == TDO_DB_NONE)
	{
		db->state = TDO_DB_WANTED;
		db->failures = 0;
		db->next_try_us = 0;
	}
	LWLockRelease(tdo_shared->lock);
	return db;
}

/* an unlocked look: entries never move */
bool
tdo_database_is_served(const TdoDatabase *db, Oid database)
{
	return db->database == database &&
		(db->state == TDO_DB_WANTED || db->state == TDO_DB_RUNNING);
}

bool
tdo_database_leave(TdoDatabase *db)
{
	bool		leave;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	leave = !db->announced;
	db->announced = false;
	if (leave)
	{
		db->state = TDO_DB_NONE;
		db->pid = 0;
		db->latch = NULL;
	}
	LWLockRelease(tdo_shared->lock);
	return leave;
}

bool
tdo_database_change(TdoDatabase *db, TdoDbState from, TdoDbState to)
{
	bool		changed;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	changed = db->state == from && db->pid == 0;
	if (changed)
		db->state = to;
	LWLockRelease(tdo_shared->lock);
	return changed;
}

/* -------------------------------------------------------------------- slots */

int
tdo_slot_reserve(Oid database, Oid role, uint32 *generation)
{
	int			found = -1;
	TimestampTz now = tdo_now();

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < tdo_shared->nslots && found < 0; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];

		if (slot->state != TDO_SLOT_FREE)
			continue;
		slot->generation++;
		slot->database = database;
		slot->role = role;
		slot->pid = 0;
		slot->latch = NULL;
		slot->since = now;
		slot->runs_done = 0;
		pg_atomic_write_u64(&slot->low_key, (uint64) PG_INT64_MIN);
		slot->nruns = 0;
		slot->current = -1;
		slot->batch_started_us = 0;
		slot->state = TDO_SLOT_STARTING;
		*generation = slot->generation;
		found = i;
	}
	LWLockRelease(tdo_shared->lock);
	return found;
}

bool
tdo_slot_attach(int index, uint32 generation)
{
	TdoSlot    *slot = &tdo_shared->slots[index];
	TimestampTz now = tdo_now();
	bool		ok = false;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	if (slot->state == TDO_SLOT_STARTING && slot->generation == generation)
	{
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->since = now;
		slot->state = TDO_SLOT_BUSY;
		ok = true;
	}
	LWLockRelease(tdo_shared->lock);
	return ok;
}

void
tdo_slot_release(int index, uint32 generation)
{
	TdoSlot    *slot = &tdo_shared->slots[index];

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	if (slot->state != TDO_SLOT_FREE && slot->generation == generation)
	{
		slot->state = TDO_SLOT_FREE;
		slot->latch = NULL;
		slot->pid = 0;
		slot->nruns = 0;
		slot->current = -1;
	}
	LWLockRelease(tdo_shared->lock);
}

bool
tdo_slot_is_starting(int index, uint32 generation)
{
	TdoSlot    *slot = &tdo_shared->slots[index];
	bool		result;

	LWLockAcquire(tdo_shared->lock, LW_SHARED);
	result = slot->state == TDO_SLOT_STARTING && slot->generation == generation;
	LWLockRelease(tdo_shared->lock);
	return result;
}

/* a scheduler that died left these; an executor that still comes up finds no slot and ends */
void
tdo_slot_forget_starting(Oid database)
{
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < tdo_shared->nslots; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];

		if (slot->state == TDO_SLOT_STARTING && slot->database == database)
			slot->state = TDO_SLOT_FREE;
	}
	LWLockRelease(tdo_shared->lock);
}

/*
 * The barrier pairs with the one in wake.c: an executor that went idle looks
 * for work once more after this, an enqueuer looks for idle executors after
 * its commit became visible; one of the two sees the other.
 */
void
tdo_slot_set_state(TdoSlot *slot, TdoSlotState state)
{
	slot->state = state;
	slot->since = tdo_now();
	pg_memory_barrier();
}

void
tdo_slot_set_batch(TdoSlot *slot, int nruns, const pg_uuid_t *runs)
{
	SpinLockAcquire(&slot->mutex);
	slot->nruns = nruns;
	slot->current = -1;
	slot->batch_started_us = nruns > 0 ? tdo_monotonic_us() : 0;
	if (nruns > 0)
		memcpy(slot->runs, runs, nruns * sizeof(pg_uuid_t));
	SpinLockRelease(&slot->mutex);
}

void
tdo_slot_set_current(TdoSlot *slot, int current, TimestampTz started)
{
	SpinLockAcquire(&slot->mutex);
	slot->current = current;
	slot->run_started = started;
	SpinLockRelease(&slot->mutex);
}

TdoInHand
tdo_slot_find_run(const pg_uuid_t *run, TimestampTz *started)
{
	if (tdo_shared == NULL)
		return TDO_NOT_IN_HAND;
	for (int i = 0; i < tdo_shared->nslots; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];
		TdoInHand	found = TDO_NOT_IN_HAND;

		if (slot->state != TDO_SLOT_BUSY || slot->nruns == 0)
			continue;			/* unlocked look: a hint, as the answer is */
		SpinLockAcquire(&slot->mutex);
		for (int k = 0; k < slot->nruns; k++)
		{
			if (memcmp(&slot->runs[k], run, sizeof(pg_uuid_t)) == 0)
			{
				found = k <= slot->current ? TDO_IN_HAND_RUNNING : TDO_IN_HAND_WAITING;
				if (started)
					*started = slot->run_started;
				break;
			}
		}
		SpinLockRelease(&slot->mutex);
		if (found != TDO_NOT_IN_HAND)
			return found;
	}
	return TDO_NOT_IN_HAND;
}

/* -------------------------------------------------------------------- pools */

void
tdo_slot_lower_key(TdoSlot *slot, int64 low_key)
{
	uint64		old = pg_atomic_read_u64(&slot->low_key);

	/* (a failed exchange reads the value anew) */
	while ((int64) old > low_key &&
		   !pg_atomic_compare_exchange_u64(&slot->low_key, &old, (uint64) low_key))
		;
}

bool
tdo_pool_is_backing_off(Oid database, Oid role)
{
	for (int i = 0; i < TDO_MAX_POOLS; i++)
	{
		TdoPool    *pool = &tdo_shared->pools[i];

		if (pool->database == database && pool->role == role)
			return pool->next_try_us > tdo_monotonic_us();
	}
	return false;
}

/*
 * Called after commit too (wake.c), so it may not fail: slots never move and
 * a latch lives in shared memory, so a look without the lock is safe; at worst
 * some process is woken for nothing.
 */
void
tdo_pool_count(Oid database, Oid role, int wake, int64 low_key, int64 stuck_us,
			   TdoPoolCount *count)
{
	memset(count, 0, sizeof(*count));
	for (int i = 0; i < tdo_shared->nslots; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];
		Latch	   *latch;

		if (slot->database != database || slot->role != role)
			continue;
		tdo_slot_lower_key(slot, low_key);
		switch (slot->state)
		{
			case TDO_SLOT_IDLE:
				count->alive++;
				count->idle++;
				latch = slot->latch;
				if (count->woken < wake && latch != NULL)
				{
					SetLatch(latch);
					count->woken++;
				}
				break;
			case TDO_SLOT_STARTING:
				count->alive++;
				count->starting++;
				break;
			case TDO_SLOT_BUSY:
				count->alive++;
				if (stuck_us > 0 && slot->batch_started_us > 0 &&
					tdo_monotonic_us() - slot->batch_started_us > stuck_us)
					count->stuck++;
				break;
			case TDO_SLOT_FREE:
			case TDO_SLOT_LEAVING:
				break;
		}
	}
}

/* caller holds the lock */
static TdoPool *
pool_lookup(Oid database, Oid role, bool make)
{
	TdoPool    *unused = NULL;

	for (int i = 0; i < TDO_MAX_POOLS; i++)
	{
		TdoPool    *pool = &tdo_shared->pools[i];

		if (pool->database == database && pool->role == role)
			return pool;
		if (!OidIsValid(pool->database) && unused == NULL)
			unused = pool;
	}
	if (!make || unused == NULL)
		return NULL;
	memset(unused, 0, sizeof(*unused));
	unused->database = database;
	unused->role = role;
	return unused;
}

bool
tdo_pool_trouble(Oid database, Oid role, int64 next_try_us, int failures,
				 const char *reason)
{
	TdoPool    *pool;
	bool		news = false;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	pool = pool_lookup(database, role, true);
	if (pool)
	{
		news = strncmp(pool->reason, reason, sizeof(pool->reason) - 1) != 0;
		pool->next_try_us = next_try_us;
		pool->failures = failures;
		strlcpy(pool->reason, reason, sizeof(pool->reason));
	}
	LWLockRelease(tdo_shared->lock);
	return news;
}

void
tdo_pool_clear(Oid database, Oid role)
{
	TdoPool    *pool;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	pool = pool_lookup(database, role, false);
	if (pool)
		memset(pool, 0, sizeof(*pool));
	LWLockRelease(tdo_shared->lock);
}

void
tdo_pools_keep(Oid database, List *roles)
{
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TDO_MAX_POOLS; i++)
	{
		TdoPool    *pool = &tdo_shared->pools[i];

		if (pool->database == database && !list_member_oid(roles, pool->role))
			memset(pool, 0, sizeof(*pool));
	}
	LWLockRelease(tdo_shared->lock);
}

bool
tdo_pool_get(Oid database, Oid role, TdoPool *copy)
{
	TdoPool    *pool;

	LWLockAcquire(tdo_shared->lock, LW_SHARED);
	pool = pool_lookup(database, role, false);
	if (pool)
		*copy = *pool;
	LWLockRelease(tdo_shared->lock);
	return pool != NULL;
}

void
tdo_suspect_add(Oid database, const pg_uuid_t *run)
{
	TdoSuspect *place = &tdo_shared->suspects[0];

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TDO_MAX_SUSPECTS; i++)
	{
		if (!OidIsValid(tdo_shared->suspects[i].database))
		{
			place = &tdo_shared->suspects[i];
			break;
		}
	}
	place->database = database;
	place->run = *run;
	LWLockRelease(tdo_shared->lock);
}

bool
tdo_suspect_take(Oid database, pg_uuid_t *run)
{
	bool		found = false;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TDO_MAX_SUSPECTS && !found; i++)
	{
		TdoSuspect *s = &tdo_shared->suspects[i];

		if (s->database != database)
			continue;
		*run = s->run;
		s->database = InvalidOid;
		found = true;
	}
	LWLockRelease(tdo_shared->lock);
	return found;
}

/* caller holds the lock */
static TdoTransient *
transient_lookup(Oid database, const pg_uuid_t *run)
{
	for (int i = 0; i < TDO_MAX_TRANSIENTS; i++)
	{
		TdoTransient *t = &tdo_shared->transients[i];

		if (t->database == database && memcmp(&t->run, run, sizeof(*run)) == 0)
			return t;
	}
	return NULL;
}

/*
 * The count is shared, because between two tries another executor may take the
 * run.  One that is overwritten begins anew: more tries, nothing worse.
 */
int
tdo_transient_count(Oid database, const pg_uuid_t *run)
{
	TdoTransient *t;
	int			tries;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	t = transient_lookup(database, run);
	for (int i = 0; t == NULL && i < TDO_MAX_TRANSIENTS; i++)
	{
		if (!OidIsValid(tdo_shared->transients[i].database))
		{
			t = &tdo_shared->transients[i];
			pg_atomic_fetch_add_u32(&tdo_shared->ntransients, 1);
			t->tries = 0;
		}
	}
	if (t == NULL)
	{
		t = &tdo_shared->transients[tdo_shared->next_transient];
		tdo_shared->next_transient = (tdo_shared->next_transient + 1) % TDO_MAX_TRANSIENTS;
		t->tries = 0;
	}
	t->database = database;
	t->run = *run;
	tries = ++t->tries;
	LWLockRelease(tdo_shared->lock);
	return tries;
}

void
tdo_transient_forget(Oid database, const pg_uuid_t *run)
{
	TdoTransient *t;

	if (pg_atomic_read_u32(&tdo_shared->ntransients) == 0)
		return;
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	t = transient_lookup(database, run);
	if (t)
	{
		t->database = InvalidOid;
		pg_atomic_fetch_sub_u32(&tdo_shared->ntransients, 1);
	}
	LWLockRelease(tdo_shared->lock);
}

ConditionVariable *
tdo_wait_bucket(const pg_uuid_t *run)
{
	/* the last bytes are random bits */
	return &tdo_shared->wait[run->data[15] % TDO_WAIT_BUCKETS];
}
