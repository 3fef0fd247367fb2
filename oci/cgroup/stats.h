/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CGROUP_STATS_H
#define OCI_CGROUP_STATS_H

#include "cgroup/cgroup.h"

/* What a container uses, in the units that container engines expect on both layouts: nanoseconds, bytes. A limit of UINT64_MAX is none. */
struct cgroup_psi_line {
	const char *avg10, *avg60, *avg300;   /* as the kernel writes them: "0.35" */
	uint64_t total;                       /* microseconds */
};
struct cgroup_psi {
	bool present;
	struct cgroup_psi_line some, full;
};

struct cgroup_amount {
	uint64_t limit, usage, max, failcnt;
};

enum cgroup_block {
	BLOCK_BYTES, BLOCK_SERVICED, BLOCK_QUEUED, BLOCK_SERVICE_TIME, BLOCK_WAIT_TIME, BLOCK_MERGED, BLOCK_TIME, BLOCK_SECTORS, BLOCK_KINDS,
};
struct cgroup_block_entry {
	uint64_t major, minor, value;
	const char *op;   /* "Read"; NULL where there is none */
};

struct cgroup_count {
	const char *name;
	uint64_t value;
};

struct cgroup_stats {
	struct {
		uint64_t total, kernel, user, periods, throttled_periods, throttled_time;
		uint64_t *percpu, *percpu_kernel, *percpu_user;
		size_t n_percpu, n_percpu_split;
		struct cgroup_psi psi;
	} cpu;
	const char *cpus, *mems;            /* v1: lists such as "0-3,8"; NULL: not known */
	uint64_t cpuset[9];                 /* v1: values of cgroup_cpuset_names */
	int64_t relax_domain_level;
	struct {
		uint64_t cache;
		struct cgroup_amount usage, swap, kernel, kernel_tcp;   /* swap: memory and swap together */
		struct cgroup_count *raw;   /* memory.stat */
		size_t n_raw;
		struct cgroup_psi psi;
	} memory;
	uint64_t pids_current, pids_limit;  /* limit 0: none */
	struct {
		struct cgroup_block_entry *data;
		size_t n;
	} block[BLOCK_KINDS];
	struct cgroup_psi block_psi;
	struct {
		const char *size;           /* "2MB" */
		struct cgroup_amount amount;
	} *hugepages;
	size_t n_hugepages;
};
extern const char *const cgroup_cpuset_names[9];   /* without "cpuset." */

/* What a controller that is not there would say stays zero. Everything belongs to the arena. */
int cgroup_stats_read(struct arena *arena, const struct spec_pairs *cgroups, struct cgroup_stats *s);

bool cgroup_unified_only(const struct spec_pairs *cgroups);   /* limits are cgroup2's */

/* A descriptor that becomes readable when the container may be out of memory, and when its cgroup goes: read it away, then ask. -errno where
 * the memory controller is missing. */
struct cgroup_oom {
	int fd;
	bool v1;
	uint64_t seen;
	const char *dir;
};
int cgroup_oom_open(const struct spec_pairs *cgroups, struct cgroup_oom *o);
int cgroup_oom_count(struct cgroup_oom *o);   /* how many since the last call; never waits; -ENOENT: the group has gone */

#endif
