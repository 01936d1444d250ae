/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  The process that finds databases and starts their schedulers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_LAUNCHER_H
#define TDO_LAUNCHER_H

#include "postgres.h"

extern PGDLLEXPORT void tdo_launcher_main(Datum main_arg);

#endif							/* TDO_LAUNCHER_H */
