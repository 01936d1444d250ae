/*-------------------------------------------------------------------------
 *
 * stop.c
 *	  Stopping user code in another process, and nothing but user code.
 *
 * Job: the protocol by which cancel_run() and max_duration reach a run that an
 * executor is executing.
 * Called by: executors; cancel_run(); the scheduler.
 * Locks: the shared LWLock (shared) while a signal is sent, so that the pid is
 * still the executor's; the slot's mutex.
 * Crash: a request is gone with the executor, or with shared memory; the run is
 * then treated as one whose executor ended.
 *
 * A word in the slot says whether user code runs (USER), at which turn (the
 * fence, counted up at each begin), and what is asked of it.  A request is set
 * into the word by compare-and-exchange, only while USER is set and the turn is
 * the one that was looked at; whoever leaves user code exchanges the whole word,
 * and thereby learns of every request that was accepted.  So a request is never
 * lost, and never meant for the next run.  The signal (SIGUSR2) carries no
 * meaning of its own: its handler looks at the word, and one that comes late
 * finds nothing.  (SIGINT stays what it is, pg_cancel_backend's: an error in the
 * run that it meets, held off while it would meet bookkeeping.)
 *
 * Steps: the code is cancelled; after cancel_grace its process is ended; after
 * another cancel_grace that is reported, and no more: a process that does not
 * react could be ended only by a crash of the server.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "libpq/pqsignal.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timeout.h"

#include "clock.h"
#include "guc.h"
#include "stop.h"

#define CONTROL_STOP	UINT64CONST(0x3)	/* TdoStop */
#define CONTROL_DIE		UINT64CONST(0x4)	/* it did not: end the process */
#define CONTROL_USER	UINT64CONST(0x8)
#define CONTROL_FENCE	UINT64CONST(0x10)	/* one turn */

/* while user code does not run, its end is looked for so often */
#define OVERSEE_US		INT64CONST(100000)

static TdoSlot *my_slot = NULL;
static TdoCommits commits = TDO_COMMITS_NONE;
static bool refused = false;	/* a commit was */
static TdoStop noted = TDO_STOP_NONE;	/* learnt at a commit */
static TdoStop last_stop = TDO_STOP_NONE;	/* of the last turn */
static TimeoutId hook_timer;
static volatile bool hook_runs = false;
static volatile int hook_overdue = 0;	/* how often its time was over */

/* --------------------------------------------------------- the executor's side */

static void
handle_stop(SIGNAL_ARGS)
{
	int			save_errno = errno;
	uint64		control = pg_atomic_read_u64(&my_slot->control);

	if ((control & CONTROL_USER) && (control & CONTROL_STOP))
	{
		InterruptPending = true;
		QueryCancelPending = true;
		if (control & CONTROL_DIE)
			ProcDiePending = true;
		SetLatch(MyLatch);
	}
	errno = save_errno;
}

/* a cancel signal that comes while no user code runs is dropped */
static void
allow_cancel(bool allow)
{
	QueryCancelPending = false;
	QueryCancelHoldoffCount = allow ? 0 : 1;
}

/* in a signal handler: first the code is cancelled, and if that does not do it the process ended */
static void
hook_time_is_over(void)
{
	if (!hook_runs)
		return;
	InterruptPending = true;
	QueryCancelPending = true;
	if (hook_overdue++ > 0)
		ProcDiePending = true;
	SetLatch(MyLatch);
	enable_timeout_after(hook_timer, Max(tdo_cancel_grace, 1));
}

void
tdo_hook_enter(void)
{
	if (my_slot == NULL)
		return;
	hook_overdue = 0;
	hook_runs = true;
	allow_cancel(true);
	if (tdo_hook_timeout > 0)
		enable_timeout_after(hook_timer, tdo_hook_timeout);
}

bool
tdo_hook_leave(void)
{
	if (!hook_runs)
		return false;
	hook_runs = false;
	if (get_timeout_active(hook_timer))
		disable_timeout(hook_timer, false);
	allow_cancel(false);
	return hook_overdue > 0;
}

/*
 * The last moment of user code in a transaction: deferred triggers have fired.
 * From here on nothing may be stopped (a wait for a synchronous standby would be
 * given up), so who commits, leaves; what was asked for by then makes the commit
 * fail.
 */
