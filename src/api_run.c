/*-------------------------------------------------------------------------
 *
 * api_run.c
 *	  SQL: run_result, wait_for_run, run_now, current_run, abort_run,
 *	  retry_run_at.
 *
 * Job: one run, seen and steered from a session, or from inside itself.
 * Called by: SQL.
 * Locks: run_now holds the live row FOR UPDATE.
 * Crash: ordinary transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#include "api.h"
#include "clock.h"
#include "compat.h"
#include "execute.h"
#include "failure.h"
#include "grant.h"
#include "guc.h"
#include "hook_run.h"
#include "json.h"
#include "origin.h"
#include "ready.h"
#include "shmem.h"
#include "slot.h"
#include "stop.h"
#include "store.h"
#include "task.h"
#include "transition.h"
#include "triggerdo.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(tdo_sql_run_result);
PG_FUNCTION_INFO_V1(tdo_sql_wait_for_run);
PG_FUNCTION_INFO_V1(tdo_sql_run_now);
PG_FUNCTION_INFO_V1(tdo_sql_current_run);
PG_FUNCTION_INFO_V1(tdo_sql_abort_run);
PG_FUNCTION_INFO_V1(tdo_sql_retry_run_at);

/* a lost wake-up is made good by a look a second */
#define LOOK_EVERY_MS	1000

static char *
uuid_text(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

static void
no_such_run(const pg_uuid_t *id)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA),
			 errmsg("run %s does not exist", uuid_text(id)),
			 errhint("Or its task keeps no history, or you may not read it: you see runs that you own, triggered, or were granted.")));
}

bool
tdo_may_read_run(const TdoRun *run)
{
	AcceptInvalidationMessages();
	return tdo_may_read(run->owner, run->triggered_by, CStringGetTextDatum(run->task));
}

/* one answer for a run that is not there and one that may not be seen */
void
tdo_get_readable_run(const pg_uuid_t *id, TdoRun *run)
{
	(void) tdo_objects();
	if (!tdo_run_get(id, run) || !tdo_may_read_run(run))
		no_such_run(id);
}

/* (who may manage a run need not be one who may read it) */
void
tdo_get_known_run(const pg_uuid_t *id, TdoRun *run)
{
	(void) tdo_objects();
	if (!tdo_run_get(id, run) ||
		(!tdo_may(run->task, run->owner, TDO_MAY_MANAGE) && !tdo_may_read_run(run)))
		no_such_run(id);
}

void
tdo_get_manageable_run(const pg_uuid_t *id, TdoRun *run)
{
	tdo_get_known_run(id, run);
	if (!tdo_may(run->task, run->owner, TDO_MAY_MANAGE))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of task \"%s\"", run->task),
				 errhint("Its owner may do that to its runs, members of its owner, and roles that were granted \"manage\".")));
}

Jsonb *
tdo_run_object(const TdoRun *run, const TdoResult *result)
{
	TdoJsonBuild b;
	bool		ok = result->status == TDO_COMPLETED;

	tdo_json_begin(&b);
	tdo_json_bool(&b, "ok", ok);
	tdo_json_text(&b, "id", uuid_text(&run->run_id));
	tdo_json_text(&b, "taskIdentifier", run->task);
	if (ok)
		tdo_json_jsonb(&b, "output", result->output);
	else
		tdo_json_jsonb(&b, "error", result->error);
	return tdo_json_end(&b);
}

Datum
tdo_sql_run_result(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id;
	TdoRun		run;
	TdoResult	result;

	tdo_require_arg(fcinfo, 0, "run");
	id = PG_GETARG_UUID_P(0);
	tdo_get_readable_run(id, &run);
	if (!tdo_result_get(id, &result))
		PG_RETURN_NULL();
	if (result.status != TDO_COMPLETED)
		tdo_failure_raise(result.error);
	if (result.output == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result.output);
}

/* -------------------------------------------------------------------- waiting */

bool
tdo_look_for_result(const pg_uuid_t *id, TdoResult *result)
{
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = tdo_result_get(id, result);
	PopActiveSnapshot();
	return found;
}

static void
stop_waiting(int code, Datum arg)
{
	ConditionVariableCancelSleep();
	pg_atomic_fetch_sub_u32(&tdo_shared->waiters, 1);
}

bool
tdo_is_live(const pg_uuid_t *id)
{
	TdoLive		live;
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = tdo_live_get(id, &live);
	PopActiveSnapshot();
	return found;
}

