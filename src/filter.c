/*-------------------------------------------------------------------------
 *
 * filter.c
 *	  Runs that a filter chooses, one after the other.
 *
 * Job: read a filter, find its runs by the index that suits it.
 * Called by: api_cancel.c, api_control.c.
 * Locks: ACCESS SHARE on live, or on the partition of runs being read.
 * Crash: reads only.
 *
 * Where the runs come from: run_ids names them; those that are not final are in
 * live, by id; the rest is read day by day, through the index on tasks where the
 * filter names tasks.  The days, and the place in live to begin at, follow from
 * created_after, created_before and batch, because ids carry the time they were
 * made at.  No planner is involved, and at no time is more than one run in
 * memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "filter.h"
#include "json.h"
#include "status.h"
#include "store.h"
#include "triggerdo.h"

/* an id is minted a moment before created_at, or is ahead of it (clock.c): by less than this */
#define ID_OFF_US		USECS_PER_MINUTE

/* column number of run, as its index has it */
#define RUN_COL_TASK	13

#define FILTER_HINT	"A filter has some of the keys status, task, queue, tag, schedule, batch, created_after, created_before, run_ids."

typedef struct Words
{
	bool		given;
	int			n;
	char	  **words;
} Words;

typedef struct Ids
{
	bool		given;
	int			n;
	pg_uuid_t  *ids;			/* ascending, each once */
} Ids;

struct TdoFilter
{
	Words		status;
	Words		task;
	Words		queue;
	Words		tag;
	Words		schedule;
	Ids			batch;
	Ids			run_ids;
	TimestampTz created_after;	/* DT_NOBEGIN: not given */
	TimestampTz created_before; /* DT_NOEND: not given */
};

typedef enum Source
{
	FROM_IDS, FROM_LIVE, FROM_DAYS
} Source;

struct TdoFilterScan
{
	const TdoFilter *filter;
	Source		source;
	Snapshot	snapshot;
	MemoryContext context;		/* of this struct, and of what is open */
	MemoryContext run_context;	/* of the run shown last */
	pg_uuid_t	from;			/* live is read from here on */
	int			next_id;
	List	   *days;			/* not begun yet, the first one first */
	int			next_task;		/* of the day begun */
	int			day;
	Relation	rel;			/* being scanned, with its index; or NULL */
	Relation	index;
	SysScanDesc scan;
};

/* ------------------------------------------------------------------- reading */

static void
wrong(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message),
			 errhint("%s", hint)));
}

/* a string, or an array of strings */
static void
read_words(Words *w, const char *key, const JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	e;

	w->given = true;
	if (v->type == jbvString)
	{
		w->words = palloc(sizeof(char *));
		w->words[w->n++] = pnstrdup(v->val.string.val, v->val.string.len);
		return;
	}
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		wrong(psprintf("\"%s\" of the filter must be a string or an array of strings", key), FILTER_HINT);
	w->words = palloc(sizeof(char *) * (JsonContainerSize(v->val.binary.data) + 1));
	it = JsonbIteratorInit(v->val.binary.data);
	while ((tok = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		if (tok != WJB_ELEM)
			continue;
		if (e.type != jbvString)
			wrong(psprintf("\"%s\" of the filter must be a string or an array of strings", key), FILTER_HINT);
		w->words[w->n++] = pnstrdup(e.val.string.val, e.val.string.len);
	}
}

static int
compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* each of them is looked for by itself, and what it finds is done once */
static void
each_word_once(Words *w)
{
	int			n = 0;

	qsort(w->words, w->n, sizeof(char *), compare_words);
	for (int i = 0; i < w->n; i++)
	{
		if (n == 0 || strcmp(w->words[n - 1], w->words[i]) != 0)
			w->words[n++] = w->words[i];
	}
	w->n = n;
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

static void
read_ids(Ids *ids, const char *key, const JsonbValue *v)
{
	Words		w = {0};
	int			n = 0;

	read_words(&w, key, v);
	ids->given = true;
	ids->ids = palloc(sizeof(pg_uuid_t) * (w.n + 1));
	for (int i = 0; i < w.n; i++)
		ids->ids[i] = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(w.words[i])));
	qsort(ids->ids, w.n, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < w.n; i++)
	{
		if (n == 0 || compare_ids(&ids->ids[n - 1], &ids->ids[i]) != 0)
			ids->ids[n++] = ids->ids[i];
	}
	ids->n = n;
}

