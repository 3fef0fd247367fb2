/* SPDX-License-Identifier: Apache-2.0 */
/* Limits on cgroup2. The configuration speaks of v1's values; what they become here:
 *   memory.limit → memory.max; reservation → memory.low; swap (memory and swap together) → memory.swap.max = swap - limit
 *   cpu.shares (2…262144) → cpu.weight (1…10000) on a straight line; quota and period → cpu.max; burst → cpu.max.burst
 * swappiness and disableOOMKiller have no counterpart and are refused. `unified` names files itself, after all others. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cgroup/internal.h"

/* cgroup2 says "max" where v1 says -1. */
static const char *amount(char out[24], int64_t value)
{
	if (value < 0)
		return "max";
	snprintf(out, 24, "%" PRId64, value);
	return out;
}

static int apply_swap(const struct spec_pairs *g, const struct spec_resources *r)
{
	char text[24];

	if (r->memory_swap < 0)
		return cgroup_set(g, "memory", "memory.swap.max", "linux.resources.memory.swap", "max");
	if (!r->has_memory_limit || r->memory_limit < 0 || r->memory_swap < r->memory_limit)
		return fail_text(EINVAL, "config.json: linux.resources.memory.swap: is the sum of memory and swap, so it needs a "
					 "linux.resources.memory.limit that is not larger");
	return cgroup_set(g, "memory", "memory.swap.max", "linux.resources.memory.swap", "%s",
		amount(text, r->memory_swap - r->memory_limit));
}

static int apply_memory(const struct spec_pairs *g, const struct spec_resources *r)
{
	char text[24];
	int done = 0;

	if (r->has_swappiness)
		return fail_text(EOPNOTSUPP, "config.json: linux.resources.memory.swappiness: cgroup v2 has no such limit");
	if (r->has_disable_oom_killer && r->disable_oom_killer)
		return fail_text(EOPNOTSUPP, "config.json: linux.resources.memory.disableOOMKiller: cgroup v2 has no such switch");
	if (r->has_memory_swap)
		done = apply_swap(g, r);
	if (done >= 0 && r->has_memory_limit)
		done = cgroup_set(g, "memory", "memory.max", "linux.resources.memory.limit", "%s", amount(text, r->memory_limit));
	if (done >= 0 && r->has_memory_reservation)
		done = cgroup_set(g, "memory", "memory.low", "linux.resources.memory.reservation", "%s",
			amount(text, r->memory_reservation));
	return done;
}

static int apply_pids(const struct spec_pairs *g, const struct spec_resources *r)
{
	char text[24];

	if (!r->has_pids_limit)
		return 0;
	return cgroup_set(g, "pids", "pids.max", "linux.resources.pids.limit", "%s", amount(text, r->pids_limit ? r->pids_limit : -1));
}

static int apply_quota(const struct spec_pairs *g, const struct spec_resources *r)
{
	char text[24];
	const char *quota = amount(text, r->has_cpu_quota && r->cpu_quota > 0 ? r->cpu_quota : -1);

	if (r->has_cpu_period)
		return cgroup_set(g, "cpu", "cpu.max", "linux.resources.cpu.period", "%s %" PRIu64, quota, r->cpu_period);
	return cgroup_set(g, "cpu", "cpu.max", "linux.resources.cpu.quota", "%s", quota);
}

static int apply_cpu(const struct spec_pairs *g, const struct spec_resources *r)
{
	int done = 0;

	if (r->has_cpu_idle)
		done = cgroup_set(g, "cpu", "cpu.idle", "linux.resources.cpu.idle", "%" PRId64, r->cpu_idle);
	if (done >= 0 && r->has_cpu_shares && r->cpu_shares) {
		uint64_t shares = r->cpu_shares < 2 ? 2 : r->cpu_shares > 262144 ? 262144 : r->cpu_shares;
		done = cgroup_set(g, "cpu", "cpu.weight", "linux.resources.cpu.shares", "%" PRIu64, 1 + (shares - 2) * 9999 / 262142);
	}
	if (done >= 0 && (r->has_cpu_quota || r->has_cpu_period))
		done = apply_quota(g, r);
	if (done >= 0 && r->has_cpu_burst)
		done = cgroup_set(g, "cpu", "cpu.max.burst", "linux.resources.cpu.burst", "%" PRIu64, r->cpu_burst);
	if (done >= 0 && r->cpuset_cpus)
		done = cgroup_set(g, "cpuset", "cpuset.cpus", "linux.resources.cpu.cpus", "%s", r->cpuset_cpus);
	if (done >= 0 && r->cpuset_mems)
		done = cgroup_set(g, "cpuset", "cpuset.mems", "linux.resources.cpu.mems", "%s", r->cpuset_mems);
	return done;
}

static int apply_unified(const struct spec_pairs *g, const struct spec_resources *r)
{
	char property[256];
	int done = 0;

	for (size_t i = 0; done >= 0 && i < r->unified.n; i++) {
		const struct spec_pair *p = &r->unified.data[i];
		snprintf(property, sizeof property, "linux.resources.unified[\"%s\"]", p->key);
		if (strchr(p->key, '/') || !strchr(p->key, '.'))
			return fail_text(EINVAL, "config.json: %s: not the name of a cgroup file", property);
		done = cgroup_set(g, "", p->key, property, "%s", p->value);
	}
	return done;
}

int cgroup_v2_apply(const struct spec_pairs *g, const struct spec_resources *r)
{
	static int (*const parts[])(const struct spec_pairs *, const struct spec_resources *) = {
		apply_memory, apply_pids, apply_cpu, apply_unified,
	};
	int done = 0;

	for (size_t i = 0; done >= 0 && i < sizeof parts / sizeof *parts; i++)
		done = parts[i](g, r);
	return done;
}
