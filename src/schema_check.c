/*-------------------------------------------------------------------------
 *
 * schema_check.c
 *	  Does a value fit a schema?
 *
 * Job: go through the rules and the value together, both as they lie in memory; stop
 * at the first rule that is broken and say where. What a rule costs is taken from a
 * number of steps, so that no schema and value keep a backend for long.
 * Called by: payload.c.
 * Locks: none.
 * Crash: pure functions over memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "compat.h"
#include "schema_rules.h"

/* the resources on the way here, for $dynamicRef */
typedef struct Scope
{
	const struct Scope *outer;
	const TdoSchemaResource *resource;
} Scope;

/* which properties or items of a value some rule has looked at */
typedef struct Seen
{
	int			n;
	uint8	   *bits;
} Seen;

static bool check_node(TdoCheck *c, const TdoSchemaNode *node, TdoValue *value, const Scope *scope, Seen *seen);

/* ------------------------------------------------------- what has been seen */

static void
begin_seen(TdoCheck *c, Seen *seen, const TdoValue *value)
{
	seen->n = JsonContainerSize(tdo_container_of(value));
	/* (8 bytes a step, for many may be there at once) */
	tdo_check_spend(c, 1 + seen->n / 64);
	seen->bits = palloc0(seen->n / 8 + 1);
}

static void
mark(Seen *seen, int i)
{
	if (seen)
		seen->bits[i / 8] |= 1 << (i % 8);
}

static void
merge_seen(TdoCheck *c, Seen *into, const Seen *from)
{
	tdo_check_spend(c, 1 + from->n / 512);
	for (int i = 0; i <= from->n / 8; i++)
		into->bits[i] |= from->bits[i];
}

/* an alternative: what it has seen counts only if it fits */
static bool
check_alternative(TdoCheck *c, const TdoSchemaNode *node, TdoValue *value, const Scope *scope, Seen *seen)
{
	Seen		branch;
	bool		fits;

	if (seen)
		begin_seen(c, &branch, value);
	c->quiet++;
	fits = check_node(c, node, value, scope, seen ? &branch : NULL);
	c->quiet--;
	if (seen)
	{
		if (fits)
			merge_seen(c, seen, &branch);
		pfree(branch.bits);
	}
	return fits;
}

/* ------------------------------------------------------------------ objects */

static bool
has_property(TdoCheck *c, const TdoValue *value, TdoText name)
{
	JsonbContainer *object = tdo_container_of(value);
	JsonbValue	found;

	/* (it is a binary search) */
	tdo_check_spend(c, 1 + name.len / 256 + pg_leftmost_one_pos32(Max(JsonContainerSize(object), 1)) / 2);
	return getKeyJsonValueFromContainer(object, name.s, name.len, &found) != NULL;
}

/* jsonb's order of keys */
static int
compare_names(TdoText a, TdoText b)
{
	if (a.len != b.len)
		return a.len < b.len ? -1 : 1;
	return memcmp(a.s, b.s, a.len);
}

static bool
check_required(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value,
			   const TdoText *names, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (!has_property(c, value, names[i]))
			return TDO_FAIL(c, node, rule, value, "must have a property \"%.*s\"", tdo_text_clip(names[i], 200), names[i].s);
	}
	return true;
}

static bool
check_dependent_names(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value)
{
	for (int i = 0; i < rule->n; i++)
	{
		const TdoDependentNames *d = &rule->u.dependent[i];

		if (has_property(c, value, d->name) && !check_required(c, node, rule, value, d->needs, d->n))
			return false;
	}
	return true;
}

static bool
check_dependent(TdoCheck *c, const TdoSchemaRule *rule, TdoValue *value, const Scope *scope, Seen *seen)
{
	for (int i = 0; i < rule->n; i++)
	{
		if (has_property(c, value, rule->u.named[i].name) &&
			!check_node(c, rule->u.named[i].node, value, scope, seen))
			return false;
	}
	return true;
}

