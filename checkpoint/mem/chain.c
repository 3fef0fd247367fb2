/* SPDX-License-Identifier: Apache-2.0 */
/* Reading pagemap images, and the checkpoints before them: a run flagged "parent" has its content in the images behind the symbolic link
 * `parent`, in the pagemap of the same name there, which may say "parent" again.
 *
 * 1. All of it is resolved and checked before anything is made: every page of every run is in some pages file, which is long enough.
 * 2. Images are untrusted, and so is the link: what it leads to is a directory or an error, and is only read. The chain is bounded, and
 *    one that comes back to itself is refused.
 * 3. Only what the newest pagemap lists is looked for behind it: pages that a program has given up since do not come back.
 * 4. An inventory that names the checkpoint it was made from is believed: another one behind the link is refused. CRIU writes no such
 *    name, and a page server no inventory; then invariant 1 is what there is.
 *
 * 5. A pages file that is not there is no error if there is a pager that knows a page server: the content is there then.
 * 6. Runs of a lazy dump that are flagged "lazy" alone have their content with the source's page server. They are runs of a file that is
 *    none (remote); who restores them needs a pager that knows the source (check.c). An earlier checkpoint that has such runs is no help any more. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "image/run_id.h"
#include "mem/chain.h"
#include "mem/restoring.h"
#include "mem/scan.h"
#include "pagemap.pb-c.h"

#define CHAIN_MAX 256

struct pending {
	ARRAY(struct range) list;
};

/* --- directories --- */

