/*-------------------------------------------------------------------------
 *
 * hook_run.c
 *	  Calling the hooks of a run's end: at once, or from the queue.
 *
 * Job: call hooks in the transaction that ends the run, and keep their errors;
 * ask catch_error; as an executor, call the hooks that others have queued.
 * Called by: attempt.c, durable.c, batch.c, run_now.
 * Locks: the caller holds the live row; of a queued hook, its row.
 * Crash: a hook that is called in the run's transaction is gone with it, and the
 * run is queued as before; a queued one is called again, up to TDO_HOOK_TRIES
 * times.
 *
 * A hook may not undo the end of its run.  One that raises an error is rolled
 * back by itself.  One that takes the whole transaction with it (it ends the
 * process, crashes the server, or has a deferred trigger that makes the commit
 * fail) takes it once: the next time the run's hooks are queued in the commit of
 * its end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "failure.h"
#include "fault.h"
#include "guc.h"
#include "hook_run.h"
#include "json.h"
#include "origin.h"
#include "session.h"
#include "slot.h"
#include "stop.h"
#include "store.h"
#include "triggerdo.h"
#include "txn.h"

static Oid	role;
static TdoSlot *slot = NULL;	/* NULL: no executor */
static MemoryContext hook_context;
static bool called = false;		/* one was, in this transaction */
static bool at_end = false;		/* of the end of this run: */
static pg_uuid_t ended_run;
static bool all_put_off = false;
static bool has_put_off = false;
static bool any;				/* there was a queued hook at the last look */
static pg_uuid_t put_off;		/* the run whose commit they made fail last */

/* an attempt that catch_error was asked about */
typedef struct Asked
{
	bool		was;
	pg_uuid_t	run;
	int			attempt;
} Asked;

static Asked asked;				/* in this transaction, last */
static Asked silenced;			/* whose commit failed: not asked again */

void
tdo_hooks_begin(void)
{
	called = at_end = asked.was = false;
}

/* run_now(): a part of the caller's transaction, or of the run that calls it */
static bool
is_guest(void)
{
	return slot == NULL || tdo_current_run() != NULL;
}

bool
tdo_hooks_called(const pg_uuid_t *run)
{
	return at_end && memcmp(&ended_run, run, sizeof(*run)) == 0;
}

void
tdo_hooks_bound(void)
{
	if (called)
		tdo_hook_enter();
}

void
tdo_hooks_commit(void)
{
	if (called)
	{
		/* (a wait for a standby is not to be given up for them) */
		tdo_user_commits(TDO_COMMITS_OURS);
		tdo_hooks_bound();
	}
	tdo_txn_commit();
	(void) tdo_hook_leave();
	tdo_user_commits(TDO_COMMITS_NONE);
}

static bool
is_put_off(const pg_uuid_t *run)
{
	return all_put_off || (has_put_off && memcmp(&put_off, run, sizeof(*run)) == 0);
}

void
tdo_hooks_queue_those_of(const pg_uuid_t *run)
{
	put_off = *run;
	has_put_off = true;
}

static bool
is_same_attempt(const Asked *a, const pg_uuid_t *run, int attempt)
{
	return a->was && a->attempt == attempt && memcmp(&a->run, run, sizeof(*run)) == 0;
}

bool
tdo_hooks_put_off(const pg_uuid_t *run)
{
	bool		hooks = called && !is_put_off(run);
	bool		catch = is_same_attempt(&asked, run, asked.attempt) &&
	!is_same_attempt(&silenced, run, asked.attempt);

	if (hooks)
		tdo_hooks_queue_those_of(run);
	if (catch)
		silenced = asked;
	return hooks || catch;
}

void
tdo_hooks_put_off_all(bool all)
{
	all_put_off = all;
}

bool
tdo_hooks_inline(const TdoLive *live)
{
	return live->crashes == 0 && !is_put_off(&live->run_id);
}

/* ------------------------------------------------------- in the run's transaction */

/*
 * In run_now() the caller's own cancel, and a serialization failure of its
 * transaction, are not the hook's.
 */
static void
rethrow_the_callers(ErrorData *edata)
{
	if (is_guest() && (edata->sqlerrcode == ERRCODE_QUERY_CANCELED ||
					   tdo_failure_is_transient(edata->sqlerrcode)))
		ReThrowError(edata);
}

