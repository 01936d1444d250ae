/*-------------------------------------------------------------------------
 *
 * stop.h
 *	  Stopping user code in another process, and nothing but user code.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_STOP_H
#define TDO_STOP_H

#include "postgres.h"

#include "slot.h"

/* ---- the executor's side; in every other process these do nothing */

/* once, when it has its slot; cancel signals are held off from here on */
extern void tdo_stop_init(TdoSlot *my_slot);

/* user code begins, and ends: what it was asked to stop for meanwhile, in the end */
extern void tdo_user_enter(void);
extern TdoStop tdo_user_leave(void);
extern bool tdo_user_code_runs(void);

/* the same, of a process that ends, perhaps before it could write what it had been asked for */
extern TdoStop tdo_user_ended(void);

/*
 * A hook of a run that has come to its end, in its place: not to be stopped by
 * what stops a run, but after hook_timeout.  leave: was its time over?
 */
extern void tdo_hook_enter(void);
extern bool tdo_hook_leave(void);

/* what a commit means while user code runs */
typedef enum TdoCommits
{
	TDO_COMMITS_NONE,			/* there is none */
	TDO_COMMITS_OURS,			/* it ends the user code: deferred triggers */
	TDO_COMMITS_USERS,			/* the code goes on after it */
	TDO_COMMITS_SOLID,			/* the same, and a stop does not undo it: what
								 * was done is not in the transaction alone (a
								 * database's files) */
	TDO_COMMITS_REFUSED			/* an error */
} TdoCommits;

extern void tdo_user_commits(TdoCommits how);

/* ERROR when a commit was refused, though the code has gone on */
extern void tdo_user_check_refused(void);

/* what the run in hand was asked to stop for, which run, and the reason; after tdo_user_leave() */
extern void tdo_stop_reason(int *run, char *reason);

/* ---- everybody's side */

typedef enum TdoStopAnswer
{
	TDO_STOP_NOT_IN_HAND,
	TDO_STOP_LATER,				/* claimed, but its code is not running: look
								 * again in a moment */
	TDO_STOP_ASKED				/* it stops, now or when its grace is over */
} TdoStopAnswer;

/* ask an executing run to stop */
extern TdoStopAnswer tdo_stop_run(const pg_uuid_t *run, const char *reason);

/*
 * The scheduler: ask runs past their max_duration to stop, end those that do
 * not, say so when one cannot be ended.  *sleep_ms is shortened to when the next
 * look is due.
 */
extern void tdo_stop_oversee(Oid database, long *sleep_ms);

#endif							/* TDO_STOP_H */
