/*-------------------------------------------------------------------------
 *
 * schema_rules.c
 *	  What JSON Schema says of one value by itself.
 *
 * Job: numbers, strings, sizes, equality; what a fault says; what it all costs.
 * Called by: schema_check.c.
 * Locks: none.
 * Crash: pure functions over memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "schema_rules.h"

void
tdo_check_spend(TdoCheck *c, int64 steps)
{
	c->steps -= steps;
	if (c->steps < 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the payload is too costly to check"),
				 errdetail("Its schema, a pattern in it most likely, and this payload together take too many steps, or too much memory."),
				 errhint("Bound the length of what a pattern looks at, and repeat nothing within a repetition.")));
	CHECK_FOR_INTERRUPTS();
}

/* -------------------------------------------------------------------- faults */

static void
append_path(StringInfo to, const TdoValue *value)
{
	check_stack_depth();
	if (value->parent == NULL)
		return;
	append_path(to, value->parent);
	if (value->key.s == NULL)
	{
		appendStringInfo(to, "/%d", value->index);
		return;
	}
	appendStringInfoChar(to, '/');
	for (int i = 0; i < value->key.len; i++)
	{
		if (value->key.s[i] == '~' || value->key.s[i] == '/')
			appendStringInfoString(to, value->key.s[i] == '~' ? "~0" : "~1");
		else
			appendStringInfoChar(to, value->key.s[i]);
	}
}

/* Never with a part of the value: it may be secret, and errors are logged. */
bool
tdo_check_fail(TdoCheck *c, const TdoSchemaNode *node, const char *keyword, const TdoValue *value, char *reason)
{
	StringInfoData path;

	initStringInfo(&path);
	append_path(&path, value);
	c->fault->path = path.data;
	c->fault->rule = tdo_schema_place(node);
	if (keyword)
		c->fault->rule = psprintf("%s/%s", c->fault->rule, keyword);
	else
		keyword = node->keyword.len > 0 && node->parent ? pnstrdup(node->keyword.s, node->keyword.len) : "false";
	c->fault->keyword = keyword;
	c->fault->reason = reason;
	return false;
}

const char *
tdo_type_name(int bit)
{
	switch (bit)
	{
		case TDO_JSON_NULL:
			return "null";
		case TDO_JSON_BOOLEAN:
			return "boolean";
		case TDO_JSON_NUMBER:
			return "number";
		case TDO_JSON_INTEGER:
			return "integer";
		case TDO_JSON_STRING:
			return "string";
		case TDO_JSON_ARRAY:
			return "array";
		default:
			return "object";
	}
}

/* "string or null" */
char *
tdo_type_names(int bits)
{
	StringInfoData names;

	initStringInfo(&names);
	if ((bits & TDO_JSON_NUMBER) != 0)
		bits &= ~TDO_JSON_INTEGER;
	for (int bit = 1; bit <= TDO_JSON_OBJECT; bit <<= 1)
	{
		if ((bits & bit) != 0)
			appendStringInfo(&names, "%s%s", names.len > 0 ? " or " : "", tdo_type_name(bit));
	}
	return names.data;
}

static char *
number_text(Numeric n)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(n)));

	return strlen(text) > 50 ? psprintf("%.50s...", text) : text;
}

/* ------------------------------------------------------------------- values */

void
tdo_check_look_at(TdoCheck *c, TdoValue *value, const JsonbValue *v)
{
	value->v = v;
	value->depth = 0;
	switch (v->type)
	{
		case jbvNull:
			value->type = TDO_JSON_NULL;
			break;
		case jbvBool:
			value->type = TDO_JSON_BOOLEAN;
			break;
		case jbvString:
			value->type = TDO_JSON_STRING;
			break;
		case jbvNumeric:
			tdo_check_spend(c, 1 + VARSIZE(v->val.numeric) / 64);
			value->type = DatumGetInt32(DirectFunctionCall1(numeric_min_scale, NumericGetDatum(v->val.numeric))) == 0
				? TDO_JSON_INTEGER : TDO_JSON_NUMBER;
			break;
		default:
			value->type = JsonContainerIsArray(v->val.binary.data) ? TDO_JSON_ARRAY : TDO_JSON_OBJECT;
	}
}

