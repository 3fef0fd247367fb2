/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits. The process asks and sets its own: prlimit(2) from outside needs CAP_SYS_RESOURCE for a task of another user, the task
 * itself none to keep or lower a limit.
 *
 * Raising a hard limit needs CAP_SYS_RESOURCE (in the initial user namespace). A limit that is already as wanted is none of that: setting it
 * again raises nothing. The image's index is the kernel's number; infinity is 2^64-1. */
#include "task/subject.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/err.h"

#define LIMITS 16
static const char *const limit_names[LIMITS] = {
	"RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_NOFILE",
	"RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
};
_Static_assert(RLIMIT_NLIMITS == LIMITS, "a name for each limit");

struct limit {
	uint64_t cur, max;
};

void rlimit_ask(struct ask *a, struct ask_slot *s)
{
	s->at = ask_space(a, LIMITS * sizeof(struct limit));
	s->first = a->n;
	for (uint64_t i = 0; i < LIMITS; i++)
		ask(a, "read a resource limit", SYS_prlimit64, 0, i, 0, s->at + i * sizeof(struct limit));
}

int rlimit_take(struct dump *d, struct ask *a, const struct ask_slot *s, TaskCoreEntry *tc)
{
	const struct limit *v = ask_answer(a, s->at);
	RlimitEntry *entries = arena_array(d->arena, RlimitEntry, LIMITS);

	tc->rlimits = arena_new(d->arena, TaskRlimitsEntry);
	task_rlimits_entry__init(tc->rlimits);
	tc->rlimits->n_rlimits = LIMITS;
	tc->rlimits->rlimits = arena_array(d->arena, RlimitEntry *, LIMITS);
	for (size_t i = 0; i < LIMITS; i++) {
		if (a->calls[s->first + i].ret < 0)
			return fail((int)-a->calls[s->first + i].ret, "read %s of " THREAD_FMT, limit_names[i], THREAD_ARG(a->th));
		rlimit_entry__init(&entries[i]);
		entries[i].cur = v[i].cur;
		entries[i].max = v[i].max;
		tc->rlimits->rlimits[i] = &entries[i];
	}
	return 0;
}

int rlimit_check(const struct task *t)
{
	const TaskRlimitsEntry *e = t->threads[0].core->tc->rlimits;

	if (e && e->n_rlimits > LIMITS)
		return fail_text(EBADMSG, "core-%d.img has %zu resource limits, not %d", t->pid, e->n_rlimits, LIMITS);
	for (size_t i = 0; e && i < e->n_rlimits; i++)
		if (e->rlimits[i]->cur > e->rlimits[i]->max)
			return fail_text(EBADMSG, "core-%d.img: %s is above its hard limit", t->pid, limit_names[i]);
	return 0;
}

static void limit_text(char out[24], uint64_t v)
{
	if (v == UINT64_MAX)
		snprintf(out, 24, "unlimited");
	else
		snprintf(out, 24, "%llu", (unsigned long long)v);
}

static int refused(struct thread *th, size_t i, const struct limit *wanted, int64_t error)
{
	uint64_t at = remote_scratch(th->remote);
	struct limit now = { 0 };
	char to[24], from[24];

	int64_t got = remote_call(th->remote, SYS_prlimit64, 0, i, 0, at, 0, 0);
	if (got >= 0 && remote_scratch_read(th->remote, 0, &now, sizeof now) >= 0 && now.cur == wanted->cur && now.max == wanted->max)
		return 0;
	limit_text(to, wanted->max);
	limit_text(from, now.max);
	int r = fail((int)-error, "set %s of " TASK_FMT " to %s (hard limit; it is %s)", limit_names[i], TASK_ARG(th->task), to, from);
	if (r == -EPERM && wanted->max > now.max)
		fail_hint("raising a hard limit needs CAP_SYS_RESOURCE: restore with it, or from a shell whose own limit (ulimit) is as high");
	return r;
}

int rlimit_restore(struct task *t)
{
	struct thread *th = &t->threads[0];
	const TaskRlimitsEntry *e = th->core->tc->rlimits;
	struct limit v[LIMITS] = { 0 };
	struct ask a;

	if (!e || !e->n_rlimits)
		return 0;
	ask_begin(&a, th, false);
	for (size_t i = 0; i < e->n_rlimits; i++)
		v[i] = (struct limit){ e->rlimits[i]->cur, e->rlimits[i]->max };
	uint64_t at = ask_data(&a, v, sizeof v);
	for (size_t i = 0; i < e->n_rlimits; i++)
		ask(&a, limit_names[i], SYS_prlimit64, 0, i, at + i * sizeof *v, 0);
	int r = ask_run(&a);
	for (size_t i = 0; i < e->n_rlimits && r >= 0; i++)
		if (a.calls[i].ret < 0)
			r = refused(th, i, &v[i], a.calls[i].ret);
	return r;
}