/* one property, by whatever is said of it; *known: something is */
static bool
check_property(TdoCheck *c, const TdoPropertiesRule *p, TdoSchemaNode *named, TdoValue *property,
			   const Scope *scope, bool *known)
{
	*known = named != NULL;
	if (named && !check_node(c, named, property, scope, NULL))
		return false;
	for (int i = 0; i < p->npatterns; i++)
	{
		bool		matches = tdo_pattern_matches(p->patterns[i], property->key.s, property->key.len, &c->steps);

		tdo_check_spend(c, 1);
		if (!matches)
			continue;
		*known = true;
		if (!check_node(c, p->pattern_nodes[i], property, scope, NULL))
			return false;
	}
	if (*known || p->rest == NULL)
		return true;
	*known = true;
	return check_node(c, p->rest, property, scope, NULL);
}

/* both sides have jsonb's order of keys, so one walk will do */
static bool
check_properties(TdoCheck *c, const TdoPropertiesRule *p, const TdoValue *value, const Scope *scope, Seen *seen)
{
	JsonbIterator *it = JsonbIteratorInit(tdo_container_of(value));
	bool		all = p->npatterns > 0 || p->rest != NULL;
	JsonbIteratorToken tok;
	JsonbValue	v;
	int			i = -1;
	int			next = 0;

	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		TdoValue	property = {0};
		TdoSchemaNode *named = NULL;
		bool		known;
		int			cmp = -1;
		int64		passed = 0;

		if (tok != WJB_KEY)
			continue;
		i++;
		property.parent = value;
		property.key.s = v.val.string.val;
		property.key.len = v.val.string.len;
		(void) JsonbIteratorNext(&it, &v, true);
		while (next < p->nnamed && (cmp = compare_names(p->named[next].name, property.key)) < 0)
			passed += 1 + p->named[next++].name.len / 32;
		tdo_check_spend(c, 1 + property.key.len / 256 + passed / 8);
		if (next < p->nnamed && cmp == 0)
			named = p->named[next].node;
		else if (next == p->nnamed && !all)
		{
			tdo_end_walk(it);
			break;
		}
		else if (!all)
			continue;
		tdo_check_look_at(c, &property, &v);
		if (!check_property(c, p, named, &property, scope, &known))
		{
			tdo_end_walk(it);
			return false;
		}
		if (known)
			mark(seen, i);
	}
	return true;
}

static bool
check_names(TdoCheck *c, const TdoSchemaNode *node, const TdoValue *value, const Scope *scope)
{
	JsonbIterator *it = JsonbIteratorInit(tdo_container_of(value));
	JsonbIteratorToken tok;
	JsonbValue	v;

	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		TdoValue	name = {0};

		if (tok != WJB_KEY)
			continue;
		tdo_check_spend(c, 1);
		name.parent = value;
		name.key.s = v.val.string.val;
		name.key.len = v.val.string.len;
		tdo_check_look_at(c, &name, &v);
		if (!check_node(c, node, &name, scope, NULL))
		{
			tdo_end_walk(it);
			return false;
		}
	}
	return true;
}

/* ------------------------------------------------------------------- arrays */

static bool
check_items(TdoCheck *c, const TdoSchemaRule *rule, const TdoValue *value, const Scope *scope, Seen *seen)
{
	JsonbIterator *it = JsonbIteratorInit(tdo_container_of(value));
	JsonbIteratorToken tok;
	JsonbValue	v;
	int			i = -1;

	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		TdoValue	item = {0};
		const TdoSchemaNode *node;

		if (tok != WJB_ELEM)
			continue;
		i++;
		node = i < rule->n ? rule->u.nodes[i] : rule->rest;
		if (node == NULL)
		{
			tdo_end_walk(it);
			break;
		}
		item.parent = value;
		item.index = i;
		tdo_check_look_at(c, &item, &v);
		if (!check_node(c, node, &item, scope, NULL))
		{
			tdo_end_walk(it);
			return false;
		}
		mark(seen, i);
	}
	return true;
}

static bool
check_contains(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value,
			   const Scope *scope, Seen *seen)
{
	JsonbIterator *it = JsonbIteratorInit(tdo_container_of(value));
	JsonbIteratorToken tok;
	JsonbValue	v;
	int64		n = 0;
	int			i = -1;

	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		TdoValue	item = {0};
		bool		fits;

		if (tok != WJB_ELEM)
			continue;
		i++;
		tdo_check_spend(c, 1);
		item.parent = value;
		item.index = i;
		tdo_check_look_at(c, &item, &v);
		c->quiet++;
		fits = check_node(c, rule->u.node, &item, scope, NULL);
		c->quiet--;
		if (!fits)
			continue;
		n++;
		mark(seen, i);
		if (n > rule->max || (n >= rule->min && rule->max == PG_INT64_MAX && seen == NULL))
		{
			tdo_end_walk(it);
			break;
		}
	}
	if (n > rule->max)
		return TDO_FAIL(c, node, rule, value, "must have at most " INT64_FORMAT " items that fit", rule->max);
	return n >= rule->min ||
		TDO_FAIL(c, node, rule, value, "must have at least " INT64_FORMAT " items that fit", rule->min);
}

