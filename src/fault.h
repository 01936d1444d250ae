/*-------------------------------------------------------------------------
 *
 * fault.h
 *	  Named places at which a test may let something go wrong.
 *
 * Without the test module a place costs the test of one pointer.  Nothing in
 * the extension sets it; who may load a library into the postmaster may do
 * worse.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_FAULT_H
#define TDO_FAULT_H

#include "postgres.h"

/* published as rendezvous variable "triggerdo_fault"; lives as long as the process */
typedef struct TdoFaultSeam
{
	void		(*reached) (const char *point); /* may raise, or not come back */
} TdoFaultSeam;

extern TdoFaultSeam tdo_fault_seam;

extern void tdo_fault_init(void);

/* never where an error would be a PANIC, nor under a spinlock */
#define TDO_FAULT(point) \
	do { \
		if (unlikely(tdo_fault_seam.reached != NULL)) \
			tdo_fault_seam.reached(point); \
	} while (0)

#endif							/* TDO_FAULT_H */
