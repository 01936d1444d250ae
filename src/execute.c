/*-------------------------------------------------------------------------
 *
 * execute.c
 *	  Running one attempt of a function task, as the current user.
 *
 * Job: remember tasks and their resolved functions, call the function inside a
 * subtransaction, and turn what comes back into an outcome.
 * Called by: executor, run_now.
 * Locks: whatever the task takes.
 * Crash: nothing is kept outside the transaction.
 *
 * Functions of plpgsql, C and other languages are called through fmgr (0.4 us
 * where SPI takes 2.7); those of language sql through a saved plan, because a
 * fresh fmgr call plans its body again.  A cached FmgrInfo must never outlive a
 * change of pg_proc: plpgsql would run another function's body, or crash.  The
 * PROCOID callback counts changes, and the count is compared last before the
 * call, after everything that could take in an invalidation message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_language.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "definition.h"
#include "execute.h"
#include "fault.h"
#include "guc.h"
#include "quota.h"
#include "session.h"
#include "slot.h"
#include "store.h"
#include "triggerdo.h"
#include "txn.h"

#define TASK_KEY_LEN	256

/* a deadlock or a commit that failed is not held against a task for ever */
#define SOLO_RUNS		100

struct TdoEntry
{
	char		key[TASK_KEY_LEN];
	MemoryContext context;		/* of task */
	TdoTask		task;
	uint64		task_changes;	/* definitions' count when task was read */
	MemoryContext fn_context;	/* of flinfo */
	TdoFunction function;
	FmgrInfo	flinfo;
	SPIPlanPtr	plan;			/* language sql */
	bool		resolved;
	uint64		proc_changes;	/* functions' count when it was resolved */
	int			busy;			/* calls going on with flinfo or plan */
	double		duration_us;
	int			solo;			/* runs for which it stays alone */
};

/* a hook's plan, for the life of the process */
typedef struct HookPlan
{
	TdoHookFn	fn;				/* the key */
	SPIPlanPtr	plan;			/* NULL: not made yet */
	uint64		proc_changes;
	int			busy;			/* calls going on with it */
} HookPlan;

static HTAB *entries = NULL;
static HTAB *hook_plans = NULL;
static uint64 proc_changes = 1;
static TdoCurrentRun *current_run = NULL;

/* ------------------------------------------------------------ remembered tasks */

static void
proc_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	proc_changes++;
}

/* whatever ended the transaction, no run is current any more */
static void
transaction_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT && !(current_run && current_run->transactions))
		tdo_execute_reset();
}

void
tdo_execute_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, proc_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, proc_changed, (Datum) 0);
	RegisterXactCallback(transaction_ended, NULL);
}

/* a call going on keeps what it uses: then only a later one resolves anew */
static void
forget_function(TdoEntry *entry)
{
	entry->resolved = false;
	if (entry->busy > 0)
		return;
	if (entry->plan)
		SPI_freeplan(entry->plan);
	entry->plan = NULL;
	MemoryContextReset(entry->fn_context);
}

