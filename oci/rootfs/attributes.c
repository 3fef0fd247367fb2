/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes and propagation of mounts, and attaching a tree with them.
 *
 * mount_setattr() (5.12) gives a tree its attributes before it is attached. Kernels before that have mount(2) alone: MS_REMOUNT | MS_BIND
 * replaces all attributes of one mount, so that the present ones are asked for first, and takes mounts that are attached only. There a bind
 * mount is attached first and gets its attributes a moment later, when nothing of the container runs yet. What it cannot do is left to
 * the newer call and refused by name: attributes for all mounts of a tree at once ("rro" and the like), mapped ids. A readonlyPaths entry
 * then covers its own mount, not those below it.
 *
 * mount(2) wants a path. A directory is entered, and is "."; a file is found through /proc/self/fd, which is the host's as long as files are
 * bound. So the mount that is changed is the one whose descriptor was given, whatever is at the names that led to it. */
#include <errno.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/internal.h"

static const struct {
	uint64_t attribute;
	unsigned long flag, shown;   /* mount(2)'s, statvfs()'s */
} flags[] = {
	{ MOUNT_ATTR_RDONLY, MS_RDONLY, ST_RDONLY },          { MOUNT_ATTR_NOSUID, MS_NOSUID, ST_NOSUID },
	{ MOUNT_ATTR_NODEV, MS_NODEV, ST_NODEV },             { MOUNT_ATTR_NOEXEC, MS_NOEXEC, ST_NOEXEC },
	{ MOUNT_ATTR_NOATIME, MS_NOATIME, ST_NOATIME },       { MOUNT_ATTR_NODIRATIME, MS_NODIRATIME, ST_NODIRATIME },
	{ MOUNT_ATTR_STRICTATIME, MS_STRICTATIME, 0 },        { MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW, 1 << 13 },
};

unsigned long mount_classic_flags(uint64_t attributes)
{
	unsigned long all = 0;

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (attributes & flags[i].attribute)
			all |= flags[i].flag;
	return all;
}

/* What a mount has, with the changes. Without one of the access-time modes mount(2) would choose another than the mount has. */
static unsigned long changed_flags(const struct statvfs *st, uint64_t set, uint64_t clear)
{
	uint64_t now = 0;

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (st->f_flag & flags[i].shown)
			now |= flags[i].attribute;
	if (!(st->f_flag & (ST_NOATIME | ST_RELATIME)))
		now |= MOUNT_ATTR_STRICTATIME;
	now = (now & ~clear) | set;
	return mount_classic_flags(now) | (now & (MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME) ? 0 : MS_RELATIME);
}

static int change(const char *path, bool recursive, uint64_t set, uint64_t clear, uint64_t propagation)
{
	struct statvfs st;

	if (propagation && syscall(SYS_mount, NULL, path, NULL, propagation | (recursive ? MS_REC : 0), NULL) < 0)
		return -errno;
	if (!(set | clear))
		return 0;
	if (recursive)
		return -EOPNOTSUPP;
	if (statvfs(path, &st) < 0 || syscall(SYS_mount, NULL, path, NULL, MS_REMOUNT | MS_BIND | changed_flags(&st, set, clear), NULL) < 0)
		return -errno;
	return 0;
}

static int change_opened(int fd, bool recursive, uint64_t set, uint64_t clear, uint64_t propagation)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return change(FD_PATH(fd), recursive, set, clear, propagation);
	autoclose int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (here < 0 || fchdir(fd) < 0)
		return -errno;
	int r = change(".", recursive, set, clear, propagation);
	return fchdir(here) < 0 ? -errno : r;
}

int mount_set(int dir, const char *path, unsigned how, uint64_t set, uint64_t clear, uint64_t propagation)
{
	int r = sys_mount_setattr(dir, path, how, set, clear, propagation);

	if (r != -ENOSYS)
		return r;
	return *path ? change(path, how & AT_RECURSIVE, set, clear, propagation) : change_opened(dir, how & AT_RECURSIVE, set, clear, propagation);
}

typedef int setter(int dir, const char *path, unsigned how, uint64_t set, uint64_t clear, uint64_t propagation);

static int set_all(int tree, const struct mount_plan *p, setter *set)
{
	int r = p->set_rec | p->clear_rec ? set(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, p->set_rec, p->clear_rec, 0) : 0;

	return r >= 0 && (p->set | p->clear) ? set(tree, "", AT_EMPTY_PATH, p->set, p->clear, 0) : r;
}

static int explain(int r, const char *what)
{
	if (r == -EOPNOTSUPP)
		return fail_text(EOPNOTSUPP, "%s: options for all mounts below it need Linux 5.12", what);
	return fail(-r, "%s: set its options", what);
}

int mount_set_options(int mount, const struct mount_plan *p, const char *what)
{
	int r = set_all(mount, p, mount_set);

	return r < 0 ? explain(r, what) : 0;
}

int mount_attach(int tree, int target, const struct mount_plan *p, const char *what)
{
	int r = set_all(tree, p, sys_mount_setattr);
	bool later = r == -ENOSYS;

	if (r < 0 && !later)
		return explain(r, what);
	r = sys_move_mount(tree, target, "");
	if (r < 0)
		return fail(-r, "%s: attach it to the container's root", what);
	return later ? mount_set_options(tree, p, what) : 0;
}
