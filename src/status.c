/*-------------------------------------------------------------------------
 *
 * status.c
 *	  A run's status, as users see it.
 *
 * Job: derive it, the one place where that is done.
 * Called by: api_state.c for the views, filter.c.
 * Locks: a slot's mutex.
 * Crash: reads only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "slot.h"
#include "status.h"
#include "triggerdo.h"

const char *
tdo_status_name(char status)
{
	switch (status)
	{
		case TDO_COMPLETED:
			return "COMPLETED";
		case TDO_CANCELED:
			return "CANCELED";
		case TDO_FAILED:
			return "FAILED";
		case TDO_CRASHED:
			return "CRASHED";
		case TDO_EXPIRED:
			return "EXPIRED";
		case TDO_TIMED_OUT:
			return "TIMED_OUT";
		default:
			return "SYSTEM_FAILURE";
	}
}

/* the order counts: a result is the truth, a slot a hint, live the rest */
const char *
tdo_status_derive(const pg_uuid_t *id, bool has_result, char result, bool has_live, char live)
{
	if (has_result)
		return tdo_status_name(result);
	if (!has_live)
		return NULL;
	switch (tdo_slot_find_run(id, NULL))
	{
		case TDO_IN_HAND_RUNNING:
			return "EXECUTING";
		case TDO_IN_HAND_WAITING:
			return "DEQUEUED";
		case TDO_NOT_IN_HAND:
			break;
	}
	/* (claimed, and in nobody's hand: about to be queued again) */
	return live == TDO_LIVE_DELAYED ? "DELAYED" : "QUEUED";
}

const char *
tdo_status_of(const pg_uuid_t *id, const TdoState *state)
{
	return tdo_status_derive(id, state->is_final, state->result.status,
							 state->is_live, state->live.state);
}

TdoStatusKind
tdo_status_is(const char *name)
{
	static const char *const live[] = {
		"PENDING_VERSION", "DELAYED", "QUEUED", "DEQUEUED", "EXECUTING", "WAITING"
	};
	static const char *const final[] = {
		"COMPLETED", "CANCELED", "FAILED", "CRASHED", "SYSTEM_FAILURE", "EXPIRED", "TIMED_OUT"
	};

	for (int i = 0; i < lengthof(live); i++)
	{
		if (strcmp(name, live[i]) == 0)
			return TDO_STATUS_LIVE;
	}
	for (int i = 0; i < lengthof(final); i++)
	{
		if (strcmp(name, final[i]) == 0)
			return TDO_STATUS_FINAL;
	}
	return TDO_STATUS_UNKNOWN;
}
