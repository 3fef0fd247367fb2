/* SPDX-License-Identifier: Apache-2.0 */
/* Pages into image files: pagemap-ID lists runs of pages, pages-N has their content, one after another.
 *
 * Content is read into a buffer and goes with pwrite(2) to its place in the pages file, by several threads when there is much of it
 * (pool.c has the numbers). Pages of zeroes are not looked for: pages that were only read have no content (scan.c), and the rest was
 * written by the program.
 *
 * Where there is a disk, the file has all its blocks before the first write: ext4 lets two threads write into one file only within its
 * size (1 GiB in 100 ms instead of 190). And the disk begins while pages still come, if the caller has no better use for the processors
 * meanwhile, as the checkpoint is not whole before all is there.
 *
 * Content comes before the pagemap, as a task that runs may have dropped pages meanwhile (source.c). Those are taken out again: the
 * pages behind them move up in the file, as the format has no room for holes. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "mem/sink.h"
#include "model/tree.h"
#include "pagemap.pb-c.h"

#define PAGE UINT64_C(4096)
#define EARLY (UINT64_C(4) << 20)           /* what is handed to the disk at once */
#define RESERVED_FROM (UINT64_C(1) << 20)

/* Pieces that follow each other in the file, read in one way: one write. */
struct chunk {
	size_t first, n;
	uint64_t size, offset;       /* in the pages file */
	bool sole;
};

struct files_sink {
	struct page_sink base;
	struct image_dir *images;
	struct pool *pool;
	uint32_t next_id;            /* of a pages file */
	/* The pagemap that is open: */
	enum image_kind kind;
	uint64_t id;
	const struct page_source *from;
	struct page_runs runs;
	ARRAY(struct page_piece) pieces;
	ARRAY(struct chunk) chunks;
	uint64_t size;
	int out;
	pthread_mutex_t lock;        /* of gone */
	ARRAY(struct range) gone;
};

static int files_open(struct page_sink *base, enum image_kind kind, uint64_t id, const struct page_source *from)
{
	struct files_sink *s = (struct files_sink *)base;

	s->kind = kind;
	s->id = id;
	s->from = from;
	s->size = 0;
	s->runs.list.n = s->pieces.n = s->chunks.n = s->gone.n = 0;
	return 0;
}

/* How much is written at once: at first little, as a small task should not pay for bringing in a large buffer. */
static uint64_t chunk_limit(const struct files_sink *s)
{
	return s->size < POOL_BUFFER ? POOL_SMALL : POOL_BUFFER / 4;
}

static int files_add(struct page_sink *base, const struct page_run *run)
{
	struct files_sink *s = (struct files_sink *)base;
	uint64_t address = run->start, size = run->flags & PAGEMAP_PRESENT ? run->end - run->start : 0;
	bool sole = size && source_is_sole(s->from, run->start, run->end);

	array_push(&s->runs.list) = *run;
	while (size) {
		struct chunk *c = s->chunks.n ? &s->chunks.data[s->chunks.n - 1] : NULL;
		if (!c || c->sole != sole || c->n == PIECES_MAX || c->size >= chunk_limit(s)) {
			c = &array_push(&s->chunks);
			*c = (struct chunk){ .first = s->pieces.n, .offset = s->size, .sole = sole };
		}
		uint64_t room = chunk_limit(s) - c->size, part = size < room ? size : room;
		array_push(&s->pieces) = (struct page_piece){ address, part };
		c->n++;
		c->size += part;
		s->size += part;
		address += part;
		size -= part;
	}
	return 0;
}

/* --- content --- */

static void keep_gone(struct files_sink *s, struct ranges *gone)
{
	if (!gone->list.n)
		return;
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < gone->list.n; i++)
		array_push(&s->gone) = gone->list.data[i];
	pthread_mutex_unlock(&s->lock);
	array_free(&gone->list);
}

/* All up to the last full stretch: one that is on its way already costs nothing. */
static void write_early(const struct files_sink *s, const struct chunk *c)
{
	uint64_t end = (c->offset + c->size) / EARLY * EARLY;

	if (s->images->write_early && !s->images->in_memory && end > c->offset)
		sync_file_range(s->out, (off_t)(end - EARLY), EARLY, SYNC_FILE_RANGE_WRITE);
}

static int save_chunk(void *arg, size_t i, void *buffer)
{
	struct files_sink *s = arg;
	const struct chunk *c = &s->chunks.data[i];
	struct ranges gone = { 0 };
	int r = source_read(s->from, &s->pieces.data[c->first], c->n, c->sole, buffer, &gone);

	keep_gone(s, &gone);
	if (r < 0)
		return r;
	r = fd_pwrite_all(s->out, buffer, c->size, c->offset);
	write_early(s, c);
	return r < 0 ? fail(-r, "%s: write its pages image", s->from->what) : 0;
}

/* --- what has vanished meanwhile --- */

static int compare_ranges(const void *a, const void *b)
{
	uint64_t x = ((const struct range *)a)->start, y = ((const struct range *)b)->start;

	return (x > y) - (x < y);
}

