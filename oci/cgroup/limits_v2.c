/* SPDX-License-Identifier: Apache-2.0 */
/* Limits on cgroup2. The configuration speaks of v1's values; what they become here:
 *   memory.limit → memory.max; reservation → memory.low; swap (memory and swap together) → memory.swap.max = swap - limit
 *   cpu.shares (2…262144) → cpu.weight (1…10000), so that the defaults of both (1024, 100) meet; quota and period → cpu.max; burst →
 *   cpu.max.burst; blockIO.weight (10…1000) → io.bfq.weight as it is where BFQ is, else io.weight (1…10000) on a straight line;
 *   throttles → io.max
 * What has no counterpart (swappiness, the OOM killer's switch, real-time bandwidth, kernel memory, network classes, leaf weights) is
 * refused by name. `unified` names files itself, after all others. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "cgroup/internal.h"

#define ROW(controller, file, property, kind, field) \
	{ controller, file, property, kind, MAP_HAS_RESOURCE(has_##field), offsetof(struct spec_resources, field) }
#define NONE(property, field) ROW("", "cgroup v2 has no such limit", property, LIMIT_REFUSED, field)
static const struct cgroup_limit refused[] = {
	NONE("memory.swappiness", swappiness),
	NONE("memory.kernel", memory_kernel),
	NONE("memory.kernelTCP", memory_kernel_tcp),
	NONE("cpu.realtimePeriod", cpu_rt_period),
	NONE("cpu.realtimeRuntime", cpu_rt_runtime),
	NONE("blockIO.leafWeight", block_leaf_weight),
	NONE("network.classID", class_id),
};
static const struct cgroup_limit memory_limits[] = {
	ROW("memory", "memory.max", "memory.limit", LIMIT_AMOUNT, memory_limit),
	ROW("memory", "memory.low", "memory.reservation", LIMIT_AMOUNT, memory_reservation),
};
static const struct cgroup_limit cpu_limits[] = {
	ROW("cpu", "cpu.max.burst", "cpu.burst", LIMIT_U64, cpu_burst),
	{ "cpuset", "cpuset.cpus", "cpu.cpus", LIMIT_TEXT, 0, offsetof(struct spec_resources, cpuset_cpus) },
	{ "cpuset", "cpuset.mems", "cpu.mems", LIMIT_TEXT, 0, offsetof(struct spec_resources, cpuset_mems) },
};
#define SET(limits) cgroup_set_all(g, r, limits, sizeof limits / sizeof *limits)

static int refuse(const struct cgroup_target *g, const struct spec_resources *r)
{
	if (r->has_disable_oom_killer && r->disable_oom_killer)
		return fail_text(EOPNOTSUPP, "linux.resources.memory.disableOOMKiller: cgroup v2 has no such switch");
	if (r->n_priorities)
		return fail_text(EOPNOTSUPP, "linux.resources.network.priorities: cgroup v2 has no such limit");
	for (size_t i = 0; i < r->n_block_weights; i++)
		if (r->block_weights[i].has_leaf_weight && r->block_weights[i].leaf_weight)
			return fail_text(EOPNOTSUPP, "linux.resources.blockIO.weightDevice[%zu].leafWeight: cgroup v2 has no such limit", i);
	return SET(refused);
}

/* A file's number; "max" and what cannot be read is -1. */
static int64_t present(const struct cgroup_target *g, const char *file)
{
	char path[PATH_MAX];
	autofree char *text = NULL;
	int64_t value = -1;

	snprintf(path, sizeof path, "%s/%s", cgroup_path(g->groups, ""), file);
	if (file_read(AT_FDCWD, path, &text, 4096) < 0)
		return -1;
	text[strcspn(text, "\n")] = 0;
	return parse_i64(text, 10, &value) < 0 ? -1 : value;
}

