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

#include <signal.h>

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
		pg_atomic_init_u32(&tdo_shared->nsuspects, 0);
		pg_atomic_init_u32(&tdo_shared->nended, 0);
		for (int i = 0; i < TDO_WAIT_BUCKETS; i++)
			ConditionVariableInit(&tdo_shared->wait[i]);
		for (int i = 0; i < TDO_MAX_DATABASES; i++)
		{
			pg_atomic_init_u32(&tdo_shared->databases[i].prepared, 0);
			pg_atomic_init_u32(&tdo_shared->databases[i].claims, 0);
		}
		for (int i = 0; i < tdo_shared->nslots; i++)
		{
			SpinLockInit(&tdo_shared->slots[i].mutex);
			tdo_shared->slots[i].current = -1;
			pg_atomic_init_u64(&tdo_shared->slots[i].low_key, 0);
			pg_atomic_init_u64(&tdo_shared->slots[i].control, 0);
			pg_atomic_init_u32(&tdo_shared->slots[i].hooks, 0);
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

		if ((db->state != TDO_DB_UNUSED || db->holds > 0) && db->database == database)
			return db;
		if (db->holds > 0)
			continue;
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
	unused->executors_off = false;
	unused->paused[0] = '\0';
	unused->failures = 0;
	unused->next_try_us = 0;
	unused->trouble[0] = '\0';
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
	if (db && (db->state == TDO_DB_NONE || db->state == TDO_DB_UNUSED))
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
tdo_database_set_paused(TdoDatabase *db, const char *reason)
{
	char		now[sizeof(db->paused)];
	bool		news;

	strlcpy(now, reason ? reason : "", sizeof(now));
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	news = strcmp(db->paused, now) != 0;
	if (news)
		memcpy(db->paused, now, sizeof(now));
	LWLockRelease(tdo_shared->lock);
	return news;
}

bool
tdo_database_change(TdoDatabase *db, TdoDbState from, TdoDbState to)
{
	bool		changed;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	changed = db->state == from && db->pid == 0 && db->holds == 0;
	if (changed)
		db->state = to;
	LWLockRelease(tdo_shared->lock);
	return changed;
}

bool
tdo_database_hold(Oid database)
{
	TdoDatabase *db;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	db = database_lookup(database, false);
	if (db == NULL)
	{
		db = database_lookup(database, true);
		/* nobody has asked for a scheduler there */
		if (db)
			db->state = TDO_DB_UNUSED;
	}
	if (db)
		db->holds++;
	LWLockRelease(tdo_shared->lock);
	return db != NULL;
}

/* called at the end of a transaction, so it may not fail */
void
tdo_database_release(Oid database)
{
	TdoDatabase *db;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	db = database_lookup(database, false);
	if (db && db->holds > 0)
	{
		db->holds--;
		/* its scheduler did not end through a fault of its own */
		db->failures = 0;
		db->next_try_us = 0;
		if (tdo_shared->launcher_latch)
			SetLatch(tdo_shared->launcher_latch);
	}
	LWLockRelease(tdo_shared->lock);
}

bool
tdo_database_is_held(const TdoDatabase *db)
{
	return db->holds > 0;
}

/* caller holds the lock */
bool
tdo_oid_is_held(Oid database)
{
	TdoDatabase *db = database_lookup(database, false);

	return db != NULL && db->holds > 0;
}

/* caller holds the lock, so that the pid is still the process's */
static int
tell(int pid, Latch *latch, bool terminate)
{
	if (pid == 0 || pid == MyProcPid)
		return 0;
	if (terminate)
		kill(pid, SIGTERM);
	else if (latch)
		SetLatch(latch);
	return 1;
}

int
tdo_database_stop(Oid database, bool terminate)
{
	TdoDatabase *db;
	int			left = 0;

	LWLockAcquire(tdo_shared->lock, LW_SHARED);
	db = database_lookup(database, false);
	if (db)
		left += tell(db->pid, db->latch, terminate);
	for (int i = 0; i < tdo_shared->nslots; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];

		if (slot->state != TDO_SLOT_FREE && slot->database == database)
			left += tell(slot->pid, slot->latch, terminate);
	}
	LWLockRelease(tdo_shared->lock);
	return left;
}

bool
tdo_database_has_process(Oid database, int pid)
{
	TdoDatabase *db;
	bool		found;

	LWLockAcquire(tdo_shared->lock, LW_SHARED);
	db = database_lookup(database, false);
	found = db != NULL && db->pid == pid;
	for (int i = 0; i < tdo_shared->nslots && !found; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];

		found = slot->state != TDO_SLOT_FREE && slot->database == database && slot->pid == pid;
	}
	LWLockRelease(tdo_shared->lock);
	return found;
}

