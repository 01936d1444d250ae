/*-------------------------------------------------------------------------
 *
 * schema_keywords.c
 *	  The keywords of JSON Schema, one by one.
 *
 * Job: read each keyword of 2020-12 (and of draft-07 where $schema says so), refuse
 * what the metaschema refuses, with its place, and put what is to be checked into
 * rules, those that cost least first. Keywords it does not know are ignored.
 * Called by: schema_compile.c.
 * Locks: none.
 * Crash: pure functions over memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "compat.h"
#include "schema_build.h"

#define MAX_DIGITS		1000	/* of multipleOf, before and after the point */

#define NUMBERS			(TDO_JSON_NUMBER | TDO_JSON_INTEGER)


/* ------------------------------------------------------------- the keywords */

static int
type_bit(TdoSchemaReader *r, const JsonbValue *v)
{
	static const struct
	{
		const char *name;
		int			bits;
	}			types[] = {
		{"null", TDO_JSON_NULL}, {"boolean", TDO_JSON_BOOLEAN}, {"number", NUMBERS},
		{"integer", TDO_JSON_INTEGER}, {"string", TDO_JSON_STRING},
		{"array", TDO_JSON_ARRAY}, {"object", TDO_JSON_OBJECT}
	};

	for (int i = 0; i < lengthof(types) && v->type == jbvString; i++)
	{
		if (strlen(types[i].name) == v->val.string.len &&
			memcmp(types[i].name, v->val.string.val, v->val.string.len) == 0)
			return types[i].bits;
	}
	tdo_build_refuse(r->node, "type", "is not a type, nor an array of types",
					 "The types are null, boolean, object, array, number, integer and string.");
}

