/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of type "cgroup": the container's view of its own groups, whatever the host's layout.
 *
 *   v2          cgroup2 itself when the container has a cgroup namespace (its root is then the container's group), else a bind of the
 *               container's directory.
 *   v1, hybrid  a tmpfs with one directory per hierarchy in which the container has a group of its own, each a bind of that
 *               group; "unified" is cgroup2. A hierarchy in which it has none is left out: there it shares the host's group, and
 *               a writable host group inside a container is a way out of it. Joined controllers ("cpu,cpuacct") get a link for each.
 *
 * A container without groups of its own (--cgroup-manager disabled) sees an empty tmpfs on v1, its namespace's root on v2.
 *
 * "ro" makes all of them read-only, the tmpfs last. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "rootfs/internal.h"

static int bind_group(const char *group, int target, uint64_t set, const char *destination)
{
	autoclose int tree = sys_open_tree(AT_FDCWD, group, OPEN_TREE_CLONE);
	if (tree < 0)
		return fail(-tree, "mount %s: bind cgroup %s", destination, group);
	autofree char *what = str_printf("mount %s: bind cgroup %s", destination, group);
	return mount_attach(tree, target, &(struct mount_plan){ .set = set }, what);
}

static int mount_v2(struct rootfs *r, int target, const struct mount_plan *p, const struct spec_mount *m)
{
	if (!r->own_cgroup_namespace)
		return bind_group(cgroup_path(r->cgroups, ""), target, p->set, m->destination);
	autoclose int mount = rootfs_new_fs("cgroup2", "cgroup", p, m->destination);
	int done = mount < 0 ? mount : sys_move_mount(mount, target, "");
	return mount < 0 ? mount : done < 0 ? fail(-done, "mount %s: attach it to the container's root", m->destination) : 0;
}

static int link_controllers(int dir, const char *hierarchy)
{
	char name[64];

	for (const char *at = hierarchy; strchr(hierarchy, ',') && *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
		snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
		if (symlinkat(hierarchy, dir, name) < 0)
			return fail(errno, "link cgroup controller %s", name);
	}
	return 0;
}

static int mount_hierarchy(int dir, const struct spec_pair *group, uint64_t set, const char *destination)
{
	const char *name = *group->key ? group->key : "unified";

	if (mkdirat(dir, name, 0755) < 0)
		return fail(errno, "mount %s: make directory %s", destination, name);
	autoclose int target = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (target < 0)
		return fail(errno, "mount %s: open directory %s", destination, name);
	int r = bind_group(group->value, target, set, destination);
	return r < 0 ? r : link_controllers(dir, name);
}

static int mount_v1(struct rootfs *r, int target, const struct mount_plan *p, const struct spec_mount *m)
{
	struct mount_plan base = { .set = p->set & ~(uint64_t)MOUNT_ATTR_RDONLY, .data = { "mode=755" }, .n_data = 1 };
	autoclose int tmpfs = rootfs_new_fs("tmpfs", "tmpfs", &base, m->destination);
	if (tmpfs < 0)
		return tmpfs;
	int done = sys_move_mount(tmpfs, target, "");
	if (done < 0)
		return fail(-done, "mount %s: attach it to the container's root", m->destination);
	for (size_t i = 0; done >= 0 && i < r->cgroups->n; i++)
		done = mount_hierarchy(tmpfs, &r->cgroups->data[i], p->set, m->destination);
	if (done >= 0 && p->set & MOUNT_ATTR_RDONLY)
		array_push(&r->read_only_later) = take_fd(&tmpfs);
	return done;
}

int rootfs_mount_cgroup(struct rootfs *r, const struct spec_mount *m, const struct mount_plan *p)
{
	if (p->n_data)
		return fail_text(EINVAL, "mount %s: cgroup mounts take no option \"%s\"", m->destination, p->data[0]);
	autoclose int target = rootfs_directory(r->root, m->destination);
	if (target < 0)
		return fail_text(-target, "mount %s", m->destination);
	bool v2 = r->cgroups->n == 1 && !*r->cgroups->data[0].key;
	if (!r->cgroups->n)
		v2 = r->own_cgroup_namespace && cgroup_host_layout() == CGROUP_V2;
	return v2 ? mount_v2(r, target, p, m) : mount_v1(r, target, p, m);
}
