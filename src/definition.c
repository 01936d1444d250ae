/*-------------------------------------------------------------------------
 *
 * definition.c
 *	  Task definitions that this process has read.
 *
 * Job: a statement that enqueues 100,000 runs reads the definition once.
 * Called by: api_trigger.c (enqueues), payload.c (their schemas), execute.c (the count, for its own cache of
 * functions).
 * Locks: none but what tdo_task_get() takes. What changes a definition sends a
 * relcache invalidation of _triggerdo.task (task.c, and store.c for resume()),
 * which comes here when its transaction commits, when its own command ends, and
 * when it is rolled back. Each call accepts what other sessions have sent: so an
 * enqueue that begins after a definer's COMMIT has returned sees the new
 * definition.
 * Crash: a process's memory, gone with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "definition.h"
#include "store.h"

/* enough for who triggers several tasks in turn; the next in a place replaces the last */
#define PLACES	16

typedef struct Place
{
	MemoryContext context;		/* NULL: empty */
	TdoTask		task;
	uint64		changes;		/* the count when it was read */
} Place;

static Place places[PLACES];
static uint64 changes = 1;
static uint64 stamps = 0;
static Oid	task_relation = InvalidOid;

static void
relation_changed(Datum arg, Oid relid)
{
	/* no catalog access in a callback: the oid is the one last used */
	if (!OidIsValid(relid) || relid == task_relation)
		changes++;
}

void
tdo_definition_init(void)
{
	tdo_watch_relations(relation_changed);
}

uint64
tdo_definition_changes(void)
{
	task_relation = tdo_objects()->task;
	return changes;
}

static char *
copy_string(const char *s)
{
	return s ? pstrdup(s) : NULL;
}

static Jsonb *
copy_jsonb(const Jsonb *j)
{
	return j ? (Jsonb *) DatumGetPointer(datumCopy(PointerGetDatum(j), false, -1)) : NULL;
}

/*
 * Into the current context. Not a pointer to ours: while a caller enqueues, a
 * day's partition may be made, and an event trigger that enqueues may take the
 * place.
 */
static void
copy_task(TdoTask *to, const TdoTask *from)
{
	*to = *from;
	to->id = copy_string(from->id);
	to->command = copy_string(from->command);
	to->description = copy_string(from->description);
	to->retry = copy_jsonb(from->retry);
	to->options = copy_jsonb(from->options);
	/* it may be large, and who compiled it needs no more than the stamp */
	to->payload_schema = NULL;
	to->hooks = copy_jsonb(from->hooks);
}

static bool
fill_place(Place *place, const char *id, uint64 now)
{
	MemoryContext context;
	MemoryContext old;
	bool		found;

	if (place->context)
		MemoryContextDelete(place->context);
	place->context = NULL;
	/* the caller's until it is whole: an error leaves nothing behind */
	context = AllocSetContextCreate(CurrentMemoryContext, "triggerdo definition",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	found = tdo_task_get(id, &place->task);
	MemoryContextSwitchTo(old);
	if (!found)
	{
		MemoryContextDelete(context);
		return false;
	}
	MemoryContextSetParent(context, TopMemoryContext);
	place->task.schema_stamp = place->task.payload_schema ? ++stamps : 0;
	place->context = context;
	place->changes = now;
	return true;
}

static Place *
place_of(const char *id)
{
	return &places[hash_bytes((const unsigned char *) id, strlen(id)) % PLACES];
}

/* the place may have been given to another since: then the table has it */
const Jsonb *
tdo_definition_schema(const TdoTask *task)
{
	Place	   *place = place_of(task->id);
	TdoTask		fresh;

	if (place->context && place->task.schema_stamp == task->schema_stamp)
		return place->task.payload_schema;
	return tdo_task_get(task->id, &fresh) ? fresh.payload_schema : NULL;
}

bool
tdo_definition(const char *id, TdoTask *task)
{
	Place	   *place = place_of(id);
	uint64		now;

	AcceptInvalidationMessages();
	now = tdo_definition_changes();
	if ((place->context == NULL || place->changes != now || strcmp(place->task.id, id) != 0) &&
		!fill_place(place, id, now))
		return false;
	copy_task(task, &place->task);
	return true;
}
