/*-------------------------------------------------------------------------
 *
 * definition.h
 *	  Task definitions that this process has read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_DEFINITION_H
#define TDO_DEFINITION_H

#include "postgres.h"

#include "task.h"

/*
 * Advances whenever a definition of this database may have changed. Take it
 * before tdo_task_get(): what was read is current while the count stands.
 */
extern uint64 tdo_definition_changes(void);

/*
 * tdo_task_get() with memory, for enqueues: reads into the current context;
 * false: there is none. Needs an active snapshot. The schema is not copied, whatever
 * its size; a stamp says that there is one.
 */
extern bool tdo_definition(const char *id, TdoTask *task);

/* the schema behind a stamp, until the next call of this file; NULL: gone. Needs an active snapshot. */
extern const Jsonb *tdo_definition_schema(const TdoTask *task);

extern void tdo_definition_init(void);

#endif							/* TDO_DEFINITION_H */
