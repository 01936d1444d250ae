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
#include "rows.h"
#include "task.h"

/* what a caller asks for; checked already */
typedef struct TdoEnqueue
{
	const TdoTask *task;
	Jsonb	   *payload;
	TimestampTz run_at;			/* 0: now */
	int			max_attempts;	/* 0: the task's */
	ArrayType  *tags;			/* NULL: none */
	Jsonb	   *metadata;		/* NULL: {} */
	const pg_uuid_t *batch;		/* NULL: none */
	const pg_uuid_t *parent;	/* NULL: not from inside a run */
	const pg_uuid_t *root;
} TdoEnqueue;

/* nothing -> QUEUED or DELAYED */
extern pg_uuid_t tdo_enqueue(const TdoEnqueue *e);

/* QUEUED, DELAYED or in hand -> final; the live row is locked by this transaction */
extern void tdo_finish(const TdoLive *live, char status, TimestampTz started_at,
					   Jsonb *output, Jsonb *error);

/* how an attempt that failed goes on */
typedef struct TdoFailed
{
	const TdoRun *run;
	const TdoTask *task;		/* NULL: it is gone, and the run with it */
	const TdoFailure *failure;
	TimestampTz started_at;
	TimestampTz retry_at;		/* 0: by the policy (retry_run_at names it) */
	bool		for_good;		/* abort_run */
} TdoFailed;

/* in hand -> FAILED, or DELAYED/QUEUED for the next attempt; the live row is locked */
extern void tdo_fail(const TdoLive *live, const TdoFailed *f);

/*
 * Queued, its executor having ended in the middle of it -> DELAYED for a while
 * that doubles each time, without burning an attempt.  No-op for a run that is
 * not queued, or in somebody's hand again.
 */
extern void tdo_put_off(const pg_uuid_t *id);

#endif							/* TDO_TRANSITION_H */
