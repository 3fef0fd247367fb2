/* SPDX-License-Identifier: Apache-2.0 */
/* Limits in v1 hierarchies: one file per value, named as in the kernel's cgroup-v1 documents. -1 is "no limit" for memory, pids
 * and quota.
 *
 * Orders that matter. memory.memsw must never be below memory.limit: when both change, which goes first depends on the way they go. A quota
 * is checked against the period (and a real-time runtime against its period) that is there: period first, and if the old quota forbids
 * the new period, the quota and then the period. cpu.idle first: an idle group takes no shares.
 *
 * Block I/O weights are BFQ's (blkio.bfq.weight) where that scheduler is, else those of CFQ's successors (blkio.weight); leaf weights
 * went with CFQ (5.0): a kernel without them says so. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "cgroup/internal.h"

static int set_limit(const struct cgroup_target *g, const struct spec_resources *r)
{
	return cgroup_set(g, "memory", "memory.limit_in_bytes", "linux.resources.memory.limit", "%" PRId64, r->memory_limit);
}

static int set_swap(const struct cgroup_target *g, const struct spec_resources *r)
{
	return cgroup_set(g, "memory", "memory.memsw.limit_in_bytes", "linux.resources.memory.swap", "%" PRId64, r->memory_swap);
}

static int set_memory_and_swap(const struct cgroup_target *g, const struct spec_resources *r)
{
	size_t mark = err_mark();

	if (!r->has_memory_swap)
		return set_limit(g, r);
	if (!r->has_memory_limit)
		return set_swap(g, r);
	/* No limit of both, asked for by nobody but the rule that -1 lifts both: a kernel that does not account swap has no such file. */
	if (r->memory_swap == -1 && r->memory_limit == -1 && !cgroup_has_file(g, "memory", "memory.memsw.limit_in_bytes"))
		return set_limit(g, r);
	int done = set_limit(g, r);
	if (done >= 0)
		return set_swap(g, r);
	if (done != -EINVAL)
		return done;
	err_rewind(mark);   /* growing beyond the present memory+swap limit */
	done = set_swap(g, r);
	return done < 0 ? done : set_limit(g, r);
}

