/*-------------------------------------------------------------------------
 *
 * api_trigger.c
 *	  SQL: trigger_task, batch_trigger_task, trigger_batch, trigger_and_wait.
 *
 * Job: check arguments and rights, then enqueue.
 * Called by: SQL.
 * Locks: ROW EXCLUSIVE on the tables written (rows.c).
 * Crash: the run exists if, and only if, the caller's transaction committed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "api.h"
#include "clock.h"
#include "definition.h"
#include "execute.h"
#include "grant.h"
#include "json.h"
#include "origin.h"
#include "payload.h"
#include "shmem.h"
#include "task.h"
#include "transition.h"
#include "triggerdo.h"
#include "txn.h"

PG_FUNCTION_INFO_V1(tdo_sql_trigger_task);
PG_FUNCTION_INFO_V1(tdo_sql_batch_trigger_task);
PG_FUNCTION_INFO_V1(tdo_sql_trigger_batch);
PG_FUNCTION_INFO_V1(tdo_sql_trigger_and_wait);

#define TAGS_HINT	"For example [\"urgent\", \"eu\"]."

enum
{
	ARG_TASK, ARG_PAYLOAD, ARG_DELAY, ARG_RUN_AT, ARG_TTL, ARG_PRIORITY,
	ARG_QUEUE, ARG_CONCURRENCY_KEY, ARG_IDEMPOTENCY_KEY,
	ARG_IDEMPOTENCY_KEY_TTL, ARG_DEBOUNCE, ARG_MAX_ATTEMPTS,
	ARG_MAX_DURATION, ARG_TAGS, ARG_METADATA, ARG_OPTIONS
};

/* trigger_task's optional arguments, wherever they came from */
typedef struct Options
{
	Interval   *delay;
	TimestampTz run_at;
	bool		has_run_at;
	bool		has_max_attempts;
	int			max_attempts;
	Interval   *max_duration;
	ArrayType  *tags;
	Jsonb	   *metadata;
	char	   *idempotency_key;
	Interval   *idempotency_key_ttl;
} Options;

static void
invalid(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message),
			 errhint("%s", hint)));
}

/* ------------------------------------------------------------- one enqueue */

static void
require_task(const char *id, const TdoTask *task)
{
	if (task == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("task \"%s\" does not exist", id),
				 errhint("Define it with triggerdo.define_task().")));
}

static void
require_owner_here(const TdoTask *task)
{
	if (tdo_role_is_missing(task->owner))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("role \"%s\", which owns task \"%s\", does not exist on this server",
						tdo_role_name(task->owner), task->id),
				 errhint("CREATE ROLE, and call triggerdo.resume().")));
}

void
tdo_check_triggerable(const char *id, const TdoTask *task, bool may)
{
	require_task(id, task);
	if (!may)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for task \"%s\"", id),
				 errhint("Its owner may trigger it, members of its owner, and roles that were granted \"trigger\".")));
	require_owner_here(task);
}

static bool
find_task(const char *id, TdoTask *task)
{
	bool		found = tdo_definition(id, task);

	/* (a new database is not bound either, but has no task) */
	if (found)
		tdo_origin_require_bound();
	return found;
}

void
tdo_get_triggerable(const char *id, TdoTask *task)
{
	bool		found = find_task(id, task);

	tdo_check_triggerable(id, found ? task : NULL,
						  found && tdo_may(id, task->owner, TDO_MAY_TRIGGER));
}

static void
check_tags(ArrayType *tags)
{
	if (ARR_NDIM(tags) > 1)
		invalid("tags must be a one-dimensional array", "For example '{urgent,eu}'.");
	if (array_contains_nulls(tags))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a tag must not be NULL"),
				 errhint("Leave it out of the array.")));
}

