/*-------------------------------------------------------------------------
 *
 * schema_refs.c
 *	  What JSON Schemas refer to: $id, $anchor, $ref, $dynamicRef.
 *
 * Job: keep the resources of a schema and their anchors, and find what references
 * name, all within the schema: nothing is ever fetched. Refuse references that come
 * back to where they began without going into the value.
 * Called by: schema_compile.c.
 * Locks: none.
 * Crash: pure functions over memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "schema_build.h"

JsonbValue *
tdo_build_get(const JsonbContainer *object, const char *key, JsonbValue *v)
{
	return getKeyJsonValueFromContainer(unconstify(JsonbContainer *, object), key, strlen(key), v);
}

char *
tdo_build_string(const JsonbValue *v)
{
	return pnstrdup(v->val.string.val, v->val.string.len);
}

/* ---------------------------------------------------------------------- URIs */

/* the length of "scheme:", 0: none */
static int
scheme_length(const char *uri)
{
	int			n = strcspn(uri, ":/?#");

	return n > 0 && uri[n] == ':' ? n + 1 : 0;
}

/* where the path begins */
static int
path_start(const char *uri)
{
	int			n = scheme_length(uri);

	if (uri[n] == '/' && uri[n + 1] == '/')
		n += 2 + strcspn(uri + n + 2, "/?#");
	return n;
}

/* "a/./b/../c" is "a/c" (RFC 3986, 5.2.4); in place, from a slash on */
static void
remove_dots(char *path)
{
	char	   *in = path;
	char	   *out = path;

	while (*in)
	{
		int			n = 1 + strcspn(in + 1, "/");

		if (n == 2 && in[1] == '.')
		{
			in += n;
			if (*in == '\0')
				*out++ = '/';
			continue;
		}
		if (n == 3 && in[1] == '.' && in[2] == '.')
		{
			while (out > path && *--out != '/')
				;
			in += n;
			if (*in == '\0')
				*out++ = '/';
			continue;
		}
		memmove(out, in, n);
		out += n;
		in += n;
	}
	*out = '\0';
}

/* a reference without its fragment, absolute by a base */
static char *
resolve_uri(const char *base, const char *reference)
{
	char	   *uri;
	int			start = path_start(base);
	int			path = start;

	if (scheme_length(reference) > 0)
		return pstrdup(reference);
	if (reference[0] == '\0')
		return pstrdup(base);
	if (reference[0] == '/' && reference[1] == '/')
		return psprintf("%.*s%s", scheme_length(base), base, reference);
	if (reference[0] != '/')
	{
		int			end = start + strcspn(base + start, "?#");

		for (path = end; path > start && base[path - 1] != '/'; path--)
			;
	}
	uri = psprintf("%.*s%s%s", path, base,
				   path == start && start > scheme_length(base) && reference[0] != '/' ? "/" : "", reference);
	if (uri[start] == '/' && strpbrk(uri, "?#") == NULL)
		remove_dots(uri + start);
	return uri;
}

/* cuts the fragment off; "" when there is none; percent escapes of it are undone */
static char *
split_fragment(char *reference)
{
	char	   *fragment = strchr(reference, '#');
	char	   *out;

	if (fragment == NULL)
		return reference + strlen(reference);
	*fragment++ = '\0';
	out = fragment;
	for (char *in = fragment; *in; in++)
	{
		unsigned int c;

		if (in[0] == '%' && isxdigit((unsigned char) in[1]) && isxdigit((unsigned char) in[2]) &&
			sscanf(in + 1, "%2x", &c) == 1 && c != 0)
		{
			*out++ = (char) c;
			in += 2;
		}
		else
			*out++ = *in;
	}
	*out = '\0';
	return fragment;
}

/* ------------------------------------------------------- resources, anchors */

static TdoSchemaResource *
find_resource(TdoSchemaBuild *b, const char *uri)
{
	for (TdoSchemaResource *r = b->resources; r; r = r->next)
	{
		tdo_build_spend(b, 1);
		if (strcmp(r->uri, uri) == 0)
			return r;
	}
	return NULL;
}

static TdoSchemaAnchor *
find_anchor(TdoSchemaBuild *b, TdoSchemaResource *resource, const char *name)
{
	for (TdoSchemaAnchor *a = resource->anchors; a; a = a->next)
	{
		tdo_build_spend(b, 1);
		if (strcmp(a->name, name) == 0)
			return a;
	}
	return NULL;
}

