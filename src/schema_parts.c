/*-------------------------------------------------------------------------
 *
 * schema_parts.c
 *	  What the values of JSON Schema's keywords are made of.
 *
 * Job: read counts, names, patterns and subschemas; refuse what is none.
 * Called by: schema_keywords.c.
 * Locks: none.
 * Crash: pure functions over memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "schema_build.h"

JsonbContainer *
tdo_read_array(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, bool nonempty)
{
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data) ||
		(nonempty && JsonContainerSize(v->val.binary.data) == 0))
		tdo_build_refuse(r->node, keyword, nonempty ? "must be an array that is not empty" : "must be an array",
						 "See docs/PAYLOAD-SCHEMA.md.");
	/* (before there is memory for so many) */
	tdo_build_spend(r->b, JsonContainerSize(v->val.binary.data));
	return v->val.binary.data;
}

JsonbContainer *
tdo_read_object(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		tdo_build_refuse(r->node, keyword, "must be an object", "See docs/PAYLOAD-SCHEMA.md.");
	tdo_build_spend(r->b, JsonContainerSize(v->val.binary.data));
	return v->val.binary.data;
}

TdoSchemaNode *
tdo_read_schema(TdoSchemaReader *r, const char *keyword, TdoText key, int index, const JsonbValue *v)
{
	return tdo_build_node(r->b, r->node, tdo_text(keyword), key, index, r->node->resource, v);
}

TdoSchemaNode *
tdo_read_only_schema(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	return tdo_read_schema(r, keyword, tdo_text(NULL), -1, v);
}

/* an array of schemas */
TdoSchemaNode **
tdo_read_schemas(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, int *n)
{
	JsonbIterator *it = JsonbIteratorInit(tdo_read_array(r, keyword, v, true));
	TdoSchemaNode **nodes = palloc(sizeof(TdoSchemaNode *) * JsonContainerSize(v->val.binary.data));
	JsonbIteratorToken tok;
	JsonbValue	e;

	*n = 0;
	while ((tok = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		if (tok != WJB_ELEM)
			continue;
		nodes[*n] = tdo_read_schema(r, keyword, tdo_text(NULL), *n, &e);
		(*n)++;
	}
	return nodes;
}

/* an object of schemas, in jsonb's order of keys; arrays are left out if told so */
TdoNamedNode *
tdo_read_named_schemas(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, int *n, bool skip_arrays)
{
	JsonbIterator *it = JsonbIteratorInit(tdo_read_object(r, keyword, v));
	TdoNamedNode *named = palloc(sizeof(TdoNamedNode) * JsonContainerSize(v->val.binary.data) + 1);
	JsonbIteratorToken tok;
	JsonbValue	e;

	*n = 0;
	while ((tok = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		if (tok != WJB_KEY)
			continue;
		named[*n].name = tdo_text_of(&e);
		(void) JsonbIteratorNext(&it, &e, true);
		if (skip_arrays && e.type == jbvBinary && JsonContainerIsArray(e.val.binary.data))
			continue;
		named[*n].node = tdo_read_schema(r, keyword, named[*n].name, -1, &e);
		(*n)++;
	}
	return named;
}

TdoText *
tdo_read_strings(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, int *n)
{
	JsonbIterator *it = JsonbIteratorInit(tdo_read_array(r, keyword, v, false));
	TdoText    *names = palloc(sizeof(TdoText) * JsonContainerSize(v->val.binary.data) + 1);
	JsonbIteratorToken tok;
	JsonbValue	e;

	*n = 0;
	while ((tok = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		if (tok != WJB_ELEM)
			continue;
		tdo_build_spend(r->b, 1);
		if (e.type != jbvString)
			tdo_build_refuse(r->node, keyword, "must be an array of strings", "For example [\"id\", \"name\"].");
		names[(*n)++] = tdo_text_of(&e);
	}
	return names;
}

int64
tdo_read_count(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	Datum		number = NumericGetDatum(v->val.numeric);
	Datum		max = NumericGetDatum(int64_to_numeric(PG_INT64_MAX));

	if (v->type != jbvNumeric || numeric_is_nan(v->val.numeric) ||
		DatumGetInt32(DirectFunctionCall1(numeric_min_scale, number)) != 0 ||
		DatumGetInt32(DirectFunctionCall2(numeric_cmp, number, NumericGetDatum(int64_to_numeric(0)))) < 0)
		tdo_build_refuse(r->node, keyword, "must be an integer that is not negative", "For example 1.");
	if (DatumGetInt32(DirectFunctionCall2(numeric_cmp, number, max)) > 0)
		return PG_INT64_MAX;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
}

TdoPattern *
tdo_read_pattern(TdoSchemaReader *r, const char *keyword, TdoText source)
{
	char	   *why = NULL;
	TdoPattern *pattern = tdo_pattern_compile(source.s, source.len, &why);

	if (pattern == NULL)
		tdo_build_refuse(r->node, keyword, psprintf("\"%s\" is not a pattern: %s", pnstrdup(source.s, tdo_text_clip(source, 200)), why),
						 "Patterns are regular expressions of ECMA-262 without flags; docs/PAYLOAD-SCHEMA.md names what is not supported.");
	tdo_build_spend(r->b, 10 + source.len);
	return pattern;
}

TdoSchemaRule *
tdo_add_rule(TdoSchemaReader *r, TdoRuleKind kind, const char *keyword, int applies)
{
	TdoSchemaNode *node = r->node;
	TdoSchemaRule *rule;

	if (node->nrules == r->room)
	{
		r->room = r->room ? r->room * 2 : 2;
		node->rules = node->rules ? repalloc(node->rules, sizeof(TdoSchemaRule) * r->room)
			: palloc(sizeof(TdoSchemaRule) * r->room);
	}
	rule = &node->rules[node->nrules++];
	memset(rule, 0, sizeof(*rule));
	rule->kind = kind;
	rule->keyword = keyword;
	rule->applies = applies;
	return rule;
}