bool
tdo_database_attach(TdoDatabase *db)
{
	bool		first;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	first = db->pid == 0 && db->holds == 0;
	if (first)
	{
		db->state = TDO_DB_RUNNING;
		db->pid = MyProcPid;
		db->latch = MyLatch;
	}
	LWLockRelease(tdo_shared->lock);
	return first;
}

void
tdo_database_detach(TdoDatabase *db)
{
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	if (db->pid == MyProcPid)
	{
		db->pid = 0;
		db->latch = NULL;
		db->watching = false;
		if (tdo_shared->launcher_latch)
			SetLatch(tdo_shared->launcher_latch);
	}
	LWLockRelease(tdo_shared->lock);
}

bool
tdo_database_trouble_is_news(TdoDatabase *db, const char *version)
{
	bool		news;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	news = strncmp(db->trouble, version, TDO_VERSION_LEN - 1) != 0;
	strlcpy(db->trouble, version, TDO_VERSION_LEN);
	LWLockRelease(tdo_shared->lock);
	return news;
}

/* -------------------------------------------------------------------- pools */

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

void
tdo_pools_keep_databases(List *databases)
{
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TDO_MAX_POOLS; i++)
	{
		TdoPool    *pool = &tdo_shared->pools[i];

		if (OidIsValid(pool->database) && !list_member_oid(databases, pool->database))
			memset(pool, 0, sizeof(*pool));
	}
	for (int i = 0; i < TDO_MAX_ENDED; i++)
	{
		TdoEnded   *e = &tdo_shared->ended[i];

		if (OidIsValid(e->database) && !list_member_oid(databases, e->database))
		{
			e->database = InvalidOid;
			pg_atomic_fetch_sub_u32(&tdo_shared->nended, 1);
		}
	}
	for (int i = 0; i < tdo_shared->nslots; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];

		if (slot->state == TDO_SLOT_STARTING && !list_member_oid(databases, slot->database))
			slot->state = TDO_SLOT_FREE;
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

/* -------------------------------------------------------------------- others */

void
tdo_ended_add(const TdoEnded *ended)
{
	TdoEnded   *place = &tdo_shared->ended[0];

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TDO_MAX_ENDED; i++)
	{
		if (!OidIsValid(tdo_shared->ended[i].database))
		{
			place = &tdo_shared->ended[i];
			pg_atomic_fetch_add_u32(&tdo_shared->nended, 1);
			break;
		}
	}
	*place = *ended;
	LWLockRelease(tdo_shared->lock);
}

int
tdo_ended_next(Oid database, int index, TdoEnded *ended)
{
	int			found = -1;

	if (pg_atomic_read_u32(&tdo_shared->nended) == 0)
		return -1;
	LWLockAcquire(tdo_shared->lock, LW_SHARED);
	for (int i = index; i < TDO_MAX_ENDED && found < 0; i++)
	{
		if (tdo_shared->ended[i].database == database)
		{
			*ended = tdo_shared->ended[i];
			found = i + 1;
		}
	}
	LWLockRelease(tdo_shared->lock);
	return found;
}

void
tdo_ended_remove(const TdoEnded *ended)
{
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TDO_MAX_ENDED; i++)
	{
		TdoEnded   *e = &tdo_shared->ended[i];

		if (e->database == ended->database && memcmp(&e->run, &ended->run, sizeof(e->run)) == 0)
		{
			e->database = InvalidOid;
			pg_atomic_fetch_sub_u32(&tdo_shared->nended, 1);
			break;
		}
	}
	LWLockRelease(tdo_shared->lock);
}

bool
tdo_ended_has(const pg_uuid_t *run)
{
	bool		found = false;

	if (likely(pg_atomic_read_u32(&tdo_shared->nended) == 0))
		return false;
	LWLockAcquire(tdo_shared->lock, LW_SHARED);
	for (int i = 0; i < TDO_MAX_ENDED && !found; i++)
	{
		const TdoEnded *e = &tdo_shared->ended[i];

		found = e->database == MyDatabaseId && memcmp(&e->run, run, sizeof(*run)) == 0;
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

bool
tdo_transient_is_known(Oid database, const pg_uuid_t *run)
{
	bool		known;

	if (pg_atomic_read_u32(&tdo_shared->ntransients) == 0)
		return false;
	LWLockAcquire(tdo_shared->lock, LW_SHARED);
	known = transient_lookup(database, run) != NULL;
	LWLockRelease(tdo_shared->lock);
	return known;
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
