/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  The only way to read a clock.
 *
 * Wall time goes through a seam that a test module replaces in every process;
 * monotonic time (durations, timeouts of waiting sessions) is never mocked.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_CLOCK_H
#define TDO_CLOCK_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef struct TdoClock
{
	TimestampTz (*now) (void);
} TdoClock;

/* published as rendezvous variable "triggerdo_clock"; lives as long as the process */
typedef struct TdoClockSeam
{
	const TdoClock *clock;		/* in force in this process */
	void		(*changed) (void);	/* wakes every scheduler and executor */
} TdoClockSeam;

extern TdoClockSeam tdo_clock_seam;

extern void tdo_clock_init(void);
extern TimestampTz tdo_now(void);

/* microseconds since some fixed point of this boot */
extern int64 tdo_monotonic_us(void);

/* UUID v7 of this moment into 16 bytes at id; rising within a process */
extern void tdo_new_run_id(uint8 *id);

#endif							/* TDO_CLOCK_H */
