/*-------------------------------------------------------------------------
 *
 * execute.h
 *	  Running one attempt of a function task, as the current user.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_EXECUTE_H
#define TDO_EXECUTE_H

#include "postgres.h"

#include "failure.h"
#include "hook.h"
#include "rows.h"
#include "stop.h"
#include "task.h"

/* what this process remembers of a task; lives as long as the process */
typedef struct TdoEntry TdoEntry;

typedef struct TdoOutcome
{
	bool		ok;
	Jsonb	   *output;			/* when ok; NULL: null. In the context current
								 * at the call */
	TdoFailure *failure;		/* when not ok; likewise */
	ErrorData  *edata;			/* the error itself, likewise */
	bool		for_good;		/* abort_run */
	TimestampTz retry_at;		/* retry_run_at, else 0 */
	TdoStop		stop;			/* not ok because it was asked to stop */
} TdoOutcome;

/* the run that user code is inside of, or NULL */
typedef struct TdoCurrentRun
{
	const TdoRun *run;
	int			attempt;
	int			max_attempts;
	TimestampTz retry_at;		/* set by retry_run_at */
	bool		transactions;	/* it spans several, and their rollbacks */
	bool		ends_first;		/* it is final before anybody sees what is
								 * triggered here */
	struct TdoCurrentRun *outer;	/* the run that called run_now, or NULL */
} TdoCurrentRun;

extern void tdo_execute_init(void); /* from _PG_init */

/* the definition in force, or NULL when this owner has no such task. Needs an active snapshot. */
extern TdoEntry *tdo_entry_get(const char *task, Oid owner);
extern const TdoTask *tdo_entry_task(const TdoEntry *entry);

/* how long its runs take, in microseconds; negative: not known yet */
extern double tdo_entry_duration(const TdoEntry *entry);
extern void tdo_entry_measured(TdoEntry *entry, int64 us);

/* runs of it get transactions of their own (learnt here, or options.isolate) */
extern bool tdo_entry_is_solo(const TdoEntry *entry);
extern void tdo_entry_make_solo(TdoEntry *entry);

/*
 * One attempt, in a subtransaction and a GUC nest level of its own.  Never
 * raises an error of the task: it is in the outcome.  In a session that is not
 * the owner's own (run_now after SET ROLE) the task runs in a
 * security-restricted operation: it cannot change the role, nor leave code
 * behind that runs at commit.
 */
extern void tdo_execute(TdoEntry *entry, const TdoRun *run, int attempt,
						TdoOutcome *outcome);

/*
 * One call of a hook, in a subtransaction and a GUC nest level of its own, as
 * tdo_execute() calls a task.  error is catch_error's second argument, and
 * *result what that one gives, in the current context.  NULL: it returned;
 * else its error, likewise.  stop NULL: it is bounded by hook_timeout; else it is
 * part of an attempt, and may be asked to stop.
 */
typedef struct TdoHookCall
{
	const TdoHookFn *fn;
	Jsonb	   *run;
	Jsonb	   *error;
	Jsonb	   *result;
	TdoStop    *stop;
} TdoHookCall;

extern ErrorData *tdo_call_hook(TdoHookCall *call, TdoCurrentRun *here);

/* the on_start of a run that begins, if its task has one; NULL as above; *retry_at: what retry_run_at() named in it */
extern ErrorData *tdo_start_hook(const TdoEntry *entry, const TdoRun *run, TdoStop *stop,
								 TimestampTz *retry_at);

extern TdoCurrentRun *tdo_current_run(void);

/* for durable.c: a run begins that is not one call; NULL: it is over */
extern void tdo_set_current_run(TdoCurrentRun *here);

/* what there is to say of a run before it is current */
extern void tdo_fill_current_run(TdoCurrentRun *here, const TdoEntry *entry, const TdoRun *run,
								 int attempt);

/* fill in the outcome of a run that raised outcome->edata */
extern void tdo_outcome_failed(TdoOutcome *outcome, const TdoCurrentRun *here);

/* after an abort: no run is current any more */
extern void tdo_execute_reset(void);

#endif							/* TDO_EXECUTE_H */
