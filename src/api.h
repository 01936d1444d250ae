/*-------------------------------------------------------------------------
 *
 * api.h
 *	  What the SQL-callable functions share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_API_H
#define TDO_API_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "compat.h"
#include "rows.h"
#include "task.h"

/* 22004 for a NULL in a required argument */
extern void tdo_require_arg(FunctionCallInfo fcinfo, int argno, const char *name);

/* 0A000 for an argument whose part of the contract is not built yet */
pg_noreturn extern void tdo_unsupported(const char *function, const char *argument);

/* a max_duration in microseconds; ERROR 22023 unless positive and finite */
extern int64 tdo_duration_us(const Interval *duration, const char *name);

/* a set-returning function's store; *tupdesc is what its rows must be */
extern Tuplestorestate *tdo_begin_rows(FunctionCallInfo fcinfo, TupleDesc *tupdesc);

/* the task, which the current user may trigger; ERROR 42704, 42501, 55000 */
extern void tdo_get_triggerable(const char *id, TdoTask *task);

/* the same for a task that was read (NULL: there is none), and whether the user may trigger it */
extern void tdo_check_triggerable(const char *id, const TdoTask *task, bool may);

/* trigger_task(id, payload), all else at its default, by the current user; rights were checked */
extern pg_uuid_t tdo_trigger(const TdoTask *task, Jsonb *payload);

/* {"ok",...}: what wait_for_run gives for a final run */
extern Jsonb *tdo_run_object(const TdoRun *run, const TdoResult *result);

/*
 * Wait until the run is final; false at the timeout (negative: none).  Takes a
 * snapshot for each look only, so a caller without one holds none asleep.
 */
extern bool tdo_wait_until_final(const pg_uuid_t *id, int64 timeout_ms, TdoResult *result);

/* may the current user read the run? */
extern bool tdo_may_read_run(const TdoRun *run);

/* the run, or ERROR 02000 when there is none that the current user may read */
extern void tdo_get_readable_run(const pg_uuid_t *id, TdoRun *run);

/* the same, also for who may manage it and not read it */
extern void tdo_get_known_run(const pg_uuid_t *id, TdoRun *run);

/* the same, and ERROR 42501 for who may read it and not manage it */
extern void tdo_get_manageable_run(const pg_uuid_t *id, TdoRun *run);

/* 22023 for an idempotency key that is none */
extern void tdo_check_idempotency_key(const char *key);

/* is this run, by run_now perhaps, further up in this very session? */
extern bool tdo_inside_of(const pg_uuid_t *id);

/* one look at what is committed now: has it a result, has it a live row? */
extern bool tdo_look_for_result(const pg_uuid_t *id, TdoResult *result);
extern bool tdo_is_live(const pg_uuid_t *id);

/* now and the delay, or run_at; ERROR 22023 for both, or a delay into the past, or a time without end */
extern TimestampTz tdo_start_time(Interval *delay, bool has_run_at, TimestampTz run_at);

/* may the current user, who knows the run, have it once more, by this definition of its task? */
extern bool tdo_may_replay(const TdoRun *run, const TdoTask *task);

/*
 * Enqueue the run once more, as its task is defined now, with the same payload
 * unless one is given; options (NULL: none) are trigger_task's.  ERROR 42704
 * without the task, 42501 without the right.
 */
extern pg_uuid_t tdo_replay(const TdoRun *original, Jsonb *payload, Jsonb *options);

/* puts row security in front of the runs */
extern void tdo_state_init(void);

#endif							/* TDO_API_H */
