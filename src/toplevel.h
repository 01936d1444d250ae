/*-------------------------------------------------------------------------
 *
 * toplevel.h
 *	  SQL of a task at the top level, as a client would send it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_TOPLEVEL_H
#define TDO_TOPLEVEL_H

#include "postgres.h"

#include "utils/jsonb.h"

/* ERROR unless the text can be a task's command: it parses, and needs no client */
extern void tdo_toplevel_check(const char *sql);

/*
 * Both: outside a transaction block, in a context of the caller's that outlives
 * transactions; errors are raised, and leave the transaction to the caller.
 */

/* one simple-protocol string; begins and ends its transactions itself */
extern void tdo_toplevel_command(const char *sql);

/*
 * CALL name(payload [, NULL]) through a portal; inside a transaction of the
 * caller's, and the result (NULL: none) is known in a transaction that may be
 * another.
 */
extern Jsonb *tdo_toplevel_call(const char *name, int nargs, Jsonb *payload);

#endif							/* TDO_TOPLEVEL_H */
