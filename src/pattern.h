/*-------------------------------------------------------------------------
 *
 * pattern.h
 *	  ECMA-262 regular expressions, as JSON Schema's patterns are, by PCRE2.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_PATTERN_H
#define TDO_PATTERN_H

#include "postgres.h"

typedef struct TdoPattern TdoPattern;

/*
 * Compiled into the current context, gone with it. NULL: it is none, or one that
 * is not supported; then *why says so, palloc'd there, too.
 */
extern TdoPattern *tdo_pattern_compile(const char *source, int len, char **why);

/*
 * Does it match anywhere in the text (server encoding)? Takes what it costs from
 * *steps; below zero: given up, and the answer means nothing.
 */
extern bool tdo_pattern_matches(const TdoPattern *pattern, const char *text, int len, int64 *steps);

#endif							/* TDO_PATTERN_H */
