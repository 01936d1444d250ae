/*-------------------------------------------------------------------------
 *
 * bgw.c
 *	  Registering our background workers, and how they begin and sleep.
 *
 * Job: one place that fills a BackgroundWorker, installs handlers and waits.
 * Called by: _PG_init, launcher, scheduler, executor.
 * Locks: none.
 * Crash: the launcher is started again by the postmaster (also after a crash
 * of the server); everything else is started by the launcher and the schedulers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"

#include "bgw.h"
#include "compat.h"

StaticAssertDecl(sizeof(TdoWorkerArgs) <= BGW_EXTRALEN,
				 "worker arguments fit into bgw_extra");

static void
fill(BackgroundWorker *worker, const char *function, const char *type)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "triggerdo", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, sizeof(worker->bgw_function_name));
	/* no task, role or run in a name that everybody may read */
	strlcpy(worker->bgw_name, type, sizeof(worker->bgw_name));
	strlcpy(worker->bgw_type, type, sizeof(worker->bgw_type));
}

void
tdo_bgw_register_launcher(void)
{
	BackgroundWorker worker;

	fill(&worker, "tdo_launcher_main", "triggerdo launcher");
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}

static bool
start(const char *function, const char *type, const TdoWorkerArgs *args,
	  BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	fill(&worker, function, type);
	memcpy(worker.bgw_extra, args, sizeof(*args));
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

bool
tdo_bgw_start_scheduler(const TdoWorkerArgs *args, BackgroundWorkerHandle **handle)
{
	return start("tdo_scheduler_main", "triggerdo scheduler", args, handle);
}

bool
tdo_bgw_start_executor(const TdoWorkerArgs *args, BackgroundWorkerHandle **handle)
{
	return start("tdo_executor_main", "triggerdo executor", args, handle);
}

void
tdo_bgw_args(TdoWorkerArgs *args)
{
	memcpy(args, MyBgworkerEntry->bgw_extra, sizeof(*args));
}

void
tdo_bgw_setup(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	/* the default handler of a worker ereports from the signal handler */
	pqsignal(SIGTERM, die);
	tdo_no_transaction_timeout();
	BackgroundWorkerUnblockSignals();
}

void
tdo_bgw_sleep(long ms, uint32 wait_event)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (ms >= 0)
		events |= WL_TIMEOUT;
	(void) WaitLatch(MyLatch, events, ms, wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	tdo_bgw_reload();
}

void
tdo_bgw_reload(void)
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}
