/*-------------------------------------------------------------------------
 *
 * json.c
 *	  Small helpers to read and build jsonb objects.
 *
 * Job: spare everyone else pushJsonbValue's three steps per key.
 * Called by: retry.c, failure.c and the SQL-callable functions.
 * Locks: none.
 * Crash: pure functions over memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "json.h"

static void
push_key(TdoJsonBuild *b, const char *key)
{
	JsonbValue	k;

	k.type = jbvString;
	k.val.string.val = pstrdup(key);
	k.val.string.len = strlen(key);
	(void) pushJsonbValue(&b->state, WJB_KEY, &k);
}

static void
push_pair(TdoJsonBuild *b, const char *key, JsonbValue *value)
{
	push_key(b, key);
	(void) pushJsonbValue(&b->state, WJB_VALUE, value);
}

void
tdo_json_begin(TdoJsonBuild *b)
{
	b->state = NULL;
	(void) pushJsonbValue(&b->state, WJB_BEGIN_OBJECT, NULL);
}

void
tdo_json_text(TdoJsonBuild *b, const char *key, const char *value)
{
	JsonbValue	v;

	if (value == NULL)
		v.type = jbvNull;
	else
	{
		v.type = jbvString;
		v.val.string.val = pstrdup(value);
		v.val.string.len = strlen(value);
	}
	push_pair(b, key, &v);
}

void
tdo_json_int(TdoJsonBuild *b, const char *key, int64 value)
{
	JsonbValue	v;

	v.type = jbvNumeric;
	v.val.numeric = int64_to_numeric(value);
	push_pair(b, key, &v);
}

void
tdo_json_float(TdoJsonBuild *b, const char *key, double value)
{
	JsonbValue	v;

	v.type = jbvNumeric;
	v.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric,
														Float8GetDatum(value)));
	push_pair(b, key, &v);
}

void
tdo_json_bool(TdoJsonBuild *b, const char *key, bool value)
{
	JsonbValue	v;

	v.type = jbvBool;
	v.val.boolean = value;
	push_pair(b, key, &v);
}

void
tdo_json_jsonb(TdoJsonBuild *b, const char *key, Jsonb *value)
{
	JsonbValue	v;

	if (value == NULL)
		v.type = jbvNull;
	else if (JB_ROOT_IS_SCALAR(value))
		(void) JsonbExtractScalar(&value->root, &v);
	else
	{
		v.type = jbvBinary;
		v.val.binary.data = &value->root;
		v.val.binary.len = VARSIZE(value) - VARHDRSZ;
	}
	push_pair(b, key, &v);
}

Jsonb *
tdo_json_end(TdoJsonBuild *b)
{
	JsonbValue *v = pushJsonbValue(&b->state, WJB_END_OBJECT, NULL);

	return JsonbValueToJsonb(v);
}

bool
tdo_json_is_object(Jsonb *j)
{
	return JB_ROOT_IS_OBJECT(j);
}

bool
tdo_json_is_empty_object(Jsonb *j)
{
	return JB_ROOT_IS_OBJECT(j) && JB_ROOT_COUNT(j) == 0;
}

JsonbValue *
tdo_json_get(Jsonb *object, const char *key)
{
	JsonbValue	k;

	k.type = jbvString;
	k.val.string.val = unconstify(char *, key);
	k.val.string.len = strlen(key);
	return findJsonbValueFromContainer(&object->root, JB_FOBJECT, &k);
}

char *
tdo_json_get_text(Jsonb *object, const char *key)
{
	JsonbValue *v = tdo_json_get(object, key);

	if (v == NULL || v->type != jbvString)
		return NULL;
	return pnstrdup(v->val.string.val, v->val.string.len);
}

char *
tdo_json_scalar_text(const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvString:
			return pnstrdup(v->val.string.val, v->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(v->val.numeric)));
		case jbvBool:
			return pstrdup(v->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

bool
tdo_json_duration(const char *s, Interval *span)
{
	static const struct
	{
		char		letter;
		int			days;
		int64		us;
	}			units[] = {
		{'w', 7, 0}, {'d', 1, 0}, {'h', 0, USECS_PER_HOUR},
		{'m', 0, USECS_PER_MINUTE}, {'s', 0, USECS_PER_SEC}
	};
	int64		days = 0;
	int			seen = 0;

	memset(span, 0, sizeof(*span));
	if (*s == '\0')
		return false;
	while (*s != '\0')
	{
		int			digits = strspn(s, "0123456789");
		int			u = 0;
		int64		n;

		/* (nine digits of hours are less than an int64 of microseconds) */
		if (digits < 1 || digits > 9)
			return false;
		n = strtol(s, NULL, 10);
		s += digits;
		while (u < lengthof(units) && *s != units[u].letter)
			u++;
		if (u == lengthof(units) || (seen & (1 << u)) != 0)
			return false;
		seen |= 1 << u;
		s++;
		if (units[u].letter == 'h' && *s == 'r')
			s++;
		days += n * units[u].days;
		span->time += n * units[u].us;
	}
	span->day = (int32) days;
	return days <= PG_INT32_MAX;
}

Jsonb *
tdo_json_empty_object(void)
{
	TdoJsonBuild b;

	tdo_json_begin(&b);
	return tdo_json_end(&b);
}
