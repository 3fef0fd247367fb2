/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CGROUP_H
#define OCI_CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/str.h"
#include "spec/spec.h"

/* The cgroups of a container, as a list of pairs that its state file keeps: the hierarchy as /proc/PID/cgroup names it
 * ("memory", "cpu,cpuacct", "" for cgroup2) and the absolute host path of the container's directory there. The layout follows
 * from the list: only "" is v2, no "" is v1, both is hybrid. A list without entries is a container without cgroups of its own:
 * every function takes it and does nothing. All return 0 (or a count) or -errno with the trail filled. */

/* Decides where the container's groups are; nothing is made yet. *cgroups belongs to the arena. */
int cgroup_plan(struct arena *arena, const struct spec *s, const char *id, struct spec_pairs *cgroups);
/* Makes them and sets the limits. A directory that is there already must be without processes. Undone on failure. if_allowed: those that
 * the caller has no permission to make leave the list; a limit that needs one of them fails. */
int cgroup_create(struct spec_pairs *cgroups, const struct spec_resources *r, bool if_allowed);
/* A container that has a cgroup namespace and mounts cgroup2 writable manages its group itself: its user owns the files that the kernel lists
 * for that. */
int cgroup_delegate(const struct spec_pairs *cgroups, const struct spec *s);
/* Sets those limits that r has (of a group that may have processes already), device rules by a call of their own, which changes all or
 * nothing. What the limits were is noted in *before: cgroup_put_back() makes them so again; what cannot be had is added to the trail. */
struct cgroup_old {
	char *path, *value;
};
struct cgroup_journal {
	ARRAY(struct cgroup_old) list;
};
int cgroup_apply(const struct spec_pairs *cgroups, const struct spec_resources *r, struct cgroup_journal *before);
int cgroup_apply_devices(const struct spec_pairs *cgroups, const struct spec_resources *r);
void cgroup_put_back(struct cgroup_journal *before);
void cgroup_journal_free(struct cgroup_journal *before);

/* For limits that come later: adds the v1 groups that r needs to the list (which the caller saves) and says how many; then makes the last n
 * of the list and moves the processes of the others there. */
int cgroup_plan_more(struct arena *arena, struct spec_pairs *cgroups, const struct spec_resources *r);
int cgroup_make_more(const struct spec_pairs *cgroups, size_t n);

/* Entering. On v1 the (single-threaded) task itself calls cgroup_join(); the cgroup2 directory is opened before the clone and
 * given to clone3(CLONE_INTO_CGROUP): -ENOENT when there is none. sub: a path below the container's groups, or NULL. */
int cgroup_join(const struct spec_pairs *cgroups, const char *sub);
int cgroup_open_unified(const struct spec_pairs *cgroups, const char *sub);
/* The cgroup2 directory that a process is in, below the container's; -ENOENT: it is elsewhere. */
int cgroup_unified_of(const struct spec_pairs *cgroups, pid_t pid, char **path);

ssize_t cgroup_pids(const struct spec_pairs *cgroups, pid_t **pids);      /* sub-groups included; ascending; to be freed */
int cgroup_freeze(const struct spec_pairs *cgroups, bool frozen);         /* waits until it is so */
int cgroup_frozen(const struct spec_pairs *cgroups);                      /* 1, 0 or -errno */
int cgroup_kill(const struct spec_pairs *cgroups, int sig);               /* every process, none escapes by forking */
int cgroup_remove(const struct spec_pairs *cgroups);                      /* sub-groups included; waits for dying tasks */

/* The host path of one hierarchy's directory, or NULL. */
const char *cgroup_path(const struct spec_pairs *cgroups, const char *hierarchy);
/* What /proc/filesystems and mounts offer here, for `features`. */
enum cgroup_layout { CGROUP_NONE, CGROUP_V1, CGROUP_HYBRID, CGROUP_V2 };
enum cgroup_layout cgroup_host_layout(void);

#endif
