/*-------------------------------------------------------------------------
 *
 * failure.h
 *	  What went wrong in an attempt, as it is kept and shown.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_FAILURE_H
#define TDO_FAILURE_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "compat.h"

typedef struct TdoFailure
{
	int			sqlstate;
	const char *name;			/* static text */
	char	   *message;		/* these in the context of the call that made
								 * it */
	char	   *detail;
	char	   *hint;
	char	   *context;
} TdoFailure;

/* a copy, cut to what may be stored; NULL gives NULL */
extern char *tdo_failure_text(const char *s);

/* copy an error into the current context */
extern TdoFailure *tdo_failure_from_error(const ErrorData *edata);
extern TdoFailure *tdo_failure_make(int sqlstate, const char *name,
									const char *message, const char *hint);

/* of a run that cancel_run() stopped; of one past its max_duration; of one that crashed too often */
extern TdoFailure *tdo_failure_canceled(const char *reason);
extern TdoFailure *tdo_failure_timed_out(int64 max_duration_us);
extern TdoFailure *tdo_failure_crashed(const char *message);

/* {"name","message","sqlstate","detail","hint","context","stackTrace"} */
extern Jsonb *tdo_failure_to_jsonb(const TdoFailure *failure);

/* raise a kept error as this session's own */
pg_noreturn extern void tdo_failure_raise(Jsonb *error);

/* serialization failures and deadlocks: nobody's fault, tried again at once */
extern bool tdo_failure_is_transient(int sqlstate);

/*
 * The same, and locks that could not be had (55P03, a full lock table): another
 * moment may do.
 */
extern bool tdo_failure_is_contention(const ErrorData *edata);

/* no memory, no disk space, an I/O error: what cannot be a deferred trigger's opinion */
extern bool tdo_failure_is_exhaustion(int sqlstate);

/* a full disk, no memory, a shutdown: not the run's doing, so later */
extern bool tdo_failure_is_environment(int sqlstate);

#endif							/* TDO_FAILURE_H */
