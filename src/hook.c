/*-------------------------------------------------------------------------
 *
 * hook.c
 *	  Hooks of tasks: what they name, and what they are shown.
 *
 * Job: find and check the functions that define_task's hook arguments name;
 * build the row of triggerdo.runs that a hook is given; say which hooks the end
 * of a run calls for.
 * Called by: api_task.c, transition.c, hook_run.c.
 * Locks: none.
 * Crash: pure functions, but for looks at the catalogs.
 *
 * Functions are kept by name, as a task's own is (task.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "hook.h"
#include "json.h"
#include "origin.h"
#include "status.h"
#include "triggerdo.h"

#define HOOK_HINT \
	"A hook is a function (run jsonb) that returns void; catch_error one (run jsonb, error jsonb) that returns jsonb."

/* room for what a hook is shown beside a run's large parts: its error, names, times */
#define SHOWN_BESIDE	(4 * 1024 * 1024)

/* in the order of define_task's arguments */
static const struct
{
	char		kind;
	const char *name;
	int			nargs;
}			kinds[TDO_HOOK_ARGUMENTS] = {
	{TDO_ON_START, "on_start", 1}, {TDO_ON_SUCCESS, "on_success", 1},
	{TDO_ON_FAILURE, "on_failure", 1}, {TDO_ON_COMPLETE, "on_complete", 1},
	{TDO_ON_CANCEL, "on_cancel", 1}, {TDO_CATCH_ERROR, "catch_error", 2}
};

/* ---------------------------------------------------------------- functions */

const char *
tdo_hook_name(char kind)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (kinds[i].kind == kind)
			return kinds[i].name;
	}
	return "?";
}

char *
tdo_hook_function_name(const TdoHookFn *fn)
{
	return quote_qualified_identifier(NameStr(fn->schema), NameStr(fn->name));
}

/* shapes that SELECT f(...) would call, but not as a hook */
static void
check_shape(HeapTuple tuple, const char *name, int nargs)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);
	Oid			result = nargs == 2 ? JSONBOID : VOIDOID;
	const char *why = NULL;

	if (proc->prokind != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not a plain function", name),
				 errhint(HOOK_HINT)));
	if (proc->pronargs != nargs)
		why = psprintf("it takes %d arguments", proc->pronargs);
	for (int i = 0; i < proc->pronargs && why == NULL; i++)
	{
		if (proc->proargtypes.values[i] != JSONBOID)
			why = psprintf("its argument %d is of type %s", i + 1,
						   format_type_be(proc->proargtypes.values[i]));
	}
	if (why == NULL && proc->proretset)
		why = "it returns a set";
	if (why == NULL && proc->prorettype != result)
		why = psprintf("it returns %s", format_type_be(proc->prorettype));
	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("%s cannot be called as a hook: %s", name, why),
				 errhint(HOOK_HINT)));
}

static void
check_rights(Oid fn, Oid schema, const char *name, Oid role)
{
	if (tdo_aclcheck_schema(schema, role) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", get_namespace_name(schema)),
				 errhint("The task's owner, \"%s\", needs USAGE on it.",
						 GetUserNameFromId(role, true))));
	if (tdo_aclcheck_function(fn, role) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", name),
				 errhint("The task's owner, \"%s\", needs EXECUTE on it.",
						 GetUserNameFromId(role, true))));
}

/* check what was found, and fill in its name */
static void
check_function(Oid fn, const char *name, Oid role, TdoHookFn *hook)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fn));
	Form_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", fn); /* can't happen */
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (isAnyTempNamespace(proc->pronamespace))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("a hook cannot be a temporary function"),
				 errhint("Create the function in a schema that outlives this session.")));
	check_shape(tuple, name, hook->nargs);
	check_rights(fn, proc->pronamespace, name, role);
	namestrcpy(&hook->schema, get_namespace_name(proc->pronamespace));
	hook->name = proc->proname;
	ReleaseSysCache(tuple);
}

Oid
tdo_hook_resolve(const TdoHookFn *fn, Oid role)
{
	TdoHookFn	found = *fn;
	char	   *name = tdo_hook_function_name(fn);
	Oid			oid = InvalidOid;
	Oid			other;

	/* (of a schema that is not there it would say so, without a hint) */
	if (OidIsValid(get_namespace_oid(NameStr(fn->schema), true)))
		oid = tdo_task_find_function(name, fn->nargs, &other);
	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s(%s) does not exist", name,
						fn->nargs == 2 ? "jsonb, jsonb" : "jsonb"),
				 errhint("Create it again, or define the task again with another hook.")));
	check_function(oid, name, role, &found);
	return oid;
}

