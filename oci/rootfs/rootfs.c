/* SPDX-License-Identifier: Apache-2.0 */
/* The root filesystem, from the host's tree to the container's.
 *
 * init runs this in a mount namespace that is a copy of the runtime's:
 *   1. propagation: nothing that is mounted here from now on may show on the host (unless "shared" is asked for), so everything is
 *      made private, or a slave;
 *   2. the root directory is cloned with all mounts below it and attached over itself: pivot_root() wants a mount, and the clone's
 *      descriptor is what all paths are resolved in from then on;
 *   3. the mounts, in order; devices; masks and read-only paths;
 *   4. pivot_root(".", "."): the new root is put over the old one, and the old one is detached, lazily. The old tree is made a slave
 *      first, or the detaching would propagate to the host. With --no-pivot (a root on an initramfs cannot be pivoted) the root is
 *      moved onto "/" and entered by chroot(): the host's mounts remain below it, reachable by nobody who has no
 *      descriptor into them;
 *   5. read-only what was asked to be, the root last.
 *
 * Before 4 the host's /proc, /dev and /sys are at hand and trusted; after it, nothing by path is. */
#include "rootfs/rootfs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/internal.h"

#define MNT_DETACH 2

uint64_t rootfs_propagation(const struct spec *s)
{
	const char *p = s->rootfs_propagation;

	if (p && *p == 'r')
		p++;
	return !p ? MS_PRIVATE : strcmp(p, "shared") == 0 ? MS_SHARED : strcmp(p, "slave") == 0 ? MS_SLAVE :
		strcmp(p, "unbindable") == 0 ? MS_UNBINDABLE : MS_PRIVATE;
}

/* pivot_root() refuses a root whose parent mount is shared: makes that one private. Its mount point is somewhere above. */
static int parent_private(const char *root)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s", root);
	for (;;) {
		int r = mount_set(AT_FDCWD, path, 0, 0, 0, MS_PRIVATE);
		if (r != -EINVAL || strcmp(path, "/") == 0)
			return r < 0 ? fail(-r, "linux.rootfsPropagation: make the mount of %s private", root) : 0;
		char *slash = strrchr(path, '/');
		slash[slash == path] = 0;
	}
}

/* An unbindable tree could not be cloned for the root: it becomes so at the end. */
static int detach_from_host(const struct spec *s)
{
	uint64_t p = rootfs_propagation(s);

	if (p == MS_SHARED)
		return parent_private(s->root_path);
	int r = mount_set(AT_FDCWD, "/", AT_RECURSIVE, 0, 0, p == MS_SLAVE ? MS_SLAVE : MS_PRIVATE);
	return r < 0 ? fail(-r, "make the mounts of the new namespace private") : 0;
}

static int open_root(struct rootfs *r)
{
	const char *path = r->spec->root_path;

	r->root = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE);
	if (r->root < 0) {
		int done = fail(-r->root, "config.json: root.path: open %s", path);
		if (done == -ENOSYS)
			fail_hint("containers need Linux 5.10 or newer");
		return done;
	}
	int done = sys_move_mount(r->root, AT_FDCWD, path);
	return done < 0 ? fail(-done, "attach the container's root to %s", path) : 0;
}

static int all_mounts(struct rootfs *r)
{
	int done = 0;

	for (size_t i = 0; done >= 0 && i < r->spec->n_mounts; i++)
		done = rootfs_mount(r, &r->spec->mounts[i]);
	return done;
}

/* process.cwd is made if it is missing, while the root can still be written. */
static int working_directory(struct rootfs *r)
{
	if (!r->spec->has_process || !r->spec->process.cwd)
		return 0;
	autoclose int fd = rootfs_directory(r->root, r->spec->process.cwd);
	return fd < 0 ? fail_text(-fd, "process.cwd") : 0;
}

static int finish_read_only(struct rootfs *r)
{
	for (size_t i = 0; i < r->read_only_later.n; i++) {
		int fd = r->read_only_later.data[i];
		int done = mount_set(fd, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0);
		close(fd);
		if (done < 0)
			return fail(-done, "make a mount of the container read-only");
	}
	array_free(&r->read_only_later);
	return 0;
}

int rootfs_build(struct rootfs *r)
{
	int done = detach_from_host(r->spec);

	if (done >= 0)
		done = open_root(r);
	if (done >= 0)
		done = all_mounts(r);
	if (done >= 0)
		done = rootfs_devices(r);
	if (done >= 0)
		done = working_directory(r);
	if (done >= 0)
		done = rootfs_read_only_paths(r);
	return done < 0 ? done : rootfs_mask(r);
}

static int pivot(struct rootfs *r)
{
	autoclose int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (old < 0 || fchdir(r->root) < 0)
		return fail(errno, "enter the container's root");
	if (syscall(SYS_pivot_root, ".", ".") < 0) {
		int done = fail(errno, "pivot_root to %s", r->spec->root_path);
		fail_hint("if the host's root is an initramfs: --no-pivot");
		return done;
	}
	if (fchdir(old) < 0)
		return fail(errno, "enter the old root");
	int done = mount_set(AT_FDCWD, ".", AT_RECURSIVE, 0, 0, MS_SLAVE);
	if (done < 0)
		return fail(-done, "detach the old root from the host");
	if (syscall(SYS_umount2, ".", MNT_DETACH) < 0)
		return fail(errno, "unmount the old root");
	return 0;
}

static int move_and_chroot(struct rootfs *r)
{
	int done = sys_move_mount(r->root, AT_FDCWD, "/");

	if (done < 0)
		return fail(-done, "move the container's root onto /");
	if (fchdir(r->root) < 0 || chroot(".") < 0)
		return fail(errno, "enter the container's root");
	return 0;
}

int rootfs_enter(struct rootfs *r)
{
	uint64_t p = rootfs_propagation(r->spec);
	int done = r->no_pivot ? move_and_chroot(r) : pivot(r);

	if (done >= 0 && chdir("/") < 0)
		done = fail(errno, "enter the container's root");
	if (done >= 0 && p != MS_PRIVATE)
		done = mount_set(r->root, "", AT_EMPTY_PATH, 0, 0, p);
	if (done >= 0)
		done = finish_read_only(r);
	if (done >= 0 && r->spec->root_readonly) {
		done = mount_set(r->root, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0);
		if (done < 0)
			done = fail(-done, "make the container's root read-only");
	}
	fd_close(&r->root);
	return done;
}
