/*-------------------------------------------------------------------------
 *
 * triggerdo.c
 *	  Module start.
 *
 * Job: set everything up, in order.
 * Called by: the server, while preloading or at a function's first call.
 * Locks: none.
 * Crash: nothing to survive.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "api.h"
#include "bgw.h"
#include "change.h"
#include "clock.h"
#include "crash.h"
#include "definition.h"
#include "execute.h"
#include "fault.h"
#include "grant.h"
#include "guc.h"
#include "origin.h"
#include "shmem.h"
#include "store.h"
#include "utility.h"
#include "wake.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	tdo_clock_init();
	tdo_fault_init();
	tdo_guc_init(process_shared_preload_libraries_in_progress);
	tdo_wake_init();
	tdo_store_init();
	tdo_definition_init();
	tdo_change_init();
	tdo_execute_init();
	tdo_state_init();
	tdo_grant_init();
	tdo_origin_init(process_shared_preload_libraries_in_progress);

	/*
	 * loaded late there is no shared memory to be had: functions that need it
	 * say so
	 */
	if (!process_shared_preload_libraries_in_progress)
		return;
	tdo_shmem_init();
	tdo_crash_init();
	/* pg_upgrade must find nobody running tasks */
	if (IsBinaryUpgrade)
		return;
	tdo_utility_init();
	tdo_bgw_register_launcher();
}
