/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_CGROUP_PLAN_H
#define NS_CGROUP_PLAN_H

#include "restore.h"

/* A restore's control groups: what cgroup_restore.c and cgroup_make.c share (struct restore.cgroups). */

struct hierarchy {
	const char *name;              /* "cpu,cpuacct", "name=systemd", "" */
	const char *from, *to;         /* a path that begins with `from` begins with `to` instead */
	int root;
};

struct made {
	int root;                      /* of its hierarchy */
	char *path;
};

enum mode { IGNORE, NONE, PROPS, SOFT, FULL, STRICT };

struct cgroup_plan {
	CgroupEntry *image;
	enum mode mode;
	uint32_t root_set;
	ARRAY(struct hierarchy) hierarchies;
	ARRAY(struct made) made;       /* directories, parents first */
	ARRAY(int) enter, enter_first; /* files that move who writes to them; first: of the cgroup namespace's root */
};

/* cgroup_restore.c */
/* Opens the hierarchy of that name, whose root `from` may become another by the options, and adds it. */
int cgroup_open_hierarchy(struct restore *r, const char *name, const char *from);
/* By name; NULL: it is not there. */
struct hierarchy *cgroup_find_hierarchy(struct cgroup_plan *p, const char *name);
const CgControllerEntry *cgroup_controller(const struct cgroup_plan *p, const char *name);
/* A path of the image in this machine's hierarchy, without leading slashes; NULL: it would lead out of it. */
char *cgroup_map_path(struct restore *r, const struct hierarchy *h, const char *path);

/* cgroup_make.c */
/* One group, with those above it, as the mode says. */
int cgroup_make_group(struct restore *r, const struct hierarchy *h, const char *path);
/* The groups of the root task's hierarchy m, with their settings. */
int cgroup_make_all(struct restore *r, const CgMemberEntry *m);
/* A setting that is made when the tasks are there. */
bool cgroup_is_late(const char *name);

#endif
