/*-------------------------------------------------------------------------
 *
 * slot.c
 *	  One executor each: what it is, what it has in hand, whom to wake.
 *
 * Job: reserve, attach and free slots; say which run is in whose hand; count
 * and wake the executors of a role.
 * Called by: executors, the scheduler, wake.c, sessions that look for a run.
 * Locks: the shared LWLock for a slot's step from or to FREE; a slot's mutex
 * for its batch.
 * Crash: all of it is gone with shared memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "crash.h"
#include "slot.h"

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
		slot->deadline_us = 0;
		slot->committing = false;
		slot->decided = TDO_STOP_NONE;
		slot->has_hook = false;
		pg_atomic_write_u32(&slot->hooks, 1);
		pg_atomic_write_u64(&slot->control, 0);
		slot->state = TDO_SLOT_STARTING;
		*generation = slot->generation;
		found = i;
	}
	LWLockRelease(tdo_shared->lock);
	return found;
}

/* the process is known by its pid before it connects, so that it can be stopped */
bool
tdo_slot_begin(int index, uint32 generation)
{
	TdoSlot    *slot = &tdo_shared->slots[index];
	bool		ok = false;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	if (slot->state == TDO_SLOT_STARTING && slot->generation == generation)
	{
		ok = !tdo_oid_is_held(slot->database);
		if (ok)
			slot->pid = MyProcPid;
		else
			slot->state = TDO_SLOT_FREE;
	}
	LWLockRelease(tdo_shared->lock);
	return ok;
}

/* left in STARTING it tells the scheduler of a failed start, unless it was stopped */
void
tdo_slot_abandon(int index, uint32 generation)
{
	TdoSlot    *slot = &tdo_shared->slots[index];

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	if (slot->state == TDO_SLOT_STARTING && slot->generation == generation)
	{
		slot->pid = 0;
		if (tdo_oid_is_held(slot->database))
			slot->state = TDO_SLOT_FREE;
	}
	LWLockRelease(tdo_shared->lock);
}

bool
tdo_slot_attach(int index, uint32 generation)
{
	TdoSlot    *slot = &tdo_shared->slots[index];
	TimestampTz now = tdo_now();
	bool		ok = false;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	if (slot->state == TDO_SLOT_STARTING && slot->generation == generation &&
		!tdo_oid_is_held(slot->database))
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
		slot->has_hook = false;
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
	slot->committing = false;
	slot->decided = TDO_STOP_NONE;
	slot->deadline_us = 0;
	slot->batch_started_us = nruns > 0 ? tdo_monotonic_us() : 0;
	if (nruns > 0)
		memcpy(slot->runs, runs, nruns * sizeof(pg_uuid_t));
	SpinLockRelease(&slot->mutex);
	tdo_hand_set(nruns, runs);
}

void
tdo_slot_set_current(TdoSlot *slot, int current, TimestampTz started, int64 deadline_us)
{
	SpinLockAcquire(&slot->mutex);
	slot->current = current;
	slot->run_started = started;
	slot->deadline_us = deadline_us;
	slot->reported = false;
	SpinLockRelease(&slot->mutex);
	tdo_hand_set_current(current, current, started);
}

void
tdo_slot_set_committing(TdoSlot *slot, int64 deadline_us)
{
	SpinLockAcquire(&slot->mutex);
	slot->committing = true;
	slot->deadline_us = deadline_us;
	SpinLockRelease(&slot->mutex);
	/* the deferred triggers may be any run's */
	tdo_hand_set_current(0, slot->current, slot->run_started);
}

void
tdo_slot_set_decided(TdoSlot *slot, TdoStop stop, int run, const char *reason)
{
	SpinLockAcquire(&slot->mutex);
	slot->decided = stop;
	slot->stop_run = run;
	strlcpy(slot->stop_reason, reason, TDO_REASON_LEN);
	SpinLockRelease(&slot->mutex);
}

void
tdo_slot_set_hook(TdoSlot *slot, const pg_uuid_t *run, char kind)
{
	SpinLockAcquire(&slot->mutex);
	slot->has_hook = run != NULL;
	slot->hook_kind = kind;
	/* a pool whose executors sit in hooks is as stuck as in batches */
	slot->batch_started_us = run ? tdo_monotonic_us() : 0;
	if (run)
		slot->hook_run = *run;
	SpinLockRelease(&slot->mutex);
}

bool
tdo_slot_has_hook(const pg_uuid_t *run, char kind)
{
	bool		found = false;

	for (int i = 0; i < tdo_shared->nslots && !found; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];

		SpinLockAcquire(&slot->mutex);
		found = slot->has_hook && slot->database == MyDatabaseId && slot->hook_kind == kind &&
			memcmp(&slot->hook_run, run, sizeof(pg_uuid_t)) == 0;
		SpinLockRelease(&slot->mutex);
	}
	return found;
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

		/* (a database made from a template has runs of the same ids) */
		if (slot->state != TDO_SLOT_BUSY || slot->nruns == 0 || slot->database != MyDatabaseId)
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

void
tdo_slot_lower_key(TdoSlot *slot, int64 low_key)
{
	uint64		old = pg_atomic_read_u64(&slot->low_key);

	/* (a failed exchange reads the value anew) */
	while ((int64) old > low_key &&
		   !pg_atomic_compare_exchange_u64(&slot->low_key, &old, (uint64) low_key))
		;
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

/* (after commit, too: see tdo_pool_count) */
void
tdo_pool_look_for_hooks(Oid database, Oid role)
{
	for (int i = 0; i < tdo_shared->nslots; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];

		if (slot->database == database && slot->role == role)
			pg_atomic_write_u32(&slot->hooks, 1);
	}
}
