/*-------------------------------------------------------------------------
 *
 * json.h
 *	  Small helpers to read and build jsonb objects.
 *
 * Results are palloc'd in the current context.  Keys passed in need not
 * outlive the call that finishes the object, but values must.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_JSON_H
#define TDO_JSON_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"

typedef struct TdoJsonBuild
{
	JsonbParseState *state;
} TdoJsonBuild;

extern void tdo_json_begin(TdoJsonBuild *b);
extern void tdo_json_text(TdoJsonBuild *b, const char *key, const char *value); /* NULL: null */
extern void tdo_json_int(TdoJsonBuild *b, const char *key, int64 value);
extern void tdo_json_float(TdoJsonBuild *b, const char *key, double value);
extern void tdo_json_bool(TdoJsonBuild *b, const char *key, bool value);
extern void tdo_json_jsonb(TdoJsonBuild *b, const char *key, Jsonb *value); /* NULL: null */
extern Jsonb *tdo_json_end(TdoJsonBuild *b);

/* value of a key, or NULL; the object must be one (tdo_json_is_object) */
extern JsonbValue *tdo_json_get(Jsonb *object, const char *key);
extern char *tdo_json_get_text(Jsonb *object, const char *key); /* NULL unless a string */
extern bool tdo_json_is_object(Jsonb *j);
extern bool tdo_json_is_empty_object(Jsonb *j);

/* a scalar as text, as ->> gives it; NULL for null, arrays and objects */
extern char *tdo_json_scalar_text(const JsonbValue *v);
extern Jsonb *tdo_json_empty_object(void);

/*
 * A duration as Trigger.dev writes them: "1w", "2h30m", "1d12hr".  False: it is not
 * one, so perhaps text that interval reads (which does not read all of these).
 */
extern bool tdo_json_duration(const char *s, Interval *span);

#endif							/* TDO_JSON_H */
