/*-------------------------------------------------------------------------
 *
 * payload.h
 *	  Payloads against the schemas of their tasks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_PAYLOAD_H
#define TDO_PAYLOAD_H

#include "postgres.h"

#include "schema.h"
#include "task.h"

/*
 * ERROR 22023 when the payload breaks the schema of the task (from
 * tdo_definition() or tdo_task_get()), 54000 when that is too costly to find out.
 * The compiled schema is this process's, and kept until the definition changes.
 */
extern void tdo_payload_check(const TdoTask *task, Jsonb *payload);

/* ERROR when it is no schema; for define_task */
extern void tdo_payload_schema_check(const Jsonb *schema);

/* of the tests: as tdo_payload_check(), without a task; NULL: it fits, else why not */
extern PGDLLEXPORT char *tdo_payload_try(const Jsonb *schema, Jsonb *payload);

#endif							/* TDO_PAYLOAD_H */
