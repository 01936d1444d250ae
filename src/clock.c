/*-------------------------------------------------------------------------
 *
 * clock.c
 *	  Wall clock behind a seam, monotonic clock, and ids minted from time.
 *
 * Job: the only file that reads a clock, so that tests can move it.
 * Called by: everyone.
 * Locks: none.
 * Crash: nothing to survive; ids carry 62 random bits, so a process that
 * starts anew cannot repeat one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "portability/instr_time.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"

/* offset between the Unix epoch and PostgreSQL's, in microseconds */
#define EPOCH_OFFSET_US \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

static TimestampTz real_now(void);

static const TdoClock real_clock = {real_now};

TdoClockSeam tdo_clock_seam = {&real_clock, NULL};

static TimestampTz
real_now(void)
{
	return GetCurrentTimestamp();
}

/* called once, from _PG_init */
void
tdo_clock_init(void)
{
	void	  **seam = find_rendezvous_variable("triggerdo_clock");

	*seam = &tdo_clock_seam;
}

TimestampTz
tdo_now(void)
{
	return tdo_clock_seam.clock->now();
}

int64
tdo_monotonic_us(void)
{
	instr_time	t;

	INSTR_TIME_SET_CURRENT(t);
	return (int64) INSTR_TIME_GET_MICROSEC(t);
}

/*
 * RFC 9562 version 7: 48 bits of milliseconds, 12 bits of the millisecond's
 * fraction, 62 random bits.  Ids of one process rise: when the clock stands
 * still or steps back by less than a second the stamp is counted on; after a
 * larger step the new time is taken as it is, because it names the partition.
 */
void
tdo_new_run_id(uint8 *id)
{
	static uint64 last = 0;
	uint64		us = (uint64) (tdo_now() + EPOCH_OFFSET_US);
	uint64		stamp = ((us / 1000) << 12) | ((us % 1000) * 4096 / 1000);
	uint64		r = tdo_random_uint64();

	if (stamp <= last && last - stamp < (UINT64CONST(1000) << 12))
		stamp = last + 1;
	last = stamp;

	for (int i = 0; i < 6; i++)
		id[i] = (uint8) (stamp >> (52 - 8 * i));
	id[6] = 0x70 | (uint8) ((stamp >> 8) & 0x0f);
	id[7] = (uint8) stamp;
	id[8] = 0x80 | (uint8) ((r >> 56) & 0x3f);
	for (int i = 9; i < 16; i++)
		id[i] = (uint8) (r >> (8 * (15 - i)));
}
