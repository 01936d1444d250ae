/*-------------------------------------------------------------------------
 *
 * fault.c
 *	  Named places at which a test may let something go wrong.
 *
 * Job: publish the seam that the test module fills.
 * Called by: _PG_init; TDO_FAULT() everywhere.
 * Locks: none.
 * Crash: nothing to survive.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "fault.h"

TdoFaultSeam tdo_fault_seam = {NULL};

void
tdo_fault_init(void)
{
	void	  **seam = find_rendezvous_variable("triggerdo_fault");

	*seam = &tdo_fault_seam;
}
