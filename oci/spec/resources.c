/* SPDX-License-Identifier: Apache-2.0 */
/* linux.resources: what a container may use, also as a document of its own (`update --resources`).
 *
 * Zeroes: engines and the kubelet write 0 for "not set" into memory, cpu shares, quota, period and block I/O weights; it means nothing
 * there, and spec_resources_settle() drops it. A memory limit of -1 lifts the limit of memory and swap together as well.
 *
 * memory.useHierarchy has no row: every kernel since 5.11 accounts hierarchically. What cgroup v1 or v2 does not have is refused where the
 * limits are set (cgroup/limits_v1.c, limits_v2.c), by the property's name. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "spec/internal.h"

static const struct map_name rule_types[] = { { "a", 'a' }, { "b", 'b' }, { "c", 'c' }, { "", 'a' }, { NULL, 0 } };

#define ROW_OF spec_device_rule
static const struct map_row device_rule_rows[] = {
	{ "allow", MAP_BOOL, AT(allow), .required = true },
	{ "type", MAP_CALL, AT(type), .call = spec_map_device_type, .names = rule_types },
	{ "major", MAP_I64, AT(major), .min = -1, .max = INT64_MAX },
	{ "minor", MAP_I64, AT(minor), .min = -1, .max = INT64_MAX },
	{ "access", MAP_STRING, AT(access) },
};
static const struct spec_device_rule new_device_rule = { .type = 'a', .major = -1, .minor = -1 };
static const struct map_table device_rule_table = MAP_TABLE_OF(device_rule_rows, struct spec_device_rule, &new_device_rule);
#undef ROW_OF

#define ROW_OF spec_block_rate
static const struct map_row block_rate_rows[] = {
	{ "major", MAP_I64, AT(major), .max = UINT32_MAX, .required = true },
	{ "minor", MAP_I64, AT(minor), .max = UINT32_MAX, .required = true },
	{ "rate", MAP_U64, AT(rate) },
};
static const struct map_table block_rate_table = MAP_TABLE_OF(block_rate_rows, struct spec_block_rate, NULL);
#undef ROW_OF

#define ROW_OF spec_block_weight
static const struct map_row block_weight_rows[] = {
	{ "major", MAP_I64, AT(major), .max = UINT32_MAX, .required = true },
	{ "minor", MAP_I64, AT(minor), .max = UINT32_MAX, .required = true },
	{ "weight", MAP_U32, AT(weight), HAS(has_weight), .max = UINT16_MAX },
	{ "leafWeight", MAP_U32, AT(leaf_weight), HAS(has_leaf_weight), .max = UINT16_MAX },
};
static const struct map_table block_weight_table = MAP_TABLE_OF(block_weight_rows, struct spec_block_weight, NULL);
#undef ROW_OF

#define ROW_OF spec_hugepage
static const struct map_row hugepage_rows[] = {
	{ "pageSize", MAP_STRING, AT(page_size), .required = true },
	{ "limit", MAP_U64, AT(limit), .required = true },
};
static const struct map_table hugepage_table = MAP_TABLE_OF(hugepage_rows, struct spec_hugepage, NULL);
#undef ROW_OF

#define ROW_OF spec_net_priority
static const struct map_row priority_rows[] = {
	{ "name", MAP_STRING, AT(name), .required = true },
	{ "priority", MAP_U32, AT(priority), .required = true },
};
static const struct map_table priority_table = MAP_TABLE_OF(priority_rows, struct spec_net_priority, NULL);
#undef ROW_OF

#define ROW_OF spec_rdma
static const struct map_row rdma_rows[] = {
	{ "hcaHandles", MAP_U32, AT(handles), HAS(has_handles) },
	{ "hcaObjects", MAP_U32, AT(objects), HAS(has_objects) },
};
static const struct map_table rdma_table = MAP_TABLE_OF(rdma_rows, struct spec_rdma, NULL);
#undef ROW_OF

/* An object whose keys are names of devices. */
static int map_rdma(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	struct spec_resources *r = field;
	int done = map_want(m, path, node, JSON_OBJECT);

	(void)row;
	if (done < 0)
		return done;
	r->rdma = arena_array(m->arena, struct spec_rdma, node->n + 1);
	r->n_rdma = 0;
	for (const struct json *e = node->first; e && done >= 0; e = e->next) {
		struct map_path member = { path, e->key, 0 };
		struct spec_rdma *device = &r->rdma[r->n_rdma++];
		device->device = arena_str(m->arena, e->key);
		done = map_object(m, &rdma_table, &member, e, device);
	}
	return done;
}