static void
before_commit(void)
{
	bool		overdue;

	if (commits == TDO_COMMITS_REFUSED)
	{
		refused = true;
		tdo_user_check_refused();
	}
	overdue = tdo_hook_leave();
	noted = tdo_user_leave();

	if (overdue || (noted != TDO_STOP_NONE && commits != TDO_COMMITS_SOLID))
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to user request")));
}

/* some languages can catch the error, and then think that they go on */
void
tdo_user_check_refused(void)
{
	if (refused)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("a procedure task cannot commit"),
				 errdetail("What was committed would be done again when the run is tried again."),
				 errhint("Leave COMMIT out, or define the task with options => '{\"ownCommits\": true}' if its work may be repeated.")));
}

static void
xact_callback(XactEvent event, void *arg)
{
	if (commits == TDO_COMMITS_NONE)
		return;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		before_commit();
	else if ((commits == TDO_COMMITS_USERS || commits == TDO_COMMITS_SOLID) &&
			 !tdo_user_code_runs() &&
			 (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE || event == XACT_EVENT_ABORT))
	{
		/* it goes on in its next transaction, or is stopped there */
		TdoStop		stop = noted;

		tdo_user_enter();
		noted = stop;
		if (stop != TDO_STOP_NONE)
			InterruptPending = QueryCancelPending = true;
	}
}

void
tdo_user_commits(TdoCommits how)
{
	commits = how;
	refused = false;
}

void
tdo_stop_init(TdoSlot *slot)
{
	my_slot = slot;
	pqsignal(SIGUSR2, handle_stop);
	hook_timer = RegisterTimeout(USER_TIMEOUT, hook_time_is_over);
	RegisterXactCallback(xact_callback, NULL);
	allow_cancel(false);
}

void
tdo_user_enter(void)
{
	uint64		control;

	if (my_slot == NULL)
		return;
	noted = TDO_STOP_NONE;
	last_stop = TDO_STOP_NONE;
	allow_cancel(true);
	control = pg_atomic_read_u64(&my_slot->control) & ~(CONTROL_FENCE - 1);
	pg_atomic_exchange_u64(&my_slot->control, (control + CONTROL_FENCE) | CONTROL_USER);
}

TdoStop
tdo_user_leave(void)
{
	uint64		control;
	TdoStop		earlier = noted;

	if (my_slot == NULL)
		return TDO_STOP_NONE;
	(void) tdo_hook_leave();
	noted = TDO_STOP_NONE;
	control = pg_atomic_read_u64(&my_slot->control) & ~(CONTROL_FENCE - 1);
	control = pg_atomic_exchange_u64(&my_slot->control, control);
	/* (an error, on its way here, has forgotten that cancels are held off) */
	allow_cancel(false);
	if ((control & CONTROL_USER) && (control & CONTROL_STOP))
		earlier = (TdoStop) (control & CONTROL_STOP);
	if (earlier != TDO_STOP_NONE)
		last_stop = earlier;
	return earlier;
}

TdoStop
tdo_user_ended(void)
{
	/* the abort that follows is not the code's */
	commits = TDO_COMMITS_NONE;
	(void) tdo_user_leave();
	return last_stop;
}

bool
tdo_user_code_runs(void)
{
	return my_slot && (pg_atomic_read_u64(&my_slot->control) & CONTROL_USER);
}

void
tdo_stop_reason(int *run, char *reason)
{
	SpinLockAcquire(&my_slot->mutex);
	*run = my_slot->stop_run;
	memcpy(reason, my_slot->stop_reason, TDO_REASON_LEN);
	SpinLockRelease(&my_slot->mutex);
}

/* --------------------------------------------------------------- everybody's */

/*
 * Set a request into the word, if the turn is still the one we looked at.  The
 * caller holds the mutex; what it notes there is read after the executor has
 * left user code, so after this.
 */
static bool
request(TdoSlot *slot, uint64 seen, uint64 bits)
{
	return pg_atomic_compare_exchange_u64(&slot->control, &seen, seen | bits);
}

/* caller holds the mutex */
static TdoStopAnswer
ask(TdoSlot *slot, int index, const char *reason)
{
	uint64		control = pg_atomic_read_u64(&slot->control);

	/* not begun; or done, and nothing but its commit can go wrong any more */
	if (index > slot->current || (index < slot->current && !slot->committing) ||
		!(control & CONTROL_USER))
		return TDO_STOP_LATER;
	if (control & CONTROL_STOP)
		return index == slot->stop_run ? TDO_STOP_ASKED : TDO_STOP_LATER;

	/* noted first: the executor may have left before we could */
	slot->stop_run = index;
	slot->stop_us = tdo_monotonic_us();
	strlcpy(slot->stop_reason, reason, TDO_REASON_LEN);
	return request(slot, control, TDO_STOP_CANCEL) ? TDO_STOP_ASKED : TDO_STOP_LATER;
}

