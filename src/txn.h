/*-------------------------------------------------------------------------
 *
 * txn.h
 *	  The only file that begins or ends transactions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_TXN_H
#define TDO_TXN_H

#include "postgres.h"

#include "utils/resowner.h"

/* A worker's transaction; begin pushes no snapshot. Each leaves the caller's memory context current. */
/*
 * Is the server so near to the end of its transaction ids that it warns at each
 * one?  What is left is for VACUUM; our work waits.  Looked at once a second.
 */
extern bool tdo_xids_are_scarce(void);

extern void tdo_txn_begin(void);
extern void tdo_txn_begin_ours(void);	/* for bookkeeping alone, whatever the
										 * session's defaults have become */
extern void tdo_txn_as_defaults(void);	/* the session was reset: the
										 * transaction that is being begun,
										 * too */
extern void tdo_txn_commit(void);
extern void tdo_txn_force_sync(void);	/* this commit may not be lost,
										 * whatever synchronous_commit says */
extern void tdo_txn_abort(void);	/* also after an error; no-op outside a
									 * transaction */

/*
 * A task's own SQL at the top level: begin is a no-op inside a transaction, end
 * does what the statement has come to (commit, or a transaction block that goes
 * on).  An implicit block is what several statements of one string share.
 */
extern void tdo_txn_statement_begin(void);
extern void tdo_txn_statement_end(void);
extern void tdo_txn_implicit_block(bool begin);

/* A subtransaction around user code. The struct is the caller's. */
typedef struct TdoSubTxn
{
	MemoryContext context;
	ResourceOwner owner;
} TdoSubTxn;

extern void tdo_sub_begin(TdoSubTxn *sub);
extern void tdo_sub_commit(TdoSubTxn *sub);
extern void tdo_sub_rollback(TdoSubTxn *sub);

/* End a procedure's transaction and begin the next; needs a non-atomic CALL. */
extern void tdo_txn_procedure_begin(void);
extern void tdo_txn_procedure_commit(void);
extern void tdo_txn_procedure_end(void);

#endif							/* TDO_TXN_H */
