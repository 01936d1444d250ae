/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  Telling other processes, at commit, what this transaction did.
 *
 * Requests die with the (sub)transaction that made them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_WAKE_H
#define TDO_WAKE_H

#include "postgres.h"

#include "utils/uuid.h"

extern void tdo_wake_init(void);	/* once per process, from _PG_init */

/* a run of this owner, with this order key, became queued */
extern void tdo_wake_queued(Oid owner, int64 order_key);

/* a hook of a run of this owner was queued, or the next one may be called */
extern void tdo_wake_hook(Oid owner);

/* a timer was set: the scheduler must look at its clock again */
extern void tdo_wake_timer(void);

/* a run became final: sessions may be waiting for it */
extern void tdo_wake_finished(const pg_uuid_t *run);

/* a queued run was locked: if that is rolled back, somebody may take it again */
extern void tdo_wake_if_rolled_back(void);

/* the extension was created in this database */
extern void tdo_wake_launcher(void);

/* at once, not at commit: every scheduler and executor (the mock clock moved) */
extern void tdo_wake_everyone(void);

#endif							/* TDO_WAKE_H */