/* Moves content up in the file. */
static int move_up(const struct files_sink *s, uint64_t from, uint64_t to, uint64_t size)
{
	autofree char *buffer = mem_alloc(POOL_SMALL);

	for (uint64_t n; size && from != to; size -= n, from += n, to += n) {
		n = size < POOL_SMALL ? size : POOL_SMALL;
		int r = fd_pread_all(s->out, buffer, n, from);
		if (r == 0)
			r = fd_pwrite_all(s->out, buffer, n, to);
		if (r < 0)
			return fail(-r, "%s: close gaps in its pages image", s->from->what);
	}
	return 0;
}

/* A run without what is gone; *from and *to are where its content is and where it goes. */
static int keep_run(struct files_sink *s, const struct page_run *run, size_t *next, uint64_t *from, uint64_t *to, struct page_runs *kept)
{
	uint64_t at = run->start;
	int r = 0;

	while (r == 0 && at < run->end) {
		const struct range *g = *next < s->gone.n ? &s->gone.data[*next] : NULL;
		uint64_t end = g && g->start < run->end ? g->start : run->end, behind = g && g->start < run->end ? g->end : run->end;
		if (end > at) {
			array_push(&kept->list) = (struct page_run){ at, end, run->flags };
			r = move_up(s, *from, *to, end - at);
			*to += end - at;
		}
		*next += g && g->start < run->end;
		*from += behind - at;
		at = behind;
	}
	return r;
}

static int drop_gone(struct files_sink *s)
{
	struct page_runs kept = { 0 };
	uint64_t from = 0, to = 0;
	size_t next = 0;
	int r = 0;

	qsort(s->gone.data, s->gone.n, sizeof *s->gone.data, compare_ranges);
	for (size_t i = 0; r == 0 && i < s->runs.list.n; i++) {
		const struct page_run *run = &s->runs.list.data[i];
		if (run->flags & PAGEMAP_PRESENT)
			r = keep_run(s, run, &next, &from, &to, &kept);
		else
			array_push(&kept.list) = *run;
	}
	array_free(&s->runs.list);
	s->runs = kept;
	if (r == 0 && ftruncate(s->out, (off_t)to) < 0)
		return fail(errno, "%s: shorten its pages image", s->from->what);
	return r;
}

/* --- the end of a pagemap --- */

static int write_pagemap(struct files_sink *s, uint32_t pages_id)
{
	auto_image struct image *i = NULL;
	PagemapHead head = PAGEMAP_HEAD__INIT;
	int r = image_create(s->images, s->kind, s->id, &i);

	head.pages_id = pages_id;
	if (r == 0)
		r = image_write_message(i, &head);
	for (size_t k = 0; r == 0 && k < s->runs.list.n; k++) {
		const struct page_run *run = &s->runs.list.data[k];
		PagemapEntry e = PAGEMAP_ENTRY__INIT;
		e.vaddr = run->start;
		e.has_nr_pages = e.has_flags = true;
		e.nr_pages = (run->end - run->start) / PAGE;
		e.flags = run->flags;
		r = image_write_message(i, &e);
	}
	return r < 0 ? r : image_close(&i);
}

static int files_close(struct page_sink *base, struct ranges *gone)
{
	struct files_sink *s = (struct files_sink *)base;
	uint32_t pages_id = s->next_id++;
	char name[32];

	snprintf(name, sizeof name, "pages-%" PRIu32 ".img", pages_id);
	autoclose int out = image_create_raw(s->images, name);
	if (out < 0)
		return out;
	s->out = out;
	if (s->size >= RESERVED_FROM && !s->images->in_memory)
		(void)!fallocate(out, 0, 0, (off_t)s->size);   /* if it cannot be: the writes will tell */
	int r = pool_run(s->pool, s->chunks.n, s->size, save_chunk, s);
	if (r == 0 && s->gone.n)
		r = drop_gone(s);
	for (size_t i = 0; gone && i < s->gone.n; i++)
		ranges_add(gone, s->gone.data[i].start, s->gone.data[i].end);
	return r < 0 ? r : write_pagemap(s, pages_id);
}

static int files_finish(struct page_sink *base)
{
	(void)base;
	return 0;
}

static void files_free(struct page_sink *base)
{
	struct files_sink *s = (struct files_sink *)base;

	array_free(&s->runs.list);
	array_free(&s->pieces);
	array_free(&s->chunks);
	array_free(&s->gone);
	free(s);
}

static const struct page_sink_ops files_ops = { files_open, files_add, files_close, files_finish, files_free };

struct page_sink *sink_files(struct image_dir *images, struct pool *pool, uint32_t first_id)
{
	struct files_sink *s = mem_zalloc(sizeof *s);

	s->base.ops = &files_ops;
	s->images = images;
	s->pool = pool;
	s->next_id = first_id;
	s->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	return &s->base;
}

int sink_put(struct page_sink *s, enum image_kind kind, uint64_t id, const struct page_source *from, const struct page_runs *runs,
	     struct ranges *gone)
{
	int r = s->ops->open(s, kind, id, from);

	for (size_t i = 0; r == 0 && i < runs->list.n; i++)
		r = s->ops->add(s, &runs->list.data[i]);
	return r < 0 ? r : s->ops->close(s, gone);
}