TdoStopAnswer
tdo_stop_run(const pg_uuid_t *run, const char *reason)
{
	char		clipped[TDO_REASON_LEN];
	int			len = strlen(reason);
	TdoStopAnswer answer = TDO_STOP_NOT_IN_HAND;

	len = pg_mbcliplen(reason, len, TDO_REASON_LEN - 1);
	memcpy(clipped, reason, len);
	clipped[len] = '\0';

	LWLockAcquire(tdo_shared->lock, LW_SHARED);
	for (int i = 0; i < tdo_shared->nslots && answer == TDO_STOP_NOT_IN_HAND; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];

		if (slot->state != TDO_SLOT_BUSY || slot->database != MyDatabaseId)
			continue;
		SpinLockAcquire(&slot->mutex);
		for (int k = 0; k < slot->nruns; k++)
		{
			if (memcmp(&slot->runs[k], run, sizeof(*run)) == 0)
			{
				answer = ask(slot, k, clipped);
				break;
			}
		}
		SpinLockRelease(&slot->mutex);
		if (answer == TDO_STOP_ASKED)
			kill(slot->pid, SIGUSR2);
	}
	LWLockRelease(tdo_shared->lock);
	return answer;
}

/* -------------------------------------------------------------- the scheduler's */

typedef struct Overseen
{
	bool		signal;
	bool		report;
	int64		look_us;		/* monotonic; 0: no need */
	int			pid;
	pg_uuid_t	run;
} Overseen;

/* caller holds the mutex */
static void
oversee(TdoSlot *slot, int64 now, Overseen *o)
{
	uint64		control = pg_atomic_read_u64(&slot->control);
	int64		grace_us = (int64) tdo_cancel_grace * 1000;

	memset(o, 0, sizeof(*o));
	if (slot->current < 0 || slot->current >= slot->nruns)
		return;
	if (!(control & CONTROL_USER))
	{
		/* in a moment; or, when it commits, no more */
		if (slot->deadline_us != 0 && !slot->committing)
			o->look_us = Max(slot->deadline_us, now + OVERSEE_US);
		return;
	}
	o->pid = slot->pid;
	o->run = slot->runs[slot->current];
	if (!(control & CONTROL_STOP))
	{
		if (slot->deadline_us == 0)
			return;
		o->look_us = slot->deadline_us;
		if (now < slot->deadline_us)
			return;
		slot->stop_run = slot->current;
		slot->stop_us = now;
		slot->stop_reason[0] = '\0';
		o->signal = request(slot, control, TDO_STOP_TIMEOUT);
		o->look_us = now + grace_us;
	}
	else if (now < slot->stop_us + grace_us)
		o->look_us = slot->stop_us + grace_us;
	else if (!(control & CONTROL_DIE))
	{
		slot->stop_us = now;
		o->signal = request(slot, control, CONTROL_DIE);
		o->look_us = now + grace_us;
	}
	else if (!slot->reported)
		o->report = slot->reported = true;
}

void
tdo_stop_oversee(Oid database, long *sleep_ms)
{
	for (int i = 0; i < tdo_shared->nslots; i++)
	{
		TdoSlot    *slot = &tdo_shared->slots[i];
		Overseen	o;
		int64		now;

		if (slot->state != TDO_SLOT_BUSY || slot->database != database)
			continue;
		now = tdo_monotonic_us();
		/* so that the pid is still the executor's */
		LWLockAcquire(tdo_shared->lock, LW_SHARED);
		SpinLockAcquire(&slot->mutex);
		oversee(slot, now, &o);
		SpinLockRelease(&slot->mutex);
		if (o.signal)
			kill(slot->pid, SIGUSR2);
		LWLockRelease(tdo_shared->lock);
		if (o.look_us != 0)
			*sleep_ms = Min(*sleep_ms, (long) (Max(o.look_us - now, 0) / 1000 + 1));
		if (o.report)
			ereport(LOG,
					(errmsg("triggerdo run %s does not stop",
							DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&o.run)))),
					 errdetail("Process %d was cancelled, and then told to end, and does not react.", o.pid),
					 errhint("It executes code that does not check for interrupts. Only a restart of the server ends it; the other runs go on.")));
	}
}
