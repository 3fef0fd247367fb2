/* SPDX-License-Identifier: Apache-2.0 */
/* Ghosts: files that are open, mapped, or somebody's working directory, and whose last name is gone (link count 0).
 *
 * Dump: ghost-file-ID.img has owner, mode, times and contents of one inode, and each reg_file entry that is it gets an entry of
 * remap-fpath.img. Contents of 12 KiB and more are stored as chunks, so that holes stay holes (SEEK_DATA, SEEK_HOLE). A write-only
 * or O_PATH descriptor is opened again through /proc/self/fd, which works without a name.
 *
 * Restore: the first user makes the file as PATH.cr.ID.ghost and takes the name away at once; all users then open it through the
 * builder's /proc/self/fd, with their own flags. The file has a name for microseconds only: a restore that fails or is killed
 * leaves nothing. Directories that are missing on the way are made for that moment. What was made with O_TMPFILE is made so again, so
 * that it can still be given a name (linkat).
 *
 * Files that have a name still are link_remap.c's. Not handled: remaps of the kind PROCFS are refused. */
#include "files/ghost.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "files/link_remap.h"
#include "files/reg.h"
#include "ghost-file.pb-c.h"

#define GHOST_LIMIT (1u << 20)
#define CHUNKS_FROM 12288            /* smaller ones are stored as one piece */
#define PIECE (64u << 10)

void ghost_strip_suffix(char *path)
{
	char *at = strstr(path, ".cr.");

	for (char *next; at && (next = strstr(at + 1, ".cr."));)
		at = next;
	if (!at)
		return;
	size_t digits = strspn(at + 4, "0123456789abcdef");
	if (digits && digits <= 8 && strcmp(at + 4 + digits, ".ghost") == 0)
		*at = 0;
}

/* --- dump --- */

struct ghost {
	struct ghost *next;
	dev_t dev;
	ino_t ino;
	uint32_t id;
};

static int copy_range(struct image *i, int fd, off_t from, off_t size, const struct file_info *f)
{
	autofree char *piece = mem_alloc(PIECE);

	while (size > 0) {
		size_t n = size < PIECE ? (size_t)size : PIECE;
		int r = fd_pread_all(fd, piece, n, (uint64_t)from);
		if (r < 0)
			return fail(-r, FILE_FMT ": read the deleted file at offset %jd", FILE_ARG(f), (intmax_t)from);
		r = image_write_raw(i, piece, n);
		if (r < 0)
			return r;
		from += (off_t)n;
		size -= (off_t)n;
	}
	return 0;
}

static int copy_chunks(struct image *i, int fd, off_t size, const struct file_info *f)
{
	for (off_t at = 0; at < size;) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return 0;   /* a hole up to the end */
		off_t end = data < 0 ? data : lseek(fd, data, SEEK_HOLE);
		if (end < 0)
			return fail(errno, FILE_FMT ": find the data of the deleted file", FILE_ARG(f));
		end = end < size ? end : size;
		GhostChunkEntry chunk = GHOST_CHUNK_ENTRY__INIT;
		chunk.off = (uint64_t)data;
		chunk.len = (uint64_t)(end - data);
		int r = data < end ? image_write_message(i, &chunk) : 0;
		if (r >= 0 && data < end)
			r = copy_range(i, fd, data, end - data, f);
		if (r < 0)
			return r;
		at = end;
	}
	return 0;
}

