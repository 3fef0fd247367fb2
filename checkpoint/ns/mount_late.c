/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of a single terminal (a container's /dev/console): the devpts has no such file until the terminal is open, and it is another file when it
 * is opened again. So they are made when the builder has opened the terminals, by it, in the new mount namespace, from the place where the
 * devpts itself is mounted. */
#define LOG_PREFIX "mount"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "files/builder.h"
#include "ns/mount_plan.h"
#include "ns/ns.h"

static const struct mount_node *superblock(const struct mount_node *n)
{
	return n->fstype || !n->like ? n : n->like;
}

bool mount_is_late(const struct mount_node *n)
{
	const char *fstype = superblock(n)->fstype;

	return fstype && !strcmp(fstype, "devpts") && *n->part && n->part[strspn(n->part, "0123456789")] == 0;
}

/* Where the whole filesystem of n is mounted. */
static const char *whole_at(const struct mount_plan *p, const struct mount_node *n)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->nodes[i].parent && superblock(&p->nodes[i]) == superblock(n) && !*p->nodes[i].part)
			return p->nodes[i].e->mountpoint;
	return NULL;
}

static int make_late(const struct mount_plan *p, struct mount_node *n)
{
	const char *devpts = whole_at(p, n);
	autofree char *path = devpts ? str_printf("%s/%s", devpts, n->part) : NULL;

	if (!path)
		return fail_text(ENOTSUP, "mount %s: the devpts of its terminal is mounted nowhere", n->e->mountpoint);
	autoclose int place = open(n->e->mountpoint, O_PATH | O_CLOEXEC | O_NOFOLLOW), fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return fail(errno, "mount %s: take a copy of %s", n->e->mountpoint, path);
	if (place < 0)
		return fail(errno, "the mount point %s in the new container", n->e->mountpoint);
	n->fd = fd;
	int ret = mount_set_attributes(n);
	if (ret >= 0 && move_mount(fd, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		ret = fail(errno, "mount %s", n->e->mountpoint);
	return ret;
}

static int make_all(struct restore *r, void *data, size_t size)
{
	struct mount_plan plan = { 0 };
	int ret = mount_plan_make(r, *(uint32_t *)data, &plan);

	(void)size;
	for (size_t i = 0; i < plan.n && ret >= 0; i++)
		if (mount_is_late(&plan.nodes[i]))
			ret = make_late(&plan, &plan.nodes[i]);
	return ret;
}

int ns_build_late(struct restore *r)
{
	const struct task *root = tree_root(r->tree);

	if (!r->own_ns[NSK_MNT] || r->o->husk || !r->terminals)
		return 0;
	return builder_call(r, make_all, &root->ids->mnt_ns_id, sizeof root->ids->mnt_ns_id);
}
