/*-------------------------------------------------------------------------
 *
 * session.h
 *	  A fresh session for each run, inside a process that lives on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_SESSION_H
#define TDO_SESSION_H

#include "postgres.h"

/* executors only: watch what user code does to its session */
extern void tdo_session_init(Oid role);

/*
 * Inside a transaction, as its first step: may this session still run the
 * role's tasks?  What it took in at login cannot be renewed.
 */
extern bool tdo_session_still_fits(void);

/* inside the transaction, between two runs that share it */
extern void tdo_session_between_runs(void);

/* did the last run leave something that only the end of the transaction undoes? */
extern bool tdo_session_must_end_batch(void);

/* the part of the next that is settings, the role among them; executors only */
extern void tdo_session_reset_settings(void);

/* inside a transaction, before its first run: what the previous batch left */
extern void tdo_session_reset(void);

/*
 * Outside a transaction, after a batch: drop temporary tables, in a transaction
 * of its own, if the last transaction touched any, or always.
 */
extern void tdo_session_drop_temp(bool always);

#endif							/* TDO_SESSION_H */
