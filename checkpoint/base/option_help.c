/* SPDX-License-Identifier: Apache-2.0 */
/* --help and the manual page, written from the option table.
 *
 * Rows appear in the table's order. A refused option is listed with the reason: who looks for it should find out here, not by
 * trying. In roff, a line that begins with a dot or a quote and every backslash and minus would be taken for something else:
 * roff_text() escapes them. */
#include "base/option.h"

#include <string.h>

#define COLUMN 32        /* where the explanations begin */
#define WIDTH 112

static bool shown(const struct option *row, unsigned verb)
{
	return !row->hidden && (row->verbs & OPTION_VERB(verb));
}

static bool has_options(const struct option_table *t, unsigned verb)
{
	for (size_t i = 0; i < t->n_rows; i++)
		if (shown(&t->rows[i], verb))
			return true;
	return false;
}

/* Words of text from column `at` on, wrapped at WIDTH with later lines at COLUMN; returns the column reached. */
static int wrap(FILE *out, int at, const char *text)
{
	while (*text) {
		int word = (int)strcspn(text, " ");
		if (at + word > WIDTH && at > COLUMN)
			at = fprintf(out, "\n%*s", COLUMN, "") - 1;
		at += fprintf(out, "%.*s", word, text);
		text += word;
		for (; *text == ' '; text++)
			if (at < WIDTH)
				at += fprintf(out, " ");
	}
	return at;
}

/* What a value looks like: "FILE", "table|json". */
static const char *argument(const struct option *row, char *buffer, size_t size)
{
	if (row->argument || row->type == OPTION_FLAG)
		return row->argument ? row->argument : "";
	if (row->type == OPTION_LEVEL)
		return "N";
	if (row->type != OPTION_ENUM)
		return row->type == OPTION_SIZE ? "SIZE" : row->type >= OPTION_INT ? "N" : "VALUE";
	buffer[0] = 0;
	for (size_t i = 0, len = 0; row->names[i] && len < size; i++, len = strlen(buffer))
		snprintf(buffer + len, size - len, "%s%s", i ? "|" : "", row->names[i]);
	return buffer;
}

static bool value_is_optional(const struct option *row)
{
	return row->type == OPTION_LEVEL || row->type == OPTION_OPTIONAL;
}

static void help_row(FILE *out, const struct option *row)
{
	char names[256], left[384], short_form[8] = "    ";
	const char *value = argument(row, names, sizeof names);

	if (row->short_name)
		snprintf(short_form, sizeof short_form, "-%c, ", row->short_name);
	snprintf(left, sizeof left, "  %s--%s%s%s%s%s", short_form, row->negatable ? "[no-]" : "", row->name,
		value_is_optional(row) ? "[=" : *value ? " " : "", value, value_is_optional(row) ? "]" : "");
	int at = fprintf(out, "%s", left);
	at = at < COLUMN - 1 ? at + fprintf(out, "%*s", COLUMN - at, "") : fprintf(out, "\n%*s", COLUMN, "") - 1;
	at = wrap(out, at, row->help);
	if (row->refused) {
		at = wrap(out, at, " (not supported: ");
		at = wrap(out, at, row->refused);
		wrap(out, at, ")");
	}
	fputc('\n', out);
}

void option_help_options(FILE *out, const struct option_table *t, unsigned verb)
{
	for (size_t i = 0; i < t->n_rows; i++)
		if (shown(&t->rows[i], verb))
			help_row(out, &t->rows[i]);
}

void option_help_verbs(FILE *out, const struct option_table *t)
{
	for (size_t i = 0; i < t->n_verbs; i++)
		if (t->verbs[i].name && !t->verbs[i].hidden)
			fprintf(out, "  %-14s%s\n", t->verbs[i].name, t->verbs[i].help);
}

void option_help(FILE *out, const struct option_table *t, unsigned verb)
{
	const struct option_verb *v = verb < t->n_verbs ? &t->verbs[verb] : NULL;

	fprintf(out, "Usage: %s%s%s%s%s%s\n", t->program, v && v->name ? " " : "", v && v->name ? v->name : "",
		has_options(t, verb) ? " [options]" : "", v && v->arguments ? " " : "", v && v->arguments ? v->arguments : "");
	if (v && v->help)
		fprintf(out, "\n%s\n", v->help);
	if (has_options(t, verb)) {
		fprintf(out, "\nOptions:\n");
		option_help_options(out, t, verb);
	}
}

/* -- the manual -------------------------------------------------------------------------------------------------------------- */

static void roff_text(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++)
		if (*text == '-')
			fputs("\\-", out);
		else if (*text == '\\')
			fputs("\\e", out);
		else
			fputc(*text, out);
}

static void roff_bold(FILE *out, const char *prefix, const char *text)
{
	fputs("\\fB", out);
	roff_text(out, prefix);
	roff_text(out, text);
	fputs("\\fR", out);
}

static void man_row(FILE *out, const struct option *row)
{
	char names[256];
	const char *value = argument(row, names, sizeof names);

	fputs(".TP\n", out);
	if (row->short_name) {
		roff_bold(out, "-", (char[]){ row->short_name, 0 });
		fputs(", ", out);
	}
	roff_bold(out, row->negatable ? "--[no-]" : "--", row->name);
	if (*value) {
		fputs(value_is_optional(row) ? "[=\\fI" : " \\fI", out);
		roff_text(out, value);
		fputs(value_is_optional(row) ? "\\fR]" : "\\fR", out);
	}
	fputc('\n', out);
	roff_text(out, row->help);
	if (row->refused) {
		fputs(" (not supported: ", out);
		roff_text(out, row->refused);
		fputc(')', out);
	}
	fputs(".\n", out);
}

void option_man_options(FILE *out, const struct option_table *t, unsigned verb)
{
	for (size_t i = 0; i < t->n_rows; i++)
		if (shown(&t->rows[i], verb))
			man_row(out, &t->rows[i]);
}

static void man_common(FILE *out, const struct option_table *t)
{
	bool any = false;

	for (size_t i = 0; i < t->n_rows; i++) {
		if (t->rows[i].verbs != OPTION_EVERY_VERB || t->rows[i].hidden)
			continue;
		if (!any)
			fputs(".SS \"Options of every command\"\n", out);
		any = true;
		man_row(out, &t->rows[i]);
	}
}

static void man_verb(FILE *out, const struct option_table *t, unsigned verb)
{
	const struct option_verb *v = &t->verbs[verb];

	fputs(".SS \"", out);
	roff_text(out, t->program);
	fputc(' ', out);
	roff_text(out, v->name);
	fprintf(out, "%s", has_options(t, verb) ? " [options]" : "");
	if (v->arguments) {
		fputc(' ', out);
		roff_text(out, v->arguments);
	}
	fputs("\"\n", out);
	const char *about = v->about ? v->about : v->help;
	roff_text(out, about);
	fputs(about[strlen(about) - 1] == '.' ? "\n" : ".\n", out);
	for (size_t i = 0; i < t->n_rows; i++)
		if (shown(&t->rows[i], verb) && t->rows[i].verbs != OPTION_EVERY_VERB)
			man_row(out, &t->rows[i]);
}

void option_man(FILE *out, const struct option_table *t)
{
	man_common(out, t);
	for (unsigned i = 0; i < t->n_verbs; i++)
		if (t->verbs[i].name && !t->verbs[i].hidden)
			man_verb(out, t, i);
}
