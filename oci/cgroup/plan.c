/* SPDX-License-Identifier: Apache-2.0 */
/* Where a container's cgroups are to be; nothing is made here.
 *
 * Every directory costs time when it is made, when a task enters it and when it goes (0.06 ms in all). So in v1 hierarchies a container
 * gets groups for memory, pids, cpuacct and blkio (statistics that every engine asks for), devices (the default policy must hold), the
 * freezer where there is no cgroup2, and others only when the configuration sets one of their limits. (A new cpu group takes no
 * real-time task, where the kernel shares real-time bandwidth out.) name=systemd is systemd's.
 *
 * A relative or absent cgroupsPath is below /torpor. That base directory is left in place when its last container goes, so
 * that two commands never race about it. Not handled: the systemd manager; hierarchies mounted elsewhere than below
 * /sys/fs/cgroup; a cgroup2 in hybrid whose controllers are to be used. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"

#define GROUPS_MAX 16

static bool is_fs(const char *path, long magic)
{
	struct statfs st;
	return statfs(path, &st) == 0 && st.f_type == magic;
}

enum cgroup_layout cgroup_host_layout(void)
{
	if (is_fs(CGROUP_ROOT, CGROUP2_SUPER_MAGIC))
		return CGROUP_V2;
	if (is_fs(CGROUP_ROOT "/unified", CGROUP2_SUPER_MAGIC))
		return CGROUP_HYBRID;
	return is_fs(CGROUP_ROOT "/memory", CGROUP_SUPER_MAGIC) || is_fs(CGROUP_ROOT "/freezer", CGROUP_SUPER_MAGIC) ? CGROUP_V1 : CGROUP_NONE;
}

/* The path below a hierarchy: no "..", no empty or "." components. */
static int group_path(struct arena *arena, const struct spec *s, const char *id, char **out)
{
	const char *wanted = s->cgroups_path && *s->cgroups_path ? s->cgroups_path : id;
	char *clean = arena_alloc(arena, strlen(wanted) + sizeof "/torpor//"), *at = clean;

	if (*wanted != '/')
		at = stpcpy(at, "/torpor");
	for (const char *p = wanted; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.')
			return fail_text(EINVAL, "config.json: linux.cgroupsPath: \"%s\" has a \"..\" in it", wanted);
		if (n && !(n == 1 && *p == '.'))
			at += sprintf(at, "/%.*s", (int)n, p);
		p += n + (p[n] == '/');
	}
	if (at == clean)
		return fail_text(EINVAL, "config.json: linux.cgroupsPath: \"%s\" is the root of the hierarchy, not a group of its own", wanted);
	*out = clean;
	return 0;
}

/* Whether the configuration sets one of a v1 controller's limits. */
static bool v1_limited(const char *hierarchy, const struct spec_resources *r)
{
	const struct {
		const char *controller;
		bool limited;
	} all[] = {
		{ "cpu", r->has_cpu_shares || r->has_cpu_quota || r->has_cpu_period || r->has_cpu_burst || r->has_cpu_idle ||
				 r->has_cpu_rt_period || r->has_cpu_rt_runtime },
		{ "cpuset", r->cpuset_cpus || r->cpuset_mems },
		{ "hugetlb", r->n_hugepages },
		{ "net_cls", r->has_class_id },
		{ "net_prio", r->n_priorities },
		{ "rdma", r->n_rdma },
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].limited && cgroup_has_controller(hierarchy, all[i].controller))
			return true;
	return false;
}

/* What a hierarchy is wanted for on v1. */
static bool v1_wanted(const char *hierarchy, const struct spec_resources *r, bool unified)
{
	static const char *const always[] = { "memory", "pids", "devices", "cpuacct", "blkio" };

	for (size_t i = 0; i < sizeof always / sizeof *always; i++)
		if (cgroup_has_controller(hierarchy, always[i]))
			return true;
	return cgroup_has_controller(hierarchy, "freezer") ? !unified : v1_limited(hierarchy, r);
}

static void add_pair(struct arena *arena, struct spec_pairs *list, const char *key, char *value)
{
	list->data[list->n].key = arena_str(arena, key);
	list->data[list->n++].value = value;
}

