/*-------------------------------------------------------------------------
 *
 * status.h
 *	  A run's status, as users see it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_STATUS_H
#define TDO_STATUS_H

#include "postgres.h"

#include "rows.h"

/* the public name of a final status */
extern const char *tdo_status_name(char status);

/* a value of triggerdo.run_status, or NULL when there is neither result nor live row */
extern const char *tdo_status_derive(const pg_uuid_t *id, bool has_result, char result,
									 bool has_live, char live);
extern const char *tdo_status_of(const pg_uuid_t *id, const TdoState *state);

typedef enum TdoStatusKind
{
	TDO_STATUS_UNKNOWN,			/* no value of run_status */
	TDO_STATUS_LIVE,
	TDO_STATUS_FINAL
} TdoStatusKind;

extern TdoStatusKind tdo_status_is(const char *name);

#endif							/* TDO_STATUS_H */
