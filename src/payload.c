/*-------------------------------------------------------------------------
 *
 * payload.c
 *	  Payloads against the schemas of their tasks.
 *
 * Job: keep the compiled schemas of the tasks that this process triggers, so that an
 * enqueue pays for its payload and not for the schema; say what is wrong.
 * Called by: api_task.c (definitions), api_trigger.c (enqueues).
 * Locks: none but what tdo_task_get() takes.
 * Crash: a process's memory, gone with it. A compiled schema is found by the stamp
 * of the definition that this process has read (definition.c), which is a new one
 * after every change of any definition; then the bytes of the schema decide.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "definition.h"
#include "payload.h"

/* enough for who triggers several tasks in turn; the next in a place replaces the last */
#define PLACES	16

typedef struct Place
{
	MemoryContext context;		/* NULL: empty */
	uint64		stamp;			/* of the definition it is known to be of */
	Jsonb	   *source;			/* the tree points into it */
	TdoSchema  *schema;
} Place;

static Place places[PLACES];

static Jsonb *
copy_jsonb(const Jsonb *j)
{
	return (Jsonb *) DatumGetPointer(datumCopy(PointerGetDatum(j), false, -1));
}

/* a tree in a context of its own; the caller's until it is whole: an error leaves nothing behind */
static void
compile(Place *place, const Jsonb *source)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "triggerdo schema", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	/* (the copy counts, too, for the limit on memory) */
	place->source = copy_jsonb(source);
	place->schema = tdo_schema_compile(place->source);
	MemoryContextSwitchTo(old);
	place->context = context;
}

static void
compile_into(Place *place, const Jsonb *source)
{
	Place		fresh = {0};

	if (place->context)
		MemoryContextDelete(place->context);
	*place = fresh;
	compile(&fresh, source);
	MemoryContextSetParent(fresh.context, TopMemoryContext);
	*place = fresh;
}

/* NULL: the task has none (any more) */
static const TdoSchema *
compiled(const TdoTask *task)
{
	Place	   *place = &places[hash_bytes((const unsigned char *) task->id, strlen(task->id)) % PLACES];
	const Jsonb *source = task->payload_schema;

	if (task->schema_stamp != 0 && place->context && place->stamp == task->schema_stamp)
		return place->schema;
	if (source == NULL)
		source = tdo_definition_schema(task);
	if (source == NULL)
		return NULL;
	if (place->context == NULL || VARSIZE(place->source) != VARSIZE(source) ||
		memcmp(place->source, source, VARSIZE(source)) != 0)
		compile_into(place, source);
	place->stamp = task->schema_stamp;
	return place->schema;
}

/* what a check allocates may be much, and is gone with it; the fault is the caller's */
static bool
fits(const TdoSchema *schema, Jsonb *payload, TdoSchemaFault *fault)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "triggerdo payload check",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	bool		does = tdo_schema_check(schema, payload, fault);

	MemoryContextSwitchTo(old);
	if (does)
		MemoryContextDelete(scratch);
	return does;
}

void
tdo_payload_check(const TdoTask *task, Jsonb *payload)
{
	const TdoSchema *schema;
	TdoSchemaFault fault;

	if (task->payload_schema == NULL && task->schema_stamp == 0)
		return;
	schema = compiled(task);
	if (schema == NULL || fits(schema, payload, &fault))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("payload of task \"%s\" breaks rule \"%s\" at \"%s\"", task->id, fault.keyword, fault.path),
			 errdetail("It %s. (\"%s\" of the task's payload_schema)", fault.reason, fault.rule),
			 errhint("The path is a JSON Pointer into the payload, \"\" is the payload itself. The schema is in view triggerdo.tasks."),
			 err_generic_string(PG_DIAG_COLUMN_NAME, fault.path),
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME, fault.keyword)));
}

void
tdo_payload_schema_check(const Jsonb *schema)
{
	Place		place = {0};

	compile(&place, schema);
	MemoryContextDelete(place.context);
}

char *
tdo_payload_try(const Jsonb *schema, Jsonb *payload)
{
	static Place place;
	TdoSchemaFault fault;

	if (place.context == NULL || VARSIZE(place.source) != VARSIZE(schema) ||
		memcmp(place.source, schema, VARSIZE(schema)) != 0)
		compile_into(&place, schema);
	if (fits(place.schema, payload, &fault))
		return NULL;
	return psprintf("%s at \"%s\": %s (%s)", fault.keyword, fault.path, fault.reason, fault.rule);
}
