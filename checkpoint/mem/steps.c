/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of any length whose failure names the call that failed. */
#include "mem/steps.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"

struct step *step_add(struct steps *s, const char *what, uint64_t start, uint64_t end, struct call call)
{
	struct step *step = &array_push(&s->list);

	*step = (struct step){ .call = call, .what = what, .start = start, .end = end };
	return step;
}

static int step_failed(const struct step *s, const char *who)
{
	if (s->end)
		return fail((int)-s->call.ret, "%s: %s %" PRIx64 "-%" PRIx64 "%s%s", who, s->what, s->start, s->end, s->object ? " of " : "",
			    s->object ? s->object : "");
	return fail((int)-s->call.ret, "%s: %s", who, s->what);
}

static int run_part(struct step *s, size_t n, struct remote *r, const char *who)
{
	autofree struct call *calls = mem_alloc(n * sizeof *calls);

	for (size_t i = 0; i < n; i++) {
		calls[i] = s[i].call;
		calls[i].must = !s[i].may_fail;
	}
	int e = remote_batch(r, calls, n);
	if (e < 0)
		return e;
	for (size_t i = 0; i < n; i++) {
		s[i].call.ret = calls[i].ret;
		if (!s[i].may_fail && calls[i].ret < 0 && calls[i].ret >= -4095)
			return step_failed(&s[i], who);
	}
	return 0;
}

int steps_run(struct steps *s, struct remote *r, const char *who)
{
	int e = 0;

	for (size_t at = 0; e == 0 && at < s->list.n; at += REMOTE_CALLS_MAX) {
		size_t left = s->list.n - at;
		e = run_part(&s->list.data[at], left < REMOTE_CALLS_MAX ? left : REMOTE_CALLS_MAX, r, who);
	}
	return e;
}
