/*-------------------------------------------------------------------------
 *
 * ready.h
 *	  Which runs are next: the one module that knows how claims find them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_READY_H
#define TDO_READY_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "port/atomics.h"

#include "rows.h"

/* where an executor's claims have got to; zero at first */
typedef struct TdoReadyCursor
{
	int64		from_key;		/* no run below it is known to be claimable */
	int64		full_scan_us;	/* monotonic: when it last looked from the
								 * start */
	bool		dry;			/* the last claim found nothing */
	pg_atomic_uint64 *low_key;	/* NULL, or where enqueuers say from where to
								 * look */
} TdoReadyCursor;

/* look from the start at the next claim */
extern void tdo_ready_rewind(TdoReadyCursor *cursor);

/*
 * Lock at most `limit` queued runs of the owner, first in order first, for
 * this transaction: whoever completes them must do it in this transaction.
 */
extern PGDLLEXPORT int tdo_ready_claim(Oid owner, int limit, TdoLive *claimed, TdoReadyCursor *cursor);

/* lock one named run; false: it is not queued, or somebody else has it */
extern bool tdo_ready_claim_one(const pg_uuid_t *id, TdoLive *claimed);

/* ids of durably claimed runs in no executor's hand, at most `limit` into `ids` */
extern int	tdo_ready_void_claims(pg_uuid_t *ids, int limit);

/*
 * How many runs of the owner are not final, counted up to `limit`.  Those that
 * other transactions have not committed yet count, too.
 */
extern int	tdo_ready_count(Oid owner, int limit);

/* owners with queued runs that nobody has in hand, as a list of oids in the current context */
extern List *tdo_ready_owners(void);

#endif							/* TDO_READY_H */