/* keep the error with the run; of one that leaves no history, the log has it */
static void
keep_error(const TdoRun *run, char kind, int attempt, const TdoHookFn *fn, const ErrorData *edata)
{
	TdoRun		kept;

	if (tdo_run_get(&run->run_id, &kept))
		tdo_hook_keep_error(run, kind, attempt, fn, tdo_failure_to_jsonb(tdo_failure_from_error(edata)));
	else
		ereport(LOG,
				(errcode(edata->sqlerrcode),
				 errmsg("%s of a run of task \"%s\" failed: %s", tdo_hook_name(kind), run->task, edata->message)));
}

/* from this one on: it is called alone, and on_complete after it */
static void
queue_rest(const TdoRun *run, int attempt, const TdoDue *due, int from)
{
	TdoDue		rest = {.run = due->run};

	for (int i = from; i < due->n; i++)
	{
		rest.kinds[rest.n] = due->kinds[i];
		rest.fns[rest.n++] = due->fns[i];
	}
	tdo_hooks_queue(run, attempt, &rest);
}

void
tdo_hooks_call(const TdoEntry *entry, const TdoRun *run, int attempt, const TdoDue *due)
{
	for (int i = 0; i < due->n; i++)
	{
		TdoCurrentRun here;
		TdoHookCall call = {0};
		ErrorData  *edata;

		tdo_fill_current_run(&here, entry, run, attempt);
		here.ends_first = true;
		call.fn = &due->fns[i];
		call.run = due->run;
		if (!is_guest())
		{
			called = at_end = true;
			ended_run = run->run_id;
		}
		edata = tdo_call_hook(&call, &here);
		if (edata == NULL)
			continue;
		rethrow_the_callers(edata);

		/*
		 * a deadlock may be of our making: this transaction holds the locks
		 * of the run, and of those before it
		 */
		if (!is_guest() && tdo_failure_is_contention(edata))
		{
			queue_rest(run, attempt, due, i);
			return;
		}
		keep_error(run, due->kinds[i], attempt, &due->fns[i], edata);
	}
}

/* ---------------------------------------------------------------- catch_error */

static void
bad_answer(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("catch_error returned %s", what),
			 errhint("It returns NULL, or an object with some of the keys \"skipRetrying\", \"retryAt\", \"retryDelayInMs\" and \"error\".")));
}

static char *
text_or(Jsonb *object, const char *key, char *other)
{
	char	   *text = tdo_json_get_text(object, key);

	return text ? tdo_failure_text(text) : other;
}

/* the error that catch_error puts in the place of the attempt's: what it leaves out stays */
static TdoFailure *
replaced_error(const TdoFailure *old, JsonbValue *v)
{
	TdoFailure *f = palloc(sizeof(TdoFailure));
	Jsonb	   *object;
	char	   *sqlstate;

	*f = *old;
	if (v->type == jbvString)
	{
		f->message = tdo_failure_text(pnstrdup(v->val.string.val, v->val.string.len));
		return f;
	}
	object = v->type == jbvBinary ? JsonbValueToJsonb(v) : NULL;
	if (object == NULL || !tdo_json_is_object(object))
		bad_answer("an \"error\" that is neither an object nor a string");
	f->name = text_or(object, "name", unconstify(char *, old->name));
	f->message = text_or(object, "message", old->message);
	f->detail = text_or(object, "detail", old->detail);
	f->hint = text_or(object, "hint", old->hint);
	f->context = text_or(object, "context", old->context);
	sqlstate = tdo_json_get_text(object, "sqlstate");
	if (sqlstate && strlen(sqlstate) == 5 &&
		strspn(sqlstate, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5)
		f->sqlstate = MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]);
	else if (sqlstate)
		bad_answer("an \"error\" whose \"sqlstate\" is not five digits or upper-case letters");
	return f;
}

static TimestampTz
retry_time(JsonbValue *v)
{
	char	   *text = v->type == jbvString ? pnstrdup(v->val.string.val, v->val.string.len) : NULL;
	TimestampTz at;

	if (text == NULL)
		bad_answer("a \"retryAt\" that is not a time as text");
	at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(text),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	if (TIMESTAMP_NOT_FINITE(at))
		bad_answer("a \"retryAt\" that is infinite");
	/* (0 says that the policy has the word) */
	return at != 0 ? at : 1;
}

static TimestampTz
retry_after(JsonbValue *v)
{
	double		ms = -1;

	if (v->type == jbvNumeric)
		ms = DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(v->val.numeric)));
	/* (not finite is neither) */
	if (!(ms >= 0 && ms <= 100.0 * 366 * SECS_PER_DAY * 1000))
		bad_answer("a \"retryDelayInMs\" that is not a number from 0 to 100 years");
	return tdo_now() + (int64) (ms * 1000);
}

