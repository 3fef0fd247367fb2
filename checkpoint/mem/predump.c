/* SPDX-License-Identifier: Apache-2.0 */
/* A round of memory while the tasks run: their private anonymous pages.
 *
 * The order is: mappings, then the tracker's word on each page (which protects it again in the same step), then content. What a task
 * writes after that step is read as it happens to be, and counts as written at the next round. So do mappings that came after the
 * first step, and whatever vanished in between is left out (source.c). Nothing of a round is restored by itself.
 *
 * The list of mappings is not of one moment: the kernel tells some at a time, and one that grows in between (the heap) is listed twice, from its
 * old start both times. The second is cut to what is new.
 *
 * What is not tracked would be saved again by the last dump in any case, and is not saved before: written pages of private file
 * mappings, shared memory. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/stage.h"
#include "mem/dumping.h"
#include "mem/maps.h"
#include "mem/mem.h"

/* Ordinary private anonymous memory. */
static bool is_wanted(const struct smaps_vma *v)
{
	const uint32_t other = SMAPS_HUGETLB | SMAPS_SHADOW_STACK | SMAPS_DEVICE;

	if (v->shared || v->inode || v->flags & other || v->name[0] == '/')
		return false;
	return v->name[0] != '[' || !strcmp(v->name, "[heap]") || str_starts(v->name, "[stack") || str_starts(v->name, "[anon");
}

static void add_mapping(struct dump *d, struct task_pages *p, MmEntry *m, const struct smaps_vma *v)
{
	VmaEntry *e = m->vmas[m->n_vmas++] = arena_new(d->arena, VmaEntry);

	vma_entry__init(e);
	e->start = v->start;
	e->end = v->end;
	e->status = VMA_REGULAR | VMA_ANON_PRIVATE;
	e->flags = MAP_PRIVATE | MAP_ANONYMOUS | (v->flags & SMAPS_LOCKED ? MAP_LOCKED : 0);
	if (!v->mapped_elsewhere)
		ranges_add(&p->sole, v->start, v->end);
	array_push(&p->areas.list) = (struct scan_area){
		.start = v->start, .end = v->end, .anonymous = true, .registered = v->flags & SMAPS_UFFD, .mergeable = v->madv >> MADV_MERGEABLE & 1,
	};
	d->stats.pages_scanned += (v->end - v->start) / 4096;
}

static int read_mappings(struct dump *d, const struct task *t, struct task_pages *p, MmEntry *m)
{
	autofree char *text = NULL;
	struct smaps maps = { 0 };
	int r = maps_read(d, t, &text, &maps);

	if (r == -EINVAL)
		fail_text(EINVAL, "task %d: its smaps file is not in a form that is known", t->pid);
	else if (r < 0)
		return r == -ENOENT || r == -ESRCH ? -ESRCH : fail(-r, "task %d: read its mappings", t->pid);
	m->vmas = arena_array(d->arena, VmaEntry *, maps.vmas.n + 1);
	uint64_t end = 0;
	for (size_t i = 0; r == 0 && i < maps.vmas.n; i++) {
		struct smaps_vma *v = &maps.vmas.data[i];
		v->start = v->start > end ? v->start : end;
		if (v->start >= v->end)
			continue;
		end = v->end;
		if (is_wanted(v))
			add_mapping(d, p, m, v);
	}
	array_free(&maps.vmas);
	return r;
}

static int find_pages(struct dump *d, const struct task *t, struct task_pages *p)
{
	struct pool *pool = &shmem_table(d)->pool;

	tracker_mark(d, t, &p->areas);
	pool->gentle = !tracker_needs_stop(d);
	int r = scan_areas(t->host_pid, &p->areas, tracker_needs_stop(d), pool, &p->found);

	if (r < 0)
		return r == -ENOENT || r == -ESRCH ? -ESRCH : fail(-r, "read the page map of process %d", t->host_pid);
	return tracker_clean(d, t, &p->areas, &p->found.clean);
}

static bool has_gone(const struct task *t)
{
	return proc_is_ending(t->host_pid);
}

int mm_pre_collect(struct dump *d, struct task *t)
{
	struct task_pages *p = task_pages_add(d, t);
	MmEntry *m = arena_new(d->arena, MmEntry);
	size_t mark = err_mark();
	uint64_t begin = clock_us();

	mm_entry__init(m);
	int r = read_mappings(d, t, p, m);
	if (r == 0)
		r = find_pages(d, t, p);
	d->stats.memdump_us += clock_us() - begin;
	if (r == 0) {
		t->mm = m;
		return 0;
	}
	if (r != -ESRCH && !has_gone(t))
		return r;
	err_rewind(mark);
	return 0;
}

int mm_pre_save(struct dump *d, struct task *t)
{
	char what[32];

	if (!t->mm)
		return 0;
	autoclose int mem = proc_open(t->host_pid, "mem");
	if (mem == -ESRCH || (mem < 0 && has_gone(t)))
		return 0;
	if (mem < 0)
		return fail(-mem, "task %d: open its memory", t->pid);
	snprintf(what, sizeof what, "task %d", t->pid);
	const struct task_pages *p = task_pages_of(d, t);
	shmem_table(d)->pool.gentle = true;
	struct page_source from = { .fd = mem, .pid = t->host_pid, .sole = &p->sole, .running = true, .what = what };
	return task_save(d, t, t->mm, p, &from);
}
