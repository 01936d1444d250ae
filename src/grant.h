/*-------------------------------------------------------------------------
 *
 * grant.h
 *	  Who may do what to a task and its runs: the one place that says so.
 *
 * Every question is about the current user, needs a transaction, and is
 * answered by what is committed now and what this transaction has done.  In a
 * database whose rows are not bound (origin.h) only superusers may anything.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_GRANT_H
#define TDO_GRANT_H

#include "postgres.h"

/* what an owner can grant; a set of them is their sum */
typedef enum TdoPrivilege
{
	TDO_MAY_TRIGGER = 1 << 0,	/* trigger it, and see what one triggered */
	TDO_MAY_READ = 1 << 1,		/* see all its runs */
	TDO_MAY_WORK = 1 << 2,		/* claim its runs as an external worker */
	TDO_MAY_MANAGE = 1 << 3		/* cancel, replay, define again how it runs */
} TdoPrivilege;

#define TDO_MAY_ANY \
	(TDO_MAY_TRIGGER | TDO_MAY_READ | TDO_MAY_WORK | TDO_MAY_MANAGE)

/* may the current user act as this role? */
extern bool tdo_may_act_as(Oid role);

/* a superuser, or named by grant_admin() */
extern bool tdo_is_admin(void);

/*
 * One of these privileges on a task with this id and owner, or on its runs (ask
 * with the run's own owner: an id may be another role's task by now).  Owners
 * and superusers have them all, administrators READ and MANAGE.
 */
extern bool tdo_may(const char *task, Oid owner, int privileges);

/*
 * May a run with this owner and task, triggered by that role, be read?  Called
 * for each row of a view: it takes in no invalidation messages.  task is a text,
 * 0 where there is none.
 */
extern bool tdo_may_read(Oid owner, Oid triggered_by, Datum task);

/* "trigger", "read", "work", "manage", in any case; ERROR 22023 */
extern TdoPrivilege tdo_privilege_from_name(const char *name);

/*
 * The rows.  True: something changed.  All take SHARE ROW EXCLUSIVE on the table
 * to the end of the transaction; the caller has locked the definitions before.
 */
extern bool tdo_grant_add(const char *task, Oid owner, Oid role, TdoPrivilege privilege);
extern bool tdo_grant_remove(const char *task, Oid role, TdoPrivilege privilege);
extern void tdo_grant_forget_task(const char *task);
extern bool tdo_admin_add(Oid role);
extern bool tdo_admin_remove(Oid role);

/* scheduler: rows of roles that were dropped go, so that no dump has their names */
extern void tdo_grants_follow(void);
extern void tdo_grants_look_again(void);	/* the transaction that did has
											 * failed */

extern void tdo_grant_init(void);	/* from _PG_init */

#endif							/* TDO_GRANT_H */
