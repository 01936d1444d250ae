/*-------------------------------------------------------------------------
 *
 * quota.c
 *	  How large a run, how long a chain of runs, how many runs of an owner.
 *
 * Job: refuse, with an error that says what to do, what the settings
 * max_payload_size, max_depth and max_queued_per_owner do not allow.
 * Called by: transition.c (enqueue), execute.c (outputs).
 * Locks: ACCESS SHARE on live while it counts.
 * Crash: nothing is kept but a lease, in this process.
 *
 * The number of an owner's runs is counted in the table, because the rows are
 * the truth, and a count in shared memory would have to follow every rollback.
 * To count at each enqueue would make a queue of n runs cost n * n.  So a count
 * leases a part of the room that it found, for at most a second; what is taken
 * from the lease is not counted again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "clock.h"
#include "guc.h"
#include "quota.h"
#include "ready.h"
#include "triggerdo.h"

/*
 * Sessions that count at the same time see the same room: up to so many of them
 * cannot exceed the quota, but by one each where hardly any room is left.
 */
#define LEASE_PARTS		16
#define LEASE_US		1000000

/* what a row of run has beside its three long columns */
#define ROW_REST		65536

/* room for more runs of an owner that this process need not count */
static struct
{
	Oid			owner;
	int			quota;			/* the setting it was counted for */
	int			room;
	int64		until_us;		/* monotonic */
}			lease;

void
tdo_limit_size(const char *what, const Jsonb *value)
{
	Size		size = value ? VARSIZE(value) : 0;

	if (tdo_max_payload_size > 0 && size > (Size) tdo_max_payload_size * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s of %zu kB is larger than triggerdo.max_payload_size (%d kB)",
						what, (size + 1023) / 1024, tdo_max_payload_size),
				 errhint("Keep it in a table, and pass its key.")));
}

/* a row is made in one piece of memory, before its long columns are moved out of it */
static void
check_row(const TdoRun *run)
{
	Size		size = VARSIZE(run->payload);

	if (run->metadata)
		size += VARSIZE(run->metadata);
	if (run->tags)
		size += VARSIZE(run->tags);
	if (run->idempotency_key)
		size += strlen(run->idempotency_key);
	if (size > MaxAllocSize - ROW_REST)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("payload, metadata, tags and idempotency key of a run have %zu kB together, which is more than a row can hold",
						size / 1024),
				 errhint("Keep them in a table, and pass its key.")));
}

static void
check_depth(const TdoRun *run)
{
	if (tdo_max_depth == 0 || run->depth <= tdo_max_depth)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
			 errmsg("runs are nested too deeply: a run at depth %d may trigger no other (triggerdo.max_depth)",
					run->depth - 1),
			 errdetail("The first run of the chain is %s.",
					   DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&run->root)))),
			 errhint("Does a task trigger itself, perhaps through another? If that is meant, raise triggerdo.max_depth.")));
}

static void
check_queued(const TdoRun *run)
{
	int			quota = tdo_max_queued_per_owner;
	int64		now = tdo_monotonic_us();
	int			count;

	if (quota == 0)
		return;
	if (lease.owner == run->owner && lease.quota == quota &&
		lease.room > 0 && now < lease.until_us)
	{
		lease.room--;
		return;
	}
	count = tdo_ready_count(run->owner, quota);
	if (count >= quota)
	{
		const char *owner = GetUserNameFromId(run->owner, true);

		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("role \"%s\" has %d runs that are not final, as many as triggerdo.max_queued_per_owner allows",
						owner ? owner : "?", count),
				 errhint("Trigger again when some of them have ended, or raise the setting.")));
	}
	lease.owner = run->owner;
	lease.quota = quota;
	lease.room = Max(1, (quota - count) / LEASE_PARTS) - 1;
	lease.until_us = now + LEASE_US;
}

void
tdo_limit_run(const TdoRun *run)
{
	check_row(run);
	check_depth(run);
	check_queued(run);
}