/* ------------------------------------------------------------------ scalars */

bool
tdo_check_number(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value)
{
	Numeric		n = value->v->val.numeric;
	int			cmp;

	if (rule->kind == TDO_RULE_MULTIPLE)
	{
		bool		is = tdo_json_is_multiple(n, rule->u.number, &c->steps);

		tdo_check_spend(c, 4);
		return is || TDO_FAIL(c, node, rule, value, "must be a multiple of %s", number_text(rule->u.number));
	}
	tdo_check_spend(c, 1 + VARSIZE(n) / 64);
	cmp = DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(n), NumericGetDatum(rule->u.number)));
	switch (rule->kind)
	{
		case TDO_RULE_MINIMUM:
			return cmp >= 0 || TDO_FAIL(c, node, rule, value, "must be at least %s", number_text(rule->u.number));
		case TDO_RULE_MAXIMUM:
			return cmp <= 0 || TDO_FAIL(c, node, rule, value, "must be at most %s", number_text(rule->u.number));
		case TDO_RULE_ABOVE:
			return cmp > 0 || TDO_FAIL(c, node, rule, value, "must be above %s", number_text(rule->u.number));
		default:
			return cmp < 0 || TDO_FAIL(c, node, rule, value, "must be below %s", number_text(rule->u.number));
	}
}

bool
tdo_check_string(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value)
{
	const char *s = value->v->val.string.val;
	int			len = value->v->val.string.len;
	int64		n = rule->u.count;

	switch (rule->kind)
	{
		case TDO_RULE_MIN_LENGTH:
			if (len >= n && len / pg_database_encoding_max_length() < n)
			{
				tdo_check_spend(c, len / 32);
				len = pg_mbstrlen_with_len(s, len);
			}
			return len >= n || TDO_FAIL(c, node, rule, value, "must have at least " INT64_FORMAT " characters", n);
		case TDO_RULE_MAX_LENGTH:
			if (len > n && len / pg_database_encoding_max_length() <= n)
			{
				tdo_check_spend(c, len / 32);
				len = pg_mbstrlen_with_len(s, len);
			}
			return len <= n || TDO_FAIL(c, node, rule, value, "must have at most " INT64_FORMAT " characters", n);
		default:
			{
				bool		matches = tdo_pattern_matches(rule->u.pattern, s, len, &c->steps);

				tdo_check_spend(c, 1);
				return matches || TDO_FAIL(c, node, rule, value, "must match the pattern %s", pnstrdup(rule->source.s, tdo_text_clip(rule->source, 200)));
			}
	}
}

bool
tdo_check_equal(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value)
{
	for (int i = 0; i < rule->n; i++)
	{
		bool		equal = tdo_json_equal(value->v, &rule->u.values[i], &c->steps);

		tdo_check_spend(c, 0);
		if (equal)
			return true;
	}
	if (rule->kind == TDO_RULE_CONST)
		return TDO_FAIL(c, node, rule, value, "must be the one value that the schema allows");
	return TDO_FAIL(c, node, rule, value, "must be one of the %d values that the schema allows", rule->n);
}

/* the number of properties, or of items */
bool
tdo_check_size(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value)
{
	int64		size = JsonContainerSize(tdo_container_of(value));
	const char *what = value->type == TDO_JSON_ARRAY ? "items" : "properties";

	if (rule->kind == TDO_RULE_MIN_ITEMS || rule->kind == TDO_RULE_MIN_PROPERTIES)
		return size >= rule->u.count ||
			TDO_FAIL(c, node, rule, value, "must have at least " INT64_FORMAT " %s", rule->u.count, what);
	return size <= rule->u.count ||
		TDO_FAIL(c, node, rule, value, "must have at most " INT64_FORMAT " %s", rule->u.count, what);
}

bool
tdo_check_unique(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value)
{
	int			one = 0;
	int			other = 0;
	bool		found = tdo_json_find_equal(tdo_container_of(value), &one, &other, &c->steps);

	tdo_check_spend(c, 1);
	return !found || TDO_FAIL(c, node, rule, value, "must have no equal items, as %d and %d are", one, other);
}