static void
make_table(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = TASK_KEY_LEN;
	ctl.entrysize = sizeof(TdoEntry);
	ctl.hcxt = TopMemoryContext;
	entries = hash_create("triggerdo tasks", 64, &ctl,
						  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static bool
same_function(const TdoTask *a, const TdoTask *b)
{
	return strcmp(NameStr(a->run_schema), NameStr(b->run_schema)) == 0 &&
		strcmp(NameStr(a->run_name), NameStr(b->run_name)) == 0 &&
		a->run_nargs == b->run_nargs && a->kind == b->kind;
}

static TdoEntry *
get_entry(const char *task)
{
	TdoEntry   *entry;
	TdoTask		fresh;
	MemoryContext context;
	MemoryContext old;
	uint64		changes = tdo_definition_changes();
	bool		found;

	if (entries == NULL)
		make_table();
	entry = hash_search(entries, task, HASH_FIND, NULL);
	if (entry && entry->task_changes == changes)
		return entry;

	context = AllocSetContextCreate(TopMemoryContext, "triggerdo task",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	found = tdo_task_get(task, &fresh);
	MemoryContextSwitchTo(old);
	if (!found)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	/* large, perhaps, and checked by who triggers */
	if (fresh.payload_schema)
		pfree(fresh.payload_schema);
	fresh.payload_schema = NULL;

	entry = hash_search(entries, task, HASH_ENTER, &found);
	if (!found)
	{
		entry->context = NULL;
		entry->plan = NULL;
		entry->resolved = false;
		entry->busy = 0;
		entry->duration_us = -1;
		entry->solo = 0;
		entry->fn_context = AllocSetContextCreate(TopMemoryContext, "triggerdo function",
												  ALLOCSET_SMALL_SIZES);
	}
	else
	{
		if (!same_function(&entry->task, &fresh))
		{
			forget_function(entry);
			entry->duration_us = -1;
			entry->solo = 0;
		}
		MemoryContextDelete(entry->context);
	}
	entry->context = context;
	entry->task = fresh;
	entry->task_changes = changes;
	return entry;
}

TdoEntry *
tdo_entry_get(const char *task, Oid owner)
{
	TdoEntry   *entry = get_entry(task);

	/* dropped, and defined by somebody else: not the task that was triggered */
	return entry && entry->task.owner == owner ? entry : NULL;
}

const TdoTask *
tdo_entry_task(const TdoEntry *entry)
{
	return &entry->task;
}

double
tdo_entry_duration(const TdoEntry *entry)
{
	return entry->duration_us;
}

void
tdo_entry_measured(TdoEntry *entry, int64 us)
{
	if (entry->solo > 0)
		entry->solo--;
	if (entry->duration_us < 0)
		entry->duration_us = us;
	else
		entry->duration_us += (us - entry->duration_us) * 0.2;
}

bool
tdo_entry_is_solo(const TdoEntry *entry)
{
	return entry->solo > 0 || entry->task.isolate || entry->task.kind != TDO_KIND_FUNCTION;
}

void
tdo_entry_make_solo(TdoEntry *entry)
{
	entry->solo = SOLO_RUNS;
}

/* ------------------------------------------------------------------ the call */

static void
resolve(TdoEntry *entry)
{
	uint64		changes = proc_changes;
	char	   *sql;

	/* our own call is counted already, and has not begun */
	Assert(entry->busy == 1);
	entry->busy = 0;
	forget_function(entry);
	entry->busy = 1;
	tdo_task_resolve(&entry->task, GetUserId(), &entry->function);
	if (entry->function.language == SQLlanguageId)
	{
		Oid			argtype = JSONBOID;
		SPIPlanPtr	plan;

		sql = psprintf("SELECT %s(%s)", tdo_task_function_name(&entry->task),
					   entry->task.run_nargs ? "$1" : "");
		SPI_connect();
		plan = SPI_prepare(sql, entry->task.run_nargs, &argtype);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare \"%s\"", sql);	/* can't happen */
		entry->plan = plan;
		SPI_finish();
	}
	else
		fmgr_info_cxt(entry->function.oid, &entry->flinfo, entry->fn_context);
	entry->proc_changes = changes;
	entry->resolved = true;
}

static Jsonb *
call_by_plan(TdoEntry *entry, Jsonb *payload, MemoryContext context)
{
	Datum		arg = JsonbPGetDatum(payload);
	Jsonb	   *output = NULL;

	SPI_connect();
	if (SPI_execute_plan(entry->plan, &arg, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "unexpected result of a task's SELECT");	/* can't happen */
	if (entry->function.result == JSONBOID && SPI_processed > 0)
	{
		bool		isnull;
		Datum		d = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull)
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			output = DatumGetJsonbPCopy(d);
			MemoryContextSwitchTo(old);
		}
	}
	SPI_finish();
	return output;
}

static Jsonb *
call_by_fmgr(TdoEntry *entry, Jsonb *payload, MemoryContext context)
{
	LOCAL_FCINFO(fcinfo, 1);
	Jsonb	   *output = NULL;
	Datum		d;

	InitFunctionCallInfoData(*fcinfo, &entry->flinfo, entry->task.run_nargs,
							 InvalidOid, NULL, NULL);
	fcinfo->args[0].value = JsonbPGetDatum(payload);
	fcinfo->args[0].isnull = false;
	d = FunctionCallInvoke(fcinfo);

	/* a void function gives a non-null zero: never to be read as a pointer */
	if (entry->function.result == JSONBOID && !fcinfo->isnull)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		output = DatumGetJsonbPCopy(d);
		MemoryContextSwitchTo(old);
	}
	return output;
}