static bool
wait_loop(const pg_uuid_t *id, int64 timeout_ms, TdoResult *result)
{
	ConditionVariable *cv = tdo_wait_bucket(id);
	int64		begin = tdo_monotonic_us();
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = tdo_wait_event("TriggerdoRunWait");
	ConditionVariablePrepareToSleep(cv);
	for (;;)
	{
		int64		left = LOOK_EVERY_MS;
		bool		found = tdo_look_for_result(id, result);

		if (!found && !tdo_is_live(id))
		{
			/* it ended between the looks, or left no history when it did */
			found = tdo_look_for_result(id, result);
			if (!found)
				no_such_run(id);
		}
		/* nor may a snapshot of the catalogs be held asleep */
		InvalidateCatalogSnapshot();
		if (found)
			return true;
		if (timeout_ms >= 0)
		{
			left = timeout_ms - (tdo_monotonic_us() - begin) / 1000;
			if (left <= 0)
				return false;
			left = Min(left, LOOK_EVERY_MS);
		}
		/* serves interrupts; wakes early for nothing now and then */
		(void) ConditionVariableTimedSleep(cv, (long) left, wait_event);
	}
}

bool
tdo_wait_until_final(const pg_uuid_t *id, int64 timeout_ms, TdoResult *result)
{
	volatile bool found = false;

	pg_atomic_fetch_add_u32(&tdo_shared->waiters, 1);
	/* also when the session is terminated */
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	{
		found = wait_loop(id, timeout_ms, result);
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	stop_waiting(0, (Datum) 0);
	return found;
}

static int64
timeout_in_ms(Interval *timeout)
{
	double		ms = timeout->time / 1000.0 +
	((double) timeout->day + (double) timeout->month * DAYS_PER_MONTH) *
	SECS_PER_DAY * 1000.0;

	return (int64) Max(0.0, Min(ms, 1e15));
}

Datum
tdo_sql_wait_for_run(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id;
	TdoRun		run;
	TdoLive		live;
	TdoResult	result;
	int64		timeout_ms = 30000;

	tdo_require_arg(fcinfo, 0, "run");
	id = PG_GETARG_UUID_P(0);
	if (!PG_ARGISNULL(1))
		timeout_ms = timeout_in_ms(PG_GETARG_INTERVAL_P(1));
	tdo_require_shmem();
	tdo_get_readable_run(id, &run);
	if (!tdo_result_get(id, &result))
	{
		if (tdo_live_get(id, &live) && TransactionIdIsCurrentTransactionId(live.xmin))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("run %s was triggered or changed by the current transaction and cannot start before it ends",
							uuid_text(id)),
					 errhint("Commit first, or CALL triggerdo.trigger_and_wait() outside a transaction block.")));
		if (tdo_current_run() != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
					 errmsg("a run cannot wait for another run"),
					 errhint("The two may share a transaction, or the last free executor.")));
		if (!tdo_wait_until_final(id, timeout_ms, &result))
			PG_RETURN_NULL();
	}
	PG_RETURN_JSONB_P(tdo_run_object(&run, &result));
}

/* -------------------------------------------------------------------- run_now */

bool
tdo_inside_of(const pg_uuid_t *id)
{
	for (TdoCurrentRun *c = tdo_current_run(); c != NULL; c = c->outer)
	{
		if (memcmp(&c->run->run_id, id, UUID_LEN) == 0)
			return true;
	}
	return false;
}

/*
 * The function runs as the task's owner, so the caller must be that very role:
 * tdo_execute() sees to it that it becomes nobody else.
 */