static TimestampTz
read_time(const char *key, const JsonbValue *v)
{
	if (v->type != jbvString)
		wrong(psprintf("\"%s\" of the filter must be a time, as a string", key),
			  "For example \"2026-01-31 12:00:00+00\".");
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
												   CStringGetDatum(pnstrdup(v->val.string.val, v->val.string.len)),
												   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static void
read_key(TdoFilter *f, const char *key, const JsonbValue *v)
{
	if (strcmp(key, "status") == 0)
	{
		read_words(&f->status, key, v);
		for (int i = 0; i < f->status.n; i++)
		{
			if (tdo_status_is(f->status.words[i]) == TDO_STATUS_UNKNOWN)
				wrong(psprintf("\"%s\" is not a status", f->status.words[i]),
					  "Statuses are the values of triggerdo.run_status, as \"QUEUED\".");
		}
	}
	else if (strcmp(key, "task") == 0)
	{
		read_words(&f->task, key, v);
		each_word_once(&f->task);
	}
	else if (strcmp(key, "queue") == 0)
		read_words(&f->queue, key, v);
	else if (strcmp(key, "tag") == 0)
		read_words(&f->tag, key, v);
	else if (strcmp(key, "schedule") == 0)
		read_words(&f->schedule, key, v);
	else if (strcmp(key, "batch") == 0)
		read_ids(&f->batch, key, v);
	else if (strcmp(key, "run_ids") == 0)
		read_ids(&f->run_ids, key, v);
	else if (strcmp(key, "created_after") == 0)
		f->created_after = read_time(key, v);
	else if (strcmp(key, "created_before") == 0)
		f->created_before = read_time(key, v);
	else
		wrong(psprintf("unknown key \"%s\" in the filter", key), FILTER_HINT);
}

TdoFilter *
tdo_filter_read(Jsonb *json)
{
	TdoFilter  *f = palloc0(sizeof(TdoFilter));
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	v;

	f->created_after = DT_NOBEGIN;
	f->created_before = DT_NOEND;
	if (!tdo_json_is_object(json))
		wrong("filter must be a JSON object", FILTER_HINT);
	/* who forgot a variable must not get all there is */
	if (tdo_json_is_empty_object(json))
		wrong("the filter is empty", "Say which runs: for all of them, {\"created_before\": \"infinity\"}.");
	it = JsonbIteratorInit(&json->root);
	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;

		if (tok != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		(void) JsonbIteratorNext(&it, &v, true);
		read_key(f, key, &v);
	}
	return f;
}

/* ------------------------------------------------------------------ matching */

static bool
has_word(const Words *w, const char *word)
{
	if (!w->given)
		return true;
	for (int i = 0; word && i < w->n; i++)
	{
		if (strcmp(w->words[i], word) == 0)
			return true;
	}
	return false;
}

/* one of the filter's tags */
static bool
has_tag(const Words *w, ArrayType *tags)
{
	Datum	   *values;
	int			n;

	if (!w->given)
		return true;
	if (tags == NULL)
		return false;
	deconstruct_array(tags, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		if (has_word(w, TextDatumGetCString(values[i])))
			return true;
	}
	return false;
}

static bool
has_id(const Ids *ids, const pg_uuid_t *id)
{
	if (!ids->given)
		return true;
	return id && bsearch(id, ids->ids, ids->n, sizeof(pg_uuid_t), compare_ids) != NULL;
}

static bool
matches(TdoFilterScan *s, const TdoRun *run)
{
	const TdoFilter *f = s->filter;
	TdoState	state;

	if (!has_word(&f->task, run->task) ||
		!has_word(&f->queue, run->queue ? run->queue : run->task) ||
		!has_word(&f->schedule, run->schedule) ||
		!has_id(&f->batch, run->has_batch ? &run->batch : NULL) ||
		run->created_at < f->created_after || run->created_at >= f->created_before ||
		!has_tag(&f->tag, run->tags))
		return false;
	if (!f->status.given)
		return true;
	tdo_state_as_of(&run->run_id, s->snapshot, false, &state);
	return has_word(&f->status, tdo_status_of(&run->run_id, &state));
}

/* ------------------------------------------------------------------ scanning */

static bool
only_live_statuses(const TdoFilter *f)
{
	for (int i = 0; i < f->status.n; i++)
	{
		if (tdo_status_is(f->status.words[i]) != TDO_STATUS_LIVE)
			return false;
	}
	return f->status.given;
}

static int
day_of_time(TimestampTz at)
{
	int64		day = at / USECS_PER_DAY - (at % USECS_PER_DAY < 0 ? 1 : 0);

	return (int) day + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE);
}

static List *
days_of(const TdoFilter *f)
{
	List	   *days = NIL;
	ListCell   *lc;

	foreach(lc, tdo_partition_days())
	{
		int			day = lfirst_int(lc);

		if (!TIMESTAMP_NOT_FINITE(f->created_after) && day < day_of_time(f->created_after - ID_OFF_US))
			continue;
		if (!TIMESTAMP_NOT_FINITE(f->created_before) &&
			day > day_of_time(f->created_before + ID_OFF_US))
			continue;
		days = lappend_int(days, day);
	}
	return days;
}

/* no run that the filter chooses has a smaller id */
static pg_uuid_t
lowest_id(const TdoFilter *f)
{
	pg_uuid_t	id = {{0}};

	/* a batch's id is made before its runs' */
	if (f->batch.given && f->batch.n > 0)
		id = f->batch.ids[0];
	if (!TIMESTAMP_NOT_FINITE(f->created_after))
	{
		pg_uuid_t	day = tdo_day_bound(day_of_time(f->created_after - ID_OFF_US));

		if (compare_ids(&day, &id) > 0)
			id = day;
	}
	return id;
}

