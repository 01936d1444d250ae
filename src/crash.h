/*-------------------------------------------------------------------------
 *
 * crash.h
 *	  What was in whose hand when the server crashed, and what comes of it.
 *
 * The hand file is mapped by every process; its suspects are under the shared
 * LWLock, each hand is its executor's alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_CRASH_H
#define TDO_CRASH_H

#include "postgres.h"

#include "shmem.h"

extern void tdo_crash_init(void);	/* from _PG_init, while preloading, after
									 * tdo_shmem_init */

/* The executor of a slot.  The first call of a process also sees to its SIGQUIT. */
extern void tdo_hand_take(int slot);

/* the runs in hand; those from first to current are the ones a crash would be blamed on */
extern void tdo_hand_set(int nruns, const pg_uuid_t *runs);
extern void tdo_hand_seen(void);	/* still at it; safe in a signal handler */
extern void tdo_hand_set_current(int first, int current, TimestampTz started);

typedef enum TdoSuspectState
{
	TDO_SUSPECT_UNUSED = 0,
	TDO_SUSPECT_NEW,			/* the scheduler has not seen to it */
	TDO_SUSPECT_READY,			/* queued: to be run alone */
	TDO_SUSPECT_RUNNING			/* others wait, until_us at the latest */
} TdoSuspectState;

/* a run that was being executed by a process that died of itself */
typedef struct TdoSuspect
{
	TdoSuspectState state;
	Oid			database;
	Oid			owner;			/* from READY on */
	bool		counts;			/* it was alone: the crash is its own */
	pg_uuid_t	run;
	TimestampTz started;
	int64		window_us;		/* how long it may keep the others waiting */
	int64		until_us;		/* monotonic; 0: not its turn yet */
} TdoSuspect;

/* the scheduler: the nth one of the database that it has not seen to; then what came of it */
extern bool tdo_suspect_next(Oid database, int n, TdoSuspect *suspect);
extern void tdo_suspect_ready(const TdoSuspect *suspect, Oid owner);
extern void tdo_suspect_drop(const pg_uuid_t *run);

typedef enum TdoTurn
{
	TDO_TURN_FREE,				/* nobody has to be left alone */
	TDO_TURN_MINE,				/* *run is to be run now, alone; then
								 * tdo_suspect_drop() */
	TDO_TURN_WAIT				/* look again in a moment */
} TdoTurn;

/* may executors be started for this owner: is nobody to be left alone, or its own run? */
extern bool tdo_suspect_allows(Oid database, Oid owner);

/* executors ask before each claim */
extern TdoTurn tdo_suspect_turn(Oid database, Oid role, pg_uuid_t *run);

#endif							/* TDO_CRASH_H */
