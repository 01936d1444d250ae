/*-------------------------------------------------------------------------
 *
 * store.h
 *	  Where our tables are, and the one door through which we run SQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_STORE_H
#define TDO_STORE_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/inval.h"
#include "utils/uuid.h"

#include "triggerdo.h"

/* the tables whose children are day partitions */
typedef enum TdoFamily
{
	TDO_RUN,
	TDO_RESULT,
	TDO_ATTEMPT
} TdoFamily;

/* oids of this database's objects; valid until the next invalidation message, so read them anew in each operation */
typedef struct TdoObjects
{
	Oid			extension;
	Oid			extension_owner;
	Oid			schema;			/* _triggerdo */
	Oid			run;			/* the parent */
	Oid			task;
	Oid			task_pkey;
	Oid			live;
	Oid			live_pkey;
	Oid			live_order;
	Oid			timer;
	Oid			timer_pkey;
	Oid			timer_due;
	Oid			child;
	Oid			child_pkey;
	Oid			origin;
	Oid			role;
	Oid			role_oid;
	Oid			grant;
	Oid			admin;
	Oid			change;
	Oid			change_pkey;
	Oid			idempotency;
	Oid			idempotency_pkey;
	Oid			idempotency_expires;
	Oid			hook;
	Oid			hook_pkey;
	Oid			hook_queue;
} TdoObjects;

/*
 * NULL when the extension is not in this database, or not one that this library
 * can serve (needs a transaction)
 */
extern const TdoObjects *tdo_objects_if_any(void);

/* the same, ERROR when it is not */
extern const TdoObjects *tdo_objects(void);

/* why an extension that is there cannot be served; NULL when it can, or there is none */
typedef struct TdoMismatch
{
	char		version[TDO_VERSION_LEN];	/* of the extension */
	const char *detail;
	const char *hint;
} TdoMismatch;

extern const TdoMismatch *tdo_objects_mismatch(void);

/* at commit every session looks for the objects anew: the extension's version changes */
extern void tdo_objects_changed(void);

extern void tdo_store_init(void);	/* from _PG_init */

/* from _PG_init: to be called with each relation's oid that an invalidation names, 0 for all; no catalog access there */
extern void tdo_watch_relations(RelcacheCallbackFunction changed);

/*
 * ACCESS EXCLUSIVE on all our tables, in the order in which everybody takes them:
 * DROP EXTENSION would go backwards, and deadlock with who enqueues
 */
extern void tdo_lock_tables(void);

/*
 * Call that as another role, and come back, whatever happens: bookkeeping in C
 * alone, that asks and records who the current user is.  User code must not be
 * reached from there.
 */
extern void tdo_as_role(Oid role, void (*call) (void *), void *arg);

/* days since 1970-01-01 of an id, and of now */
extern int	tdo_day_of(const pg_uuid_t *id);
extern int	tdo_today(void);

/* the partition of a day, or InvalidOid */
extern Oid	tdo_partition(TdoFamily family, int day);

/* the index by task and time of creation of a day's runs, or InvalidOid */
extern Oid	tdo_partition_task_index(int day);

/* the partition, made when missing; takes our own lock until commit if it has to */
extern Oid	tdo_partition_make(TdoFamily family, int day);

/*
 * Give the rows of a copy to the roles of this server that have their names:
 * all rows when they were loaded from a dump, otherwise those that found none
 * before.
 */
extern void tdo_bind_roles(bool loaded);

/* what was loaded without its run is forgotten; how many runs were waiting */
extern int64 tdo_forget_orphans(void);

/* runs that were loaded without what tells their state are ended; how many */
extern int64 tdo_end_unrestored(void);

/* the smallest id of a day */
extern pg_uuid_t tdo_day_bound(int day);

/* days that have partitions, the oldest first; a list of int */
extern List *tdo_partition_days(void);

/*
 * Lock a day's partitions and their parents ACCESS EXCLUSIVE, waiting for each at
 * most lock_timeout ms (ERROR 55P03); false when the day is not there, all of it.
 * Then drop them.
 */
extern bool tdo_partition_lock(int day, int lock_timeout);
extern void tdo_partition_drop(int day);

/* is some transaction of this database prepared? */
extern bool tdo_any_prepared(void);

#endif							/* TDO_STORE_H */
