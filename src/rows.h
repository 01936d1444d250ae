/*-------------------------------------------------------------------------
 *
 * rows.h
 *	  Rows of the run family, live and timer: reading, locking, writing.
 *
 * Everything here is heap and btree access, as the current user, without an
 * ACL check: callers have checked rights.  A snapshot must be active wherever
 * values may be toasted.  Structs are the caller's; what they point to is in
 * the context that was current at the call.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_ROWS_H
#define TDO_ROWS_H

#include "postgres.h"

#include "access/htup.h"
#include "nodes/lockoptions.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "triggerdo.h"

typedef struct TdoRun
{
	pg_uuid_t	run_id;
	TimestampTz created_at;
	TimestampTz delayed_until;	/* 0: not delayed */
	Oid			owner;
	Oid			triggered_by;
	int			priority;
	int			max_attempts;	/* 0: the task's */
	int64		max_duration;	/* microseconds; 0: the task's */
	bool		has_parent;
	pg_uuid_t	parent;
	pg_uuid_t	root;			/* valid with has_parent */
	bool		has_batch;
	pg_uuid_t	batch;
	int			depth;			/* how many runs above it */
	char	   *task;
	ArrayType  *tags;			/* NULL: none */
	Jsonb	   *payload;
	Jsonb	   *metadata;		/* NULL: {} */
	bool		keep_result;	/* whatever its task keeps */
	bool		has_replay_of;
	pg_uuid_t	replay_of;		/* the run that this one repeats */
	char	   *idempotency_key;	/* NULL: none */
	char	   *queue;			/* NULL: the task's own */
	char	   *schedule;		/* NULL: none */
} TdoRun;

typedef struct TdoLive
{
	pg_uuid_t	run_id;
	int64		order_key;
	Oid			owner;
	int			attempt;		/* failed so far */
	int			crashes;		/* since its last attempt that came to an end */
	char		state;
	bool		has_claim;
	pg_uuid_t	claim;			/* the fence, with has_claim */
	ItemPointerData tid;
	TransactionId xmin;
} TdoLive;

typedef struct TdoResult
{
	pg_uuid_t	run_id;
	TimestampTz queued_at;		/* 0: never */
	TimestampTz started_at;		/* 0: never */
	TimestampTz finished_at;
	int			attempt;
	char		status;
	Jsonb	   *output;			/* NULL: null */
	Jsonb	   *error;			/* NULL: none */
} TdoResult;

typedef struct TdoAttempt
{
	pg_uuid_t	run_id;
	int			attempt;
	TimestampTz started_at;
	TimestampTz finished_at;
	TimestampTz retry_at;
	Jsonb	   *error;
} TdoAttempt;

/* false: there is none. Looks at what is committed now or is our own, whatever the isolation level. */
extern bool tdo_run_get(const pg_uuid_t *id, TdoRun *run);

/* of a row that a scan of a partition of runs has just shown; copies */
extern void tdo_run_read(Relation rel, HeapTuple tuple, TdoRun *run);
extern bool tdo_result_get(const pg_uuid_t *id, TdoResult *result);
extern bool tdo_live_get(const pg_uuid_t *id, TdoLive *live);

/* statuses with which a run gives its idempotency key up: all but COMPLETED and CANCELED */
static inline bool
tdo_frees_key(char status)
{
	return status == TDO_FAILED || status == TDO_CRASHED || status == TDO_SYSTEM_FAILURE ||
		status == TDO_EXPIRED || status == TDO_TIMED_OUT;
}

/* the same, but only how it ended; 0: it has not, or is not there */
extern char tdo_result_status(const pg_uuid_t *id);

/* what the other tables say of a run, by the snapshot of a query: for the views */
typedef struct TdoState
{
	bool		is_final;
	TdoResult	result;			/* of a final run */
	bool		is_live;
	TdoLive		live;			/* of one that is not */
	TimestampTz due;			/* of its timer; 0: none */
	Jsonb	   *error;			/* of the attempt that failed last; NULL: none */
} TdoState;

/* outputs and errors only with `wide` */
extern void tdo_state_as_of(const pg_uuid_t *id, Snapshot snapshot, bool wide, TdoState *state);

/* is any run of that day not final, by an MVCC snapshot taken now? */
extern bool tdo_live_in_day(int day);

/* of a row that a scan of a partition of results has just shown */
extern TimestampTz tdo_result_finished_at(Relation rel, HeapTuple tuple);
extern pg_uuid_t tdo_result_id(Relation rel, HeapTuple tuple);

/* inserts; run's makes the day's partition when missing */
extern void tdo_run_insert(const TdoRun *run);
extern void tdo_result_insert(const TdoResult *result);
extern void tdo_attempt_insert(const TdoAttempt *attempt);
extern void tdo_live_insert(const TdoLive *live);
extern void tdo_timer_insert(const pg_uuid_t *id, TimestampTz due);

/* the run's row and its attempts'; only by who has its live row locked, or of a run that is final */
extern void tdo_run_delete(const pg_uuid_t *id);

typedef enum TdoLock
{
	TDO_LOCKED,					/* ours until the transaction ends */
	TDO_LOCK_GONE,				/* no such row */
	TDO_LOCK_BUSY				/* another transaction has it (LockWaitSkip) */
} TdoLock;

/* lock a live row FOR UPDATE and read what it is now */
extern TdoLock tdo_live_lock(const pg_uuid_t *id, LockWaitPolicy policy, TdoLive *live);

/* the same, waiting, while it is delayed: one that is not, or no more, is GONE */
extern TdoLock tdo_live_lock_delayed(const pg_uuid_t *id, TdoLive *live);

/* lock the row that a scan has just shown; false: busy, changed or gone */
extern bool tdo_live_lock_tuple(Relation rel, HeapTuple tuple);
extern void tdo_live_read(Relation rel, HeapTuple tuple, TdoLive *live);

/* the row must be locked by this transaction */
extern void tdo_live_delete(const TdoLive *live);
extern void tdo_live_update(const TdoLive *live);

extern void tdo_timer_delete(const pg_uuid_t *id);	/* no-op when there is
													 * none */

/* when the earliest timer is due; 0: there is none */
extern TimestampTz tdo_timer_next(void);

/* make at most `limit` due runs queued; returns how many timers went */
extern int	tdo_timers_fire(TimestampTz now, int limit);

#endif							/* TDO_ROWS_H */
