/*-------------------------------------------------------------------------
 *
 * api_task.c
 *	  SQL: define_task, drop_task, retry_policy, retry_delay, version.
 *
 * Job: check arguments and rights, then write the definition.
 * Called by: SQL.
 * Locks: definitions take turns (tdo_task_lock_definitions).
 * Crash: ordinary heap changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "api.h"
#include "change.h"
#include "clock.h"
#include "compat.h"
#include "grant.h"
#include "guc.h"
#include "hook.h"
#include "idempotency.h"
#include "json.h"
#include "origin.h"
#include "payload.h"
#include "retry.h"
#include "task.h"
#include "toplevel.h"
#include "triggerdo.h"

PG_FUNCTION_INFO_V1(tdo_sql_version);
PG_FUNCTION_INFO_V1(tdo_sql_define_task);
PG_FUNCTION_INFO_V1(tdo_sql_drop_task);
PG_FUNCTION_INFO_V1(tdo_sql_retry_policy);
PG_FUNCTION_INFO_V1(tdo_sql_retry_delay);
PG_FUNCTION_INFO_V1(tdo_sql_max_attempts);

/* arguments of define_task */
enum
{
	ARG_ID, ARG_RUN, ARG_COMMAND, ARG_URL, ARG_RETRY, ARG_QUEUE,
	ARG_MAX_DURATION, ARG_TTL, ARG_PAYLOAD_SCHEMA, ARG_DESCRIPTION,
	ARG_ON_START, ARG_ON_SUCCESS, ARG_ON_FAILURE, ARG_ON_COMPLETE,
	ARG_ON_CANCEL, ARG_CATCH_ERROR, ARG_OPTIONS
};

Datum
tdo_sql_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(TDO_VERSION));
}

void
tdo_require_arg(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be NULL", name),
				 errhint("Only arguments with a default may be left out or NULL.")));
}

void
tdo_unsupported(const char *function, const char *argument)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s: \"%s\" is not supported yet", function, argument),
			 errhint("Leave it out in triggerdo %s.", TDO_VERSION)));
}

/* -------------------------------------------------------------- define_task */

static char *
task_id(FunctionCallInfo fcinfo)
{
	char	   *id;
	int			len;
	bool		bad;

	tdo_require_arg(fcinfo, ARG_ID, "id");
	id = text_to_cstring(PG_GETARG_TEXT_PP(ARG_ID));
	len = strlen(id);
	bad = len == 0 || len > TDO_MAX_TASK_ID || id[0] == ' ' || id[len - 1] == ' ';
	for (int i = 0; i < len && !bad; i++)
		bad = (unsigned char) id[i] < 0x20 || id[i] == 0x7f;
	if (bad)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid task id \"%s\"", id),
				 errhint("A task id has 1 to %d bytes, no control characters, and no space at its ends, as \"send-email\".",
						 TDO_MAX_TASK_ID)));
	return id;
}

static void
refuse_unbuilt(FunctionCallInfo fcinfo)
{
	static const struct
	{
		int			argno;
		const char *name;
	}			unbuilt[] = {
		{ARG_URL, "url"}, {ARG_QUEUE, "queue"}, {ARG_TTL, "ttl"}
	};

	for (int i = 0; i < lengthof(unbuilt); i++)
	{
		if (!PG_ARGISNULL(unbuilt[i].argno))
			tdo_unsupported("define_task", unbuilt[i].name);
	}
	if (!PG_ARGISNULL(ARG_RUN) && !PG_ARGISNULL(ARG_COMMAND))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("run and command exclude each other"),
				 errhint("Give one of them.")));
}

int64
tdo_duration_us(const Interval *duration, const char *name)
{
	double		us = duration->time +
	((double) duration->day + (double) duration->month * DAYS_PER_MONTH) * USECS_PER_DAY;

	if (us < 1 || us > (double) PG_INT64_MAX / 4)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be positive", name),
				 errhint("For example '5 min'; leave it out for no limit.")));
	return (int64) us;
}

static bool
bool_option(const JsonbValue *v, const char *key)
{
	if (v->type != jbvBool)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be true or false", key),
				 errhint("For example '{\"%s\": true}'.", key)));
	return v->val.boolean;
}

