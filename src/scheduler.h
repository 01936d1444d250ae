/*-------------------------------------------------------------------------
 *
 * scheduler.h
 *	  The process that is a database's clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_SCHEDULER_H
#define TDO_SCHEDULER_H

#include "postgres.h"

extern PGDLLEXPORT void tdo_scheduler_main(Datum main_arg);

#endif							/* TDO_SCHEDULER_H */
