/*-------------------------------------------------------------------------
 *
 * api_state.c
 *	  SQL: reading one run in the view of runs, and the wall in front of it.
 *
 * Job: what the view shows and is not in the run's own row;
 * the row security of _triggerdo.run.
 * Called by: the views; the rewriter, for each reference to our table.
 * Locks: ACCESS SHARE on what it reads, for the moment; a slot's mutex.
 * Crash: reads only.
 *
 * The view of runs is over _triggerdo.run alone, and functions add the rest: a
 * view of joins, behind a security barrier, is planned by itself, so that all
 * runs of a task would be joined and sorted for the newest fifty.  These
 * functions are cheap for a few rows, are postponed until after a LIMIT, and
 * cost nothing where their column is not asked for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "api.h"
#include "compat.h"
#include "rows.h"
#include "slot.h"
#include "status.h"
#include "store.h"
#include "task.h"
#include "triggerdo.h"

PG_FUNCTION_INFO_V1(tdo_sql_derive_status);
PG_FUNCTION_INFO_V1(tdo_sql_in_hand_since);
PG_FUNCTION_INFO_V1(tdo_sql_run_status);
PG_FUNCTION_INFO_V1(tdo_sql_run_attempt);
PG_FUNCTION_INFO_V1(tdo_sql_run_max_attempts);
PG_FUNCTION_INFO_V1(tdo_sql_run_queued_at);
PG_FUNCTION_INFO_V1(tdo_sql_run_started_at);
PG_FUNCTION_INFO_V1(tdo_sql_run_finished_at);
PG_FUNCTION_INFO_V1(tdo_sql_run_due);
PG_FUNCTION_INFO_V1(tdo_sql_run_output);
PG_FUNCTION_INFO_V1(tdo_sql_run_error);

static row_security_policy_hook_type previous_policies = NULL;

/* --------------------------------------------------------------------- status */

static Datum
status_datum(FunctionCallInfo fcinfo, const char *name)
{
	if (name == NULL)
		PG_RETURN_NULL();
	return DirectFunctionCall2(enum_in, CStringGetDatum(name),
							   ObjectIdGetDatum(get_fn_expr_rettype(fcinfo->flinfo)));
}

Datum
tdo_sql_derive_status(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return status_datum(fcinfo,
						tdo_status_derive(PG_GETARG_UUID_P(0),
										  !PG_ARGISNULL(1), PG_ARGISNULL(1) ? 0 : PG_GETARG_CHAR(1),
										  !PG_ARGISNULL(2), PG_ARGISNULL(2) ? 0 : PG_GETARG_CHAR(2)));
}

Datum
tdo_sql_in_hand_since(PG_FUNCTION_ARGS)
{
	TimestampTz started;

	if (PG_ARGISNULL(0) ||
		tdo_slot_find_run(PG_GETARG_UUID_P(0), &started) != TDO_IN_HAND_RUNNING)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(started);
}

/* ------------------------------------------------------------ a run's columns */

/*
 * The row read last, so that a row's columns take one look, not ten.  It is of
 * one query, whose snapshot stays the same: it lives in the memory of that
 * query's execution and is forgotten with it.  Several queries may take turns
 * (cursors, a function that asks for each row of another's), each with its own.
 */
typedef struct Memo
{
	struct Memo *next;
	MemoryContext query;		/* whose memo this is */
	MemoryContext context;		/* what the row points to */
	MemoryContextCallback forget;
	bool		valid;
	bool		wide;			/* with output and error */
	pg_uuid_t	id;
	TdoState	state;
	bool		running;
	TimestampTz running_since;
} Memo;

static Memo *memos = NULL;		/* the one used last comes first */

static void
forget_memo(void *arg)
{
	for (Memo **m = &memos; *m != NULL; m = &(*m)->next)
	{
		if (*m == arg)
		{
			*m = (*m)->next;
			break;
		}
	}
}

static Memo *
begin_memo(MemoryContext query)
{
	Memo	   *memo = MemoryContextAllocZero(query, sizeof(Memo));

	memo->query = query;
	memo->context = AllocSetContextCreate(query, "triggerdo run", ALLOCSET_SMALL_SIZES);
	memo->forget.func = forget_memo;
	memo->forget.arg = memo;
	MemoryContextRegisterResetCallback(query, &memo->forget);
	memo->next = memos;
	memos = memo;
	return memo;
}

static Memo *
memo_of(MemoryContext query)
{
	for (Memo **m = &memos; *m != NULL; m = &(*m)->next)
	{
		Memo	   *memo = *m;

		if (memo->query != query)
			continue;
		*m = memo->next;
		memo->next = memos;
		memos = memo;
		return memo;
	}
	return begin_memo(query);
}

/*
 * It reads with the snapshot of the query, as a join would.  It asks for no
 * right: it is called for rows that the view lets through, and nobody else can
 * name the functions.
 */
static const Memo *
look(FunctionCallInfo fcinfo, bool wide)
{
	const pg_uuid_t *id = PG_GETARG_UUID_P(0);
	MemoryContext old;
	Memo	   *memo = memos;

	if (memo == NULL || memo->query != fcinfo->flinfo->fn_mcxt)
		memo = memo_of(fcinfo->flinfo->fn_mcxt);
	if (memo->valid && (memo->wide || !wide) &&
		memcmp(&memo->id, id, sizeof(*id)) == 0)
		return memo;

	memo->valid = false;
	MemoryContextReset(memo->context);
	old = MemoryContextSwitchTo(memo->context);
	memo->running_since = 0;
	tdo_state_as_of(id, GetActiveSnapshot(), wide, &memo->state);
	memo->running = memo->state.is_live &&
		tdo_slot_find_run(id, &memo->running_since) == TDO_IN_HAND_RUNNING;
	MemoryContextSwitchTo(old);
	memo->id = *id;
	memo->wide = wide;
	memo->valid = true;
	return memo;
}