static void
read_answer(Jsonb *answer, TdoFailed *f)
{
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	v;

	if (!tdo_json_is_object(answer))
		bad_answer("something that is no object");
	it = JsonbIteratorInit(&answer->root);
	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;

		if (tok != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		(void) JsonbIteratorNext(&it, &v, true);
		if (v.type == jbvNull)
			continue;
		if (strcmp(key, "skipRetrying") == 0)
		{
			if (v.type != jbvBool)
				bad_answer("a \"skipRetrying\" that is neither true nor false");
			f->for_good = v.val.boolean;
		}
		else if (strcmp(key, "retryAt") == 0)
			f->retry_at = retry_time(&v);
		else if (strcmp(key, "retryDelayInMs") == 0)
		{
			/*
			 * (keys come shortest first: retryAt, which is more exact, was
			 * seen)
			 */
			if (tdo_json_get(answer, "retryAt") == NULL)
				f->retry_at = retry_after(&v);
		}
		else if (strcmp(key, "error") == 0)
			f->failure = replaced_error(f->failure, &v);
		else
			bad_answer(psprintf("an object with the unknown key \"%s\"", key));
	}
}

/* its answer may be wrong in as many ways as it can raise an error */
static ErrorData *
read_answer_safely(Jsonb *answer, TdoFailed *f)
{
	MemoryContext context = CurrentMemoryContext;
	TdoFailed	read = *f;
	TdoSubTxn	sub;
	ErrorData  *volatile edata = NULL;

	tdo_sub_begin(&sub);
	PG_TRY();
	{
		read_answer(answer, &read);
		tdo_sub_commit(&sub);
		*f = read;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		tdo_sub_rollback(&sub);
	}
	PG_END_TRY();
	return edata;
}

/* its own error is the attempt's, and retried by the policy */
static void
catch_error_failed(TdoFailed *f, const ErrorData *edata)
{
	TdoFailure *failure = tdo_failure_from_error(edata);

	failure->name = "HANDLE_ERROR_ERROR";
	if (failure->detail == NULL)
		failure->detail = psprintf("catch_error was asked about: %s", f->failure->message);
	f->failure = failure;
	f->retry_at = 0;
}

void
tdo_catch_error(const TdoEntry *entry, const TdoLive *live, TdoFailed *f)
{
	TdoCurrentRun here;
	TdoHookCall call = {0};
	TdoHookFn	fn;
	TdoResult	result = {0};
	TdoState	state;
	ErrorData  *edata;

	if (f->for_good || f->task == NULL || f->task->hooks == NULL || f->task->owner != f->run->owner ||
		!tdo_hook_of(f->task, TDO_CATCH_ERROR, &fn))
		return;
	/* it has made the commit of this very attempt fail */
	if (is_same_attempt(&silenced, &live->run_id, live->attempt))
		return;
	result.attempt = live->attempt + 1;
	result.queued_at = live->order_key;
	result.started_at = f->started_at;
	if (live->attempt > 0)
	{
		tdo_state_as_of(&live->run_id, GetActiveSnapshot(), true, &state);
		result.error = state.error;
	}
	tdo_fill_current_run(&here, entry, f->run, result.attempt);
	call.fn = &fn;
	call.run = tdo_hook_run(f->run, f->task, &result);
	call.error = tdo_failure_to_jsonb(f->failure);
	if (!is_guest())
	{
		called = true;
		asked.was = true;
		asked.run = live->run_id;
		asked.attempt = live->attempt;
	}
	edata = tdo_call_hook(&call, &here);
	if (edata != NULL)
		rethrow_the_callers(edata);
	else if (call.result != NULL)
		edata = read_answer_safely(call.result, f);
	if (edata != NULL)
		catch_error_failed(f, edata);
}

/* ------------------------------------------------------------------- the queue */

void
tdo_hooks_init(Oid my_role, TdoSlot *my_slot)
{
	role = my_role;
	slot = my_slot;
	hook_context = AllocSetContextCreate(TopMemoryContext, "triggerdo hook",
										 ALLOCSET_DEFAULT_SIZES);
}

/* false: this session, or this database, does not call any now; no transaction is left */
static bool
begin(void)
{
	tdo_txn_begin();
	tdo_session_reset();
	if (tdo_session_still_fits() && tdo_objects_if_any() != NULL &&
		tdo_origin()->standing == TDO_RUNNING)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		return true;
	}
	tdo_txn_commit();
	return false;
}

static void
finish(void)
{
	PopActiveSnapshot();
	tdo_hooks_commit();
}

