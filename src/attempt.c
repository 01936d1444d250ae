/*-------------------------------------------------------------------------
 *
 * attempt.c
 *	  What becomes of an attempt that an executor has made.
 *
 * Job: from an outcome to the rows; the budget of serialization failures; when
 * an attempt must be over.
 * Called by: batch.c, durable.c.
 * Locks: the caller holds the live row FOR UPDATE.
 * Crash: as transition.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "attempt.h"
#include "clock.h"
#include "fault.h"
#include "guc.h"
#include "hook_run.h"
#include "transition.h"
#include "triggerdo.h"

/*
 * A command has done what it does before this transaction, and so has what a
 * procedure has committed: a hook that takes the transaction with it must not
 * have that done again.
 */
static bool
may_call_hooks(const TdoTask *task, const TdoLive *live)
{
	return task->hooks != NULL && task->kind != TDO_KIND_COMMAND && !task->own_commits &&
		tdo_hooks_inline(live);
}

void
tdo_attempt_record(const TdoLive *live, const TdoRun *run, const TdoEntry *entry,
				   const TdoOutcome *outcome, TimestampTz started)
{
	const TdoTask *task = entry ? tdo_entry_task(entry) : NULL;
	bool		at_once = entry && may_call_hooks(task, live);
	TdoDue		due = {0};
	TdoFailed	f = {0};

	TDO_FAULT("before_record");
	if (outcome->stop != TDO_STOP_NONE)
	{
		char		reason[TDO_REASON_LEN];
		int			index;

		tdo_stop_reason(&index, reason);
		tdo_stopped(live, run, task, outcome->stop, reason, started, at_once ? &due : NULL);
	}
	else if (outcome->ok)
		tdo_finish(live, run, task, TDO_COMPLETED, started, outcome->output, NULL, at_once ? &due : NULL);
	else
	{
		f.run = run;
		f.task = task;
		f.failure = outcome->failure;
		f.started_at = started;
		f.retry_at = outcome->retry_at;
		f.for_good = outcome->for_good;
		f.due = at_once ? &due : NULL;
		if (entry)
			tdo_catch_error(entry, live, &f);
		tdo_fail(live, &f);
	}
	if (due.n > 0)
		tdo_hooks_call(entry, run, live->attempt + (started != 0 ? 1 : 0), &due);
}

void
tdo_attempt_failed(TdoOutcome *outcome, const ErrorData *edata, TdoStop stop)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->failure = tdo_failure_from_error(edata);
	outcome->stop = stop;
}

void
tdo_attempt_unrecorded(const pg_uuid_t *id, TdoStop stop, TimestampTz started)
{
	TdoEnded	ended = {0};
	int			index;

	if (stop == TDO_STOP_NONE)
		return;
	ended.database = MyDatabaseId;
	ended.run = *id;
	ended.started = started;
	ended.stop = stop;
	tdo_stop_reason(&index, ended.reason);
	tdo_ended_add(&ended);
}

bool
tdo_attempt_may_repeat(const pg_uuid_t *id, const ErrorData *edata)
{
	return edata != NULL && tdo_failure_is_contention(edata) &&
		tdo_transient_count(MyDatabaseId, id) <= tdo_serialization_retries;
}

int64
tdo_attempt_deadline(const TdoRun *run, const TdoEntry *entry)
{
	int64		max_us = entry ? tdo_max_duration(run, tdo_entry_task(entry)) : 0;

	return max_us > 0 ? tdo_monotonic_us() + max_us : 0;
}

void
tdo_attempt_report(const TdoRun *run)
{
	char	   *id = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&run->run_id)));

	pgstat_report_activity(STATE_RUNNING,
						   psprintf("triggerdo run %s of task %s", id, run->task));
}
