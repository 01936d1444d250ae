/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The process that finds databases and starts their schedulers.
 *
 * Job: one scheduler for each database that has the extension.  Which have it
 * cannot be seen from outside, so a scheduler is started in each once, and one
 * that finds no extension ends; CREATE EXTENSION announces a database later.
 * Called by: the postmaster, also again after it died.
 * Locks: the shared LWLock.
 * Crash: it keeps nothing that the first sweep would not find again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "bgw.h"
#include "clock.h"
#include "compat.h"
#include "guc.h"
#include "launcher.h"
#include "shmem.h"
#include "triggerdo.h"
#include "txn.h"

#define RETRY_SLOT_MS	1000
#define RETRY_START_MS	50
#define STARTS_AT_ONCE	2
#define MAX_BACKOFF_MS	60000

/* a scheduler that we started */
typedef struct Child
{
	Oid			database;
	BackgroundWorkerHandle *handle;
	int64		started_us;
} Child;

static List *children = NIL;	/* of Child, in TopMemoryContext */
static bool said_no_slot = false;

static void
detach(int code, Datum arg)
{
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	tdo_shared->launcher_latch = NULL;
	tdo_shared->launcher_pid = 0;
	LWLockRelease(tdo_shared->lock);
}

/*
 * Look at pg_database: entries of databases that are gone, or may not have a
 * scheduler, are forgotten; with want_all every other becomes wanted, unless
 * it has a scheduler.
 */
static void
scan_databases(bool want_all)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	List	   *allowed = NIL;
	List	   *existing = NIL;
	ListCell   *lc;

	tdo_txn_begin();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		existing = lappend_oid(existing, form->oid);
		if (form->datallowconn && !form->datistemplate &&
			form->datconnlimit != DATCONNLIMIT_INVALID_DB &&
			tdo_database_listed(NameStr(form->datname)))
			allowed = lappend_oid(allowed, form->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	tdo_txn_commit();

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TDO_MAX_DATABASES; i++)
	{
		TdoDatabase *db = &tdo_shared->databases[i];

		if ((db->state == TDO_DB_WANTED || db->state == TDO_DB_NONE) &&
			!list_member_oid(allowed, db->database))
			db->state = TDO_DB_UNUSED;
	}
	LWLockRelease(tdo_shared->lock);
	/* nobody else would: its scheduler has gone with it */
	tdo_pools_keep_databases(existing);
	if (want_all)
	{
		foreach(lc, allowed)
			(void) tdo_database_want(lfirst_oid(lc));
	}
}

static bool
any_wanted(void)
{
	for (int i = 0; i < TDO_MAX_DATABASES; i++)
	{
		if (tdo_shared->databases[i].state == TDO_DB_WANTED)
			return true;
	}
	return false;
}

static bool
is_child(Oid database)
{
	ListCell   *lc;

	foreach(lc, children)
	{
		if (((Child *) lfirst(lc))->database == database)
			return true;
	}
	return false;
}

/* schedulers that ended: the next one after a pause, if one is wanted */
static void
reap(void)
{
	ListCell   *lc;

	foreach(lc, children)
	{
		Child	   *child = lfirst(lc);
		TdoDatabase *db = tdo_database_find(child->database);
		pid_t		pid;

		if (GetBackgroundWorkerPid(child->handle, &pid) != BGWH_STOPPED)
			continue;
		LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
		if (db && db->state == TDO_DB_RUNNING && db->pid == 0)
		{
			/* one that worked for a while, or made way, is replaced at once */
			if (tdo_monotonic_us() - child->started_us > 10 * 1000000 || db->holds > 0)
				db->failures = 0;
			db->next_try_us = tdo_monotonic_us() +
				Min((int64) 100 << Min(db->failures, 10), MAX_BACKOFF_MS) * 1000;
			db->failures++;
			db->state = TDO_DB_WANTED;
		}
		LWLockRelease(tdo_shared->lock);
		pfree(child->handle);
		pfree(child);
		children = foreach_delete_current(children, lc);
	}

	/* those of a launcher before us clear their pid when they end */
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TDO_MAX_DATABASES; i++)
	{
		TdoDatabase *db = &tdo_shared->databases[i];

		if (db->state == TDO_DB_RUNNING && db->pid == 0 && !is_child(db->database))
			db->state = TDO_DB_WANTED;
	}
	LWLockRelease(tdo_shared->lock);
}

