/*-------------------------------------------------------------------------
 *
 * scheduler.c
 *	  The process that is a database's clock, and starts its executors.
 *
 * Job: make due runs queued, keep partitions ahead, have old ones dropped, and
 * see that every owner with queued runs has an executor.
 * Called by: the postmaster, on the launcher's request.
 * Locks: live and timer rows it changes, FOR UPDATE SKIP LOCKED.
 * Crash: it keeps nothing; a new one reads the tables.
 *
 * This is the only process that works as a superuser, so it never runs user
 * code and never evaluates a user's expression: heap and btree access, and DDL
 * on our own partitions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "bgw.h"
#include "clock.h"
#include "compat.h"
#include "crash.h"
#include "failure.h"
#include "fault.h"
#include "guc.h"
#include "grant.h"
#include "history.h"
#include "hook.h"
#include "idempotency.h"
#include "origin.h"
#include "ready.h"
#include "rows.h"
#include "scheduler.h"
#include "shmem.h"
#include "slot.h"
#include "stop.h"
#include "store.h"
#include "transition.h"
#include "triggerdo.h"
#include "txn.h"
#include "wake.h"

/* the clock may be set while we sleep: read it again at least so often */
#define MAX_SLEEP_MS		60000
/* how often a pool that has work is looked at */
#define BUSY_SLEEP_MS		250
/* an executor in one batch for so long is taken to wait for something */
#define STUCK_US			250000
#define TIMERS_AT_ONCE		1000
#define CLAIMS_AT_ONCE		100
#define CLAIMS_EVERY_US		INT64CONST(60000000)
#define ENDED_AT_ONCE		64
/* while a suspect is to run alone */
#define SUSPECT_SLEEP_MS	100
#define MAX_BACKOFF_MS		60000
/* after an error that is the machine's; how often it is said */
#define ERROR_PAUSE_MS		1000
#define SAY_EVERY_US		INT64CONST(60000000)

/* an executor that we have asked for, until it has attached or ended */
typedef struct Starting
{
	BackgroundWorkerHandle *handle;
	int			slot;
	uint32		generation;
	Oid			role;
} Starting;

static TdoWorkerArgs args;
static TdoDatabase *database;
static MemoryContext loop_context;
static List *starting = NIL;	/* of Starting, in TopMemoryContext */
static int	partitions_day = 0; /* the day for which partitions were looked
								 * after */
static int64 held_pause_ms = 10;

/* seen to in the transaction in hand */
static TdoSuspect suspected[TDO_MAX_SUSPECTS];
static Oid	owners_suspected[TDO_MAX_SUSPECTS];
static int	nsuspected = 0;
static TdoEnded seen_ended[ENDED_AT_ONCE];
static int	nended = 0;
static uint32 wait_event_main;

static void
detach(int code, Datum arg)
{
	tdo_database_detach(database);
}

/* -------------------------------------------------------------- executors */

static bool
connections_allowed(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	bool		allowed = false;

	if (HeapTupleIsValid(tuple))
	{
		allowed = ((Form_pg_database) GETSTRUCT(tuple))->datallowconn;
		ReleaseSysCache(tuple);
	}
	return allowed;
}

/*
 * Why no executor can run for this role, or NULL; needs a transaction.  The
 * connection limits of roles and databases are PostgreSQL's to apply: 18, and
 * the minor releases since 2025 of those before it, let background workers in.
 */