static TimestampTz
start_time(const Options *o)
{
	TimestampTz at = 0;

	if (o->delay && o->has_run_at)
		invalid("delay and run_at exclude each other", "Give one of them.");
	if (o->delay)
	{
		Interval	zero = {0};

		if (DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(o->delay),
											 IntervalPGetDatum(&zero))))
			invalid("delay must not be negative", "Leave it out to start at once.");
		at = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													 TimestampTzGetDatum(tdo_now()),
													 IntervalPGetDatum(o->delay)));
	}
	else if (o->has_run_at)
		at = o->run_at;
	if (TIMESTAMP_NOT_FINITE(at))
		invalid("run_at must be a finite time", "Leave it out to start at once.");
	return at;
}

void
tdo_check_idempotency_key(const char *key)
{
	if (key[0] == '\0')
		invalid("idempotency_key must not be empty", "Leave it out for a run without a key.");
}

static void
invalid_ttl(void)
{
	invalid("idempotency_key_ttl must be positive", "Leave it out for 30 days.");
}

/* from the trigger on, whenever the run begins; the key is the caller's memory */
static void
fill_idempotency(TdoEnqueue *e, const Options *o)
{
	Interval	thirty_days = {0, 30, 0};
	Interval	zero = {0};
	Interval   *ttl = o->idempotency_key_ttl ? o->idempotency_key_ttl : &thirty_days;
	TimestampTz now;

	if (!DatumGetBool(DirectFunctionCall2(interval_gt, IntervalPGetDatum(ttl),
										  IntervalPGetDatum(&zero))))
		invalid_ttl();
	if (o->idempotency_key == NULL)
		return;
	tdo_check_idempotency_key(o->idempotency_key);
	e->idempotency_key = o->idempotency_key;
	now = tdo_now();
	e->idempotency_expires =
		DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												TimestampTzGetDatum(now),
												IntervalPGetDatum(ttl)));
	/* a month of 30 days is no month of the calendar */
	if (e->idempotency_expires <= now)
		invalid_ttl();
}

/* fill in what a caller asks for, checked */
static void
fill_enqueue(TdoEnqueue *e, const TdoTask *task, Jsonb *payload, const Options *o)
{
	TdoCurrentRun *current = tdo_current_run();

	memset(e, 0, sizeof(*e));
	e->task = task;
	e->payload = payload ? payload : tdo_json_empty_object();
	tdo_payload_check(task, e->payload);
	e->run_at = start_time(o);
	if (o->has_max_attempts)
	{
		if (o->max_attempts < 1 || o->max_attempts > 32767)
			invalid("max_attempts must be from 1 to 32767", "It counts the first attempt too.");
		e->max_attempts = o->max_attempts;
	}
	if (o->max_duration)
		e->max_duration = tdo_duration_us(o->max_duration, "max_duration");
	if (o->tags)
	{
		check_tags(o->tags);
		if (ARR_NDIM(o->tags) == 1)
			e->tags = o->tags;
	}
	if (o->metadata)
	{
		if (!tdo_json_is_object(o->metadata))
			invalid("metadata must be a JSON object", "For example '{\"customer\": 7}'.");
		if (!tdo_json_is_empty_object(o->metadata))
			e->metadata = o->metadata;
	}
	if (o->idempotency_key || o->idempotency_key_ttl)
		fill_idempotency(e, o);
	if (current)
	{
		e->parent = &current->run->run_id;
		e->root = current->run->has_parent ? &current->run->root : e->parent;
		e->depth = current->run->depth + 1;
		e->parent_ends_first = current->ends_first;
	}
}

pg_uuid_t
tdo_trigger(const TdoTask *task, Jsonb *payload)
{
	Options		o = {0};
	TdoEnqueue	e;

	fill_enqueue(&e, task, payload, &o);
	return tdo_enqueue(&e);
}

static void
prepare_to_write(const char *command)
{
	tdo_require_shmem();
	PreventCommandIfReadOnly(command);
}

