/*-------------------------------------------------------------------------
 *
 * pattern.c
 *	  ECMA-262 regular expressions, as JSON Schema's patterns are, by PCRE2.
 *
 * Job: compile, and match within a number of steps. PCRE2's own match limit begins
 * anew at each position of the text and does not see how far one item reads, so a
 * callout before each item of the pattern counts, and lets go when the backend is
 * interrupted.
 * Called by: schema_keywords.c, schema_rules.c, schema_check.c.
 * Locks: none.
 * Crash: a process's memory. No error is raised inside PCRE2: what it allocates
 * comes without raising, and the callout only tells it to stop.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "pattern.h"
#include "pattern_ecma.h"

#define MAX_LENGTH		8192	/* bytes */
#define MAX_NESTING		100
#define MAX_MATCH_HEAP	16384	/* kB, of what backtracking must remember */
#define MAX_BACKTRACKS	10000000
#define MAX_KEPT		(1024 * 1024)	/* bytes, of that, for the next match */

struct TdoPattern
{
	pcre2_code *code;
	int			unseen;			/* characters that one item may read, or go
								 * back, and yet not be seen to */
	int			char_cost;		/* of reading one, in 1/64 of a step */
	bool		refers_back;	/* then it is all of the text */
};

/* ---------------------------------------------------------- PCRE2's memory */

static void *
allocate(PCRE2_SIZE size, void *context)
{
	if (size == 0 || size > MaxAllocSize)
		return NULL;
	return MemoryContextAllocExtended((MemoryContext) context, size, MCXT_ALLOC_NO_OOM);
}

static void
release(void *p, void *context)
{
	if (p)
		pfree(p);
}

/* ------------------------------------------------------------- compilation */

static char *
refusal(const char *why, int offset)
{
	return psprintf("%s, at offset %d", why, offset);
}

static bool
compile_translated(TdoPattern *pattern, const TdoEcma *t, char **why)
{
	pcre2_general_context *general = pcre2_general_context_create(allocate, release, CurrentMemoryContext);
	pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
	int			error = PCRE2_ERROR_NOMEMORY;
	PCRE2_SIZE	offset = 0;

	if (context)
	{
		pcre2_set_parens_nest_limit(context, MAX_NESTING);
		pattern->code = pcre2_compile((PCRE2_SPTR) t->out.data, t->out.len,
									  PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALLOW_EMPTY_CLASS |
									  PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C |
									  PCRE2_AUTO_CALLOUT,
									  &error, &offset, context);
		pcre2_compile_context_free(context);
	}
	if (general)
		pcre2_general_context_free(general);
	if (pattern->code == NULL)
	{
		char		message[256];
		int			at = t->len;

		if (pcre2_get_error_message(error, (PCRE2_UCHAR *) message, sizeof(message)) < 0)
			strlcpy(message, "it cannot be compiled", sizeof(message));
		if ((int) offset < t->origins)
			at = t->origin[offset];
		*why = refusal(message, at);
		return false;
	}
	return true;
}

TdoPattern *
tdo_pattern_compile(const char *source, int len, char **why)
{
	TdoEcma		t = {0};
	TdoPattern *pattern;
	bool		fine;

	CHECK_FOR_INTERRUPTS();
	if (len > MAX_LENGTH)
	{
		*why = psprintf("it has more than %d bytes", MAX_LENGTH);
		return NULL;
	}
	t.in = pg_server_to_any(source, len, PG_UTF8);
	t.len = t.in == source ? len : strlen(t.in);
	pattern = palloc0(sizeof(TdoPattern));
	initStringInfo(&t.out);
	fine = tdo_ecma_translate(&t);
	if (!fine)
		*why = refusal(t.why, t.at);
	else
		fine = compile_translated(pattern, &t, why);
	pfree(t.out.data);
	if (t.origin)
		pfree(t.origin);
	pattern->unseen = t.longest_count;
	pattern->char_cost = 2 + t.widest_class;
	if (fine)
	{
		uint32		behind = 0;

		/* of a lookbehind that begins before the text */
		(void) pcre2_pattern_info(pattern->code, PCRE2_INFO_MAXLOOKBEHIND, &behind);
		pattern->unseen = Max(pattern->unseen, (int) behind);
	}
	pattern->refers_back = t.refers_back;
	return fine ? pattern : NULL;
}

