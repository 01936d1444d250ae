/*-------------------------------------------------------------------------
 *
 * schema_build.h
 *	  A schema that is being compiled: what its parts share.
 *
 * All of it lives in the context the schema is compiled in, but for `nodes`, which
 * the compilation drops at its end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_SCHEMA_BUILD_H
#define TDO_SCHEMA_BUILD_H

#include "postgres.h"

#include "utils/hsearch.h"

#include "compat.h"
#include "schema.h"

typedef struct TdoPendingRef
{
	struct TdoPendingRef *next;
	TdoSchemaNode *from;
	TdoSchemaRule *rule;		/* u.node is to be filled */
	const char *keyword;
	const char *reference;
} TdoPendingRef;

typedef struct TdoSchemaBuild
{
	MemoryContext context;
	const Jsonb *schema;
	HTAB	   *nodes;			/* of objects, by the address of their
								 * container */
	TdoSchemaResource *resources;	/* the first is the schema itself */
	TdoSchemaResource *last;
	TdoPendingRef *pending;
	TdoSchemaNode *all;
	int			nnodes;
	int			nresources;
	int64		steps;			/* left */
} TdoSchemaBuild;

typedef struct TdoNodeEntry
{
	const JsonbContainer *container;
	TdoSchemaNode *node;
} TdoNodeEntry;

/* pays, heeds interrupts and the limit on memory */
extern void tdo_build_spend(TdoSchemaBuild *b, int64 steps);

/* ERROR 22023: the schema is wrong there, in that keyword (NULL: as a whole) */
pg_noreturn extern void tdo_build_refuse(const TdoSchemaNode *node, const char *keyword,
										 const char *reason, const char *hint);

/*
 * The node of a subschema, compiled unless it has been. `parent` NULL: found by a
 * reference, and `keyword` is its JSON Pointer.
 */
extern TdoSchemaNode *tdo_build_node(TdoSchemaBuild *b, TdoSchemaNode *parent, TdoText keyword,
									 TdoText key, int index, TdoSchemaResource *resource,
									 const JsonbValue *value);

/* ---- schema_parts.c: the value of a keyword, or ERROR 22023 that it is none */

/* the node whose keywords are read */
typedef struct TdoSchemaReader
{
	TdoSchemaBuild *b;
	TdoSchemaNode *node;
	const JsonbContainer *object;
	int			room;			/* for rules */
	TdoPendingRef *refs;		/* of this node */
} TdoSchemaReader;

static inline TdoText
tdo_text_of(const JsonbValue *v)
{
	TdoText		t = {v->val.string.val, v->val.string.len};

	return t;
}

extern JsonbContainer *tdo_read_array(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, bool nonempty);
extern JsonbContainer *tdo_read_object(TdoSchemaReader *r, const char *keyword, const JsonbValue *v);
extern TdoSchemaNode *tdo_read_schema(TdoSchemaReader *r, const char *keyword, TdoText key, int index, const JsonbValue *v);
extern TdoSchemaNode *tdo_read_only_schema(TdoSchemaReader *r, const char *keyword, const JsonbValue *v);
extern TdoSchemaNode **tdo_read_schemas(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, int *n);
extern TdoNamedNode *tdo_read_named_schemas(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, int *n, bool skip_arrays);
extern TdoText *tdo_read_strings(TdoSchemaReader *r, const char *keyword, const JsonbValue *v, int *n);
extern int64 tdo_read_count(TdoSchemaReader *r, const char *keyword, const JsonbValue *v);
extern TdoPattern *tdo_read_pattern(TdoSchemaReader *r, const char *keyword, TdoText source);
extern TdoSchemaRule *tdo_add_rule(TdoSchemaReader *r, TdoRuleKind kind, const char *keyword, int applies);

/* ---- schema_keywords.c */

/* the node's rules */
extern void tdo_build_read(TdoSchemaBuild *b, TdoSchemaNode *node, const JsonbContainer *object);

/* ---- schema_refs.c */

/* the resource that a node with $id begins; or the one it stands in; anchors noted */
extern TdoSchemaResource *tdo_build_enter(TdoSchemaBuild *b, TdoSchemaNode *node,
										  const JsonbContainer *object);

/* fills the rules of all references; compiles what they name */
extern void tdo_build_resolve(TdoSchemaBuild *b);

/* ERROR when a schema comes back to itself without going into the value */
extern void tdo_build_check_cycles(TdoSchemaNode *node);

/* key's value, or NULL; `v` is where it is put */
extern JsonbValue *tdo_build_get(const JsonbContainer *object, const char *key, JsonbValue *v);

extern char *tdo_build_string(const JsonbValue *v);

#endif							/* TDO_SCHEMA_BUILD_H */
