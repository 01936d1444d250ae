/*-------------------------------------------------------------------------
 *
 * durable.h
 *	  A run whose task may commit before it is done: a procedure, a command.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_DURABLE_H
#define TDO_DURABLE_H

#include "postgres.h"

#include "execute.h"
#include "rows.h"
#include "shmem.h"

/* once per executor */
extern void tdo_durable_init(TdoSlot *my_slot);

/*
 * Runs it and writes what became of it, outside a transaction.  The claim is
 * committed, the slot shows the run.  live, run and entry are the caller's and
 * outlive the call.  Raises an error only when nothing could be written: the
 * claim is then void.  False: it met a serialization failure and is queued again,
 * to be tried at once.
 */
extern bool tdo_durable_run(const TdoLive *live, const TdoRun *run, TdoEntry *entry,
							TimestampTz started);

#endif							/* TDO_DURABLE_H */
