/*-------------------------------------------------------------------------
 *
 * pattern_ecma.h
 *	  ECMA-262 regular expressions in PCRE2's dialect.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_PATTERN_ECMA_H
#define TDO_PATTERN_ECMA_H

#include "postgres.h"

#include "lib/stringinfo.h"

/* zero but for in, len (UTF-8) and out, an empty string; all of it in the current context */
typedef struct TdoEcma
{
	const char *in;
	int			len;
	int			at;				/* the next byte of `in` */
	StringInfoData out;
	int		   *origin;			/* for each byte of `out`, where it came from */
	int			origins;
	int			longest_count;	/* of x{n} */
	int			class_items;	/* what PCRE2 looks through for one character:
								 * of this class */
	int			widest_class;	/* and of the widest */
	bool		refers_back;
	bool		in_class;
	const char *why;			/* not NULL: refused */
} TdoEcma;

/* fills out, origin and what stands below; false: why says why not, at where */
extern bool tdo_ecma_translate(TdoEcma *t);

#endif							/* TDO_PATTERN_ECMA_H */
