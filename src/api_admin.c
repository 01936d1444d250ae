/*-------------------------------------------------------------------------
 *
 * api_admin.c
 *	  SQL: purge.
 *
 * Job: check arguments and rights of what administrators call.
 * Called by: SQL.
 * Locks: see history.c.
 * Crash: the caller's transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "api.h"
#include "clock.h"
#include "grant.h"
#include "history.h"
#include "store.h"

PG_FUNCTION_INFO_V1(tdo_sql_purge);

static void
require_admin(const char *function)
{
	if (!tdo_is_admin())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", function),
				 errhint("Superusers and administrators (triggerdo.grant_admin) may call it.")));
}

Datum
tdo_sql_purge(PG_FUNCTION_ARGS)
{
	Interval   *older_than;
	Interval	zero = {0};
	Datum		before;

	tdo_require_arg(fcinfo, 0, "older_than");
	older_than = PG_GETARG_INTERVAL_P(0);
	(void) tdo_objects();
	require_admin("purge");
	PreventCommandIfReadOnly("purge()");
	if (DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(older_than),
										 IntervalPGetDatum(&zero))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("older_than must not be negative"),
				 errhint("For example interval '30 days'.")));
	before = DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(tdo_now()),
								 IntervalPGetDatum(older_than));
	PG_RETURN_INT64(tdo_history_purge(DatumGetTimestampTz(before)));
}