#define ROW(controller, file, property, kind, field) \
	{ controller, file, property, kind, MAP_HAS_RESOURCE(has_##field), offsetof(struct spec_resources, field) }
static const struct cgroup_limit memory_limits[] = {
	ROW("memory", "memory.soft_limit_in_bytes", "memory.reservation", LIMIT_I64, memory_reservation),
	ROW("memory", "memory.kmem.limit_in_bytes", "memory.kernel", LIMIT_I64, memory_kernel),
	ROW("memory", "memory.kmem.tcp.limit_in_bytes", "memory.kernelTCP", LIMIT_I64, memory_kernel_tcp),
	ROW("memory", "memory.swappiness", "memory.swappiness", LIMIT_U64, swappiness),
	ROW("memory", "memory.oom_control", "memory.disableOOMKiller", LIMIT_BOOL, disable_oom_killer),
};
static const struct cgroup_limit cpu_limits[] = {
	ROW("cpu", "cpu.idle", "cpu.idle", LIMIT_I64, cpu_idle),
	ROW("cpu", "cpu.shares", "cpu.shares", LIMIT_U64, cpu_shares),
	ROW("cpu", "cpu.rt_period_us", "cpu.realtimePeriod", LIMIT_U64, cpu_rt_period),
	ROW("cpu", "cpu.rt_runtime_us", "cpu.realtimeRuntime", LIMIT_I64, cpu_rt_runtime),
};
static const struct cgroup_limit burst_limit[] = {
	ROW("cpu", "cpu.cfs_burst_us", "cpu.burst", LIMIT_U64, cpu_burst),
};
static const struct cgroup_limit cpuset_limits[] = {
	{ "cpuset", "cpuset.cpus", "cpu.cpus", LIMIT_TEXT, 0, offsetof(struct spec_resources, cpuset_cpus) },
	{ "cpuset", "cpuset.mems", "cpu.mems", LIMIT_TEXT, 0, offsetof(struct spec_resources, cpuset_mems) },
};
static const struct cgroup_limit network_limits[] = {
	ROW("net_cls", "net_cls.classid", "network.classID", LIMIT_U32, class_id),
};
#define SET(limits) cgroup_set_all(g, r, limits, sizeof limits / sizeof *limits)

static int apply_memory(const struct cgroup_target *g, const struct spec_resources *r)
{
	int done = r->has_memory_limit || r->has_memory_swap ? set_memory_and_swap(g, r) : 0;

	return done < 0 ? done : SET(memory_limits);
}

static int set_period(const struct cgroup_target *g, const struct spec_resources *r)
{
	return r->has_cpu_period ? cgroup_set(g, "cpu", "cpu.cfs_period_us", "linux.resources.cpu.period", "%" PRIu64, r->cpu_period) : 0;
}

static int set_quota(const struct cgroup_target *g, const struct spec_resources *r)
{
	return r->has_cpu_quota ? cgroup_set(g, "cpu", "cpu.cfs_quota_us", "linux.resources.cpu.quota", "%" PRId64, r->cpu_quota) : 0;
}

static int apply_quota(const struct cgroup_target *g, const struct spec_resources *r)
{
	size_t mark = err_mark();
	int done = set_period(g, r);

	if (done != -EINVAL || !r->has_cpu_quota)
		return done < 0 ? done : set_quota(g, r);
	err_rewind(mark);   /* the old quota forbids the new period */
	done = set_quota(g, r);
	return done < 0 ? done : set_period(g, r);
}

static int apply_cpu(const struct cgroup_target *g, const struct spec_resources *r)
{
	int done = SET(cpu_limits);

	if (done >= 0)
		done = apply_quota(g, r);
	return done < 0 ? done : SET(burst_limit);
}

static int apply_cpuset(const struct cgroup_target *g, const struct spec_resources *r)
{
	return SET(cpuset_limits);
}

static int set_weight(const struct cgroup_target *g, const char *bfq, const char *other, const char *property, uint32_t weight)
{
	return cgroup_set(g, "blkio", cgroup_has_file(g, "blkio", bfq) ? bfq : other, property, "%u", weight);
}

static int set_device_weight(const struct cgroup_target *g, const struct spec_block_weight *w, size_t i)
{
	char property[64];
	const char *file = cgroup_has_file(g, "blkio", "blkio.bfq.weight_device") ? "blkio.bfq.weight_device" : "blkio.weight_device";
	int done = 0;

	snprintf(property, sizeof property, "linux.resources.blockIO.weightDevice[%zu]", i);
	if (w->has_weight)
		done = cgroup_set(g, "blkio", file, property, "%" PRId64 ":%" PRId64 " %u", w->major, w->minor, w->weight);
	if (done >= 0 && w->has_leaf_weight)
		done = cgroup_set(g, "blkio", "blkio.leaf_weight_device", property, "%" PRId64 ":%" PRId64 " %u", w->major, w->minor,
			w->leaf_weight);
	return done;
}

static const struct {
	const char *file, *property;
} throttles[THROTTLES] = {
	[THROTTLE_READ_BPS] = { "blkio.throttle.read_bps_device", "linux.resources.blockIO.throttleReadBpsDevice" },
	[THROTTLE_WRITE_BPS] = { "blkio.throttle.write_bps_device", "linux.resources.blockIO.throttleWriteBpsDevice" },
	[THROTTLE_READ_IOPS] = { "blkio.throttle.read_iops_device", "linux.resources.blockIO.throttleReadIOPSDevice" },
	[THROTTLE_WRITE_IOPS] = { "blkio.throttle.write_iops_device", "linux.resources.blockIO.throttleWriteIOPSDevice" },
};

static int apply_block(const struct cgroup_target *g, const struct spec_resources *r)
{
	int done = 0;

	if (r->has_block_weight)
		done = set_weight(g, "blkio.bfq.weight", "blkio.weight", "linux.resources.blockIO.weight", r->block_weight);
	if (done >= 0 && r->has_block_leaf_weight)
		done = cgroup_set(g, "blkio", "blkio.leaf_weight", "linux.resources.blockIO.leafWeight", "%u", r->block_leaf_weight);
	for (size_t i = 0; done >= 0 && i < r->n_block_weights; i++)
		done = set_device_weight(g, &r->block_weights[i], i);
	for (int k = 0; k < THROTTLES; k++)
		for (size_t i = 0; done >= 0 && i < r->throttle[k].n; i++)
			done = cgroup_set(g, "blkio", throttles[k].file, throttles[k].property, "%" PRId64 ":%" PRId64 " %" PRIu64,
				r->throttle[k].data[i].major, r->throttle[k].data[i].minor, r->throttle[k].data[i].rate);
	return done;
}

static int apply_hugepages(const struct cgroup_target *g, const struct spec_resources *r)
{
	return cgroup_set_hugepages(g, r, "limit_in_bytes");
}

static int apply_network(const struct cgroup_target *g, const struct spec_resources *r)
{
	int done = SET(network_limits);

	for (size_t i = 0; done >= 0 && i < r->n_priorities; i++)
		done = cgroup_set(g, "net_prio", "net_prio.ifpriomap", "linux.resources.network.priorities", "%s %u", r->priorities[i].name,
			r->priorities[i].priority);
	return done;
}

int cgroup_v1_apply(const struct cgroup_target *g, const struct spec_resources *r)
{
	static int (*const parts[])(const struct cgroup_target *, const struct spec_resources *) = {
		apply_memory, cgroup_set_pids, apply_cpu, apply_cpuset, apply_block, apply_hugepages, apply_network, cgroup_set_rdma,
	};
	int done = 0;

	if (r->unified.n)
		return fail_text(EOPNOTSUPP, "config.json: linux.resources.unified[\"%s\"]: the limits of this machine are on cgroup v1",
			r->unified.data[0].key);
	for (size_t i = 0; done >= 0 && i < sizeof parts / sizeof *parts; i++)
		done = parts[i](g, r);
	return done;
}
