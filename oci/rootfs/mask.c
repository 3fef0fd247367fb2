/* SPDX-License-Identifier: Apache-2.0 */
/* Masked and read-only paths.
 *
 * A masked file has the null device bound over it, a masked directory an empty read-only tmpfs (one tmpfs for all of them).
 * The null device is the host's, opened before the root changes and verified by its number: a container could otherwise exchange its
 * own /dev/null for something else and have that bound into its procfs. What is masked is the file that openat2() found inside the
 * root, not a path looked up once more; and below /proc it must be on a procfs, or somebody has moved that away meanwhile. A path that
 * is missing needs no mask. */
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/internal.h"

static int null_device(void)
{
	struct stat st;
	autoclose int fd = sys_open_tree(AT_FDCWD, "/dev/null", 0);

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(fd < 0 ? -fd : errno, "linux.maskedPaths: open /dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return fail_text(EINVAL, "linux.maskedPaths: the host's /dev/null is not the null device");
	return take_fd(&fd);
}

static int empty_directory(void)
{
	static const struct mount_plan plan = {
		.set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
		.data = { "nr_blocks=1", "nr_inodes=1", "mode=755" },
		.n_data = 3,
	};
	return rootfs_new_fs("tmpfs", "tmpfs", &plan, "linux.maskedPaths");
}

/* The empty tmpfs is attached to the first directory and cloned for the others: before 6.15 only an attached mount can be. */
static int cover(int target, int from, bool attached, const char *path)
{
	autoclose int tree = attached ? sys_open_tree(from, "", OPEN_TREE_CLONE | AT_EMPTY_PATH) : -1;
	int r = attached && tree < 0 ? tree : sys_move_mount(attached ? tree : from, target, "");
	return r < 0 ? fail(-r, "linux.maskedPaths: mask %s", path) : 0;
}

static bool mounts_procfs(const struct spec *s)
{
	char clean[PATH_MAX];

	for (size_t i = 0; i < s->n_mounts; i++) {
		rootfs_clean(clean, s->mounts[i].destination);
		if (strcmp(clean, "/proc") == 0 && s->mounts[i].type && strcmp(s->mounts[i].type, "proc") == 0)
			return true;
	}
	return false;
}

static int check_procfs(struct rootfs *r, const char *path, int fd, const char *property)
{
	char clean[PATH_MAX];
	struct statfs st;

	rootfs_clean(clean, path);
	if (!str_starts(clean, "/proc/") || rootfs_may_cover(clean) || !mounts_procfs(r->spec))
		return 0;
	if (fstatfs(fd, &st) < 0)
		return fail(errno, "%s: %s", property, path);
	return st.f_type == PROC_SUPER_MAGIC ? 0 : fail_text(EPERM, "%s: %s is not on the container's procfs", property, path);
}

static int open_existing(struct rootfs *r, const char *path, const char *property)
{
	int fd = rootfs_open(r->root, path, O_PATH);

	if (fd == -ENOENT || fd == -ENOTDIR)
		return -ENOENT;
	if (fd < 0)
		return fail(-fd, "%s: open %s in the container's root", property, path);
	int done = check_procfs(r, path, fd, property);
	if (done < 0)
		close(fd);
	return done < 0 ? done : fd;
}

int rootfs_mask(struct rootfs *r)
{
	const struct strings *paths = &r->spec->masked_paths;
	autoclose int null = -1;
	autoclose int empty = -1;
	int done = 0;

	for (size_t i = 0; done >= 0 && i < paths->n; i++) {
		struct stat st;
		autoclose int target = open_existing(r, paths->data[i], "linux.maskedPaths");
		if (target == -ENOENT)
			continue;
		if (target < 0)
			return target;
		if (fstat(target, &st) < 0)
			return fail(errno, "linux.maskedPaths: %s", paths->data[i]);
		bool directory = S_ISDIR(st.st_mode), attached = !directory || empty >= 0;
		int *from = directory ? &empty : &null;
		if (*from < 0)
			*from = directory ? empty_directory() : null_device();
		if (*from < 0)
			return *from;
		done = cover(target, *from, attached, paths->data[i]);
	}
	return done;
}

static int make_read_only(int target, const char *path)
{
	autofree char *what = str_printf("linux.readonlyPaths: make %s read-only", path);
	struct mount_plan plan = { .bind = true };
	autoclose int tree = sys_open_tree(target, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
	int r = tree < 0 ? tree : sys_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0, 0);

	if (r == -ENOSYS)
		plan.set = MOUNT_ATTR_RDONLY;
	else if (r < 0)
		return fail(-r, "%s", what);
	return mount_attach(tree, target, &plan, what);
}

int rootfs_read_only_paths(struct rootfs *r)
{
	const struct strings *paths = &r->spec->readonly_paths;

	for (size_t i = 0; i < paths->n; i++) {
		autoclose int target = open_existing(r, paths->data[i], "linux.readonlyPaths");
		if (target == -ENOENT)
			continue;
		if (target < 0)
			return target;
		int done = make_read_only(target, paths->data[i]);
		if (done < 0)
			return done;
	}
	return 0;
}
