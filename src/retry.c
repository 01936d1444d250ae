/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  Retry policies: reading, checking, and the delay formula.
 *
 * Job: one implementation of "when is the next attempt", for executors and SQL.
 * Called by: task.c, rows.c (recording a failure), the SQL-callable functions.
 * Locks: none.
 * Crash: pure functions.
 *
 * The formula is Trigger.dev's: the cap comes after the jitter, so at the cap
 * there is no jitter left, and jitter only ever lengthens a delay.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "json.h"
#include "retry.h"

const TdoRetryPolicy tdo_retry_defaults = {
	3, TDO_BACKOFF_EXPONENTIAL, 2.0, 1000.0, 60000.0, true
};

static const char *const backoff_names[] = {"exponential", "linear", "fixed", "none"};

/* one hundred years: past it a timestamp sum could leave its range */
#define MAX_DELAY_MS	(100.0 * 365.25 * 86400.0 * 1000.0)

bool
tdo_backoff_from_name(const char *name, TdoBackoff *result)
{
	for (int i = 0; i < lengthof(backoff_names); i++)
	{
		if (strcmp(name, backoff_names[i]) == 0)
		{
			*result = (TdoBackoff) i;
			return true;
		}
	}
	return false;
}

static bool
complain(int elevel, const char *message, const char *hint)
{
	ereport(elevel,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid retry policy: %s", message),
			 errhint("%s", hint)));
	return false;
}

bool
tdo_retry_check(const TdoRetryPolicy *policy, int elevel)
{
	if (policy->max_attempts < 1 || policy->max_attempts > 32767)
		return complain(elevel, "the number of attempts is out of range",
						"It counts the first attempt too: 1 (no retry) to 32767.");
	if (!isfinite(policy->factor) || policy->factor <= 0)
		return complain(elevel, "the factor must be a positive number",
						"Each delay is the one before times the factor; the default is 2.");
	if (!isfinite(policy->min_ms) || policy->min_ms < 0 ||
		!isfinite(policy->max_ms) || policy->max_ms < 0 ||
		policy->max_ms > MAX_DELAY_MS)
		return complain(elevel, "a delay is out of range",
						"Delays lie between 0 and 100 years.");
	if (policy->min_ms > policy->max_ms)
		return complain(elevel, "the smallest delay is longer than the longest",
						"Give a longer max_delay, or a shorter min_delay.");
	return true;
}

/* read a number, or complain */
static bool
policy_number(const JsonbValue *v, const char *key, double *result, int elevel)
{
	if (v->type != jbvNumeric)
		return complain(elevel, psprintf("\"%s\" is not a number", key),
						"See triggerdo.retry_policy() for a complete policy.");
	*result = DatumGetFloat8(DirectFunctionCall1(numeric_float8,
												 NumericGetDatum(v->val.numeric)));
	return true;
}

static bool
policy_key(TdoRetryPolicy *result, const char *key, const JsonbValue *v, int elevel)
{
	double		number = 0;

	if (v->type == jbvNull)
		return true;			/* as if it were missing */
	if (strcmp(key, "maxAttempts") == 0)
	{
		if (!policy_number(v, key, &number, elevel))
			return false;
		if (number != floor(number) || number < 1 || number > 32767)
			return complain(elevel, "\"maxAttempts\" is not a whole number from 1 to 32767",
							"It counts the first attempt too.");
		result->max_attempts = (int) number;
		return true;
	}
	if (strcmp(key, "factor") == 0)
		return policy_number(v, key, &result->factor, elevel);
	if (strcmp(key, "minTimeoutInMs") == 0)
		return policy_number(v, key, &result->min_ms, elevel);
	if (strcmp(key, "maxTimeoutInMs") == 0)
		return policy_number(v, key, &result->max_ms, elevel);
	if (strcmp(key, "randomize") == 0)
	{
		if (v->type != jbvBool)
			return complain(elevel, "\"randomize\" is not true or false",
							"See triggerdo.retry_policy() for a complete policy.");
		result->jitter = v->val.boolean;
		return true;
	}
	if (strcmp(key, "backoff") == 0)
	{
		if (v->type != jbvString ||
			!tdo_backoff_from_name(pnstrdup(v->val.string.val, v->val.string.len),
								   &result->backoff))
			return complain(elevel, "\"backoff\" is unknown",
							"Use exponential, linear, fixed or none.");
		return true;
	}
	return complain(elevel, psprintf("unknown key \"%s\"", key),
					"The keys are maxAttempts, backoff, factor, minTimeoutInMs, maxTimeoutInMs and randomize.");
}

bool
tdo_retry_parse(Jsonb *policy, TdoRetryPolicy *result, int elevel)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken tok;

	*result = tdo_retry_defaults;
	if (!tdo_json_is_object(policy))
		return complain(elevel, "it is not a JSON object",
						"See triggerdo.retry_policy() for a complete policy.");

	it = JsonbIteratorInit(&policy->root);
	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;

		if (tok != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		(void) JsonbIteratorNext(&it, &v, true);
		if (!policy_key(result, key, &v, elevel))
			return false;
	}
	return tdo_retry_check(result, elevel);
}

Jsonb *
tdo_retry_to_jsonb(const TdoRetryPolicy *policy)
{
	TdoJsonBuild b;

	tdo_json_begin(&b);
	tdo_json_int(&b, "maxAttempts", policy->max_attempts);
	tdo_json_text(&b, "backoff", backoff_names[policy->backoff]);
	tdo_json_float(&b, "factor", policy->factor);
	tdo_json_float(&b, "minTimeoutInMs", policy->min_ms);
	tdo_json_float(&b, "maxTimeoutInMs", policy->max_ms);
	tdo_json_bool(&b, "randomize", policy->jitter);
	return tdo_json_end(&b);
}

double
tdo_retry_draw(const TdoRetryPolicy *policy)
{
	if (!policy->jitter)
		return 1.0;
	/* 53 bits are all that a double in [1,2) can hold */
	return 1.0 + (double) (tdo_random_uint64() >> 11) * (1.0 / 9007199254740992.0);
}

int64
tdo_retry_delay_ms(const TdoRetryPolicy *policy, int max_attempts,
				   int attempt, double r)
{
	double		base;

	if (attempt >= max_attempts)
		return -1;
	switch (policy->backoff)
	{
		case TDO_BACKOFF_LINEAR:
			base = policy->min_ms * attempt;
			break;
		case TDO_BACKOFF_FIXED:
			base = policy->min_ms;
			break;
		case TDO_BACKOFF_NONE:
			return 0;
		case TDO_BACKOFF_EXPONENTIAL:
		default:
			base = policy->min_ms * pow(policy->factor, attempt - 1);
			break;
	}
	/* floor(x + 0.5): as JavaScript's Math.round; 0 * inf counts as nothing */
	base = r * base;
	if (isnan(base))
		base = 0;
	return (int64) floor(Min(policy->max_ms, base) + 0.5);
}
