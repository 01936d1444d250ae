/*-------------------------------------------------------------------------
 *
 * change.h
 *	  Subscriptions to row changes: rows of _triggerdo.change, and the triggers
 *	  that name them.
 *
 * Everything here is heap and btree access, as the current user, without an ACL
 * check: callers have checked rights.  Structs are the caller's; what they
 * point to is the caller's, too.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_CHANGE_H
#define TDO_CHANGE_H

#include "postgres.h"

#include "utils/array.h"
#include "utils/reltrigger.h"
#include "utils/uuid.h"

#include "triggerdo.h"

/* what a trigger's change becomes */
typedef struct TdoChange
{
	pg_uuid_t	id;
	Oid			role;			/* who asked for it, and triggers */
	Oid			target;			/* the table it was asked for: of a
								 * partition's row, the partitioned one */
	char		task[TDO_MAX_TASK_ID + 1];
} TdoChange;

/* of a trigger of ours, its arguments */
#define TDO_CHANGE_ARG_ID	0	/* the subscription's id */
#define TDO_CHANGE_ARG_TASK	1	/* for who looks at pg_trigger, and to find it */
#define TDO_CHANGE_ARGS		2

/* the function that our triggers call */
extern Oid	tdo_change_function(void);

/*
 * What the trigger is for, with memory; false: its subscription is gone, or it is
 * none of ours.  Needs an active snapshot.
 */
extern bool tdo_change_of(const Trigger *trigger, TdoChange *change);

/* the table that the trigger was made on: a partition's is a copy of another's; InvalidOid: it is gone */
extern Oid	tdo_change_target(Oid trigger);

/* write the subscription with that id; operations as text[], condition NULL: none */
extern void tdo_change_write(const TdoChange *change, ArrayType *operations,
							 const char *condition);

/* false: there was none */
extern bool tdo_change_delete(const pg_uuid_t *id);

/* the subscriptions of a task end; how many there were */
extern int	tdo_change_delete_of_task(const char *task);

/*
 * Subscriptions go whose triggers have gone, with their table or by DROP TRIGGER;
 * not while the database is UNBOUND.  Under the lock that definitions share, which keeps others' halves out.
 */
extern void tdo_change_sweep(void);

extern void tdo_change_init(void);

#endif							/* TDO_CHANGE_H */