static void
refuse_unbuilt(FunctionCallInfo fcinfo)
{
	static const struct
	{
		int			argno;
		const char *name;
	}			unbuilt[] = {
		{ARG_TTL, "ttl"}, {ARG_QUEUE, "queue"},
		{ARG_CONCURRENCY_KEY, "concurrency_key"},
		{ARG_DEBOUNCE, "debounce"}
	};

	for (int i = 0; i < lengthof(unbuilt); i++)
	{
		if (!PG_ARGISNULL(unbuilt[i].argno))
			tdo_unsupported("trigger_task", unbuilt[i].name);
	}
	if (!PG_ARGISNULL(ARG_PRIORITY) && PG_GETARG_INT32(ARG_PRIORITY) != 0)
		tdo_unsupported("trigger_task", "priority");
}

/* the options argument of trigger_task itself */
static void
check_own_options(Jsonb *options)
{
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	v;

	if (!tdo_json_is_object(options))
		invalid("options must be a JSON object", "For example '{\"delay\": \"5m\"}'.");
	it = JsonbIteratorInit(&options->root);
	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;

		if (tok != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		(void) JsonbIteratorNext(&it, &v, true);
		if (strcmp(key, "traceparent") == 0 || strcmp(key, "cancelOn") == 0 ||
			strcmp(key, "cancel_on") == 0)
			tdo_unsupported("trigger_task", psprintf("options.%s", key));
		invalid(psprintf("unknown option \"%s\"", key),
				"It has none in this version; what a run can be given are the arguments of trigger_task.");
	}
}

Datum
tdo_sql_trigger_task(PG_FUNCTION_ARGS)
{
	Options		o = {0};
	TdoTask		task;
	TdoEnqueue	e;
	pg_uuid_t  *id;

	tdo_require_arg(fcinfo, ARG_TASK, "task");
	prepare_to_write("trigger_task()");
	refuse_unbuilt(fcinfo);
	if (!PG_ARGISNULL(ARG_OPTIONS))
		check_own_options(PG_GETARG_JSONB_P(ARG_OPTIONS));
	if (!PG_ARGISNULL(ARG_DELAY))
		o.delay = PG_GETARG_INTERVAL_P(ARG_DELAY);
	o.has_run_at = !PG_ARGISNULL(ARG_RUN_AT);
	if (o.has_run_at)
		o.run_at = PG_GETARG_TIMESTAMPTZ(ARG_RUN_AT);
	o.has_max_attempts = !PG_ARGISNULL(ARG_MAX_ATTEMPTS);
	if (o.has_max_attempts)
		o.max_attempts = PG_GETARG_INT32(ARG_MAX_ATTEMPTS);
	if (!PG_ARGISNULL(ARG_MAX_DURATION))
		o.max_duration = PG_GETARG_INTERVAL_P(ARG_MAX_DURATION);
	if (!PG_ARGISNULL(ARG_TAGS))
		o.tags = PG_GETARG_ARRAYTYPE_P(ARG_TAGS);
	if (!PG_ARGISNULL(ARG_METADATA))
		o.metadata = PG_GETARG_JSONB_P(ARG_METADATA);
	if (!PG_ARGISNULL(ARG_IDEMPOTENCY_KEY))
		o.idempotency_key = text_to_cstring(PG_GETARG_TEXT_PP(ARG_IDEMPOTENCY_KEY));
	if (!PG_ARGISNULL(ARG_IDEMPOTENCY_KEY_TTL))
		o.idempotency_key_ttl = PG_GETARG_INTERVAL_P(ARG_IDEMPOTENCY_KEY_TTL);

	tdo_get_triggerable(text_to_cstring(PG_GETARG_TEXT_PP(ARG_TASK)), &task);
	fill_enqueue(&e, &task,
				 PG_ARGISNULL(ARG_PAYLOAD) ? NULL : PG_GETARG_JSONB_P(ARG_PAYLOAD), &o);
	id = palloc(sizeof(pg_uuid_t));
	*id = tdo_enqueue(&e);
	PG_RETURN_UUID_P(id);
}