static bool
start_scheduler(TdoDatabase *db)
{
	TdoWorkerArgs args = {0};
	BackgroundWorkerHandle *handle;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool		ok;

	args.database = db->database;
	ok = tdo_bgw_start_scheduler(&args, &handle);
	if (ok)
	{
		Child	   *child = palloc(sizeof(Child));

		child->database = db->database;
		child->handle = handle;
		child->started_us = tdo_monotonic_us();
		children = lappend(children, child);
		said_no_slot = false;
	}
	else if (!said_no_slot)
	{
		ereport(LOG,
				(errmsg("triggerdo could not start a scheduler: no background worker slot is free"),
				 errhint("Raise max_worker_processes.")));
		said_no_slot = true;
	}
	MemoryContextSwitchTo(old);
	return ok;
}

/* start what is wanted; gives the milliseconds after which to look again */
static long
start_wanted(long sleep_ms)
{
	int64		now_us = tdo_monotonic_us();
	int			starting = 0;

	for (int i = 0; i < TDO_MAX_DATABASES; i++)
	{
		TdoDatabase *db = &tdo_shared->databases[i];

		if (db->state == TDO_DB_RUNNING && db->pid == 0)
			starting++;
		if (db->state != TDO_DB_WANTED)
			continue;
		/* a sweep over many databases must not take every worker slot */
		if (starting >= STARTS_AT_ONCE)
			return Min(sleep_ms, RETRY_START_MS);
		if (db->next_try_us > now_us)
		{
			sleep_ms = Min(sleep_ms, (long) ((db->next_try_us - now_us) / 1000 + 1));
			continue;
		}
		/* one may have attached meanwhile */
		if (!tdo_database_change(db, TDO_DB_WANTED, TDO_DB_RUNNING))
			continue;
		if (!start_scheduler(db))
		{
			(void) tdo_database_change(db, TDO_DB_RUNNING, TDO_DB_WANTED);
			return Min(sleep_ms, RETRY_SLOT_MS);
		}
		starting++;
	}
	return sleep_ms;
}

void
tdo_launcher_main(Datum main_arg)
{
	uint32		wait_event;
	int64		swept_us = 0;
	char	   *swept_list = MemoryContextStrdup(TopMemoryContext, "");
	MemoryContext context;

	tdo_bgw_setup();
	before_shmem_exit(detach, (Datum) 0);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	tdo_shared->launcher_latch = MyLatch;
	tdo_shared->launcher_pid = MyProcPid;
	LWLockRelease(tdo_shared->lock);

	pgstat_report_appname("triggerdo launcher");
	wait_event = tdo_wait_event("TriggerdoLauncherMain");
	context = AllocSetContextCreate(TopMemoryContext, "triggerdo launcher",
									ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		int64		now_us = tdo_monotonic_us();
		long		sleep_ms;

		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		if (swept_us == 0 || strcmp(swept_list, tdo_databases) != 0 ||
			now_us - swept_us >= tdo_sweep_interval * INT64CONST(1000000))
		{
			scan_databases(true);
			swept_us = now_us;
			pfree(swept_list);
			swept_list = MemoryContextStrdup(TopMemoryContext, tdo_databases);
		}
		reap();
		if (any_wanted())
			scan_databases(false);
		sleep_ms = tdo_sweep_interval * 1000L - (now_us - swept_us) / 1000;
		sleep_ms = start_wanted(Max(sleep_ms, 1));
		pgstat_report_activity(STATE_IDLE, NULL);
		tdo_bgw_sleep(sleep_ms, wait_event);
	}
}