static Datum
time_datum(FunctionCallInfo fcinfo, TimestampTz t)
{
	if (t == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(t);
}

/* (a copy: the memo's goes with the next row) */
static Datum
jsonb_datum(FunctionCallInfo fcinfo, const Jsonb *j)
{
	Jsonb	   *copy;

	if (j == NULL)
		PG_RETURN_NULL();
	copy = palloc(VARSIZE(j));
	memcpy(copy, j, VARSIZE(j));
	PG_RETURN_JSONB_P(copy);
}

Datum
tdo_sql_run_status(PG_FUNCTION_ARGS)
{
	const TdoState *s = &look(fcinfo, false)->state;

	return status_datum(fcinfo, tdo_status_of(PG_GETARG_UUID_P(0), s));
}

Datum
tdo_sql_run_attempt(PG_FUNCTION_ARGS)
{
	const Memo *m = look(fcinfo, false);

	if (m->state.is_final)
		PG_RETURN_INT32(m->state.result.attempt);
	if (!m->state.is_live)
		PG_RETURN_NULL();
	PG_RETURN_INT32(m->state.live.attempt + (m->running ? 1 : 0));
}

Datum
tdo_sql_run_queued_at(PG_FUNCTION_ARGS)
{
	const TdoState *s = &look(fcinfo, false)->state;

	if (s->is_final)
		return time_datum(fcinfo, s->result.queued_at);
	if (!s->is_live || s->live.state == TDO_LIVE_DELAYED)
		PG_RETURN_NULL();
	/* the order key is the time less the priority */
	PG_RETURN_TIMESTAMPTZ(s->live.order_key + PG_GETARG_INT32(1) * USECS_PER_SEC);
}

Datum
tdo_sql_run_started_at(PG_FUNCTION_ARGS)
{
	const Memo *m = look(fcinfo, false);

	if (m->state.is_final)
		return time_datum(fcinfo, m->state.result.started_at);
	return time_datum(fcinfo, m->running ? m->running_since : 0);
}

Datum
tdo_sql_run_finished_at(PG_FUNCTION_ARGS)
{
	const TdoState *s = &look(fcinfo, false)->state;

	return time_datum(fcinfo, s->is_final ? s->result.finished_at : 0);
}

Datum
tdo_sql_run_due(PG_FUNCTION_ARGS)
{
	return time_datum(fcinfo, look(fcinfo, false)->state.due);
}

Datum
tdo_sql_run_output(PG_FUNCTION_ARGS)
{
	const TdoState *s = &look(fcinfo, true)->state;

	return jsonb_datum(fcinfo, s->is_final ? s->result.output : NULL);
}

Datum
tdo_sql_run_error(PG_FUNCTION_ARGS)
{
	const TdoState *s = &look(fcinfo, true)->state;

	return jsonb_datum(fcinfo, s->is_final ? s->result.error : s->error);
}

Datum
tdo_sql_run_max_attempts(PG_FUNCTION_ARGS)
{
	TdoRetryPolicy policy;
	Jsonb	   *retry = NULL;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(1))
		retry = tdo_task_retry_as_of(text_to_cstring(PG_GETARG_TEXT_PP(0)), GetActiveSnapshot());
	PG_RETURN_INT32(tdo_task_policy(retry, PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1), &policy));
}

/* ------------------------------------------------------------------- the wall */

static Oid
may_read_function(Oid schema)
{
	Oid			types[3] = {OIDOID, OIDOID, TEXTOID};

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("may_read"),
						   PointerGetDatum(buildoidvector(types, 3)), ObjectIdGetDatum(schema));
}

static Expr *
own_column(Relation relation, const char *name)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(relation), name);
	Form_pg_attribute column = TupleDescAttr(RelationGetDescr(relation), attno - 1);

	return (Expr *) makeVar(1, attno, column->atttypid, -1, column->attcollation, 0);
}

/*
 * Row security lets through what may_read() says.  A policy in the catalog
 * would be dumped, although the extension makes it, and could not be restored;
 * and without this library there is none, which shows nobody anything.
 */
static List *
run_policies(CmdType command, Relation relation)
{
	List	   *policies = previous_policies ? previous_policies(command, relation) : NIL;
	const TdoObjects *o;
	RowSecurityPolicy *policy;
	Datum		everybody = ObjectIdGetDatum(ACL_ID_PUBLIC);
	Oid			function;

	if (command != CMD_SELECT || strcmp(RelationGetRelationName(relation), "run") != 0)
		return policies;
	o = tdo_objects_if_any();
	if (o == NULL || o->run != RelationGetRelid(relation))
		return policies;
	function = may_read_function(o->schema);
	if (!OidIsValid(function))
		return policies;

	policy = palloc0(sizeof(RowSecurityPolicy));
	policy->policy_name = pstrdup("may_read");
	policy->polcmd = ACL_SELECT_CHR;
	policy->roles = construct_array(&everybody, 1, OIDOID, sizeof(Oid), true, TYPALIGN_INT);
	policy->permissive = true;
	policy->qual = (Expr *) makeFuncExpr(function, BOOLOID,
										 list_make3(own_column(relation, "owner"),
													own_column(relation, "triggered_by"),
													own_column(relation, "task")),
										 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	return lappend(policies, policy);
}

void
tdo_state_init(void)
{
	previous_policies = row_security_policy_hook_permissive;
	row_security_policy_hook_permissive = run_policies;
}
