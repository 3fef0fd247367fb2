/* SPDX-License-Identifier: Apache-2.0 */
/* Freeing in earlier rounds what a later one has saved again: holes are punched into their pages files, whose sizes and pagemaps stay as
 * they are. The chain as a whole restores as before; a checkpoint in the middle of it does so no longer.
 *
 * Nothing is freed unless the chain belongs together (image/run_id.c) and every pagemap of it can be read. The newer images must be whole
 * and on the disk by then. */
#define LOG_PREFIX "dedup"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "mem/chain.h"
#include "mem/mem.h"
#include "mem/restoring.h"
#include "mem/scan.h"

struct name {
	enum image_kind kind;
	uint64_t id;
};
struct names {
	ARRAY(struct name) list;
};

static void name_add(struct names *n, const char *file)
{
	static const enum image_kind kinds[] = { IMG_PAGEMAP_SHMEM, IMG_PAGEMAP };

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const char *pattern = image_kinds[kinds[i]].pattern;
		size_t before = strcspn(pattern, "%");
		char *end;
		if (strncmp(file, pattern, before) != 0 || file[before] < '0' || file[before] > '9')
			continue;
		uint64_t id = strtoull(file + before, &end, 10);
		if (!strcmp(end, ".img"))
			array_push(&n->list) = (struct name){ kinds[i], id };
	}
}

static int find_pagemaps(struct image_dir *images, struct names *out)
{
	DIR *dir = fdopendir(dup(images->fd));

	if (!dir)
		return fail(errno, "list the images in %s", images->path);
	rewinddir(dir);
	for (struct dirent *e; (e = readdir(dir));)
		name_add(out, e->d_name);
	closedir(dir);
	return 0;
}

static int punch(const struct level *l, const struct range *r, const struct level_run *run, int fd)
{
	uint64_t start = r->start > run->start ? r->start : run->start, end = r->end < run->end ? r->end : run->end;
	int64_t offset = (int64_t)(run->offset + (start - run->start));

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, (off_t)(end - start)) < 0)
		return fail(errno, "free pages in %s/pages-%" PRIu32 ".img", l->dir->path, l->id);
	return 0;
}

/* What a level has of the ranges goes; *pages is how much. */
static int punch_all(const struct level *l, const struct ranges *again, uint64_t *pages)
{
	char name[32];

	snprintf(name, sizeof name, "pages-%" PRIu32 ".img", l->id);
	autoclose int fd = openat(l->dir->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return fail(errno, "open %s/%s", l->dir->path, name);
	for (size_t i = 0, k = 0; i < again->list.n && k < l->runs.n;) {
		const struct range *a = &again->list.data[i];
		const struct level_run *run = &l->runs.data[k];
		if (a->start < run->end && run->start < a->end && !run->parent && !run->remote) {
			int r = punch(l, a, run, fd);
			if (r < 0)
				return r;
			*pages += ((a->end < run->end ? a->end : run->end) - (a->start > run->start ? a->start : run->start)) / PAGE;
		}
		if (a->end < run->end)
			i++;
		else
			k++;
	}
	return 0;
}

static void add_present(const struct level *l, struct ranges *to)
{
	for (size_t i = 0; i < l->runs.n; i++)
		if (!l->runs.data[i].parent && !l->runs.data[i].remote)
			ranges_add(to, l->runs.data[i].start, l->runs.data[i].end);
}

/* The union of two. */
static void merge(struct ranges *all, const struct level *l)
{
	struct ranges more = { 0 }, both = { 0 };

	add_present(l, &more);
	for (size_t i = 0, k = 0; i < all->list.n || k < more.list.n;) {
		bool first = k == more.list.n || (i < all->list.n && all->list.data[i].start < more.list.data[k].start);
		const struct range *r = first ? &all->list.data[i++] : &more.list.data[k++];
		ranges_add(&both, r->start, r->end);
	}
	array_free(&more.list);
	array_free(&all->list);
	*all = both;
}

static bool has_parent(const struct image_dir *d)
{
	struct stat st;

	return fstatat(d->fd, "parent", &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* One pagemap through the chain: what any later round has, the earlier ones need not have. whole: rounds behind the first as well. */
static int dedup_pagemap(struct restore *r, const struct name *n, bool whole, uint64_t *pages)
{
	struct ranges saved = { 0 };
	struct image_dir *dir = r->images;
	int e = 0;

	for (size_t depth = 0; e >= 0 && (depth == 0 || has_parent(dir)); depth++) {
		struct level l = { 0 };
		e = chain_directory(r, depth, "dedup", &dir);
		l.dir = dir;
		if (e >= 0)
			e = level_read(&l, n->kind, n->id, "dedup");
		if (e == 0 && depth && saved.list.n && l.size)
			e = punch_all(&l, &saved, pages);
		if (e == 0 && (whole || depth == 0))
			merge(&saved, &l);
		array_free(&l.runs);
		e = e == -ENOENT && !err_count() ? 0 : e;   /* a process of some rounds only */
	}
	array_free(&saved.list);
	return e;
}

int mem_dedup(struct image_dir *images, bool whole)
{
	struct restore r = { .images = images };
	struct names names = { 0 };
	uint64_t pages = 0;
	int e = has_parent(images) ? find_pagemaps(images, &names) : 0;

	for (size_t i = 0; e >= 0 && i < names.list.n; i++)
		e = dedup_pagemap(&r, &names.list.data[i], whole, &pages);
	log_info("%" PRIu64 " pages freed in earlier rounds", pages);
	array_free(&names.list);
	shmem_done(&r);
	return e < 0 ? e : 0;
}