static int same_directory(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int parent_open(struct restore *r, size_t depth, const char *who, struct image_dir **out)
{
	struct memory *m = memory(r);
	const struct image_dir *below = depth > 1 ? m->chain.data[depth - 2] : r->images;
	autofree char *path = str_printf("%s/parent", below->path);
	autoclose int fd = openat(below->fd, "parent", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		int e = fail(errno, "%s: some of its pages are in an earlier checkpoint: open %s", who, path);
		fail_hint("copy the images of all rounds, each with its link `parent`");
		return e;
	}
	for (size_t i = 0; i < depth; i++)
		if (same_directory(fd, i ? m->chain.data[i - 1]->fd : r->images->fd))
			return fail_text(ELOOP, "%s leads back to the images it belongs to", path);
	if (depth > CHAIN_MAX)
		return fail_text(ELOOP, "%s: more than %d checkpoints depend on each other", path, CHAIN_MAX);
	return image_dir_adopt(take_fd(&fd), path, out);
}

int chain_directory(struct restore *r, size_t depth, const char *who, struct image_dir **out)
{
	struct memory *m = memory(r);

	while (m->chain.n < depth) {
		struct image_dir *d, *below = m->chain.n ? m->chain.data[m->chain.n - 1] : r->images;
		int e = parent_open(r, m->chain.n + 1, who, &d);
		if (e < 0)
			return e;
		array_push(&m->chain) = d;
		e = image_check_parent(below, d);
		if (e < 0)
			return e;
	}
	*out = depth ? m->chain.data[depth - 1] : r->images;
	return 0;
}

/* --- one pagemap --- */

static int run_refuse(const char *who, const PagemapEntry *e, const char *reason)
{
	return fail_text(EINVAL, "%s: pagemap image: pages at %" PRIx64 ": %s", who, e->vaddr, reason);
}

static int run_add(struct level *l, const char *who, const PagemapEntry *e)
{
	uint64_t pages = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
	uint32_t flags = e->has_flags ? e->flags : e->has_in_parent && e->in_parent ? PAGEMAP_PARENT : PAGEMAP_PRESENT;
	struct level_run *last = l->runs.n ? &l->runs.data[l->runs.n - 1] : NULL;
	bool parent = flags & PAGEMAP_PARENT;

	if (e->vaddr % PAGE || !pages || pages > TASK_END / PAGE || e->vaddr > TASK_END - pages * PAGE)
		return run_refuse(who, e, "the address or the number of pages is impossible");
	if (last && e->vaddr < last->end)
		return run_refuse(who, e, "overlaps what comes before, or is out of order");
	if (flags & ~(uint32_t)(PAGEMAP_PARENT | PAGEMAP_LAZY | PAGEMAP_PRESENT))
		return run_refuse(who, e, "unknown flags");
	if (parent && (flags & PAGEMAP_PRESENT))
		return run_refuse(who, e, "the content is both here and in a parent checkpoint");
	bool remote = flags == PAGEMAP_LAZY;
	if (!flags)
		return run_refuse(who, e, "the content is nowhere");
	if (last && last->end == e->vaddr && last->parent == parent && last->remote == remote)
		last->end += pages * PAGE;
	else
		array_push(&l->runs) = (struct level_run){ e->vaddr, e->vaddr + pages * PAGE, l->size, parent, remote };
	l->size += parent || remote ? 0 : pages * PAGE;
	return 0;
}

int level_read(struct level *l, enum image_kind kind, uint64_t id, const char *who)
{
	auto_image struct image *i = NULL;
	PagemapHead *head;
	struct arena arena = { 0 };
	int e = image_open(l->dir, kind, id, &i);

	if (e < 0)
		return e;
	e = image_read_message(i, &pagemap_head__descriptor, &arena, &head);
	if (e == 0)
		e = fail_text(EINVAL, "%s: %s is empty", who, image_name(i));
	if (e > 0)
		l->id = head->pages_id;
	while (e > 0) {
		PagemapEntry *entry;
		e = image_read_message(i, &pagemap_entry__descriptor, &arena, &entry);
		if (e <= 0)
			break;
		int bad = run_add(l, who, entry);
		e = bad < 0 ? bad : 1;
	}
	arena_done(&arena);
	return e;
}

static int pages_file_open(const struct image_file *f)
{
	char name[32];

	snprintf(name, sizeof name, "pages-%" PRIu32 ".img", f->id);
	int fd = image_open_raw(f->dir, name);
	return fd == -ENOENT ? fail(ENOENT, "open image %s/%s", f->dir->path, name) : fd;
}

static int check_pages_file(const struct restore *r, enum image_kind kind, struct image_file *f, const char *who)
{
	struct stat st;
	size_t mark = err_mark();
	autoclose int fd = pages_file_open(f);

	if (fd == -ENOENT && kind == IMG_PAGEMAP && r->o->lazy_pages && (!r->o->own_pager || r->o->page_server)) {
		err_rewind(mark);
		f->remote = true;
		return 0;
	}
	if (fd < 0)
		return fd == -ENOENT ? -EINVAL : fd;   /* explained; ENOENT is the pagemap's */
	if (fstat(fd, &st) < 0)
		return fail(errno, "%s: look at its pages image", who);
	if ((uint64_t)st.st_size < f->size)
		return fail_text(EINVAL, "%s: %s/pages-%" PRIu32 ".img has %" PRIu64 " bytes, %" PRIu64 " are needed: it is cut short", who,
				 f->dir->path, f->id, (uint64_t)st.st_size, f->size);
	return 0;
}

/* --- resolving --- */

/* The file that stands for the source's page server. */
static uint32_t remote_file(struct image_pages *p)
{
	for (size_t i = 0; i < p->files.n; i++)
		if (p->files.data[i].remote)
			return (uint32_t)i;
	array_push(&p->files) = (struct image_file){ .fd = -1, .remote = true };
	return (uint32_t)(p->files.n - 1);
}

/* [start, end) of a level's run is wanted: content that is here, or that is to be looked for one step behind. */
static void take(struct image_pages *p, uint32_t file, const struct level_run *run, uint64_t start, uint64_t end, struct pending *next)
{
	if (run->parent)
		array_push(&next->list) = (struct range){ start, end };
	else if (run->remote)
		array_push(&p->runs) = (struct image_run){ start, end, start, remote_file(p) };
	else
		array_push(&p->runs) = (struct image_run){ start, end, run->offset + (start - run->start), file };
}

/* All of the wanted ranges is taken from a level. */
static int resolve(struct image_pages *p, const struct level *l, uint32_t file, const struct pending *want, const char *who,
		   struct pending *next)
{
	size_t k = 0;

	for (size_t i = 0; i < want->list.n; i++) {
		const struct range *w = &want->list.data[i];
		uint64_t at = w->start;
		while (k < l->runs.n && l->runs.data[k].end <= at)
			k++;
		for (size_t n = k; n < l->runs.n && at < w->end && l->runs.data[n].start <= at; n++) {
			uint64_t end = l->runs.data[n].end < w->end ? l->runs.data[n].end : w->end;
			if (file && l->runs.data[n].remote)
				return fail_text(EINVAL, "%s: its pages at %" PRIx64 " are in %s, a lazy dump, which has no content", who, at,
						 l->dir->path);
			take(p, file, &l->runs.data[n], at, end, next);
			at = end;
		}
		if (at < w->end)
			return fail_text(EINVAL, "%s: pages at %" PRIx64 " should be in %s, but are not: these are not the images it was saved upon",
					 who, at, l->dir->path);
	}
	return 0;
}

static int compare_runs(const void *a, const void *b)
{
	uint64_t x = ((const struct image_run *)a)->start, y = ((const struct image_run *)b)->start;

	return (x > y) - (x < y);
}

static void sort_runs(struct image_pages *p)
{
	size_t n = 0;

	if (p->runs.n)
		qsort(p->runs.data, p->runs.n, sizeof *p->runs.data, compare_runs);
	for (size_t i = 0; i < p->runs.n; i++) {
		const struct image_run *r = &p->runs.data[i];
		struct image_run *last = n ? &p->runs.data[n - 1] : NULL;
		if (last && last->end == r->start && last->file == r->file && last->offset + (last->end - last->start) == r->offset)
			last->end = r->end;
		else
			p->runs.data[n++] = *r;
	}
	p->runs.n = n;
	for (size_t i = 0; i < n; i++)
		p->size += p->runs.data[i].end - p->runs.data[i].start;
}

static int read_level(struct restore *r, size_t depth, enum image_kind kind, uint64_t id, const char *who, struct image_pages *p,
		      const struct pending *want, struct pending *next)
{
	struct level l = { 0 };
	int e = chain_directory(r, depth, who, &l.dir);

	if (e == -ENOENT)
		return -EINVAL;   /* explained */
	if (e == 0)
		e = level_read(&l, kind, id, who);
	if (e == -ENOENT && depth)
		return fail_text(EINVAL, "%s: it has pages in %s, where there is no pagemap of it", who, l.dir->path);
	if (e == 0) {
		struct image_file f = { .dir = l.dir, .id = l.id, .size = l.size, .fd = -1 };
		struct pending all = { 0 };
		for (size_t i = 0; !depth && i < l.runs.n; i++)
			array_push(&all.list) = (struct range){ l.runs.data[i].start, l.runs.data[i].end };
		uint32_t file = (uint32_t)p->files.n;
		array_push(&p->files) = f;
		e = resolve(p, &l, file, depth ? want : &all, who, next);
		if (e == 0 && f.size)
			e = check_pages_file(r, kind, &p->files.data[file], who);
		array_free(&all.list);
	}
	array_free(&l.runs);
	return e;
}

int pages_read(struct restore *r, enum image_kind kind, uint64_t id, const char *who, struct image_pages *p)
{
	struct pending want = { 0 };
	size_t depth = 0;
	int e;

	do {
		struct pending next = { 0 };
		e = read_level(r, depth++, kind, id, who, p, &want, &next);
		array_free(&want.list);
		want = next;
	} while (e == 0 && want.list.n);
	array_free(&want.list);
	if (e == 0)
		sort_runs(p);
	return e;
}

/* --- content --- */

size_t image_run_at(const struct image_pages *p, uint64_t address)
{
	size_t low = 0, high = p->runs.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (p->runs.data[middle].end > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

uint64_t pages_remote(const struct image_pages *p)
{
	uint64_t size = 0;

	for (size_t i = 0; i < p->runs.n; i++)
		if (p->files.data[p->runs.data[i].file].remote)
			size += p->runs.data[i].end - p->runs.data[i].start;
	return size;
}

/* To free pages in it. */
static int make_writable(struct image_file *f)
{
	int fd = open(FD_PATH(f->fd), O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return fail(errno, "--auto-dedup: open %s/pages-%" PRIu32 ".img for writing", f->dir->path, f->id);
	fd_close(&f->fd);
	f->fd = fd;
	f->writable = true;
	return 0;
}

int pages_open(struct image_pages *p)
{
	for (size_t i = 0; i < p->runs.n; i++) {
		struct image_file *f = &p->files.data[p->runs.data[i].file];
		if (f->fd < 0 && !f->remote)
			f->fd = pages_file_open(f);
		if (f->fd < 0 && !f->remote)
			return f->fd;
		if (f->fd >= 0 && p->consume && !f->writable) {
			int e = make_writable(f);
			if (e < 0)
				return e;
		}
	}
	return 0;
}

void pages_map(struct image_pages *p)
{
	for (size_t i = 0; i < p->files.n; i++) {
		struct image_file *f = &p->files.data[i];
		struct statfs fs;
		if (f->fd < 0 || f->map || !f->size || fstatfs(f->fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
			continue;
		void *map = mmap(NULL, f->size, PROT_READ, MAP_SHARED, f->fd, 0);
		f->map = map == MAP_FAILED ? NULL : map;
	}
}

static void unmap(struct image_file *f)
{
	if (f->map)
		munmap((void *)(uintptr_t)f->map, f->size);
	f->map = NULL;
}

void pages_close(struct image_pages *p)
{
	for (size_t i = 0; i < p->files.n; i++) {
		unmap(&p->files.data[i]);
		if (!p->files.data[i].fetched)
			fd_close(&p->files.data[i].fd);
		p->files.data[i].writable = false;
	}
}

void pages_done(struct image_pages *p)
{
	for (size_t i = 0; i < p->files.n; i++) {
		unmap(&p->files.data[i]);
		fd_close(&p->files.data[i].fd);
	}
	array_free(&p->files);
	array_free(&p->runs);
}
