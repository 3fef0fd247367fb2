/* SPDX-License-Identifier: Apache-2.0 */
/* Inodes that are watched (inotify, fanotify). fdinfo has no path of them, only device, inode number and a file handle
 * (name_to_handle_at(2)); a restore wants a path.
 *
 * 1. Through each mount of the device that the tree's root task has, the handle is opened (open_by_handle_at, CAP_DAC_READ_SEARCH); the
 *    link of what is open is the path, if it leads to the inode again. A bind mount may show another part of the device.
 * 2. Overlay file systems do not decode handles (without nfs_export). Then the mount is searched, without its submounts, for an inode
 *    with the same handle (AT_HANDLE_FID, Linux 6.5) or, where there is none, number; up to SEARCH_MAX names.
 *
 * Paths that the caller names (--irmap-scan-path) are searched before all that; with --force-irmap there is only searching.
 *
 * A watched inode without a name any more, on an overlay, is not found and stops the dump. */
#include "files/handle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"

#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID 0x200
#endif
#define SEARCH_MAX 500000
#define HANDLE_WORDS 16              /* CRIU writes no fewer */

struct any_handle {
	struct file_handle head;
	unsigned char bytes[128];
};

bool watched_handle(const char *line, struct watched *w)
{
	const char *at = strstr(line, "fhandle-bytes:"), *end = strchrnul(line, '\n');
	int skip = 0;

	w->bytes = 0;
	if (!at || at > end || sscanf(at, "fhandle-bytes:%x fhandle-type:%x f_handle:%n", &w->bytes, &w->type, &skip) != 2 || !skip ||
	    w->bytes > sizeof w->handle) {
		w->bytes = 0;
		return false;
	}
	at += skip;
	for (uint32_t i = 0; i < w->bytes; i++, at += 2) {
		unsigned byte;
		if (sscanf(at, "%2x", &byte) != 1)
			return w->bytes = 0, false;
		w->handle[i] = (unsigned char)byte;
	}
	return true;
}

/* --- mounts --- */

struct mount {
	int id;
	uint32_t device;
	char point[PATH_MAX];
};

/* The next line of mountinfo, whose mount point has blanks and the like as octal numbers. */
static const char *mount_next(const char *at, struct mount *m)
{
	unsigned major, minor;
	char *to = m->point;
	int skip = 0;

	if (!*at || sscanf(at, "%d %*d %u:%u %*s %n", &m->id, &major, &minor, &skip) != 3 || !skip)
		return NULL;
	m->device = major << 20 | minor;
	for (const char *c = at + skip; *c && *c != ' ' && to < m->point + sizeof m->point - 1; c++) {
		unsigned byte;
		if (*c == '\\' && sscanf(c + 1, "%3o", &byte) == 1) {
			*to++ = (char)byte;
			c += 3;
		} else {
			*to++ = *c;
		}
	}
	*to = 0;
	at = strchr(at, '\n');
	return at ? at + 1 : "";
}

static int mounts_text(struct dump *d, char **text)
{
	ssize_t n = proc_read(tree_root(d->tree)->host_pid, "mountinfo", text);

	return n < 0 ? fail((int)-n, "read the mounts of task %d", tree_root(d->tree)->pid) : 0;
}

char *handle_mountpoint(struct dump *d, int mnt_id)
{
	autofree char *text = NULL;
	struct mount m;

	if (mounts_text(d, &text) < 0)
		return NULL;
	for (const char *at = text; (at = mount_next(at, &m));)
		if (m.id == mnt_id)
			return str_dup(m.point);
	return NULL;
}

/* --- by its handle --- */

static bool leads_to(const struct dump *d, const char *path, int fd)
{
	struct stat there, wanted;

	return path[0] == '/' && file_stat_path(d, path, &there) >= 0 && fstat(fd, &wanted) == 0 && there.st_ino == wanted.st_ino &&
	       there.st_dev == wanted.st_dev;
}

static char *path_by_handle(struct dump *d, const struct watched *w, int mount)
{
	struct any_handle h = { .head = { .handle_bytes = w->bytes, .handle_type = (int)w->type } };
	autofree char *path = NULL;
	char name[32];

	memcpy(h.head.f_handle, w->handle, w->bytes);
	autoclose int fd = w->bytes ? open_by_handle_at(mount, &h.head, O_PATH | O_CLOEXEC) : -1;
	snprintf(name, sizeof name, "fd/%d", fd);
	if (fd < 0 || proc_readlink(getpid(), name, &path) < 0 || !leads_to(d, path, fd))
		return NULL;
	return take_ptr(&path);
}

/* --- by a search --- */

struct search {
	const struct watched *w;
	unsigned left;               /* names that may be looked at */
	uint64_t mount;              /* the mount's id: others are not entered */
	char path[PATH_MAX];         /* below the mount, when it is found */
};

static bool is_it(const struct search *s, int dir, const char *name, uint64_t inode)
{
	struct any_handle h = { .head = { .handle_bytes = sizeof h.bytes } };
	int mount;

	if (!s->w->bytes || name_to_handle_at(dir, name, &h.head, &mount, AT_HANDLE_FID) < 0)
		return inode == s->w->inode;
	return h.head.handle_bytes == s->w->bytes && (uint32_t)h.head.handle_type == s->w->type &&
	       !memcmp(h.head.f_handle, s->w->handle, s->w->bytes);
}

static bool search_dir(struct search *s, int dir, size_t length);

