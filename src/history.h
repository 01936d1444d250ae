/*-------------------------------------------------------------------------
 *
 * history.h
 *	  Where the history of final runs ends: retention and purge.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_HISTORY_H
#define TDO_HISTORY_H

#include "postgres.h"

#include "utils/timestamp.h"

/*
 * The scheduler's look: drops at most one day that is older than
 * triggerdo.retention, in a transaction of its own.  Raises nothing.  True: there
 * may be more to do at once.
 */
extern bool tdo_history_look(TimestampTz now);

/* removes what ended before that time, in the caller's transaction; the number of runs */
extern int64 tdo_history_purge(TimestampTz before);

#endif							/* TDO_HISTORY_H */
