/*-------------------------------------------------------------------------
 *
 * child.h
 *	  Which runs that are not final were triggered by which run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_CHILD_H
#define TDO_CHILD_H

#include "postgres.h"

#include "utils/uuid.h"

extern void tdo_child_insert(const pg_uuid_t *parent, const pg_uuid_t *child);

/* no-op when there is none; the child's live row is locked */
extern void tdo_child_delete(const pg_uuid_t *parent, const pg_uuid_t *child);

/* the children of a run, in the order of their ids; palloc'd, *n of them */
extern pg_uuid_t *tdo_children(const pg_uuid_t *parent, int *n);

#endif							/* TDO_CHILD_H */
