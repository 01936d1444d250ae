/*-------------------------------------------------------------------------
 *
 * api_grant.c
 *	  SQL: grant_task, revoke_task, grant_admin, revoke_admin; the predicates of
 *	  the views.
 *
 * Job: check arguments and who may grant; ask grant.c for each row of a view.
 * Called by: SQL; the views.
 * Locks: as a definer (tdo_task_lock_definitions), so that a task is not dropped
 * meanwhile; ACCESS SHARE on the grantee, for which DROP ROLE waits; grant.c's.
 * Crash: ordinary transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "api.h"
#include "grant.h"
#include "origin.h"
#include "store.h"
#include "task.h"

PG_FUNCTION_INFO_V1(tdo_sql_grant_task);
PG_FUNCTION_INFO_V1(tdo_sql_revoke_task);
PG_FUNCTION_INFO_V1(tdo_sql_grant_admin);
PG_FUNCTION_INFO_V1(tdo_sql_revoke_admin);
PG_FUNCTION_INFO_V1(tdo_sql_may_read);
PG_FUNCTION_INFO_V1(tdo_sql_may_see);

/*
 * PUBLIC is refused, not left out by oversight: 0, its oid elsewhere, is what
 * resume() gives to roles that there is no oid left for.
 */
static Oid
grantee(FunctionCallInfo fcinfo, int argno)
{
	const char *name = NameStr(*PG_GETARG_NAME(argno));
	Oid			role = get_role_oid(name, true);

	if (!OidIsValid(role) && strcmp(name, "public") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("triggerdo grants to roles, not to PUBLIC"),
				 errhint("Grant to a role, and GRANT that role to those who are to have the right.")));
	if (OidIsValid(role))
		LockSharedObject(AuthIdRelationId, role, 0, AccessShareLock);
	if (!OidIsValid(role) || !SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" does not exist", name),
				 errhint("Names of roles are as in pg_roles: case counts, and there are no quotes.")));
	return role;
}

/* of grant_task and revoke_task; *task is one that the caller may grant on */
static void
begin_grant(FunctionCallInfo fcinfo, const char *command, TdoTask *task,
			Oid *role, TdoPrivilege *privilege)
{
	char	   *id;

	tdo_require_arg(fcinfo, 0, "id");
	tdo_require_arg(fcinfo, 1, "role");
	tdo_require_arg(fcinfo, 2, "privilege");
	PreventCommandIfReadOnly(command);
	id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	*privilege = tdo_privilege_from_name(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	tdo_task_lock_definitions();
	tdo_origin_require_bound();
	if (!tdo_task_get(id, task))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("task \"%s\" does not exist", id),
				 errhint("Define it with triggerdo.define_task().")));
	if (!tdo_may_act_as(task->owner) && !tdo_is_admin())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of task \"%s\"", id),
				 errhint("Its owner grants and revokes, members of its owner, and administrators.")));
	*role = grantee(fcinfo, 1);
}

Datum
tdo_sql_grant_task(PG_FUNCTION_ARGS)
{
	TdoTask		task;
	Oid			role;
	TdoPrivilege privilege;

	begin_grant(fcinfo, "grant_task()", &task, &role, &privilege);
	tdo_role_remember(role);
	PG_RETURN_BOOL(tdo_grant_add(task.id, task.owner, role, privilege));
}

Datum
tdo_sql_revoke_task(PG_FUNCTION_ARGS)
{
	TdoTask		task;
	Oid			role;
	TdoPrivilege privilege;

	begin_grant(fcinfo, "revoke_task()", &task, &role, &privilege);
	PG_RETURN_BOOL(tdo_grant_remove(task.id, role, privilege));
}

static Oid
begin_admin(FunctionCallInfo fcinfo, const char *command)
{
	tdo_require_arg(fcinfo, 0, "role");
	PreventCommandIfReadOnly(command);
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", command),
				 errhint("Superusers name administrators.")));
	tdo_task_lock_definitions();
	/* from the first role's oid on the database is this server's */
	tdo_origin_settle();
	return grantee(fcinfo, 0);
}

Datum
tdo_sql_grant_admin(PG_FUNCTION_ARGS)
{
	Oid			role = begin_admin(fcinfo, "grant_admin()");

	tdo_role_remember(role);
	PG_RETURN_BOOL(tdo_admin_add(role));
}

Datum
tdo_sql_revoke_admin(PG_FUNCTION_ARGS)
{
	Oid			role = begin_admin(fcinfo, "revoke_admin()");

	PG_RETURN_BOOL(tdo_admin_remove(role));
}

/* ------------------------------------------------------------------ the views */

/* what was revoked before the query began counts; asked once a query, not a row */
static void
begin_query(FunctionCallInfo fcinfo)
{
	static const char begun = 1;

	if (likely(fcinfo->flinfo->fn_extra != NULL))
		return;
	/* another version's views give other arguments */
	(void) tdo_objects();
	AcceptInvalidationMessages();
	fcinfo->flinfo->fn_extra = unconstify(char *, &begun);
}

Datum
tdo_sql_may_read(PG_FUNCTION_ARGS)
{
	begin_query(fcinfo);
	PG_RETURN_BOOL(tdo_may_read(PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0),
								PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1),
								PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2)));
}

/* a task that the current user owns, or was granted anything on */
Datum
tdo_sql_may_see(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(tdo_may(text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_OID(0), TDO_MAY_ANY));
}
