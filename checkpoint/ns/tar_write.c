/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of small trees (temporary file systems), writing: ustar headers (POSIX.1-1988) with pax records (POSIX.1-2001) for names and sizes
 * that do not fit.
 *
 * By descriptors from the top directory, so that nothing in the tree can lead it elsewhere. Sockets are left out: who
 * owns one makes it again. A file with several names is stored once and then as links.
 *
 * Extended attributes are tar_xattr.c's. Holes are stored as zeros. */
#define LOG_PREFIX "tar"
#include "ns/tar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "ns/gzip.h"
#include "ns/tar_format.h"

#define DEPTH_MAX 128

static const char zeros[BLOCK];

bool tar_is_empty(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool empty = true;

	if (!d)
		return false;
	for (struct dirent *e; empty && (e = readdir(d));)
		empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	closedir(d);
	return empty;
}

struct link_seen {
	ino_t ino;
	char *name;
};

struct writer {
	struct gzip *z;
	struct arena arena;
	dev_t dev;
	bool places;
	struct pax pax;              /* of the next entry */
	ARRAY(struct link_seen) links;
};

/* Octal, NUL-terminated; what does not fit is 0 here and stands in a pax record. */
static void put_number(char *field, size_t size, uint64_t value)
{
	if (value >> 3 * (size - 1))
		value = 0;
	snprintf(field, size, "%0*" PRIo64, (int)size - 1, value);
}

static int put_header(struct writer *w, struct header *h)
{
	unsigned sum = 0;

	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	memset(h->checksum, ' ', sizeof h->checksum);
	for (size_t i = 0; i < sizeof *h; i++)
		sum += ((unsigned char *)h)[i];
	snprintf(h->checksum, sizeof h->checksum, "%06o", sum);
	return gzip_write(w->z, h, sizeof *h);
}

static int put_padding(struct writer *w, uint64_t size)
{
	return gzip_write(w->z, zeros, (size_t)(-size & (BLOCK - 1)));
}

/* What does not fit into the header, and the extended attributes that were collected for it. */
static int put_pax(struct writer *w, const char *path, const char *link, uint64_t size)
{
	struct header h = { .type = 'x' };
	char number[32];

	if (strlen(path) >= sizeof h.name)
		pax_add(&w->pax, "path", path, strlen(path));
	if (link && strlen(link) >= sizeof h.link)
		pax_add(&w->pax, "linkpath", link, strlen(link));
	snprintf(number, sizeof number, "%" PRIu64, size);
	if (size >> 33)
		pax_add(&w->pax, "size", number, strlen(number));
	size_t n = w->pax.text.n;
	if (!n)
		return 0;
	snprintf(h.name, sizeof h.name, "pax");
	put_number(h.mode, sizeof h.mode, 0600);
	put_number(h.size, sizeof h.size, n);
	int r = put_header(w, &h);
	if (r >= 0)
		r = gzip_write(w->z, w->pax.text.data, n);
	w->pax.text.n = 0;
	return r < 0 ? r : put_padding(w, n);
}

static int put_entry(struct writer *w, const char *path, const struct stat *st, char type, const char *link, uint64_t size)
{
	struct header h = { .type = type };
	int r = put_pax(w, path, link, size);

	if (r < 0)
		return r;
	memcpy(h.name, path, strnlen(path, sizeof h.name));
	if (link)
		memcpy(h.link, link, strnlen(link, sizeof h.link));
	put_number(h.mode, sizeof h.mode, st->st_mode & 07777);
	put_number(h.uid, sizeof h.uid, st->st_uid);
	put_number(h.gid, sizeof h.gid, st->st_gid);
	put_number(h.size, sizeof h.size, size);
	put_number(h.mtime, sizeof h.mtime, st->st_mtime < 0 ? 0 : (uint64_t)st->st_mtime);
	if (type == '3' || type == '4') {
		put_number(h.major, sizeof h.major, major(st->st_rdev));
		put_number(h.minor, sizeof h.minor, minor(st->st_rdev));
	}
	return put_header(w, &h);
}

static int put_content(struct writer *w, int fd, const char *path, uint64_t size)
{
	char piece[16384];

	for (uint64_t at = 0; at < size;) {
		size_t want = size - at < sizeof piece ? (size_t)(size - at) : sizeof piece;
		int r = fd_pread_all(fd, piece, want, at);
		if (r < 0)
			return fail(-r, "read %s", path);
		r = gzip_write(w->z, piece, want);
		if (r < 0)
			return r;
		at += want;
	}
	return put_padding(w, size);
}

