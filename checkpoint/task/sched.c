/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduling: policy, real-time priority, nice value, the reset-on-fork flag. Asked and set from outside (sched_getattr, sched_setattr by
 * the host's thread id): the engine has CAP_SYS_NICE where the task, in a user namespace, has none.
 *
 * The image's sched_policy is what sched_getscheduler(2) returns: the policy, with SCHED_RESET_ON_FORK in it where it is set.
 *
 * Refused: SCHED_DEADLINE and scheduler extensions with parameters (no place in the format). Not saved for the same reason: clamps. */
#include "task/subject.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

#ifndef SCHED_RESET_ON_FORK
#define SCHED_RESET_ON_FORK 0x40000000
#endif
#define FLAG_RESET_ON_FORK 1u
enum { POLICY_OTHER, POLICY_FIFO, POLICY_RR, POLICY_BATCH, POLICY_IDLE = 5, POLICY_DEADLINE = 6, POLICY_EXT = 7 };

struct attributes {   /* struct sched_attr, its first version */
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

int sched_dump(struct thread *th, ThreadCoreEntry *tce)
{
	struct attributes v = { 0 };

	if (syscall(SYS_sched_getattr, th->host_tid, &v, sizeof v, 0) < 0)
		return fail(errno, "read the scheduling policy of " THREAD_FMT, THREAD_ARG(th));
	if (v.policy == POLICY_DEADLINE)
		return fail_text(ENOTSUP, THREAD_FMT " is scheduled by SCHED_DEADLINE, whose parameters cannot be saved", THREAD_ARG(th));
	tce->has_sched_policy = tce->has_sched_nice = true;
	tce->has_sched_prio = v.priority != 0;
	tce->sched_policy = v.policy | (v.flags & FLAG_RESET_ON_FORK ? SCHED_RESET_ON_FORK : 0);
	tce->sched_nice = v.nice;
	tce->sched_prio = v.priority;
	return 0;
}

static bool real_time(uint32_t policy)
{
	return policy == POLICY_FIFO || policy == POLICY_RR;
}

int sched_check(const struct thread *th)
{
	const ThreadCoreEntry *e = th->core->thread_core;
	uint32_t policy = e->sched_policy & ~(uint32_t)SCHED_RESET_ON_FORK;

	if (policy == POLICY_DEADLINE || policy > POLICY_EXT || policy == 4)
		return fail_text(EBADMSG, "core-%d.img: scheduling policy %u cannot be restored", th->tid, policy);
	if (e->sched_nice < -20 || e->sched_nice > 19)
		return fail_text(EBADMSG, "core-%d.img: nice value %d is out of range", th->tid, e->sched_nice);
	if (real_time(policy) ? e->sched_prio < 1 || e->sched_prio > 99 : e->sched_prio != 0)
		return fail_text(EBADMSG, "core-%d.img: priority %u does not fit scheduling policy %u", th->tid, e->sched_prio, policy);
	return 0;
}

int sched_restore(struct thread *th)
{
	const ThreadCoreEntry *e = th->core->thread_core;
	struct attributes now = { 0 }, v = { sizeof v };

	v.policy = e->sched_policy & ~(uint32_t)SCHED_RESET_ON_FORK;
	v.flags = e->sched_policy & SCHED_RESET_ON_FORK ? FLAG_RESET_ON_FORK : 0;
	v.nice = e->sched_nice;
	v.priority = e->sched_prio;
	if (syscall(SYS_sched_getattr, th->host_tid, &now, sizeof now, 0) == 0 && now.policy == v.policy && now.nice == v.nice &&
	    now.priority == v.priority && (now.flags & FLAG_RESET_ON_FORK) == v.flags)
		return 0;
	if (syscall(SYS_sched_setattr, th->host_tid, &v, 0) == 0)
		return 0;
	int r = fail(errno, "set scheduling policy %u, nice %d, priority %u of " THREAD_FMT, v.policy, v.nice, v.priority, THREAD_ARG(th));
	if (r == -EPERM)
		fail_hint("it needs CAP_SYS_NICE, or, for a real-time policy in a cgroup, a cpu.rt_runtime_us above 0");
	return r;
}
