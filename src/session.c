/*-------------------------------------------------------------------------
 *
 * session.c
 *	  A fresh session for each run, inside a process that lives on.
 *
 * Job: the parts of DISCARD ALL that are cheap, between runs; to notice what
 * they cannot undo, so that the batch ends there; and that the role changed, so
 * that the process does.
 * Called by: batch.c.
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
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "guc.h"
#include "session.h"
#include "txn.h"

static ProcessUtility_hook_type prev_utility = NULL;

static Oid	session_role;
static bool was_superuser;
static bool role_changed = false;

/* the mode of constraints cannot be put back to what each was */
static bool constraints_set = false;

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

static void
role_invalidated(Datum arg, int cacheid, uint32 hashvalue)
{
	role_changed = true;
}

bool
tdo_session_still_fits(void)
{
	HeapTuple	tuple;

	if (was_superuser && !tdo_allow_superuser_tasks)
		return false;
	if (!role_changed)
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(session_role));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_authid form = (Form_pg_authid) GETSTRUCT(tuple);

		/* stays set when it does not fit */
		role_changed = (!form->rolcanlogin && !TDO_NOLOGIN_ALLOWED) ||
			form->rolsuper != was_superuser;
		ReleaseSysCache(tuple);
	}
	return !role_changed;
}

void
tdo_session_init(Oid role)
{
	session_role = role;
	tdo_txn_begin();
	was_superuser = superuser_arg(role);
	tdo_txn_commit();
	CacheRegisterSyscacheCallback(AUTHOID, role_invalidated, (Datum) 0);
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
	return (MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE) || constraints_set || tdo_holds_advisory_lock();
}

void
tdo_session_reset_settings(void)
{
	if (!OidIsValid(session_role))
		return;
	/* (and with it the role) */
	SetPGVariable("session_authorization", NIL, false);
	ResetAllOptions();
}

void
tdo_session_reset(void)
{
	constraints_set = false;
	PortalHashTableDeleteAll();
	tdo_session_reset_settings();
	tdo_txn_as_defaults();
	DropAllPreparedStatements();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetSequenceCaches();
}

void
tdo_session_drop_temp(bool always)
{
	/*
	 * the flags of the transaction that has just ended, deferred triggers and
	 * all
	 */
	if (!always && !(MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE))
		return;
	tdo_txn_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	ResetTempTableNamespace();
	PopActiveSnapshot();
	tdo_txn_commit();
	MyXactFlags = 0;
}
