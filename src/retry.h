/*-------------------------------------------------------------------------
 *
 * retry.h
 *	  Retry policies: Trigger.dev's formula, and three further kinds of backoff.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_RETRY_H
#define TDO_RETRY_H

#include "postgres.h"

#include "utils/jsonb.h"

typedef enum TdoBackoff
{
	TDO_BACKOFF_EXPONENTIAL,
	TDO_BACKOFF_LINEAR,
	TDO_BACKOFF_FIXED,
	TDO_BACKOFF_NONE
} TdoBackoff;

typedef struct TdoRetryPolicy
{
	int			max_attempts;	/* including the first */
	TdoBackoff	backoff;
	double		factor;
	double		min_ms;
	double		max_ms;
	bool		jitter;
} TdoRetryPolicy;

extern const TdoRetryPolicy tdo_retry_defaults;

/*
 * Read a policy; missing keys take the defaults.  With elevel ERROR a wrong
 * one is an error; with a lower level it is reported so and the result is
 * false.
 */
extern bool tdo_retry_parse(Jsonb *policy, TdoRetryPolicy *result, int elevel);

/* the complete policy as jsonb, in the current context */
extern Jsonb *tdo_retry_to_jsonb(const TdoRetryPolicy *policy);

extern bool tdo_backoff_from_name(const char *name, TdoBackoff *result);

/* complain about values that make no sense (ERROR or less, as above) */
extern bool tdo_retry_check(const TdoRetryPolicy *policy, int elevel);

/*
 * Milliseconds to wait after attempt number `attempt` failed, or -1 when it was
 * the last.  r is 1, or uniform in [1,2) (tdo_retry_draw).
 */
extern int64 tdo_retry_delay_ms(const TdoRetryPolicy *policy, int max_attempts,
								int attempt, double r);
extern double tdo_retry_draw(const TdoRetryPolicy *policy);

#endif							/* TDO_RETRY_H */
