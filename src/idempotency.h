/*-------------------------------------------------------------------------
 *
 * idempotency.h
 *	  Keys under which a task is triggered once.
 *
 * Every call needs a transaction, and no ACL: callers have checked rights.
 * Nothing is kept in memory.  A task is its id and owner: an id that another role
 * has defined anew is another task.  What "latest committed" means here does not depend
 * on the isolation level.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_IDEMPOTENCY_H
#define TDO_IDEMPOTENCY_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * Is there a run of the task with this key?  True: *run is its id.  False: the
 * key is the caller's, until `expires` (as much later as this had to wait), and
 * *run is a new id, for the run that the caller now inserts in the same
 * (sub)transaction.
 *
 * Waits, as a unique index would, for the end of another transaction that has
 * given the key to a run or taken it away; lock_timeout and cancels apply.
 */
extern bool tdo_idempotency_claim(const char *task, Oid owner, const char *key,
								  TimestampTz expires, pg_uuid_t *run);

/*
 * The run ended so that its key is free again.  Does not wait; false: somebody
 * else is about to change the key, which then still names this run.
 */
extern bool tdo_idempotency_free(const char *task, Oid owner, const char *key,
								 const pg_uuid_t *run);

/* Free it, whatever became of its run; was it taken?  Waits as claim does. */
extern bool tdo_idempotency_reset(const char *task, Oid owner, const char *key);

/* the task is dropped: all its keys go, but for those that others are at this moment changing */
extern void tdo_idempotency_forget_task(const char *task);

/*
 * Delete some of the keys that have expired; true when there may be more.  Does
 * nothing more often than once a minute, unless there are more.
 */
extern bool tdo_idempotency_sweep(TimestampTz now);

#endif							/* TDO_IDEMPOTENCY_H */
