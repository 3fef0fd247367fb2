/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of small trees (temporary file systems), reading from untrusted data: names are taken relative to the directory, with
 * openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS). Zeros become holes. */
#define LOG_PREFIX "tar"
#include "ns/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "ns/gzip.h"
#include "ns/tar_format.h"

#define PAX_MAX (256u << 10)

struct entry {
	char path[PATH_MAX], link[PATH_MAX], type;
	bool pax_path, pax_link, pax_size;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint64_t size;
	time_t mtime;
	dev_t rdev;
	struct xattrs xattrs;
};

static uint64_t get_number(const char *field, size_t size)
{
	uint64_t v = 0;

	for (size_t i = 0; i < size && (field[i] == ' ' || (field[i] >= '0' && field[i] <= '7')); i++)
		if (field[i] != ' ')
			v = v << 3 | (uint64_t)(field[i] - '0');
	return v;
}

/* Below dir, following no link: the parent directory of path; *last is its last component. "." gives dir itself. */
static int open_parent(int dir, char *path, char **last)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	char *slash = strrchr(path, '/');

	*last = slash ? slash + 1 : path;
	if (slash)
		*slash = 0;
	int fd = (int)syscall(SYS_openat2, dir, slash && *path ? path : ".", &how, sizeof how);
	if (slash)
		*slash = '/';
	return fd < 0 ? fail(errno, "unpack %s", path) : fd;
}

static int check_path(char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		path[--n] = 0;
	if (path[0] == '/' || path_goes_up(path))
		return fail_text(EBADMSG, "the archive has a name that leads outside: %s", path);
	return 0;
}

static int skip(struct gzip *z, uint64_t size)
{
	char piece[BLOCK];
	int r = 0;

	for (uint64_t n = (size + BLOCK - 1) / BLOCK; n && r >= 0; n--)
		r = gzip_read(z, piece, BLOCK);
	return r;
}

static bool all_zero(const char *data, size_t n)
{
	return n == 0 || (data[0] == 0 && !memcmp(data, data + 1, n - 1));
}

static int read_content(struct gzip *z, int fd, const struct entry *e)
{
	char piece[4096];

	for (uint64_t at = 0; at < e->size;) {
		size_t n = e->size - at < sizeof piece ? (size_t)(e->size - at) : sizeof piece;
		int r = gzip_read(z, piece, n);
		if (r < 0)
			return r;
		if (!all_zero(piece, n)) {
			r = fd_pwrite_all(fd, piece, n, at);
			if (r < 0)
				return fail(-r, "write %s", e->path);
		}
		at += n;
	}
	if (ftruncate(fd, (off_t)e->size) < 0)
		return fail(errno, "set the size of %s", e->path);
	char pad[BLOCK];
	return gzip_read(z, pad, (size_t)(-e->size & (BLOCK - 1)));
}

/* Something of this name is there: is it the node that the entry describes? */
static bool same_node(int dir, const char *name, const struct entry *e)
{
	struct stat st;
	mode_t type = e->type == '3' ? S_IFCHR : e->type == '4' ? S_IFBLK : e->type == '5' ? S_IFDIR : 0;

	if (!type || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (st.st_mode & S_IFMT) != type)
		return false;
	return e->type == '5' || st.st_rdev == e->rdev;
}

static int make_node(int dir, const char *name, const struct entry *e, struct gzip *z, int top)
{
	if (e->type != '5' && !same_node(dir, name, e))
		unlinkat(dir, name, 0);
	switch (e->type) {
	case '0': {
		autoclose int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		return fd < 0 ? fail(errno, "make %s", e->path) : read_content(z, fd, e);
	}
	case '1': {
		char link[PATH_MAX], *last;
		snprintf(link, sizeof link, "%s", e->link);
		if (check_path(link) < 0)
			return -EBADMSG;
		autoclose int from = open_parent(top, link, &last);
		if (from < 0)
			return from;
		return linkat(from, last, dir, name, 0) < 0 ? fail(errno, "link %s to %s", e->path, e->link) : 0;
	}
	case '2': return symlinkat(e->link, dir, name) < 0 ? fail(errno, "make the link %s", e->path) : 0;
	case '5': return mkdirat(dir, name, 0700) < 0 && errno != EEXIST ? fail(errno, "make the directory %s", e->path) : 0;
	case '3':
	case '4':
	case '6': {
		mode_t type = e->type == '3' ? S_IFCHR : e->type == '4' ? S_IFBLK : S_IFIFO;
		return mknodat(dir, name, type | 0600, e->rdev) < 0 && errno != EEXIST ? fail(errno, "make the node %s", e->path) : 0;
	}
	default: return fail_text(ENOTSUP, "the archive has an entry of unknown type '%c': %s", e->type, e->path);
	}
}

