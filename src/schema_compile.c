/*-------------------------------------------------------------------------
 *
 * schema_compile.c
 *	  A JSON Schema to a tree of rules.
 *
 * Job: one node for each subschema, whichever way it is come to; all references
 * resolved; within bounds of memory and time.
 * Called by: payload.c.
 * Locks: none.
 * Crash: pure functions over memory; at most MAX_MEMORY of it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "schema_build.h"

#define MAX_MEMORY		(16 * 1024 * 1024)

void
tdo_build_spend(TdoSchemaBuild *b, int64 steps)
{
	CHECK_FOR_INTERRUPTS();
	b->steps -= steps;
	if (b->steps < 0 || MemoryContextMemAllocated(b->context, true) > MAX_MEMORY)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("payload_schema is too large"),
				 errdetail("Compiled it would take more than %d MB, or too many steps.", MAX_MEMORY / (1024 * 1024)),
				 errhint("Use $defs and $ref for what it says more than once.")));
}

void
tdo_build_refuse(const TdoSchemaNode *node, const char *keyword, const char *reason, const char *hint)
{
	char	   *place = tdo_schema_place(node);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid payload_schema at \"%s%s%s\": %s", place, keyword ? "/" : "", keyword ? keyword : "", reason),
			 errhint("%s", hint)));
}

TdoSchemaNode *
tdo_build_node(TdoSchemaBuild *b, TdoSchemaNode *parent, TdoText keyword, TdoText key, int index,
			   TdoSchemaResource *resource, const JsonbValue *value)
{
	TdoSchemaNode *node;
	TdoNodeEntry *entry = NULL;
	bool		found = false;

	check_stack_depth();
	tdo_build_spend(b, 20);
	if (value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
	{
		entry = hash_search(b->nodes, &value->val.binary.data, HASH_ENTER, &found);
		if (found)
			return entry->node;
		entry->node = NULL;
	}
	node = palloc0(sizeof(TdoSchemaNode));
	node->parent = parent;
	node->keyword = keyword;
	node->key = key;
	node->index = index;
	node->resource = resource;
	node->next = b->all;
	b->all = node;
	b->nnodes++;
	if (value->type == jbvBool)
	{
		node->never = !value->val.boolean;
		return node;
	}
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		tdo_build_refuse(node, NULL, "a schema must be an object, true or false", "For example {\"type\": \"string\"}.");
	entry->node = node;
	(void) tdo_build_enter(b, node, value->val.binary.data);
	tdo_build_read(b, node, value->val.binary.data);
	return node;
}

TdoSchema *
tdo_schema_compile(const Jsonb *schema)
{
	TdoSchemaBuild b = {0};
	TdoSchema  *compiled = palloc(sizeof(TdoSchema));
	HASHCTL		ctl = {0};
	JsonbValue	v;

	b.context = CurrentMemoryContext;
	b.schema = schema;
	b.steps = TDO_SCHEMA_STEPS;
	ctl.keysize = sizeof(JsonbContainer *);
	ctl.entrysize = sizeof(TdoNodeEntry);
	ctl.hcxt = CurrentMemoryContext;
	b.nodes = hash_create("triggerdo schema", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	v.type = jbvBinary;
	v.val.binary.data = unconstify(JsonbContainer *, &schema->root);
	v.val.binary.len = VARSIZE(schema) - VARHDRSZ;
	if (JB_ROOT_IS_SCALAR(schema))
		(void) JsonbExtractScalar(unconstify(JsonbContainer *, &schema->root), &v);
	compiled->root = tdo_build_node(&b, NULL, tdo_text(""), tdo_text(NULL), -1, NULL, &v);
	tdo_build_resolve(&b);
	for (TdoSchemaNode *node = b.all; node; node = node->next)
		tdo_build_check_cycles(node);
	compiled->nnodes = b.nnodes;
	compiled->nresources = b.nresources;
	hash_destroy(b.nodes);
	return compiled;
}
