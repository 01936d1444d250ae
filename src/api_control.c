/*-------------------------------------------------------------------------
 *
 * api_control.c
 *	  SQL: replay_run, replay_runs, reschedule_run.
 *
 * Job: runs once more, and delayed ones at another time.
 * Called by: SQL.
 * Locks: reschedule_run has the live row FOR UPDATE; a replay is an enqueue.
 * Crash: ordinary transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "api.h"
#include "definition.h"
#include "filter.h"
#include "json.h"
#include "shmem.h"
#include "store.h"
#include "transition.h"

PG_FUNCTION_INFO_V1(tdo_sql_replay_run);
PG_FUNCTION_INFO_V1(tdo_sql_replay_runs);
PG_FUNCTION_INFO_V1(tdo_sql_reschedule_run);

Datum
tdo_sql_replay_run(PG_FUNCTION_ARGS)
{
	TdoRun		run;
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	tdo_require_arg(fcinfo, 0, "run");
	tdo_require_shmem();
	PreventCommandIfReadOnly("replay_run()");
	if (!PG_ARGISNULL(2))
		tdo_unsupported("replay_run", "from_checkpoint");
	tdo_get_known_run(PG_GETARG_UUID_P(0), &run);
	*id = tdo_replay(&run, PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1),
					 PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3));
	PG_RETURN_UUID_P(id);
}

/* not those whose task is gone, or that are not the caller's to replay */
static bool
may_replay(const TdoRun *run)
{
	TdoTask		task;

	return tdo_definition(run->task, &task) && tdo_may_replay(run, &task);
}

Datum
tdo_sql_replay_runs(PG_FUNCTION_ARGS)
{
	TdoFilterScan *scan;
	TdoRun		run;
	MemoryContext each;
	int64		replayed = 0;

	tdo_require_arg(fcinfo, 0, "filter");
	tdo_require_shmem();
	PreventCommandIfReadOnly("replay_runs()");
	(void) tdo_objects();
	scan = tdo_filter_begin(tdo_filter_read(PG_GETARG_JSONB_P(0)), false);
	each = AllocSetContextCreate(CurrentMemoryContext, "triggerdo replay",
								 ALLOCSET_DEFAULT_SIZES);
	while (tdo_filter_next(scan, &run))
	{
		MemoryContext old = MemoryContextSwitchTo(each);

		if (may_replay(&run))
		{
			(void) tdo_replay(&run, NULL, NULL);
			replayed++;
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(each);
	}
	PG_RETURN_INT64(replayed);
}

Datum
tdo_sql_reschedule_run(PG_FUNCTION_ARGS)
{
	TdoRun		run;
	TimestampTz at;

	tdo_require_arg(fcinfo, 0, "run");
	tdo_require_shmem();
	PreventCommandIfReadOnly("reschedule_run()");
	if (PG_ARGISNULL(1) && PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("delay and run_at are both missing"),
				 errhint("Give one of them.")));
	at = tdo_start_time(PG_ARGISNULL(1) ? NULL : PG_GETARG_INTERVAL_P(1),
						!PG_ARGISNULL(2), PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2));
	tdo_get_manageable_run(PG_GETARG_UUID_P(0), &run);
	PG_RETURN_BOOL(tdo_reschedule(&run.run_id, at));
}
