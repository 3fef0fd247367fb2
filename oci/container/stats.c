/* SPDX-License-Identifier: Apache-2.0 */
/* A container's statistics as the JSON object that runc's events carry, whose readers know which members are left out when they are zero:
 * that is kept exactly. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/proc.h"
#include "cgroup/stats.h"
#include "container/container.h"
#include "spec/json.h"

static void add_nonzero(struct json_out *o, const char *key, uint64_t value)
{
	if (value)
		json_add_u64(o, key, value);
}

static void add_list(struct json_out *o, const char *key, const uint64_t *values, size_t n)
{
	if (!n)
		return;
	json_open_array(o, key);
	for (size_t i = 0; i < n; i++)
		json_add_u64(o, NULL, values[i]);
	json_close_array(o);
}

/* "0-2,7" as [0,1,2,7] */
static void add_ranges(struct json_out *o, const char *key, const char *text)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return;
	json_open_array(o, key);
	for (; *text >= '0' && *text <= '9'; text = *end == ',' ? end + 1 : end) {
		unsigned long from = strtoul(text, &end, 10), to = *end == '-' ? strtoul(end + 1, &end, 10) : from;
		for (; from <= to && to < 65536; from++)
			json_add_u64(o, NULL, from);
	}
	json_close_array(o);
}

static void add_psi_line(struct json_out *o, const char *key, const struct cgroup_psi_line *l)
{
	json_open_object(o, key);
	json_add_raw(o, "avg10", l->avg10 ? l->avg10 : "0");
	json_add_raw(o, "avg60", l->avg60 ? l->avg60 : "0");
	json_add_raw(o, "avg300", l->avg300 ? l->avg300 : "0");
	json_add_u64(o, "total", l->total);
	json_close_object(o);
}

static void add_psi(struct json_out *o, const struct cgroup_psi *psi)
{
	if (!psi->present)
		return;
	json_open_object(o, "psi");
	add_psi_line(o, "some", &psi->some);
	add_psi_line(o, "full", &psi->full);
	json_close_object(o);
}

static void add_cpu(struct json_out *o, const struct cgroup_stats *s)
{
	json_open_object(o, "cpu");
	json_open_object(o, "usage");
	add_nonzero(o, "total", s->cpu.total);
	add_list(o, "percpu", s->cpu.percpu, s->cpu.n_percpu);
	add_list(o, "percpu_kernel", s->cpu.percpu_kernel, s->cpu.n_percpu_split);
	add_list(o, "percpu_user", s->cpu.percpu_user, s->cpu.n_percpu_split);
	json_add_u64(o, "kernel", s->cpu.kernel);
	json_add_u64(o, "user", s->cpu.user);
	json_close_object(o);
	json_open_object(o, "throttling");
	add_nonzero(o, "periods", s->cpu.periods);
	add_nonzero(o, "throttledPeriods", s->cpu.throttled_periods);
	add_nonzero(o, "throttledTime", s->cpu.throttled_time);
	json_close_object(o);
	add_psi(o, &s->cpu.psi);
	json_close_object(o);
	json_open_object(o, "cpuset");
	add_ranges(o, "cpus", s->cpus);
	add_ranges(o, "mems", s->mems);
	for (size_t i = 0; cgroup_cpuset_names[i]; i++)
		json_add_u64(o, cgroup_cpuset_names[i], s->cpuset[i]);
	json_add_i64(o, "sched_relax_domain_level", s->relax_domain_level);
	json_close_object(o);
}

static void add_amount(struct json_out *o, const char *key, const struct cgroup_amount *a, bool with_limit)
{
	json_open_object(o, key);
	if (with_limit)
		json_add_u64(o, "limit", a->limit);
	add_nonzero(o, "usage", a->usage);
	add_nonzero(o, "max", a->max);
	json_add_u64(o, "failcnt", a->failcnt);
	json_close_object(o);
}

