/* SPDX-License-Identifier: Apache-2.0 */
/* The stage runner: order, undo, times, whose error is shown. */
#include "base/stage.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "harness.h"

struct context {
	char log[64];
	bool fails;
};

static void note(void *ctx, char c)
{
	struct context *k = ctx;
	k->log[strlen(k->log)] = c;
}

static int run_a(void *ctx)
{
	note(ctx, 'a');
	usleep(3000);
	return 5;
}

static int run_b(void *ctx)
{
	note(ctx, 'b');
	return ((struct context *)ctx)->fails ? fail(EBUSY, "the root cause") : 0;
}

static int run_c(void *ctx)
{
	note(ctx, 'c');
	return 0;
}

static void undo_a(void *ctx)
{
	note(ctx, 'A');
	fail(EIO, "a second problem");
}

static void undo_b(void *ctx)
{
	note(ctx, 'B');
}

static const struct stage stages[] = {
	{ "first", run_a, undo_a }, { "nothing", NULL, NULL }, { "second", run_b, undo_b }, { "third", run_c, NULL },
};

static void all_well(void)
{
	struct context k = { 0 };
	struct stage_report report;

	CHECK_EQ(stage_run(stages, 4, &k, &report), 0);
	CHECK_STR(k.log, "abc");
	CHECK_EQ(report.begun, 4);
	CHECK(stage_us(stages, &report, "first") >= 3000);
	CHECK(report.total_us >= stage_us(stages, &report, "first"));
	CHECK_EQ(stage_us(stages, &report, "fourth"), 0);
}

static void undone_backwards(void)
{
	struct context k = { .fails = true };

	CHECK_EQ(stage_run(stages, 4, &k, NULL), -EBUSY);
	CHECK_STR(k.log, "abBA");
	CHECK_EQ(err_count(), 1);
	CHECK_HAS(err_line(0), "the root cause");
}

static int silent(void *ctx)
{
	(void)ctx;
	return -ENOSPC;
}

static void silent_failure_is_named(void)
{
	static const struct stage quiet[] = { { "save", silent, NULL } };

	CHECK_EQ(stage_run(quiet, 1, NULL, NULL), -ENOSPC);
	CHECK_STR(err_line(0), "save: No space left on device");
}

const struct test tests[] = { TEST(all_well), TEST(undone_backwards), TEST(silent_failure_is_named), {} };
