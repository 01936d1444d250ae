/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  What triggerdo's processes know of one another.
 *
 * All of it is a hint: a server that lost it starts from the tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_SHMEM_H
#define TDO_SHMEM_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/uuid.h"

#include "triggerdo.h"

/* what a (database, role) pair's last start came to */
typedef struct TdoPool
{
	Oid			database;		/* InvalidOid: entry unused */
	Oid			role;
	int			failures;		/* in a row */
	int64		next_try_us;	/* monotonic: the clock may be set back */
	char		reason[160];	/* shown in triggerdo.workers */
} TdoPool;

typedef enum TdoDbState
{
	TDO_DB_UNUSED = 0,
	TDO_DB_WANTED,				/* to be looked at: announced, swept, or died */
	TDO_DB_RUNNING,				/* a scheduler is registered or running */
	TDO_DB_NONE					/* looked at: no extension there */
} TdoDbState;

typedef struct TdoDatabase
{
	Oid			database;
	TdoDbState	state;			/* changed under the lock */
	int			pid;			/* of the scheduler, 0 before it attached */
	pg_atomic_uint32 claims;	/* an executor may have left a durable claim */
	Latch	   *latch;			/* of the scheduler, or NULL */
	int			failures;		/* schedulers that ended early, in a row */
	int64		next_try_us;	/* monotonic */
	pg_atomic_uint32 prepared;	/* an enqueue was prepared: look each second */
	bool		watching;		/* the scheduler looks again soon anyway */
	bool		executors_off;	/* the scheduler's triggerdo.executors is 0 */
	bool		announced;		/* since the scheduler last looked for us */
	int			holds;			/* statements that want the database free of
								 * us; an entry with one stays, whatever its
								 * state */
	char		trouble[TDO_VERSION_LEN];	/* extension version that the log
											 * has been told we cannot serve */
	char		paused[160];	/* why nothing begins there; empty: it does */
} TdoDatabase;

typedef enum TdoSlotState
{
	TDO_SLOT_FREE = 0,
	TDO_SLOT_STARTING,			/* registered, not attached yet */
	TDO_SLOT_IDLE,
	TDO_SLOT_BUSY,
	TDO_SLOT_LEAVING			/* looks for work a last time, then ends */
} TdoSlotState;

/* what a run is asked to stop for */
typedef enum TdoStop
{
	TDO_STOP_NONE = 0,
	TDO_STOP_CANCEL,			/* cancel_run() */
	TDO_STOP_TIMEOUT			/* its max_duration is over */
} TdoStop;

/*
 * One executor.  database, role, generation and the step from or to FREE
 * change under the lock; state between IDLE, BUSY and LEAVING is its owner's
 * alone (readers take it as a hint, after a barrier); the fields of the batch
 * are under mutex.
 */
typedef struct TdoSlot
{
	TdoSlotState state;
	uint32		generation;
	Oid			database;
	Oid			role;
	int			pid;
	Latch	   *latch;
	TimestampTz since;			/* of the state */
	uint64		runs_done;
	pg_atomic_uint64 low_key;	/* lowest order key queued since its last
								 * claim, int64 */

	pg_atomic_uint32 hooks;		/* a queued hook may wait for this role */

	pg_atomic_uint64 control;	/* stop.c: is user code running, and what is
								 * asked of it */

	slock_t		mutex;
	int			nruns;			/* in hand */
	int			current;		/* index being run, -1 before the first */
	bool		committing;		/* the user code is deferred triggers' */
	bool		reported;		/* that it does not react to being stopped */
	TimestampTz run_started;
	int64		batch_started_us;	/* monotonic, 0 when idle */
	int64		deadline_us;	/* monotonic; 0: none */
	int64		stop_us;		/* monotonic: the last step to stop it */
	int			stop_run;		/* index of the run that is to stop */
	char		stop_reason[TDO_REASON_LEN];
	TdoStop		decided;		/* why the run stop_run ends, while that is
								 * not committed */
	bool		has_hook;		/* a queued one, between its count and its end */
	char		hook_kind;
	pg_uuid_t	hook_run;
	pg_uuid_t	runs[TDO_MAX_BATCH];
} TdoSlot;

/* a run in whose middle its executor ended */
typedef struct TdoEnded
{
	Oid			database;		/* InvalidOid: entry unused */
	pg_uuid_t	run;
	TimestampTz started;
	TdoStop		stop;			/* not NONE: that is why */
	bool		hook;			/* in a hook of its end: no crash of the run's */
	char		reason[TDO_REASON_LEN];
} TdoEnded;

/* how often an attempt met a serialization failure, whoever ran it */
typedef struct TdoTransient
{
	Oid			database;		/* InvalidOid: entry unused */
	pg_uuid_t	run;
	int			tries;
} TdoTransient;