/* ---------------------------------------------------------------- matching */

typedef struct Matching
{
	int64	   *steps;
	PCRE2_SIZE	last;			/* where the item before began */
	int64		unseen;			/* what an item may cost beyond the distance */
	int			char_cost;
	bool		heed_interrupts;
} Matching;

static pcre2_match_context * match_context = NULL;
static pcre2_match_data * match_data = NULL;
static MemoryContext match_memory = NULL;

static int
count_item(pcre2_callout_block * block, void *data)
{
	Matching   *m = data;
	PCRE2_SIZE	at = block->current_position;

	*m->steps -= 1 + (int64) (at > m->last ? at - m->last : m->last - at) * m->char_cost / 64 + m->unseen;
	m->last = at;
	if (*m->steps < 0 || (m->heed_interrupts && InterruptPending))
		return PCRE2_ERROR_CALLOUT;
	return 0;
}

static bool
prepare_matching(void)
{
	pcre2_general_context *general;

	if (match_data)
		return true;
	if (match_memory == NULL)
		match_memory = AllocSetContextCreate(TopMemoryContext, "triggerdo patterns",
											 ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(match_memory);
	general = pcre2_general_context_create(allocate, release, match_memory);
	if (general == NULL)
		return false;
	match_context = pcre2_match_context_create(general);
	match_data = match_context ? pcre2_match_data_create(1, general) : NULL;
	if (match_data == NULL)
		return false;
	pcre2_set_match_limit(match_context, MAX_BACKTRACKS);
	pcre2_set_depth_limit(match_context, MAX_BACKTRACKS);
	pcre2_set_heap_limit(match_context, MAX_MATCH_HEAP);
	return true;
}

/* PCRE2 keeps what it had to remember; a session is not to have it for good */
static void
give_back(void)
{
	if (match_memory && MemoryContextMemAllocated(match_memory, false) > MAX_KEPT)
	{
		match_data = NULL;
		MemoryContextReset(match_memory);
	}
}

/* as PCRE2 says it */
static int
match(const TdoPattern *pattern, const char *text, int len, Matching *m)
{
	int			rc;

	m->last = 0;
	pcre2_set_callout(match_context, count_item, m);
	rc = pcre2_match(pattern->code, (PCRE2_SPTR) text, len, 0,
					 GetDatabaseEncoding() == PG_UTF8 ? PCRE2_NO_UTF_CHECK : 0,
					 match_data, match_context);
	pcre2_set_callout(match_context, NULL, NULL);
	return rc;
}

bool
tdo_pattern_matches(const TdoPattern *pattern, const char *text, int len, int64 *steps)
{
	Matching	m = {0};

	/* (SQL_ASCII is taken for UTF-8; bytes that are none are no error here) */
	const char *utf8 = GetDatabaseEncoding() == PG_SQL_ASCII ? text : pg_server_to_any(text, len, PG_UTF8);
	int			rc = PCRE2_ERROR_NOMEMORY;

	if (utf8 != text)
		len = strlen(utf8);
	m.steps = steps;
	m.char_cost = pattern->char_cost;
	m.unseen = (int64) (pattern->refers_back ? len : Min(Max(pattern->unseen, 1), len)) * m.char_cost / 64;
	*steps -= 1 + len / 64;
	/* (an item may read all of the text, and nothing stops it on the way) */
	if (*steps < (int64) len * m.char_cost / 64)
		*steps = -1;
	if (*steps < 0)
		return false;
	if (prepare_matching())
	{
		m.heed_interrupts = INTERRUPTS_CAN_BE_PROCESSED();
		rc = match(pattern, utf8, len, &m);
		while (rc == PCRE2_ERROR_CALLOUT && *steps >= 0)
		{
			/*
			 * not every interrupt ends the statement; what was done is paid
			 * for
			 */
			CHECK_FOR_INTERRUPTS();
			rc = match(pattern, utf8, len, &m);
		}
	}
	if (utf8 != text)
		pfree(unconstify(char *, utf8));
	give_back();
	if (rc >= 0)
		return true;
	/* (what is no text in UTF-8, as SQL_ASCII allows, matches nothing) */
	if (rc != PCRE2_ERROR_NOMATCH && (rc > PCRE2_ERROR_UTF8_ERR1 || rc < PCRE2_ERROR_UTF8_ERR21))
		*steps = -1;
	return false;
}
