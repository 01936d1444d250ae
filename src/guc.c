/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Settings triggerdo.*, alphabetical.
 *
 * Job: define every setting.
 * Called by: _PG_init.
 * Locks: none.
 * Crash: nothing to survive.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "compat.h"
#include "guc.h"
#include "retry.h"

#define DAY_MINUTES		(24 * 60)

bool		tdo_allow_superuser_tasks = false;
int			tdo_batch_time = 10;
int			tdo_cancel_grace = 5000;
char	   *tdo_databases = NULL;
char	   *tdo_default_retry = NULL;
int			tdo_executor_memory = 256 * 1024;
int			tdo_executors = 2;
int			tdo_hook_timeout = 30000;
int			tdo_idle_timeout = 60000;
int			tdo_max_crashes = 3;
int			tdo_max_depth = 1000;
int			tdo_max_executors = 16;
int			tdo_max_executors_per_role = 8;
int			tdo_max_payload_size = 0;
int			tdo_max_queued_per_owner = 0;
int			tdo_partitions_ahead = 7;
int			tdo_retention = 30 * DAY_MINUTES;
int			tdo_serialization_retries = 5;
int			tdo_sweep_interval = 300;

bool
tdo_database_listed(const char *name)
{
	List	   *names;
	ListCell   *lc;

	if (tdo_databases == NULL || strcmp(tdo_databases, "*") == 0)
		return true;
	/* check_databases() has seen to the syntax */
	(void) SplitIdentifierString(pstrdup(tdo_databases), ',', &names);
	foreach(lc, names)
	{
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	}
	return false;
}

static bool
check_databases(char **newval, void **extra, GucSource source)
{
	List	   *names;

	if (strcmp(*newval, "*") == 0 ||
		SplitIdentifierString(pstrdup(*newval), ',', &names))
		return true;
	GUC_check_errdetail("It is neither \"*\" nor a list of names.");
	return false;
}

/*
 * A setting that cannot be read must be refused here, not at the first failure
 * of a run.  Catching is safe: the parser only allocates.
 */
static bool
check_default_retry(char **newval, void **extra, GucSource source)
{
	MemoryContext context = CurrentMemoryContext;
	TdoRetryPolicy policy;
	volatile bool ok = true;

	if ((*newval)[0] == '\0')
		return true;
	PG_TRY();
	{
		Datum		j = DirectFunctionCall1(jsonb_in, CStringGetDatum(*newval));

		(void) tdo_retry_parse(DatumGetJsonbP(j), &policy, ERROR);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		GUC_check_errdetail("%s", edata->message);
		ok = false;
	}
	PG_END_TRY();
	return ok;
}

void
tdo_guc_init(bool preloading)
{
	DefineCustomBoolVariable("triggerdo.allow_superuser_tasks",
							 "Allows superusers to own tasks.",
							 "A superuser's task runs with a superuser's rights.",
							 &tdo_allow_superuser_tasks,
							 false, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.batch_time",
							"Time after which short runs stop sharing a transaction.",
							NULL,
							&tdo_batch_time,
							10, 0, 10000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.cancel_grace",
							"Time that a run has to react to being cancelled before its process is ended.",
							NULL,
							&tdo_cancel_grace,
							5000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomStringVariable("triggerdo.databases",
							   "Databases whose tasks are run.",
							   "\"*\" for every database that has the extension, or names separated by commas.",
							   &tdo_databases,
							   "*", PGC_SIGHUP, GUC_LIST_INPUT, check_databases, NULL, NULL);

	DefineCustomStringVariable("triggerdo.default_retry",
							   "Retry policy (JSON) of tasks defined without one.",
							   "Empty means one attempt.",
							   &tdo_default_retry,
							   "", PGC_SIGHUP, 0, check_default_retry, NULL, NULL);

	DefineCustomIntVariable("triggerdo.executor_memory",
							"Memory at which an executor is replaced by a fresh one.",
							NULL,
							&tdo_executor_memory,
							256 * 1024, 16 * 1024, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.executors",
							"Executors that a role's runs get before any has been seen to wait.",
							"0 stops running: runs stay queued.",
							&tdo_executors,
							2, 0, 1000, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.hook_timeout",
							"Time that a hook of a run's end, or catch_error, may take.",
							"Past it the hook is cancelled, and after cancel_grace its process ended. 0 means no limit.",
							&tdo_hook_timeout,
							30000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.idle_timeout",
							"Time after which an idle executor ends.",
							NULL,
							&tdo_idle_timeout,
							60000, 100, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.max_crashes",
							"Crashes that a run may cause before it is CRASHED.",
							"Ends of its process count, and crashes of the server while it ran alone. 0: any number.",
							&tdo_max_crashes,
							3, 0, 1000, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.max_depth",
							"Longest chain of runs that trigger one another.",
							"0 means no limit.",
							&tdo_max_depth,
							1000, 0, PG_INT16_MAX - 1, PGC_SIGHUP, 0, NULL, NULL, NULL);

	if (preloading)
		DefineCustomIntVariable("triggerdo.max_executors",
								"Most executors in the cluster.",
								"Each needs one of max_worker_processes while it runs.",
								&tdo_max_executors,
								16, 1, 1000, PGC_POSTMASTER, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.max_executors_per_role",
							"Most executors of one role in one database.",
							NULL,
							&tdo_max_executors_per_role,
							8, 1, 1000, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.max_payload_size",
							"Largest payload, metadata or output of a run.",
							"Each as stored, before compression. 0 means no limit.",
							&tdo_max_payload_size,
							0, 0, MaxAllocSize / 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.max_queued_per_owner",
							"Most runs of one role in one database that are not final.",
							"0 means no limit.",
							&tdo_max_queued_per_owner,
							0, 0, INT_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.partitions_ahead",
							"Days for which partitions are made ahead.",
							NULL,
							&tdo_partitions_ahead,
							7, 0, 365, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.retention",
							"Time for which the history of final runs is kept.",
							"It goes by whole days. 0 keeps it for ever.",
							&tdo_retention,
							30 * DAY_MINUTES, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.serialization_retries",
							"Times an attempt is tried again at once after a serialization failure or a deadlock.",
							"They do not count as attempts.",
							&tdo_serialization_retries,
							5, 0, 1000, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("triggerdo.sweep_interval",
							"Time between the launcher's looks at databases it has not heard of.",
							NULL,
							&tdo_sweep_interval,
							300, 1, INT_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);

	MarkGUCPrefixReserved("triggerdo");
}
