/* SPDX-License-Identifier: Apache-2.0 */
/* Paths inside a container's root, before it is this process's root.
 *
 * Whoever made the image, or writes into a volume at this moment, chooses what the links in it say. So no path of the container
 * is ever walked by string: openat2(RESOLVE_IN_ROOT) (5.6) resolves it as if the root were "/" already, atomically in the
 * kernel, and what is then mounted, made or opened is the descriptor that came back. It refuses the links of /proc that jump
 * (RESOLVE_NO_MAGICLINKS). EAGAIN means that something on the way was renamed or mounted meanwhile: try again.
 *
 * A missing directory is made in the descriptor of the one above it, found in the same way. A link that points at something
 * missing (/var/run -> /run in an image without /run) has its target made, again inside the root. */
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/internal.h"

#define LINKS_MAX 16
#define TRIES 64

static int open_resolved(int root, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve,
	};
	long fd;

	for (int i = 0; i < TRIES; i++) {
		fd = syscall(SYS_openat2, root, *path ? path : "/", &how, sizeof how);
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

int rootfs_open(int root, const char *path, int flags)
{
	return open_resolved(root, path, flags, 0);
}

int rootfs_open_direct(int root, const char *path, int flags)
{
	return open_resolved(root, path, flags, RESOLVE_NO_SYMLINKS);
}

void rootfs_clean(char out[PATH_MAX], const char *path)
{
	size_t at = 0;

	while (*path) {
		size_t n = strcspn(path, "/");
		if (n == 2 && path[0] == '.' && path[1] == '.') {
			while (at && out[--at] != '/')
				;
		} else if (n && !(n == 1 && *path == '.') && at + n + 2 < PATH_MAX) {
			out[at++] = '/';
			memcpy(out + at, path, n);
			at += n;
		}
		path += n + (path[n] == '/');
	}
	if (!at)
		out[at++] = '/';
	out[at] = 0;
}

/* Splits a clean path. */
static void split(const char *clean, char dir[PATH_MAX], char name[NAME_MAX + 1])
{
	const char *slash = strrchr(clean, '/');
	size_t n = (size_t)(slash - clean);

	snprintf(dir, PATH_MAX, "%.*s", n ? (int)n : 1, clean);
	snprintf(name, NAME_MAX + 1, "%s", slash + 1);
}

static int directory(int root, const char *path, int links);

/* Where a link that could not be followed points to, as a path from the root. */
static int link_target(int parent, const char *dir, const char *name, char out[PATH_MAX])
{
	char to[PATH_MAX / 2], joined[PATH_MAX * 2];
	ssize_t n = readlinkat(parent, name, to, sizeof to - 1);

	if (n < 0)
		return -errno;
	to[n] = 0;
	if (*to == '/')
		snprintf(joined, sizeof joined, "%s", to);
	else
		snprintf(joined, sizeof joined, "%s/%s", dir, to);
	rootfs_clean(out, joined);
	return 0;
}

static int make_directory(int root, const char *clean, int links)
{
	char dir[PATH_MAX], name[NAME_MAX + 1], target[PATH_MAX];

	split(clean, dir, name);
	autoclose int parent = directory(root, dir, links);
	if (parent < 0)
		return parent;
	if (mkdirat(parent, name, 0755) < 0) {
		if (errno != EEXIST)
			return fail(errno, "make directory %s in the container's root", clean);
		if (link_target(parent, dir, name, target) == 0)
			return links ? directory(root, target, links - 1) : fail(ELOOP, "directory %s in the container's root", clean);
	}
	int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? fail(errno, "open directory %s in the container's root", clean) : fd;
}

static int directory(int root, const char *path, int links)
{
	int fd = rootfs_open(root, path, O_PATH | O_DIRECTORY);

	if (fd >= 0)
		return fd;
	if (fd != -ENOENT)
		return fail(-fd, "open directory %s in the container's root", path);
	return make_directory(root, path, links);
}

int rootfs_directory(int root, const char *path)
{
	char clean[PATH_MAX];

	rootfs_clean(clean, path);
	return directory(root, clean, LINKS_MAX);
}

int rootfs_parent(int root, const char *path, char name[NAME_MAX + 1])
{
	char clean[PATH_MAX], dir[PATH_MAX];

	rootfs_clean(clean, path);
	split(clean, dir, name);
	if (!*name)
		return fail_text(EINVAL, "\"%s\" is the container's root itself", path);
	return directory(root, dir, LINKS_MAX);
}

static int make_file(int root, const char *clean, int links)
{
	char dir[PATH_MAX], name[NAME_MAX + 1], target[PATH_MAX];
	int found = rootfs_open(root, clean, O_PATH);

	if (found >= 0)
		return found;
	if (found != -ENOENT)
		return fail(-found, "open %s in the container's root", clean);
	split(clean, dir, name);
	autoclose int parent = directory(root, dir, links);
	if (parent < 0)
		return parent;
	if (links && link_target(parent, dir, name, target) == 0)
		return make_file(root, target, links - 1);
	autoclose int fd = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 && errno != EEXIST)
		return fail(errno, "make file %s in the container's root", clean);
	int path = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return path < 0 ? fail(errno, "open %s in the container's root", clean) : path;
}

int rootfs_file(int root, const char *path)
{
	char clean[PATH_MAX];

	rootfs_clean(clean, path);
	return make_file(root, clean, LINKS_MAX);
}
