/*-------------------------------------------------------------------------
 *
 * api_pause.c
 *	  SQL: pause, resume; the names of roles for the views.
 *
 * Job: stop a database from beginning anything, and let it go on; make a copy
 * of a database one of its own.
 * Called by: SQL.
 * Locks: SHARE ROW EXCLUSIVE on origin; resume before that on task, as a
 * definer, and SHARE UPDATE EXCLUSIVE on role.
 * Crash: ordinary transactions: rolled back, nothing was paused or resumed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"

#include "api.h"
#include "grant.h"
#include "origin.h"
#include "shmem.h"
#include "store.h"
#include "task.h"
#include "triggerdo.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(tdo_sql_pause);
PG_FUNCTION_INFO_V1(tdo_sql_resume);
PG_FUNCTION_INFO_V1(tdo_sql_role_name);
PG_FUNCTION_INFO_V1(tdo_sql_is_paused);

static void
require_admin(const char *function)
{
	tdo_require_shmem();
	PreventCommandIfReadOnly(function);
	if (!tdo_is_admin())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", function),
				 errhint("Superusers and administrators (triggerdo.grant_admin) may call it.")));
}

/* at commit the scheduler looks; a database that had nothing yet may have none */
static void
tell(void)
{
	tdo_wake_timer();
	tdo_wake_launcher();
}

Datum
tdo_sql_pause(PG_FUNCTION_ARGS)
{
	const TdoOrigin *origin;

	require_admin("pause()");
	tdo_origin_lock();
	origin = tdo_origin();
	if (origin->standing == TDO_PAUSED ||
		(origin->standing == TDO_UNBOUND && !tdo_origin_is_empty()))
		PG_RETURN_BOOL(false);
	tdo_origin_write(psprintf("paused by %s", GetUserNameFromId(GetUserId(), false)));
	tell();
	PG_RETURN_BOOL(true);
}

static void
tell_what_is_left_out(int64 forgotten, int64 ended)
{
	char	   *missing = tdo_roles_missing();

	if (forgotten > 0)
		ereport(NOTICE,
				(errmsg("waiting runs that were loaded without their payload are forgotten: " INT64_FORMAT,
						forgotten)));
	if (ended > 0)
		ereport(NOTICE,
				(errmsg("runs that were loaded without their place in the queue are CANCELED: " INT64_FORMAT,
						ended)));
	if (missing)
		ereport(WARNING,
				(errmsg("roles that own or triggered runs do not exist on this server: %s", missing),
				 errdetail("Their tasks and runs stay as they are."),
				 errhint("CREATE ROLE, and call triggerdo.resume() again.")));
}

/* rows loaded from a dump, or some of them, go to this server's roles */
static void
bind_rows(bool loaded)
{
	Relation	roles = table_open(tdo_objects()->role, ShareUpdateExclusiveLock);
	Relation	tasks;
	int64		forgotten = 0;
	int64		ended = 0;

	tdo_bind_roles(loaded);
	if (loaded)
	{
		forgotten = tdo_forget_orphans();
		ended = tdo_end_unrestored();
	}
	tell_what_is_left_out(forgotten, ended);
	/* executors keep definitions */
	tasks = table_open(tdo_objects()->task, AccessShareLock);
	CacheInvalidateRelcache(tasks);
	table_close(tasks, NoLock);
	table_close(roles, NoLock);
}

Datum
tdo_sql_resume(PG_FUNCTION_ARGS)
{
	TdoStanding standing;
	bool		missing;

	require_admin("resume()");
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("resume() must run in isolation level READ COMMITTED"),
				 errhint("It must see what was committed after the transaction began.")));
	/* no definition while rows change their owners */
	tdo_task_lock_definitions();
	tdo_origin_lock();
	standing = tdo_origin()->standing;
	if (standing == TDO_UNBOUND && tdo_origin_is_empty())
		PG_RETURN_BOOL(false);
	/* whose the rows become is a superuser's to say */
	missing = standing != TDO_UNBOUND && superuser() && tdo_roles_missing() != NULL;
	if (standing == TDO_UNBOUND || missing)
		bind_rows(standing == TDO_UNBOUND);
	if (standing != TDO_RUNNING)
		tdo_origin_write(NULL);
	if (standing != TDO_RUNNING || missing)
		tell();
	PG_RETURN_BOOL(standing != TDO_RUNNING);
}

Datum
tdo_sql_role_name(PG_FUNCTION_ARGS)
{
	Name		name;

	/* (zero: who triggered it is not noted) */
	if (PG_ARGISNULL(0) || !OidIsValid(PG_GETARG_OID(0)))
		PG_RETURN_NULL();
	name = palloc0(sizeof(NameData));
	namestrcpy(name, tdo_role_name(PG_GETARG_OID(0)));
	PG_RETURN_NAME(name);
}

/* does nothing begin in this database? */
Datum
tdo_sql_is_paused(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(tdo_origin()->standing != TDO_RUNNING);
}
