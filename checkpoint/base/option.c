/* SPDX-License-Identifier: Apache-2.0 */
/* The parser of the option table (base/option.h).
 *
 * It reads what both worlds write: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-abc` for flags a, b and c, `--` as
 * the end of options, options among the positional arguments. Go programs' callers write `-name` for `--name` (a table's
 * single_dash; an exact long name of more than one character wins over a group of short ones); getopt_long's callers write
 * unambiguous beginnings of names. A value is the next argument whatever it looks like, so that `--memory -1` works.
 *
 * Options repeat: the last one wins, a list grows. The table is trusted (test/unit/tables.c checks its rules); what comes
 * from argv is not. Nothing is allocated but the lists. */
#define LOG_PREFIX "options"
#include "base/option.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

#define ANY_VERB UINT_MAX   /* before the verb is known */

struct parse {
	const struct option_table *t;
	unsigned verb;
	int argc, next;        /* the arguments, and the first that was not looked at */
	char **argv;
	void *options;
};

/* One option as it was written: "--name" or "-n", the row, the value that came attached to it (or NULL). */
struct given {
	char text[96];
	const struct option *row;
	const char *value;
	bool negated;
};

static bool applies(const struct option *row, unsigned verb)
{
	return verb == ANY_VERB || (row->verbs & OPTION_VERB(verb)) != 0;
}

static bool takes_value(const struct option *row)
{
	return row->type != OPTION_FLAG && row->type != OPTION_LEVEL && row->type != OPTION_OPTIONAL;
}

static bool is_option(const char *arg)
{
	return arg[0] == '-' && arg[1];
}

/* -- storing a value, by type; each returns 0 or says what is wrong with the value ------------------------------------------- */

static int bad_value(const struct given *g, const char *value, const char *wanted)
{
	return fail_text(EINVAL, "option %s: \"%s\" is not %s", g->text, value, wanted);
}

static int store_flag(const struct given *g, const char *value, void *field)
{
	bool on = !value || !strcmp(value, "true") || !strcmp(value, "1");

	if (!on && strcmp(value, "false") && strcmp(value, "0"))
		return bad_value(g, value, "true or false");
	*(bool *)field = on != g->negated;
	return 0;
}

static int store_level(const struct given *g, const char *value, void *field)
{
	int *level = field;
	uint64_t v;

	if (!value) {
		*level = *level < 0 ? 1 : *level + 1;
		return 0;
	}
	size_t again = strspn(value, g->row->short_name ? (char[]){ g->row->short_name, 0 } : "");
	if (again && !value[again]) {
		*level = (*level < 0 ? 0 : *level) + 1 + (int)again;
		return 0;
	}
	if (parse_u64(value, 10, &v) < 0 || v > INT_MAX)
		return bad_value(g, value, "a level (0, 1, 2, …)");
	*level = (int)v;
	return 0;
}

static int store_string(const struct given *g, const char *value, void *field)
{
	*(const char **)field = value ? value : g->row->bare;
	return 0;
}

static int store_list(const struct given *g, const char *value, void *field)
{
	struct option_list *list = field;
	(void)g;

	array_push(list) = value;
	array_push(list) = NULL;
	list->n--;
	return 0;
}

static int number(const struct given *g, const char *value, int64_t min, int64_t max, int64_t *v)
{
	if (parse_i64(value, 10, v) == 0 && *v >= min && *v <= max)
		return 0;
	return fail_text(EINVAL, "option %s: \"%s\" is not a whole number from %lld to %lld", g->text, value, (long long)min,
		(long long)max);
}

static int store_int(const struct given *g, const char *value, void *field)
{
	int64_t v;
	int r = number(g, value, INT_MIN, INT_MAX, &v);

	if (r == 0)
		*(int *)field = (int)v;
	return r;
}

static int store_uint(const struct given *g, const char *value, void *field)
{
	int64_t v;
	int r = number(g, value, 0, UINT_MAX, &v);

	if (r == 0)
		*(unsigned *)field = (unsigned)v;
	return r;
}

static int store_i64(const struct given *g, const char *value, void *field)
{
	return number(g, value, INT64_MIN, INT64_MAX, field);
}

static int store_u64(const struct given *g, const char *value, void *field)
{
	return parse_u64(value, 10, field) == 0 ? 0 : bad_value(g, value, "a whole number from 0");
}

static int store_size(const struct given *g, const char *value, void *field)
{
	static const char units[] = "KMGT";
	char digits[24];
	size_t len = strlen(value);
	const char *unit = len ? strchr(units, value[len - 1]) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	uint64_t v;

	len -= unit != NULL;
	if (len == 0 || len >= sizeof digits)
		return bad_value(g, value, "a size (bytes, or a number with K, M, G or T)");
	memcpy(digits, value, len);
	digits[len] = 0;
	if (parse_u64(digits, 10, &v) < 0 || v > UINT64_MAX >> shift)
		return bad_value(g, value, "a size (bytes, or a number with K, M, G or T)");
	*(uint64_t *)field = v << shift;
	return 0;
}