/* memory.swap is a sum; alone it goes with the limit that is there. */
static int apply_swap(const struct cgroup_target *g, const struct spec_resources *r)
{
	int64_t limit = r->has_memory_limit ? r->memory_limit : present(g, "memory.max");

	if (r->memory_swap < 0) {
		/* -1 lifts both: without swap accounting there is nothing to lift */
		if (r->memory_limit == -1 && !cgroup_has_file(g, "memory", "memory.swap.max"))
			return 0;
		return cgroup_set(g, "memory", "memory.swap.max", "linux.resources.memory.swap", "max");
	}
	if (limit < 0 || r->memory_swap < limit)
		return fail_text(EINVAL, "linux.resources.memory.swap: is the sum of memory and swap, so it needs a linux.resources.memory.limit that "
					 "is not larger");
	/* Equal means no swap at all: so it is where the kernel does not account any. */
	if (r->memory_swap == limit && !cgroup_has_file(g, "memory", "memory.swap.max"))
		return 0;
	return cgroup_set(g, "memory", "memory.swap.max", "linux.resources.memory.swap", "%" PRId64, r->memory_swap - limit);
}

/* memory.checkBeforeUpdate: a limit below what is used would have the OOM killer at work at once. */
static int check_usage(const struct cgroup_target *g, const struct spec_resources *r)
{
	if (!r->check_before_update || !r->has_memory_limit || r->memory_limit < 0)
		return 0;
	int64_t used = present(g, "memory.current");
	return used <= r->memory_limit ? 0 : fail_text(EBUSY, "linux.resources.memory.limit: %" PRId64 " is less than what is in use, %" PRId64,
		r->memory_limit, used);
}

static int apply_memory(const struct cgroup_target *g, const struct spec_resources *r)
{
	int done = check_usage(g, r);

	if (done >= 0 && r->has_memory_swap)
		done = apply_swap(g, r);
	return done < 0 ? done : SET(memory_limits);
}

/* "max 100000", "50000 100000": a quota alone keeps the period; a period alone keeps the quota. */
static int apply_quota(const struct cgroup_target *g, const struct spec_resources *r)
{
	const char *property = r->has_cpu_quota ? "linux.resources.cpu.quota" : "linux.resources.cpu.period";
	char quota[24] = "max";

	if (r->has_cpu_quota && r->cpu_quota > 0)
		snprintf(quota, sizeof quota, "%" PRId64, r->cpu_quota);
	if (!r->has_cpu_quota) {
		char path[PATH_MAX];
		autofree char *text = NULL;
		snprintf(path, sizeof path, "%s/cpu.max", cgroup_path(g->groups, ""));
		if (file_read(AT_FDCWD, path, &text, 4096) > 0)
			snprintf(quota, sizeof quota, "%.*s", (int)strcspn(text, " \n"), text);
	}
	if (r->has_cpu_period)
		return cgroup_set(g, "cpu", "cpu.max", property, "%s %" PRIu64, quota, r->cpu_period);
	return cgroup_set(g, "cpu", "cpu.max", property, "%s", quota);
}

/* log2 of x >= 1, and 2 to the power of x >= 0: the math library would cost each start of the program more than all limits do. */
static double binary_log(double x)
{
	double whole = 0, bit = 1;

	for (; x >= 2; x /= 2)
		whole++;
	for (int i = 0; i < 52; i++) {
		x *= x;
		bit /= 2;
		if (x >= 2) {
			x /= 2;
			whole += bit;
		}
	}
	return whole;
}

static double binary_power(double x)
{
	double term = 1, sum = 1, fraction = (x - (int)x) * 0.693147180559945309;

	for (int i = 1; i < 25; i++)
		sum += term *= fraction / i;
	for (int i = 0; i < (int)x; i++)
		sum *= 2;
	return sum;
}

/* A curve through (2, 1), (1024, 100) and (262144, 10000): lowest, default and highest of both. */
uint64_t cgroup_weight(uint64_t shares)
{
	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	double l = binary_log((double)shares);
	double weight = binary_power(((l * l + 125 * l) / 612 - 7.0 / 34) * 3.321928094887362348);
	uint64_t whole = (uint64_t)weight;
	return whole + (weight - (double)whole > 1e-9);   /* rounded up, but not for the last bit's sake */
}