static void
read_type(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	int			bits = 0;
	TdoSchemaRule *rule;

	if (v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data) && JsonContainerSize(v->val.binary.data) > 0)
	{
		JsonbIterator *it = JsonbIteratorInit(v->val.binary.data);
		JsonbIteratorToken tok;
		JsonbValue	e;

		while ((tok = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
		{
			tdo_build_spend(r->b, 1);
			if (tok == WJB_ELEM)
				bits |= type_bit(r, &e);
		}
	}
	else
		bits = type_bit(r, v);
	rule = tdo_add_rule(r, TDO_RULE_TYPE, keyword, TDO_JSON_ANY & ~bits);
	rule->u.types = bits;
}

static void
read_enum(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	JsonbIterator *it = JsonbIteratorInit(tdo_read_array(r, keyword, v, false));
	int			size = JsonContainerSize(v->val.binary.data);
	TdoSchemaRule *rule = tdo_add_rule(r, TDO_RULE_ENUM, keyword, TDO_JSON_ANY);
	JsonbIteratorToken tok;
	JsonbValue	e;

	rule->u.values = palloc(sizeof(JsonbValue) * size + 1);
	while ((tok = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		tdo_build_spend(r->b, 1);
		if (tok == WJB_ELEM)
			rule->u.values[rule->n++] = e;
	}
}

static void
read_const(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	TdoSchemaRule *rule = tdo_add_rule(r, TDO_RULE_CONST, keyword, TDO_JSON_ANY);

	rule->n = 1;
	rule->u.values = palloc(sizeof(JsonbValue));
	rule->u.values[0] = *v;
}

static void
read_number(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, TdoRuleKind kind)
{
	if (v->type != jbvNumeric)
		tdo_build_refuse(r->node, keyword, "must be a number", "For example 10.");
	tdo_add_rule(r, kind, keyword, NUMBERS)->u.number = v->val.numeric;
}

static void
read_minimum(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	read_number(r, keyword, v, TDO_RULE_MINIMUM);
}

static void
read_maximum(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	read_number(r, keyword, v, TDO_RULE_MAXIMUM);
}

static void
read_above(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	read_number(r, keyword, v, TDO_RULE_ABOVE);
}

static void
read_below(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	read_number(r, keyword, v, TDO_RULE_BELOW);
}

static void
read_multiple(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	Datum		number;
	char	   *digits;

	read_number(r, keyword, v, TDO_RULE_MULTIPLE);
	number = NumericGetDatum(v->val.numeric);
	if (numeric_is_nan(v->val.numeric) ||
		DatumGetInt32(DirectFunctionCall2(numeric_cmp, number, NumericGetDatum(int64_to_numeric(0)))) <= 0)
		tdo_build_refuse(r->node, keyword, "must be above 0", "For example 0.01.");
	/* a division by it must not take long */
	digits = DatumGetCString(DirectFunctionCall1(numeric_out, number));
	if (strlen(digits) > MAX_DIGITS)
		tdo_build_refuse(r->node, keyword, psprintf("has more than %d digits", MAX_DIGITS), "Use a smaller number, or one with fewer decimals.");
	pfree(digits);
}

static void
read_count(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	static const struct
	{
		const char *keyword;
		TdoRuleKind kind;
		int			applies;
	}			counts[] = {
		{"minLength", TDO_RULE_MIN_LENGTH, TDO_JSON_STRING}, {"maxLength", TDO_RULE_MAX_LENGTH, TDO_JSON_STRING},
		{"minItems", TDO_RULE_MIN_ITEMS, TDO_JSON_ARRAY}, {"maxItems", TDO_RULE_MAX_ITEMS, TDO_JSON_ARRAY},
		{"minProperties", TDO_RULE_MIN_PROPERTIES, TDO_JSON_OBJECT},
		{"maxProperties", TDO_RULE_MAX_PROPERTIES, TDO_JSON_OBJECT}
	};
	int64		count = tdo_read_count(r, keyword, v);

	for (int i = 0; i < lengthof(counts); i++)
	{
		if (strcmp(counts[i].keyword, keyword) == 0)
			tdo_add_rule(r, counts[i].kind, keyword, counts[i].applies)->u.count = count;
	}
}

static void
read_pattern(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	TdoPattern *pattern;
	TdoSchemaRule *rule;

	if (v->type != jbvString)
		tdo_build_refuse(r->node, keyword, "must be a string", "For example \"^[a-z]+$\".");
	pattern = tdo_read_pattern(r, keyword, tdo_text_of(v));
	rule = tdo_add_rule(r, TDO_RULE_PATTERN, keyword, TDO_JSON_STRING);
	rule->u.pattern = pattern;
	rule->source = tdo_text_of(v);
}

static void
read_required(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	int			n;
	TdoText    *names = tdo_read_strings(r, keyword, v, &n);
	TdoSchemaRule *rule = tdo_add_rule(r, TDO_RULE_REQUIRED, keyword, TDO_JSON_OBJECT);

	rule->n = n;
	rule->u.names = names;
}

/* property -> names; draft-07's "dependencies" has schemas among them */
static void
read_dependent_names(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, bool skip_others)
{
	JsonbIterator *it = JsonbIteratorInit(tdo_read_object(r, keyword, v));
	TdoSchemaRule *rule = tdo_add_rule(r, TDO_RULE_DEPENDENT_REQUIRED, keyword, TDO_JSON_OBJECT);
	JsonbIteratorToken tok;
	JsonbValue	e;

	rule->u.dependent = palloc(sizeof(TdoDependentNames) * JsonContainerSize(v->val.binary.data) + 1);
	while ((tok = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		TdoDependentNames *d = &rule->u.dependent[rule->n];

		tdo_build_spend(r->b, 1);
		if (tok != WJB_KEY)
			continue;
		d->name = tdo_text_of(&e);
		(void) JsonbIteratorNext(&it, &e, true);
		if (skip_others && !(e.type == jbvBinary && JsonContainerIsArray(e.val.binary.data)))
			continue;
		d->needs = tdo_read_strings(r, keyword, &e, &d->n);
		rule->n++;
	}
}

static void
read_dependent_required(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	read_dependent_names(r, keyword, v, false);
}

static void
add_dependent_schemas(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, bool skip_arrays)
{
	int			n;
	TdoNamedNode *named = tdo_read_named_schemas(r, keyword, v, &n, skip_arrays);
	TdoSchemaRule *rule = tdo_add_rule(r, TDO_RULE_DEPENDENT, keyword, TDO_JSON_OBJECT);

	rule->n = n;
	rule->u.named = named;
}

static void
read_dependent_schemas(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	add_dependent_schemas(r, keyword, v, false);
}

static void
read_dependencies(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	read_dependent_names(r, keyword, v, true);
	add_dependent_schemas(r, keyword, v, true);
}

/* properties, patternProperties and additionalProperties are one rule */
static void
read_properties(TdoSchemaReader *r)
{
	JsonbValue	v;
	TdoPropertiesRule *p = palloc0(sizeof(TdoPropertiesRule));
	TdoSchemaRule *rule;
	const char *keyword = "properties";

	if (tdo_build_get(r->object, "additionalProperties", &v))
	{
		keyword = "additionalProperties";
		p->rest = tdo_read_only_schema(r, keyword, &v);
	}
	if (tdo_build_get(r->object, "patternProperties", &v))
	{
		TdoNamedNode *named;

		keyword = "patternProperties";
		named = tdo_read_named_schemas(r, keyword, &v, &p->npatterns, false);
		p->patterns = palloc(sizeof(TdoPattern *) * p->npatterns + 1);
		p->pattern_nodes = palloc(sizeof(TdoSchemaNode *) * p->npatterns + 1);
		for (int i = 0; i < p->npatterns; i++)
		{
			p->patterns[i] = tdo_read_pattern(r, keyword, named[i].name);
			p->pattern_nodes[i] = named[i].node;
		}
		pfree(named);
	}
	if (tdo_build_get(r->object, "properties", &v))
	{
		keyword = "properties";
		p->named = tdo_read_named_schemas(r, keyword, &v, &p->nnamed, false);
	}
	if (p->rest == NULL && p->npatterns == 0 && p->nnamed == 0)
		return;
	rule = tdo_add_rule(r, TDO_RULE_PROPERTIES, keyword, TDO_JSON_OBJECT);
	rule->u.properties = p;
}

/* prefixItems and items, of draft-07 items and additionalItems, are one rule */
static void
read_items(TdoSchemaReader *r)
{
	bool		draft7 = r->node->resource->draft7;
	const char *prefix = draft7 ? "items" : "prefixItems";
	const char *rest = draft7 ? "additionalItems" : "items";
	TdoSchemaNode **nodes = NULL;
	TdoSchemaNode *rest_node = NULL;
	TdoSchemaRule *rule;
	JsonbValue	v;
	JsonbValue	other;
	int			n = 0;

	if (tdo_build_get(r->object, prefix, &v))
	{
		if (draft7 && !(v.type == jbvBinary && JsonContainerIsArray(v.val.binary.data)))
			rest = prefix;		/* a schema: for all items */
		else if (!draft7 || JsonContainerSize(v.val.binary.data) > 0)
			nodes = tdo_read_schemas(r, prefix, &v, &n);
	}
	if (tdo_build_get(r->object, rest, &v))
	{
		if (!draft7 && v.type == jbvBinary && JsonContainerIsArray(v.val.binary.data))
			tdo_build_refuse(r->node, "items", "must be a schema, not an array",
							 "In 2020-12 that is prefixItems; or say \"$schema\": \"http://json-schema.org/draft-07/schema#\".");
		/* draft-07: additionalItems means nothing without an array of items */
		if (!draft7 || rest == prefix || tdo_build_get(r->object, prefix, &other))
			rest_node = tdo_read_only_schema(r, rest, &v);
	}
	if (nodes == NULL && rest_node == NULL)
		return;
	rule = tdo_add_rule(r, TDO_RULE_ITEMS, rest, TDO_JSON_ARRAY);
	rule->n = n;
	rule->u.nodes = nodes;
	rule->rest = rest_node;
}

static void
read_contains(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	TdoSchemaNode *node = tdo_read_only_schema(r, keyword, v);
	bool		draft7 = r->node->resource->draft7;
	JsonbValue	c;
	int64		min = 1;
	int64		max = PG_INT64_MAX;
	TdoSchemaRule *rule;

	if (!draft7 && tdo_build_get(r->object, "minContains", &c))
		min = tdo_read_count(r, "minContains", &c);
	if (!draft7 && tdo_build_get(r->object, "maxContains", &c))
		max = tdo_read_count(r, "maxContains", &c);
	rule = tdo_add_rule(r, TDO_RULE_CONTAINS, keyword, TDO_JSON_ARRAY);
	rule->u.node = node;
	rule->min = min;
	rule->max = max;
}

static void
read_unique(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	if (v->type != jbvBool)
		tdo_build_refuse(r->node, keyword, "must be true or false", "For example true.");
	if (v->val.boolean)
		(void) tdo_add_rule(r, TDO_RULE_UNIQUE, keyword, TDO_JSON_ARRAY);
}

static void
read_names(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	TdoSchemaNode *node = tdo_read_only_schema(r, keyword, v);

	tdo_add_rule(r, TDO_RULE_NAMES, keyword, TDO_JSON_OBJECT)->u.node = node;
}

static void
read_reference(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	TdoPendingRef *ref;

	if (v->type != jbvString)
		tdo_build_refuse(r->node, keyword, "must be a string", "For example \"#/$defs/address\".");
	(void) tdo_add_rule(r, TDO_RULE_REF, keyword, TDO_JSON_ANY);
	ref = palloc(sizeof(TdoPendingRef));
	ref->from = r->node;
	ref->rule = NULL;			/* known when the node has all its rules */
	ref->keyword = keyword;
	ref->reference = tdo_build_string(v);
	ref->next = r->refs;
	r->refs = ref;
}

/* the rules stand still now */
static void
keep_references(TdoSchemaReader *r)
{
	while (r->refs)
	{
		TdoPendingRef *ref = r->refs;

		r->refs = ref->next;
		for (int i = 0; i < r->node->nrules; i++)
		{
			if (r->node->rules[i].keyword == ref->keyword)
				ref->rule = &r->node->rules[i];
		}
		ref->next = r->b->pending;
		r->b->pending = ref;
	}
}

static void
read_list(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	int			n;
	TdoSchemaNode **nodes = tdo_read_schemas(r, keyword, v, &n);
	TdoSchemaRule *rule = tdo_add_rule(r, keyword[1] == 'l' ? TDO_RULE_ALL : keyword[1] == 'n' && keyword[0] == 'a' ? TDO_RULE_ANY : TDO_RULE_ONE,
									   keyword, TDO_JSON_ANY);

	rule->n = n;
	rule->u.nodes = nodes;
}

static void
read_not(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	TdoSchemaNode *node = tdo_read_only_schema(r, keyword, v);

	tdo_add_rule(r, TDO_RULE_NOT, keyword, TDO_JSON_ANY)->u.node = node;
}

static void
read_if(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	TdoSchemaNode **nodes = palloc0(sizeof(TdoSchemaNode *) * 3);
	TdoSchemaRule *rule;
	JsonbValue	branch;

	nodes[0] = tdo_read_only_schema(r, keyword, v);
	if (tdo_build_get(r->object, "then", &branch))
		nodes[1] = tdo_read_only_schema(r, "then", &branch);
	if (tdo_build_get(r->object, "else", &branch))
		nodes[2] = tdo_read_only_schema(r, "else", &branch);
	rule = tdo_add_rule(r, TDO_RULE_IF, keyword, TDO_JSON_ANY);
	rule->n = 3;
	rule->u.nodes = nodes;
}

static void
read_unevaluated(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	TdoSchemaNode *node = tdo_read_only_schema(r, keyword, v);
	bool		items = strcmp(keyword, "unevaluatedItems") == 0;

	tdo_add_rule(r, items ? TDO_RULE_UNEVALUATED_ITEMS : TDO_RULE_UNEVALUATED_PROPERTIES, keyword,
				 items ? TDO_JSON_ARRAY : TDO_JSON_OBJECT)->u.node = node;
	r->node->tracks = true;
}

/* no rule comes of them, but they must be right, and references lead into them */
static void
read_definitions(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	int			n;

	pfree(tdo_read_named_schemas(r, keyword, v, &n, false));
}

/* nor of then and else without if */
static void
read_subschema(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	(void) tdo_read_only_schema(r, keyword, v);
}

static void
read_string(TdoSchemaReader *r, const char *keyword, const JsonbValue *v)
{
	if (v->type != jbvString)
		tdo_build_refuse(r->node, keyword, "must be a string", "See docs/PAYLOAD-SCHEMA.md.");
}

#define BOTH	0
#define NEWER	1				/* than draft-07 */

/* in the order in which rules are checked */
static const struct
{
	const char *keyword;
	int			dialect;
	void		(*read) (TdoSchemaReader *r, const char *keyword, const JsonbValue *v);
}			keywords[] = {
	{"$comment", BOTH, read_string}, {"title", BOTH, read_string}, {"description", BOTH, read_string},
	{"format", BOTH, read_string},
	{"$defs", NEWER, read_definitions}, {"definitions", BOTH, read_definitions},
	{"then", BOTH, read_subschema}, {"else", BOTH, read_subschema}, {"contentSchema", NEWER, read_subschema},
	{"type", BOTH, read_type}, {"enum", BOTH, read_enum}, {"const", BOTH, read_const},
	{"minimum", BOTH, read_minimum}, {"maximum", BOTH, read_maximum},
	{"exclusiveMinimum", BOTH, read_above}, {"exclusiveMaximum", BOTH, read_below},
	{"multipleOf", BOTH, read_multiple},
	{"minLength", BOTH, read_count}, {"maxLength", BOTH, read_count},
	{"pattern", BOTH, read_pattern},
	{"minProperties", BOTH, read_count}, {"maxProperties", BOTH, read_count},
	{"minItems", BOTH, read_count}, {"maxItems", BOTH, read_count},
	{"required", BOTH, read_required}, {"dependentRequired", NEWER, read_dependent_required},
	{"propertyNames", BOTH, read_names},
	{"uniqueItems", BOTH, read_unique}, {"contains", BOTH, read_contains},
	{"$ref", BOTH, read_reference}, {"$dynamicRef", NEWER, read_reference},
	{"allOf", BOTH, read_list}, {"anyOf", BOTH, read_list}, {"oneOf", BOTH, read_list},
	{"not", BOTH, read_not}, {"if", BOTH, read_if},
	{"dependentSchemas", NEWER, read_dependent_schemas}, {"dependencies", BOTH, read_dependencies},
	/* last: they are about what nothing else was */
	{"unevaluatedProperties", NEWER, read_unevaluated}, {"unevaluatedItems", NEWER, read_unevaluated}
};

void
tdo_build_read(TdoSchemaBuild *b, TdoSchemaNode *node, const JsonbContainer *object)
{
	TdoSchemaReader reader = {0};
	TdoSchemaReader *r = &reader;
	bool		draft7 = node->resource->draft7;
	JsonbValue	v;
	bool		walked = false;

	r->b = b;
	r->node = node;
	r->object = object;
	/* in draft-07 nothing counts beside $ref */
	if (draft7 && tdo_build_get(r->object, "$ref", &v))
		read_reference(r, "$ref", &v);
	else
	{
		for (int i = 0; i < lengthof(keywords); i++)
		{
			/*
			 * these go into the value: after what can be said of it as a
			 * whole
			 */
			if (!walked && keywords[i].read == read_reference)
			{
				read_properties(r);
				read_items(r);
				walked = true;
			}
			if ((keywords[i].dialect == BOTH || !draft7) &&
				tdo_build_get(r->object, keywords[i].keyword, &v))
				keywords[i].read(r, keywords[i].keyword, &v);
		}
	}
	keep_references(r);
}