static int store_enum(const struct given *g, const char *value, void *field)
{
	char known[256] = "";

	for (int i = 0; g->row->names[i]; i++) {
		if (strcmp(g->row->names[i], value) == 0) {
			*(int *)field = i;
			return 0;
		}
		size_t len = strlen(known);
		snprintf(known + len, sizeof known - len, "%s%s", i ? ", " : "", g->row->names[i]);
	}
	return fail_text(EINVAL, "option %s: \"%s\" is not one of %s", g->text, value, known);
}

static int (*const store[OPTION_TYPES])(const struct given *, const char *, void *) = {
	[OPTION_FLAG] = store_flag,
	[OPTION_LEVEL] = store_level,
	[OPTION_STRING] = store_string,
	[OPTION_OPTIONAL] = store_string,
	[OPTION_LIST] = store_list,
	[OPTION_INT] = store_int,
	[OPTION_UINT] = store_uint,
	[OPTION_I64] = store_i64,
	[OPTION_U64] = store_u64,
	[OPTION_SIZE] = store_size,
	[OPTION_ENUM] = store_enum,
};

/* -- finding rows ------------------------------------------------------------------------------------------------------------ */

static const struct option *exact(const struct option_table *t, const char *name, size_t len)
{
	for (size_t i = 0; i < t->n_rows; i++)
		if (strlen(t->rows[i].name) == len && strncmp(t->rows[i].name, name, len) == 0)
			return &t->rows[i];
	return NULL;
}

static const struct option *exact_for(const struct parse *p, const char *name, size_t len)
{
	for (size_t i = 0; i < p->t->n_rows; i++) {
		const struct option *row = &p->t->rows[i];
		if (applies(row, p->verb) && strlen(row->name) == len && strncmp(row->name, name, len) == 0)
			return row;
	}
	return NULL;
}

static const struct option *short_for(const struct parse *p, char c)
{
	for (size_t i = 0; i < p->t->n_rows; i++)
		if (applies(&p->t->rows[i], p->verb) && p->t->rows[i].short_name == c)
			return &p->t->rows[i];
	return NULL;
}

/* The only row whose name begins so; *matches says how many do. */
static const struct option *abbreviated(const struct parse *p, const char *name, size_t len, int *matches)
{
	const struct option *found = NULL;

	for (size_t i = 0; i < p->t->n_rows; i++) {
		if (!applies(&p->t->rows[i], p->verb) || strncmp(p->t->rows[i].name, name, len))
			continue;
		found = &p->t->rows[i];
		++*matches;
	}
	return *matches == 1 ? found : NULL;
}

static const char *verb_name(const struct option_table *t, unsigned verb)
{
	return verb < t->n_verbs && t->verbs[verb].name ? t->verbs[verb].name : "";
}

static int unknown(const struct parse *p, const struct given *g, const struct option *elsewhere, int matches)
{
	const char *verb = verb_name(p->t, p->verb);
	int r;

	if (matches > 1)
		r = fail_text(EINVAL, "option %s is ambiguous: %d options begin so", g->text, matches);
	else if (elsewhere)
		r = fail_text(EINVAL, "option %s does not apply to %s %s", g->text, p->t->program, verb);
	else
		r = fail_text(EINVAL, "unknown option %s", g->text);
	fail_hint("see %s%s%s --help", p->t->program, *verb ? " " : "", verb);
	return r;
}

/* -- parsing ----------------------------------------------------------------------------------------------------------------- */

static int apply(struct parse *p, const struct given *g)
{
	const struct option *row = g->row;
	const char *value = g->value;

	if (!value && takes_value(row)) {
		if (p->next == p->argc)
			return fail_text(EINVAL, "flag needs an argument: --%s (%s: %s)", row->name,
				row->argument ? row->argument : "VALUE", row->help);
		value = p->argv[p->next++];
	}
	if (row->refused) {
		if (row->type == OPTION_FLAG && (g->negated || (value && !strcmp(value, "false"))))
			return 0;
		return fail_text(EOPNOTSUPP, "option --%s is not supported: %s", row->name, row->refused);
	}
	return store[row->type](g, value, (char *)p->options + row->offset);
}

static const struct option *long_row(const struct parse *p, const char *name, size_t len, struct given *g, int *matches)
{
	const struct option *row = exact_for(p, name, len);

	if (!row && len > 3 && strncmp(name, "no-", 3) == 0) {
		row = exact_for(p, name + 3, len - 3);
		g->negated = row && row->negatable;
		row = g->negated ? row : NULL;
	}
	if (!row && !p->t->single_dash)
		row = abbreviated(p, name, len, matches);
	return row;
}

/* In a lenient table: an option of another verb, with its value, is passed over. */
static int pass_over(struct parse *p, const struct given *g, const struct option *row)
{
	if (!g->value && takes_value(row)) {
		if (p->next == p->argc)
			return fail_text(EINVAL, "flag needs an argument: --%s", row->name);
		p->next++;
	}
	log_warn("option %s is without effect on %s %s", g->text, p->t->program, verb_name(p->t, p->verb));
	return 0;
}