static int apply_cpu(const struct cgroup_target *g, const struct spec_resources *r)
{
	int done = 0;

	if (r->has_cpu_idle)
		done = cgroup_set(g, "cpu", "cpu.idle", "linux.resources.cpu.idle", "%" PRId64, r->cpu_idle);
	if (done >= 0 && r->has_cpu_shares && !(r->has_cpu_idle && r->cpu_idle))   /* an idle group has no weight */
		done = cgroup_set(g, "cpu", "cpu.weight", "linux.resources.cpu.shares", "%" PRIu64, cgroup_weight(r->cpu_shares));
	if (done >= 0 && (r->has_cpu_quota || r->has_cpu_period))
		done = apply_quota(g, r);
	return done < 0 ? done : SET(cpu_limits);
}

static int set_device_weight(const struct cgroup_target *g, const struct spec_block_weight *w, size_t i)
{
	const char *file = cgroup_has_file(g, "io", "io.bfq.weight") ? "io.bfq.weight" : "io.weight";
	char property[64];

	snprintf(property, sizeof property, "linux.resources.blockIO.weightDevice[%zu]", i);
	return w->has_weight ? cgroup_set(g, "io", file, property, "%" PRId64 ":%" PRId64 " %u", w->major, w->minor, w->weight) : 0;
}

static int set_weight(const struct cgroup_target *g, uint32_t weight)
{
	if (cgroup_has_file(g, "io", "io.bfq.weight"))
		return cgroup_set(g, "io", "io.bfq.weight", "linux.resources.blockIO.weight", "%u", weight);
	uint32_t line = weight <= 10 ? 1 : weight >= 1000 ? 10000 : 1 + (weight - 10) * 9999 / 990;
	return cgroup_set(g, "io", "io.weight", "linux.resources.blockIO.weight", "%u", line);
}

static int apply_block(const struct cgroup_target *g, const struct spec_resources *r)
{
	static const struct {
		const char *key, *property;
	} throttles[THROTTLES] = {
		[THROTTLE_READ_BPS] = { "rbps", "linux.resources.blockIO.throttleReadBpsDevice" },
		[THROTTLE_WRITE_BPS] = { "wbps", "linux.resources.blockIO.throttleWriteBpsDevice" },
		[THROTTLE_READ_IOPS] = { "riops", "linux.resources.blockIO.throttleReadIOPSDevice" },
		[THROTTLE_WRITE_IOPS] = { "wiops", "linux.resources.blockIO.throttleWriteIOPSDevice" },
	};
	int done = r->has_block_weight ? set_weight(g, r->block_weight) : 0;

	for (size_t i = 0; done >= 0 && i < r->n_block_weights; i++)
		done = set_device_weight(g, &r->block_weights[i], i);
	for (int k = 0; k < THROTTLES; k++)
		for (size_t i = 0; done >= 0 && i < r->throttle[k].n; i++) {
			const struct spec_block_rate *t = &r->throttle[k].data[i];
			char rate[24] = "max";
			if (t->rate)
				snprintf(rate, sizeof rate, "%" PRIu64, t->rate);
			done = cgroup_set(g, "io", "io.max", throttles[k].property, "%" PRId64 ":%" PRId64 " %s=%s", t->major, t->minor,
				throttles[k].key, rate);
		}
	return done;
}

static int apply_hugepages(const struct cgroup_target *g, const struct spec_resources *r)
{
	return cgroup_set_hugepages(g, r, "max");
}

static int apply_unified(const struct cgroup_target *g, const struct spec_resources *r)
{
	char property[256];
	int done = 0;

	for (size_t i = 0; done >= 0 && i < r->unified.n; i++) {
		const struct spec_pair *p = &r->unified.data[i];
		snprintf(property, sizeof property, "linux.resources.unified[\"%s\"]", p->key);
		done = cgroup_set(g, "", p->key, property, "%s", p->value);
	}
	return done;
}

int cgroup_v2_apply(const struct cgroup_target *g, const struct spec_resources *r)
{
	static int (*const parts[])(const struct cgroup_target *, const struct spec_resources *) = {
		refuse, apply_memory, cgroup_set_pids, apply_cpu, apply_block, apply_hugepages, cgroup_set_rdma, apply_unified,
	};
	int done = 0;

	for (size_t i = 0; done >= 0 && i < sizeof parts / sizeof *parts; i++)
		done = parts[i](g, r);
	return done;
}