static int set_attributes(int dir, const char *name, const struct entry *e)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = e->mtime } };
	const char *at = *name ? name : ".";

	if (e->type == '1')
		return 0;
	if (fchownat(dir, at, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(errno, "set the owner of %s", e->path);
	if (e->type != '2' && fchmodat(dir, at, e->mode, 0) < 0)
		return fail(errno, "set the mode of %s", e->path);
	int r = e->type == '0' || e->type == '5' ? xattrs_apply(&e->xattrs, dir, name, e->path) : 0;
	utimensat(dir, at, times, AT_SYMLINK_NOFOLLOW);
	return r;
}

/* A mount covers it: what is below stays as it is. */
static bool is_place(int dir, const char *name)
{
	struct stat up, st;

	return fstat(dir, &up) == 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev != up.st_dev;
}

static int unpack(struct gzip *z, int top, struct entry *e)
{
	char *last;
	int r = check_path(e->path);

	if (r < 0)
		return r;
	autoclose int dir = open_parent(top, e->path, &last);
	if (dir < 0)
		return dir;
	if (!strcmp(last, "."))
		last += 1;
	if (*last && !e->size && is_place(dir, last))
		return 0;
	r = *last ? make_node(dir, last, e, z, top) : 0;
	return r < 0 ? r : set_attributes(dir, last, e);
}

/* Records of a pax header that matter; all others are ignored, as the standard has it for unknown ones. */
static int read_pax(struct gzip *z, uint64_t size, struct entry *e)
{
	if (size > PAX_MAX)
		return fail_text(EBADMSG, "the archive has a pax header of %" PRIu64 " bytes", size);
	autofree char *text = mem_zalloc(size + BLOCK + 1);
	int r = gzip_read(z, text, (size_t)((size + BLOCK - 1) / BLOCK * BLOCK));
	if (r < 0)
		return r;
	for (char *at = text, *end = text + size; at < end;) {
		char *key;
		unsigned long len = strtoul(at, &key, 10);
		if (len < 5 || len > (size_t)(end - at) || *key != ' ' || at[len - 1] != '\n')
			return fail_text(EBADMSG, "the archive has a malformed pax header");
		at[len - 1] = 0;
		key++;
		if (str_starts(key, "path="))
			e->pax_path = snprintf(e->path, sizeof e->path, "%s", key + 5) < (int)sizeof e->path;
		else if (str_starts(key, XATTR_KEY))
			xattrs_add(&e->xattrs, key, (size_t)(at + len - 1 - key));
		else if (str_starts(key, "linkpath="))
			e->pax_link = snprintf(e->link, sizeof e->link, "%s", key + 9) < (int)sizeof e->link;
		else if (str_starts(key, "size="))
			e->pax_size = parse_u64(key + 5, 10, &e->size) == 0;
		at += len;
	}
	return 0;
}

static void decode(const struct header *h, struct entry *e)
{
	if (!e->pax_path)
		snprintf(e->path, sizeof e->path, "%.*s%s%.*s", (int)sizeof h->prefix, h->prefix, h->prefix[0] ? "/" : "", (int)sizeof h->name,
			 h->name);
	if (!e->pax_link)
		snprintf(e->link, sizeof e->link, "%.*s", (int)sizeof h->link, h->link);
	if (!e->pax_size)
		e->size = get_number(h->size, sizeof h->size);
	e->type = h->type ? h->type : '0';
	e->mode = (mode_t)get_number(h->mode, sizeof h->mode) & 07777;
	e->uid = (uid_t)get_number(h->uid, sizeof h->uid);
	e->gid = (gid_t)get_number(h->gid, sizeof h->gid);
	e->mtime = (time_t)get_number(h->mtime, sizeof h->mtime);
	e->rdev = makedev((unsigned)get_number(h->major, sizeof h->major), (unsigned)get_number(h->minor, sizeof h->minor));
}

int tar_read(int in, int dir)
{
	autofree struct gzip *z = mem_alloc(sizeof *z);
	autofree struct entry *e = mem_zalloc(sizeof *e);
	struct header h;
	int r = gzip_open(z, in);

	while (r >= 0) {
		r = gzip_read(z, &h, sizeof h);
		if (r < 0 || !h.name[0])
			break;
		if (memcmp(h.magic, "ustar", 5) != 0) {
			r = fail_text(EBADMSG, "the archive has a header that is not a tar's");
			break;
		}
		if (h.type == 'x') {
			r = read_pax(z, get_number(h.size, sizeof h.size), e);
			continue;
		}
		decode(&h, e);
		r = h.type == 'g' ? skip(z, e->size) : unpack(z, dir, e);
		e->pax_path = e->pax_link = e->pax_size = false;
		xattrs_clear(&e->xattrs);
	}
	xattrs_clear(&e->xattrs);
	if (r >= 0)
		r = gzip_finish(z);
	gzip_close(z);
	return r;
}