/* ---------------------------------------------------------- options as JSON */

static Datum
parse_datum(PGFunction input, Oid type, const JsonbValue *v, const char *key)
{
	char	   *s = tdo_json_scalar_text(v);

	if (s == NULL)
		invalid(psprintf("option \"%s\" must be a string", key),
				"Times and intervals are strings, as \"5m\".");
	return DirectFunctionCall3(input, CStringGetDatum(s), ObjectIdGetDatum(type),
							   Int32GetDatum(-1));
}

/* as Trigger.dev writes it, or as PostgreSQL does */
static Interval *
parse_interval(const JsonbValue *v, const char *key)
{
	char	   *s = tdo_json_scalar_text(v);
	Interval   *span = palloc(sizeof(Interval));

	if (s != NULL && tdo_json_duration(s, span))
		return span;
	return DatumGetIntervalP(parse_datum(interval_in, InvalidOid, v, key));
}

static ArrayType *
parse_tags(const JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	e;
	Datum	   *values;
	int			n = 0;

	/* one tag may stand alone */
	if (v->type == jbvString)
	{
		Datum		one = PointerGetDatum(cstring_to_text_with_len(v->val.string.val,
																   v->val.string.len));

		return construct_array(&one, 1, TEXTOID, -1, false, TYPALIGN_INT);
	}
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		invalid("option \"tags\" must be an array of strings", TAGS_HINT);
	values = palloc(sizeof(Datum) * (JsonContainerSize(v->val.binary.data) + 1));
	it = JsonbIteratorInit(v->val.binary.data);
	while ((tok = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		if (tok != WJB_ELEM)
			continue;
		if (e.type != jbvString)
			invalid("option \"tags\" must be an array of strings", TAGS_HINT);
		values[n++] = PointerGetDatum(cstring_to_text_with_len(e.val.string.val,
															   e.val.string.len));
	}
	return construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* a string, or an array of strings: its parts, joined by "-" */
static char *
parse_idempotency_key(const JsonbValue *v)
{
	const char *hint = "For example \"order-7\", or [\"order\", \"7\"].";
	StringInfoData key;
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	e;
	bool		first = true;

	if (v->type == jbvString)
		return pnstrdup(v->val.string.val, v->val.string.len);
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		invalid("option \"idempotency_key\" must be a string", hint);
	initStringInfo(&key);
	it = JsonbIteratorInit(v->val.binary.data);
	while ((tok = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		if (tok != WJB_ELEM)
			continue;
		if (e.type != jbvString)
			invalid("option \"idempotency_key\" must be a string", hint);
		if (!first)
			appendStringInfoChar(&key, '-');
		first = false;
		appendBinaryStringInfo(&key, e.val.string.val, e.val.string.len);
	}
	return key.data;
}

/* snake_case and camelCase are one key */
static bool
is_key(const char *key, const char *snake, const char *camel)
{
	return strcmp(key, snake) == 0 || strcmp(key, camel) == 0;
}

static void
read_option(Options *o, const char *function, const char *key, const JsonbValue *v)
{
	static const char *const unbuilt[] = {
		"ttl", "priority", "queue", "concurrency_key", "concurrencyKey",
		"debounce", "traceparent", "cancelOn",
		"cancel_on", "options"
	};

	if (is_key(key, "max_duration", "maxDuration"))
		o->max_duration = parse_interval(v, key);
	else if (is_key(key, "delay", "delay"))
		o->delay = parse_interval(v, key);
	else if (is_key(key, "run_at", "runAt"))
	{
		o->run_at = DatumGetTimestampTz(parse_datum(timestamptz_in, InvalidOid, v, key));
		o->has_run_at = true;
	}
	else if (is_key(key, "max_attempts", "maxAttempts"))
	{
		if (v->type != jbvNumeric)
			invalid("option \"max_attempts\" must be a number", "It counts the first attempt too.");
		o->max_attempts = DatumGetInt32(DirectFunctionCall1(numeric_int4,
															NumericGetDatum(v->val.numeric)));
		o->has_max_attempts = true;
	}
	else if (is_key(key, "tags", "tags"))
		o->tags = parse_tags(v);
	else if (is_key(key, "idempotency_key", "idempotencyKey"))
		o->idempotency_key = parse_idempotency_key(v);
	else if (is_key(key, "idempotency_key_ttl", "idempotencyKeyTTL"))
		o->idempotency_key_ttl = parse_interval(v, key);
	else if (is_key(key, "metadata", "metadata"))
		o->metadata = JsonbValueToJsonb(unconstify(JsonbValue *, v));
	else
	{
		for (int i = 0; i < lengthof(unbuilt); i++)
		{
			if (strcmp(key, unbuilt[i]) == 0)
				tdo_unsupported(function, psprintf("options.%s", key));
		}
		invalid(psprintf("unknown option \"%s\"", key),
				"Options are trigger_task's optional arguments, in snake_case or camelCase.");
	}
}

static void
read_options(Options *o, const char *function, Jsonb *options)
{
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	v;

	memset(o, 0, sizeof(*o));
	if (options == NULL)
		return;
	if (!tdo_json_is_object(options))
		invalid("options must be a JSON object", "For example '{\"delay\": \"5m\"}'.");
	it = JsonbIteratorInit(&options->root);
	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;

		if (tok != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		(void) JsonbIteratorNext(&it, &v, true);
		if (v.type != jbvNull)
			read_option(o, function, key, &v);
	}
}

TimestampTz
tdo_start_time(Interval *delay, bool has_run_at, TimestampTz run_at)
{
	Options		o = {.delay = delay,.has_run_at = has_run_at,.run_at = run_at};

	return start_time(&o);
}

/*
 * Who manages a task's runs may, as long as the id is that owner's; others as
 * they may read the run and trigger the task.
 */
bool
tdo_may_replay(const TdoRun *run, const TdoTask *task)
{
	if (task->owner == run->owner && tdo_may(run->task, run->owner, TDO_MAY_MANAGE))
		return true;
	return tdo_may_read_run(run) && tdo_may(task->id, task->owner, TDO_MAY_TRIGGER);
}

/* what the options do not say is as it was */
pg_uuid_t
tdo_replay(const TdoRun *original, Jsonb *payload, Jsonb *options)
{
	Options		o;
	TdoTask		task;
	TdoEnqueue	e;

	read_options(&o, "replay_run", options);
	require_task(original->task, find_task(original->task, &task) ? &task : NULL);
	if (!tdo_may_replay(original, &task))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for task \"%s\"", original->task),
				 errhint("Its owner may replay its runs, members of its owner, roles that were granted \"manage\", and who may read the run and was granted \"trigger\".")));
	require_owner_here(&task);
	fill_enqueue(&e, &task, payload ? payload : original->payload, &o);
	if (!o.has_max_attempts)
		e.max_attempts = original->max_attempts;
	if (!o.max_duration)
		e.max_duration = original->max_duration;
	if (!o.tags)
		e.tags = original->tags;
	if (!o.metadata)
		e.metadata = original->metadata;
	e.replay_of = &original->run_id;

	/*
	 * Who triggers a run may read it, so to replay it must not be to read it.
	 * Nor is it the owner's doing: its code may go by who triggered it.
	 */
	e.by_nobody = !tdo_may_read_run(original);
	return tdo_enqueue(&e);
}

