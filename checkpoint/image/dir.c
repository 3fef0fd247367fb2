/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of images.
 *
 * 1. While a dump runs, every file has a temporary name; nothing that an earlier dump left in the directory is touched.
 * 2. Commit: the old inventory goes first (from here on the old checkpoint is void), then the files are renamed, the inventory last.
 *    A directory with an inventory is therefore always a whole checkpoint.
 * 3. A dump that fails removes its temporary files and nothing else; a directory it made itself goes too. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "image/stream.h"

static char *temporary_name(const char *name)
{
	return str_printf(".%s.part", name);
}

static int open_directory(const char *path, struct image_dir **out)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return fail(errno, "open the images directory %s", path);
	struct image_dir *d = mem_zalloc(sizeof *d);
	d->fd = fd;
	d->path = str_dup(path);
	*out = d;
	return 0;
}

int image_dir_create(const char *path, struct image_dir **out)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail(errno, "make the images directory %s", path);
	int r = open_directory(path, out);
	if (r < 0)
		return r;
	(*out)->writing = true;
	return 0;
}

int image_dir_open(const char *path, struct image_dir **out)
{
	return open_directory(path, out);
}

int image_create_raw(struct image_dir *d, const char *name)
{
	autofree char *temporary = temporary_name(name);

	if (!d->writing)
		return fail(EROFS, "make image %s", name);
	int fd = openat(d->fd, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fail(errno, "make image %s/%s", d->path, name);
	for (size_t i = 0; i < d->written.n; i++)
		if (!strcmp(d->written.data[i], name))
			return fd;
	array_push(&d->written) = str_dup(name);
	return fd;
}

int image_open_raw(struct image_dir *d, const char *name)
{
	int fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : fail(errno, "open image %s/%s", d->path, name);
	return fd;
}

static int sync_files(struct image_dir *d)
{
	for (size_t i = 0; i < d->written.n; i++) {
		autofree char *temporary = temporary_name(d->written.data[i]);
		autoclose int fd = openat(d->fd, temporary, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fdatasync(fd) < 0)
			return fail(errno, "write image %s/%s to disk", d->path, d->written.data[i]);
	}
	return 0;
}

static int rename_file(struct image_dir *d, const char *name)
{
	autofree char *temporary = temporary_name(name);

	if (renameat(d->fd, temporary, d->fd, name) < 0)
		return fail(errno, "put image %s/%s into place", d->path, name);
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
	for (size_t i = 0; i < d->written.n; i++) {
		if (strcmp(d->written.data[i], inventory) == 0)
			continue;
		r = rename_file(d, d->written.data[i]);
		if (r < 0)
			return r;
	}
	if (sync && fsync(d->fd) < 0)
		return fail(errno, "write the images directory %s to disk", d->path);
	r = rename_file(d, inventory);
	if (r < 0)
		return r;
	if (sync)
		fsync(d->fd);
	d->writing = false;
	return 0;
}

void image_dir_free(struct image_dir *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->written.n; i++) {
		autofree char *temporary = temporary_name(d->written.data[i]);
		if (d->writing && !d->keep_partial)
			unlinkat(d->fd, temporary, 0);
		free(d->written.data[i]);
	}
	array_free(&d->written);
	fd_close(&d->fd);
	free(d->path);
	free(d);
}
