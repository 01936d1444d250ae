/*-------------------------------------------------------------------------
 *
 * utility.c
 *	  Making way for statements on databases and on the extension.
 *
 * Job: DROP DATABASE, CREATE DATABASE ... TEMPLATE, ALTER DATABASE ... RENAME and
 * SET TABLESPACE want a database without sessions; DROP EXTENSION and ALTER
 * EXTENSION UPDATE want our tables without users.  Our processes would be in the
 * way, so they are sent away for the time of the transaction.
 * Called by: the server, for every utility statement of every session.
 * Locks: the shared LWLock, for moments.
 * Crash: a hold is in shared memory, and goes with the transaction that took it
 * (an ERROR or a FATAL aborts that) or with shared memory.
 *
 * Nobody may stop other people's work with a statement that is not theirs to
 * run.  So the rights are checked here first, as the statement itself will, and
 * whatever else is cheap to see; what is refused later for another reason costs
 * the runs in hand their time, and nothing else: they are queued as before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_tablespace.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "clock.h"
#include "compat.h"
#include "shmem.h"
#include "store.h"
#include "triggerdo.h"
#include "utility.h"
#include "wake.h"

/* short runs are let finish; then SIGTERM, again each so often */
#define ASK_MS			100
#define TERMINATE_MS	200
/* then the statement is left to its fate */
#define GIVE_UP_MS		2000
/* so long PostgreSQL waits for other sessions to leave a database */
#define OTHERS_MS		5000
#define POLL_MS			10

/* what a statement wants to itself */
typedef struct Wanted
{
	Oid			database;		/* InvalidOid: nothing of ours is in its way */
	const char *source;			/* the template's name, for the message */
	const char *name;			/* the database's, unless of an extension's
								 * statement */
	bool		force;			/* it ends other sessions itself */
	bool		extension;		/* our extension, in this database */
	bool		update;			/* its version may change */
	const char *announce;		/* database that may be new to the launcher */
} Wanted;

static ProcessUtility_hook_type prev_utility = NULL;
static Oid	held = InvalidOid;	/* by this transaction */
static Oid	announced = InvalidOid; /* at its commit */

/* ------------------------------------------------------------------- the hold */

/* after a commit nothing may fail: this is one lock and one latch */
static void
xact_callback(XactEvent event, void *arg)
{
	if (!OidIsValid(held))
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (OidIsValid(announced))
				(void) tdo_database_want(announced);
			/* FALLTHROUGH */
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			tdo_database_release(held);
			held = InvalidOid;
			announced = InvalidOid;
			break;
		default:
			break;
	}
}

static void
nap(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 POLL_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static void
hold_and_stop(Oid database)
{
	int64		begin = tdo_monotonic_us();
	int64		next_us = ASK_MS * 1000;

	/* once a transaction; beyond the table's room it is as without us */
	if (OidIsValid(held) || !tdo_database_hold(database))
		return;
	held = database;
	for (;;)
	{
		int64		us = tdo_monotonic_us() - begin;
		bool		terminate = us >= next_us;

		if (terminate)
			next_us += TERMINATE_MS * 1000;
		if (tdo_database_stop(database, terminate) == 0 || us > GIVE_UP_MS * 1000)
			break;
		nap();
	}
}

/*
 * Sessions in the database that are neither ours nor sent away by PostgreSQL; a
 * hint.  (Up to 15 a place that nobody uses keeps the pid of its last user.)
 */
static bool
is_other(const PGPROC *proc, Oid database)
{
	return proc->pid != 0 && proc->pid != MyProcPid && proc->databaseId == database &&
		(proc->statusFlags & PROC_IS_AUTOVACUUM) == 0 &&
		BackendPidGetProc(proc->pid) == proc &&
		!tdo_database_has_process(database, proc->pid);
}

static List *
others_in(Oid database)
{
	List	   *pids = NIL;

	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		const PGPROC *proc = &ProcGlobal->allProcs[i];

		if (is_other(proc, database))
			pids = lappend_int(pids, proc->pid);
	}
	return pids;
}

/*
 * While others are connected the statement is refused, after a wait for them to
 * leave.  Wait for them here, so that ours go on working if it is in vain.  For
 * those who are there now: the statement itself locks out those who come later.
 */
static void
wait_for_others(const Wanted *w)
{
	int64		begin = tdo_monotonic_us();
	List	   *others = others_in(w->database);

	while ((others = list_intersection_int(others, others_in(w->database))) != NIL)
	{
		if (tdo_monotonic_us() - begin > OTHERS_MS * 1000)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 w->source ?
					 errmsg("source database \"%s\" is being accessed by other users", w->source) :
					 errmsg("database \"%s\" is being accessed by other users", w->name),
					 errdetail_plural("There is %d other session using the database.",
									  "There are %d other sessions using the database.",
									  list_length(others), list_length(others))));
		nap();
	}
}

/* ------------------------------------------------------------- the statements */

static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		may = superuser();

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		may = may || ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return may;
}

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

static void
want_drop(const DropdbStmt *stmt, Wanted *w)
{
	Oid			database = get_database_oid(stmt->dbname, true);
	ListCell   *lc;

	if (!OidIsValid(database) || database == MyDatabaseId || is_template(database) ||
		!tdo_owns_database(database, GetUserId()))
		return;
	foreach(lc, stmt->options)
	{
		if (strcmp(((DefElem *) lfirst(lc))->defname, "force") == 0)
			w->force = true;
	}
	w->name = stmt->dbname;
	w->database = database;
}

