/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The option table: one row per option drives the parser, --help and the manual page. A program has one struct with a field
 * for everything that can be asked of it, filled with defaults by the caller; a row names the field by offset. */

enum option_type {
	OPTION_FLAG,     /* bool: NAME sets it, NAME=true|false says it outright, no-NAME clears it where .negatable */
	OPTION_LEVEL,    /* int: a bare option counts up from 0 (-vvv is 3), a value sets it (-v4, --verbosity=4) */
	OPTION_STRING,   /* const char *: points into argv; the last one wins */
	OPTION_OPTIONAL, /* const char *: as STRING, but the value only comes attached (--x=VALUE, -xVALUE); bare: .bare */
	OPTION_LIST,     /* struct option_list: every value, in order */
	OPTION_INT,      /* int */
	OPTION_UINT,     /* unsigned */
	OPTION_I64,      /* int64_t */
	OPTION_U64,      /* uint64_t */
	OPTION_SIZE,     /* uint64_t, in bytes: a number with an optional K, M, G or T (powers of 1024) */
	OPTION_ENUM,     /* int: index into .names */
	OPTION_TYPES,
};

/* Values point into argv; data is NULL-terminated once n > 0, and NULL before. option_free() empties the lists. */
struct option_list {
	const char **data;
	size_t n, cap;
};

#define OPTION_VERB(index) (1u << (index))
#define OPTION_EVERY_VERB UINT32_MAX

struct option {
	const char *name;           /* without dashes */
	char short_name;            /* 0: none */
	enum option_type type;
	uint32_t verbs;             /* OPTION_VERB() bits; two rows may have one name if no verb has both */
	size_t offset;              /* of the field in the options struct; unused in a refused row */
	const char *argument;       /* what --help calls the value: "FILE"; NULL for flags */
	const char *help;           /* one sentence, lower case, no full stop */
	const char *const *names;   /* ENUM: the names, NULL at the end */
	const char *bare;           /* OPTIONAL: the value when there is none */
	const char *refused;        /* why it is not done: giving the option is an error that says so */
	bool negatable, hidden;     /* hidden: parsed, but neither in --help nor in the manual */
};

/* What the program can be told to do. An index into this table is the "verb" of the functions below. */
struct option_verb {
	const char *name;           /* NULL for a table without verbs (a program's global options) */
	const char *arguments;      /* the positional arguments as --help shows them, "CONTAINER [SIGNAL]"; may be NULL */
	const char *help;           /* one line */
	const char *about;          /* the manual's paragraph, or NULL */
	bool stops;                 /* options end at the first positional (exec); otherwise they may follow it */
	bool hidden;
};

struct option_table {
	const char *program;
	const struct option_verb *verbs;
	size_t n_verbs;
	const struct option *rows;
	size_t n_rows;
	bool lenient;               /* an option of another verb is without effect, which a warning says, as in programs with one list for all */
	bool single_dash;           /* -name is --name, as in Go programs; otherwise names may be abbreviated, as in getopt_long's */
};

/* Parses argv (without the program's or verb's own name) for a verb into options. On success *argc and *argv are left with the
 * positional arguments, in order; argv's pointers are rearranged in place, and the strings must outlive options.
 * Returns 0 or -EINVAL with the trail naming the option, what is wrong and what to do. */
int option_parse(const struct option_table *t, unsigned verb, int *argc, char ***argv, void *options);
/* For programs whose verb may come after options: the index in argv of the first positional argument, argc if there is none. */
int option_first_positional(const struct option_table *t, int argc, char **argv);
/* The index of a verb by name, or -ENOENT. */
int option_verb_find(const struct option_table *t, const char *name);
void option_free(const struct option_table *t, void *options);

/* "Usage: …", the summary and the options of one verb. */
void option_help(FILE *out, const struct option_table *t, unsigned verb);
/* Only the lines of the options, or of the verbs. */
void option_help_options(FILE *out, const struct option_table *t, unsigned verb);
void option_help_verbs(FILE *out, const struct option_table *t);
/* roff for man(7). option_man(): a subsection per verb with its options, after one for those of every verb.
 * option_man_options(): only the .TP paragraphs of one verb's options. */
void option_man(FILE *out, const struct option_table *t);
void option_man_options(FILE *out, const struct option_table *t, unsigned verb);
/* A completion script for "bash", "zsh" or "fish"; false: no such shell. global: the options before the verb, NULL if t has them all. */
bool option_complete(FILE *out, const char *shell, const struct option_table *global, const struct option_table *t);

#endif
