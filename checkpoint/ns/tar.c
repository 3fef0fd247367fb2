/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of small trees (temporary file systems): ustar headers (POSIX.1-1988) with pax records (POSIX.1-2001) for names and sizes
 * that do not fit.
 *
 * Writing goes by descriptors from the top directory, so that nothing in the tree can lead it elsewhere. Sockets are left out: who
 * owns one makes it again. A file with several names is stored once and then as links.
 * Reading is from untrusted data: names are taken relative to the directory, with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS).
 *
 * Not handled: extended attributes; holes are stored as zeros and become holes again when unpacked. */
#define LOG_PREFIX "tar"
#include "ns/tar.h"

#include <dirent.h>
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

#define BLOCK 512
#define DEPTH_MAX 128

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2], uname[32],
		gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

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

/* --- writing --- */

struct link_seen {
	ino_t ino;
	char *name;
};

struct writer {
	struct gzip *z;
	struct arena arena;
	dev_t dev;
	bool places;
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

/* "LEN KEY=VALUE\n", LEN counting itself. */
static size_t pax_record(char *out, size_t room, const char *key, const char *value)
{
	size_t len = strlen(key) + strlen(value) + 3, digits = 1;

	while ((size_t)snprintf(NULL, 0, "%zu", len + digits) > digits)
		digits++;
	return (size_t)snprintf(out, room, "%zu %s=%s\n", len + digits, key, value);
}

static int put_pax(struct writer *w, const char *path, const char *link, uint64_t size)
{
	char records[2 * PATH_MAX + 128], number[32];
	struct header h = { .type = 'x' };
	size_t n = 0;

	if (strlen(path) >= sizeof h.name)
		n += pax_record(records + n, sizeof records - n, "path", path);
	if (link && strlen(link) >= sizeof h.link)
		n += pax_record(records + n, sizeof records - n, "linkpath", link);
	snprintf(number, sizeof number, "%" PRIu64, size);
	if (size >> 33)
		n += pax_record(records + n, sizeof records - n, "size", number);
	if (!n)
		return 0;
	snprintf(h.name, sizeof h.name, "pax");
	put_number(h.mode, sizeof h.mode, 0600);
	put_number(h.size, sizeof h.size, n);
	int r = put_header(w, &h);
	if (r >= 0)
		r = gzip_write(w->z, records, n);
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
	int r = put_entry(w, path, st, '0', NULL, (uint64_t)st->st_size);
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
	int r = st.st_dev == w->dev ? put_entry(w, path, &st, '5', NULL, 0) : 0;
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
	array_free(&w.links);
	arena_done(&w.arena);
	return r;
}

/* --- reading --- */

struct entry {
	char path[PATH_MAX], link[PATH_MAX], type;
	bool pax_path, pax_link, pax_size;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint64_t size;
	time_t mtime;
	dev_t rdev;
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
	if (path[0] == '/' || !strcmp(path, "..") || str_starts(path, "../") || strstr(path, "/../") || str_ends(path, "/.."))
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
	utimensat(dir, at, times, AT_SYMLINK_NOFOLLOW);
	return 0;
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
	if (size > 4 * PATH_MAX)
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
	}
	if (r >= 0)
		r = gzip_finish(z);
	gzip_close(z);
	return r;
}
