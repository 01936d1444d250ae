/*-------------------------------------------------------------------------
 *
 * watch.h
 *	  Executors: what is seen to from a timer while user code runs, and nudges to
 *	  the scheduler.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_WATCH_H
#define TDO_WATCH_H

#include "postgres.h"

#include "shmem.h"

/* once per executor */
extern void tdo_watch_init(TdoDatabase *my_database);

/* goes on from batch to batch: many short ones are as long as a long one */
extern void tdo_watch_on(void);
extern void tdo_watch_off(void);

/* an attempt begins that must be over then (monotonic; 0: never): the scheduler sees to it in time, if it hears of it in time */
extern void tdo_watch_deadline(int64 deadline_us);

/*
 * Claimed runs were given back, below where the other executors look, and
 * perhaps while they rest: the scheduler sends them there.
 */
extern void tdo_watch_given_back(void);

#endif							/* TDO_WATCH_H */
