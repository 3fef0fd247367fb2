/* SPDX-License-Identifier: Apache-2.0 */
/* One processor for threads that take turns. A batch is a hand-over to another thread and one back: between two processors each wakes an idle
 * one (an interrupt, in a virtual machine an exit of it) or waits for its scheduler, 50 to 150 µs; on one processor it is a change of context, 5 µs.
 * A restore has a dozen of them for each task: a tree of 100 takes 85 ms instead of 130 on an idle machine, of 300 on a busy one.
 *
 * What a thread gets back. Since Linux 6.2 the kernel remembers what was asked for: a thread that asked for the processors that it happened to
 * have would no longer follow its cpuset when that grows. So a thread that may have no others when it asks for all was not
 * restricted, and gets all. */
#include "base/turns.h"

#include <errno.h>
#include <string.h>

static bool learn(pid_t tid, cpu_set_t *before, cpu_set_t *back)
{
	cpu_set_t now;

	memset(back, 0xff, sizeof *back);
	if (sched_getaffinity(tid, sizeof *before, before) < 0)   /* also: more processors than the set has room for */
		return false;
	if (sched_setaffinity(tid, sizeof *back, back) < 0)
		return false;
	if (sched_getaffinity(tid, sizeof now, &now) == 0 && CPU_EQUAL(&now, before))
		return true;
	*back = *before;
	return sched_setaffinity(tid, sizeof *back, back) == 0;
}

/* The caller's, or the first that both may have; -1: there is none. */
static int choose(const cpu_set_t *one, const cpu_set_t *other)
{
	cpu_set_t both;
	int cpu = sched_getcpu();

	CPU_AND(&both, one, other);
	if (cpu >= 0 && cpu < CPU_SETSIZE && CPU_ISSET(cpu, &both))
		return cpu;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &both))
			return cpu;
	return -1;
}

static bool place(pid_t tid, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return sched_setaffinity(tid, sizeof one, &one) == 0;
}

void turns_begin(struct turns *a, pid_t other)
{
	cpu_set_t own, theirs;

	*a = (struct turns){ .other = other };
	if (!learn(0, &own, &a->own) || !learn(other, &theirs, &a->theirs))
		return;
	a->cpu = choose(&own, &theirs);
	if (a->cpu < 0 || !place(other, a->cpu))
		return;
	a->on = true;
	turns_resume(a);
}

void turns_join(const struct turns *a, pid_t tid)
{
	if (a->on)
		place(tid, a->cpu);
}

/* EINVAL: it has been moved into a cpuset that has none of these, which has set what it may. */
int turns_release(const struct turns *a, pid_t tid)
{
	return !a->on || sched_setaffinity(tid, sizeof a->theirs, &a->theirs) == 0 || errno == EINVAL ? 0 : -errno;
}

void turns_pause(const struct turns *a)
{
	if (a->on)
		sched_setaffinity(0, sizeof a->own, &a->own);
}

void turns_resume(const struct turns *a)
{
	if (a->on)
		place(0, a->cpu);
}

void turns_end(struct turns *a)
{
	turns_pause(a);
	a->on = false;
}