/* ------------------------------------------------------------------- batches */

static void
name_item(void *index)
{
	errcontext("item %d of the batch", *(int *) index);
}

Datum
tdo_sql_batch_trigger_task(PG_FUNCTION_ARGS)
{
	Options		o;
	TdoTask		task;
	TdoEnqueue	e;
	pg_uuid_t	batch;
	ArrayType  *payloads;
	Datum	   *values;
	bool	   *nulls;
	Datum	   *ids;
	MemoryContext item_context;
	int			n;
	int			i;
	ErrorContextCallback callback = {error_context_stack, name_item, &i};

	tdo_require_arg(fcinfo, 0, "task");
	tdo_require_arg(fcinfo, 1, "payloads");
	prepare_to_write("batch_trigger_task()");
	payloads = PG_GETARG_ARRAYTYPE_P(1);
	if (ARR_NDIM(payloads) > 1)
		invalid("payloads must be a one-dimensional array", "One payload makes one run.");
	read_options(&o, "batch_trigger_task", PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2));
	tdo_get_triggerable(text_to_cstring(PG_GETARG_TEXT_PP(0)), &task);
	deconstruct_array(payloads, JSONBOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);

	tdo_new_run_id(batch.data);
	ids = palloc(sizeof(Datum) * Max(n, 1));
	item_context = AllocSetContextCreate(CurrentMemoryContext, "triggerdo item",
										 ALLOCSET_DEFAULT_SIZES);
	error_context_stack = &callback;
	for (i = 0; i < n; i++)
	{
		pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
		MemoryContext context = MemoryContextSwitchTo(item_context);

		CHECK_FOR_INTERRUPTS();
		fill_enqueue(&e, &task, nulls[i] ? NULL : DatumGetJsonbP(values[i]), &o);
		e.batch = &batch;

		/*
		 * one key for the whole batch: its items are told apart by their
		 * number
		 */
		if (e.idempotency_key)
			e.idempotency_key = psprintf("%s-%d", e.idempotency_key, i);
		*id = tdo_enqueue(&e);
		ids[i] = UUIDPGetDatum(id);
		MemoryContextSwitchTo(context);
		MemoryContextReset(item_context);
	}
	error_context_stack = callback.previous;
	PG_RETURN_ARRAYTYPE_P(construct_array(ids, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

static void
wrong_item(int index, const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("item %d of the batch: %s", index, message),
			 errhint("An item is {\"task\": \"...\", \"payload\": ..., \"options\": {...}}.")));
}

