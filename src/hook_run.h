/*-------------------------------------------------------------------------
 *
 * hook_run.h
 *	  Calling the hooks of a run's end: at once, or from the queue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_HOOK_RUN_H
#define TDO_HOOK_RUN_H

#include "postgres.h"

#include "execute.h"
#include "hook.h"
#include "rows.h"
#include "shmem.h"
#include "transition.h"

/*
 * May the hooks of this end be called in the transaction that writes it?  Not of
 * a run in whose middle a process ended before, nor when that has made a commit
 * fail: then they are queued, and can undo nothing.
 */
extern bool tdo_hooks_inline(const TdoLive *live);

/* call what an end of a run calls for, in the transaction that has written it */
extern void tdo_hooks_call(const TdoEntry *entry, const TdoRun *run, int attempt, const TdoDue *due);

/*
 * Ask catch_error, if the task has one, what becomes of an attempt that failed;
 * what it says is put into f.
 */
extern void tdo_catch_error(const TdoEntry *entry, const TdoLive *live, TdoFailed *f);

/* a transaction of runs begins; its commit failed: is it worth another try with this run's hooks queued? */
extern void tdo_hooks_begin(void);
extern bool tdo_hooks_put_off(const pg_uuid_t *run);

/* an earlier one of this run was queued: so are all that come */
extern void tdo_hooks_queue_those_of(const pg_uuid_t *run);

/* were those of this run's end called, in the transaction that goes on? */
extern bool tdo_hooks_called(const pg_uuid_t *run);

/* its commit begins: deferred triggers of its hooks are bounded as they are */
extern void tdo_hooks_bound(void);

/* commit such a transaction that has no other user code; the deferred triggers of its hooks are bounded as they are */
extern void tdo_hooks_commit(void);

/* a suspect's hooks are queued: it may have been one of them */
extern void tdo_hooks_put_off_all(bool all);

/* once per executor */
extern void tdo_hooks_init(Oid my_role, TdoSlot *my_slot);

/* call one queued hook, outside of a transaction; false: there is none. Raises nothing but FATAL. */
extern bool tdo_hooks_serve(void);

#endif							/* TDO_HOOK_RUN_H */
