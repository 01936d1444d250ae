/*-------------------------------------------------------------------------
 *
 * api_idempotency.c
 *	  SQL: reset_idempotency_key.
 *
 * Job: check arguments and the right to trigger, then free the key.
 * Called by: SQL.
 * Locks: those of idempotency.c; waits for a transaction that changes the key.
 * Crash: the key is free if, and only if, the caller's transaction committed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "api.h"
#include "idempotency.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(tdo_sql_reset_idempotency_key);

Datum
tdo_sql_reset_idempotency_key(PG_FUNCTION_ARGS)
{
	TdoTask		task;
	char	   *key;

	tdo_require_arg(fcinfo, 0, "task");
	tdo_require_arg(fcinfo, 1, "key");
	tdo_require_shmem();
	PreventCommandIfReadOnly("reset_idempotency_key()");
	key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	tdo_check_idempotency_key(key);
	tdo_get_triggerable(text_to_cstring(PG_GETARG_TEXT_PP(0)), &task);
	PG_RETURN_BOOL(tdo_idempotency_reset(task.id, task.owner, key));
}