/* one item of trigger_batch */
static pg_uuid_t
trigger_item(int index, Jsonb *item, const pg_uuid_t *batch, bool *is_cached)
{
	Options		o;
	TdoTask		task;
	TdoEnqueue	e;
	Jsonb	   *payload = NULL;
	Jsonb	   *options = NULL;
	char	   *id = NULL;
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	v;

	if (!tdo_json_is_object(item))
		wrong_item(index, "it is not an object");
	it = JsonbIteratorInit(&item->root);
	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;

		if (tok != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		(void) JsonbIteratorNext(&it, &v, true);
		if (strcmp(key, "task") == 0 && v.type == jbvString)
			id = pnstrdup(v.val.string.val, v.val.string.len);
		else if (strcmp(key, "payload") == 0)
			payload = JsonbValueToJsonb(&v);
		else if (strcmp(key, "options") == 0)
			options = v.type == jbvNull ? NULL : JsonbValueToJsonb(&v);
		else
			wrong_item(index, psprintf("\"%s\" is unknown, or not of the right type", key));
	}
	if (id == NULL)
		wrong_item(index, "\"task\" is missing");
	read_options(&o, "trigger_batch", options);
	tdo_get_triggerable(id, &task);
	fill_enqueue(&e, &task, payload, &o);
	e.batch = batch;
	return tdo_enqueue_once(&e, is_cached);
}

