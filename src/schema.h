/*-------------------------------------------------------------------------
 *
 * schema.h
 *	  JSON Schema, compiled: a tree of rules, and what checks a value by it.
 *
 * A tree lives in the context it was compiled in, is never changed afterwards, and
 * points into the schema's bytes, which must live as long.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_SCHEMA_H
#define TDO_SCHEMA_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "pattern.h"

/* what one check may cost; a step is 20 to 60 ns */
#define TDO_SCHEMA_STEPS	INT64CONST(16000000)

/* the types of values, as bits: an integer is a number, too */
#define TDO_JSON_NULL		0x01
#define TDO_JSON_BOOLEAN	0x02
#define TDO_JSON_NUMBER		0x04
#define TDO_JSON_INTEGER	0x08
#define TDO_JSON_STRING		0x10
#define TDO_JSON_ARRAY		0x20
#define TDO_JSON_OBJECT		0x40
#define TDO_JSON_ANY		0x7F

/* not terminated; points into the schema or a payload */
typedef struct TdoText
{
	const char *s;
	int			len;
} TdoText;

static inline TdoText
tdo_text(const char *s)
{
	TdoText		t = {s, s ? strlen(s) : 0};

	return t;
}

typedef struct TdoSchemaNode TdoSchemaNode;
typedef struct TdoSchemaResource TdoSchemaResource;

typedef enum TdoRuleKind
{
	TDO_RULE_TYPE, TDO_RULE_ENUM, TDO_RULE_CONST,
	TDO_RULE_MINIMUM, TDO_RULE_MAXIMUM, TDO_RULE_ABOVE, TDO_RULE_BELOW, TDO_RULE_MULTIPLE,
	TDO_RULE_MIN_LENGTH, TDO_RULE_MAX_LENGTH, TDO_RULE_PATTERN,
	TDO_RULE_MIN_PROPERTIES, TDO_RULE_MAX_PROPERTIES, TDO_RULE_REQUIRED, TDO_RULE_DEPENDENT_REQUIRED,
	TDO_RULE_PROPERTIES, TDO_RULE_NAMES, TDO_RULE_DEPENDENT,
	TDO_RULE_MIN_ITEMS, TDO_RULE_MAX_ITEMS, TDO_RULE_UNIQUE, TDO_RULE_ITEMS, TDO_RULE_CONTAINS,
	TDO_RULE_REF, TDO_RULE_ALL, TDO_RULE_ANY, TDO_RULE_ONE, TDO_RULE_NOT, TDO_RULE_IF,
	TDO_RULE_UNEVALUATED_PROPERTIES, TDO_RULE_UNEVALUATED_ITEMS
} TdoRuleKind;

typedef struct TdoNamedNode
{
	TdoText		name;
	TdoSchemaNode *node;
} TdoNamedNode;

/* properties, patternProperties, additionalProperties of one schema */
typedef struct TdoPropertiesRule
{
	int			nnamed;
	TdoNamedNode *named;		/* in jsonb's order of keys */
	int			npatterns;
	TdoPattern **patterns;
	TdoSchemaNode **pattern_nodes;
	TdoSchemaNode *rest;		/* NULL: anything */
} TdoPropertiesRule;

typedef struct TdoDependentNames
{
	TdoText		name;
	int			n;
	TdoText    *needs;
} TdoDependentNames;

typedef struct TdoSchemaRule
{
	TdoRuleKind kind;
	uint8		applies;		/* to which types */
	const char *keyword;
	int			n;				/* how many of whatever there are several */
	union
	{
		int			types;
		int64		count;
		Numeric		number;
		JsonbValue *values;
		TdoText    *names;
		TdoPattern *pattern;
		TdoSchemaNode *node;	/* not, propertyNames, $ref, unevaluated... */
		TdoSchemaNode **nodes;	/* allOf, anyOf, oneOf; if, then, else (or
								 * NULL) */
		TdoNamedNode *named;	/* dependentSchemas */
		TdoDependentNames *dependent;
		TdoPropertiesRule *properties;
	}			u;

	/*
	 * items: `n` prefixes in u.nodes, then this; $dynamicRef: its anchor, of
	 * `n` bytes; contains
	 */
	TdoSchemaNode *rest;
	const char *anchor;
	int64		min;
	int64		max;
	TdoText		source;			/* of a pattern */
} TdoSchemaRule;

struct TdoSchemaNode
{
	/*
	 * where it stands: under a keyword of its parent, there under a key or at
	 * an index
	 */
	TdoSchemaNode *parent;		/* NULL: the keyword is all of its JSON
								 * Pointer */
	TdoText		keyword;
	TdoText		key;			/* s is NULL: none */
	int			index;			/* -1: none */
	TdoSchemaResource *resource;
	bool		never;			/* the schema "false" */
	bool		tracks;			/* has an unevaluated... */
	uint8		colour;			/* while cycles are looked for */
	TdoSchemaNode *next;		/* of all nodes */
	int			nrules;
	TdoSchemaRule *rules;
};

typedef struct TdoSchemaAnchor
{
	struct TdoSchemaAnchor *next;
	const char *name;
	bool		dynamic;
	TdoSchemaNode *node;
} TdoSchemaAnchor;

/* the schema itself, and each part with an $id */
struct TdoSchemaResource
{
	TdoSchemaResource *next;
	const char *uri;			/* absolute as far as that is known; no
								 * fragment */
	bool		draft7;
	const JsonbContainer *container;
	TdoSchemaNode *node;
	TdoSchemaAnchor *anchors;
};

typedef struct TdoSchema
{
	TdoSchemaNode *root;
	int			nnodes;
	int			nresources;
} TdoSchema;

/* what a value breaks; texts in the context of the check's caller */
typedef struct TdoSchemaFault
{
	char	   *path;			/* JSON Pointer in the value */
	const char *keyword;		/* "" for the schema "false" */
	char	   *rule;			/* JSON Pointer in the schema */
	char	   *reason;
} TdoSchemaFault;

/* in the current context; ERROR 22023, 0A000, 54000 that names the place in the schema */
extern TdoSchema *tdo_schema_compile(const Jsonb *schema);

/* false: *fault says why. ERROR 54000 when it costs more than TDO_SCHEMA_STEPS. */
extern bool tdo_schema_check(const TdoSchema *schema, Jsonb *value, TdoSchemaFault *fault);

/* ---- schema_values.c: what follows takes what it costs from *steps; below zero the answer means nothing */

/* the length of as many whole characters of the text as fit into so many bytes */
extern int	tdo_text_clip(TdoText text, int bytes);

/* as JSON Schema compares: 1 is 1.0 */
extern bool tdo_json_equal(const JsonbValue *a, const JsonbValue *b, int64 *steps);

/* the indexes of two equal items; false: there are none */
extern bool tdo_json_find_equal(JsonbContainer *array, int *one, int *other, int64 *steps);

extern bool tdo_json_is_multiple(Numeric value, Numeric of, int64 *steps);

/* the node's JSON Pointer, palloc'd */
extern char *tdo_schema_place(const TdoSchemaNode *node);

#endif							/* TDO_SCHEMA_H */
