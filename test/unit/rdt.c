/* SPDX-License-Identifier: Apache-2.0 */
/* Intel RDT on a folder in the place of the resctrl filesystem: which groups are made, what is written, what stays. */
#include "cgroup/rdt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "harness.h"

static struct arena arena;
static struct spec_pairs made;
static char schema[] = "L3:0=f", bandwidth[] = "MB:0=50", clos[] = "shared";

static char *at(const char *name)
{
	return arena_printf(&arena, "%s/%s", test_dir(), name);
}

static void make_file(const char *name, const char *text)
{
	CHECK_OK(file_replace(AT_FDCWD, at(name), text, strlen(text), 0600));
}

static void own_group(void)
{
	struct spec_intel_rdt r = { .present = true };

	CHECK_OK(rdt_plan(&arena, test_dir(), &r, "c1", &made));
	CHECK_EQ(made.n, 1);
	CHECK_STR(made.data[0].value, at("c1"));
	CHECK_OK(rdt_create(test_dir(), &r, "c1", &made));
	make_file("c1/tasks", "");
	CHECK_OK(rdt_join(test_dir(), &r, "c1", 42));
	autofree char *text = NULL;
	CHECK(file_read(AT_FDCWD, at("c1/tasks"), &text, 100) > 0);
	CHECK_STR(text, "42");
	make_file("c1/schemata", "");
	CHECK_OK(rdt_update(&made, schema, bandwidth, NULL));
	free_pointer(&text);
	CHECK(file_read(AT_FDCWD, at("c1/schemata"), &text, 100) > 0);
	CHECK_STR(text, "L3:0=f\nMB:0=50\n");
	unlink(at("c1/tasks"));
	unlink(at("c1/schemata"));
	rdt_remove(&made);
	CHECK(access(at("c1"), F_OK) < 0);
}

static void shared_group(void)
{
	struct spec_intel_rdt r = { .present = true, .clos_id = clos };

	CHECK_EQ(rdt_plan(&arena, test_dir(), &r, "c1", &made), -ENOENT);
	CHECK_HAS(err_line(0), "linux.intelRdt.closID");
	CHECK(mkdir(at("shared"), 0755) == 0 && mkdir(at("shared/mon_groups"), 0755) == 0);
	CHECK_OK(rdt_plan(&arena, test_dir(), &r, "c1", &made));
	CHECK_EQ(made.n, 0);
	r.monitoring = true;
	r.l3 = schema;
	make_file("shared/schemata", "    MB:0=100\n    L3:0=f\n");
	CHECK_OK(rdt_plan(&arena, test_dir(), &r, "c1", &made));
	CHECK_EQ(made.n, 1);
	CHECK_OK(rdt_create(test_dir(), &r, "c1", &made));
	CHECK(access(at("shared/mon_groups/c1"), F_OK) == 0);
	rdt_remove(&made);
	CHECK(access(at("shared/mon_groups/c1"), F_OK) < 0 && access(at("shared"), F_OK) == 0);
	r.bandwidth = bandwidth;
	CHECK_EQ(rdt_create(test_dir(), &r, "c1", &made), -EEXIST);
	CHECK_HAS(err_line(err_count() - 1), "has not \"MB:0=50\"");
}

static void not_here(void)
{
	struct spec_intel_rdt r = { .present = true }, none = { 0 };

	CHECK_OK(rdt_plan(&arena, RDT_ROOT, &none, "c1", &made));
	if (rdt_is_there(RDT_ROOT))
		test_skip("this machine has Intel RDT");
	CHECK_EQ(rdt_plan(&arena, RDT_ROOT, &r, "c1", &made), -EOPNOTSUPP);
	CHECK_HAS(err_line(0), "linux.intelRdt: there is no resctrl filesystem");
	CHECK_EQ(rdt_update(&made, schema, NULL, NULL), -EOPNOTSUPP);
}

const struct test tests[] = { TEST(own_group), TEST(shared_group), TEST(not_here), {} };