/* A description of our own: the task's file position stays where it is. */
static int copy_contents(struct image *i, const struct file_info *f, bool chunks)
{
	autoclose int fd = open(FD_PATH(f->local), O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return fail(errno, FILE_FMT ": open the deleted file for reading", FILE_ARG(f));
	return chunks ? copy_chunks(i, fd, f->st.st_size, f) : copy_range(i, fd, 0, f->st.st_size, f);
}

static int check_size(const struct dump *d, const struct file_info *f)
{
	uint64_t limit = d->o->ghost_limit ? d->o->ghost_limit : GHOST_LIMIT;
	uint64_t stored = (uint64_t)f->st.st_blocks * 512;

	stored = stored < (uint64_t)f->st.st_size ? stored : (uint64_t)f->st.st_size;
	if (!S_ISREG(f->st.st_mode) || stored <= limit)
		return 0;
	fail_text(EFBIG, FILE_FMT ": the deleted file holds %" PRIu64 " bytes, more than the limit of %" PRIu64, FILE_ARG(f), stored, limit);
	fail_hint("deleted files are stored in the checkpoint up to --ghost-limit; give a larger one");
	return -EFBIG;
}

static Timeval *timeval_of(struct dump *d, const struct timespec *t)
{
	Timeval *v = ARENA_MESSAGE(d->arena, Timeval, TIMEVAL__INIT);

	v->tv_sec = (uint64_t)t->tv_sec;
	v->tv_usec = (uint64_t)t->tv_nsec / 1000;
	return v;
}

static int fill_link(struct dump *d, const struct file_info *f, GhostFileEntry *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(f->local, "", target, sizeof target - 1);

	if (n < 0)
		return fail(errno, FILE_FMT ": read the deleted link", FILE_ARG(f));
	target[n] = 0;
	e->symlnk_target = arena_str(d->arena, target);
	return 0;
}

static int fill_entry(struct dump *d, const struct file_info *f, GhostFileEntry *e)
{
	const struct stat *st = &f->st;

	e->uid = st->st_uid;
	e->gid = st->st_gid;
	e->mode = st->st_mode;
	e->has_dev = e->has_ino = true;
	e->dev = major(st->st_dev) << 20 | minor(st->st_dev);
	e->ino = st->st_ino;
	e->atim = timeval_of(d, &st->st_atim);
	e->mtim = timeval_of(d, &st->st_mtim);
	e->has_chunks = e->chunks = e->has_size = S_ISREG(st->st_mode) && st->st_size >= CHUNKS_FROM;
	e->size = e->has_size ? (uint64_t)st->st_size : 0;
	if (S_ISCHR(st->st_mode)) {
		e->has_rdev = true;
		e->rdev = major(st->st_rdev) << 8 | minor(st->st_rdev);
	}
	return S_ISLNK(st->st_mode) ? fill_link(d, f, e) : 0;
}

static int ghost_write(struct dump *d, const struct file_info *f, uint32_t id)
{
	auto_image struct image *i = NULL;
	GhostFileEntry e = GHOST_FILE_ENTRY__INIT;
	int r = check_size(d, f);

	if (r >= 0)
		r = fill_entry(d, f, &e);
	if (r >= 0)
		r = image_create(d->images, IMG_GHOST_FILE, id, &i);
	if (r >= 0)
		r = image_write(i, &e);
	if (r >= 0 && S_ISREG(f->st.st_mode))
		r = copy_contents(i, f, e.chunks);
	return r < 0 ? r : image_close(&i);
}

int remap_write(struct dump *d, uint32_t orig_id, uint32_t remap_id, RemapType type)
{
	RemapFilePathEntry e = REMAP_FILE_PATH_ENTRY__INIT;
	struct image *i;
	int r = dump_image(d, IMG_REMAP_FPATH, &i);

	e.orig_id = orig_id;
	e.remap_id = remap_id;
	e.has_remap_type = true;
	e.remap_type = type;
	return r < 0 ? r : image_write(i, &e);
}

int ghost_dump(struct dump *d, const struct file_info *f, uint32_t orig_id)
{
	struct ghost **known = (struct ghost **)file_state(d, STATE_GHOST), *g;
	int r = 0;

	for (g = *known; g && (g->dev != f->st.st_dev || g->ino != f->st.st_ino); g = g->next)
		;
	if (!g) {
		g = arena_new(d->arena, struct ghost);
		*g = (struct ghost){ *known, f->st.st_dev, f->st.st_ino, *known ? (*known)->id + 1 : 1 };
		*known = g;
		r = ghost_write(d, f, g->id);
	}
	return r < 0 ? r : remap_write(d, orig_id, g->id, REMAP_TYPE__GHOST);
}

/* --- restore --- */

struct made {
	struct made *next;
	uint32_t id;
	int fd;
};

struct ghosts {
	ARRAY(RemapFilePathEntry *) remaps;
	struct made *made;
};

static int ghosts_load(struct restore *r, struct ghosts **out)
{
	struct ghosts **state = (struct ghosts **)file_restore_state(r, STATE_GHOST);
	auto_image struct image *i = NULL;
	RemapFilePathEntry *e;

	*out = *state;
	if (*out)
		return 0;
	*out = *state = mem_zalloc(sizeof **out);
	int ret = image_open(r->images, IMG_REMAP_FPATH, 0, &i);
	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return ret;
	while ((ret = image_read(i, r->arena, &e)) > 0)
		array_push(&(*out)->remaps) = e;
	return ret;
}

static int fill_chunks(struct image *i, struct arena *arena, int fd, const GhostFileEntry *g)
{
	GhostChunkEntry *c;
	int r;

	while ((r = image_read_message(i, &ghost_chunk_entry__descriptor, arena, &c)) > 0) {
		if (c->off > g->size || c->len > g->size - c->off)
			return fail_text(EBADMSG, "image %s: a chunk beyond the end of the file", image_name(i));
		if (lseek(fd, (off_t)c->off, SEEK_SET) < 0)
			return fail(errno, "seek in the file restored from %s", image_name(i));
		r = image_copy_raw(i, fd, c->len);
		if (r < 0)
			return r;
	}
	if (r == 0 && ftruncate(fd, (off_t)g->size) < 0)
		return fail(errno, "set the size of the file restored from %s", image_name(i));
	return r;
}

/* The bytes up to the end of the image; reg_file says how many they are. */
static int fill(struct image *i, struct arena *arena, int fd, const GhostFileEntry *g, const RegFileEntry *e)
{
	if (g->has_chunks && g->chunks)
		return fill_chunks(i, arena, fd, g);
	return image_copy_raw(i, fd, e->has_size ? e->size : 0);
}

struct parents {
	ARRAY(char *) made;
};

static int parents_make(const char *path, struct parents *p)
{
	char dir[PATH_MAX];

	for (const char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		snprintf(dir, sizeof dir, "%.*s", (int)(at - path), path);
		if (mkdir(dir, 0700) == 0)
			array_push(&p->made) = str_dup(dir);
		else if (errno != EEXIST)
			return fail(errno, "make directory %s for a deleted file", dir);
	}
	return 0;
}

static void parents_remove(struct parents *p)
{
	while (p->made.n) {
		char *dir = p->made.data[--p->made.n];
		rmdir(dir);
		free(dir);
	}
	array_free(&p->made);
}

/* Makes the node and opens it; the name is left for the caller to remove. */
static int make_node(const char *path, const GhostFileEntry *g)
{
	mode_t type = g->mode & S_IFMT;
	int r = 0;

	if (type == S_IFREG)
		return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (type == S_IFDIR)
		r = mkdir(path, 0700);
	else if (type == S_IFLNK && g->symlnk_target)
		r = symlink(g->symlnk_target, path);
	else if (type == S_IFIFO || type == S_IFCHR)
		r = mknod(path, type | 0600, makedev(g->rdev >> 8, g->rdev & 0xff));
	else {
		errno = ENOTSUP;
		return -1;
	}
	return r < 0 ? r : open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

static int make_named(const RegFileEntry *e, const GhostFileEntry *g, uint32_t id)
{
	char path[PATH_MAX];
	struct parents p = { 0 };

	if (snprintf(path, sizeof path, "%s.cr.%x.ghost", e->name, id) >= PATH_MAX)
		return fail(ENAMETOOLONG, "make the deleted file %s", e->name);
	int r = 0, fd = make_node(path, g);
	if (fd < 0 && errno == ENOENT) {
		r = parents_make(path, &p);
		fd = r < 0 ? -1 : make_node(path, g);
	}
	if (r >= 0 && fd < 0 && errno == EEXIST) {   /* left by somebody who was killed */
		remove(path);
		fd = make_node(path, g);
	}
	if (r >= 0 && fd < 0)
		r = fail(errno, "make the deleted file %s again as %s", e->name, path);
	if (fd >= 0 && remove(path) < 0)
		r = fail(errno, "take away the name of the deleted file %s", path);
	parents_remove(&p);
	if (r < 0)
		fd_close(&fd);
	return r < 0 ? r : fd;
}

/* Made with O_TMPFILE: by its flags, or by the name that the kernel gives such a file (the flag is lost after a first restore). */
static bool was_unnamed(const RegFileEntry *e)
{
	const char *slash = strrchr(e->name, '/');

	if ((e->flags & O_TMPFILE) == O_TMPFILE)
		return true;
	return slash && slash[1] == '#' && slash[2] && slash[2 + strspn(slash + 2, "0123456789")] == 0;
}

static int make_unnamed(const RegFileEntry *e)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(e->name, '/');

	snprintf(dir, sizeof dir, "%.*s", slash && slash != e->name ? (int)(slash - e->name) : 1, e->name);
	return open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static int set_attributes(const struct restore *r, int fd, const GhostFileEntry *g, const RegFileEntry *e)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };

	if (fchownat(fd, "", g->uid, g->gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return fail(errno, "give the deleted file %s to user %u, group %u", e->name, g->uid, g->gid);
	if (S_ISLNK(g->mode))
		return 0;
	autoclose int open_fd = S_ISREG(g->mode) ? -1 : file_reopen(r, fd, O_CLOEXEC | (S_ISDIR(g->mode) ? O_RDONLY : O_RDWR | O_NONBLOCK));
	int target = S_ISREG(g->mode) ? fd : open_fd;
	if (target < 0 || fchmod(target, g->mode & 07777) < 0)
		return fail(target < 0 ? -target : errno, "set the mode of the deleted file %s", e->name);
	if (g->atim)
		times[0] = (struct timespec){ (time_t)g->atim->tv_sec, (long)g->atim->tv_usec * 1000 };
	if (g->mtim)
		times[1] = (struct timespec){ (time_t)g->mtim->tv_sec, (long)g->mtim->tv_usec * 1000 };
	if (futimens(target, times) < 0)
		return fail(errno, "set the times of the deleted file %s", e->name);
	return 0;
}

static int make(struct restore *r, const RegFileEntry *e, uint32_t id)
{
	auto_image struct image *i = NULL;
	GhostFileEntry *g;
	int ret = image_open(r->images, IMG_GHOST_FILE, id, &i);

	if (ret == -ENOENT)
		return fail(ENOENT, "open image %s/ghost-file-%x.img", r->images->path, id);
	if (ret >= 0)
		ret = image_read(i, r->arena, &g);
	if (ret == 0)
		return fail_text(ENODATA, "image %s is empty", image_name(i));
	if (ret < 0)
		return ret;
	autoclose int fd = S_ISREG(g->mode) && was_unnamed(e) ? make_unnamed(e) : -1;
	if (fd < 0)
		fd = make_named(e, g, id);
	if (fd < 0)
		return fd;
	if (S_ISREG(g->mode))
		ret = fill(i, r->arena, fd, g, e);
	if (ret >= 0)
		ret = set_attributes(r, fd, g, e);
	return ret < 0 ? ret : take_fd(&fd);
}

static const RemapFilePathEntry *find_remap(const struct ghosts *g, uint32_t orig_id)
{
	for (size_t i = 0; i < g->remaps.n; i++)
		if (g->remaps.data[i]->orig_id == orig_id)
			return g->remaps.data[i];
	return NULL;
}

int ghost_open(struct restore *r, const RegFileEntry *e, uint32_t flags, int *fd)
{
	struct ghosts *g;
	int ret = ghosts_load(r, &g);

	if (ret < 0)
		return ret;
	const RemapFilePathEntry *remap = find_remap(g, e->id);
	if (!remap)
		return 0;
	if (remap->has_remap_type && remap->remap_type == REMAP_TYPE__LINKED) {
		*fd = link_remap_open(r, e, remap->remap_id, flags);
		return *fd < 0 ? *fd : 1;
	}
	if (remap->has_remap_type && remap->remap_type != REMAP_TYPE__GHOST)
		return fail_text(ENOTSUP, "file %s was stored under another name (remap type %d), which is not supported", e->name,
				 (int)remap->remap_type);
	struct made *m = g->made;
	while (m && m->id != remap->remap_id)
		m = m->next;
	if (!m) {
		int made = make(r, e, remap->remap_id);
		if (made < 0)
			return made;
		m = arena_new(r->arena, struct made);
		*m = (struct made){ g->made, remap->remap_id, made };
		g->made = m;
	}
	*fd = file_reopen(r, m->fd, flags);
	return *fd < 0 ? fail(-*fd, "open the deleted file %s again", e->name) : 1;
}

int ghost_finish(struct restore *r, const RegFileEntry *e)
{
	struct ghosts *g;
	int ret = ghosts_load(r, &g);
	const RemapFilePathEntry *remap = ret < 0 ? NULL : find_remap(g, e->id);

	return remap && remap->has_remap_type && remap->remap_type == REMAP_TYPE__LINKED ? link_remap_finish(r, e, remap->remap_id) : ret;
}
