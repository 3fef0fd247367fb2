/* SPDX-License-Identifier: Apache-2.0 */
/* Completion scripts for bash, zsh and fish, written from the option tables.
 *
 * All three complete commands, the options of the command that is there already, names of values that are a list, files and directories
 * (by the placeholder: DIR, FILE, SOCKET), and for a first argument called CONTAINER what `PROGRAM list --quiet` prints. Refused and hidden
 * rows are left out. A program either has global options (a table of its own) and options after the command, or one table for both. */
#include <ctype.h>
#include <string.h>

#include "base/option.h"

static bool shown(const struct option *row, unsigned verb)
{
	return !row->hidden && !row->refused && (row->verbs & OPTION_VERB(verb));
}

static bool takes_value(const struct option *row)
{
	return row->type != OPTION_FLAG && row->type != OPTION_LEVEL && row->type != OPTION_OPTIONAL;
}

static bool names_file(const struct option *row)
{
	return row->argument && (!strcmp(row->argument, "FILE") || !strcmp(row->argument, "SOCKET") || !strcmp(row->argument, "DIR"));
}

static bool wants_container(const struct option_verb *v)
{
	return v->arguments && !strncmp(v->arguments, "CONTAINER", strlen("CONTAINER"));
}

static bool is_listed(const struct option_verb *v)
{
	return v->name && !v->hidden;
}

/* A function's name: torpor-cr is _torpor_cr. */
static void function_name(FILE *out, const char *program)
{
	fputc('_', out);
	for (; *program; program++)
		fputc(isalnum((unsigned char)*program) ? *program : '_', out);
}

/* In single quotes; zsh's specifications have a meaning for [ ] : in them. */
static void quoted(FILE *out, const char *text, bool zsh)
{
	for (; *text; text++)
		if (*text == '\'')
			fputs("'\\''", out);
		else if (zsh && strchr("[]:\\", *text))
			fprintf(out, "\\%c", *text);
		else
			fputc(*text, out);
}

/* -- bash ------------------------------------------------------------------------------------------------------------------------ */

static void bash_words(FILE *out, const struct option_table *t, unsigned verb)
{
	for (size_t i = 0; i < t->n_rows; i++) {
		if (!shown(&t->rows[i], verb))
			continue;
		fprintf(out, " --%s", t->rows[i].name);
		if (t->rows[i].short_name)
			fprintf(out, " -%c", t->rows[i].short_name);
		if (t->rows[i].negatable)
			fprintf(out, " --no-%s", t->rows[i].name);
	}
}

static void bash_pattern(FILE *out, const struct option *row)
{
	fprintf(out, "--%s", row->name);
	if (row->short_name)
		fprintf(out, " | -%c", row->short_name);
}

/* What may follow an option that takes a value. */
static void bash_values(FILE *out, const struct option_table *t, unsigned verb)
{
	fputs("\t\tcase $prev in\n", out);
	for (size_t i = 0; i < t->n_rows; i++) {
		const struct option *row = &t->rows[i];
		if (!shown(row, verb) || !takes_value(row))
			continue;
		fputs("\t\t", out);
		bash_pattern(out, row);
		if (row->type == OPTION_ENUM) {
			fputs(") COMPREPLY=($(compgen -W '", out);
			for (const char *const *name = row->names; *name; name++)
				fprintf(out, "%s ", *name);
			fputs("' -- \"$cur\")); return ;;\n", out);
		} else if (names_file(row)) {
			fprintf(out, ") COMPREPLY=($(compgen -%c -- \"$cur\")); compopt -o filenames; return ;;\n", strcmp(row->argument, "DIR") ? 'f' : 'd');
		} else {
			fputs(") return ;;\n", out);
		}
	}
	fputs("\t\tesac\n", out);
}

/* Options whose value is a word of its own: what follows is not the command. */
static void bash_skipped(FILE *out, const struct option_table *t)
{
	const char *between = "\t\t";

	for (size_t i = 0; i < t->n_rows; i++) {
		if (!takes_value(&t->rows[i]) || t->rows[i].hidden)
			continue;
		fputs(between, out);
		bash_pattern(out, &t->rows[i]);
		between = " | ";
	}
	if (*between == ' ')
		fputs(") i=$((i + 1)) ;;\n", out);
}

static void bash_branch(FILE *out, const struct option_table *t, unsigned verb, const char *name)
{
	fprintf(out, "\t%s)\n", name);
	bash_values(out, t, verb);
	fputs("\t\twords='", out);
	bash_words(out, t, verb);
	fputs("'\n", out);
}

static void bash_script(FILE *out, const struct option_table *global, const struct option_table *t)
{
	fprintf(out, "# bash completion of %s\n", t->program);
	function_name(out, t->program);
	fputs("()\n{\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb= words= i\n"
	      "\tCOMPREPLY=()\n\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase ${COMP_WORDS[i]} in\n", out);
	bash_skipped(out, global ? global : t);
	fputs("\t\t-*) ;;\n\t\t*) verb=${COMP_WORDS[i]}; break ;;\n\t\tesac\n\tdone\n\tcase $verb in\n", out);
	bash_branch(out, global ? global : t, 0, "''");
	fputs("\t\twords+='", out);
	for (size_t i = 0; i < t->n_verbs; i++)
		if (is_listed(&t->verbs[i]))
			fprintf(out, " %s", t->verbs[i].name);
	fputs("' ;;\n", out);
	for (unsigned i = 0; i < t->n_verbs; i++) {
		if (!is_listed(&t->verbs[i]))
			continue;
		bash_branch(out, t, i, t->verbs[i].name);
		if (wants_container(&t->verbs[i]))
			fprintf(out, "\t\t[[ $cur == -* ]] || words+=\" $(%s list --quiet 2>/dev/null)\"\n", t->program);
		fputs("\t\t;;\n", out);
	}
	fputs("\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -F ", out);
	function_name(out, t->program);
	fprintf(out, " %s\n", t->program);
}

