/* SPDX-License-Identifier: Apache-2.0 */
/* The round before, at a dump: the directory named by --prev-images-dir, to which the link `parent` will lead. Its pagemaps tell which
 * pages can be had from there: only those may be left out of this round. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "mem/track.h"
#include "pages/listed.h"

int parent_begin(struct dump *d)
{
	const char *path = d->o->prev_images_dir;
	struct stat own, other, inventory;

	if (!path)
		return 0;
	if (*path == '/')
		log_warn("--prev-images-dir %s: an absolute path; the images cannot be moved without it", path);
	autoclose int fd = openat(d->images->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		int r = fail(errno, "open the images of the previous round, %s (--prev-images-dir)", path);
		fail_hint("the path is relative to the images directory, %s", d->images->path);
		return r;
	}
	if (fstat(d->images->fd, &own) == 0 && fstat(fd, &other) == 0 && own.st_dev == other.st_dev && own.st_ino == other.st_ino)
		return fail_text(EINVAL, "--prev-images-dir %s: that is the images directory itself", path);
	if (fstatat(fd, "inventory.img", &inventory, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(errno, "--prev-images-dir %s holds no finished round: open its inventory.img", path);
	return image_dir_adopt(take_fd(&fd), path, &d->parent);
}

/* With a page server the pages are not here, and neither are the earlier ones: the link is the server's to make. */
int parent_link(struct dump *d)
{
	return d->parent && !d->o->page_server ? image_create_link(d->images, "parent", d->o->prev_images_dir) : 0;
}

static void add_listed(void *arg, uint64_t start, uint64_t end)
{
	ranges_add(arg, start, end);
}

/* A round whose pages went to a page server left a list of what it sent. */
static int read_pagemap(struct image_dir *dir, enum image_kind kind, uint64_t id, struct ranges *out)
{
	int r = pagemap_listed(dir, IMG_SENT, id, add_listed, out);

	return r == -ENOENT ? pagemap_listed(dir, kind, id, add_listed, out) : r;
}

int parent_limit(struct dump *d, enum image_kind kind, uint64_t id, struct ranges *pages)
{
	struct ranges there = { 0 }, both = { 0 };
	int r = pages->list.n ? read_pagemap(d->parent, kind, id, &there) : 0;

	if (r == -ENOENT)
		r = 0;
	for (size_t i = 0, k = 0; i < pages->list.n && k < there.list.n;) {
		const struct range *a = &pages->list.data[i], *b = &there.list.data[k];
		uint64_t start = a->start > b->start ? a->start : b->start, end = a->end < b->end ? a->end : b->end;
		ranges_add(&both, start, end);
		if (a->end < b->end)
			i++;
		else
			k++;
	}
	array_free(&there.list);
	array_free(&pages->list);
	*pages = both;
	return r;
}