static bool search_name(struct search *s, int dir, const char *name, size_t length)
{
	struct statx sx;

	if (!s->left || statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_TYPE | STATX_MNT_ID, &sx) < 0 || sx.stx_mnt_id != s->mount)
		return false;
	s->left--;
	int n = snprintf(s->path + length, sizeof s->path - length, "/%s", name);
	if ((size_t)n >= sizeof s->path - length)
		return false;
	if (is_it(s, dir, name, sx.stx_ino))
		return true;
	if (!S_ISDIR(sx.stx_mode))
		return false;
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && search_dir(s, fd, length + (size_t)n);
}

/* dir is ours to close. */
static bool search_dir(struct search *s, int dir, size_t length)
{
	DIR *list = fdopendir(dir);
	bool found = false;

	if (!list)
		return close(dir), false;
	for (struct dirent *e; !found && (e = readdir(list));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			found = search_name(s, dir, e->d_name, length);
	closedir(list);
	return found;
}

static char *path_by_search(const struct watched *w, int mount, const char *point)
{
	struct search s = { .w = w, .left = SEARCH_MAX };
	struct statx sx;
	int dir = fcntl(mount, F_DUPFD_CLOEXEC, 0);

	if (dir < 0 || statx(mount, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &sx) < 0)
		return close(dir), NULL;
	s.mount = sx.stx_mnt_id;
	if (is_it(&s, mount, ".", sx.stx_ino))
		return close(dir), str_dup(point);
	if (!search_dir(&s, dir, 0))
		return NULL;
	return str_printf("%s%s", strcmp(point, "/") ? point : "", s.path);
}

/* --- dump --- */

static int mount_open(const struct dump *d, const struct mount *m)
{
	return d->own_mnt_ns ? openat(d->root_fd, m->point[1] ? m->point + 1 : ".", O_RDONLY | O_NONBLOCK | O_CLOEXEC)
			     : open(m->point, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* The path is the tree's; it is of the device if the mount is that it lies on. */
static char *path_at(struct dump *d, const struct watched *w, const char *mounts, const char *path)
{
	autoclose int fd = d->own_mnt_ns ? openat(d->root_fd, path + strspn(path, "/"), O_RDONLY | O_NONBLOCK | O_CLOEXEC)
					 : open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct statx sx;
	struct mount m;

	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) < 0)
		return NULL;
	for (const char *at = mounts; (at = mount_next(at, &m));)
		if ((uint64_t)m.id == sx.stx_mnt_id && m.device == w->device)
			return path_by_search(w, fd, path);
	return NULL;
}

/* Through every mount by the handle before anything is searched. */
static char *find_path(struct dump *d, const struct watched *w, const char *mounts)
{
	struct mount m;
	char *path = NULL;

	for (const char *const *p = d->o->irmap_paths; p && *p && !path; p++)
		path = path_at(d, w, mounts, *p);
	for (int search = d->o->force_irmap; search < 2 && !path; search++)
		for (const char *at = mounts; !path && (at = mount_next(at, &m));) {
			autoclose int fd = m.device == w->device ? mount_open(d, &m) : -1;
			if (fd >= 0)
				path = search ? path_by_search(w, fd, m.point) : path_by_handle(d, w, fd);
		}
	return path;
}

int handle_dump(struct dump *d, const struct file_info *f, const struct watched *w, FhEntry **out)
{
	FhEntry *h = *out = ARENA_MESSAGE(d->arena, FhEntry, FH_ENTRY__INIT);
	autofree char *mounts = NULL;
	int r = mounts_text(d, &mounts);

	if (r < 0)
		return r;
	autofree char *path = find_path(d, w, mounts);
	if (!path) {
		fail_text(ENOTSUP, FILE_FMT ": it watches inode %" PRIu64 " of device %u:%u, of which no path is found", FILE_ARG(f), w->inode,
			  w->device >> 20, w->device & 0xfffff);
		fail_hint("the file has no name any more, or lies on a file system that the tree's root task does not see");
		return -ENOTSUP;
	}
	h->path = arena_str(d->arena, path);
	h->bytes = w->bytes;
	h->type = w->type;
	h->n_handle = HANDLE_WORDS;
	h->handle = arena_array(d->arena, uint64_t, HANDLE_WORDS);
	memcpy(h->handle, w->handle, w->bytes);
	return 0;
}

/* --- restore --- */

static int open_handle(const FhEntry *h)
{
	struct any_handle any = { .head = { .handle_bytes = h->bytes, .handle_type = (int)h->type } };

	if (h->bytes > sizeof any.bytes || h->bytes > h->n_handle * sizeof *h->handle)
		return -EBADMSG;
	memcpy(any.head.f_handle, h->handle, h->bytes);
	autoclose int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = root < 0 ? -1 : open_by_handle_at(root, &any.head, O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int handle_open(struct restore *r, const FileEntry *e, const FhEntry *h)
{
	(void)r;
	int fd = h->path && h->path[0] == '/' ? open(h->path, O_PATH | O_NOFOLLOW | O_CLOEXEC) : open_handle(h);

	if (fd >= 0)
		return fd;
	if (h->path)
		return fail(errno, ENTRY_FMT ": open %s, which it watches", ENTRY_ARG(e), h->path);
	return fail(-fd, ENTRY_FMT ": open a file that it watches, of which the images have no path", ENTRY_ARG(e));
}
