/*-------------------------------------------------------------------------
 *
 * filter.h
 *	  Runs that a filter chooses, one after the other.
 *
 * A filter and its scan live in the context that was current at the call.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_FILTER_H
#define TDO_FILTER_H

#include "postgres.h"

#include "rows.h"

typedef struct TdoFilter TdoFilter;
typedef struct TdoFilterScan TdoFilterScan;

/* ERROR 22023 for what is no filter, or an empty one */
extern TdoFilter *tdo_filter_read(Jsonb *json);

/*
 * The runs as they are now, by one snapshot: what the caller does to them, and
 * the runs it adds, are not seen.  live_only: those that are not final.
 */
extern TdoFilterScan *tdo_filter_begin(const TdoFilter *filter, bool live_only);

/* the next one, valid until the next call; false: no more, and the scan is closed */
extern bool tdo_filter_next(TdoFilterScan *scan, TdoRun *run);

#endif							/* TDO_FILTER_H */
