/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts that make a container's root directory, as containerd's snapshotters describe them: a bind mount, an overlay, several. They are
 * made in the shim's mount namespace, in order, each over the one before, and undone by Delete or by `delete` of a dead shim.
 *
 * A mount's target lies in what those before it have put there, and the links of an image are somebody else's: it is resolved inside
 * (rootfs_open()). The options are a page at most. An overlay of many layers has more: the directory that they have in common is entered
 * then, and their names are relative to it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/internal.h"
#include "containerd/task.h"

#define DATA_MAX 4095   /* mount(2) takes a page */
#define LOWER "lowerdir="

static int plan(const Task__Mount *m, struct mount_plan *p)
{
	const struct spec_mount s = { .destination = *m->target ? m->target : m->type, .type = m->type, .source = m->source,
		.options = { m->options, m->n_options } };
	int r = mount_plan_read(&s, p);

	if (r >= 0 && (p->remount || p->copy_up || p->idmap || (!p->bind && p->propagation | p->propagation_rec)))
		return fail_text(ENOTSUP, "mount %s: options of a root directory are not remount, tmpcopyup, idmap, nor propagation of a new filesystem",
			s.destination);
	for (size_t i = 0; r >= 0 && i < p->n_data; i++)
		if (!strcmp(p->data[i], "loop"))
			return fail_text(ENOTSUP, "mount option loop: loop devices are not set up by this shim");
	return r;
}

static int open_target(const Task__Mount *m, const char *root)
{
	autoclose int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (top < 0)
		return fail(errno, "open the directory %s", root);
	if (path_goes_up(m->target))
		return fail_text(EINVAL, "mount target %s leaves the root directory", m->target);
	int fd = *m->target ? rootfs_open(top, m->target, O_PATH) : take_fd(&top);
	return fd < 0 ? fail(-fd, "open the mount target %s in %s", m->target, root) : fd;
}

/* How much of the first of these directories all of them begin with, up to a slash. 0: there is none to enter. */
static size_t common(const char *dirs)
{
	size_t n = strcspn(dirs, ":");

	for (const char *d = dirs; *d; d += strcspn(d, ":"), d += *d == ':') {
		while (n && (dirs[n - 1] != '/' || strncmp(d, dirs, n) != 0))
			n--;
		if (strcspn(d, ":") <= n)
			return 0;
	}
	return n;
}

/* lowerdir=/layers/2/fs:/layers/1/fs becomes lowerdir=2/fs:1/fs, and this process is in /layers. */
static int shorten(struct arena *arena, const char **option)
{
	const char *dirs = *option + strlen(LOWER);
	size_t n = common(dirs), at = strlen(LOWER);
	char *copy = arena_str(arena, *option);

	if (!n)
		return 0;
	for (const char *d = dirs; *d; d += strcspn(d, ":"), d += *d == ':') {
		size_t rest = strcspn(d, ":") - n;
		memcpy(copy + at, d + n, rest);
		at += rest;
		copy[at++] = ':';
	}
	copy[at - 1] = '\0';
	*option = copy;
	const char *dir = arena_printf(arena, "%.*s", (int)n, dirs);
	return chdir(dir) < 0 ? fail(errno, "enter %s", dir) : 0;
}

/* The words for the filesystem; those that are flags of mount(2) are taken out of them. */
static int join(char data[DATA_MAX + 1], const struct mount_plan *p, unsigned long *set)
{
	size_t at = 0;

	*data = '\0';
	for (size_t i = 0; i < p->n_data; i++) {
		long flag = mount_option_flag(p->data[i]);
		if (flag >= 0)
			*set |= (unsigned long)flag;
		else
			at += (size_t)snprintf(data + at, DATA_MAX + 1 - at, "%s%s", at ? "," : "", p->data[i]);
		if (at > DATA_MAX)
			return -E2BIG;
	}
	return 0;
}

static int mount_new(const Task__Mount *m, struct mount_plan *p, int target)
{
	unsigned long set = p->flags | mount_classic_flags(p->set | p->set_rec);
	autoclose int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct arena arena = { 0 };
	char data[DATA_MAX + 1];
	int r = join(data, p, &set);

	for (size_t i = 0; r == -E2BIG && i < p->n_data; i++)
		if (str_starts(p->data[i], LOWER) && (r = shorten(&arena, &p->data[i])) >= 0) {
			r = join(data, p, &set);
			break;
		}
	if (r == -E2BIG)
		r = fail_text(E2BIG, "mount %s: its options are longer than a page", m->type);
	else if (r >= 0 && syscall(SYS_mount, m->source, FD_PATH(target), m->type, set, *data ? data : NULL) < 0)
		r = fail(errno, "mount %s (%s)", m->source, m->type);
	arena_done(&arena);
	if (here >= 0 && fchdir(here) < 0 && r >= 0)
		r = fail(errno, "go back to the directory of the shim");
	return r;
}

/* It has the attributes of its source and those that are asked for; "rw" takes none away. */
static int mount_bind(const Task__Mount *m, struct mount_plan *p, int target)
{
	autoclose int tree = sys_open_tree(AT_FDCWD, m->source, OPEN_TREE_CLONE | (p->recursive ? AT_RECURSIVE : 0));

	if (tree < 0)
		return fail(-tree, "mount %s (%s)", m->source, m->type);
	p->clear &= MOUNT_ATTR__ATIME;
	p->clear_rec &= MOUNT_ATTR__ATIME;
	int r = mount_attach(tree, target, p, m->source);
	if (r < 0)
		return r;
	if (p->propagation)
		r = mount_set(tree, "", AT_EMPTY_PATH, 0, 0, p->propagation);
	if (r >= 0 && p->propagation_rec)
		r = mount_set(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, p->propagation_rec);
	return r < 0 ? fail(-r, "mount %s: set its propagation", m->source) : 0;
}

static int mount_one(const Task__Mount *m, const char *root)
{
	struct mount_plan p;
	int r = plan(m, &p);
	autoclose int target = r < 0 ? r : open_target(m, root);

	if (target < 0)
		return target;
	return p.bind ? mount_bind(m, &p, target) : mount_new(m, &p, target);
}

int rootfs_mount_all(const Task__CreateTaskRequest *request, const char *target)
{
	int r = 0;

	if (request->n_rootfs && mkdir(target, 0711) < 0 && errno != EEXIST)
		return fail(errno, "make the directory %s", target);
	for (size_t i = 0; i < request->n_rootfs && r == 0; i++)
		r = mount_one(request->rootfs[i], target);
	if (r < 0)
		rootfs_unmount(target);
	return r;
}

int rootfs_unmount(const char *target)
{
	while (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	return errno == EINVAL || errno == ENOENT ? 0 : fail(errno, "unmount %s", target);
}
