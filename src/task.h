/*-------------------------------------------------------------------------
 *
 * task.h
 *	  Task definitions: rows of _triggerdo.task, and what they name.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_TASK_H
#define TDO_TASK_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "retry.h"

#define TDO_KIND_FUNCTION	'f'
#define TDO_KIND_PROCEDURE	'p'
#define TDO_KIND_COMMAND	'c'

typedef struct TdoTask
{
	char	   *id;
	Oid			owner;
	NameData	owner_name;
	char		kind;
	NameData	run_schema;
	NameData	run_name;
	int			run_nargs;
	bool		isolate;
	bool		own_commits;	/* procedures: COMMIT is allowed */
	int64		max_duration;	/* microseconds; 0: none */
	char	   *command;		/* commands only, else NULL */
	char		keep;			/* TDO_KEEP_... */
	TimestampTz created_at;
	TimestampTz updated_at;
	Jsonb	   *retry;			/* NULL: the setting */
	char	   *description;	/* NULL: none */
	Jsonb	   *options;
	Jsonb	   *payload_schema; /* NULL: any payload, or see schema_stamp */
	uint64		schema_stamp;	/* from tdo_definition(): not 0 if there is
								 * one */
	Jsonb	   *hooks;			/* NULL: none */
} TdoTask;

/* what a task's function turned out to be */
typedef struct TdoFunction
{
	Oid			oid;
	Oid			language;
	Oid			result;			/* of a function: JSONBOID or VOIDOID */
} TdoFunction;

/* Reads into the current context; false: there is none. Needs an active snapshot. */
extern bool tdo_task_get(const char *id, TdoTask *task);

/* of the views: the retry policy in the definition by a query's snapshot; NULL: none, or no such task */
extern Jsonb *tdo_task_retry_as_of(const char *id, Snapshot snapshot);

extern void tdo_task_insert(const TdoTask *task);
extern void tdo_task_update(const TdoTask *task);	/* the row with its id,
													 * which must exist */
extern bool tdo_task_delete(const char *id);

/* serialize define_task and drop_task of one database until the transaction ends */
extern void tdo_task_lock_definitions(void);

/* 'app.f' or 'app.f(jsonb)' to the task's run_* fields, with the caller's search_path; ERROR with a hint */
extern void tdo_task_set_function(TdoTask *task, const char *run);

/*
 * A routine by its name, found through search_path, with exactly so many
 * arguments of type jsonb, or as many as the list behind its name has.
 * InvalidOid: there is none; then *other is one that has only the name, if any.
 */
extern Oid	tdo_task_find_function(const char *name, int nargs, Oid *other);

/* find the function by name and check it as `role`; ERROR when missing, changed or forbidden */
extern void tdo_task_resolve(const TdoTask *task, Oid role, TdoFunction *function);

/* "app"."f", quoted */
extern char *tdo_task_function_name(const TdoTask *task);

/* the policy in force and the attempts it allows; of_run is trigger_task's max_attempts or 0 */
extern int	tdo_task_policy(Jsonb *retry, int of_run, TdoRetryPolicy *policy);

#endif							/* TDO_TASK_H */
