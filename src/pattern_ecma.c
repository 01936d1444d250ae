/*-------------------------------------------------------------------------
 *
 * pattern_ecma.c
 *	  ECMA-262 regular expressions in PCRE2's dialect.
 *
 * Job: translate what the two dialects differ in, and refuse what ECMA-262 does not
 * have (recursion, verbs, conditions, \K, possessive quantifiers ...).
 * Called by: pattern.c.
 * Locks: none.
 * Crash: pure functions over memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pattern_ecma.h"

/* the characters of \s, and the others, as ranges inside [] */
#define SPACES \
	"\\x{09}-\\x{0D}\\x{20}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}\\x{FEFF}"
#define SPACE_ITEMS	12
#define NO_SPACES \
	"\\x{00}-\\x{08}\\x{0E}-\\x{1F}\\x{21}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}" \
	"\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{FEFE}\\x{FF00}-\\x{10FFFF}"

static int
peek(const TdoEcma *t, int ahead)
{
	return t->at + ahead < t->len ? (unsigned char) t->in[t->at + ahead] : -1;
}

/* n hexadecimal digits, or up to the closing brace when n is 0; -1: they are not there */
static int32
read_hex(TdoEcma *t, int n)
{
	int32		value = 0;
	int			digits = 0;

	while (n == 0 || digits < n)
	{
		int			c = peek(t, 0);

		if (n == 0 && c == '}' && digits > 0)
		{
			t->at++;
			break;
		}
		if (c < 0 || !isxdigit(c) || value > 0x10FFFF)
			return -1;
		value = value * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
		t->at++;
		digits++;
	}
	return value > 0x10FFFF ? -1 : value;
}

/* after \u */
static void
translate_unicode(TdoEcma *t)
{
	int32		c;

	if (peek(t, 0) == '{')
	{
		t->at++;
		c = read_hex(t, 0);
	}
	else
	{
		c = read_hex(t, 4);
		if (c >= 0xD800 && c < 0xDC00 && peek(t, 0) == '\\' && peek(t, 1) == 'u')
		{
			int32		low;

			t->at += 2;
			low = read_hex(t, 4);
			c = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00) : -1;
		}
	}
	if (c < 0 || (c >= 0xD800 && c < 0xE000))
		t->why = "no such character after \\u";
	else
		appendStringInfo(&t->out, "\\x{%X}", c);
}

/* after \p or \P: PCRE2 has no long names of general categories */
static void
translate_property(TdoEcma *t, char letter)
{
	static const struct
	{
		const char *name;
		const char *category;
	}			categories[] = {
		{"cased_letter", "L&"}, {"close_punctuation", "Pe"}, {"connector_punctuation", "Pc"},
		{"control", "Cc"}, {"cntrl", "Cc"}, {"currency_symbol", "Sc"}, {"dash_punctuation", "Pd"},
		{"decimal_number", "Nd"}, {"digit", "Nd"}, {"enclosing_mark", "Me"},
		{"final_punctuation", "Pf"}, {"format", "Cf"}, {"initial_punctuation", "Pi"},
		{"letter", "L"}, {"letter_number", "Nl"}, {"line_separator", "Zl"}, {"lowercase_letter", "Ll"},
		{"mark", "M"}, {"combining_mark", "M"}, {"math_symbol", "Sm"}, {"modifier_letter", "Lm"},
		{"modifier_symbol", "Sk"}, {"nonspacing_mark", "Mn"}, {"number", "N"},
		{"open_punctuation", "Ps"}, {"other", "C"}, {"other_letter", "Lo"}, {"other_number", "No"},
		{"other_punctuation", "Po"}, {"other_symbol", "So"}, {"paragraph_separator", "Zp"},
		{"private_use", "Co"}, {"punctuation", "P"}, {"punct", "P"}, {"separator", "Z"},
		{"space_separator", "Zs"}, {"spacing_mark", "Mc"}, {"surrogate", "Cs"}, {"symbol", "S"},
		{"titlecase_letter", "Lt"}, {"unassigned", "Cn"}, {"uppercase_letter", "Lu"}
	};
	const char *start = t->in + t->at + 1;
	const char *end = peek(t, 0) == '{' ? memchr(start, '}', t->len - t->at - 1) : NULL;
	char	   *name;
	char	   *value;

	if (end == NULL)
	{
		t->why = "no property in braces after \\p";
		return;
	}
	if (*start == '^')
	{
		t->why = "no such property";
		return;
	}
	name = pnstrdup(start, end - start);
	t->at += end - start + 2;
	value = strchr(name, '=');
	if (value && (strncmp(name, "gc=", 3) == 0 || strncmp(name, "General_Category=", 17) == 0))
		memmove(name, value + 1, strlen(value + 1) + 1);
	for (int i = 0; i < lengthof(categories); i++)
	{
		if (pg_strcasecmp(name, categories[i].name) == 0)
		{
			appendStringInfo(&t->out, "\\%c{%s}", letter, categories[i].category);
			return;
		}
	}
	appendStringInfo(&t->out, "\\%c{%s}", letter, name);
}

