/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files and requests become words of a command line, so that there is one parser, one list of what is refused, one set of
 * error messages.
 *
 * A configuration file has an option per line: its long name without dashes, blanks, at most one value. A value with blanks is in double
 * quotes, \" inside them; # begins a comment, in an unquoted value as well (criu(8), CONFIGURATION FILES). */
#include "cr/args.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"

#define FILE_MAX (64 * 1024)

static bool is_named(const struct option *row, const char *name, size_t len)
{
	bool plain = strlen(row->name) == len && !strncmp(row->name, name, len);
	bool negated = row->negatable && len == strlen(row->name) + 3 && !strncmp(name, "no-", 3) && !strncmp(row->name, name + 3, len - 3);

	return plain || negated;
}

static int knows(enum cr_verb verb, const char *name, bool *applies)
{
	bool known = false;

	*applies = false;
	for (size_t i = 0; i < cr_options_table.n_rows; i++) {
		const struct option *row = &cr_options_table.rows[i];
		if (!is_named(row, name, strlen(name)))
			continue;
		known = true;
		*applies |= (row->verbs & OPTION_VERB(verb)) != 0;
	}
	return known ? 0 : fail_text(EINVAL, "unknown option %s", name);
}

void cr_args_word(struct cr_args *a, const char *word)
{
	array_push(&a->words) = str_dup(word);
}

int cr_args_add(struct cr_args *a, const char *name, const char *value)
{
	bool applies;
	int r = knows(a->verb, name, &applies);

	if (r == 0 && applies)
		array_push(&a->words) = value ? str_printf("--%s=%s", name, value) : str_printf("--%s", name);
	return r;
}

/* --- files ------------------------------------------------------------------------------------------------------------------ */

static char *skip_blanks(char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

/* The quoted value at s (behind the quote), unescaped in place; its end, or NULL if there is none. */
static char *unquote(char *s)
{
	char *to = s;

	for (; *s && *s != '"'; s++) {
		if (s[0] == '\\' && s[1] == '"')
			s++;
		*to++ = *s;
	}
	if (*s != '"')
		return NULL;
	*to = '\0';
	return s + 1;
}

static int take_line(struct cr_args *a, char *line, const char *path, unsigned number)
{
	char *name = skip_blanks(line), *end = name + strcspn(name, " \t#"), *value, *rest;

	if (!*name || *name == '#')
		return 0;
	bool quoted = false, comment = *end == '#';
	value = *end && !comment ? skip_blanks(end + 1) : end;
	*end = '\0';
	if (comment)
		value = rest = end;
	else if ((quoted = *value == '"')) {
		rest = unquote(++value);
	} else {
		rest = value + strcspn(value, " \t#");
		char stop = *rest;
		*rest = '\0';
		rest = stop && stop != '#' ? rest + 1 : rest;
	}
	if (!rest)
		return fail_text(EINVAL, "%s, line %u: the quoted value has no end", path, number);
	rest = skip_blanks(rest);
	if (*rest && *rest != '#')
		return fail_text(EINVAL, "%s, line %u: more than one value; quote one with blanks", path, number);
	int r = cr_args_add(a, name, *value || quoted ? value : NULL);
	return r < 0 ? fail_text(-r, "%s, line %u", path, number) : 0;
}

int cr_args_file(struct cr_args *a, const char *path, bool may_be_missing)
{
	autofree char *text = NULL;
	ssize_t size = file_read(AT_FDCWD, path, &text, FILE_MAX);
	unsigned number = 0;
	int r = 0;

	if (size == -ENOENT && may_be_missing)
		return 0;
	if (size < 0)
		return fail((int)-size, "read the configuration file %s", path);
	for (char *line = text, *next; line && r == 0; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		r = take_line(a, line, path, ++number);
	}
	return r;
}

int cr_args_files(struct cr_args *a, bool defaults, const char *own)
{
	const char *home = getenv("HOME"), *named = getenv("CRIU_CONFIG_FILE");
	autofree char *personal = home ? str_printf("%s/.criu/default.conf", home) : NULL;
	int r = defaults && !own ? cr_args_file(a, "/etc/criu/default.conf", true) : 0;

	if (r == 0 && personal && defaults && !own)
		r = cr_args_file(a, personal, true);
	if (r == 0 && named && *named)
		r = cr_args_file(a, named, false);
	return r < 0 || !own ? r : cr_args_file(a, own, false);
}

/* --- the end --------------------------------------------------------------------------------------------------------------- */

int cr_args_parse(struct cr_args *a, struct cr_options *o)
{
	int argc = (int)a->words.n;
	char **argv = a->argv = mem_zalloc((a->words.n + 1) * sizeof *argv), **left = argv;

	for (int i = 0; i < argc; i++)
		argv[i] = a->words.data[i];
	int r = option_parse(&cr_options_table, (unsigned)a->verb, &argc, &left, o);
	if (r == 0 && a->verb == CR_RESTORE && o->exec_cmd) {
		o->command = left;
		o->n_command = argc;
		return 0;
	}
	if (r == 0 && argc > 0 && a->verb != CR_SWRK && a->verb != CR_CPUINFO)
		return fail_text(EINVAL, "unexpected argument %s", left[0]);
	if (r == 0 && argc > 1)
		return fail_text(EINVAL, "unexpected argument %s", left[1]);
	o->positional = argc > 0 ? left[0] : NULL;
	return r;
}

void cr_args_free(struct cr_args *a)
{
	for (size_t i = 0; i < a->words.n; i++)
		free(a->words.data[i]);
	array_free(&a->words);
	free_pointer(&a->argv);
}