static void
add_anchor(TdoSchemaBuild *b, TdoSchemaNode *node, const char *keyword, const char *name, bool dynamic)
{
	TdoSchemaAnchor *a = find_anchor(b, node->resource, name);

	if (name[0] == '\0' || strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789-.") != strlen(name) ||
		strchr("0123456789-.", name[0]))
		tdo_build_refuse(node, keyword, "is not a name of letters, digits, \"-\", \"_\" and \".\"",
						 "For example \"address\".");
	if (a && a->node != node)
		tdo_build_refuse(node, keyword, "is the name of another part, too", "Choose another name.");
	a = palloc(sizeof(TdoSchemaAnchor));
	a->name = name;
	a->dynamic = dynamic;
	a->node = node;
	a->next = node->resource->anchors;
	node->resource->anchors = a;
}

static const char *
string_keyword(TdoSchemaNode *node, const JsonbContainer *object, const char *keyword)
{
	JsonbValue	v;

	if (tdo_build_get(object, keyword, &v) == NULL)
		return NULL;
	if (v.type != jbvString)
		tdo_build_refuse(node, keyword, "must be a string", "See docs/PAYLOAD-SCHEMA.md.");
	return tdo_build_string(&v);
}

/* of $schema; the one around it holds where there is none */
static bool
is_draft7(TdoSchemaNode *node, const JsonbContainer *object, bool around)
{
	const char *dialect = string_keyword(node, object, "$schema");

	if (dialect == NULL)
		return around;
	if (strcmp(dialect, "https://json-schema.org/draft/2020-12/schema") == 0 ||
		strcmp(dialect, "https://json-schema.org/draft/2020-12/schema#") == 0)
		return false;
	if (strcmp(dialect, "http://json-schema.org/draft-07/schema#") == 0 ||
		strcmp(dialect, "http://json-schema.org/draft-07/schema") == 0)
		return true;
	tdo_build_refuse(node, "$schema", "names a dialect that is not supported",
					 "Leave it out, or use \"https://json-schema.org/draft/2020-12/schema\" or \"http://json-schema.org/draft-07/schema#\".");
}

TdoSchemaResource *
tdo_build_enter(TdoSchemaBuild *b, TdoSchemaNode *node, const JsonbContainer *object)
{
	TdoSchemaResource *around = node->resource;
	bool		draft7 = is_draft7(node, object, around && around->draft7);
	JsonbValue	v;
	const char *id = string_keyword(node, object, "$id");
	const char *name;
	char	   *uri = NULL;

	/* in draft-07 nothing counts beside $ref */
	if (draft7 && around && tdo_build_get(object, "$ref", &v))
		return around;
	if (id)
	{
		uri = pstrdup(id);
		name = split_fragment(uri);
		if (name[0] != '\0' && !draft7)
			tdo_build_refuse(node, "$id", "must have no fragment", "Use $anchor to name a part of a schema.");
		uri = uri[0] ? resolve_uri(around ? around->uri : "", uri) : NULL;
	}
	if (uri || around == NULL)
	{
		TdoSchemaResource *r;

		if (uri && find_resource(b, uri) != NULL)
			tdo_build_refuse(node, "$id", "is the identifier of another part, too", "Choose another one.");
		r = palloc0(sizeof(TdoSchemaResource));
		r->uri = uri ? uri : "";
		r->draft7 = draft7;
		r->container = object;
		r->node = node;
		if (b->last)
			b->last->next = r;
		else
			b->resources = r;
		b->last = r;
		b->nresources++;
		node->resource = r;
	}
	if (id && draft7 && strchr(id, '#') && strchr(id, '#')[1])
		add_anchor(b, node, "$id", strchr(id, '#') + 1, false);
	if (!draft7 && (name = string_keyword(node, object, "$anchor")) != NULL)
		add_anchor(b, node, "$anchor", name, false);
	if (!draft7 && (name = string_keyword(node, object, "$dynamicAnchor")) != NULL)
		add_anchor(b, node, "$dynamicAnchor", name, true);
	return node->resource;
}

/* --------------------------------------------------------------- references */

/* one token of a JSON Pointer, unescaped in place; *rest is what follows */
static char *
next_token(char *pointer, char **rest)
{
	char	   *end = pointer + strcspn(pointer, "/");
	char	   *out = pointer;

	*rest = *end ? end + 1 : NULL;
	*end = '\0';
	for (char *in = pointer; *in; in++)
	{
		if (in[0] == '~' && (in[1] == '0' || in[1] == '1'))
			*out++ = *++in == '0' ? '~' : '/';
		else
			*out++ = *in;
	}
	*out = '\0';
	return pointer;
}