/* resolve() says properly what is wrong */
static bool
still_callable(TdoEntry *entry)
{
	return SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(entry->function.oid)) &&
		tdo_aclcheck_function(entry->function.oid, GetUserId()) == ACLCHECK_OK;
}

/* inside the subtransaction */
static Jsonb *
call_function(TdoEntry *entry, Jsonb *payload, MemoryContext context)
{
	Jsonb	   *output;

	PushActiveSnapshot(GetTransactionSnapshot());
	/* until nothing has changed since it was looked up */
	while (!entry->resolved || entry->proc_changes != proc_changes ||
		   !still_callable(entry) || entry->proc_changes != proc_changes)
		resolve(entry);
	output = entry->plan ? call_by_plan(entry, payload, context)
		: call_by_fmgr(entry, payload, context);
	PopActiveSnapshot();
	CommandCounterIncrement();
	return output;
}

void
tdo_fill_current_run(TdoCurrentRun *here, const TdoEntry *entry, const TdoRun *run, int attempt)
{
	TdoRetryPolicy policy;

	memset(here, 0, sizeof(*here));
	here->run = run;
	here->attempt = attempt;
	here->max_attempts = tdo_task_policy(entry->task.retry, run->max_attempts, &policy);
}

void
tdo_set_current_run(TdoCurrentRun *here)
{
	if (here != NULL)
		here->outer = current_run;
	current_run = here;
}

void
tdo_outcome_failed(TdoOutcome *outcome, const TdoCurrentRun *here)
{
	outcome->ok = false;
	outcome->output = NULL;
	outcome->failure = tdo_failure_from_error(outcome->edata);
	outcome->for_good = outcome->failure->sqlstate == TDO_ERRCODE_ABORT;
	if (outcome->failure->sqlstate == TDO_ERRCODE_RETRY_AT)
		outcome->retry_at = here->retry_at;
}

/*
 * The user code has come to its end, well or not: was it asked to stop?  A run
 * inside of a run (run_now) is part of the one outside.
 */
static void
leave_user_code(const TdoCurrentRun *outer, TdoOutcome *outcome)
{
	TdoStop		stop = outer ? TDO_STOP_NONE : tdo_user_leave();

	if (stop != TDO_STOP_NONE)
		outcome->stop = stop;
}

/* on_start may have come to read the definition again: it may be another one by now */
static void
check_still_ours(const TdoEntry *entry, const TdoRun *run)
{
	if (entry->task.owner != run->owner || entry->task.kind != TDO_KIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("task \"%s\" does not exist", run->task),
				 errdetail("It was defined anew while its run began.")));
}

static void
execute_entry(TdoEntry *entry, const TdoRun *run, int attempt, TdoOutcome *outcome)
{
	TdoSubTxn	sub;
	TdoCurrentRun here;
	TdoCurrentRun *outer = current_run;
	MemoryContext context = CurrentMemoryContext;
	Oid			user;
	int			sec_context;
	int			nest_level;

	memset(outcome, 0, sizeof(*outcome));
	GetUserIdAndSecContext(&user, &sec_context);
	nest_level = NewGUCNestLevel();
	tdo_sub_begin(&sub);
	tdo_fill_current_run(&here, entry, run, attempt);
	here.ends_first = true;
	tdo_set_current_run(&here);
	entry->busy++;
	PG_TRY();
	{
		if (GetSessionUserId() != user || GetAuthenticatedUserId() != user)
			SetUserIdAndSecContext(user, sec_context | SECURITY_LOCAL_USERID_CHANGE |
								   SECURITY_RESTRICTED_OPERATION);
		check_still_ours(entry, run);
		if (outer == NULL)
			tdo_user_enter();
		TDO_FAULT("before_user");
		outcome->output = call_function(entry, run->payload, context);
		TDO_FAULT("after_user");
		leave_user_code(outer, outcome);
		/* it may have caught the cancel, and gone on */
		if (outcome->stop != TDO_STOP_NONE)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("canceling statement due to user request")));
		tdo_limit_size("output", outcome->output);
		SetUserIdAndSecContext(user, sec_context);
		tdo_sub_commit(&sub);
		outcome->ok = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		leave_user_code(outer, outcome);
		outcome->edata = CopyErrorData();
		FlushErrorState();
		tdo_sub_rollback(&sub);
		/* whatever fn_extra points to may be half made */
		entry->resolved = false;
	}
	PG_END_TRY();
	entry->busy--;
	current_run = outer;
	AtEOXact_GUC(false, nest_level);
	if (!outcome->ok)
		tdo_outcome_failed(outcome, &here);
}

