/* SPDX-License-Identifier: Apache-2.0 */
/* The stage runner.
 *
 * 1. Undo runs for every stage that was begun, the failed one included, in reverse order: each undo function copes with a stage that
 *    did all, some or nothing of its work.
 * 2. The trail of the failure is what the user gets to see. An undo that fails is a second problem: it is logged. */
#define LOG_PREFIX "stage"
#include "base/stage.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"

uint64_t clock_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void undo(const struct stage *s, void *ctx)
{
	size_t mark = err_mark();
	uint64_t began = clock_us();

	if (!s->undo)
		return;
	s->undo(ctx);
	for (size_t i = mark; i < err_count(); i++)
		log_warn("undoing %s: %s", s->name, err_line(i));
	err_rewind(mark);
	log_debug("undid %s in %llu us", s->name, (unsigned long long)(clock_us() - began));
}

static int run_one(const struct stage *s, void *ctx, uint64_t *us)
{
	uint64_t began = clock_us();
	size_t mark = err_mark();
	int r = s->run ? s->run(ctx) : 0;

	*us = clock_us() - began;
	log_debug("%s %s %llu us", s->name, r < 0 ? "failed after" : "took", (unsigned long long)*us);
	if (r < 0 && err_count() == mark && mark == 0)
		fail(-r, "%s", s->name);
	return r;
}

int stage_run(const struct stage *stages, size_t n, void *ctx, struct stage_report *report)
{
	struct stage_report own = { 0 };
	uint64_t began = clock_us();
	int r = 0;

	assert(n <= STAGES_MAX);
	report = report ? report : &own;
	*report = (struct stage_report){ 0 };
	while (r >= 0 && report->begun < n) {
		size_t i = report->begun++;
		r = run_one(&stages[i], ctx, &report->us[i]);
	}
	for (size_t i = report->begun; r < 0 && i > 0; i--)
		undo(&stages[i - 1], ctx);
	report->total_us = clock_us() - began;
	return r < 0 ? r : 0;
}

uint64_t stage_us(const struct stage *stages, const struct stage_report *report, const char *name)
{
	for (size_t i = 0; i < report->begun; i++)
		if (strcmp(stages[i].name, name) == 0)
			return report->us[i];
	return 0;
}