Datum
tdo_sql_run_now(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id;
	TdoRun		run;
	TdoLive		live;
	TdoResult	result;
	TdoEntry   *entry;
	TdoOutcome	outcome = {0};
	TdoFailed	failed = {0};
	TdoDue		due = {0};
	TimestampTz started = tdo_now();
	bool		found;

	tdo_require_arg(fcinfo, 0, "run");
	PreventCommandIfReadOnly("run_now()");
	id = PG_GETARG_UUID_P(0);
	(void) tdo_objects();
	found = tdo_run_get(id, &run);
	if (!found && superuser())
		no_such_run(id);
	tdo_origin_require_bound();
	/* to others than those who may read it, a run is as one that is not there */
	if (!found || (run.owner != GetUserId() && !tdo_may_read_run(&run)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("run %s does not exist, or is not yours", uuid_text(id)),
				 errhint("A task runs as its owner: SET ROLE to it first.")));
	if (run.owner != GetUserId())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of task \"%s\"", run.task),
				 errhint("A task runs as its owner: SET ROLE to it first.")));
	/* the lock of its live row is ours, and would not stop us */
	if (tdo_inside_of(id) || !tdo_ready_claim_one(id, &live))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run %s is not queued", uuid_text(id)),
				 errhint("It is delayed, in an executor's hand, or final: see triggerdo.runs.")));
	tdo_wake_if_rolled_back();
	entry = tdo_entry_get(run.task, run.owner);
	if (entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("task \"%s\" does not exist", run.task),
				 errhint("It was dropped after the run was triggered.")));
	if (tdo_entry_task(entry)->kind != TDO_KIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("run_now() runs functions, and task \"%s\" is a %s", run.task,
						tdo_entry_task(entry)->kind == TDO_KIND_COMMAND ? "command" : "procedure"),
				 errhint("It may commit, which the caller's transaction cannot: CALL triggerdo.trigger_and_wait() instead.")));

	tdo_execute(entry, &run, live.attempt + 1, &outcome);
	if (outcome.ok)
		tdo_finish(&live, &run, tdo_entry_task(entry), TDO_COMPLETED,
				   started, outcome.output, NULL, &due);
	else
	{
		/*
		 * The caller's own cancel is no failure of the run; and a
		 * serialization failure or deadlock is for the caller's transaction
		 * to try again, as an executor would.
		 */
		if (outcome.edata->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			tdo_failure_is_transient(outcome.edata->sqlerrcode))
			ReThrowError(outcome.edata);
		failed.run = &run;
		failed.task = tdo_entry_task(entry);
		failed.failure = outcome.failure;
		failed.started_at = started;
		failed.retry_at = outcome.retry_at;
		failed.for_good = outcome.for_good;
		failed.due = &due;
		tdo_catch_error(entry, &live, &failed);
		tdo_fail(&live, &failed);
		outcome.failure = unconstify(TdoFailure *, failed.failure);
	}
	tdo_hooks_call(entry, &run, live.attempt + 1, &due);
	if (!tdo_result_get(id, &result))
	{
		/* not kept, or to be retried: then the object tells of the attempt */
		result.status = outcome.ok ? TDO_COMPLETED : TDO_FAILED;
		result.output = outcome.output;
		result.error = outcome.ok ? NULL : tdo_failure_to_jsonb(outcome.failure);
	}
	PG_RETURN_JSONB_P(tdo_run_object(&run, &result));
}

/* ------------------------------------------------------------ inside of a run */

Datum
tdo_sql_current_run(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Tuplestorestate *store = tdo_begin_rows(fcinfo, &tupdesc);
	TdoCurrentRun *current = tdo_current_run();
	const TdoRun *run;
	Datum		values[14];
	bool		nulls[14] = {false};

	if (current == NULL)
		return (Datum) 0;
	run = current->run;
	values[0] = UUIDPGetDatum(&run->run_id);
	values[1] = CStringGetTextDatum(run->task);
	values[2] = Int32GetDatum(current->attempt);
	values[3] = Int32GetDatum(current->max_attempts);
	values[4] = JsonbPGetDatum(run->payload);
	values[5] = PointerGetDatum(run->tags ? run->tags : construct_empty_array(TEXTOID));
	values[6] = JsonbPGetDatum(run->metadata ? run->metadata : tdo_json_empty_object());
	nulls[7] = nulls[8] = !run->has_parent;
	values[7] = UUIDPGetDatum(&run->parent);
	values[8] = UUIDPGetDatum(&run->root);
	nulls[9] = true;			/* schedule_id */
	nulls[10] = !run->has_batch;
	values[10] = UUIDPGetDatum(&run->batch);
	nulls[11] = run->idempotency_key == NULL;
	values[11] = run->idempotency_key ? CStringGetTextDatum(run->idempotency_key) : 0;
	values[12] = BoolGetDatum(run->has_replay_of);
	values[13] = TimestampTzGetDatum(run->created_at);
	tuplestore_putvalues(store, tupdesc, values, nulls);
	return (Datum) 0;
}

static TdoCurrentRun *
require_current_run(const char *function)
{
	TdoCurrentRun *current = tdo_current_run();

	if (current == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s can be called inside a run only", function),
				 errhint("Call it in the function of a task, while an executor or run_now() runs it.")));
	return current;
}

Datum
tdo_sql_abort_run(PG_FUNCTION_ARGS)
{
	(void) require_current_run("abort_run()");
	tdo_require_arg(fcinfo, 0, "message");
	ereport(ERROR,
			(errcode(TDO_ERRCODE_ABORT),
			 errmsg_internal("%s", text_to_cstring(PG_GETARG_TEXT_PP(0)))));
	PG_RETURN_VOID();
}

Datum
tdo_sql_retry_run_at(PG_FUNCTION_ARGS)
{
	TdoCurrentRun *current = require_current_run("retry_run_at()");
	TimestampTz at;

	tdo_require_arg(fcinfo, 0, "at");
	tdo_require_arg(fcinfo, 1, "message");
	at = PG_GETARG_TIMESTAMPTZ(0);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be a finite time"),
				 errhint("For example now() + interval '5 min'.")));
	current->retry_at = at;
	ereport(ERROR,
			(errcode(TDO_ERRCODE_RETRY_AT),
			 errmsg_internal("%s", text_to_cstring(PG_GETARG_TEXT_PP(1)))));
	PG_RETURN_VOID();
}