/* after a \1 to \9 */
static void
translate_back_reference(TdoEcma *t)
{
	int			start = t->at - 1;

	while (peek(t, 0) >= '0' && peek(t, 0) <= '9')
		t->at++;
	if (t->in_class || t->at - start > 4)
		t->why = "no such group";
	else
		appendStringInfo(&t->out, "\\g{%.*s}", t->at - start, t->in + start);
	t->refers_back = true;
}

/* after \k */
static void
translate_named_reference(TdoEcma *t)
{
	const char *end = peek(t, 0) == '<' && !t->in_class ? memchr(t->in + t->at, '>', t->len - t->at) : NULL;

	if (end == NULL)
	{
		t->why = "no name after \\k";
		return;
	}
	appendStringInfoString(&t->out, "\\k");
	appendBinaryStringInfo(&t->out, t->in + t->at, end + 1 - (t->in + t->at));
	t->at = end + 1 - t->in;
	t->refers_back = true;
}

/* in a class, after an escape that stands for several characters, '-' is itself */
static void
literal_dash(TdoEcma *t)
{
	if (t->in_class && peek(t, 0) == '-' && peek(t, 1) != ']')
	{
		appendStringInfoString(&t->out, "\\-");
		t->at++;
	}
}

static void
translate_escape(TdoEcma *t)
{
	int			c = peek(t, 0);
	int32		value;

	t->at++;
	switch (c)
	{
		case -1:
			t->why = "nothing after \\";
			break;
		case 'd':
		case 'D':
		case 'w':
		case 'W':
			appendStringInfo(&t->out, "\\%c", c);
			literal_dash(t);
			break;
		case 'b':
		case 'B':
		case 'n':
		case 'r':
		case 't':
		case 'f':
			appendStringInfo(&t->out, "\\%c", c);
			break;
		case 's':
		case 'S':
			if (t->in_class)
				appendStringInfoString(&t->out, c == 's' ? SPACES : NO_SPACES);
			else
			{
				appendStringInfo(&t->out, "[%s%s]", c == 's' ? "" : "^", SPACES);
				t->widest_class = Max(t->widest_class, SPACE_ITEMS);
			}
			literal_dash(t);
			break;
		case 'v':
			appendStringInfoString(&t->out, "\\x{0B}");
			break;
		case '0':
			if (peek(t, 0) >= '0' && peek(t, 0) <= '9')
				t->why = "octal escapes are not supported";
			appendStringInfoString(&t->out, "\\x{00}");
			break;
		case 'c':
			c = peek(t, 0);
			if (c < 0 || c > 0x7f || !isalpha(c))
				t->why = "no letter after \\c";
			else
				appendStringInfo(&t->out, "\\x{%02X}", c % 32);
			t->at++;
			break;
		case 'x':
			value = read_hex(t, 2);
			if (value < 0)
				t->why = "no two hexadecimal digits after \\x";
			else
				appendStringInfo(&t->out, "\\x{%02X}", value);
			break;
		case 'u':
			translate_unicode(t);
			break;
		case 'p':
		case 'P':
			translate_property(t, c);
			literal_dash(t);
			break;
		case 'k':
			translate_named_reference(t);
			break;
		default:
			if (c >= '1' && c <= '9')
				translate_back_reference(t);
			else if (c < 0x80 && isalnum(c))
				t->why = "no such escape in ECMA-262";
			else
			{
				/*
				 * (before a byte of a longer character it would do no harm,
				 * but is not needed)
				 */
				if (c < 0x80)
					appendStringInfoChar(&t->out, '\\');
				appendStringInfoChar(&t->out, c);
			}
	}
}

