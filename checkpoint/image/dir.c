/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of images.
 *
 * 1. While a dump runs, every file has a temporary name; nothing that an earlier dump left in the directory is touched.
 * 2. Commit: the old inventory goes first (from here on the old checkpoint is void), then the files are renamed, the inventory last.
 *    A directory with an inventory is therefore always a whole checkpoint.
 * 3. A dump that fails removes its temporary files and nothing else; a directory it made itself goes too. One that was killed leaves
 *    them: the next dump into the directory clears them away. A lock says that none is at work. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "image/stream.h"

static char *temporary_name(const struct image_dir *d, const char *name)
{
	return str_printf(".%s.%s", name, *d->suffix ? d->suffix : "part");
}

int image_dir_adopt(int fd, const char *path, struct image_dir **out)
{
	struct image_dir *d = mem_zalloc(sizeof *d);

	d->fd = fd;
	d->path = str_dup(path);
	*out = d;
	return 0;
}

static int open_directory(const char *path, struct image_dir **out)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? fail(errno, "open the images directory %s", path) : image_dir_adopt(fd, path, out);
}

int image_dir_create(const char *path, struct image_dir **out)
{
	bool made = mkdir(path, 0700) == 0;
	if (!made && errno != EEXIST)
		return fail(errno, "make the images directory %s", path);
	int r = open_directory(path, out);
	if (r < 0)
		return r;
	(*out)->writing = true;
	(*out)->made = made;
	return 0;
}

int image_dir_open(const char *path, struct image_dir **out)
{
	return open_directory(path, out);
}

/* The names once more, by hash (FNV-1a), at most half full: a tree can have tens of thousands of connections, each with an image. The place
 * of a name in it, or where it would be; places count from 1, 0 is free. */
