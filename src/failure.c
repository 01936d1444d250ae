/*-------------------------------------------------------------------------
 *
 * failure.c
 *	  What went wrong in an attempt, as it is kept and shown.
 *
 * Job: ErrorData to the error object of api.md, and back into an ERROR.
 * Called by: execute.c, executor.c, the SQL-callable functions.
 * Locks: none.
 * Crash: pure functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "failure.h"
#include "json.h"
#include "triggerdo.h"

/* an error must be storable, whatever a task put into it */
#define MAX_TEXT	65536

char *
tdo_failure_text(const char *s)
{
	int			len;

	if (s == NULL)
		return NULL;
	len = strlen(s);
	if (len <= MAX_TEXT)
		return pstrdup(s);
	return pnstrdup(s, pg_mbcliplen(s, len, MAX_TEXT));
}

TdoFailure *
tdo_failure_from_error(const ErrorData *edata)
{
	TdoFailure *f = palloc0(sizeof(TdoFailure));

	f->sqlstate = edata->sqlerrcode;
	if (edata->sqlerrcode == TDO_ERRCODE_ABORT)
		f->name = "AbortTaskRunError";
	else if (edata->sqlerrcode == TDO_ERRCODE_RETRY_AT)
		f->name = "RetryTaskRunError";
	else
		f->name = "PostgresError";
	f->message = tdo_failure_text(edata->message ? edata->message : "missing error text");
	f->detail = tdo_failure_text(edata->detail);
	f->hint = tdo_failure_text(edata->hint);
	f->context = tdo_failure_text(edata->context);
	return f;
}

TdoFailure *
tdo_failure_make(int sqlstate, const char *name, const char *message, const char *hint)
{
	TdoFailure *f = palloc0(sizeof(TdoFailure));

	f->sqlstate = sqlstate;
	f->name = name;
	f->message = tdo_failure_text(message);
	f->hint = tdo_failure_text(hint);
	return f;
}

TdoFailure *
tdo_failure_canceled(const char *reason)
{
	return tdo_failure_make(TDO_ERRCODE_CANCELED, "TaskRunCancelledError", reason, NULL);
}

TdoFailure *
tdo_failure_timed_out(int64 max_duration_us)
{
	return tdo_failure_make(TDO_ERRCODE_TIMED_OUT, "MaxDurationExceededError",
							psprintf("Run exceeded maximum compute time (maxDuration) of %g seconds",
									 max_duration_us / 1000000.0),
							NULL);
}

TdoFailure *
tdo_failure_crashed(const char *message)
{
	return tdo_failure_make(TDO_ERRCODE_CRASHED, "TaskProcessCrashedError", message,
							"The server log has what happened. Replay the run when its cause is mended.");
}

Jsonb *
tdo_failure_to_jsonb(const TdoFailure *failure)
{
	TdoJsonBuild b;

	tdo_json_begin(&b);
	tdo_json_text(&b, "name", failure->name);
	tdo_json_text(&b, "message", failure->message);
	tdo_json_text(&b, "sqlstate", unpack_sql_state(failure->sqlstate));
	tdo_json_text(&b, "detail", failure->detail);
	tdo_json_text(&b, "hint", failure->hint);
	tdo_json_text(&b, "context", failure->context);
	tdo_json_text(&b, "stackTrace", failure->context);
	return tdo_json_end(&b);
}

void
tdo_failure_raise(Jsonb *error)
{
	char	   *message = tdo_json_get_text(error, "message");
	char	   *sqlstate = tdo_json_get_text(error, "sqlstate");
	char	   *detail = tdo_json_get_text(error, "detail");
	char	   *hint = tdo_json_get_text(error, "hint");
	char	   *context = tdo_json_get_text(error, "context");
	int			code = ERRCODE_RAISE_EXCEPTION;

	if (sqlstate && strlen(sqlstate) == 5)
		code = MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2],
							 sqlstate[3], sqlstate[4]);
	ereport(ERROR,
			(errcode(code),
			 errmsg_internal("%s", message ? message : "the run failed"),
			 detail ? errdetail_internal("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0,
			 context ? errcontext("%s", context) : 0));
}

bool
tdo_failure_is_transient(int sqlstate)
{
	return sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED;
}

bool
tdo_failure_is_contention(const ErrorData *edata)
{
	switch (edata->sqlerrcode)
	{
		case ERRCODE_LOCK_NOT_AVAILABLE:
			return true;
		case ERRCODE_OUT_OF_MEMORY:

			/*
			 * A full lock table has the SQLSTATE of a failed palloc, and only
			 * the message tells; its id is the one before translation.
			 */
			return edata->message_id &&
				strcmp(edata->message_id, "out of shared memory") == 0;
		default:
			return tdo_failure_is_transient(edata->sqlerrcode);
	}
}

bool
tdo_failure_is_exhaustion(int sqlstate)
{
	int			category = ERRCODE_TO_CATEGORY(sqlstate);

	return category == MAKE_SQLSTATE('5', '3', '0', '0', '0') ||
		category == MAKE_SQLSTATE('5', '8', '0', '0', '0');
}

bool
tdo_failure_is_environment(int sqlstate)
{
	/* not 55000: that is what a task meets that deletes its own row of ours */
	if (sqlstate == ERRCODE_OBJECT_IN_USE || sqlstate == ERRCODE_LOCK_NOT_AVAILABLE)
		return true;
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case MAKE_SQLSTATE('0', '8', '0', '0', '0'):	/* connection exception */
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* transaction rollback */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* insufficient
														 * resources */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* operator intervention */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* system error */
			return true;
		default:
			return false;
	}
}
