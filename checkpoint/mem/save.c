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
#include "mem/mem.h"

#define PAGE UINT64_C(4096)

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
	int e = sink_put(d->sink, IMG_PAGEMAP, (uint64_t)t->pid, &from, &runs, NULL);
	d->stats.pages_written += run_pages(&runs);
	d->stats.memwrite_us += clock_us() - begin;
	log_debug("task %d: %" PRIu64 " pages in %zu runs", t->pid, run_pages(&runs), runs.list.n);
	array_free(&runs.list);
	return e;
}