static bool
step_into(JsonbValue *v, const char *token)
{
	JsonbContainer *container = v->val.binary.data;
	JsonbValue *found = NULL;

	if (v->type != jbvBinary)
		return false;
	if (JsonContainerIsObject(container))
		return tdo_build_get(container, token, v) != NULL;
	if (token[0] && strlen(token) < 9 && strspn(token, "0123456789") == strlen(token))
		found = getIthJsonbValueFromContainer(container, atoi(token));
	if (found)
		*v = *found;
	return found != NULL;
}

static TdoSchemaNode *
node_at(TdoSchemaBuild *b, const TdoPendingRef *ref, TdoSchemaResource *resource, const char *pointer)
{
	JsonbValue	v;
	char	   *rest = pstrdup(pointer + 1);
	TdoText		place = tdo_text(psprintf("%s%s", resource->uri[0] ? psprintf("%s#", resource->uri) : "", pointer));

	v.type = jbvBinary;
	v.val.binary.data = unconstify(JsonbContainer *, resource->container);
	v.val.binary.len = 0;
	while (rest)
	{
		char	   *token = next_token(rest, &rest);
		TdoNodeEntry *entry;

		tdo_build_spend(b, 1 + strlen(token) / 64);
		if (!step_into(&v, token))
			tdo_build_refuse(ref->from, ref->rule->keyword, psprintf("\"%s\" names nothing in the schema", ref->reference),
							 "A JSON Pointer goes from the root of the schema, as \"#/$defs/address\".");
		if (v.type == jbvBinary &&
			(entry = hash_search(b->nodes, &v.val.binary.data, HASH_FIND, NULL)) != NULL)
			resource = entry->node->resource;
	}
	return tdo_build_node(b, NULL, place, tdo_text(NULL), -1, resource, &v);
}

static void
resolve(TdoSchemaBuild *b, TdoPendingRef *ref)
{
	char	   *uri = pstrdup(ref->reference);
	char	   *fragment = split_fragment(uri);
	TdoSchemaResource *resource = ref->from->resource;
	TdoSchemaAnchor *anchor;

	if (uri[0])
		resource = find_resource(b, resolve_uri(resource->uri, uri));
	if (resource == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("invalid payload_schema: \"%s\" at \"%s\" refers to another document",
						ref->rule->keyword, tdo_schema_place(ref->from)),
				 errdetail("The reference is \"%s\". No part of the schema has that $id.", ref->reference),
				 errhint("Nothing is fetched: put that document into $defs of this one, with its $id.")));
	if (fragment[0] == '\0')
		ref->rule->u.node = resource->node;
	else if (fragment[0] == '/')
		ref->rule->u.node = node_at(b, ref, resource, fragment);
	else
	{
		anchor = find_anchor(b, resource, fragment);
		if (anchor == NULL)
			tdo_build_refuse(ref->from, ref->rule->keyword, psprintf("\"%s\" names nothing in the schema", ref->reference),
							 "A part is named by \"$anchor\", or by its place, as \"#/$defs/address\".");
		ref->rule->u.node = anchor->node;
		/* what is found then depends on the way to it */
		if (anchor->dynamic && strcmp(ref->rule->keyword, "$dynamicRef") == 0)
		{
			ref->rule->anchor = anchor->name;
			ref->rule->n = strlen(anchor->name);
		}
	}
}

void
tdo_build_resolve(TdoSchemaBuild *b)
{
	while (b->pending)
	{
		TdoPendingRef *ref = b->pending;

		tdo_build_spend(b, 1);
		b->pending = ref->next;
		resolve(b, ref);
	}
}

/* ------------------------------------------------------------------- cycles */

#define WHITE	0
#define GREY	1
#define BLACK	2

void
tdo_build_check_cycles(TdoSchemaNode *node)
{
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (node->colour == BLACK)
		return;
	if (node->colour == GREY)
		tdo_build_refuse(node, NULL, "refers to itself without going into the value, so it would never end",
						 "Refer to itself only from properties, items and the like.");
	node->colour = GREY;
	for (int i = 0; i < node->nrules; i++)
	{
		TdoSchemaRule *rule = &node->rules[i];

		switch (rule->kind)
		{
			case TDO_RULE_REF:
			case TDO_RULE_NOT:
				tdo_build_check_cycles(rule->u.node);
				break;
			case TDO_RULE_ALL:
			case TDO_RULE_ANY:
			case TDO_RULE_ONE:
			case TDO_RULE_IF:
				for (int j = 0; j < rule->n; j++)
				{
					if (rule->u.nodes[j])
						tdo_build_check_cycles(rule->u.nodes[j]);
				}
				break;
			case TDO_RULE_DEPENDENT:
				for (int j = 0; j < rule->n; j++)
					tdo_build_check_cycles(rule->u.named[j].node);
				break;
			default:
				break;
		}
	}
	node->colour = BLACK;
}
