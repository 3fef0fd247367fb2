/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that the programs' option tables keep; the parser relies on them. */
#include <string.h>

#include "base/option.h"
#include "cmd/cmd.h"
#include "cr/options.h"
#include "harness.h"

static void check_row(const struct option_table *t, const struct option *row)
{
	if (!row->name || !*row->name || !row->help || !*row->help)
		test_failed(__FILE__, __LINE__, "%s: a row without a name or a help text", t->program);
	if (row->help[strlen(row->help) - 1] == '.')
		test_failed(__FILE__, __LINE__, "--%s: the help text ends with a full stop", row->name);
	if ((row->type == OPTION_ENUM) != (row->names != NULL))
		test_failed(__FILE__, __LINE__, "--%s: names are for ENUM", row->name);
	if (row->negatable && row->type != OPTION_FLAG)
		test_failed(__FILE__, __LINE__, "--%s: only a flag is negatable", row->name);
	if (row->bare && row->type != OPTION_OPTIONAL)
		test_failed(__FILE__, __LINE__, "--%s: .bare is for OPTIONAL", row->name);
	if (!row->verbs || (row->verbs != OPTION_EVERY_VERB && row->verbs >> t->n_verbs))
		test_failed(__FILE__, __LINE__, "--%s: it has no verbs, or some that do not exist", row->name);
}

static void check_pair(const struct option *a, const struct option *b)
{
	if (!(a->verbs & b->verbs))
		return;
	if (!strcmp(a->name, b->name))
		test_failed(__FILE__, __LINE__, "--%s: two rows for one verb", a->name);
	if (a->short_name && a->short_name == b->short_name)
		test_failed(__FILE__, __LINE__, "-%c: --%s and --%s for one verb", a->short_name, a->name, b->name);
}

static void check_table(const struct option_table *t)
{
	CHECK(t->n_verbs > 0 && t->n_verbs <= 32 && t->n_rows > 0);
	for (size_t i = 0; i < t->n_rows; i++) {
		check_row(t, &t->rows[i]);
		for (size_t j = 0; j < i; j++)
			check_pair(&t->rows[j], &t->rows[i]);
	}
	for (size_t i = 0; i < t->n_verbs; i++)
		CHECK(t->verbs[i].help);
}

static void torpor(void)
{
	check_table(&shim_torpor_global);
	check_table(&shim_torpor_table);
}

static void torpor_cr(void)
{
	check_table(&cr_options_table);
}

const struct test tests[] = { TEST(torpor), TEST(torpor_cr), {} };