static const char *
role_trouble(Oid role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	Form_pg_authid form;
	const char *trouble = NULL;

	if (tdo_role_is_missing(role))
		return "no role of this name: CREATE ROLE, and call triggerdo.resume()";
	if (!HeapTupleIsValid(tuple))
		return "the owner's role does not exist any more";
	form = (Form_pg_authid) GETSTRUCT(tuple);
	if (!form->rolcanlogin && !TDO_NOLOGIN_ALLOWED)
		trouble = "the owner's role may not log in (NOLOGIN)";
	else if (form->rolsuper && !tdo_allow_superuser_tasks)
		trouble = "the owner is a superuser and triggerdo.allow_superuser_tasks is off";
	ReleaseSysCache(tuple);
	if (trouble == NULL && !connections_allowed())
		trouble = "the database does not allow connections (ALLOW_CONNECTIONS)";
	if (trouble == NULL &&
		tdo_aclcheck_connect(MyDatabaseId, role) != ACLCHECK_OK)
		trouble = "the owner's role has no CONNECT privilege on the database";
	return trouble;
}

/* remember, and say once per change */
static void
note_trouble(Oid role, const char *reason, bool count)
{
	TdoPool		pool;
	int			failures = 0;
	int64		pause_ms = 1000;

	if (tdo_pool_get(MyDatabaseId, role, &pool))
		failures = pool.failures;
	if (count)
		failures++;
	pause_ms = Min(pause_ms << Min(failures, 6), MAX_BACKOFF_MS);
	if (tdo_pool_trouble(MyDatabaseId, role, tdo_monotonic_us() + pause_ms * 1000, failures, reason))
		ereport(LOG,
				(errmsg("triggerdo cannot run tasks of role \"%s\": %s",
						tdo_role_name(role), reason),
				 errdetail("Its runs stay queued; triggerdo.workers shows the reason.")));
}

