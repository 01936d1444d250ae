/*-------------------------------------------------------------------------
 *
 * schema_rules.h
 *	  A check that is under way, and what JSON Schema says of one value by itself.
 *
 * All of it lives on the stack of tdo_schema_check(), and in its context.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_SCHEMA_RULES_H
#define TDO_SCHEMA_RULES_H

#include "postgres.h"

#include "schema.h"

/* a value, and where it stands */
typedef struct TdoValue
{
	const struct TdoValue *parent;
	TdoText		key;			/* s is NULL: an item */
	int			index;
	const JsonbValue *v;
	uint8		type;
	int64		depth;			/* of the schemas that look at it now */
} TdoValue;

typedef struct TdoCheck
{
	const TdoSchema *schema;
	int64		steps;
	int			quiet;			/* what fails now is no fault yet */
	TdoSchemaFault *fault;
} TdoCheck;

static inline JsonbContainer *
tdo_container_of(const TdoValue *value)
{
	return value->v->val.binary.data;
}

/* of one that was not walked to its end; a check may begin millions */
static inline void
tdo_end_walk(JsonbIterator *it)
{
	if (it)
		pfree(it);
}

/* ERROR 54000 when no steps are left */
extern void tdo_check_spend(TdoCheck *c, int64 steps);

/* v becomes the value: its type */
extern void tdo_check_look_at(TdoCheck *c, TdoValue *value, const JsonbValue *v);

/* notes the fault; false. keyword NULL: the node is the schema "false" */
extern bool tdo_check_fail(TdoCheck *c, const TdoSchemaNode *node, const char *keyword,
						   const TdoValue *value, char *reason);

/* the reason is made only when somebody will read it */
#define TDO_FAIL(c, node, rule, value, ...) \
	((c)->quiet ? false : tdo_check_fail((c), (node), (rule)->keyword, (value), psprintf(__VA_ARGS__)))

extern const char *tdo_type_name(int bit);
extern char *tdo_type_names(int bits);	/* "string or null" */

/* a rule of that kind; the value is of a type it applies to */
extern bool tdo_check_number(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value);
extern bool tdo_check_string(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value);
extern bool tdo_check_equal(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value);
extern bool tdo_check_size(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value);
extern bool tdo_check_unique(TdoCheck *c, const TdoSchemaNode *node, const TdoSchemaRule *rule, const TdoValue *value);

#endif							/* TDO_SCHEMA_RULES_H */
