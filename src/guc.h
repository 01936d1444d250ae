/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  Settings triggerdo.*; README has the table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_GUC_H
#define TDO_GUC_H

#include "postgres.h"

extern bool tdo_allow_superuser_tasks;
extern int	tdo_batch_time;		/* ms */
extern int	tdo_cancel_grace;	/* ms */
extern char *tdo_databases;		/* "*", or names separated by commas */
extern char *tdo_default_retry; /* a JSON policy, or empty */
extern int	tdo_executor_memory;	/* kB */
extern int	tdo_executors;		/* wanted per (database, role) */
extern int	tdo_hook_timeout;	/* ms; 0: none */
extern int	tdo_idle_timeout;	/* ms */
extern int	tdo_max_crashes;	/* 0: any number */
extern int	tdo_max_depth;		/* 0: no limit */
extern int	tdo_max_executors;	/* slots in the cluster */
extern int	tdo_max_executors_per_role;
extern int	tdo_max_payload_size;	/* kB, 0: no limit */
extern int	tdo_max_queued_per_owner;	/* 0: no limit */
extern int	tdo_partitions_ahead;	/* days */
extern int	tdo_retention;		/* min; 0: for ever */
extern int	tdo_serialization_retries;
extern int	tdo_sweep_interval; /* s */

/* does triggerdo.databases let this one in? Allocates in the current context. */
extern bool tdo_database_listed(const char *name);

extern void tdo_guc_init(bool preloading);

#endif							/* TDO_GUC_H */
