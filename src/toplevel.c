/*-------------------------------------------------------------------------
 *
 * toplevel.c
 *	  SQL of a task at the top level, as a client would send it.
 *
 * Job: run a command (VACUUM, CREATE INDEX CONCURRENTLY, anything) and CALL a
 * procedure where they may end transactions: through a portal, with no snapshot
 * and no subtransaction around, in the order of steps in which PostgreSQL's own
 * main loop does it.
 * Called by: durable.c; define_task to check a command.
 * Locks: whatever the task takes.
 * Crash: nothing is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "tcop/cmdtag.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "stop.h"
#include "toplevel.h"
#include "txn.h"

static void
check_statement(RawStmt *raw)
{
	CopyStmt   *copy = (CopyStmt *) raw->stmt;

	if (IsA(copy, CopyStmt) && copy->filename == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a command cannot COPY from or to a client"),
				 errhint("There is none when it runs. Name a file, or a program.")));
}

void
tdo_toplevel_check(const char *sql)
{
	List	   *statements = pg_parse_query(sql);
	ListCell   *lc;

	if (statements == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the command is empty"),
				 errhint("For example 'VACUUM (ANALYZE) orders'.")));
	foreach(lc, statements)
		check_statement(lfirst_node(RawStmt, lc));
}

/* one statement through the unnamed portal */
static void
run_statement(RawStmt *raw, const char *sql, ParamListInfo params, Oid *types, int ntypes,
			  DestReceiver *dest)
{
	bool		snapshot = analyze_requires_snapshot(raw);
	CommandTag	tag = CreateCommandTag(raw->stmt);
	QueryCompletion qc;
	List	   *queries;
	List	   *plans;
	Portal		portal;

	if (snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	queries = tdo_analyze(raw, sql, types, ntypes);
	plans = pg_plan_queries(queries, sql, CURSOR_OPT_PARALLEL_OK, params);
	if (snapshot)
		PopActiveSnapshot();
	CHECK_FOR_INTERRUPTS();

	portal = CreatePortal("", true, true);
	portal->visible = false;
	/* the plans are in the caller's context, which outlives the portal */
	PortalDefineQuery(portal, NULL, sql, tag, plans, NULL);
	PortalStart(portal, params, 0, InvalidSnapshot);
	(void) tdo_portal_run(portal, dest, &qc);
	PortalDrop(portal, false);
}

/* utility statements do what they do outside of the transaction, too */
static bool
is_solid(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_SelectStmt:
		case T_InsertStmt:
		case T_UpdateStmt:
		case T_DeleteStmt:
#if PG_VERSION_NUM >= 150000
		case T_MergeStmt:
#endif
		case T_DoStmt:
		case T_CallStmt:
		case T_TransactionStmt:
			return false;
		default:
			return true;
	}
}

/* as exec_simple_query() does it */
void
tdo_toplevel_command(const char *sql)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *statements;
	ListCell   *lc;
	bool		implicit;

	tdo_txn_statement_begin();
	statements = pg_parse_query(sql);
	/* several are one transaction, unless they say otherwise */
	implicit = list_length(statements) > 1;
	foreach(lc, statements)
	{
		RawStmt    *raw = lfirst_node(RawStmt, lc);

		check_statement(raw);
		tdo_txn_statement_begin();
		if (implicit)
			tdo_txn_implicit_block(true);
		MemoryContextSwitchTo(context);
		CHECK_FOR_INTERRUPTS();
		tdo_user_commits(is_solid(raw->stmt) ? TDO_COMMITS_SOLID : TDO_COMMITS_USERS);
		run_statement(raw, sql, NULL, NULL, 0, None_Receiver);
		MemoryContextSwitchTo(context);
		if (lnext(statements, lc) == NULL)
		{
			if (implicit)
				tdo_txn_implicit_block(false);
			tdo_txn_statement_end();
		}
		else if (IsA(raw->stmt, TransactionStmt))
			tdo_txn_statement_end();
		else
			CommandCounterIncrement();
	}
	if (IsTransactionBlock())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("the command left a transaction open"),
				 errhint("End it with COMMIT, or leave BEGIN out: a command of several statements is one transaction.")));
}

/* --------------------------------------------------------------------- CALL */

typedef struct ResultReceiver
{
	DestReceiver pub;
	MemoryContext context;
	Jsonb	   *result;
} ResultReceiver;

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	ResultReceiver *r = (ResultReceiver *) self;
	bool		isnull;
	Datum		d = slot_getattr(slot, 1, &isnull);

	if (!isnull)
	{
		MemoryContext old = MemoryContextSwitchTo(r->context);

		r->result = DatumGetJsonbPCopy(d);
		MemoryContextSwitchTo(old);
	}
	return true;
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
receiver_nothing(DestReceiver *self)
{
}

Jsonb *
tdo_toplevel_call(const char *name, int nargs, Jsonb *payload)
{
	ParamListInfo params = makeParamList(nargs);
	Oid			types[] = {JSONBOID, JSONBOID};
	char	   *sql = psprintf("CALL %s(%s)", name, nargs == 2 ? "$1, $2" : "$1");
	ResultReceiver receiver = {{receive, receiver_startup, receiver_nothing, receiver_nothing,
	DestNone},
	CurrentMemoryContext, NULL
	};

	for (int i = 0; i < nargs; i++)
	{
		params->params[i].value = i == 0 ? JsonbPGetDatum(payload) : (Datum) 0;
		params->params[i].isnull = i > 0;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = JSONBOID;
	}
	run_statement(linitial_node(RawStmt, pg_parse_query(sql)), sql, params, types, nargs,
				  &receiver.pub);
	return receiver.result;
}
