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
 * tdo_task_get() with memory, for enqueues. NULL: there is none. Lives in this
 * process's memory until a call of this function, for the same slot of its cache,
 * finds that definitions have changed.
 */
extern const TdoTask *tdo_definition(const char *id);

extern void tdo_definition_init(void);

#endif							/* TDO_DEFINITION_H */
