/*-------------------------------------------------------------------------
 *
 * utility.h
 *	  Making way for statements on databases and on the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_UTILITY_H
#define TDO_UTILITY_H

extern void tdo_utility_init(void); /* from _PG_init, while preloading */

#endif							/* TDO_UTILITY_H */
