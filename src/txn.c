/*-------------------------------------------------------------------------
 *
 * txn.c
 *	  The only file that begins or ends transactions.
 *
 * Job: one order of steps for every transaction of a worker, every
 * subtransaction around user code, and the commits of our own procedures.
 * Called by: launcher, scheduler, executor, execute.c, the waiting procedure.
 * Locks: none of its own.
 * Crash: an open transaction is gone, with all it did.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "storage/lwlock.h"

#include "clock.h"
#include "compat.h"
#include "txn.h"

static bool statement_begun = false;	/* tdo_txn_statement_begin() has no
										 * end yet */

bool
tdo_xids_are_scarce(void)
{
	static bool scarce = false;
	static int64 looked_us = 0;
	int64		now = tdo_monotonic_us();

	if (looked_us == 0 || now - looked_us > 1000000)
	{
		TransactionId warn;

		LWLockAcquire(XidGenLock, LW_SHARED);
		warn = tdo_transam->xidWarnLimit;
		LWLockRelease(XidGenLock);
		scarce = TransactionIdIsNormal(warn) &&
			TransactionIdFollowsOrEquals(ReadNextTransactionId(), warn);
		looked_us = now;
	}
	return scarce;
}

void
tdo_txn_begin(void)
{
	MemoryContext context = CurrentMemoryContext;

	/* else now() would be the time of the previous one */
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
}

void
tdo_txn_begin_ours(void)
{
	tdo_txn_begin();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	XactDeferrable = false;
}

/*
 * A RESET of all settings leaves those of the current transaction, which has begun
 * with the defaults that the last task had set.
 */
void
tdo_txn_as_defaults(void)
{
	XactIsoLevel = DefaultXactIsoLevel;
	XactReadOnly = DefaultXactReadOnly;
	XactDeferrable = DefaultXactDeferrable;
}

void
tdo_txn_commit(void)
{
	MemoryContext context = CurrentMemoryContext;

	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	/* nobody does it for a background worker, and autovacuum lives by it */
	pgstat_report_stat(false);
}

void
tdo_txn_force_sync(void)
{
	ForceSyncCommit();
}

void
tdo_txn_abort(void)
{
	MemoryContext context = CurrentMemoryContext;

	statement_begun = false;
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	pgstat_report_stat(false);
}

void
tdo_txn_statement_begin(void)
{
	MemoryContext context = CurrentMemoryContext;

	if (statement_begun)
		return;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	statement_begun = true;
	MemoryContextSwitchTo(context);
}

void
tdo_txn_statement_end(void)
{
	MemoryContext context = CurrentMemoryContext;

	statement_begun = false;
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	if (!IsTransactionState())
		pgstat_report_stat(false);
}

void
tdo_txn_implicit_block(bool begin)
{
	if (begin)
		BeginImplicitTransactionBlock();
	else
		EndImplicitTransactionBlock();
}

void
tdo_sub_begin(TdoSubTxn *sub)
{
	sub->context = CurrentMemoryContext;
	sub->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(sub->context);
}

void
tdo_sub_commit(TdoSubTxn *sub)
{
	ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(sub->context);
	CurrentResourceOwner = sub->owner;
}

void
tdo_sub_rollback(TdoSubTxn *sub)
{
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(sub->context);
	CurrentResourceOwner = sub->owner;
}

void
tdo_txn_procedure_begin(void)
{
	SPI_connect_ext(SPI_OPT_NONATOMIC);
}

void
tdo_txn_procedure_commit(void)
{
	SPI_commit();
	SPI_start_transaction();	/* needed on 14; nothing on later versions */
}

void
tdo_txn_procedure_end(void)
{
	SPI_finish();
}
