/*-------------------------------------------------------------------------
 *
 * schema_values.c
 *	  Equality and division, as JSON Schema wants them, and pointers into schemas.
 *
 * Job: compare values without regard to how numbers are written; find equal items
 * without comparing all with all; pay for what takes long.
 * Called by: schema_rules.c, schema_keywords.c, schema_compile.c.
 * Locks: none.
 * Crash: pure functions over memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "schema.h"

int
tdo_text_clip(TdoText text, int bytes)
{
	return text.len <= bytes ? text.len : pg_mbcliplen(text.s, text.len, bytes);
}

static bool
scalars_equal(const JsonbValue *a, const JsonbValue *b, int64 *steps)
{
	if (a->type != b->type)
		return false;
	switch (a->type)
	{
		case jbvNull:
			return true;
		case jbvBool:
			return a->val.boolean == b->val.boolean;
		case jbvNumeric:
			*steps -= (VARSIZE(a->val.numeric) + VARSIZE(b->val.numeric)) / 64;
			return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a->val.numeric),
													 NumericGetDatum(b->val.numeric))) == 0;
		default:
			*steps -= a->val.string.len / 256;
			return a->val.string.len == b->val.string.len &&
				memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0;
	}
}

/* (keys have one order, so equal objects are equal word by word) */
bool
tdo_json_equal(const JsonbValue *a, const JsonbValue *b, int64 *steps)
{
	JsonbIterator *one;
	JsonbIterator *other;
	JsonbValue	v;
	JsonbValue	w;

	(*steps)--;
	if (a->type != jbvBinary || b->type != jbvBinary)
		return scalars_equal(a, b, steps);
	if (JsonContainerIsArray(a->val.binary.data) != JsonContainerIsArray(b->val.binary.data) ||
		JsonContainerSize(a->val.binary.data) != JsonContainerSize(b->val.binary.data))
		return false;
	one = JsonbIteratorInit(a->val.binary.data);
	other = JsonbIteratorInit(b->val.binary.data);
	for (;;)
	{
		JsonbIteratorToken tok = JsonbIteratorNext(&one, &v, false);

		CHECK_FOR_INTERRUPTS();
		(*steps)--;
		if (*steps < 0 || JsonbIteratorNext(&other, &w, false) != tok)
			break;
		if (tok == WJB_DONE)
			return true;
		if ((tok == WJB_KEY || tok == WJB_VALUE || tok == WJB_ELEM) && !scalars_equal(&v, &w, steps))
			break;
	}
	while (one)
	{
		JsonbIterator *up = one->parent;

		pfree(one);
		one = up;
	}
	while (other)
	{
		JsonbIterator *up = other->parent;

		pfree(other);
		other = up;
	}
	return false;
}

/* equal values have equal hashes */
static uint32
hash_value(const JsonbValue *value, int64 *steps)
{
	JsonbIterator *it;
	JsonbIteratorToken tok;
	JsonbValue	v;
	uint32		hash = 0;

	(*steps) -= 2;
	if (value->type != jbvBinary)
	{
		*steps -= value->type == jbvString ? value->val.string.len / 64 :
			value->type == jbvNumeric ? VARSIZE(value->val.numeric) / 64 : 0;
		JsonbHashScalarValue(value, &hash);
		return hash;
	}
	it = JsonbIteratorInit(value->val.binary.data);
	while ((tok = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		*steps -= 2;
		if (*steps < 0)
			break;
		if (tok == WJB_KEY || tok == WJB_VALUE || tok == WJB_ELEM)
		{
			uint32		one = 0;

			*steps -= v.type == jbvString ? v.val.string.len / 64 :
				v.type == jbvNumeric ? VARSIZE(v.val.numeric) / 64 : 0;
			JsonbHashScalarValue(&v, &one);
			hash = hash_combine(hash, one);
		}
		hash = hash_combine(hash, (uint32) tok);
	}
	return hash;
}

typedef struct Item
{
	JsonbValue	value;
	uint32		hash;
	int			index;
} Item;

static int
compare_items(const void *a, const void *b)
{
	const Item *one = a;
	const Item *other = b;

	if (one->hash != other->hash)
		return one->hash < other->hash ? -1 : 1;
	return one->index < other->index ? -1 : 1;
}

bool
tdo_json_find_equal(JsonbContainer *array, int *one, int *other, int64 *steps)
{
	JsonbIterator *it;
	Item	   *items;
	JsonbIteratorToken tok;
	JsonbValue	v;
	int			n = 0;
	bool		found = false;

	/* (before there is memory for so many) */
	*steps -= (int64) JsonContainerSize(array) * 4;
	if (*steps < 0)
		return false;
	items = palloc_extended(sizeof(Item) * Max(JsonContainerSize(array), 1), MCXT_ALLOC_HUGE);
	it = JsonbIteratorInit(array);
	while ((tok = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (tok != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		items[n].value = v;
		items[n].index = n;
		items[n].hash = hash_value(&v, steps);
		n++;
		if (*steps < 0)
			break;
	}
	if (*steps >= 0)
		qsort(items, n, sizeof(Item), compare_items);
	for (int i = 0; i < n && *steps >= 0 && !found; i++)
	{
		for (int j = i + 1; j < n && items[j].hash == items[i].hash && *steps >= 0 && !found; j++)
		{
			CHECK_FOR_INTERRUPTS();
			if (tdo_json_equal(&items[i].value, &items[j].value, steps))
			{
				*one = items[i].index;
				*other = items[j].index;
				found = true;
			}
		}
	}
	pfree(items);
	return found;
}

bool
tdo_json_is_multiple(Numeric value, Numeric of, int64 *steps)
{
	Datum		rest;
	char	   *text;
	bool		none;

	/* how many digits a division has to go through, its size does not tell */
	text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value)));

	*steps -= strlen(text) / 16 + (int64) strlen(text) * VARSIZE(of) / 50;
	pfree(text);
	if (*steps < 0)
		return false;
	rest = DirectFunctionCall2(numeric_mod, NumericGetDatum(value), NumericGetDatum(of));
	text = DatumGetCString(DirectFunctionCall1(numeric_out, rest));

	none = strspn(text, "-0.") == strlen(text);
	pfree(text);
	pfree(DatumGetPointer(rest));
	return none;
}

/* ------------------------------------------------------------ JSON Pointers */

static void
append_token(StringInfo to, TdoText token)
{
	appendStringInfoChar(to, '/');
	for (int i = 0; i < token.len; i++)
	{
		if (token.s[i] == '~')
			appendStringInfoString(to, "~0");
		else if (token.s[i] == '/')
			appendStringInfoString(to, "~1");
		else
			appendStringInfoChar(to, token.s[i]);
	}
}

static void
append_place(StringInfo to, const TdoSchemaNode *node)
{
	check_stack_depth();
	if (node->parent == NULL)
	{
		appendBinaryStringInfo(to, node->keyword.s, node->keyword.len);
		return;
	}
	append_place(to, node->parent);
	append_token(to, node->keyword);
	if (node->key.s)
		append_token(to, node->key);
	if (node->index >= 0)
		appendStringInfo(to, "/%d", node->index);
}

char *
tdo_schema_place(const TdoSchemaNode *node)
{
	StringInfoData text;

	initStringInfo(&text);
	append_place(&text, node);
	return text.data;
}