static void add_memory(struct json_out *o, const struct cgroup_stats *s)
{
	json_open_object(o, "memory");
	add_nonzero(o, "cache", s->memory.cache);
	add_amount(o, "usage", &s->memory.usage, true);
	add_amount(o, "swap", &s->memory.swap, true);
	add_amount(o, "kernel", &s->memory.kernel, true);
	add_amount(o, "kernelTCP", &s->memory.kernel_tcp, true);
	if (s->memory.n_raw) {
		json_open_object(o, "raw");
		for (size_t i = 0; i < s->memory.n_raw; i++)
			json_add_u64(o, s->memory.raw[i].name, s->memory.raw[i].value);
		json_close_object(o);
	}
	add_psi(o, &s->memory.psi);
	json_close_object(o);
	json_open_object(o, "pids");
	add_nonzero(o, "current", s->pids_current);
	add_nonzero(o, "limit", s->pids_limit);
	json_close_object(o);
}

static void add_block(struct json_out *o, const struct cgroup_stats *s)
{
	static const char *const names[BLOCK_KINDS] = {
		[BLOCK_BYTES] = "ioServiceBytesRecursive", [BLOCK_SERVICED] = "ioServicedRecursive", [BLOCK_QUEUED] = "ioQueueRecursive",
		[BLOCK_SERVICE_TIME] = "ioServiceTimeRecursive", [BLOCK_WAIT_TIME] = "ioWaitTimeRecursive",
		[BLOCK_MERGED] = "ioMergedRecursive", [BLOCK_TIME] = "ioTimeRecursive", [BLOCK_SECTORS] = "sectorsRecursive",
	};

	json_open_object(o, "blkio");
	for (int k = 0; k < BLOCK_KINDS; k++) {
		if (!s->block[k].n)
			continue;
		json_open_array(o, names[k]);
		for (size_t i = 0; i < s->block[k].n; i++) {
			const struct cgroup_block_entry *e = &s->block[k].data[i];
			json_open_object(o, NULL);
			add_nonzero(o, "major", e->major);
			add_nonzero(o, "minor", e->minor);
			json_add_string(o, "op", e->op);
			add_nonzero(o, "value", e->value);
			json_close_object(o);
		}
		json_close_array(o);
	}
	add_psi(o, &s->block_psi);
	json_close_object(o);
	json_open_object(o, "hugetlb");
	for (size_t i = 0; i < s->n_hugepages; i++)
		add_amount(o, s->hugepages[i].size, &s->hugepages[i].amount, false);
	json_close_object(o);
}

/* A container without limits of this kind has no cpuset group of its own: what it may use is then init's. */
static void inherited_cpuset(struct container *c, struct arena *arena, struct cgroup_stats *s)
{
	autofree char *status = NULL;

	if (proc_read(c->pid, "status", &status) < 0)
		return;
	const char *cpus = proc_field(status, "Cpus_allowed_list"), *mems = proc_field(status, "Mems_allowed_list");
	s->cpus = cpus ? arena_printf(arena, "%.*s", (int)strcspn(cpus, "\n"), cpus) : NULL;
	s->mems = mems ? arena_printf(arena, "%.*s", (int)strcspn(mems, "\n"), mems) : NULL;
	s->relax_domain_level = -1;
	for (size_t i = 0; cgroup_cpuset_names[i]; i++)
		s->cpuset[i] = !strcmp(cgroup_cpuset_names[i], "sched_load_balance");
}

int container_stats_json(struct container *c, struct json_out *o)
{
	struct arena arena = { 0 };
	struct cgroup_stats s;
	int r = cgroup_stats_read(&arena, &c->cgroups, &s);

	if (r == 0 && !s.cpus && !cgroup_unified_only(&c->cgroups))
		inherited_cpuset(c, &arena, &s);
	if (r == 0) {
		json_open_object(o, "data");
		add_cpu(o, &s);
		add_memory(o, &s);
		add_block(o, &s);
		json_open_object(o, "intel_rdt");
		json_close_object(o);
		json_add_raw(o, "network_interfaces", "null");   /* those of the container are not the runtime's to count */
		json_close_object(o);
	}
	arena_done(&arena);
	return r;
}
