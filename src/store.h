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

#include "utils/uuid.h"

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
	Oid			task;
	Oid			task_pkey;
	Oid			live;
	Oid			live_pkey;
	Oid			live_order;
	Oid			timer;
	Oid			timer_pkey;
	Oid			timer_due;
} TdoObjects;

/* NULL when the extension is not in this database (needs a transaction) */
extern const TdoObjects *tdo_objects_if_any(void);

/* the same, ERROR when it is not */
extern const TdoObjects *tdo_objects(void);

extern void tdo_store_init(void);	/* from _PG_init */

/* days since 1970-01-01 of an id, and of now */
extern int	tdo_day_of(const pg_uuid_t *id);
extern int	tdo_today(void);

/* the partition of a day, or InvalidOid */
extern Oid	tdo_partition(TdoFamily family, int day);

/* the same, made when missing; takes our own lock until commit if it has to */
extern Oid	tdo_partition_make(TdoFamily family, int day);

/* is some transaction of this database prepared? */
extern bool tdo_any_prepared(void);

#endif							/* TDO_STORE_H */
