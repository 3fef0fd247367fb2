/* SPDX-License-Identifier: Apache-2.0 */
/* Saving pages: pagemap-ID lists runs of pages, pages-N has their content, one after another.
 *
 * Content is read into a buffer and goes with pwrite(2) to its place in the pages file, by several threads when there is much of it
 * (pool.c has the numbers). It is read in one of two ways:
 *   process_vm_readv    anonymous mappings none of whose pages another address space has: many runs with one call, and no copy but one
 *   /proc/PID/mem       all others. process_vm_readv pins pages, and the kernel takes a page out of copy-on-write sharing before it is
 *                       pinned: a dump would leave the tasks of a program that runs on with a copy each of what they shared. It also
 *                       reads what page protections keep from the first way.
 *
 * Pages of zeroes are not looked for: pages that were only read have no content (scan.c), and the rest was written by the program. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stage.h"
#include "mem/dumping.h"
#include "mem/mem.h"
#include "pagemap.pb-c.h"

#define PAGE UINT64_C(4096)
#define PIECES_MAX 256   /* in one chunk */

/* A part of a run, and where it goes in the pages file. */
struct piece {
	uint64_t address, size, offset;
};
/* Pieces that follow each other in the file, read in one way: one write. */
struct chunk {
	size_t first, n;
	uint64_t size;
	bool sole;
};

struct save {
	const struct page_source *from;
	int out;
	ARRAY(struct piece) pieces;
	ARRAY(struct chunk) chunks;
	uint64_t size;
};

/* How much is written at once: at first little, as a small task should not pay for bringing in a large buffer. */
static uint64_t chunk_limit(const struct save *s)
{
	return s->size < POOL_BUFFER ? POOL_SMALL : POOL_BUFFER / 4;
}

static bool is_sole(const struct ranges *r, uint64_t start, uint64_t end)
{
	size_t low = 0, high = r ? r->list.n : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (r->list.data[middle].end <= start)
			low = middle + 1;
		else
			high = middle;
	}
	return r && low < r->list.n && r->list.data[low].start <= start && r->list.data[low].end >= end;
}

static void save_add(struct save *s, uint64_t address, uint64_t size)
{
	bool sole = is_sole(s->from->sole, address, address + size);

	while (size) {
		struct chunk *c = s->chunks.n ? &s->chunks.data[s->chunks.n - 1] : NULL;
		if (!c || c->sole != sole || c->n == PIECES_MAX || c->size >= chunk_limit(s)) {
			c = &array_push(&s->chunks);
			c->first = s->pieces.n;
			c->sole = sole;
		}
		uint64_t room = chunk_limit(s) - c->size, part = size < room ? size : room;
		array_push(&s->pieces) = (struct piece){ address, part, s->size };
		c->n++;
		c->size += part;
		s->size += part;
		address += part;
		size -= part;
	}
}

/* Whether all of it could be read in this way. */
static bool read_sole(const struct save *s, const struct chunk *c, char *buffer)
{
	struct iovec remote[PIECES_MAX], local = { buffer, c->size };
	const struct piece *p = &s->pieces.data[c->first];

	for (size_t i = 0; i < c->n; i++)
		remote[i] = (struct iovec){ (void *)(uintptr_t)p[i].address, p[i].size };
	return process_vm_readv(s->from->pid, &local, 1, remote, c->n, 0) == (ssize_t)c->size;
}

static int read_chunk(const struct save *s, const struct chunk *c, char *buffer)
{
	const struct piece *p = &s->pieces.data[c->first];

	if (c->sole && read_sole(s, c, buffer))
		return 0;
	for (size_t i = 0; i < c->n; i++, p++) {
		int r = fd_pread_all(s->from->fd, buffer, p->size, p->address);
		if (r < 0)
			return fail(-r, "%s: read %" PRIu64 " bytes of memory at %" PRIx64, s->from->what, p->size, p->address);
		buffer += p->size;
	}
	return 0;
}

static int save_chunk(void *arg, size_t i, void *buffer)
{
	struct save *s = arg;
	const struct chunk *c = &s->chunks.data[i];
	int r = read_chunk(s, c, buffer);

	if (r < 0)
		return r;
	r = fd_pwrite_all(s->out, buffer, c->size, s->pieces.data[c->first].offset);
	return r < 0 ? fail(-r, "%s: write its pages image", s->from->what) : 0;
}