/* a hook's error, with the run's row, if there is one */
static void
end_with_error(const TdoHook *hook, Jsonb *error)
{
	TdoRun		kept;

	if (tdo_run_get(&hook->run_id, &kept))
	{
		tdo_hook_failed(hook, error);
		return;
	}
	ereport(LOG,
			(errmsg("%s of a run of task \"%s\" failed: %s", tdo_hook_name(hook->kind),
					tdo_json_get_text(hook->run, "task"), tdo_json_get_text(error, "message"))));
	tdo_hook_done(hook);
}

/* the first transaction: the next hook, counted; false: none, or it is done with */
static bool
take(TdoHook *hook)
{
	bool		take = false;

	if (!begin())
		return false;
	any = tdo_hook_next(role, hook);
	if (any && hook->tries >= TDO_HOOK_TRIES)
		end_with_error(hook,
					   tdo_failure_to_jsonb(tdo_failure_make(TDO_ERRCODE_CRASHED, "TaskProcessCrashedError",
															 psprintf("The process that called the hook ended %d times in its middle.", hook->tries),
															 "The server log has what happened.")));
	else if (any)
	{
		/* shown before the commit, and to the end */
		tdo_slot_set_hook(slot, &hook->run_id, hook->kind);
		tdo_hook_count_try(hook);
		/* a crash may be what it is counted for */
		tdo_txn_force_sync();
		take = true;
	}
	finish();
	return take;
}

/* the second one */
static void
call_queued(const TdoHook *taken)
{
	TdoHook		hook;
	TdoCurrentRun here = {0};
	TdoHookCall call = {0};
	TdoRun		run;
	ErrorData  *edata;

	if (!begin())
		return;
	if (tdo_hook_again(taken, &hook))
	{
		/* (of the run itself there may be no row left) */
		tdo_hook_parse_run(hook.run, &run, &here.attempt, &here.max_attempts);
		run.owner = hook.owner;
		run.depth = hook.depth;
		here.run = &run;
		here.ends_first = hook.kind != TDO_ON_START;
		call.fn = &hook.fn;
		call.run = hook.run;
		called = true;
		edata = tdo_call_hook(&call, &here);
		if (edata == NULL)
			tdo_hook_done(&hook);
		else if (!tdo_failure_is_contention(edata) || hook.tries >= TDO_HOOK_TRIES)
			end_with_error(&hook, tdo_failure_to_jsonb(tdo_failure_from_error(edata)));
		/* else it stays, and is tried again */
	}
	finish();
}

/* its commit failed: by its deferred triggers, or by us */
static void
commit_failed(const TdoHook *taken, const ErrorData *edata)
{
	TdoHook		hook;

	tdo_hooks_begin();
	tdo_txn_begin_ours();
	PushActiveSnapshot(GetTransactionSnapshot());
	if ((edata->sqlerrcode == ERRCODE_QUERY_CANCELED || !tdo_failure_is_environment(edata->sqlerrcode)) &&
		tdo_hook_again(taken, &hook))
		end_with_error(&hook, tdo_failure_to_jsonb(tdo_failure_from_error(edata)));
	finish();
}

static ErrorData *
caught(void)
{
	ErrorData  *edata;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(hook_context);
	(void) tdo_user_leave();
	tdo_user_commits(TDO_COMMITS_NONE);
	edata = CopyErrorData();
	FlushErrorState();
	tdo_txn_abort();
	tdo_execute_reset();
	RESUME_INTERRUPTS();
	return edata;
}

bool
tdo_hooks_serve(void)
{
	TdoHook		hook;
	ErrorData  *volatile first = NULL;
	ErrorData  *volatile last = NULL;
	volatile bool taken = false;

	/* taken before the look: what is queued later sets it again */
	if (pg_atomic_exchange_u32(&slot->hooks, 0) == 0)
		return false;
	MemoryContextReset(hook_context);
	MemoryContextSwitchTo(hook_context);
	tdo_hooks_begin();
	any = false;
	PG_TRY();
	{
		if (slot->state != TDO_SLOT_BUSY)
			tdo_slot_set_state(slot, TDO_SLOT_BUSY);
		taken = take(&hook);
		TDO_FAULT("hook_taken");
		if (taken)
			call_queued(&hook);
	}
	PG_CATCH();
	{
		first = caught();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(hook_context);
	PG_TRY();
	{
		if (first != NULL && taken)
			commit_failed(&hook, first);
	}
	PG_CATCH();
	{
		last = caught();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(hook_context);
	tdo_slot_set_hook(slot, NULL, 0);
	tdo_session_drop_temp(false);

	/*
	 * where nothing can be written, the scheduler sends us here again in a
	 * while
	 */
	if (any && last == NULL && (first == NULL || taken))
		pg_atomic_write_u32(&slot->hooks, 1);
	return any;
}