Jsonb *
tdo_hooks_define(char *const *names, Oid owner)
{
	TdoJsonBuild b;
	bool		any = false;

	tdo_json_begin(&b);
	for (int i = 0; i < lengthof(kinds); i++)
	{
		TdoHookFn	fn = {.nargs = kinds[i].nargs};
		TdoJsonBuild f;
		Oid			oid;
		Oid			other;

		if (names[i] == NULL)
			continue;
		oid = tdo_task_find_function(names[i], fn.nargs, &other);
		if (!OidIsValid(oid) && OidIsValid(other))
			oid = other;		/* whose shape is wrong, and says so */
		if (!OidIsValid(oid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("%s: function \"%s\" does not exist", kinds[i].name, names[i]),
					 errhint("Create the function first, and name its schema or set search_path. " HOOK_HINT)));
		check_function(oid, names[i], owner, &fn);
		tdo_json_begin(&f);
		tdo_json_text(&f, "schema", NameStr(fn.schema));
		tdo_json_text(&f, "name", NameStr(fn.name));
		tdo_json_jsonb(&b, kinds[i].name, tdo_json_end(&f));
		any = true;
	}
	return any ? tdo_json_end(&b) : NULL;
}

bool
tdo_hook_of(const TdoTask *task, char kind, TdoHookFn *fn)
{
	JsonbValue *v;
	Jsonb	   *names;

	if (task == NULL || task->hooks == NULL)
		return false;
	v = tdo_json_get(task->hooks, tdo_hook_name(kind));
	if (v == NULL || v->type != jbvBinary)
		return false;
	names = JsonbValueToJsonb(v);
	memset(fn, 0, sizeof(*fn));
	namestrcpy(&fn->schema, tdo_json_get_text(names, "schema"));
	namestrcpy(&fn->name, tdo_json_get_text(names, "name"));
	fn->nargs = kind == TDO_CATCH_ERROR ? 2 : 1;
	return true;
}

/* ------------------------------------------------------- what a hook is shown */

static void
put_time(TdoJsonBuild *b, const char *key, TimestampTz t)
{
	char text[	MAXDATELEN + 1];

	if (t == 0)
		tdo_json_text(b, key, NULL);
	else
	{
		(void) JsonEncodeDateTime(text, TimestampTzGetDatum(t), TIMESTAMPTZOID, NULL);
		tdo_json_text(b, key, text);
	}
}

static void
put_uuid(TdoJsonBuild *b, const char *key, bool has, const pg_uuid_t *id)
{
	tdo_json_text(b, key, has ? DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id))) : NULL);
}

static Jsonb *
tags_as_json(ArrayType *tags)
{
	JsonbParseState *state = NULL;
	Datum	   *elements;
	bool	   *nulls;
	int			n = 0;

	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	if (tags)
		deconstruct_array(tags, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		JsonbValue	v;

		if (nulls[i])
			v.type = jbvNull;
		else
		{
			v.type = jbvString;
			v.val.string.val = TextDatumGetCString(elements[i]);
			v.val.string.len = strlen(v.val.string.val);
		}
		(void) pushJsonbValue(&state, WJB_ELEM, &v);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

static void
put_duration(TdoJsonBuild *b, const TdoResult *result)
{
	Interval	span = {0};
	bool		has = result->started_at != 0 && result->finished_at != 0;

	if (has)
		span = *DatumGetIntervalP(DirectFunctionCall2(timestamp_mi,
													  TimestampTzGetDatum(result->finished_at),
													  TimestampTzGetDatum(result->started_at)));
	tdo_json_text(b, "duration",
				  has ? DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(&span))) : NULL);
}

/* the keys are the columns of the view in sql/90_views.sql */
/*
 * A jsonb object takes a quarter of a gigabyte, and a run may have several parts of
 * that size: its end must not fail for what its hooks are shown of it.
 */
static bool
fits_in_one(const TdoRun *run, const TdoResult *result)
{
	Size		parts = VARSIZE(run->payload);

	if (run->metadata)
		parts += VARSIZE(run->metadata);
	if (run->tags)
		parts += VARSIZE(run->tags);
	if (result->output)
		parts += VARSIZE(result->output);
	if (run->idempotency_key)
		parts += strlen(run->idempotency_key);
	return parts <= JENTRY_OFFLENMASK - SHOWN_BESIDE;
}

