/* SPDX-License-Identifier: Apache-2.0 */
/* Saving a task's private pages: which runs of pages there are, by mapping, and what the image says of each. Where they go is the sink's
 * (sink.h). */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/log.h"
#include "base/stage.h"
#include "mem/dumping.h"
#include "mem/lazy.h"
#include "mem/mem.h"

#define PAGE UINT64_C(4096)

static uint32_t run_flags(const VmaEntry *v, bool lazy_dump)
{
	if (lazy_dump && vma_is_lazy(v))
		return PAGEMAP_LAZY;
	bool lazy = (v->status & VMA_ANON_PRIVATE) && !(v->status & VMA_VDSO) && !(v->flags & (MAP_LOCKED | MAP_HUGETLB));

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

/* A stretch of pages of a mapping: what is unchanged is left to the parent. *next is the first of the clean ranges that may matter. */
static void run_split(struct page_runs *runs, uint64_t start, uint64_t end, uint32_t flags, const struct ranges *clean, size_t *next)
{
	while (*next < clean->list.n && clean->list.data[*next].end <= start)
		++*next;
	for (size_t i = *next; i < clean->list.n && clean->list.data[i].start < end; i++) {
		const struct range *c = &clean->list.data[i];
		uint64_t from = c->start > start ? c->start : start, to = c->end < end ? c->end : end;
		if (from > start)
			run_add(runs, start, from, flags);
		run_add(runs, from, to, PAGEMAP_PARENT);
		start = to;
	}
	if (start < end)
		run_add(runs, start, end, flags);
}

/* The runs are the pages found in the task's private mappings, and the whole vdso, by which a restore tells the kernel. */
static void runs_of(const MmEntry *m, const struct task_pages *pages, bool lazy, struct page_runs *runs)
{
	const struct range *p = pages->found.pages.list.data, *end = p + pages->found.pages.list.n;
	size_t next = 0;

	for (size_t i = 0; i < m->n_vmas; i++) {
		const VmaEntry *v = m->vmas[i];
		if (v->status & VMA_GUARD)
			break;
		if (v->status & VMA_VDSO)
			run_add(runs, v->start, v->end, run_flags(v, false));
		while (p < end && p->end <= v->start)
			p++;
		for (const struct range *k = p; k < end && k->start < v->end; k++)
			run_split(runs, k->start > v->start ? k->start : v->start, k->end < v->end ? k->end : v->end, run_flags(v, lazy),
				  &pages->found.clean, &next);
	}
}

const struct task_pages *task_pages_of(struct dump *d, const struct task *t)
{
	struct shmem_table *table = shmem_table(d);

	for (size_t i = table->tasks.n; i-- > 0;)
		if (table->tasks.data[i]->task == t)
			return table->tasks.data[i];
	return NULL;
}

/* Of runs whose flags are the value where the mask is. */
static uint64_t run_pages(const struct page_runs *runs, uint32_t mask, uint32_t value)
{
	uint64_t n = 0;

	for (size_t i = 0; i < runs->list.n; i++)
		if ((runs->list.data[i].flags & mask) == value)
			n += (runs->list.data[i].end - runs->list.data[i].start) / PAGE;
	return n;
}

static uint64_t range_pages(const struct ranges *r)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->list.n; i++)
		n += (r->list.data[i].end - r->list.data[i].start) / PAGE;
	return n;
}

int task_save(struct dump *d, const struct task *t, const MmEntry *m, const struct task_pages *pages, const struct page_source *from)
{
	struct page_runs runs = { 0 };
	struct ranges gone = { 0 };
	uint64_t begin = clock_us();

	runs_of(m, pages, d->o->lazy_pages, &runs);
	int e = sink_put(d->sink, IMG_PAGEMAP, (uint64_t)t->pid, from, &runs, &gone);
	uint64_t written = run_pages(&runs, PAGEMAP_PRESENT, PAGEMAP_PRESENT) - range_pages(&gone), skipped = run_pages(&runs, PAGEMAP_PARENT, PAGEMAP_PARENT);
	d->stats.pages_written += written;
	d->stats.pages_skipped_parent += skipped;
	d->stats.pages_lazy += run_pages(&runs, PAGEMAP_LAZY | PAGEMAP_PRESENT, PAGEMAP_LAZY);
	d->stats.memwrite_us += clock_us() - begin;
	log_debug("task %d: %" PRIu64 " pages in %zu runs, %" PRIu64 " of them in the parent, %" PRIu64 " vanished", t->pid, written + skipped,
		  runs.list.n, skipped, range_pages(&gone));
	array_free(&runs.list);
	array_free(&gone.list);
	return e;
}

int mm_save_pages(struct dump *d, struct task *t, struct remote *r)
{
	const struct task_pages *pages = task_pages_of(d, t);
	char what[32];

	if (!pages || !t->mm)
		return fail_text(EINVAL, "task %d: its mappings were not collected", t->pid);
	snprintf(what, sizeof what, "task %d", t->pid);
	struct page_source from = { .fd = remote_mem_fd(r), .pid = t->host_pid, .sole = &pages->sole, .what = what };
	return task_save(d, t, t->mm, pages, &from);
}
