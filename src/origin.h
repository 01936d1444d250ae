/*-------------------------------------------------------------------------
 *
 * origin.h
 *	  Is this database the one its rows were made in, and may it run?
 *
 * All of it needs a transaction.  Strings live as long as the process, or in
 * the current context where they are not const.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_ORIGIN_H
#define TDO_ORIGIN_H

#include "postgres.h"

typedef enum TdoStanding
{
	TDO_UNBOUND,				/* nothing was defined here yet, or it came
								 * from a dump: role oids mean nothing */
	TDO_PAUSED,					/* role oids are this server's; nothing begins */
	TDO_RUNNING
} TdoStanding;

typedef struct TdoOrigin
{
	TdoStanding standing;
	bool		noted;			/* PAUSED is written down, not only seen */
	char		reason[160];	/* PAUSED: why */
} TdoOrigin;

extern void tdo_origin_init(bool preloading);	/* from _PG_init */

/* valid until the next invalidation message: read it anew in each operation */
extern const TdoOrigin *tdo_origin(void);

/*
 * Read it anew at the next look: who was woken by the commit that changed it may
 * be there before the invalidation message, which is sent after the latch is set.
 */
extern void tdo_origin_reread(void);

/* ERROR 55000 with a hint unless bound */
extern void tdo_origin_require_bound(void);

/* why nothing begins here, as triggerdo.workers shows it; NULL when it is not paused */
extern const char *tdo_origin_pause_reason(void);

/* does the database hold anything of ours? For what is unbound. */
extern bool tdo_origin_is_empty(void);

/* the first definition of an empty database makes it ours; ERROR if it came from a dump */
extern void tdo_origin_settle(void);

/* write what the database is now; takes the lock that pause and resume share */
extern void tdo_origin_lock(void);
extern void tdo_origin_write(const char *pause_reason); /* NULL: it runs */

/* scheduler: write down a pause that was only seen, so that it outlives what showed it */
extern void tdo_origin_note(void);

/* a copy has no such role: its rows wait under an oid that no role can have */
extern bool tdo_role_is_missing(Oid role);

/* put a role on the map when it is seen first */
extern void tdo_role_remember(Oid role);

/* its name, here or where the rows come from; in the current context */
extern char *tdo_role_name(Oid role);

/* scheduler: keep the map's names true; a callback asks for it */
extern void tdo_roles_watch(void);
extern void tdo_roles_look_again(void); /* the transaction that did has failed */
extern void tdo_roles_follow(void);

/* "a, b": names on the map that this server lacks; NULL when there are none */
extern char *tdo_roles_missing(void);

#endif							/* TDO_ORIGIN_H */
