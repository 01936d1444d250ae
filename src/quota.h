/*-------------------------------------------------------------------------
 *
 * quota.h
 *	  How large a run, how long a chain of runs, how many runs of an owner.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_QUOTA_H
#define TDO_QUOTA_H

#include "postgres.h"

#include "rows.h"

/* ERROR 54000 unless a value of this size may be kept; what: "payload", "output" */
extern void tdo_limit_size(const char *what, const Jsonb *value);

/* ERROR 54000, 54001 or 53400 unless this new run may be added */
extern void tdo_limit_run(const TdoRun *run);

#endif							/* TDO_QUOTA_H */