Datum
tdo_sql_trigger_batch(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Tuplestorestate *store;
	Jsonb	   *items;
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	v;
	pg_uuid_t	batch;
	MemoryContext item_context;
	int			index = 0;
	ErrorContextCallback callback = {error_context_stack, name_item, &index};

	tdo_require_arg(fcinfo, 0, "items");
	prepare_to_write("trigger_batch()");
	items = PG_GETARG_JSONB_P(0);
	if (!JB_ROOT_IS_ARRAY(items) || JB_ROOT_IS_SCALAR(items))
		invalid("items must be a JSON array",
				"An item is {\"task\": \"...\", \"payload\": ..., \"options\": {...}}.");
	store = tdo_begin_rows(fcinfo, &tupdesc);
	tdo_new_run_id(batch.data);
	item_context = AllocSetContextCreate(CurrentMemoryContext, "triggerdo item",
										 ALLOCSET_DEFAULT_SIZES);
	error_context_stack = &callback;
	it = JsonbIteratorInit(&items->root);
	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		pg_uuid_t	id;
		Datum		values[4];
		bool		nulls[4] = {false};
		bool		is_cached;
		MemoryContext context;

		if (tok != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		context = MemoryContextSwitchTo(item_context);
		id = trigger_item(index, JsonbValueToJsonb(&v), &batch, &is_cached);
		MemoryContextSwitchTo(context);
		MemoryContextReset(item_context);
		values[0] = UUIDPGetDatum(&batch);
		values[1] = Int32GetDatum(index++);
		values[2] = UUIDPGetDatum(&id);
		values[3] = BoolGetDatum(is_cached);
		tuplestore_putvalues(store, tupdesc, values, nulls);
	}
	error_context_stack = callback.previous;
	return (Datum) 0;
}

/* ---------------------------------------------------------- trigger_and_wait */

static void
require_top_level(FunctionCallInfo fcinfo)
{
	if (tdo_current_run() != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("a run cannot wait for another run"),
				 errhint("Trigger it with triggerdo.trigger_task(), and let it carry on the work.")));
	if (!(fcinfo->context && IsA(fcinfo->context, CallContext)) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("trigger_and_wait cannot run inside a transaction block"),
				 errhint("The run begins when it is committed: CALL it outside a transaction block, a function, or a block with an EXCEPTION clause.")));
}

static Datum
record_of(FunctionCallInfo fcinfo, Jsonb *result)
{
	TupleDesc	tupdesc;
	Datum		value = JsonbPGetDatum(result);
	bool		isnull = false;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");	/* can't happen */
	tupdesc = BlessTupleDesc(tupdesc);
	return HeapTupleGetDatum(heap_form_tuple(tupdesc, &value, &isnull));
}

Datum
tdo_sql_trigger_and_wait(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	Options		o;
	TdoTask		task;
	TdoEnqueue	e;
	TdoRun		run;
	TdoResult	result;
	pg_uuid_t	id;
	Jsonb	   *object;

	tdo_require_arg(fcinfo, 0, "task");
	require_top_level(fcinfo);
	prepare_to_write("trigger_and_wait()");
	if (!PG_ARGISNULL(4))
		tdo_unsupported("trigger_and_wait", "name");

	tdo_txn_procedure_begin();
	MemoryContextSwitchTo(context);
	PushActiveSnapshot(GetTransactionSnapshot());
	read_options(&o, "trigger_and_wait", PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3));
	tdo_get_triggerable(text_to_cstring(PG_GETARG_TEXT_PP(0)), &task);
	fill_enqueue(&e, &task, PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1), &o);
	e.keep_result = true;
	id = tdo_enqueue(&e);
	PopActiveSnapshot();
	tdo_txn_procedure_commit();

	/* from here on no snapshot is held while we sleep */
	MemoryContextSwitchTo(context);
	PushActiveSnapshot(GetTransactionSnapshot());
	/* (the run that has the key need not be one that the caller may read) */
	tdo_get_readable_run(&id, &run);
	PopActiveSnapshot();
	(void) tdo_wait_until_final(&id, -1, &result);
	object = tdo_run_object(&run, &result);
	tdo_txn_procedure_end();
	MemoryContextSwitchTo(context);
	PG_RETURN_DATUM(record_of(fcinfo, object));
}