/* A hierarchy's mount point: systemd names it as the kernel does ("cpu,cpuacct") and adds a link per controller; others have a
 * directory per controller. */
static char *v1_mount(struct arena *arena, char *hierarchy)
{
	char *path = arena_printf(arena, CGROUP_ROOT "/%s", hierarchy);
	if (is_fs(path, CGROUP_SUPER_MAGIC))
		return path;
	char *comma = strchr(hierarchy, ',');
	path = arena_printf(arena, CGROUP_ROOT "/%.*s", comma ? (int)(comma - hierarchy) : 0, hierarchy);
	return comma && is_fs(path, CGROUP_SUPER_MAGIC) ? path : NULL;
}

static bool listed(const struct spec_pairs *cgroups, const char *hierarchy)
{
	for (size_t i = 0; i < cgroups->n; i++)
		if (!strcmp(cgroups->data[i].key, hierarchy))
			return true;
	return false;
}

/* /proc/self/cgroup: "ID:CONTROLLERS:PATH" per hierarchy. Adds those that are wanted and not in the list. */
static int plan_v1(struct arena *arena, const struct spec_resources *resources, const char *group, bool unified, struct spec_pairs *cgroups)
{
	autofree char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, "/proc/self/cgroup", &text, 1 << 20);
	if (n < 0)
		return fail((int)-n, "read /proc/self/cgroup");
	char *save, *line = strtok_r(text, "\n", &save);
	for (; line && cgroups->n < GROUPS_MAX; line = strtok_r(NULL, "\n", &save)) {
		char *name = strchr(line, ':');
		char *end = name ? strchr(++name, ':') : NULL;
		if (!end || end == name || str_starts(name, "name="))
			continue;
		*end = 0;
		char *mount = v1_wanted(name, resources, unified) && !listed(cgroups, name) ? v1_mount(arena, name) : NULL;
		if (mount)
			add_pair(arena, cgroups, name, arena_printf(arena, "%s%s", mount, group));
	}
	return 0;
}

int cgroup_plan(struct arena *arena, const struct spec *s, const char *id, struct spec_pairs *cgroups)
{
	enum cgroup_layout layout = cgroup_host_layout();
	char *group = NULL;
	int r = group_path(arena, s, id, &group);

	*cgroups = (struct spec_pairs){ .data = arena_array(arena, struct spec_pair, GROUPS_MAX) };
	if (r < 0)
		return r;
	switch (layout) {
	case CGROUP_NONE:
		r = fail_text(ENOENT, "no cgroups are mounted below " CGROUP_ROOT);
		fail_hint("mount cgroup2 there: mount -t cgroup2 none " CGROUP_ROOT);
		return r;
	case CGROUP_V2:
		add_pair(arena, cgroups, "", arena_printf(arena, CGROUP_ROOT "%s", group));
		return 0;
	case CGROUP_HYBRID:
		add_pair(arena, cgroups, "", arena_printf(arena, CGROUP_ROOT "/unified%s", group));
		break;
	case CGROUP_V1:
		break;
	}
	return plan_v1(arena, &s->resources, group, layout == CGROUP_HYBRID, cgroups);
}

/* The groups' path below the hierarchies, from one that is there. */
static const char *path_below(struct arena *arena, const struct spec_pair *group)
{
	const char *mount = *group->key ? v1_mount(arena, arena_str(arena, group->key)) : CGROUP_ROOT "/unified";

	return mount && str_starts(group->value, mount) ? group->value + strlen(mount) : NULL;
}

int cgroup_plan_more(struct arena *arena, struct spec_pairs *cgroups, const struct spec_resources *r)
{
	const struct cgroup_ops *ops = cgroup_ops_of(cgroups);
	size_t had = cgroups->n;

	if (!had || ops == &cgroup_v2_ops)
		return 0;
	const char *group = path_below(arena, &cgroups->data[had - 1]);
	if (!group)
		return 0;
	struct spec_pairs more = { arena_array(arena, struct spec_pair, GROUPS_MAX), had };
	memcpy(more.data, cgroups->data, had * sizeof *more.data);
	int done = plan_v1(arena, r, group, ops == &cgroup_hybrid_ops, &more);
	if (done < 0)
		return done;
	*cgroups = more;
	return (int)(more.n - had);
}