static int parse_long(struct parse *p, const char *arg, const char *name)
{
	size_t len = strcspn(name, "=");
	struct given g = { .value = name[len] ? name + len + 1 : NULL };
	int matches = 0;

	snprintf(g.text, sizeof g.text, "%.*s", (int)(name - arg) + (int)(len < 64 ? len : 64), arg);
	g.row = long_row(p, name, len, &g, &matches);
	const struct option *elsewhere = g.row ? NULL : exact(p->t, name, len);
	if (elsewhere && p->t->lenient)
		return pass_over(p, &g, elsewhere);
	return g.row ? apply(p, &g) : unknown(p, &g, elsewhere, matches);
}

static int parse_shorts(struct parse *p, const char *letters)
{
	for (; *letters; letters++) {
		struct given g = { .row = short_for(p, *letters) };
		snprintf(g.text, sizeof g.text, "-%c", *letters);
		if (!g.row && p->t->lenient && (g.row = short_for(&(struct parse){ .t = p->t, .verb = ANY_VERB }, *letters))) {
			g.value = letters[1] && takes_value(g.row) ? letters + 1 : NULL;
			int r = pass_over(p, &g, g.row);
			if (r < 0 || takes_value(g.row))
				return r;
			continue;
		}
		if (!g.row) {
			/* A mistyped `-name` is one option to whoever wrote it. */
			snprintf(g.text, sizeof g.text, "-%.64s", letters);
			return unknown(p, &g, NULL, 0);
		}
		bool equals = p->t->single_dash && letters[1] == '=';   /* Go programs take -n=value, too */
		if (letters[1] && (g.row->type != OPTION_FLAG || equals))
			g.value = letters + 1 + equals;
		int r = apply(p, &g);
		if (r < 0 || g.value)
			return r;
	}
	return 0;
}

static bool is_single_dash_long(const struct parse *p, const char *arg)
{
	size_t len = strcspn(arg + 1, "=");
	int matches = 0;
	return p->t->single_dash && len > 1 && long_row(p, arg + 1, len, &(struct given){ 0 }, &matches);
}

static int parse_one(struct parse *p, const char *arg)
{
	if (arg[1] == '-')
		return parse_long(p, arg, arg + 2);
	return is_single_dash_long(p, arg) ? parse_long(p, arg, arg + 1) : parse_shorts(p, arg + 1);
}

int option_parse(const struct option_table *t, unsigned verb, int *argc, char ***argv, void *options)
{
	struct parse p = { .t = t, .verb = verb, .argc = *argc, .argv = *argv, .options = options };
	bool stops = verb < t->n_verbs && t->verbs[verb].stops;
	int kept = 0;

	while (p.next < p.argc) {
		char *arg = p.argv[p.next];
		if (!is_option(arg)) {
			if (stops)
				break;
			p.argv[kept++] = arg;
			p.next++;
			continue;
		}
		p.next++;
		if (strcmp(arg, "--") == 0)
			break;
		int r = parse_one(&p, arg);
		if (r < 0)
			return r;
	}
	memmove(p.argv + kept, p.argv + p.next, sizeof *p.argv * (size_t)(p.argc - p.next));
	*argc = kept + p.argc - p.next;
	if (*argc < p.argc)
		p.argv[*argc] = NULL;
	return 0;
}

/* How many arguments the option at arg uses up, without knowing the verb: itself, and a value if it has one apart. */
static int width(const struct option_table *t, const char *arg)
{
	const struct option *row = NULL;
	const char *name = arg + (arg[1] == '-' ? 2 : 1);

	if (strchr(name, '='))
		return 1;
	if (arg[1] == '-' || (t->single_dash && name[1]))
		row = exact(t, name, strlen(name));
	if (row || arg[1] == '-')
		return row && takes_value(row) ? 2 : 1;
	for (; *name; name++) {
		const struct parse p = { .t = t, .verb = ANY_VERB };
		row = short_for(&p, *name);
		if (row && takes_value(row))
			return name[1] ? 1 : 2;
	}
	return 1;
}

int option_first_positional(const struct option_table *t, int argc, char **argv)
{
	for (int i = 0; i < argc; i += width(t, argv[i])) {
		if (!is_option(argv[i]))
			return i;
		if (strcmp(argv[i], "--") == 0)
			return i + 1 < argc ? i + 1 : argc;
	}
	return argc;
}

int option_verb_find(const struct option_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_verbs; i++)
		if (t->verbs[i].name && strcmp(t->verbs[i].name, name) == 0)
			return (int)i;
	return -ENOENT;
}

void option_free(const struct option_table *t, void *options)
{
	for (size_t i = 0; i < t->n_rows; i++) {
		struct option_list *list = (void *)((char *)options + t->rows[i].offset);
		if (t->rows[i].type == OPTION_LIST && !t->rows[i].refused)
			array_free(list);
	}
}
