/*-------------------------------------------------------------------------
 *
 * attempt.h
 *	  What becomes of an attempt that an executor has made.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_ATTEMPT_H
#define TDO_ATTEMPT_H

#include "postgres.h"

#include "execute.h"
#include "rows.h"

/* write it; the live row is locked by this transaction. entry NULL: the task is gone. */
extern void tdo_attempt_record(const TdoLive *live, const TdoRun *run, const TdoEntry *entry,
							   const TdoOutcome *outcome, TimestampTz started);

/* the outcome of an attempt that raised this error, or was stopped, outside of tdo_execute() */
extern void tdo_attempt_failed(TdoOutcome *outcome, const ErrorData *edata, TdoStop stop);

/*
 * A stop that was accepted and could not be written, in an executor: the scheduler
 * writes it, and nobody begins the run before.  No-op for TDO_STOP_NONE.
 */
extern void tdo_attempt_unrecorded(const pg_uuid_t *id, TdoStop stop, TimestampTz started);

/*
 * Serialization failures, deadlocks and locks that cannot be had have a budget
 * of their own; counts this one.  NULL: no error that may be tried again.
 */
extern bool tdo_attempt_may_repeat(const pg_uuid_t *id, const ErrorData *edata);

/* the monotonic time at which an attempt that begins now must be over; 0: never */
extern int64 tdo_attempt_deadline(const TdoRun *run, const TdoEntry *entry);

/* show it in pg_stat_activity */
extern void tdo_attempt_report(const TdoRun *run);

#endif							/* TDO_ATTEMPT_H */
