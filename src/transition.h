/*-------------------------------------------------------------------------
 *
 * transition.h
 *	  Every change of a run's state, each in one function.
 *
 * The state table of docs/ARCHITECTURE.md is this header's explanation.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_TRANSITION_H
#define TDO_TRANSITION_H

#include "postgres.h"

#include "failure.h"
#include "hook.h"
#include "rows.h"
#include "shmem.h"
#include "task.h"

/* what a caller asks for; checked already */
typedef struct TdoEnqueue
{
	const TdoTask *task;
	Jsonb	   *payload;
	TimestampTz run_at;			/* 0: now */
	int			max_attempts;	/* 0: the task's */
	int64		max_duration;	/* microseconds; 0: the task's */
	ArrayType  *tags;			/* NULL: none */
	Jsonb	   *metadata;		/* NULL: {} */
	const pg_uuid_t *batch;		/* NULL: none */
	const pg_uuid_t *parent;	/* NULL: not from inside a run */
	const pg_uuid_t *root;
	int			depth;			/* how many runs above it */
	bool		parent_ends_first;	/* it is final before anybody sees this
									 * run */
	bool		keep_result;	/* somebody waits for it */
	const pg_uuid_t *replay_of; /* NULL: no replay */
	bool		by_nobody;		/* the current user is not to be noted */
	const char *idempotency_key;	/* NULL: none; else until: */
	TimestampTz idempotency_expires;
} TdoEnqueue;

/*
 * nothing -> QUEUED or DELAYED.  Where the idempotency key is taken, nothing is
 * written, and the id is that of the run that has it (*is_cached).
 */
extern pg_uuid_t tdo_enqueue(const TdoEnqueue *e);
extern pg_uuid_t tdo_enqueue_once(const TdoEnqueue *e, bool *is_cached);

/*
 * What is to be kept of a run when it ends (TDO_KEEP_...), for tdo_finish: its
 * task's word, unless somebody waits for the result.  A task that is gone (NULL)
 * keeps all.  tdo_keep_by_id looks the task up: for those who have not got it.
 */
extern char tdo_keep(const TdoRun *run, const TdoTask *task);
extern char tdo_keep_by_id(const TdoRun *run);

/*
 * QUEUED, DELAYED or in hand -> final; the live row is locked by this
 * transaction.  run and task may be NULL: gone.  The hooks that it calls for are
 * put into *due, for a caller that calls them in this transaction; due NULL: they
 * are queued.
 */
extern void tdo_finish(const TdoLive *live, const TdoRun *run, const TdoTask *task, char status,
					   TimestampTz started_at, Jsonb *output, Jsonb *error, TdoDue *due);

/* the same, of a run that has not begun, by those who have not got its task */
extern void tdo_finish_unstarted(const TdoLive *live, const TdoRun *run, char status, Jsonb *error);

/* how an attempt that failed goes on */
typedef struct TdoFailed
{
	const TdoRun *run;
	const TdoTask *task;		/* NULL: it is gone, and the run with it */
	const TdoFailure *failure;
	TimestampTz started_at;
	TimestampTz retry_at;		/* 0: by the policy (retry_run_at names it) */
	bool		for_good;		/* abort_run */
	TdoDue	   *due;			/* as tdo_finish's */
} TdoFailed;

/* in hand -> FAILED, or DELAYED/QUEUED for the next attempt; the live row is locked */
extern void tdo_fail(const TdoLive *live, const TdoFailed *f);

/* in hand -> CANCELED, TIMED_OUT; the live row is locked */
extern void tdo_stopped(const TdoLive *live, const TdoRun *run, const TdoTask *task,
						TdoStop stop, const char *reason, TimestampTz started_at, TdoDue *due);

/* how long an attempt may take, in microseconds; 0: as long as it likes. The task may be NULL. */
extern int64 tdo_max_duration(const TdoRun *run, const TdoTask *task);

/*
 * QUEUED -> claimed, with a new fence in live->claim, for work that commits
 * before it is done; the live row is locked.  And back, by whoever claimed it.
 */
extern void tdo_claim_durably(TdoLive *live);
extern void tdo_unclaim(const TdoLive *live);

/* lock the run if it is still claimed with this fence */
extern bool tdo_claim_lock(const TdoLive *claimed, TdoLive *live);

/* claimed by an executor that is not there any more -> QUEUED; no-op for any other */
extern void tdo_claim_is_void(const pg_uuid_t *id);

/*
 * A run in whose middle its executor ended: CANCELED or TIMED_OUT when that was
 * why; else QUEUED at first, then DELAYED for a while that doubles each time,
 * CRASHED after max_crashes, without burning an attempt.  False: somebody holds
 * the row, so it is to be tried again.
 */
extern bool tdo_executor_ended(const TdoEnded *ended);

/*
 * A run that may have crashed the server -> QUEUED, or CRASHED when it has done so
 * while alone for the max_crashes-th time.  *owner is who is to run it, or
 * InvalidOid.  False: as above.
 */
extern bool tdo_suspected(const pg_uuid_t *id, bool counts, TimestampTz started, Oid *owner);

/*
 * DELAYED -> DELAYED until another time, or QUEUED when that has come.  False: it
 * is not delayed, or not any more.  Waits for who has it locked.
 */
extern bool tdo_reschedule(const pg_uuid_t *id, TimestampTz at);

/* QUEUED -> DELAYED for so long, no attempt counted: the machine was to blame */
extern void tdo_later(const pg_uuid_t *id, int64 delay_us);

#endif							/* TDO_TRANSITION_H */
