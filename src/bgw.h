/*-------------------------------------------------------------------------
 *
 * bgw.h
 *	  Registering our background workers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_BGW_H
#define TDO_BGW_H

#include "postgres.h"

#include "postmaster/bgworker.h"

/* travels to the new process in bgw_extra */
typedef struct TdoWorkerArgs
{
	Oid			database;
	Oid			role;			/* executors only */
	int32		slot;			/* executors only */
	uint32		generation;		/* executors only */
} TdoWorkerArgs;

extern void tdo_bgw_register_launcher(void);

/* Start a process; the handle is palloc'd in the current context. false: no worker slot free. */
extern bool tdo_bgw_start_scheduler(const TdoWorkerArgs *args, BackgroundWorkerHandle **handle);
extern bool tdo_bgw_start_executor(const TdoWorkerArgs *args, BackgroundWorkerHandle **handle);

extern void tdo_bgw_args(TdoWorkerArgs *args);	/* in the new process */

/* signal handlers, then unblock; every worker's first step */
extern void tdo_bgw_setup(void);

/* sleep on the process latch until it is set or ms have gone by (-1: for ever); reloads the configuration when asked to */
extern void tdo_bgw_sleep(long ms, uint32 wait_event);

/* read the configuration again if that was asked for */
extern void tdo_bgw_reload(void);

#endif							/* TDO_BGW_H */