static int write_pagemap(struct dump *d, enum image_kind kind, uint64_t id, uint32_t pages_id, const struct page_runs *runs)
{
	auto_image struct image *i = NULL;
	PagemapHead head = PAGEMAP_HEAD__INIT;
	int r = image_create(d->images, kind, id, &i);

	head.pages_id = pages_id;
	if (r == 0)
		r = image_write_message(i, &head);
	for (size_t k = 0; r == 0 && k < runs->list.n; k++) {
		const struct page_run *run = &runs->list.data[k];
		PagemapEntry e = PAGEMAP_ENTRY__INIT;
		e.vaddr = run->start;
		e.has_nr_pages = e.has_flags = true;
		e.nr_pages = (run->end - run->start) / PAGE;
		e.flags = run->flags;
		r = image_write_message(i, &e);
	}
	return r < 0 ? r : image_close(&i);
}

int pages_save(struct dump *d, enum image_kind kind, uint64_t id, const struct page_source *from, const struct page_runs *runs)
{
	struct save s = { .from = from };
	uint32_t pages_id = d->next_pages_id++;
	char name[32];

	int r = write_pagemap(d, kind, id, pages_id, runs);
	if (r < 0)
		return r;
	snprintf(name, sizeof name, "pages-%" PRIu32 ".img", pages_id);
	autoclose int out = image_create_raw(d->images, name);
	if (out < 0)
		return out;
	s.out = out;
	for (size_t i = 0; i < runs->list.n; i++)
		save_add(&s, runs->list.data[i].start, runs->list.data[i].end - runs->list.data[i].start);
	r = pool_run(&shmem_table(d)->pool, s.chunks.n, s.size, save_chunk, &s);
	array_free(&s.pieces);
	array_free(&s.chunks);
	return r;
}

/* --- a task's private pages --- */

static uint32_t run_flags(const VmaEntry *v)
{
	bool lazy = (v->status & VMA_ANON_PRIVATE) && !(v->status & VMA_VDSO) && !(v->flags & MAP_LOCKED);

	return PAGEMAP_PRESENT | (lazy ? PAGEMAP_LAZY : 0);
}

static void run_add(struct page_runs *runs, uint64_t start, uint64_t end, uint32_t flags)
{
	struct page_run *last = runs->list.n ? &runs->list.data[runs->list.n - 1] : NULL;

	if (last && last->end == start && last->flags == flags)
		last->end = end;
	else
		array_push(&runs->list) = (struct page_run){ start, end, flags };
}

/* The runs are the pages found in the task's private mappings, and the whole vdso, by which a restore tells the kernel. */
static void runs_of(const MmEntry *m, const struct ranges *pages, struct page_runs *runs)
{
	const struct range *p = pages->list.data, *end = p + pages->list.n;

	for (size_t i = 0; i < m->n_vmas; i++) {
		const VmaEntry *v = m->vmas[i];
		if (v->status & VMA_GUARD)
			break;
		if (v->status & VMA_VDSO)
			run_add(runs, v->start, v->end, run_flags(v));
		while (p < end && p->end <= v->start)
			p++;
		for (const struct range *k = p; k < end && k->start < v->end; k++)
			run_add(runs, k->start > v->start ? k->start : v->start, k->end < v->end ? k->end : v->end, run_flags(v));
	}
}

static const struct task_pages *pages_of(struct dump *d, const struct task *t)
{
	struct shmem_table *table = shmem_table(d);

	for (size_t i = table->tasks.n; i-- > 0;)
		if (table->tasks.data[i]->task == t)
			return table->tasks.data[i];
	return NULL;
}

static uint64_t run_pages(const struct page_runs *runs)
{
	uint64_t n = 0;

	for (size_t i = 0; i < runs->list.n; i++)
		n += (runs->list.data[i].end - runs->list.data[i].start) / PAGE;
	return n;
}

int mm_save_pages(struct dump *d, struct task *t, struct remote *r)
{
	const struct task_pages *pages = pages_of(d, t);
	struct page_runs runs = { 0 };
	char what[32];

	if (!pages || !t->mm)
		return fail_text(EINVAL, "task %d: its mappings were not collected", t->pid);
	uint64_t begin = clock_us();
	runs_of(t->mm, &pages->pages, &runs);
	snprintf(what, sizeof what, "task %d", t->pid);
	struct page_source from = { .fd = remote_mem_fd(r), .pid = t->host_pid, .sole = &pages->sole, .what = what };
	int e = pages_save(d, IMG_PAGEMAP, (uint64_t)t->pid, &from, &runs);
	d->stats.pages_written += run_pages(&runs);
	d->stats.memwrite_us += clock_us() - begin;
	log_debug("task %d: %" PRIu64 " pages in %zu runs", t->pid, run_pages(&runs), runs.list.n);
	array_free(&runs.list);
	return e;
}
