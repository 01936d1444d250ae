/*-------------------------------------------------------------------------
 *
 * api_view.c
 *	  SQL: what the views are made of.
 *
 * Job: the worker rows.
 * Called by: the views; the install script (announce).
 * Locks: the shared LWLock, a slot's mutex.
 * Crash: reads only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "api.h"
#include "clock.h"
#include "compat.h"
#include "origin.h"
#include "shmem.h"
#include "slot.h"
#include "store.h"
#include "triggerdo.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(tdo_sql_worker_rows);
PG_FUNCTION_INFO_V1(tdo_sql_announce);

#define WORKER_COLUMNS	10

Tuplestorestate *
tdo_begin_rows(FunctionCallInfo fcinfo, TupleDesc *tupdesc)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	Tuplestorestate *store;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		!(rsinfo->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if (get_call_result_type(fcinfo, NULL, tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");	/* can't happen */
	old = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	*tupdesc = CreateTupleDescCopy(*tupdesc);
	store = tuplestore_begin_heap((rsinfo->allowedModes & SFRM_Materialize_Random) != 0,
								  false, work_mem);
	MemoryContextSwitchTo(old);
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setResult = store;
	rsinfo->setDesc = *tupdesc;
	return store;
}

/* -------------------------------------------------------------------- workers */

typedef struct WorkerRow
{
	const char *kind;
	int			pid;
	Oid			database;
	Oid			role;
	const char *state;
	const pg_uuid_t *run;
	TimestampTz since;
	int64		runs_done;
	const char *reason;
	TimestampTz next_try;
} WorkerRow;

static void
put_worker(Tuplestorestate *store, TupleDesc tupdesc, const WorkerRow *w)
{
	Datum		values[WORKER_COLUMNS];
	bool		nulls[WORKER_COLUMNS];

	nulls[0] = false;
	values[0] = CStringGetTextDatum(w->kind);
	nulls[1] = w->pid == 0;
	values[1] = Int32GetDatum(w->pid);
	nulls[2] = !OidIsValid(w->database);
	values[2] = ObjectIdGetDatum(w->database);
	nulls[3] = !OidIsValid(w->role);
	values[3] = ObjectIdGetDatum(w->role);
	nulls[4] = false;
	values[4] = CStringGetTextDatum(w->state);
	nulls[5] = w->run == NULL;
	values[5] = UUIDPGetDatum(w->run);
	nulls[6] = w->since == 0;
	values[6] = TimestampTzGetDatum(w->since);
	nulls[7] = !OidIsValid(w->role);
	values[7] = Int64GetDatum(w->runs_done);
	nulls[8] = w->reason == NULL;
	if (w->reason)
		values[8] = CStringGetTextDatum(w->reason);
	nulls[9] = w->next_try == 0;
	values[9] = TimestampTzGetDatum(w->next_try);
	tuplestore_putvalues(store, tupdesc, values, nulls);
}

/* a copy of the fields that other processes change */
static bool
copy_slot(int index, TdoSlot *copy)
{
	TdoSlot    *slot = &tdo_shared->slots[index];

	LWLockAcquire(tdo_shared->lock, LW_SHARED);
	SpinLockAcquire(&slot->mutex);
	*copy = *slot;
	SpinLockRelease(&slot->mutex);
	LWLockRelease(tdo_shared->lock);
	return copy->state != TDO_SLOT_FREE;
}

static void
put_slot(Tuplestorestate *store, TupleDesc tupdesc, const TdoSlot *slot)
{
	static const char *const states[] = {"free", "starting", "idle", "busy", "leaving"};
	WorkerRow	w = {0};

	w.kind = "executor";
	w.pid = slot->pid;
	w.database = slot->database;
	w.role = slot->role;
	w.state = states[slot->state];
	w.since = slot->since;
	w.runs_done = (int64) slot->runs_done;
	if (slot->current >= 0 && slot->current < slot->nruns)
	{
		w.run = &slot->runs[slot->current];
		w.since = slot->run_started;
	}
	put_worker(store, tupdesc, &w);
}

Datum
tdo_sql_worker_rows(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Tuplestorestate *store;
	WorkerRow	w = {0};

	tdo_require_shmem();
	(void) tdo_objects();		/* another version's rows have other columns */
	store = tdo_begin_rows(fcinfo, &tupdesc);
	w.kind = "launcher";
	w.pid = tdo_shared->launcher_pid;
	w.state = w.pid ? "running" : "not running";
	put_worker(store, tupdesc, &w);

	for (int i = 0; i < TDO_MAX_DATABASES; i++)
	{
		const TdoDatabase *db = &tdo_shared->databases[i];
		char		paused[sizeof(db->paused)];

		if (db->state != TDO_DB_WANTED && db->state != TDO_DB_RUNNING)
			continue;
		memset(&w, 0, sizeof(w));
		w.kind = "scheduler";
		w.pid = db->pid;
		w.database = db->database;
		w.state = db->pid ? "running" : "starting";
		if (db->database == MyDatabaseId)
			w.reason = tdo_origin_pause_reason();
		else
		{
			LWLockAcquire(tdo_shared->lock, LW_SHARED);
			strlcpy(paused, db->paused, sizeof(paused));
			LWLockRelease(tdo_shared->lock);
			w.reason = paused[0] != '\0' ? paused : NULL;
		}
		if (w.reason)
			w.state = "paused";
		put_worker(store, tupdesc, &w);
	}
	for (int i = 0; i < tdo_shared->nslots; i++)
	{
		TdoSlot		slot;

		if (copy_slot(i, &slot))
			put_slot(store, tupdesc, &slot);
	}
	for (int i = 0; i < TDO_MAX_POOLS; i++)
	{
		TdoPool		pool;

		LWLockAcquire(tdo_shared->lock, LW_SHARED);
		pool = tdo_shared->pools[i];
		LWLockRelease(tdo_shared->lock);
		if (!OidIsValid(pool.database))
			continue;
		memset(&w, 0, sizeof(w));
		w.kind = "executor";
		w.database = pool.database;
		w.role = pool.role;
		w.state = "cannot start";
		w.reason = pool.reason;
		w.next_try = tdo_now() + (pool.next_try_us - tdo_monotonic_us());
		put_worker(store, tupdesc, &w);
	}
	return (Datum) 0;
}

Datum
tdo_sql_announce(PG_FUNCTION_ARGS)
{
	/*
	 * without shared memory there is nobody to tell; a restart finds the
	 * database
	 */
	if (tdo_shared)
		tdo_wake_launcher();
	PG_RETURN_VOID();
}