/* -------------------------------------------------------------- combinations */

static bool
check_list(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, TdoValue *value,
		   const Scope *scope, Seen *seen)
{
	int			fitting = 0;

	for (int i = 0; i < rule->n; i++)
	{
		if (rule->kind == TDO_RULE_ALL)
		{
			if (!check_node(c, rule->u.nodes[i], value, scope, seen))
				return false;
			continue;
		}
		if (!check_alternative(c, rule->u.nodes[i], value, scope, seen))
			continue;
		fitting++;
		if (rule->kind == TDO_RULE_ONE && fitting > 1)
			return TDO_FAIL(c, node, rule, value, "must fit only one of %d schemas", rule->n);
		if (rule->kind == TDO_RULE_ANY && seen == NULL)
			break;
	}
	return rule->kind == TDO_RULE_ALL || fitting > 0 ||
		TDO_FAIL(c, node, rule, value, "must fit one of %d schemas", rule->n);
}

/* what a reference names; with an anchor it depends on the way here: the outermost has it */
static const TdoSchemaNode *
target(TdoCheck *c, const TdoSchemaRule *rule, const Scope *scope)
{
	const TdoSchemaNode *node = rule->u.node;

	for (; rule->anchor && scope; scope = scope->outer)
	{
		tdo_check_spend(c, 1);
		if (scope->resource == NULL)
			continue;
		for (const TdoSchemaAnchor *a = scope->resource->anchors; a; a = a->next)
		{
			tdo_check_spend(c, 1 + rule->n / 256);
			if (a->dynamic && strcmp(a->name, rule->anchor) == 0)
				node = a->node;
		}
	}
	return node;
}

/* what no rule has looked at */
static bool
check_unevaluated(TdoCheck *c, const TdoSchemaNode *node, const TdoValue *value, const Scope *scope, Seen *seen)
{
	JsonbIterator *it = JsonbIteratorInit(tdo_container_of(value));
	JsonbIteratorToken tok;
	JsonbValue	v;
	int			i = -1;

	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		TdoValue	child = {0};

		if (tok != WJB_KEY && tok != WJB_ELEM)
			continue;
		i++;
		tdo_check_spend(c, 1);
		child.parent = value;
		child.index = i;
		if (tok == WJB_KEY)
		{
			child.key.s = v.val.string.val;
			child.key.len = v.val.string.len;
			(void) JsonbIteratorNext(&it, &v, true);
		}
		if ((seen->bits[i / 8] & (1 << (i % 8))) != 0)
			continue;
		tdo_check_look_at(c, &child, &v);
		if (!check_node(c, node, &child, scope, NULL))
		{
			tdo_end_walk(it);
			return false;
		}
		mark(seen, i);
	}
	return true;
}