/* x{n}, x{n,}, x{n,m}: its length, and the larger number; 0: the brace is a character */
static int
counted(const TdoEcma *t, int *count)
{
	int			i = 1;
	int			number = 0;
	int			digits = 0;

	*count = 0;
	for (;; i++)
	{
		int			c = peek(t, i);

		if (c >= '0' && c <= '9' && digits < 6)
		{
			number = number * 10 + (c - '0');
			digits++;
			*count = Max(*count, number);
		}
		else if (c == ',' && digits > 0 && memchr(t->in + t->at, ',', i) == NULL)
			number = 0;
		else
			return c == '}' && digits > 0 ? i + 1 : 0;
	}
}

/* the quantifier that stands here, as a whole; false: none does */
static bool
translate_quantifier(TdoEcma *t)
{
	int			c = peek(t, 0);
	int			count = 0;
	int			len = 1;

	if (c == '{')
		len = counted(t, &count);
	else if (c != '*' && c != '+' && c != '?')
		len = 0;
	if (len == 0)
		return false;
	t->longest_count = Max(t->longest_count, count);
	appendBinaryStringInfo(&t->out, t->in + t->at, len);
	t->at += len;
	if (peek(t, 0) == '?')
	{
		appendStringInfoChar(&t->out, '?');
		t->at++;
	}
	c = peek(t, 0);
	if (c == '*' || c == '+' || c == '?' || (c == '{' && counted(t, &count) > 0))
		t->why = "nothing to repeat";
	return true;
}

/* ASCII is a bitmap; for any other character all else that is named is gone through */
static void
count_class_items(TdoEcma *t, int c)
{
	if (c == '\\')
		t->class_items += peek(t, 0) == 's' || peek(t, 0) == 'S' ? SPACE_ITEMS : 1;
	else if (c >= 0xC0)
		t->class_items++;
	t->widest_class = Max(t->widest_class, t->class_items);
}

/* after "(" */
static void
translate_group(TdoEcma *t)
{
	int			c = peek(t, 1);
	bool		known = c == ':' || c == '=' || c == '!' || c == '<';

	appendStringInfoChar(&t->out, '(');
	if (peek(t, 0) == '*')
		t->why = "nothing to repeat";
	if (peek(t, 0) != '?')
		return;
	if (!known)
		t->why = "no such group in ECMA-262";
	appendStringInfoChar(&t->out, '?');
	t->at++;
	if (c == '<' && peek(t, 1) == '*')
		t->why = "nothing to repeat";	/* a lookbehind of PCRE2's own */
	/* then it is no quantifier */
	appendStringInfoChar(&t->out, c);
	t->at++;
}

/* after "[" */
static void
begin_class(TdoEcma *t)
{
	appendStringInfoChar(&t->out, '[');
	if (peek(t, 0) == '^')
	{
		appendStringInfoChar(&t->out, '^');
		t->at++;
	}
	t->in_class = true;
	t->class_items = 0;
}

static void
translate_in_class(TdoEcma *t)
{
	int			c = (unsigned char) t->in[t->at++];

	count_class_items(t, c);
	if (c == '\\')
		translate_escape(t);
	else if (c == '[')
		appendStringInfoString(&t->out, "\\[");
	else if (c == '-' && peek(t, 0) == '\\' && peek(t, 1) > 0 && strchr("dDwWsSpP", peek(t, 1)))
		appendStringInfoString(&t->out, "\\-");
	else
	{
		appendStringInfoChar(&t->out, c);
		t->in_class = c != ']';
	}
}

static void
translate_one(TdoEcma *t)
{
	int			c;

	if (t->in_class)
	{
		translate_in_class(t);
		return;
	}
	if (translate_quantifier(t))
		return;
	c = t->in[t->at++];
	switch (c)
	{
		case '\\':
			translate_escape(t);
			break;
		case '.':
			appendStringInfoString(&t->out, "[^\\n\\r\\x{2028}\\x{2029}]");
			break;
		case '[':
			begin_class(t);
			break;
		case '(':
			translate_group(t);
			break;
		case '{':
		case '}':
			appendStringInfo(&t->out, "\\%c", c);
			break;
		default:
			appendStringInfoChar(&t->out, c);
	}
}

/* false: t->why says why, t->at where */
bool
tdo_ecma_translate(TdoEcma *t)
{
	int			room = 0;

	while (t->at < t->len)
	{
		int			start = t->at;

		translate_one(t);
		if (t->why)
		{
			t->at = start;
			return false;
		}
		if (t->out.len > room)
		{
			room = t->out.len * 2;
			t->origin = t->origin ? repalloc(t->origin, sizeof(int) * room) : palloc(sizeof(int) * room);
		}
		while (t->origins < t->out.len)
			t->origin[t->origins++] = start;
	}
	return true;
}
