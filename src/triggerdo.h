/*-------------------------------------------------------------------------
 *
 * triggerdo.h
 *	  Names and limits that every file of triggerdo shares.
 *
 * Nothing here but constants and small enums: no state, no prototypes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TRIGGERDO_H
#define TRIGGERDO_H

#include "postgres.h"

#define TDO_EXTENSION			"triggerdo"
#define TDO_PRIVATE_SCHEMA		"_triggerdo"
#define TDO_VERSION				"0.2.0"

/* the oldest version of the extension's SQL objects that this library serves */
#define TDO_OLDEST_SQL			"0.2.0"
#define TDO_VERSION_LEN			32

/* bytes of a task's id */
#define TDO_MAX_TASK_ID			255

/* most runs that share one transaction; below PGPROC's 64 cached subxids */
#define TDO_MAX_BATCH			60

/* databases that may have the extension at the same time */
#define TDO_MAX_DATABASES		1024

/* (database, role) pairs whose start trouble is remembered */
#define TDO_MAX_POOLS			128

/* runs whose executors ended, until the scheduler has seen to them */
#define TDO_MAX_ENDED			256

/* runs that may have crashed the server, until each has run alone */
#define TDO_MAX_SUSPECTS		64

/* what is kept of a reason for cancelling a run that is executing */
#define TDO_REASON_LEN			256

/* attempts that met serialization failures and have not ended */
#define TDO_MAX_TRANSIENTS		256

/* condition variables that waiters for a run's end are spread over */
#define TDO_WAIT_BUCKETS		64

/*
 * From here up to FirstNormalObjectId: oids under which the rows of roles wait
 * that a copy's server does not have.  The number is in sql/81_pause.sql, too.
 */
#define TDO_MISSING_ROLE_MIN	12000

/* _triggerdo.live.state */
#define TDO_LIVE_QUEUED			'q'
#define TDO_LIVE_DELAYED		'd'
#define TDO_LIVE_CLAIMED		'x' /* by an executor, durably */

/* _triggerdo.result.status */
#define TDO_COMPLETED			'C'
#define TDO_CANCELED			'X'
#define TDO_FAILED				'F'
#define TDO_CRASHED				'K'
#define TDO_SYSTEM_FAILURE		'S'
#define TDO_EXPIRED				'E'
#define TDO_TIMED_OUT			'T'

/* _triggerdo.task.keep: of which final runs a task keeps the history */
#define TDO_KEEP_ALL			'a'
#define TDO_KEEP_FAILED			'f' /* all but COMPLETED ones */
#define TDO_KEEP_NONE			'n'

/*
 * SQLSTATEs of our own: abort_run(), retry_run_at(), and the errors of a run
 * that was cancelled, was past its max_duration, crashed too often
 */
#define TDO_ERRCODE_ABORT		MAKE_SQLSTATE('T', 'D', '0', '0', '1')
#define TDO_ERRCODE_RETRY_AT	MAKE_SQLSTATE('T', 'D', '0', '0', '2')
#define TDO_ERRCODE_CANCELED	MAKE_SQLSTATE('T', 'D', '0', '0', '3')
#define TDO_ERRCODE_TIMED_OUT	MAKE_SQLSTATE('T', 'D', '0', '0', '4')
#define TDO_ERRCODE_CRASHED		MAKE_SQLSTATE('T', 'D', '0', '0', '5')

#endif							/* TRIGGERDO_H */
