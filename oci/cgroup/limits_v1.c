/* SPDX-License-Identifier: Apache-2.0 */
/* Limits in v1 hierarchies: one file per value, named as in the kernel's cgroup-v1 documents. -1 is "no limit" for memory, pids
 * and quota. memory.memsw must never be below memory.limit: when both change, the order depends on which way they go. */
#include <errno.h>
#include <inttypes.h>

#include "base/err.h"
#include "cgroup/internal.h"

static int set_limit(const struct spec_pairs *g, const struct spec_resources *r)
{
	return cgroup_set(g, "memory", "memory.limit_in_bytes", "linux.resources.memory.limit", "%" PRId64, r->memory_limit);
}

static int set_swap(const struct spec_pairs *g, const struct spec_resources *r)
{
	return cgroup_set(g, "memory", "memory.memsw.limit_in_bytes", "linux.resources.memory.swap", "%" PRId64, r->memory_swap);
}

static int set_memory_and_swap(const struct spec_pairs *g, const struct spec_resources *r)
{
	size_t mark = err_mark();

	if (!r->has_memory_swap)
		return set_limit(g, r);
	if (!r->has_memory_limit)
		return set_swap(g, r);
	int done = set_limit(g, r);
	if (done >= 0)
		return set_swap(g, r);
	if (done != -EINVAL)
		return done;
	err_rewind(mark);   /* growing beyond the present memory+swap limit */
	done = set_swap(g, r);
	return done < 0 ? done : set_limit(g, r);
}

static int apply_memory(const struct spec_pairs *g, const struct spec_resources *r)
{
	int done = r->has_memory_limit || r->has_memory_swap ? set_memory_and_swap(g, r) : 0;

	if (done >= 0 && r->has_memory_reservation)
		done = cgroup_set(g, "memory", "memory.soft_limit_in_bytes", "linux.resources.memory.reservation", "%" PRId64,
			r->memory_reservation);
	if (done >= 0 && r->has_swappiness)
		done = cgroup_set(g, "memory", "memory.swappiness", "linux.resources.memory.swappiness", "%" PRIu64, r->swappiness);
	if (done >= 0 && r->has_disable_oom_killer)
		done = cgroup_set(g, "memory", "memory.oom_control", "linux.resources.memory.disableOOMKiller", "%d",
			r->disable_oom_killer);
	return done;
}

static int apply_pids(const struct spec_pairs *g, const struct spec_resources *r)
{
	if (!r->has_pids_limit)
		return 0;
	if (r->pids_limit <= 0)
		return cgroup_set(g, "pids", "pids.max", "linux.resources.pids.limit", "max");
	return cgroup_set(g, "pids", "pids.max", "linux.resources.pids.limit", "%" PRId64, r->pids_limit);
}

/* The period first: a quota is checked against it. */
static int apply_cpu(const struct spec_pairs *g, const struct spec_resources *r)
{
	int done = 0;

	if (r->has_cpu_idle)
		done = cgroup_set(g, "cpu", "cpu.idle", "linux.resources.cpu.idle", "%" PRId64, r->cpu_idle);
	if (done >= 0 && r->has_cpu_shares)
		done = cgroup_set(g, "cpu", "cpu.shares", "linux.resources.cpu.shares", "%" PRIu64, r->cpu_shares);
	if (done >= 0 && r->has_cpu_period)
		done = cgroup_set(g, "cpu", "cpu.cfs_period_us", "linux.resources.cpu.period", "%" PRIu64, r->cpu_period);
	if (done >= 0 && r->has_cpu_quota)
		done = cgroup_set(g, "cpu", "cpu.cfs_quota_us", "linux.resources.cpu.quota", "%" PRId64, r->cpu_quota);
	if (done >= 0 && r->has_cpu_burst)
		done = cgroup_set(g, "cpu", "cpu.cfs_burst_us", "linux.resources.cpu.burst", "%" PRIu64, r->cpu_burst);
	return done;
}

static int apply_cpuset(const struct spec_pairs *g, const struct spec_resources *r)
{
	int done = 0;

	if (r->cpuset_cpus)
		done = cgroup_set(g, "cpuset", "cpuset.cpus", "linux.resources.cpu.cpus", "%s", r->cpuset_cpus);
	if (done >= 0 && r->cpuset_mems)
		done = cgroup_set(g, "cpuset", "cpuset.mems", "linux.resources.cpu.mems", "%s", r->cpuset_mems);
	return done;
}

int cgroup_v1_apply(const struct spec_pairs *g, const struct spec_resources *r)
{
	static int (*const parts[])(const struct spec_pairs *, const struct spec_resources *) = {
		apply_memory, apply_pids, apply_cpu, apply_cpuset,
	};
	int done = 0;

	if (r->unified.n)
		return fail_text(EOPNOTSUPP, "config.json: linux.resources.unified[\"%s\"]: the limits of this machine are on cgroup v1",
			r->unified.data[0].key);
	for (size_t i = 0; done >= 0 && i < sizeof parts / sizeof *parts; i++)
		done = parts[i](g, r);
	return done;
}