#define ROW_OF spec_resources
#define THROTTLE(name, which) \
	{ "blockIO." name, MAP_LIST, AT(throttle[which].data), COUNT(throttle[which].n), .of = &block_rate_table }
static const struct map_row resource_rows[] = {
	{ "devices", MAP_LIST, AT(devices), COUNT(n_devices), .of = &device_rule_table },
	{ "unified", MAP_PAIRS, AT(unified) },
	{ "memory", MAP_OBJECT },
	{ "memory.limit", MAP_I64, AT(memory_limit), HAS(has_memory_limit), .min = -1, .max = INT64_MAX },
	{ "memory.reservation", MAP_I64, AT(memory_reservation), HAS(has_memory_reservation), .min = -1, .max = INT64_MAX },
	{ "memory.swap", MAP_I64, AT(memory_swap), HAS(has_memory_swap), .min = -1, .max = INT64_MAX },
	{ "memory.kernel", MAP_I64, AT(memory_kernel), HAS(has_memory_kernel), .min = -1, .max = INT64_MAX },
	{ "memory.kernelTCP", MAP_I64, AT(memory_kernel_tcp), HAS(has_memory_kernel_tcp), .min = -1, .max = INT64_MAX },
	{ "memory.swappiness", MAP_U64, AT(swappiness), HAS(has_swappiness), .max = 100 },
	{ "memory.disableOOMKiller", MAP_BOOL, AT(disable_oom_killer), HAS(has_disable_oom_killer) },
	{ "memory.checkBeforeUpdate", MAP_BOOL, AT(check_before_update) },
	{ "pids", MAP_OBJECT },
	{ "pids.limit", MAP_I64, AT(pids_limit), HAS(has_pids_limit), .required = true },
	{ "cpu", MAP_OBJECT },
	{ "cpu.shares", MAP_U64, AT(cpu_shares), HAS(has_cpu_shares) },
	{ "cpu.quota", MAP_I64, AT(cpu_quota), HAS(has_cpu_quota) },
	{ "cpu.period", MAP_U64, AT(cpu_period), HAS(has_cpu_period) },
	{ "cpu.burst", MAP_U64, AT(cpu_burst), HAS(has_cpu_burst) },
	{ "cpu.idle", MAP_I64, AT(cpu_idle), HAS(has_cpu_idle), .max = 1 },
	{ "cpu.cpus", MAP_STRING, AT(cpuset_cpus) },
	{ "cpu.mems", MAP_STRING, AT(cpuset_mems) },
	{ "cpu.realtimePeriod", MAP_U64, AT(cpu_rt_period), HAS(has_cpu_rt_period) },
	{ "cpu.realtimeRuntime", MAP_I64, AT(cpu_rt_runtime), HAS(has_cpu_rt_runtime) },
	{ "blockIO", MAP_OBJECT },
	{ "blockIO.weight", MAP_U32, AT(block_weight), HAS(has_block_weight), .max = UINT16_MAX },
	{ "blockIO.leafWeight", MAP_U32, AT(block_leaf_weight), HAS(has_block_leaf_weight), .max = UINT16_MAX },
	{ "blockIO.weightDevice", MAP_LIST, AT(block_weights), COUNT(n_block_weights), .of = &block_weight_table },
	THROTTLE("throttleReadBpsDevice", THROTTLE_READ_BPS),
	THROTTLE("throttleWriteBpsDevice", THROTTLE_WRITE_BPS),
	THROTTLE("throttleReadIOPSDevice", THROTTLE_READ_IOPS),
	THROTTLE("throttleWriteIOPSDevice", THROTTLE_WRITE_IOPS),
	{ "hugepageLimits", MAP_LIST, AT(hugepages), COUNT(n_hugepages), .of = &hugepage_table },
	{ "network", MAP_OBJECT },
	{ "network.classID", MAP_U32, AT(class_id), HAS(has_class_id) },
	{ "network.priorities", MAP_LIST, AT(priorities), COUNT(n_priorities), .of = &priority_table },
	{ "rdma", MAP_CALL, .call = map_rdma },
};
const struct map_table spec_resources_table = MAP_TABLE_OF(resource_rows, struct spec_resources, NULL);
#undef ROW_OF