static void
want_template(const CreatedbStmt *stmt, Wanted *w)
{
	const char *source = "template1";
	Oid			database;
	TdoDatabase *db;
	ListCell   *lc;

	foreach(lc, stmt->options)
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, "template") == 0 && option->arg)
			source = defGetString(option);
	}
	database = get_database_oid(source, true);
	if (!OidIsValid(database) || !may_create_databases() ||
		!(is_template(database) || tdo_owns_database(database, GetUserId())) ||
		OidIsValid(get_database_oid(stmt->dbname, true)))
		return;
	w->source = w->name = source;
	w->database = database;
	/* a copy of a database with the extension has it, too */
	db = tdo_database_find(database);
	if (db != NULL && tdo_database_is_served(db, database))
		w->announce = stmt->dbname;
}

static void
want_rename(const RenameStmt *stmt, Wanted *w)
{
	Oid			database;

	if (stmt->renameType != OBJECT_DATABASE)
		return;
	database = get_database_oid(stmt->subname, true);
	if (!OidIsValid(database) || database == MyDatabaseId ||
		!tdo_owns_database(database, GetUserId()) || !may_create_databases() ||
		OidIsValid(get_database_oid(stmt->newname, true)))
		return;
	w->name = stmt->subname;
	w->database = database;
	/* triggerdo.databases may name it now */
	w->announce = stmt->newname;
}

static void
want_tablespace(const AlterDatabaseStmt *stmt, Wanted *w)
{
	Oid			database;
	Oid			tablespace = InvalidOid;
	ListCell   *lc;

	foreach(lc, stmt->options)
	{
		DefElem    *option = lfirst(lc);

		if (strcmp(option->defname, "tablespace") == 0)
			tablespace = get_tablespace_oid(defGetString(option), true);
	}
	if (!OidIsValid(tablespace))
		return;
	database = get_database_oid(stmt->dbname, true);
	if (!OidIsValid(database) || database == MyDatabaseId ||
		!tdo_owns_database(database, GetUserId()) ||
		tdo_aclcheck_tablespace(tablespace, GetUserId()) != ACLCHECK_OK)
		return;
	w->name = stmt->dbname;
	w->database = database;
}

static bool
owns_extension(void)
{
	Oid			extension = get_extension_oid(TDO_EXTENSION, true);

	return OidIsValid(extension) && tdo_owns_extension(extension, GetUserId());
}

static void
want_extension(Wanted *w)
{
	if (!owns_extension())
		return;
	w->database = MyDatabaseId;
	w->extension = true;
}

static void
want_drop_extension(const DropStmt *stmt, Wanted *w)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_EXTENSION)
		return;
	foreach(lc, stmt->objects)
	{
		if (strcmp(strVal(lfirst(lc)), TDO_EXTENSION) == 0)
			want_extension(w);
	}
}

static Wanted
look_at(Node *stmt, bool alone)
{
	Wanted		w = {0};

	if (IsA(stmt, DropStmt))
		want_drop_extension((DropStmt *) stmt, &w);
	else if (IsA(stmt, AlterExtensionStmt))
	{
		if (strcmp(((AlterExtensionStmt *) stmt)->extname, TDO_EXTENSION) == 0)
			want_extension(&w);
		w.update = w.extension;
	}
	else if (!alone)
		;						/* the others are refused in a transaction
								 * block */
	else if (IsA(stmt, DropdbStmt))
		want_drop((DropdbStmt *) stmt, &w);
	else if (IsA(stmt, CreatedbStmt))
		want_template((CreatedbStmt *) stmt, &w);
	else if (IsA(stmt, RenameStmt))
		want_rename((RenameStmt *) stmt, &w);
	else if (IsA(stmt, AlterDatabaseStmt))
		want_tablespace((AlterDatabaseStmt *) stmt, &w);
	return w;
}

static void
make_way(const Wanted *w)
{
	if (w->extension)
	{
		/* it would wait for itself, and then record a run without tables */
		if (tdo_database_has_process(MyDatabaseId, MyProcPid))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("a run cannot drop or update extension \"triggerdo\""),
					 errhint("Do it in a session.")));
	}
	else if (!w->force)
		wait_for_others(w);
	hold_and_stop(w->database);
	if (w->update)
		tdo_objects_changed();
	else if (w->extension)
		tdo_lock_tables();
}

static void
after(const Wanted *w)
{
	if (w->announce && OidIsValid(held))
	{
		CommandCounterIncrement();
		announced = get_database_oid(w->announce, true);
	}
	if (w->update)
	{
		/*
		 * what was cached before, or meanwhile; and this library may serve it
		 * now
		 */
		tdo_objects_changed();
		tdo_wake_launcher();
	}
}

static void
utility(PlannedStmt *pstmt, const char *query, bool readonly_tree,
		ProcessUtilityContext context, ParamListInfo params,
		QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *stmt = pstmt->utilityStmt;
	Wanted		w = {0};

	switch (nodeTag(stmt))
	{
		case T_DropStmt:
		case T_AlterExtensionStmt:
		case T_DropdbStmt:
		case T_CreatedbStmt:
		case T_RenameStmt:
		case T_AlterDatabaseStmt:
			if (!RecoveryInProgress() && !IsAbortedTransactionBlockState())
				w = look_at(stmt, context == PROCESS_UTILITY_TOPLEVEL &&
							!IsInTransactionBlock(true));
			break;
		default:
			break;
	}
	if (OidIsValid(w.database))
		make_way(&w);
	if (prev_utility)
		prev_utility(pstmt, query, readonly_tree, context, params, env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, readonly_tree, context, params, env, dest, qc);
	if (OidIsValid(w.database))
		after(&w);
}

void
tdo_utility_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	prev_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