static const char *seen_before(struct writer *w, const struct stat *st, const char *path)
{
	if (st->st_nlink < 2)
		return NULL;
	for (size_t i = 0; i < w->links.n; i++)
		if (w->links.data[i].ino == st->st_ino)
			return w->links.data[i].name;
	array_push(&w->links) = (struct link_seen){ st->st_ino, arena_str(&w->arena, path) };
	return NULL;
}

static int put_regular(struct writer *w, int dir, const char *name, const char *path, const struct stat *st)
{
	autoclose int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return fail(errno, "open %s", path);
	int r = xattrs_collect(&w->pax, dir, name);
	if (r >= 0)
		r = put_entry(w, path, st, '0', NULL, (uint64_t)st->st_size);
	return r < 0 ? r : put_content(w, fd, path, (uint64_t)st->st_size);
}

static int put_symlink(struct writer *w, int dir, const char *name, const char *path, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir, name, target, sizeof target - 1);

	if (n < 0)
		return fail(errno, "read the link %s", path);
	target[n] = 0;
	return put_entry(w, path, st, '2', target, 0);
}

static int put_directory(struct writer *w, int fd, const char *path, int depth);

/* What is below a mount cannot be seen; that there is a place for it is enough. */
static int put_place(struct writer *w, const char *path, const struct stat *mounted)
{
	bool directory = S_ISDIR(mounted->st_mode);
	const struct stat st = { .st_mode = directory ? S_IFDIR | 0755 : S_IFREG | 0644, .st_mtim = mounted->st_mtim };
	autofree char *name = str_printf("%s%s", path, directory ? "/" : "");

	return put_entry(w, name, &st, directory ? '5' : '0', NULL, 0);
}

static int put_one(struct writer *w, int dir, const char *name, const char *parent, int depth)
{
	struct stat st;
	autofree char *path = str_printf("%s%s", parent, name);

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail(errno, "stat %s", path);
	if (st.st_dev != w->dev)
		return w->places ? put_place(w, path, &st) : 0;
	const char *first = S_ISDIR(st.st_mode) ? NULL : seen_before(w, &st, path);
	if (first)
		return put_entry(w, path, &st, '1', first, 0);
	switch (st.st_mode & S_IFMT) {
	case S_IFREG: return put_regular(w, dir, name, path, &st);
	case S_IFLNK: return put_symlink(w, dir, name, path, &st);
	case S_IFCHR: return put_entry(w, path, &st, '3', NULL, 0);
	case S_IFBLK: return put_entry(w, path, &st, '4', NULL, 0);
	case S_IFIFO: return put_entry(w, path, &st, '6', NULL, 0);
	case S_IFDIR: break;
	default: return 0;   /* a socket */
	}
	autoclose int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	autofree char *below = str_printf("%s/", path);
	return fd < 0 ? fail(errno, "open %s", path) : put_directory(w, fd, below, depth + 1);
}

static int put_directory(struct writer *w, int fd, const char *path, int depth)
{
	struct stat st;

	if (depth > DEPTH_MAX)
		return fail(ELOOP, "directories deeper than %d at %s", DEPTH_MAX, path);
	if (fstat(fd, &st) < 0)
		return fail(errno, "stat %s", path);
	int r = st.st_dev == w->dev ? xattrs_collect(&w->pax, fd, ".") : 0;
	if (r >= 0 && st.st_dev == w->dev)
		r = put_entry(w, path, &st, '5', NULL, 0);
	int copy = r < 0 ? -1 : openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (r >= 0 && !d)
		return fail(errno, "list %s", path);
	for (struct dirent *e; r >= 0 && (e = readdir(d));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = put_one(w, fd, e->d_name, path, depth);
	if (d)
		closedir(d);
	return r;
}

int tar_write(int dir, int out, bool places)
{
	struct stat st;
	autofree struct gzip *z = mem_alloc(sizeof *z);
	struct writer w = { .z = z, .places = places };

	if (fstat(dir, &st) < 0)
		return fail(errno, "stat the directory to save");
	w.dev = st.st_dev;
	int r = gzip_begin(z, out);
	if (r >= 0)
		r = put_directory(&w, dir, "./", 0);
	for (int i = 0; i < 2 && r >= 0; i++)
		r = gzip_write(z, zeros, BLOCK);
	if (r >= 0)
		r = gzip_end(z);
	array_free(&w.pax.text);
	array_free(&w.links);
	arena_done(&w.arena);
	return r;
}
