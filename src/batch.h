/*-------------------------------------------------------------------------
 *
 * batch.h
 *	  One batch of runs: claimed, run, recorded and committed together.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_BATCH_H
#define TDO_BATCH_H

#include "postgres.h"

#include "shmem.h"

typedef enum TdoBatchEnd
{
	TDO_BATCH_EMPTY,			/* nothing was claimable */
	TDO_BATCH_DONE,				/* look again at once */
	TDO_BATCH_GONE				/* leave: the extension is gone, or the role
								 * changed */
} TdoBatchEnd;

/* once per executor, when it is connected; cancel signals are held off from here on */
extern void tdo_batch_init(Oid my_role, TdoSlot *my_slot, TdoDatabase *my_database);

/* One batch and what comes of it.  Outside a transaction; raises nothing but FATAL. */
extern TdoBatchEnd tdo_batch_run(void);

#endif							/* TDO_BATCH_H */
