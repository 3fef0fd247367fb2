/* SPDX-License-Identifier: Apache-2.0 */
/* How the kernel treats a process among others: scheduling policy, I/O priority, personality, memory policy, CPU affinity.
 *
 * All of these belong to a task, are inherited by its children and survive execve(). They are set by the task itself while it has the
 * runtime's privileges: real-time policies and classes need CAP_SYS_NICE in the initial user namespace. What the kernel has not (a policy,
 * a node) or does not allow (real-time in a cgroup without such time) is an error that names the property.
 *
 * The engine saves neither memory policy nor I/O priority: a restored container gets them as a new one does, from its configuration, by
 * its root task, from which all others descend.
 *
 * CPU affinity is of exec alone: `initial` holds until the process is in the container's cgroup, `final` from there on. A process that is
 * born in its cgroup gets the first from the runtime, which takes it on around the clone. Without a `final` the mask is opened wide
 * again; the kernel cuts it down to what the cpuset allows. */
#include <errno.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "init/internal.h"

/* The kernel's sched_attr: its header clashes with the C library's. */
struct scheduling {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};
_Static_assert(sizeof(struct scheduling) == 48, "SCHED_ATTR_SIZE_VER0");

static int set_scheduler(const struct spec_scheduler *s, pid_t pid)
{
	const struct scheduling attr = {
		sizeof attr, s->policy, s->flags, s->nice, (uint32_t)s->priority, s->runtime, s->deadline, s->period,
	};

	if (!s->present || syscall(SYS_sched_setattr, pid, &attr, 0) == 0)
		return 0;
	int r = fail(errno, "process.scheduler: set policy %u (nice %d, priority %d, flags 0x%x)", s->policy, s->nice, s->priority, s->flags);
	if (r == -EPERM)
		fail_hint("real-time policies and a nice value below the caller's need CAP_SYS_NICE, and real-time CPU time in the cgroup");
	return r;
}

static int set_io_priority(const struct spec_process *p, pid_t pid)
{
	int value = IOPRIO_PRIO_VALUE((int)p->io_class, p->io_priority);

	if (!p->has_io_priority || syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, value) == 0)
		return 0;
	int r = fail(errno, "process.ioPriority: set class %u, priority %d", p->io_class, p->io_priority);
	if (r == -EPERM)
		fail_hint("IOPRIO_CLASS_RT needs CAP_SYS_NICE or CAP_SYS_ADMIN");
	return r;
}

static int set_memory_policy(const struct spec_memory_policy *p)
{
	unsigned long bits[SPEC_CPU_WORDS] = { 0 };
	bool nodes = p->nodes && *p->nodes;

	if (!p->present)
		return 0;
	if (nodes)
		spec_number_list(p->nodes, bits, SPEC_CPU_WORDS);   /* checked with the configuration */
	if (syscall(SYS_set_mempolicy, p->mode | p->flags, nodes ? bits : NULL, nodes ? 8 * sizeof bits + 1 : 0) == 0)
		return 0;
	int r = fail(errno, "linux.memoryPolicy: set mode %u, flags 0x%x, nodes \"%s\"", p->mode, p->flags, nodes ? p->nodes : "");
	if (r == -EINVAL)
		fail_hint("this kernel does not know the mode or the flags, or the machine has none of these nodes");
	return r;
}

int attributes_apply(const struct init *i)
{
	const struct spec *s = i->spec;
	/* The runtime, or exec's child on its way, has done part of it. */
	bool inside = i->target < 0 ? s->namespaces[NS_USER].wanted : i->foreign_user && !i->user_entered;
	int r = set_memory_policy(&s->memory_policy);

	if (r >= 0 && s->has_personality && personality(s->personality) < 0)
		r = fail(errno, "linux.personality: set 0x%x", s->personality);
	if (r >= 0 && i->restore)
		r = set_io_priority(i->process, 0);
	return r < 0 || i->restore || inside ? r : attributes_schedule(i->process, 0);
}

int attributes_schedule(const struct spec_process *p, pid_t pid)
{
	int r = set_io_priority(p, pid);

	return r < 0 ? r : set_scheduler(&p->scheduler, pid);
}

static int set_affinity(const char *which, const char *list)
{
	unsigned long bits[SPEC_CPU_WORDS];

	spec_number_list(list, bits, SPEC_CPU_WORDS);
	if (sched_setaffinity(0, sizeof bits, (const cpu_set_t *)bits) == 0)
		return 0;
	return fail(errno, "process.execCPUAffinity.%s: run on CPUs %s", which, list);
}

int affinity_begin(const struct spec_process *p, cpu_set_t *saved)
{
	if (!p->affinity_initial || !*p->affinity_initial)
		return 0;
	if (sched_getaffinity(0, sizeof *saved, saved) < 0)
		return fail(errno, "ask for the CPU affinity");
	return set_affinity("initial", p->affinity_initial);
}

void affinity_end(const struct spec_process *p, const cpu_set_t *saved)
{
	if (p->affinity_initial && *p->affinity_initial)
		sched_setaffinity(0, sizeof *saved, saved);
}

int affinity_final(const struct spec_process *p)
{
	cpu_set_t all;

	if (p->affinity_final && *p->affinity_final)
		return set_affinity("final", p->affinity_final);
	if (!p->affinity_initial || !*p->affinity_initial)
		return 0;
	memset(&all, 0xff, sizeof all);
	return sched_setaffinity(0, sizeof all, &all) < 0 ? fail(errno, "process.execCPUAffinity: open the affinity again") : 0;
}