/* -- zsh ------------------------------------------------------------------------------------------------------------------------- */

static void zsh_value(FILE *out, const struct option *row)
{
	if (!takes_value(row))
		return;
	fputc(':', out);
	quoted(out, row->argument ? row->argument : "value", true);
	fputc(':', out);
	if (row->type == OPTION_ENUM) {
		fputc('(', out);
		for (const char *const *name = row->names; *name; name++)
			fprintf(out, "%s%s", name == row->names ? "" : " ", *name);
		fputc(')', out);
	} else if (names_file(row)) {
		fputs(strcmp(row->argument, "DIR") ? "_files" : "_files -/", out);
	}
}

static void zsh_options(FILE *out, const struct option_table *t, unsigned verb, const char *indent)
{
	for (size_t i = 0; i < t->n_rows; i++) {
		const struct option *row = &t->rows[i];
		if (!shown(row, verb))
			continue;
		fprintf(out, " \\\n%s'%s--%s%s[", indent, row->type == OPTION_LIST ? "*" : "", row->name, takes_value(row) ? "=" : "");
		quoted(out, row->help, true);
		fputc(']', out);
		zsh_value(out, row);
		fputc('\'', out);
		if (row->short_name) {
			fprintf(out, " \\\n%s'%s-%c[", indent, row->type == OPTION_LIST ? "*" : "", row->short_name);
			quoted(out, row->help, true);
			fputc(']', out);
			zsh_value(out, row);
			fputc('\'', out);
		}
	}
}

static void zsh_script(FILE *out, const struct option_table *global, const struct option_table *t)
{
	fprintf(out, "#compdef %s\n# zsh completion of %s\n", t->program, t->program);
	function_name(out, t->program);
	fputs("()\n{\n\tlocal state line\n\tlocal -a verbs=(\n", out);
	for (size_t i = 0; i < t->n_verbs; i++) {
		if (!is_listed(&t->verbs[i]))
			continue;
		fprintf(out, "\t\t'%s:", t->verbs[i].name);
		quoted(out, t->verbs[i].help, true);
		fputs("'\n", out);
	}
	fputs("\t)\n\t_arguments -C", out);
	zsh_options(out, global ? global : t, 0, "\t\t");
	fputs(" \\\n\t\t'1:command:->verb' '*::argument:->rest'\n\tcase $state in\n\tverb) _describe command verbs ;;\n"
	      "\trest)\n\t\tcase $words[1] in\n", out);
	for (unsigned i = 0; i < t->n_verbs; i++) {
		if (!is_listed(&t->verbs[i]))
			continue;
		fprintf(out, "\t\t%s)\n\t\t\t_arguments", t->verbs[i].name);
		zsh_options(out, t, i, "\t\t\t\t");
		if (wants_container(&t->verbs[i]))
			fprintf(out, " \\\n\t\t\t\t\"1:container:($(%s list --quiet 2>/dev/null))\"", t->program);
		fputs(" '*:argument:_files' ;;\n", out);
	}
	fputs("\t\tesac ;;\n\tesac\n}\n", out);
	function_name(out, t->program);
	fputs(" \"$@\"\n", out);
}

/* -- fish ------------------------------------------------------------------------------------------------------------------------ */

static void fish_options(FILE *out, const struct option_table *t, unsigned verb, const char *program, const char *condition)
{
	for (size_t i = 0; i < t->n_rows; i++) {
		const struct option *row = &t->rows[i];
		if (!shown(row, verb))
			continue;
		fprintf(out, "complete -c %s -n '%s' -l %s", program, condition, row->name);
		if (row->short_name)
			fprintf(out, " -s %c", row->short_name);
		if (takes_value(row))
			fputs(names_file(row) ? " -r -F" : " -x", out);
		if (row->type == OPTION_ENUM) {
			fputs(" -a '", out);
			for (const char *const *name = row->names; *name; name++)
				fprintf(out, "%s%s", name == row->names ? "" : " ", *name);
			fputc('\'', out);
		}
		fputs(" -d '", out);
		quoted(out, row->help, false);
		fputs("'\n", out);
	}
}

static void fish_script(FILE *out, const struct option_table *global, const struct option_table *t)
{
	char condition[128];

	fprintf(out, "# fish completion of %s\ncomplete -c %s -f\n", t->program, t->program);
	fish_options(out, global ? global : t, 0, t->program, "__fish_use_subcommand");
	for (unsigned i = 0; i < t->n_verbs; i++) {
		const struct option_verb *v = &t->verbs[i];
		if (!is_listed(v))
			continue;
		fprintf(out, "complete -c %s -n __fish_use_subcommand -a %s -d '", t->program, v->name);
		quoted(out, v->help, false);
		fputs("'\n", out);
		snprintf(condition, sizeof condition, "__fish_seen_subcommand_from %s", v->name);
		fish_options(out, t, i, t->program, condition);
		if (wants_container(v))
			fprintf(out, "complete -c %s -n '%s' -a '(%s list --quiet 2>/dev/null)'\n", t->program, condition, t->program);
	}
}

bool option_complete(FILE *out, const char *shell, const struct option_table *global, const struct option_table *t)
{
	static const struct {
		const char *name;
		void (*write)(FILE *out, const struct option_table *global, const struct option_table *t);
	} shells[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };

	for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
		if (!strcmp(shells[i].name, shell)) {
			shells[i].write(out, global, t);
			return true;
		}
	return false;
}