/* options.keep */
static char
read_keep(const JsonbValue *v)
{
	static const struct
	{
		const char *name;
		char		keep;
	}			words[] = {
		{"all", TDO_KEEP_ALL}, {"failed", TDO_KEEP_FAILED}, {"none", TDO_KEEP_NONE}
	};

	for (int i = 0; i < lengthof(words) && v->type == jbvString; i++)
	{
		if (v->val.string.len == strlen(words[i].name) &&
			memcmp(v->val.string.val, words[i].name, v->val.string.len) == 0)
			return words[i].keep;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"keep\" must be \"all\", \"failed\" or \"none\""),
			 errhint("\"failed\" keeps the history of every run that is not COMPLETED.")));
	return TDO_KEEP_ALL;		/* keep compiler quiet */
}

static void
read_options(Jsonb *options, TdoTask *task)
{
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	v;

	if (!tdo_json_is_object(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("For example '{\"isolate\": true}'.")));
	it = JsonbIteratorInit(&options->root);
	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;

		if (tok != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		(void) JsonbIteratorNext(&it, &v, true);
		if (strcmp(key, "isolate") == 0)
			task->isolate = bool_option(&v, key);
		else if (strcmp(key, "ownCommits") == 0)
			task->own_commits = bool_option(&v, key);
		else if (strcmp(key, "keep") == 0)
			task->keep = read_keep(&v);
		else if (strcmp(key, "synchronousCommit") == 0 || strcmp(key, "metadata") == 0)
			tdo_unsupported("define_task", psprintf("options.%s", key));
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown option \"%s\"", key),
					 errhint("The options of a task are listed in README, define_task.")));
	}
}

static Jsonb *
hooks_of(FunctionCallInfo fcinfo, Oid owner)
{
	char	   *names[TDO_HOOK_ARGUMENTS];

	for (int i = 0; i < TDO_HOOK_ARGUMENTS; i++)
		names[i] = PG_ARGISNULL(ARG_ON_START + i) ? NULL
			: text_to_cstring(PG_GETARG_TEXT_PP(ARG_ON_START + i));
	return tdo_hooks_define(names, owner);
}

/* may this role's tasks be run at all? */
static void
check_owner(Oid role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	Form_pg_authid form;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the current role does not exist any more")));
	form = (Form_pg_authid) GETSTRUCT(tuple);
	if (form->rolsuper && !tdo_allow_superuser_tasks)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("a superuser cannot own a task"),
				 errhint("SET ROLE to an ordinary role first; its tasks run with that role's rights. (Setting triggerdo.allow_superuser_tasks lifts this.)")));
	if (!form->rolcanlogin && !TDO_NOLOGIN_ALLOWED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" cannot own a task: it may not log in", NameStr(form->rolname)),
				 errhint("Before PostgreSQL 17 tasks need an owner with LOGIN: ALTER ROLE %s LOGIN (a password or pg_hba entry is not needed).",
						 quote_identifier(NameStr(form->rolname)))));
	ReleaseSysCache(tuple);
}

/* what the task runs */
static void
set_work(FunctionCallInfo fcinfo, TdoTask *task)
{
	TdoFunction function;

	if (PG_ARGISNULL(ARG_RUN) && PG_ARGISNULL(ARG_COMMAND))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("define_task: a task without \"run\" or \"command\" is not supported yet"),
				 errhint("Name a function, as run => 'app.send_email'.")));
	if (!PG_ARGISNULL(ARG_COMMAND))
	{
		task->kind = TDO_KIND_COMMAND;
		task->command = text_to_cstring(PG_GETARG_TEXT_PP(ARG_COMMAND));
		tdo_toplevel_check(task->command);
		return;
	}
	tdo_task_set_function(task, text_to_cstring(PG_GETARG_TEXT_PP(ARG_RUN)));
	tdo_task_resolve(task, task->owner, &function);
}

static bool
same_work(FunctionCallInfo fcinfo, const TdoTask *old)
{
	TdoTask		given = {0};

	if (!PG_ARGISNULL(ARG_COMMAND))
		return old->command != NULL &&
			strcmp(old->command, text_to_cstring(PG_GETARG_TEXT_PP(ARG_COMMAND))) == 0;
	if (PG_ARGISNULL(ARG_RUN))
		return true;
	if (old->command != NULL)
		return false;
	tdo_task_set_function(&given, text_to_cstring(PG_GETARG_TEXT_PP(ARG_RUN)));
	return strcmp(NameStr(given.run_schema), NameStr(old->run_schema)) == 0 &&
		strcmp(NameStr(given.run_name), NameStr(old->run_name)) == 0 &&
		given.run_nargs == old->run_nargs;
}