Jsonb *
tdo_hook_run(const TdoRun *run, const TdoTask *task, const TdoResult *result)
{
	TdoRetryPolicy policy;
	TdoJsonBuild b;
	bool		whole = fits_in_one(run, result);

	tdo_json_begin(&b);
	put_uuid(&b, "run_id", true, &run->run_id);
	tdo_json_text(&b, "task", run->task);
	tdo_json_text(&b, "status", result->status ? tdo_status_name(result->status) : "EXECUTING");
	tdo_json_text(&b, "queue", run->task);
	tdo_json_text(&b, "concurrency_key", NULL);
	tdo_json_jsonb(&b, "payload", whole ? run->payload : NULL);
	tdo_json_jsonb(&b, "output", whole ? result->output : NULL);
	tdo_json_jsonb(&b, "error", result->error);
	if (whole)
		tdo_json_jsonb(&b, "metadata", run->metadata ? run->metadata : tdo_json_empty_object());
	else
		tdo_json_jsonb(&b, "metadata", NULL);
	tdo_json_jsonb(&b, "tags", whole ? tags_as_json(run->tags) : NULL);
	tdo_json_int(&b, "attempt", result->attempt);
	tdo_json_int(&b, "max_attempts", tdo_task_policy(task->retry, run->max_attempts, &policy));
	tdo_json_int(&b, "priority", run->priority);
	put_time(&b, "created_at", run->created_at);
	put_time(&b, "queued_at", result->queued_at);
	put_time(&b, "started_at", result->started_at);
	put_time(&b, "finished_at", result->finished_at);
	put_time(&b, "delayed_until", run->delayed_until);
	put_time(&b, "expires_at", 0);
	put_uuid(&b, "parent_run_id", run->has_parent, &run->parent);
	put_uuid(&b, "root_run_id", run->has_parent, &run->root);
	put_uuid(&b, "batch_id", run->has_batch, &run->batch);
	tdo_json_text(&b, "schedule_id", NULL);
	tdo_json_text(&b, "idempotency_key", whole ? run->idempotency_key : NULL);
	put_uuid(&b, "replay_of", run->has_replay_of, &run->replay_of);
	tdo_json_text(&b, "triggered_by",
				  OidIsValid(run->triggered_by) ? tdo_role_name(run->triggered_by) : NULL);
	tdo_json_text(&b, "owner", tdo_role_name(run->owner));
	put_duration(&b, result);
	return tdo_json_end(&b);
}

static bool
get_uuid(Jsonb *shown, const char *key, pg_uuid_t *id)
{
	char	   *text = tdo_json_get_text(shown, key);

	if (text == NULL)
		return false;
	*id = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text)));
	return true;
}

static Jsonb *
get_jsonb(Jsonb *shown, const char *key)
{
	JsonbValue *v = tdo_json_get(shown, key);

	return v ? JsonbValueToJsonb(v) : tdo_json_empty_object();
}

static int
get_int(Jsonb *shown, const char *key)
{
	JsonbValue *v = tdo_json_get(shown, key);

	return v && v->type == jbvNumeric ?
		DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(v->val.numeric))) : 0;
}

static ArrayType *
get_tags(Jsonb *shown)
{
	JsonbValue *v = tdo_json_get(shown, "tags");
	JsonbContainer *array;
	Datum	   *tags;
	int			n;

	if (v == NULL || v->type != jbvBinary)
		return NULL;
	array = v->val.binary.data;
	n = JsonContainerSize(array);
	tags = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		JsonbValue *e = getIthJsonbValueFromContainer(array, i);

		tags[i] = PointerGetDatum(cstring_to_text_with_len(e->val.string.val, e->val.string.len));
	}
	return n > 0 ? construct_array(tags, n, TEXTOID, -1, false, TYPALIGN_INT) : NULL;
}

void
tdo_hook_parse_run(Jsonb *shown, TdoRun *run, int *attempt, int *max_attempts)
{
	char	   *created = tdo_json_get_text(shown, "created_at");

	memset(run, 0, sizeof(*run));
	(void) get_uuid(shown, "run_id", &run->run_id);
	run->task = tdo_json_get_text(shown, "task");
	run->payload = get_jsonb(shown, "payload");
	run->metadata = get_jsonb(shown, "metadata");
	run->tags = get_tags(shown);
	run->has_parent = get_uuid(shown, "parent_run_id", &run->parent) &&
		get_uuid(shown, "root_run_id", &run->root);
	run->has_batch = get_uuid(shown, "batch_id", &run->batch);
	run->has_replay_of = get_uuid(shown, "replay_of", &run->replay_of);
	run->idempotency_key = tdo_json_get_text(shown, "idempotency_key");
	run->created_at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(created),
															  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	*attempt = get_int(shown, "attempt");
	*max_attempts = get_int(shown, "max_attempts");
}

static void
add_due(TdoDue *due, const TdoTask *task, char kind)
{
	if (!tdo_hook_of(task, kind, &due->fns[due->n]))
		return;
	due->kinds[due->n++] = kind;
}

void
tdo_hooks_due(const TdoRun *run, const TdoTask *task, const TdoResult *result, TdoDue *due)
{
	due->n = 0;
	due->run = NULL;

	/*
	 * (the task may have been defined anew by another role while the run went
	 * on)
	 */
	if (likely(task == NULL || task->hooks == NULL) || task->owner != run->owner)
		return;
	switch (result->status)
	{
		case TDO_COMPLETED:
			add_due(due, task, TDO_ON_SUCCESS);
			break;
		case TDO_CANCELED:
			add_due(due, task, TDO_ON_CANCEL);
			break;
		default:
			add_due(due, task, TDO_ON_FAILURE);
			break;
	}
	add_due(due, task, TDO_ON_COMPLETE);
	if (due->n > 0)
		due->run = tdo_hook_run(run, task, result);
}