static uint32_t *place_of(const struct image_dir *d, const char *name)
{
	uint32_t h = 2166136261u;

	for (const char *s = name; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	for (h &= (uint32_t)d->n_places - 1; d->places[h] && strcmp(d->written.data[d->places[h] - 1], name) != 0;)
		h = (h + 1) & ((uint32_t)d->n_places - 1);
	return &d->places[h];
}

static void grow_places(struct image_dir *d)
{
	d->n_places = d->n_places ? 2 * d->n_places : 64;
	free(d->places);
	d->places = mem_zalloc(d->n_places * sizeof *d->places);
	for (size_t i = 0; i < d->written.n; i++)
		*place_of(d, d->written.data[i]) = (uint32_t)i + 1;
}

bool image_dir_has(const struct image_dir *d, const char *name)
{
	return d->n_places && *place_of(d, name);
}

static void note_written(struct image_dir *d, const char *name)
{
	if (image_dir_has(d, name))
		return;
	if (2 * d->written.n >= d->n_places)
		grow_places(d);
	array_push(&d->written) = str_dup(name);
	*place_of(d, name) = (uint32_t)d->written.n;
}

int image_create_raw(struct image_dir *d, const char *name)
{
	autofree char *temporary = temporary_name(d, name);

	if (!d->writing)
		return fail(EROFS, "make image %s", name);
	int fd = openat(d->fd, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fail(errno, "make image %s/%s", d->path, name);
	note_written(d, name);
	return fd;
}

int image_create_link(struct image_dir *d, const char *name, const char *target)
{
	autofree char *temporary = temporary_name(d, name);

	if (symlinkat(target, d->fd, temporary) < 0)
		return fail(errno, "make the link %s/%s to %s", d->path, name, target);
	note_written(d, name);
	return 0;
}

int image_open_raw(struct image_dir *d, const char *name)
{
	int fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : fail(errno, "open image %s/%s", d->path, name);
	return fd;
}

static int start_writing(int fd)
{
	sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);   /* not every file system has it: fdatasync() does it all */
	return 0;
}

static int each_written(struct image_dir *d, int (*fn)(int fd))
{
	for (size_t i = 0; i < d->written.n; i++) {
		autofree char *temporary = temporary_name(d, d->written.data[i]);
		autoclose int fd = openat(d->fd, temporary, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fn(fd) < 0)
			return fail(errno, "write image %s/%s to disk", d->path, d->written.data[i]);
	}
	return 0;
}

/* All files are on their way before the first is waited for: a journal is written once or twice, not for each. Memory has no disk. */
static int sync_files(struct image_dir *d)
{
	if (d->in_memory || d->unsynced)
		return 0;
	int r = each_written(d, start_writing);
	return r < 0 ? r : each_written(d, fdatasync);
}

static int rename_file(struct image_dir *d, const char *name)
{
	autofree char *temporary = temporary_name(d, name);

	if (renameat2(d->fd, temporary, d->fd, name, d->keep_old ? RENAME_NOREPLACE : 0) < 0)
		return fail(errno, "put image %s/%s into place", d->path, name);
	return 0;
}

/* Is it the name of an image of ours (or a pages file, or the link to the round before)? */
static bool is_image_name(const char *name)
{
	static const char *const raw[] = { "pages-", "ifaddr-", "route-", "route6-", "rule-", "rule6-", "neigh-", "fdb-", "nftables-", "iptables-",
					   "ip6tables-", "tmpfs-" };

	if (!strcmp(name, "parent"))
		return true;
	if (!str_ends(name, ".img"))
		return false;
	for (size_t i = 0; i < sizeof raw / sizeof *raw; i++)
		if (str_starts(name, raw[i]))
			return true;
	for (int k = 0; k < IMG_KINDS; k++) {
		const char *pattern = image_kinds[k].pattern;
		if (!strncmp(name, pattern, strcspn(pattern, "%")))
			return true;
	}
	return false;
}

static bool is_temporary_name(const char *name)
{
	size_t n = strlen(name);
	char image[NAME_MAX + 1];

	if (*name != '.' || !str_ends(name, ".part") || n - 6 >= sizeof image)
		return false;
	snprintf(image, sizeof image, "%.*s", (int)(n - 6), name + 1);
	return is_image_name(image);
}

static void remove_files(struct image_dir *d, bool (*wanted)(const struct image_dir *d, const char *name))
{
	DIR *dir = fdopendir(dup(d->fd));

	if (!dir)
		return;
	rewinddir(dir);
	for (struct dirent *e; (e = readdir(dir));)
		if (wanted(d, e->d_name))
			unlinkat(d->fd, e->d_name, 0);
	closedir(dir);
}

/* What an older checkpoint in the same directory left and this one does not have would be taken for a part of it. */
static bool is_stale(const struct image_dir *d, const char *name)
{
	if (d->pages_elsewhere && (str_starts(name, "pagemap-") || str_starts(name, "pages-") || !strcmp(name, "parent")))
		return false;
	return is_image_name(name) && !image_dir_has(d, name);
}

static bool is_abandoned(const struct image_dir *d, const char *name)
{
	(void)d;
	return is_temporary_name(name);
}

int image_dir_begin(struct image_dir *d)
{
	struct statfs fs;

	d->in_memory = fstatfs(d->fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
	if (flock(d->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return fail_text(EBUSY, "another dump is writing into the images directory %s", d->path);
	remove_files(d, is_abandoned);
	return 0;
}

int image_dir_commit(struct image_dir *d, bool sync)
{
	const char *inventory = image_kinds[IMG_INVENTORY].pattern;
	int r = sync ? sync_files(d) : 0;

	if (r < 0)
		return r;
	if (unlinkat(d->fd, inventory, 0) < 0 && errno != ENOENT)
		return fail(errno, "remove the old %s/%s", d->path, inventory);
	d->committing = true;
	remove_files(d, is_stale);
	for (size_t i = 0; i < d->written.n; i++) {
		if (strcmp(d->written.data[i], inventory) == 0)
			continue;
		r = rename_file(d, d->written.data[i]);
		if (r < 0)
			return r;
	}
	if (sync && !d->unsynced && fsync(d->fd) < 0)
		return fail(errno, "write the images directory %s to disk", d->path);
	r = rename_file(d, inventory);
	if (r < 0)
		return r;
	if (sync && !d->unsynced)
		fsync(d->fd);
	d->writing = false;
	return 0;
}

static void withdraw(struct image_dir *d, size_t n)
{
	while (n)
		unlinkat(d->fd, d->written.data[--n], 0);
}

int image_dir_publish(struct image_dir *d)
{
	for (size_t i = 0; i < d->written.n; i++) {
		int r = rename_file(d, d->written.data[i]);
		if (r < 0) {
			withdraw(d, i);
			return r;
		}
	}
	d->writing = false;
	return 0;
}

void image_dir_void(struct image_dir *d)
{
	unlinkat(d->fd, image_kinds[IMG_INVENTORY].pattern, 0);
	d->writing = d->committing = true;
}

void image_dir_withdraw(struct image_dir *d)
{
	withdraw(d, d->written.n);
}

void image_dir_free(struct image_dir *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->written.n; i++) {
		autofree char *temporary = temporary_name(d, d->written.data[i]);
		if (d->writing && !d->keep_partial)
			unlinkat(d->fd, temporary, 0);
		if (d->writing && d->committing)   /* a rename failed: those before it are no checkpoint */
			unlinkat(d->fd, d->written.data[i], 0);
		free(d->written.data[i]);
	}
	array_free(&d->written);
	free(d->places);
	fd_close(&d->fd);
	if (d->writing && d->made && !d->keep_partial)
		rmdir(d->path);
	free(d->path);
	free(d);
}
