/*-------------------------------------------------------------------------
 *
 * slot.h
 *	  One executor each: what it is, what it has in hand, whom to wake.
 *
 * The struct TdoSlot is in shmem.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_SLOT_H
#define TDO_SLOT_H

#include "postgres.h"

#include "shmem.h"

/* Slots. Each takes the lock itself. */
extern int	tdo_slot_reserve(Oid database, Oid role, uint32 *generation);	/* -1: none free */
extern bool tdo_slot_begin(int slot, uint32 generation);	/* before connecting;
															 * false: given up, or
															 * the database is held */
extern bool tdo_slot_attach(int slot, uint32 generation);	/* false: given up
															 * meanwhile */
extern void tdo_slot_abandon(int slot, uint32 generation);	/* ended before it
															 * attached */
extern void tdo_slot_release(int slot, uint32 generation);	/* no-op when not ours
															 * any more */
extern bool tdo_slot_is_starting(int slot, uint32 generation);
extern void tdo_slot_forget_starting(Oid database);
extern void tdo_slot_set_state(TdoSlot *slot, TdoSlotState state);

/* the batch in hand; the slot's owner only */
extern void tdo_slot_set_batch(TdoSlot *slot, int nruns, const pg_uuid_t *runs);
extern void tdo_slot_set_current(TdoSlot *slot, int current, TimestampTz started,
								 int64 deadline_us);	/* monotonic; 0: none */
extern void tdo_slot_set_committing(TdoSlot *slot, int64 deadline_us);

/* the end of a run that is in hand is decided, whatever becomes of the process; NONE: committed */
extern void tdo_slot_set_decided(TdoSlot *slot, TdoStop stop, int run, const char *reason);

/* the queued hook in hand; run NULL: none */
extern void tdo_slot_set_hook(TdoSlot *slot, const pg_uuid_t *run, char kind);

/* is that hook of a run of this database in some executor's hand? */
extern bool tdo_slot_has_hook(const pg_uuid_t *run, char kind);

typedef enum TdoInHand
{
	TDO_NOT_IN_HAND,
	TDO_IN_HAND_WAITING,		/* claimed with others, not begun */
	TDO_IN_HAND_RUNNING
} TdoInHand;

/* is a run of this database in some executor's hand? */
extern TdoInHand tdo_slot_find_run(const pg_uuid_t *run, TimestampTz *started);

/*
 * Executors of a pool by state; wake up to `wake` idle ones, and let all of
 * them look from low_key on at their next claim.
 */
typedef struct TdoPoolCount
{
	int			alive;			/* starting, idle or busy */
	int			idle;
	int			starting;
	int			stuck;			/* busy with one batch for longer than
								 * stuck_us */
	int			woken;
} TdoPoolCount;

extern void tdo_pool_count(Oid database, Oid role, int wake, int64 low_key,
						   int64 stuck_us, TdoPoolCount *count);

/* all executors of a pool: a hook is queued */
extern void tdo_pool_look_for_hooks(Oid database, Oid role);

/* an order key below which its executor need not have looked: it will */
extern void tdo_slot_lower_key(TdoSlot *slot, int64 low_key);

#endif							/* TDO_SLOT_H */