/* none given, or those that are there, or some of them */
static bool
same_hooks(const Jsonb *given, const Jsonb *old)
{
	return given == NULL ||
		(old != NULL && DatumGetBool(DirectFunctionCall2(jsonb_contains, JsonbPGetDatum(old),
														 JsonbPGetDatum(given))));
}

/* none given, or the one that is there: a part of a schema is another schema */
static bool
same_schema(Jsonb *given, Jsonb *old)
{
	return given == NULL ||
		(old != NULL && compareJsonbContainers(&given->root, &old->root) == 0);
}

/*
 * A manager says how a task is run.  What runs as the owner, and what it is given,
 * is the owner's alone: left out, it stays; else it must be what is there.
 */
static void
keep_work(FunctionCallInfo fcinfo, TdoTask *task, const TdoTask *old)
{
	if (!same_work(fcinfo, old) || !same_hooks(task->hooks, old->hooks) ||
		!same_schema(task->payload_schema, old->payload_schema))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of task \"%s\" to change what it runs", task->id),
				 errdetail("The privilege to manage it is for retry, queue, max_duration, ttl, description and options."),
				 errhint("Leave out run, command, url, the hooks and payload_schema: they stay as they are.")));
	task->kind = old->kind;
	task->command = old->command;
	task->run_schema = old->run_schema;
	task->run_name = old->run_name;
	task->run_nargs = old->run_nargs;
	task->hooks = old->hooks;
	task->payload_schema = old->payload_schema;
}

Datum
tdo_sql_define_task(PG_FUNCTION_ARGS)
{
	TdoTask		task = {0};
	TdoTask		old;
	TdoRetryPolicy policy;
	TimestampTz now = tdo_now();
	bool		exists;

	PreventCommandIfReadOnly("define_task()");
	task.id = task_id(fcinfo);
	refuse_unbuilt(fcinfo);
	task.owner = GetUserId();
	task.keep = TDO_KEEP_ALL;
	task.options = PG_ARGISNULL(ARG_OPTIONS) ? tdo_json_empty_object()
		: PG_GETARG_JSONB_P(ARG_OPTIONS);
	read_options(task.options, &task);
	if (!PG_ARGISNULL(ARG_RETRY))
	{
		(void) tdo_retry_parse(PG_GETARG_JSONB_P(ARG_RETRY), &policy, ERROR);
		task.retry = tdo_retry_to_jsonb(&policy);
	}
	if (!PG_ARGISNULL(ARG_PAYLOAD_SCHEMA))
	{
		task.payload_schema = PG_GETARG_JSONB_P(ARG_PAYLOAD_SCHEMA);
		tdo_payload_schema_check(task.payload_schema);
	}
	if (!PG_ARGISNULL(ARG_DESCRIPTION))
		task.description = text_to_cstring(PG_GETARG_TEXT_PP(ARG_DESCRIPTION));
	if (!PG_ARGISNULL(ARG_MAX_DURATION))
		task.max_duration = tdo_duration_us(PG_GETARG_INTERVAL_P(ARG_MAX_DURATION), "max_duration");
	task.created_at = task.updated_at = now;

	tdo_task_lock_definitions();
	tdo_origin_settle();
	exists = tdo_task_get(task.id, &old);
	if (exists)
	{
		if (!tdo_may(task.id, old.owner, TDO_MAY_MANAGE))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("must be owner of task \"%s\"", task.id),
					 errhint("Choose another id, or SET ROLE to its owner.")));
		task.owner = old.owner;
		task.created_at = old.created_at;
	}
	check_owner(task.owner);
	namestrcpy(&task.owner_name, GetUserNameFromId(task.owner, false));
	task.hooks = hooks_of(fcinfo, task.owner);
	if (exists && !tdo_may_act_as(task.owner))
		keep_work(fcinfo, &task, &old);
	else
		set_work(fcinfo, &task);
	if (task.own_commits && task.kind != TDO_KIND_PROCEDURE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"ownCommits\" is for procedures"),
				 errhint("A function cannot commit, and a command always may.")));

	tdo_role_remember(task.owner);
	if (exists)
		tdo_task_update(&task);
	else
		tdo_task_insert(&task);
	CommandCounterIncrement();
	PG_RETURN_TEXT_P(cstring_to_text(task.id));
}