static void
start_executor(Oid role)
{
	TdoWorkerArgs start = {0};
	Starting   *s;
	MemoryContext old;
	BackgroundWorkerHandle *handle;

	start.database = MyDatabaseId;
	start.role = role;
	start.slot = tdo_slot_reserve(MyDatabaseId, role, &start.generation);
	if (start.slot < 0)
	{
		note_trouble(role, "every executor slot is in use (triggerdo.max_executors)", false);
		return;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	if (tdo_bgw_start_executor(&start, &handle))
	{
		s = palloc(sizeof(Starting));
		s->handle = handle;
		s->slot = start.slot;
		s->generation = start.generation;
		s->role = role;
		starting = lappend(starting, s);
	}
	else
	{
		tdo_slot_release(start.slot, start.generation);
		note_trouble(role, "no background worker slot is free (max_worker_processes)", false);
	}
	MemoryContextSwitchTo(old);
}

/* executors that ended before they attached */
static void
look_after_starting(void)
{
	ListCell   *lc;

	foreach(lc, starting)
	{
		Starting   *s = lfirst(lc);
		pid_t		pid;

		if (tdo_slot_is_starting(s->slot, s->generation))
		{
			if (GetBackgroundWorkerPid(s->handle, &pid) != BGWH_STOPPED)
				continue;
			/* perhaps it attached, worked and ended in between */
			if (tdo_slot_is_starting(s->slot, s->generation))
			{
				tdo_slot_release(s->slot, s->generation);
				note_trouble(s->role, "an executor ended before it was connected; the server log has its error", true);
			}
		}
		pfree(s->handle);
		pfree(s);
		starting = foreach_delete_current(starting, lc);
	}
}

/* *sleep_ms is shortened to what is left */
static bool
backing_off(Oid role, long *sleep_ms)
{
	TdoPool		pool;
	int64		left_us;

	if (!tdo_pool_get(MyDatabaseId, role, &pool))
		return false;
	left_us = pool.next_try_us - tdo_monotonic_us();
	if (left_us <= 0)
		return false;
	*sleep_ms = Min(*sleep_ms, (long) (left_us / 1000 + 1));
	return true;
}

/*
 * Work is queued for this owner: wake who rests, start who is missing.  Beyond
 * triggerdo.executors one more is started only when all of them sit in one
 * batch for long, which means that they wait for something else than a core.  Tells whether the
 * pool is to be looked at again in a moment; otherwise *sleep_ms says when.
 */
static bool
look_after_owner(Oid owner, long *sleep_ms)
{
	TdoPoolCount count;
	const char *trouble;

	if (tdo_executors == 0 || tdo_database_is_held(database))
		return false;
	if (!tdo_suspect_allows(MyDatabaseId, owner))
		return true;
	tdo_pool_count(MyDatabaseId, owner, 1, PG_INT64_MIN, STUCK_US, &count);
	if (count.idle > 0 || count.starting > 0 ||
		count.alive >= tdo_max_executors_per_role ||
		(count.alive >= tdo_executors && count.stuck < count.alive))
		return true;
	if (backing_off(owner, sleep_ms))
		return count.alive > 0;
	trouble = role_trouble(owner);
	if (trouble)
		note_trouble(owner, trouble, true);
	else
		start_executor(owner);
	return !backing_off(owner, sleep_ms);
}

/* ------------------------------------------------------------------- the loop */

static void
keep_partitions_ahead(void)
{
	int			today = tdo_today();

	if (today == partitions_day)
		return;
	/* none before the first run: a restore brings its own */
	if (!OidIsValid(tdo_partition(TDO_RUN, today)))
		return;
	for (int day = today; day <= today + tdo_partitions_ahead; day++)
		(void) tdo_partition_make(TDO_RUN, day);
	partitions_day = today;
}

/* runs whose executor, or the whole server, ended in their middle */
static void
see_to_the_ended(void)
{
	static int64 claims_us = 0;
	pg_uuid_t	claims[CLAIMS_AT_ONCE];
	TdoEnded	ended;
	TdoSuspect	suspect;
	int64		now = tdo_monotonic_us();
	int			n = 0;

	nended = nsuspected = 0;
	while (nended < ENDED_AT_ONCE)
	{
		/* a shutdown ends us before it is taken for their fault */
		CHECK_FOR_INTERRUPTS();
		n = tdo_ended_next(MyDatabaseId, n, &ended);
		if (n < 0)
			break;
		TDO_FAULT("ended");
		if (tdo_executor_ended(&ended))
			seen_ended[nended++] = ended;
	}
	for (int i = 0; nsuspected < TDO_MAX_SUSPECTS && tdo_suspect_next(MyDatabaseId, i, &suspect); i++)
	{
		if (!tdo_suspected(&suspect.run, suspect.counts, suspect.started,
						   &owners_suspected[nsuspected]))
			continue;
		suspected[nsuspected++] = suspect;
		/* counted once, and for all */
		if (suspect.counts)
			tdo_txn_force_sync();
	}
	if (claims_us == 0 || now - claims_us > CLAIMS_EVERY_US ||
		pg_atomic_exchange_u32(&database->claims, 0) != 0)
	{
		claims_us = now;
		n = tdo_ready_void_claims(claims, CLAIMS_AT_ONCE);
		for (int i = 0; i < n; i++)
			tdo_claim_is_void(&claims[i]);
		/* some may be held, or shown in a slot still */
		if (n > 0)
			pg_atomic_write_u32(&database->claims, 1);
	}
}

/* after the commit of what was counted */
static void
let_suspects_run(void)
{
	for (int i = 0; i < nended; i++)
		tdo_ended_remove(&seen_ended[i]);
	for (int i = 0; i < nsuspected; i++)
	{
		if (OidIsValid(owners_suspected[i]))
			tdo_suspect_ready(&suspected[i], owners_suspected[i]);
		else
			tdo_suspect_drop(&suspected[i].run);
	}
	nended = nsuspected = 0;
}

static void
say_rarely(int sqlstate, const char *message)
{
	static int64 said_us = 0;
	int64		now = tdo_monotonic_us();

	if (said_us != 0 && now - said_us < SAY_EVERY_US)
		return;
	said_us = now;
	ereport(LOG,
			(errcode(sqlstate),
			 errmsg("triggerdo scheduler has to wait: %s", message),
			 errdetail("Runs stay queued.")));
}

/* an extension that is there, but not for this library */
static void
say_mismatch(void)
{
	const TdoMismatch *m = tdo_objects_mismatch();

	if (!tdo_database_trouble_is_news(database, m ? m->version : "") || m == NULL)
		return;
	ereport(LOG,
			(errmsg("triggerdo does nothing in database \"%s\": it cannot serve version %s of its extension",
					get_database_name(MyDatabaseId), m->version),
			 errdetail_internal("%s", m->detail),
			 errhint("%s", m->hint)));
}

/*
 * May anything begin here?  Says so once when that has changed.  An empty
 * database is not paused, and may be one that a restore has just begun to fill:
 * nothing happens in it before its first definition.
 */
static bool
may_begin(void)
{
	const char *reason;

	tdo_origin_reread();
	tdo_origin_note();
	reason = tdo_origin_pause_reason();
	if (tdo_database_set_paused(database, reason))
	{
		if (reason)
			ereport(LOG,
					(errmsg("triggerdo is paused in database \"%s\": %s",
							get_database_name(MyDatabaseId), reason),
					 errhint("SELECT triggerdo.resume() lets it go on.")));
		else
			ereport(LOG,
					(errmsg("triggerdo goes on in database \"%s\"",
							get_database_name(MyDatabaseId))));
	}
	tdo_roles_follow();
	tdo_grants_follow();
	return tdo_origin()->standing == TDO_RUNNING;
}

/* and their executors are to look for those */
static List *
owners_of_hooks(void)
{
	List	   *owners = tdo_hook_owners();
	ListCell   *lc;

	foreach(lc, owners)
		tdo_pool_look_for_hooks(MyDatabaseId, lfirst_oid(lc));
	return owners;
}

/* one look at the tables; gives the milliseconds to sleep, or -1 to leave */
static long
look(void)
{
	TimestampTz now;
	TimestampTz next;
	List	   *owners;
	ListCell   *lc;
	long		sleep_ms = MAX_SLEEP_MS;
	TdoEnded	ended;
	int			fired = 0;
	bool		running;
	bool		watching = false;

	tdo_txn_begin();
	if (tdo_objects_if_any() == NULL ||
		!tdo_database_listed(get_database_name(MyDatabaseId)))
	{
		say_mismatch();
		tdo_txn_commit();
		return -1;
	}
	/* so that the log hears of it again when it comes again */
	if (database->trouble[0] != '\0')
		(void) tdo_database_trouble_is_news(database, "");
	PushActiveSnapshot(GetTransactionSnapshot());
	now = tdo_now();
	running = may_begin();
	if (running)
	{
		see_to_the_ended();
		fired = tdo_timers_fire(now, TIMERS_AT_ONCE);
		if (fired > 0)
			TDO_FAULT("timers");
		if (fired == TIMERS_AT_ONCE || tdo_idempotency_sweep(now))
			sleep_ms = 0;
	}
	/* enqueues go on while it is paused; a restore brings its own */
	if (tdo_origin()->standing != TDO_UNBOUND)
		keep_partitions_ahead();
	if (pg_atomic_read_u32(&database->prepared) != 0)
	{
		/* cleared before the look: a PREPARE after it sets it again */
		pg_atomic_write_u32(&database->prepared, 0);
		if (tdo_any_prepared())
		{
			pg_atomic_write_u32(&database->prepared, 1);
			sleep_ms = Min(sleep_ms, 1000);
		}
	}
	PopActiveSnapshot();
	tdo_txn_commit();
	let_suspects_run();

	/* before the look: who commits after it finds this and sets the latch */
	database->watching = false;
	pg_memory_barrier();
	tdo_txn_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	look_after_starting();
	next = running ? tdo_timer_next() : 0;
	if (next == 0 || next > now || fired > 0)
		held_pause_ms = 10;
	else
	{
		/* due, but somebody holds it: look again, less and less often */
		next = now + held_pause_ms * 1000;
		held_pause_ms = Min(held_pause_ms * 2, 1000);
	}
	owners = running ? tdo_ready_owners() : NIL;
	if (running)
		owners = list_concat_unique_oid(owners, owners_of_hooks());
	foreach(lc, owners)
	{
		if (look_after_owner(lfirst_oid(lc), &sleep_ms))
			watching = true;
	}
	if (watching)
		sleep_ms = Min(sleep_ms, BUSY_SLEEP_MS);
	if (pg_atomic_read_u32(&tdo_shared->nsuspects) > 0)
		sleep_ms = Min(sleep_ms, SUSPECT_SLEEP_MS);
	/* what somebody held */
	if (running && (tdo_ended_next(MyDatabaseId, 0, &ended) >= 0 ||
					pg_atomic_read_u32(&database->claims) != 0))
		sleep_ms = Min(sleep_ms, SUSPECT_SLEEP_MS);
	tdo_stop_oversee(MyDatabaseId, &sleep_ms);
	database->watching = watching;
	tdo_pools_keep(MyDatabaseId, owners);
	PopActiveSnapshot();
	tdo_txn_commit();

	if (next != 0)
	{
		long		ms = (long) ((next - now + 999) / 1000);

		sleep_ms = Max(0, Min(sleep_ms, ms));
	}
	if (running && tdo_history_look(now))
		sleep_ms = 0;
	return sleep_ms;
}

/*
 * No end of the process for what is no fault of its own: a full disk or lock
 * table is said, once a minute, and the look made again.
 */
static long
look_safely(void)
{
	volatile long sleep_ms = 0;

	/* each id that is taken now is one less for VACUUM, and a warning */
	if (tdo_xids_are_scarce())
	{
		say_rarely(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
				   "the server is running out of transaction ids; VACUUM its databases");
		return ERROR_PAUSE_MS;
	}
	PG_TRY();
	{
		sleep_ms = look();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(loop_context);
		edata = CopyErrorData();
		if (!tdo_failure_is_environment(edata->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		tdo_txn_abort();
		pg_atomic_write_u32(&database->claims, 1);
		tdo_roles_look_again();
		tdo_grants_look_again();
		nended = nsuspected = 0;	/* they are read again */
		say_rarely(edata->sqlerrcode, edata->message);
		sleep_ms = ERROR_PAUSE_MS;
	}
	PG_END_TRY();
	return sleep_ms;
}

void
tdo_scheduler_main(Datum main_arg)
{
	tdo_bgw_args(&args);
	tdo_bgw_setup();
	/* before connecting, so that a statement on the database can stop us */
	database = tdo_database_find(args.database);
	if (database == NULL || !tdo_database_attach(database))
		proc_exit(0);
	before_shmem_exit(detach, (Datum) 0);
	BackgroundWorkerInitializeConnectionByOid(args.database, InvalidOid, 0);
	/* what a scheduler before us had registered is not ours to watch */
	tdo_slot_forget_starting(args.database);
	/* an enqueue may have been prepared before a restart */
	pg_atomic_write_u32(&database->prepared, 1);

	tdo_roles_watch();
	pgstat_report_appname("triggerdo scheduler");
	wait_event_main = tdo_wait_event("TriggerdoSchedulerMain");
	loop_context = AllocSetContextCreate(TopMemoryContext, "triggerdo scheduler",
										 ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		long		sleep_ms;

		MemoryContextReset(loop_context);
		MemoryContextSwitchTo(loop_context);
		/* a statement wants us away; the launcher will start another */
		if (tdo_database_is_held(database))
			proc_exit(0);
		database->executors_off = tdo_executors == 0;
		sleep_ms = look_safely();
		if (sleep_ms < 0 && tdo_database_leave(database))
			break;
		pgstat_report_activity(STATE_IDLE, NULL);
		tdo_bgw_sleep(Max(sleep_ms, 0), wait_event_main);
	}
	tdo_wake_everyone();		/* executors leave, too */
	proc_exit(0);
}
