/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts that make a container's root directory, as containerd's snapshotters describe them: a bind mount, an overlay, several. They are
 * made in the shim's mount namespace, in order, each over the one before, and undone by Delete or by `delete` of a dead shim. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "rootfs/internal.h"
#include "containerd/task.h"

#define DATA_MAX 4095   /* mount(2) takes a page */

struct options {
	unsigned long flags;
	char data[DATA_MAX + 1];
	size_t n;
};

static int add_option(struct options *o, const char *word)
{
	long flag = mount_option_flag(word);

	if (flag >= 0) {
		o->flags |= (unsigned long)flag;
		return 0;
	}
	if (!strcmp(word, "loop"))
		return fail_text(ENOTSUP, "mount option loop: loop devices are not set up by this shim");
	size_t len = strlen(word);
	if (o->n + 1 + len > DATA_MAX)
		return fail_text(E2BIG, "the mount options are longer than a page");
	if (o->n)
		o->data[o->n++] = ',';
	memcpy(o->data + o->n, word, len);
	o->n += len;
	return 0;
}

static int target_of(const Task__Mount *m, const char *target, char *path, size_t size)
{
	if (path_goes_up(m->target))
		return fail_text(EINVAL, "mount target %s leaves the root directory", m->target);
	int n = snprintf(path, size, "%s/%s", target, m->target);
	return n < 0 || (size_t)n >= size ? fail_text(ENAMETOOLONG, "mount target %s", m->target) : 0;
}

static int mount_one(const Task__Mount *m, const char *target)
{
	struct options o = { 0 };
	char path[PATH_MAX];
	int r = target_of(m, target, path, sizeof path);

	for (size_t i = 0; i < m->n_options && r == 0; i++)
		r = add_option(&o, m->options[i]);
	if (r < 0)
		return r;
	if (!strcmp(m->type, "bind"))
		o.flags |= MS_BIND;
	if (mount(m->source, path, m->type, o.flags & ~(o.flags & MS_BIND ? MS_RDONLY : 0ul), o.n ? o.data : NULL) < 0)
		return fail(errno, "mount %s (%s) at %s", m->source, m->type, path);
	if (o.flags & MS_BIND && o.flags & MS_RDONLY && mount(NULL, path, NULL, o.flags | MS_REMOUNT, NULL) < 0)
		return fail(errno, "make the mount at %s read-only", path);
	return 0;
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
