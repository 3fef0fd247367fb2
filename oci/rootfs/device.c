/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes and links of /dev.
 *
 * Six devices that every container has (runtime-spec, "default devices"), those of the configuration, the links into /proc/self/fd, and
 * ptmx as a link to the container's own devpts. Nothing is done when /dev is a bind mount of the configuration: then it is
 * somebody else's. A node that is there already is good if it is the same device, else it is an error: an image cannot put
 * its own /dev/null before the runtime's. Nodes are made in the opened directory, never through a link.
 *
 * mknod needs CAP_MKNOD in the initial user namespace; where it is refused, the host's node is bound over an empty file.
 * The umask is 0 while init builds (spawn.c), so modes are what they say. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/internal.h"

static const struct { const char *path; unsigned major, minor; } defaults[] = {
	{ "/dev/null", 1, 3 }, { "/dev/zero", 1, 5 }, { "/dev/full", 1, 7 },
	{ "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 },
};

static const struct { const char *path, *to; } links[] = {
	{ "/dev/fd", "/proc/self/fd" }, { "/dev/stdin", "/proc/self/fd/0" },
	{ "/dev/stdout", "/proc/self/fd/1" }, { "/dev/stderr", "/proc/self/fd/2" },
	{ "/dev/ptmx", "pts/ptmx" },
};

static mode_t type_of(const struct spec_device *d)
{
	return d->type == 'b' ? S_IFBLK : d->type == 'p' ? S_IFIFO : S_IFCHR;
}

static dev_t number_of(const struct spec_device *d)
{
	return d->type == 'p' ? 0 : makedev((unsigned)d->major, (unsigned)d->minor);
}

static int bind_host_node(struct rootfs *r, const struct spec_device *d)
{
	struct stat st;
	autoclose int tree = sys_open_tree(AT_FDCWD, d->path, OPEN_TREE_CLONE);

	if (tree < 0 || fstat(tree, &st) < 0)
		return fail(tree < 0 ? -tree : errno, "device %s: it cannot be made here, and the host's", d->path);
	if ((st.st_mode & S_IFMT) != type_of(d) || st.st_rdev != number_of(d))
		return fail_text(EPERM, "device %s: it cannot be made here, and the host has another device at this path", d->path);
	autoclose int target = rootfs_file(r->root, d->path);
	int done = target < 0 ? target : sys_move_mount(tree, target, "");
	return done < 0 ? fail(-done, "device %s: bind the host's", d->path) : 0;
}

static int check_existing(int dir, const char *name, const struct spec_device *d)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(errno, "device %s", d->path);
	if ((st.st_mode & S_IFMT) == type_of(d) && (d->type == 'p' || st.st_rdev == number_of(d)))
		return 0;
	return fail_text(EEXIST, "device %s: the container's root has something else at this path", d->path);
}

static int make_node(struct rootfs *r, const struct spec_device *d)
{
	char name[NAME_MAX + 1];
	autoclose int dir = rootfs_parent(r->root, d->path, name);

	if (dir < 0)
		return fail_text(-dir, "device %s", d->path);
	if (mknodat(dir, name, type_of(d) | (d->mode & 07777), number_of(d)) < 0) {
		if (errno == EEXIST)
			return check_existing(dir, name, d);
		return errno == EPERM && d->type != 'p' ? bind_host_node(r, d) : fail(errno, "make device %s", d->path);
	}
	if ((d->uid || d->gid) && fchownat(dir, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(errno, "set the owner of device %s", d->path);
	return 0;
}

static int make_link(struct rootfs *r, const char *path, const char *to)
{
	char name[NAME_MAX + 1], there[PATH_MAX];
	autoclose int dir = rootfs_parent(r->root, path, name);

	if (dir < 0)
		return fail_text(-dir, "link %s", path);
	if (symlinkat(to, dir, name) == 0)
		return 0;
	if (errno != EEXIST)
		return fail(errno, "make link %s", path);
	ssize_t n = readlinkat(dir, name, there, sizeof there);
	if (n == (ssize_t)strlen(to) && memcmp(there, to, (size_t)n) == 0)
		return 0;
	if (unlinkat(dir, name, 0) < 0 || symlinkat(to, dir, name) < 0)
		return fail(errno, "replace %s by a link to %s", path, to);
	return 0;
}

static bool has_path(const struct spec *s, const char *path)
{
	char clean[PATH_MAX];

	for (size_t i = 0; i < s->n_devices; i++) {
		rootfs_clean(clean, s->devices[i].path);
		if (strcmp(clean, path) == 0)
			return true;
	}
	return false;
}

static bool dev_is_bound(const struct spec *s)
{
	char clean[PATH_MAX];

	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct spec_mount *m = &s->mounts[i];
		struct mount_plan p;
		rootfs_clean(clean, m->destination);
		if (strcmp(clean, "/dev") == 0 && mount_plan_read(m, &p) >= 0 && p.bind)
			return true;
	}
	return false;
}

int rootfs_devices(struct rootfs *r)
{
	const struct spec *s = r->spec;
	int done = 0;

	if (dev_is_bound(s))
		return 0;
	for (size_t i = 0; done >= 0 && i < sizeof defaults / sizeof *defaults; i++) {
		struct spec_device d = { .path = NULL, .type = 'c', .major = defaults[i].major, .minor = defaults[i].minor, .mode = 0666 };
		autofree char *path = str_dup(defaults[i].path);
		d.path = path;
		if (!has_path(s, path))
			done = make_node(r, &d);
	}
	for (size_t i = 0; done >= 0 && i < s->n_devices; i++)
		done = make_node(r, &s->devices[i]);
	for (size_t i = 0; done >= 0 && i < sizeof links / sizeof *links; i++)
		if (!has_path(s, links[i].path))
			done = make_link(r, links[i].path, links[i].to);
	if (done >= 0 && access("/proc/kcore", F_OK) == 0)
		done = make_link(r, "/dev/core", "/proc/kcore");
	return done;
}
