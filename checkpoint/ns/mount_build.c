/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the mounts of a tree that the engine restores by itself (a runtime's husk has its mounts already).
 *
 * The root task was cloned with a copy of the engine's mount namespace. A process of the engine's enters it and the task's other namespaces
 * (of which proc, sysfs and mqueue are views), and there:
 *   1. the copies cease to tell the engine's namespace of what happens to them (MS_SLAVE);
 *   2. every mount is made unattached, gets its flags, and is attached to its parent in the plan's order (mount_plan.c); a tmpfs gets its
 *      contents first;
 *   3. when all are there, they learn of each other: sharing groups as the images have them (MOVE_MOUNT_SET_GROUP, Linux 5.15). Before
 *      that, attaching to one of a group would attach to all;
 *   4. pivot_root() onto the new root, which takes the root directory of the husk along; the copies go.
 *
 * A filesystem of which only parts are mounted is attached first on top of the old root, where the last step ends it (detach_old): parts can be
 * taken of attached mounts only. Mount points that are not there are made, as a mount that the image has needs one.
 *
 * Roots of cgroup mounts are in the images as seen from inside the tree's cgroup namespace, if it has one.
 *
 * Not handled: propagation to and from mounts outside, but for a mount that was a slave of one: it is again, of its source. */
#define LOG_PREFIX "mount"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "ns/fstype.h"
#include "ns/mount_plan.h"
#include "ns/tar.h"

#ifndef MOVE_MOUNT_SET_GROUP
#define MOVE_MOUNT_SET_GROUP 0x100
#endif

/* --- places --- */

/* A path below a mount's root, on that mount alone. */
static int open_part(int mount, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | O_NOFOLLOW,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS };
	int fd = *path ? (int)syscall(SYS_openat2, mount, path, &how, sizeof how) : fcntl(mount, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int make_last(int dir, const char *name, bool is_file)
{
	if (!is_file)
		return mkdirat(dir, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
	int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 && errno != EEXIST)
		return -errno;
	fd_close(&fd);
	return 0;
}

/* Makes what is missing of a mount point. */
static int make_place(int mount, const char *place, bool is_file)
{
	autofree char *path = str_dup(place);
	int r = 0;

	for (char *at = path; at && r >= 0;) {
		char *slash = strchr(at, '/');
		if (slash)
			*slash = 0;
		char *name = strrchr(path, '/');
		if (name)
			*name = 0;
		autoclose int dir = name ? open_part(mount, path) : open_part(mount, "");
		r = dir < 0 ? dir : make_last(dir, name ? name + 1 : path, !slash && is_file);
		if (name)
			*name = '/';
		if (slash)
			*slash = '/';
		at = slash ? slash + 1 : NULL;
	}
	return r;
}

static int open_place(const struct mount_node *n, bool is_file)
{
	int fd = open_part(n->parent->fd, n->place);

	if (fd == -ENOENT) {
		int r = make_place(n->parent->fd, n->place, is_file);
		fd = r < 0 ? r : open_part(n->parent->fd, n->place);
	}
	return fd < 0 ? fail(-fd, "the mount point %s in the new container", n->e->mountpoint) : fd;
}

/* --- making one --- */

int mount_set_attributes(const struct mount_node *n)
{
	const uint64_t all = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODIRATIME |
			     MOUNT_ATTR_NOSYMFOLLOW | MOUNT_ATTR__ATIME;
	struct mount_attr a = {
		.attr_set = mount_attributes(n->e->flags),
		.attr_clr = all,
		.propagation = n->e->master_id ? MS_SLAVE : MS_PRIVATE,
	};

	if (mount_setattr(n->fd, "", AT_EMPTY_PATH, &a, sizeof a) < 0)
		return fail(errno, "set the flags of mount %s", n->e->mountpoint);
	return 0;
}

static int take_copy(const struct mount_node *n, int dir, const char *path)
{
	int fd = open_tree(dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0 : AT_EMPTY_PATH));

	return fd < 0 ? fail(errno, "mount %s: take a copy of %s", n->e->mountpoint, *path ? path : n->part) : fd;
}

static int copy_part(const struct mount_node *n, int mount)
{
	autoclose int part = open_part(mount, n->part);

	if (part < 0)
		return fail(-part, "mount %s: open %s in its filesystem", n->e->mountpoint, n->part);
	return take_copy(n, part, "");
}

static int fill_tmpfs(struct restore *r, const struct mount_node *n)
{
	const unsigned dev = n->e->root_dev;
	autofree char *name = str_printf("tmpfs-dev-%u.tar.gz.img", dev), *older = str_printf("tmpfs-%u.tar.gz.img", n->e->mnt_id);
	int fd = image_open_raw(r->images, name);

	if (fd == -ENOENT)
		fd = image_open_raw(r->images, older);
	autoclose int image = fd;
	if (image < 0)
		return image == -ENOENT ? 0 : image;   /* it was empty */
	autoclose int dir = openat(n->whole, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return fail(errno, "open the new tmpfs for %s", n->e->mountpoint);
	int ret = tar_read(image, dir);
	if (ret < 0)
		fail_hint("while restoring the tmpfs at %s from %s", n->e->mountpoint, name);
	return ret;
}

static int make_read_only(const struct mount_node *n)
{
	autoclose int fs = fspick(n->whole, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 || fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return fail(errno, "make the tmpfs at %s read-only", n->e->mountpoint);
	return 0;
}

static int make_filesystem(struct restore *r, struct mount_node *n)
{
	const MntEntry *e = n->e;
	bool tmpfs = !strcmp(n->fstype, "tmpfs"), ro = e->sb_flags & MS_RDONLY;
	int ret = n->whole = fstype_mount(n->fstype, e->source, e->options, ro && !tmpfs);

	if (ret < 0)
		return fail_hint("while making mount %s", e->mountpoint), ret;
	if (tmpfs)
		ret = fill_tmpfs(r, n);
	if (ret >= 0 && ro && tmpfs)
		ret = make_read_only(n);
	if (ret < 0 || !*n->part)
		return ret < 0 ? ret : fcntl(n->whole, F_DUPFD_CLOEXEC, 0);
	if (move_mount(n->whole, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return fail(errno, "attach the filesystem of mount %s", e->mountpoint);
	return copy_part(n, n->whole);
}

static int make_mount(struct restore *r, struct mount_node *n)
{
	if (n->fstype)
		return make_filesystem(r, n);
	if (n->host)
		return take_copy(n, AT_FDCWD, n->host);
	if (n->like->fstype)
		return copy_part(n, n->like->whole);
	autoclose int dir = open(n->like->host, O_PATH | O_CLOEXEC);
	return dir < 0 ? fail(errno, "mount %s: open %s", n->e->mountpoint, n->like->host) : copy_part(n, dir);
}

static int attach(const struct mount_node *n)
{
	struct stat st;

	if (!n->parent)   /* over itself: pivot_root() wants it to be a mount */
		return move_mount(n->fd, "", AT_FDCWD, n->host, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? fail(errno, "mount the root %s", n->host) : 0;
	if (fstat(n->fd, &st) < 0)
		return fail(errno, "look at the source of mount %s", n->e->mountpoint);
	autoclose int place = open_place(n, !S_ISDIR(st.st_mode));
	if (place < 0)
		return place;
	if (move_mount(n->fd, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail(errno, "mount %s", n->e->mountpoint);
	return 0;
}

static int make_one(struct restore *r, struct mount_node *n)
{
	if (mount_is_late(n)) {
		n->fd = -1;
		return n->fstype ? n->whole = fstype_mount(n->fstype, n->e->source, n->e->options, false) : 0;
	}
	int ret = n->fd = make_mount(r, n);

	if (ret >= 0)
		ret = mount_set_attributes(n);
	return ret < 0 ? ret : attach(n);
}

/* --- sharing groups --- */

static int propagate(const struct mount_node *n, uint64_t how)
{
	struct mount_attr a = { .propagation = how };

	if (mount_setattr(n->fd, "", AT_EMPTY_PATH, &a, sizeof a) < 0)
		return fail(errno, "set how mount %s is shared", n->e->mountpoint);
	return 0;
}

static int join_group(const struct mount_node *n, const struct mount_node *from)
{
	if (move_mount(from->fd, "", n->fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH | MOVE_MOUNT_SET_GROUP) < 0)
		return fail(errno, "put mount %s into the sharing group of %s", n->e->mountpoint, from->e->mountpoint);
	return 0;
}

/* The member of a group with the widest root: only from that one can the others get it. */
static struct mount_node *leader_of(const struct mount_plan *p, uint32_t group)
{
	struct mount_node *leader = NULL;

	for (size_t i = 0; i < p->n && group; i++)
		if (p->nodes[i].e->shared_id == group && (!leader || strlen(p->nodes[i].e->root) < strlen(leader->e->root)))
			leader = &p->nodes[i];
	return leader;
}

/* A leader first: the group that it is a slave of, then its own. Groups are a forest in the kernel; `levels` bounds what an image says. */
static int settle(const struct mount_plan *p, struct mount_node *n, unsigned levels)
{
	struct mount_node *leader = leader_of(p, n->e->shared_id), *master = leader_of(p, n->e->master_id);
	int r = 0;

	if (n->settled)
		return 0;
	if (!levels)
		return fail_text(EBADMSG, "mount %s: its sharing groups are slaves of each other", n->e->mountpoint);
	n->settled = true;
	if (leader && leader != n) {
		r = settle(p, leader, levels - 1);
		return r < 0 ? r : join_group(n, leader);
	}
	if (master && master != n) {
		r = settle(p, master, levels - 1);
		if (r >= 0)
			r = join_group(n, master);
		if (r >= 0)
			r = propagate(n, MS_SLAVE);
	}
	return r < 0 || !leader ? r : propagate(n, MS_SHARED);
}

static int share(const struct mount_plan *p)
{
	int r = 0;

	for (size_t i = 0; i < p->n && r >= 0; i++)
		if (!mount_is_late(&p->nodes[i]) && (p->nodes[i].e->shared_id || leader_of(p, p->nodes[i].e->master_id)))
			r = settle(p, &p->nodes[i], 100);
	return r;
}

/* --- all of it --- */

/* The old root lies upon the new one, and on it, one upon the other, the filesystems of which only parts are mounted: "." is the topmost. */
static int detach_old(const struct mount_plan *p)
{
	size_t n = 1;

	for (size_t i = 0; i < p->n; i++)
		n += p->nodes[i].fstype && *p->nodes[i].part && !mount_is_late(&p->nodes[i]);
	for (; n > 0; n--)
		if (umount2(".", MNT_DETACH) < 0)
			return fail(errno, "detach the old root");
	return 0;
}

static int enter_root(const struct mount_plan *p)
{
	const struct mount_node *root = &p->nodes[0];

	if (fchdir(root->fd) < 0)
		return fail(errno, "enter the new root %s", root->host);
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return fail(errno, "make %s the root of the new mount namespace", root->host);
	return detach_old(p);
}

static int build(struct restore *r, struct mount_plan *p)
{
	int ret = 0;

	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return fail(errno, "separate the new mount namespace");
	umask(0);
	for (size_t i = 0; i < p->n && ret >= 0; i++)
		ret = make_one(r, &p->nodes[i]);
	if (ret >= 0)
		ret = share(p);
	return ret < 0 ? ret : enter_root(p);
}

/* The namespaces of the husk that mounts are views of; what it shares with the engine is entered already. */
static int join(const struct restore *r, pid_t pid)
{
	static const enum ns_kind kinds[] = { NSK_PID, NSK_NET, NSK_IPC, NSK_UTS, NSK_CGROUP, NSK_MNT };
	autoclose int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	uint64_t flags = 0;

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		flags |= r->own_ns[kinds[i]] || ns_joined(r, kinds[i]) || (kinds[i] == NSK_NET && r->net_fd > 0) ? ns_rows[kinds[i]].clone_flag : 0;
	if (pidfd < 0 || setns(pidfd, (int)flags) < 0)
		return fail(errno, "enter the namespaces of the new root task %d", pid);
	return 0;
}

static int wait_for(pid_t child)
{
	int status;

	while (waitpid(child, &status, __WALL) < 0)
		if (errno != EINTR)
			return fail(errno, "wait for the process that mounts");
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -ECHILD;
}

/* In a child of the engine; a child of its own is in the pid namespace, where it mounts. */
_Noreturn static void mounter(struct restore *r, struct mount_plan *p, pid_t husk, int out)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	err_clear();
	int ret = join(r, husk);
	pid_t child = ret < 0 ? -1 : fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ret = build(r, p);
		if (ret < 0)
			err_send(out);
		_exit(ret < 0);
	}
	if (child < 0) {
		if (ret >= 0)
			fail(errno, "fork the process that mounts");
		err_send(out);
		_exit(1);
	}
	_exit(wait_for(child) < 0);
}

int mount_build(struct restore *r, struct task *root, uint32_t id)
{
	struct mount_plan plan = { 0 };
	int ends[2], ret = mount_plan_make(r, id, &plan);

	if (ret < 0)
		return ret;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(errno, "make a pipe for the process that mounts");
	pid_t child = fork();
	if (child == 0)
		mounter(r, &plan, root->host_pid, ends[1]);
	int err = errno;
	close(ends[1]);
	autoclose int in = ends[0];
	if (child < 0)
		return fail(err, "fork the process that mounts");
	size_t mark = err_mark();
	err_recv(in);
	if (wait_for(child) >= 0)
		return 0;
	return err_count() > mark ? -EINVAL : fail_text(ECHILD, "the process that mounts ended");
}