static bool
check_rule(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, TdoValue *value,
		   const Scope *scope, Seen *seen)
{
	switch (rule->kind)
	{
		case TDO_RULE_TYPE:
			return TDO_FAIL(c, node, rule, value, "must be %s, not %s", tdo_type_names(rule->u.types), tdo_type_name(value->type));
		case TDO_RULE_ENUM:
		case TDO_RULE_CONST:
			return tdo_check_equal(c, node, rule, value);
		case TDO_RULE_MINIMUM:
		case TDO_RULE_MAXIMUM:
		case TDO_RULE_ABOVE:
		case TDO_RULE_BELOW:
		case TDO_RULE_MULTIPLE:
			return tdo_check_number(c, node, rule, value);
		case TDO_RULE_MIN_LENGTH:
		case TDO_RULE_MAX_LENGTH:
		case TDO_RULE_PATTERN:
			return tdo_check_string(c, node, rule, value);
		case TDO_RULE_MIN_PROPERTIES:
		case TDO_RULE_MAX_PROPERTIES:
		case TDO_RULE_MIN_ITEMS:
		case TDO_RULE_MAX_ITEMS:
			return tdo_check_size(c, node, rule, value);
		case TDO_RULE_REQUIRED:
			return check_required(c, node, rule, value, rule->u.names, rule->n);
		case TDO_RULE_DEPENDENT_REQUIRED:
			return check_dependent_names(c, node, rule, value);
		case TDO_RULE_PROPERTIES:
			return check_properties(c, rule->u.properties, value, scope, seen);
		case TDO_RULE_NAMES:
			return check_names(c, rule->u.node, value, scope);
		case TDO_RULE_DEPENDENT:
			return check_dependent(c, rule, value, scope, seen);
		case TDO_RULE_UNIQUE:
			return tdo_check_unique(c, node, rule, value);
		case TDO_RULE_ITEMS:
			return check_items(c, rule, value, scope, seen);
		case TDO_RULE_CONTAINS:
			return check_contains(c, node, rule, value, scope, seen);
		case TDO_RULE_REF:
			return check_node(c, target(c, rule, scope), value, scope, seen);
		case TDO_RULE_ALL:
		case TDO_RULE_ANY:
		case TDO_RULE_ONE:
			return check_list(c, node, rule, value, scope, seen);
		case TDO_RULE_NOT:
			return !check_alternative(c, rule->u.node, value, scope, NULL) ||
				TDO_FAIL(c, node, rule, value, "must not fit a schema that it fits");
		case TDO_RULE_IF:
			{
				const TdoSchemaNode *branch = rule->u.nodes[check_alternative(c, rule->u.nodes[0], value, scope, seen) ? 1 : 2];

				return branch == NULL || check_node(c, branch, value, scope, seen);
			}
		case TDO_RULE_UNEVALUATED_PROPERTIES:
		case TDO_RULE_UNEVALUATED_ITEMS:
			return check_unevaluated(c, rule->u.node, value, scope, seen);
	}
	return true;
}

static bool
check_rules(TdoCheck *c, const TdoSchemaNode *node, TdoValue *value, const Scope *scope, Seen *seen)
{
	for (int i = 0; i < node->nrules; i++)
	{
		const TdoSchemaRule *rule = &node->rules[i];

		if ((rule->applies & value->type) != 0 && !check_rule(c, node, rule, value, scope, seen))
			return false;
	}
	return true;
}

static bool
check_node(TdoCheck *c, const TdoSchemaNode *node, TdoValue *value, const Scope *scope, Seen *seen)
{
	Scope		entered = {scope, node->resource};
	Seen		own;
	bool		fits;

	check_stack_depth();
	tdo_check_spend(c, 1);
	if (node->never)
		return c->quiet ? false : tdo_check_fail(c, node, NULL, value, pstrdup("must not be there"));
	/* $dynamicRef can go around where compilation saw no circle */
	if (++value->depth > (int64) c->schema->nnodes * (c->schema->nresources + 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("payload_schema refers to itself without going into the payload"),
				 errdetail("At \"%s\".", tdo_schema_place(node)),
				 errhint("Refer to itself only from properties, items and the like.")));
	if (scope == NULL || scope->resource != node->resource)
		scope = &entered;
	if (node->tracks && (value->type == TDO_JSON_ARRAY || value->type == TDO_JSON_OBJECT))
	{
		begin_seen(c, &own, value);
		fits = check_rules(c, node, value, scope, &own);
		if (fits && seen)
			merge_seen(c, seen, &own);
		pfree(own.bits);
	}
	else
		fits = check_rules(c, node, value, scope, seen);
	value->depth--;
	return fits;
}

bool
tdo_schema_check(const TdoSchema *schema, Jsonb *payload, TdoSchemaFault *fault)
{
	TdoCheck	c = {schema, TDO_SCHEMA_STEPS, 0, fault};
	TdoValue	value = {0};
	JsonbValue	v;

	v.type = jbvBinary;
	v.val.binary.data = &payload->root;
	v.val.binary.len = VARSIZE(payload) - VARHDRSZ;
	if (JB_ROOT_IS_SCALAR(payload))
		(void) JsonbExtractScalar(&payload->root, &v);
	tdo_check_look_at(&c, &value, &v);
	return check_node(&c, schema->root, &value, NULL, NULL);
}
