/*-------------------------------------------------------------------------
 *
 * hook.h
 *	  Hooks of tasks: what they name, what they are shown, rows of those that
 *	  wait or have failed.
 *
 * A task's hooks are in TdoTask.hooks, as
 * {"on_start": {"schema": ..., "name": ...}, ...}; NULL: it has none.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_HOOK_H
#define TDO_HOOK_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "storage/itemptr.h"

#include "rows.h"
#include "task.h"

/* _triggerdo.hook.kind; those of one run are called in this order */
#define TDO_ON_START		'a'
#define TDO_ON_CANCEL		'c'
#define TDO_CATCH_ERROR		'e'
#define TDO_ON_FAILURE		'f'
#define TDO_ON_SUCCESS		's'
#define TDO_ON_COMPLETE		'z'

/* _triggerdo.hook.state */
#define TDO_HOOK_QUEUED		'q'
#define TDO_HOOK_FAILED		'e'
#define TDO_HOOK_DONE		'd' /* on_start of a run that may begin again */

/* a hook whose process ended so often in its middle is not called again */
#define TDO_HOOK_TRIES		3

typedef struct TdoHookFn
{
	NameData	schema;
	NameData	name;
	int			nargs;			/* 1 (run), or catch_error's 2 (run, error) */
} TdoHookFn;

typedef struct TdoHook
{
	pg_uuid_t	run_id;
	char		kind;
	char		state;
	int			attempt;
	Oid			owner;
	int			tries;			/* counted before each call of a queued one */
	int			depth;			/* the run's */
	TimestampTz at;				/* queued, or failed */
	TdoHookFn	fn;
	Jsonb	   *run;			/* what a queued one is shown; else NULL */
	Jsonb	   *error;			/* of a failed one; else NULL */
	ItemPointerData tid;
} TdoHook;

/* what an end of a run calls for, in order */
typedef struct TdoDue
{
	int			n;
	char		kinds[2];
	TdoHookFn	fns[2];
	Jsonb	   *run;			/* what they are shown; NULL without any */
} TdoDue;

/* the name of define_task's argument */
extern const char *tdo_hook_name(char kind);

/*
 * A task's hooks from define_task's six arguments, NULL where there is none, in
 * the order of its arguments; resolved with the caller's search_path and checked
 * as the owner.  NULL: no hook at all.
 */
#define TDO_HOOK_ARGUMENTS	6
extern Jsonb *tdo_hooks_define(char *const *names, Oid owner);

/* false: the task (which may be NULL) has no such hook. Costs nothing for a task without any. */
extern bool tdo_hook_of(const TdoTask *task, char kind, TdoHookFn *fn);

/* the function as it is now, checked for the role; ERROR when missing, changed or forbidden */
extern Oid	tdo_hook_resolve(const TdoHookFn *fn, Oid role);

/* "app"."f", quoted */
extern char *tdo_hook_function_name(const TdoHookFn *fn);

/* to_jsonb of the run's row in triggerdo.runs, as it is to be; result.status 0: EXECUTING */
extern Jsonb *tdo_hook_run(const TdoRun *run, const TdoTask *task, const TdoResult *result);

/* and back, as far as code inside of a run can see it */
extern void tdo_hook_parse_run(Jsonb *shown, TdoRun *run, int *attempt, int *max_attempts);

/* the hooks that this end of a run of this task calls for */
extern void tdo_hooks_due(const TdoRun *run, const TdoTask *task, const TdoResult *result, TdoDue *due);

/* rows */
extern void tdo_hooks_queue(const TdoRun *run, int attempt, const TdoDue *due);
extern bool tdo_hook_queue_start(const TdoRun *run, const TdoTask *task);	/* false: it has none */
extern void tdo_hook_keep_error(const TdoRun *run, char kind, int attempt,
								const TdoHookFn *fn, Jsonb *error);

/* a run that may begin again has done its on_start; at its attempt's end that is forgotten */
extern void tdo_hook_note_started(const TdoRun *run, const TdoHookFn *fn);
extern bool tdo_hook_has_started(const pg_uuid_t *run);
extern void tdo_hook_forget_started(const pg_uuid_t *run);

/* lock the owner's next queued hook that nobody is at; then read it again, locked, if it is as it was */
extern bool tdo_hook_next(Oid owner, TdoHook *hook);
extern bool tdo_hook_again(const TdoHook *seen, TdoHook *hook);

/* the row is locked */
extern void tdo_hook_count_try(TdoHook *hook);
extern void tdo_hook_done(const TdoHook *hook);
extern void tdo_hook_failed(const TdoHook *hook, Jsonb *error);

/* owners of queued hooks: a list of oids in the current context */
extern List *tdo_hook_owners(void);

/* what is kept of hooks goes with the history of its run, or of its day */
extern void tdo_hook_forget_run(const pg_uuid_t *run);
extern void tdo_hook_forget_day(int day);

#endif							/* TDO_HOOK_H */