/* -------------------------------------------------------------------- hooks */

static HookPlan *
find_hook_plan(const TdoHookFn *fn)
{
	HookPlan   *h;
	bool		found;

	if (hook_plans == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(TdoHookFn);
		ctl.entrysize = sizeof(HookPlan);
		ctl.hcxt = TopMemoryContext;
		hook_plans = hash_create("triggerdo hooks", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	h = hash_search(hook_plans, fn, HASH_ENTER, &found);
	if (!found)
	{
		h->plan = NULL;
		h->busy = 0;
	}
	return h;
}

/*
 * The plan follows changes by itself, but not that the name has come to mean
 * something that is no hook.  (One that is in use by a call outside of ours is
 * left to it, and lost with the process.)
 */
static void
prepare_hook(HookPlan *h)
{
	Oid			types[2] = {JSONBOID, JSONBOID};
	uint64		changes;
	char	   *sql;
	SPIPlanPtr	plan;

	if (h->plan != NULL && h->proc_changes == proc_changes)
		return;
	changes = proc_changes;
	(void) tdo_hook_resolve(&h->fn, GetUserId());
	if (h->plan != NULL && h->busy == 1)
		SPI_freeplan(h->plan);
	h->plan = NULL;
	sql = psprintf("SELECT %s(%s)", tdo_hook_function_name(&h->fn), h->fn.nargs == 2 ? "$1, $2" : "$1");
	plan = SPI_prepare(sql, h->fn.nargs, types);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare \"%s\"", sql);	/* can't happen */
	h->plan = plan;
	h->proc_changes = changes;
}

/* inside the subtransaction */
static void
run_hook(HookPlan *h, TdoHookCall *call, MemoryContext context)
{
	Datum		args[2] = {JsonbPGetDatum(call->run), JsonbPGetDatum(call->error)};

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	prepare_hook(h);
	if (SPI_execute_plan(h->plan, args, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "unexpected result of a hook's SELECT");	/* can't happen */
	if (h->fn.nargs == 2 && SPI_processed > 0)
	{
		bool		isnull;
		Datum		d = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(context);

		call->result = isnull ? NULL : DatumGetJsonbPCopy(d);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* it has come to its end, well or not: was its time over, or was it asked to stop? */
static bool
leave_hook(const TdoCurrentRun *outer, TdoHookCall *call)
{
	TdoStop		stop;

	if (call->stop == NULL)
		return outer == NULL && tdo_hook_leave();
	stop = outer ? TDO_STOP_NONE : tdo_user_leave();
	if (stop != TDO_STOP_NONE)
		*call->stop = stop;
	return *call->stop != TDO_STOP_NONE;
}

ErrorData *
tdo_call_hook(TdoHookCall *call, TdoCurrentRun *here)
{
	TdoSubTxn	sub;
	TdoCurrentRun *outer = current_run;
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile edata = NULL;
	volatile bool stopped = false;
	HookPlan   *h = find_hook_plan(call->fn);
	Oid			user;
	int			sec_context;
	int			nest_level;

	nest_level = NewGUCNestLevel();

	/*
	 * what a procedure or command has set, its role among it, is not for its
	 * hooks
	 */
	if (outer == NULL)
		tdo_session_reset_settings();
	GetUserIdAndSecContext(&user, &sec_context);
	tdo_sub_begin(&sub);
	tdo_set_current_run(here);
	h->busy++;
	PG_TRY();
	{
		if (GetSessionUserId() != user || GetAuthenticatedUserId() != user)
			SetUserIdAndSecContext(user, sec_context | SECURITY_LOCAL_USERID_CHANGE |
								   SECURITY_RESTRICTED_OPERATION);
		if (outer == NULL && call->stop == NULL)
			tdo_hook_enter();
		else if (outer == NULL)
			tdo_user_enter();
		TDO_FAULT("before_hook");
		run_hook(h, call, context);
		/* it may have caught the cancel, and gone on */
		stopped = leave_hook(outer, call);
		if (stopped)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("canceling statement due to user request")));
		SetUserIdAndSecContext(user, sec_context);
		tdo_sub_commit(&sub);
	}
	PG_CATCH();
	{
		if (leave_hook(outer, call))
			stopped = true;
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		tdo_sub_rollback(&sub);
		if (stopped && call->stop == NULL)
			edata->message = psprintf("hook exceeded triggerdo.hook_timeout of %d ms", tdo_hook_timeout);
		call->result = NULL;
	}
	PG_END_TRY();
	h->busy--;
	current_run = outer;
	AtEOXact_GUC(false, nest_level);
	return edata;
}

ErrorData *
tdo_start_hook(const TdoEntry *entry, const TdoRun *run, TdoStop *stop, TimestampTz *retry_at)
{
	TdoCurrentRun here;
	TdoHookCall call = {0};
	TdoHookFn	fn;
	TdoLive		live;
	TdoResult	state = {0};
	ErrorData  *edata;

	if (!tdo_hook_of(&entry->task, TDO_ON_START, &fn))
		return NULL;
	state.attempt = 1;
	if (tdo_live_get(&run->run_id, &live))
		state.queued_at = live.order_key;
	(void) tdo_slot_find_run(&run->run_id, &state.started_at);
	tdo_fill_current_run(&here, entry, run, 1);
	call.fn = &fn;
	call.run = tdo_hook_run(run, &entry->task, &state);
	call.stop = stop;
	edata = tdo_call_hook(&call, &here);
	*retry_at = here.retry_at;
	return edata;
}

/* of the first attempt; its error is the attempt's */
static bool
start(TdoEntry *entry, const TdoRun *run, TdoOutcome *outcome)
{
	TdoCurrentRun here = {0};

	memset(outcome, 0, sizeof(*outcome));
	outcome->edata = tdo_start_hook(entry, run, &outcome->stop, &here.retry_at);
	if (outcome->edata == NULL)
		return true;
	tdo_outcome_failed(outcome, &here);
	return false;
}

void
tdo_execute(TdoEntry *entry, const TdoRun *run, int attempt, TdoOutcome *outcome)
{
	TdoEntry	own;

	if (unlikely(entry->task.hooks != NULL) && attempt == 1 && !start(entry, run, outcome))
		return;
	if (entry->busy == 0)
	{
		execute_entry(entry, run, attempt, outcome);
		return;
	}

	/*
	 * A task that runs itself (run_now): the call outside is in the middle of
	 * what the entry holds, so this one has a function of its own.
	 */
	own = *entry;
	own.fn_context = AllocSetContextCreate(CurrentMemoryContext, "triggerdo nested function",
										   ALLOCSET_SMALL_SIZES);
	own.plan = NULL;
	own.resolved = false;
	own.busy = 0;
	execute_entry(&own, run, attempt, outcome);
	forget_function(&own);
	MemoryContextDelete(own.fn_context);
}

TdoCurrentRun *
tdo_current_run(void)
{
	return current_run;
}

void
tdo_execute_reset(void)
{
	HASH_SEQ_STATUS seq;
	TdoEntry   *entry;

	if (current_run == NULL)
		return;
	current_run = NULL;
	/* (a queued hook has none) */
	if (entries == NULL)
		return;
	hash_seq_init(&seq, entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
		entry->busy = 0;
}
