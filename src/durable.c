/*-------------------------------------------------------------------------
 *
 * durable.c
 *	  A run whose task may commit before it is done: a procedure, a command.
 *
 * Job: after its durable claim, run the task at the top level, and write what
 * became of it: a procedure's result in the very transaction that it ends in, so
 * that its work and its completion are one commit; everything else in a
 * transaction of its own.
 * Called by: batch.c.
 * Locks: none while the task runs; then the live row FOR UPDATE, if it has still
 * our fence.
 * Crash: the claim is void as soon as no executor has the run in hand; the run is
 * queued again.  A procedure has done nothing then, unless it commits by itself
 * (ownCommits); a command may have done anything: at least once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "attempt.h"
#include "durable.h"
#include "fault.h"
#include "guc.h"
#include "hook_run.h"
#include "quota.h"
#include "slot.h"
#include "stop.h"
#include "toplevel.h"
#include "transition.h"
#include "triggerdo.h"
#include "txn.h"

static TdoSlot *slot;
static MemoryContext user_context;	/* of one call: outlives its transactions */
static MemoryContext result_context;	/* of its outcome */

void
tdo_durable_init(TdoSlot *my_slot)
{
	slot = my_slot;
	user_context = AllocSetContextCreate(TopMemoryContext, "triggerdo call",
										 ALLOCSET_DEFAULT_SIZES);
	result_context = AllocSetContextCreate(TopMemoryContext, "triggerdo outcome",
										   ALLOCSET_DEFAULT_SIZES);
}

static void
stop_if_asked(TdoStop stop)
{
	if (stop != TDO_STOP_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to user request")));
}

/*
 * The procedure's last transaction, which is still open, becomes the one that
 * completes the run.
 */
static void
complete_procedure(const TdoLive *claimed, const TdoRun *run, bool own_commits, Jsonb *output,
				   TimestampTz started)
{
	/* (it may have been defined anew meanwhile, by another role) */
	const TdoEntry *entry = tdo_entry_get(run->task, run->owner);
	const TdoTask *task = entry ? tdo_entry_task(entry) : NULL;
	bool		at_once = !own_commits && tdo_hooks_inline(claimed);
	TdoDue		due = {0};
	TdoLive		live;

	TDO_FAULT("before_record");
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!tdo_claim_lock(claimed, &live))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the run was taken from its executor"),
				 errdetail("Its claim was given up while it was executed.")));
	tdo_finish(&live, run, task, TDO_COMPLETED, started, output, NULL, at_once ? &due : NULL);
	if (due.n > 0)
	{
		/* they are no part of it any more */
		tdo_set_current_run(NULL);
		tdo_hooks_call(entry, run, live.attempt + 1, &due);
	}
	PopActiveSnapshot();
	tdo_slot_set_committing(slot, slot->deadline_us);
	tdo_user_commits(TDO_COMMITS_OURS);
	tdo_user_enter();			/* deferred triggers are user code */
	tdo_hooks_bound();
	TDO_FAULT("before_commit");
	tdo_txn_commit();
	TDO_FAULT("after_commit");
}

/*
 * on_start, in a transaction of its own, in which that it is done is noted: the
 * run may begin again.
 */
static void
start(const TdoLive *claimed, const TdoRun *run, const TdoEntry *entry, volatile TdoStop *stop,
	  TimestampTz *retry_at)
{
	TdoStop		asked = TDO_STOP_NONE;
	TdoHookFn	fn;
	ErrorData  *edata;

	if (claimed->attempt > 0 || !tdo_hook_of(tdo_entry_task(entry), TDO_ON_START, &fn))
		return;
	tdo_txn_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!tdo_hook_has_started(&run->run_id))
	{
		edata = tdo_start_hook(entry, run, &asked, retry_at);
		*stop = asked;
		if (edata != NULL)
			ReThrowError(edata);
		tdo_hook_note_started(run, &fn);
	}
	PopActiveSnapshot();
	tdo_user_commits(TDO_COMMITS_OURS);
	tdo_user_enter();			/* deferred triggers are user code */
	tdo_txn_commit();
	*stop = tdo_user_leave();
	stop_if_asked(*stop);
}

/* raises what goes wrong; *stop says whether that was on request */
static void
call(const TdoLive *claimed, const TdoRun *run, const TdoTask *task, TimestampTz started,
	 volatile TdoStop *stop)
{
	MemoryContextSwitchTo(user_context);
	if (task->kind == TDO_KIND_COMMAND)
	{
		tdo_user_commits(TDO_COMMITS_USERS);
		tdo_user_enter();
		TDO_FAULT("before_user");
		tdo_toplevel_command(task->command);
		TDO_FAULT("after_user");
		*stop = tdo_user_leave();
		stop_if_asked(*stop);
	}
	else
	{
		TdoFunction function;
		Jsonb	   *output;

		tdo_txn_begin();
		PushActiveSnapshot(GetTransactionSnapshot());
		tdo_task_resolve(task, GetUserId(), &function);
		PopActiveSnapshot();
		tdo_user_commits(task->own_commits ? TDO_COMMITS_USERS : TDO_COMMITS_REFUSED);
		tdo_user_enter();
		TDO_FAULT("before_user");
		output = tdo_toplevel_call(tdo_task_function_name(task), task->run_nargs, run->payload);
		TDO_FAULT("after_user");
		MemoryContextSwitchTo(user_context);
		*stop = tdo_user_leave();
		stop_if_asked(*stop);
		tdo_user_check_refused();
		tdo_user_commits(TDO_COMMITS_NONE);
		tdo_limit_size("output", output);
		complete_procedure(claimed, run, task->own_commits, output, started);
		*stop = tdo_user_leave();
	}
	tdo_user_commits(TDO_COMMITS_NONE);
}

