/*-------------------------------------------------------------------------
 *
 * session.c
 *	  A fresh session for each run, inside a process that lives on.
 *
 * Job: the parts of DISCARD ALL that are cheap, between runs; and to notice
 * what they cannot undo, so that the executor ends the batch there.
 * Called by: executor.
 * Locks: releases advisory locks that runs left behind.
 * Crash: a session ends with its process.
 *
 * Settings and the role are undone by the GUC nest level around each run
 * (execute.c).  Plans are kept: a run of the same role cannot tell.  What
 * cannot be reset (plperl's %_SHARED, loaded libraries) is seen by runs of the
 * same role only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/portal.h"

#include "compat.h"
#include "session.h"
#include "txn.h"

static ProcessUtility_hook_type prev_utility = NULL;

/* the mode of constraints cannot be put back to what each was */
static bool constraints_set = false;

static bool temp_used = false;

static void
watch_utility(PlannedStmt *pstmt, const char *query, bool readonly_tree,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	if (IsA(pstmt->utilityStmt, ConstraintsSetStmt))
		constraints_set = true;
	if (prev_utility)
		prev_utility(pstmt, query, readonly_tree, context, params, env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, readonly_tree, context, params, env, dest, qc);
}

void
tdo_session_init(void)
{
	prev_utility = ProcessUtility_hook;
	ProcessUtility_hook = watch_utility;
}

void
tdo_session_between_runs(void)
{
	/* no portal is active here: function runs have none */
	PortalHashTableDeleteAll();
	DropAllPreparedStatements();
	ResetSequenceCaches();
}

/*
 * An advisory lock is kept until the commit makes the run's work visible, and
 * must not be shared with the next run.
 */
bool
tdo_session_must_end_batch(void)
{
	if (MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE)
		temp_used = true;
	return temp_used || constraints_set || tdo_holds_advisory_lock();
}

void
tdo_session_reset(void)
{
	constraints_set = false;
	PortalHashTableDeleteAll();
	SetPGVariable("session_authorization", NIL, false);
	ResetAllOptions();
	DropAllPreparedStatements();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetSequenceCaches();
}

void
tdo_session_drop_temp(void)
{
	if (!temp_used)
		return;
	tdo_txn_begin();
	ResetTempTableNamespace();
	tdo_txn_commit();
	temp_used = false;
}
