/*-------------------------------------------------------------------------
 *
 * executor.h
 *	  The process that runs tasks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_EXECUTOR_H
#define TDO_EXECUTOR_H

#include "postgres.h"

extern PGDLLEXPORT void tdo_executor_main(Datum main_arg);

#endif							/* TDO_EXECUTOR_H */