typedef struct TdoShared
{
	LWLock	   *lock;
	Latch	   *launcher_latch; /* NULL while there is none */
	int			launcher_pid;
	int			nslots;
	pg_atomic_uint32 waiters;	/* sessions waiting for a run's end */
	ConditionVariable wait[TDO_WAIT_BUCKETS];
	TdoDatabase databases[TDO_MAX_DATABASES];
	TdoPool		pools[TDO_MAX_POOLS];
	TdoEnded	ended[TDO_MAX_ENDED];
	pg_atomic_uint32 nended;
	pg_atomic_uint32 nsuspects; /* in the hand file (crash.c) */
	TdoTransient transients[TDO_MAX_TRANSIENTS];
	int			next_transient; /* to be overwritten when all are in use */
	pg_atomic_uint32 ntransients;
	TdoSlot		slots[FLEXIBLE_ARRAY_MEMBER];
} TdoShared;

/* NULL when the library was not preloaded */
extern TdoShared *tdo_shared;

extern void tdo_shmem_init(void);	/* from _PG_init, while preloading */
extern void tdo_require_shmem(void);	/* ERROR 55000 with a hint unless
										 * preloaded */

/* Databases. Each takes the lock itself. */
extern TdoDatabase *tdo_database_find(Oid database);	/* NULL when unknown;
														 * entries never move */
extern TdoDatabase *tdo_database_want(Oid database);	/* make or mark the
														 * entry; NULL when full */

/*
 * A scheduler without work ends: true, and the entry says NONE.  False when the
 * extension was announced meanwhile, so that it must look again.
 */
extern bool tdo_database_leave(TdoDatabase *db);

/* is this still the database's entry, and is it to have a scheduler? */
extern bool tdo_database_is_served(const TdoDatabase *db, Oid database);

/* why nothing begins there, or NULL; true when that is news */
extern bool tdo_database_set_paused(TdoDatabase *db, const char *reason);

/* from one state to another, if it is in the first and no scheduler is attached */
extern bool tdo_database_change(TdoDatabase *db, TdoDbState from, TdoDbState to);

/*
 * Hold a database free of our processes, for a statement that finds them in its
 * way: from here on none starts, and those there are leave at their next look.
 * False when there is no room to remember it.  Each hold is released once.
 */
extern bool tdo_database_hold(Oid database);
extern void tdo_database_release(Oid database);

/* an unlocked look: who ends while it is held ends for the sake of the statement */
extern bool tdo_database_is_held(const TdoDatabase *db);

/* the same for who holds the lock */
extern bool tdo_oid_is_held(Oid database);

/* wake (or SIGTERM) our other processes there; gives how many are left */
extern int	tdo_database_stop(Oid database, bool terminate);

/* is this process one of ours, in that database? */
extern bool tdo_database_has_process(Oid database, int pid);

/* this process becomes the scheduler: false when there is one, or the database is held */
extern bool tdo_database_attach(TdoDatabase *db);
extern void tdo_database_detach(TdoDatabase *db);

/* true when the log has not been told of this version of the extension yet */
extern bool tdo_database_trouble_is_news(TdoDatabase *db, const char *version);

/* is the pool known to wait for its next try? An unlocked look. */
extern bool tdo_pool_is_backing_off(Oid database, Oid role);

/* start trouble of a pool: record (returns true when it is news) and clear */
extern bool tdo_pool_trouble(Oid database, Oid role, int64 next_try_us,
							 int failures, const char *reason);
extern void tdo_pool_clear(Oid database, Oid role);

/* forget the trouble of roles of the database that are not in the list (of oids) */
extern void tdo_pools_keep(Oid database, List *roles);

/* forget that of databases that are not in the list */
extern void tdo_pools_keep_databases(List *databases);
extern bool tdo_pool_get(Oid database, Oid role, TdoPool *copy);

/*
 * Remember a run whose executor ends; one too many is forgotten.  The scheduler
 * looks at its database's one by one, from index 0 on (the index after the one
 * found; -1: no more), and removes what it has seen to.
 */
extern void tdo_ended_add(const TdoEnded *ended);
extern int	tdo_ended_next(Oid database, int index, TdoEnded *ended);
extern void tdo_ended_remove(const TdoEnded *ended);

/* nobody is to begin it before the scheduler has seen to it. Cheap while there is none. */
extern bool tdo_ended_has(const pg_uuid_t *run);

/* count one more serialization failure of the attempt in hand; the attempt came to an end */
extern int	tdo_transient_count(Oid database, const pg_uuid_t *run);

/* has one in its past: it had better run alone. Cheap while there is none at all. */
extern bool tdo_transient_is_known(Oid database, const pg_uuid_t *run);
extern void tdo_transient_forget(Oid database, const pg_uuid_t *run);

extern ConditionVariable *tdo_wait_bucket(const pg_uuid_t *run);

#endif							/* TDO_SHMEM_H */
