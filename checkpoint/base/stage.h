/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_STAGE_H
#define BASE_STAGE_H

#include <stddef.h>
#include <stdint.h>

/* A long ordered procedure as a table of stages. Either function may be NULL. */
struct stage {
	const char *name;
	int (*run)(void *ctx);        /* a value >= 0, or -errno with the trail filled */
	void (*undo)(void *ctx);      /* undoes a stage that was begun, finished or not: it must cope with both */
};

#define STAGES_MAX 32

struct stage_report {
	size_t begun;                     /* stages that were started */
	uint64_t us[STAGES_MAX];          /* how long each took; microseconds */
	uint64_t total_us;
};

/* Runs the stages in order. When one fails, undoes what was begun, the failed stage first, backwards; the trail stays as the failure
 * left it, and what the undo functions add to it is logged as warnings instead. Returns 0 or the first error. report may be NULL. */
int stage_run(const struct stage *stages, size_t n, void *ctx, struct stage_report *report);

/* The time of a named stage (0 if there is none or it was not begun). */
uint64_t stage_us(const struct stage *stages, const struct stage_report *report, const char *name);

uint64_t clock_us(void);      /* monotonic */

#endif