static void
open_live(TdoFilterScan *s)
{
	const TdoObjects *o = tdo_objects();
	ScanKeyData key;

	s->from = lowest_id(s->filter);
	s->rel = table_open(o->live, AccessShareLock);
	s->index = index_open(o->live_pkey, AccessShareLock);
	ScanKeyInit(&key, 1, BTGreaterEqualStrategyNumber, F_UUID_GE, UUIDPGetDatum(&s->from));
	s->scan = systable_beginscan_ordered(s->rel, s->index, s->snapshot, 1, &key);
}

/* the next day's partition, or the next task of the day; false: no more */
static bool
open_day(TdoFilterScan *s)
{
	const Words *task = &s->filter->task;
	ScanKeyData key;
	Oid			part;
	Oid			by_task;

	for (;;)
	{
		if (!task->given || s->next_task == task->n)
		{
			if (s->days == NIL)
				return false;
			s->day = linitial_int(s->days);
			s->days = list_delete_first(s->days);
			s->next_task = 0;
			if (task->given && task->n == 0)
				return false;
		}
		part = tdo_partition(TDO_RUN, s->day);
		/* retention may drop it in this moment */
		s->rel = OidIsValid(part) ? try_relation_open(part, AccessShareLock) : NULL;
		if (s->rel)
			break;
		s->next_task = task->n;
	}
	by_task = tdo_partition_task_index(s->day);
	if (task->given && OidIsValid(by_task))
	{
		s->index = index_open(by_task, AccessShareLock);
		ScanKeyInit(&key, RUN_COL_TASK, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(task->words[s->next_task++]));
		key.sk_collation = TupleDescAttr(RelationGetDescr(s->rel), RUN_COL_TASK - 1)->attcollation;
		s->scan = systable_beginscan_ordered(s->rel, s->index, s->snapshot, 1, &key);
		return true;
	}
	s->next_task = task->n;
	s->index = index_open(tdo_primary_key(s->rel), AccessShareLock);
	s->scan = systable_beginscan_ordered(s->rel, s->index, s->snapshot, 0, NULL);
	return true;
}

static void
close_scan(TdoFilterScan *s)
{
	systable_endscan_ordered(s->scan);
	index_close(s->index, AccessShareLock);
	table_close(s->rel, AccessShareLock);
	s->scan = NULL;
}

TdoFilterScan *
tdo_filter_begin(const TdoFilter *filter, bool live_only)
{
	TdoFilterScan *s = palloc0(sizeof(TdoFilterScan));

	s->filter = filter;
	s->context = CurrentMemoryContext;
	s->run_context = AllocSetContextCreate(CurrentMemoryContext, "triggerdo filter",
										   ALLOCSET_DEFAULT_SIZES);
	CommandCounterIncrement();
	s->snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (filter->run_ids.given)
		s->source = FROM_IDS;
	else if (live_only || only_live_statuses(filter))
	{
		s->source = FROM_LIVE;
		open_live(s);
	}
	else
	{
		s->source = FROM_DAYS;
		s->days = days_of(filter);
		s->next_task = filter->task.n;
	}
	return s;
}

/* false: no more */
static bool
next_candidate(TdoFilterScan *s, TdoRun *run, bool *there)
{
	MemoryContext old;
	HeapTuple	tuple;
	TdoLive		live;

	*there = true;
	if (s->source == FROM_IDS)
	{
		if (s->next_id == s->filter->run_ids.n)
			return false;
		*there = tdo_run_get(&s->filter->run_ids.ids[s->next_id++], run);
		return true;
	}

	/*
	 * (a scan makes memory that it keeps when it is asked for its next row,
	 * too)
	 */
	old = MemoryContextSwitchTo(s->context);
	if (s->scan == NULL && !(s->source == FROM_DAYS && open_day(s)))
	{
		MemoryContextSwitchTo(old);
		return false;
	}
	tuple = systable_getnext_ordered(s->scan, ForwardScanDirection);
	MemoryContextSwitchTo(old);
	if (!HeapTupleIsValid(tuple))
	{
		close_scan(s);
		*there = false;
		return s->source == FROM_DAYS;
	}
	if (s->source == FROM_DAYS)
	{
		tdo_run_read(s->rel, tuple, run);
		return true;
	}
	tdo_live_read(s->rel, tuple, &live);
	*there = tdo_run_get(&live.run_id, run);
	return true;
}

bool
tdo_filter_next(TdoFilterScan *s, TdoRun *run)
{
	MemoryContext old = MemoryContextSwitchTo(s->run_context);
	bool		more;
	bool		found = false;

	do
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(s->run_context);
		more = next_candidate(s, run, &found);
		found = more && found && matches(s, run);
	} while (more && !found);
	MemoryContextSwitchTo(old);
	if (!more)
	{
		UnregisterSnapshot(s->snapshot);
		MemoryContextDelete(s->run_context);
	}
	return more;
}
