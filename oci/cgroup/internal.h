/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CGROUP_INTERNAL_H
#define OCI_CGROUP_INTERNAL_H

#include <linux/limits.h>

#include "cgroup/cgroup.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

/* Where limits are set, and where what was there before is noted (NULL: nobody wants it back). */
struct cgroup_target {
	const struct spec_pairs *groups;
	struct cgroup_journal *before;
};
/* dir/file is about to become value. */
void cgroup_journal_note(struct cgroup_journal *j, const char *dir, const char *file, const char *value);

/* One layout's way of doing what differs between them. */
struct cgroup_ops {
	const char *name;
	int (*apply)(const struct cgroup_target *g, const struct spec_resources *r);
	int (*devices)(const struct spec_pairs *cgroups, const struct spec_resources *r);
	int (*freeze)(const struct spec_pairs *cgroups, bool frozen);
	int (*frozen)(const struct spec_pairs *cgroups);
	int (*kill)(const struct spec_pairs *cgroups);   /* SIGKILL to all */
};
extern const struct cgroup_ops cgroup_v1_ops, cgroup_hybrid_ops, cgroup_v2_ops;
const struct cgroup_ops *cgroup_ops_of(const struct spec_pairs *cgroups);
bool cgroup_has_controller(const char *hierarchy, const char *controller);   /* "cpu" is in "cpu,cpuacct" */

/* Writes one value into FILE of the directory that holds CONTROLLER (on v2: the one directory). property: the
 * configuration's name for it, for the error. */
int cgroup_set(const struct cgroup_target *g, const char *controller, const char *file, const char *property, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
bool cgroup_has_file(const struct cgroup_target *g, const char *controller, const char *file);

/* A limit that is one value in one file. */
struct cgroup_limit {
	const char *controller, *file, *property;   /* property: without "linux.resources."; LIMIT_REFUSED: file is the reason */
	enum { LIMIT_I64, LIMIT_U64, LIMIT_U32, LIMIT_BOOL, LIMIT_AMOUNT, LIMIT_TEXT, LIMIT_REFUSED } kind;   /* AMOUNT: -1 is "max" */
	size_t has, at;                             /* has: 1 + offset of the flag; 0: wanted if the text is there */
};
#define MAP_HAS_RESOURCE(flag) (1 + offsetof(struct spec_resources, flag))
int cgroup_set_all(const struct cgroup_target *g, const struct spec_resources *r, const struct cgroup_limit *limits, size_t n);
int cgroup_set_hugepages(const struct cgroup_target *g, const struct spec_resources *r, const char *limit);
int cgroup_set_pids(const struct cgroup_target *g, const struct spec_resources *r);
int cgroup_set_rdma(const struct cgroup_target *g, const struct spec_resources *r);
uint64_t cgroup_weight(uint64_t shares);   /* cpu.weight of cpu.shares */

int cgroup_v1_apply(const struct cgroup_target *g, const struct spec_resources *r);
int cgroup_v2_apply(const struct cgroup_target *g, const struct spec_resources *r);
int cgroup_v1_devices(const struct spec_pairs *cgroups, const struct spec_resources *r);
int cgroup_v2_devices(const struct spec_pairs *cgroups, const struct spec_resources *r);
int cgroup_v1_freeze(const struct spec_pairs *cgroups, bool frozen);
int cgroup_v2_freeze(const struct spec_pairs *cgroups, bool frozen);
int cgroup_v1_frozen(const struct spec_pairs *cgroups);
int cgroup_v2_frozen(const struct spec_pairs *cgroups);
int cgroup_v1_kill(const struct spec_pairs *cgroups);
int cgroup_v2_kill(const struct spec_pairs *cgroups);

/* Directories. cgroup_mkdir() makes all of path that is missing below a hierarchy's mount point; each() is called for every
 * directory level it made, *made says whether the last one is new. cgroup_rmdir() removes a group with its sub-groups; -EBUSY
 * while tasks are in it. */
int cgroup_mkdir(const char *path, int (*each)(const char *path), bool *made);
int cgroup_rmdir(const char *path);
ssize_t cgroup_list(const char *path, pid_t **pids);
/* Waits at most so long until no task is left in the cgroup2 directory. -ETIMEDOUT, or -ENOENT: the directory is gone. */
int cgroup_wait_event(const char *dir, const char *key, int value, int timeout_ms);

/* The device rules in the order in which they apply: everything denied, what every container may use, then the configuration's.
 * Walks them; stops at the first negative result. */
int cgroup_each_device_rule(const struct spec_resources *r, int (*each)(void *arg, const struct spec_device_rule *rule), void *arg);
/* Loads and attaches the rules as an eBPF program to a cgroup2 directory, in place of the one that was there. */
int cgroup_bpf_devices(const char *dir, const struct spec_resources *r);

#endif