void spec_resources_settle(struct spec_resources *r)
{
	r->has_memory_limit &= r->memory_limit != 0;
	r->has_memory_reservation &= r->memory_reservation != 0;
	r->has_memory_swap &= r->memory_swap != 0;
	r->has_memory_kernel &= r->memory_kernel != 0 && r->memory_kernel != -1;
	r->has_memory_kernel_tcp &= r->memory_kernel_tcp != 0;
	r->has_cpu_shares &= r->cpu_shares != 0;
	r->has_cpu_quota &= r->cpu_quota != 0;
	r->has_cpu_period &= r->cpu_period != 0;
	r->has_cpu_rt_period &= r->cpu_rt_period != 0;
	r->has_cpu_rt_runtime &= r->cpu_rt_runtime != 0;
	r->has_block_weight &= r->block_weight != 0;
	r->has_block_leaf_weight &= r->block_leaf_weight != 0;
	r->has_class_id &= r->class_id != 0;
	if (r->cpuset_cpus && !*r->cpuset_cpus)
		r->cpuset_cpus = NULL;
	if (r->cpuset_mems && !*r->cpuset_mems)
		r->cpuset_mems = NULL;
	if (r->has_memory_limit && r->memory_limit == -1 && !r->has_memory_swap) {
		r->has_memory_swap = true;
		r->memory_swap = -1;
	}
}

static int check_device_rules(const char *name, const char *prefix, const struct spec_resources *r)
{
	for (size_t i = 0; i < r->n_devices; i++) {
		const char *access = r->devices[i].access;
		if (access && access[strspn(access, "rwm")])
			return fail_text(EINVAL, "%s: %sdevices[%zu].access: \"%s\" is not made of r, w and m", name, prefix, i, access);
	}
	return 0;
}

static int check_unified(const char *name, const char *prefix, const struct spec_resources *r)
{
	for (size_t i = 0; i < r->unified.n; i++) {
		const char *key = r->unified.data[i].key;
		if (!strchr(key, '.') || strchr(key, '/') || *key == '.')
			return fail_text(EINVAL, "%s: %sunified: \"%s\" is not the name of a cgroup file", name, prefix, key);
	}
	return 0;
}

/* "2MB": the name of a file is made of it. */
static int check_hugepages(const char *name, const char *prefix, const struct spec_resources *r)
{
	for (size_t i = 0; i < r->n_hugepages; i++) {
		const char *size = r->hugepages[i].page_size;
		size_t digits = strspn(size, "0123456789");
		if (!digits || *size == '0' || digits > 10 || !strchr("KMG", size[digits]) || !size[digits] || strcmp(size + digits + 1, "B") != 0)
			return fail_text(EINVAL, "%s: %shugepageLimits[%zu].pageSize: \"%s\" is not a size such as 2MB", name, prefix, i, size);
	}
	return 0;
}

/* Names that become words of a line written to the kernel. */
static int check_names(const char *name, const char *prefix, const struct spec_resources *r)
{
	for (size_t i = 0; i < r->n_priorities; i++)
		if (!*r->priorities[i].name || strpbrk(r->priorities[i].name, " \t\n/"))
			return fail_text(EINVAL, "%s: %snetwork.priorities[%zu].name: \"%s\" is not a device's name", name, prefix, i,
				r->priorities[i].name);
	for (size_t i = 0; i < r->n_rdma; i++)
		if (!*r->rdma[i].device || strpbrk(r->rdma[i].device, " \t\n/"))
			return fail_text(EINVAL, "%s: %srdma: \"%s\" is not a device's name", name, prefix, r->rdma[i].device);
	return 0;
}

int spec_check_resources(const char *name, const char *prefix, const struct spec_resources *r)
{
	int done = check_device_rules(name, prefix, r);

	if (done == 0)
		done = check_unified(name, prefix, r);
	if (done == 0)
		done = check_hugepages(name, prefix, r);
	return done < 0 ? done : check_names(name, prefix, r);
}

int spec_resources_parse(struct arena *arena, const char *name, const char *text, size_t size, struct spec_resources *out)
{
	struct map m = { arena, name };
	struct json *tree;
	int r = json_parse(arena, name, text, size, &tree);

	if (r < 0)
		return r;
	*out = (struct spec_resources){ 0 };
	r = map_object(&m, &spec_resources_table, NULL, tree, out);
	if (r < 0)
		return r;
	spec_resources_settle(out);
	return spec_check_resources(name, "", out);
}