/*
 * Nobody's write to a table may fail because a task is gone.  The triggers, on
 * tables that may be others', stay and do nothing.
 */
static void
end_subscriptions(const char *id)
{
	int			n = tdo_change_delete_of_task(id);

	if (n > 0)
		ereport(NOTICE,
				(errmsg_plural("%d on_change subscription to task \"%s\" has ended",
							   "%d on_change subscriptions to task \"%s\" have ended",
							   n, n, id),
				 errhint("triggerdo.drop_on_change() removes the triggers, which do nothing any more.")));
}

Datum
tdo_sql_drop_task(PG_FUNCTION_ARGS)
{
	char	   *id;
	TdoTask		task;

	tdo_require_arg(fcinfo, 0, "id");
	PreventCommandIfReadOnly("drop_task()");
	id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	tdo_task_lock_definitions();
	if (!tdo_task_get(id, &task))
		PG_RETURN_BOOL(false);
	if (!tdo_may_act_as(task.owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of task \"%s\"", id),
				 errhint("SET ROLE to its owner first.")));
	(void) tdo_task_delete(id);
	tdo_grant_forget_task(id);
	end_subscriptions(id);
	tdo_idempotency_forget_task(id);
	CommandCounterIncrement();
	PG_RETURN_BOOL(true);
}

/* ------------------------------------------------------------ retry policies */

static double
interval_ms(Interval *span)
{
	return ((double) span->time / 1000.0) +
		((double) span->day + (double) span->month * DAYS_PER_MONTH) * SECS_PER_DAY * 1000.0;
}

Datum
tdo_sql_retry_policy(PG_FUNCTION_ARGS)
{
	TdoRetryPolicy policy = tdo_retry_defaults;

	if (!PG_ARGISNULL(0))
		policy.max_attempts = PG_GETARG_INT32(0);
	if (!PG_ARGISNULL(1))
	{
		char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));

		if (!tdo_backoff_from_name(name, &policy.backoff))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown backoff \"%s\"", name),
					 errhint("Use exponential, linear, fixed or none.")));
	}
	if (!PG_ARGISNULL(2))
		policy.factor = PG_GETARG_FLOAT8(2);
	if (!PG_ARGISNULL(3))
		policy.min_ms = interval_ms(PG_GETARG_INTERVAL_P(3));
	if (!PG_ARGISNULL(4))
		policy.max_ms = interval_ms(PG_GETARG_INTERVAL_P(4));
	if (!PG_ARGISNULL(5))
		policy.jitter = PG_GETARG_BOOL(5);
	(void) tdo_retry_check(&policy, ERROR);
	PG_RETURN_JSONB_P(tdo_retry_to_jsonb(&policy));
}

Datum
tdo_sql_retry_delay(PG_FUNCTION_ARGS)
{
	TdoRetryPolicy policy;
	int			attempt;
	int64		ms;
	Interval   *result;

	tdo_require_arg(fcinfo, 0, "policy");
	tdo_require_arg(fcinfo, 1, "attempt");
	(void) tdo_retry_parse(PG_GETARG_JSONB_P(0), &policy, ERROR);
	attempt = PG_GETARG_INT32(1);
	if (attempt < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("attempt must be at least 1"),
				 errhint("It is the number of the attempt that has just failed.")));
	ms = tdo_retry_delay_ms(&policy, policy.max_attempts, attempt, tdo_retry_draw(&policy));
	if (ms < 0)
		PG_RETURN_NULL();
	result = palloc0(sizeof(Interval));
	result->time = ms * 1000;
	PG_RETURN_INTERVAL_P(result);
}

/* of the views: how many attempts a run may have */
Datum
tdo_sql_max_attempts(PG_FUNCTION_ARGS)
{
	TdoRetryPolicy policy;

	PG_RETURN_INT32(tdo_task_policy(PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1),
									PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0),
									&policy));
}