/* what a call left: the rows, in a transaction of their own */
static bool
record(const TdoLive *claimed, const TdoRun *run, const TdoOutcome *outcome, TimestampTz started,
	   bool put_off)
{
	TdoLive		live;
	bool		again = put_off || (!outcome->ok && outcome->stop == TDO_STOP_NONE &&
									tdo_attempt_may_repeat(&run->run_id, outcome->edata));

	tdo_txn_begin_ours();
	PushActiveSnapshot(GetTransactionSnapshot());
	/* not ours any more: whoever has it now sees to it */
	if (tdo_claim_lock(claimed, &live))
	{
		if (again)
			tdo_unclaim(&live);
		else
			tdo_attempt_record(&live, run, tdo_entry_get(run->task, run->owner), outcome, started);
	}
	PopActiveSnapshot();
	TDO_FAULT("before_commit");
	tdo_hooks_commit();
	TDO_FAULT("after_commit");
	return !again;
}

/*
 * Hooks that make this very commit fail are queued instead.  Raises an error when
 * nothing can be written.
 */
static bool
record_surely(const TdoLive *claimed, const TdoRun *run, const TdoOutcome *outcome,
			  TimestampTz started, bool put_off)
{
	volatile bool written = false;
	volatile bool recorded = false;

	while (!written)
	{
		tdo_hooks_begin();
		PG_TRY();
		{
			recorded = record(claimed, run, outcome, started, put_off);
			written = true;
		}
		PG_CATCH();
		{
			(void) tdo_user_leave();
			tdo_user_commits(TDO_COMMITS_NONE);
			if (!tdo_hooks_put_off(&run->run_id))
				PG_RE_THROW();
			HOLD_INTERRUPTS();
			MemoryContextSwitchTo(result_context);
			FlushErrorState();
			tdo_txn_abort();
			RESUME_INTERRUPTS();
		}
		PG_END_TRY();
	}
	return recorded;
}

bool
tdo_durable_run(const TdoLive *claimed, const TdoRun *run, TdoEntry *entry,
				TimestampTz started)
{
	TdoTask		task;
	TdoCurrentRun here;
	TdoOutcome	outcome = {0};
	volatile TdoStop stop = TDO_STOP_NONE;
	volatile bool done = false;
	volatile bool recorded = false;

	MemoryContextReset(user_context);
	MemoryContextReset(result_context);
	/* the entry may be read anew while the call goes on */
	MemoryContextSwitchTo(user_context);
	task = *tdo_entry_task(entry);
	if (task.command)
		task.command = pstrdup(task.command);
	tdo_fill_current_run(&here, entry, run, claimed->attempt + 1);
	here.transactions = true;
	PG_TRY();
	{
		start(claimed, run, entry, &stop, &here.retry_at);
		tdo_set_current_run(&here);
		call(claimed, run, &task, started, &stop);
		done = true;
	}
	PG_CATCH();
	{
		TdoStop		asked = tdo_user_leave();

		HOLD_INTERRUPTS();
		tdo_user_commits(TDO_COMMITS_NONE);
		if (asked != TDO_STOP_NONE)
			stop = asked;
		MemoryContextSwitchTo(result_context);
		outcome.edata = CopyErrorData();
		FlushErrorState();
		tdo_txn_abort();
		PortalErrorCleanup();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	tdo_set_current_run(NULL);
	MemoryContextSwitchTo(result_context);

	if (done && task.kind == TDO_KIND_PROCEDURE)
	{
		tdo_transient_forget(MyDatabaseId, &run->run_id);
		return true;			/* written already */
	}
	outcome.ok = done;
	if (!done)
		tdo_outcome_failed(&outcome, &here);
	outcome.stop = stop;
	PG_TRY();
	{
		/*
		 * completed, and its hooks called, but that could not be committed:
		 * again without them
		 */
		recorded = record_surely(claimed, run, &outcome, started,
								 stop != TDO_STOP_CANCEL && tdo_hooks_put_off(&run->run_id));
	}
	PG_CATCH();
	{
		tdo_attempt_unrecorded(&run->run_id, stop, started);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!recorded)
		return false;
	tdo_transient_forget(MyDatabaseId, &run->run_id);
	return true;
}
