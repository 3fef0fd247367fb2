/* SPDX-License-Identifier: Apache-2.0 */
/* The memory images of a restore, read and checked before anything is made. They are untrusted: what is used later is checked here
 * once, and an error names the image, the task and the address.
 *
 * 1. Mappings ascend, do not overlap, are made of whole pages below the end of user space (vsyscall is where it always is). Guard
 *    regions are entries of their own, anywhere in the list.
 * 2. A mapping is of one kind: private or shared, anonymous or of a file that files.img has.
 * 3. Runs of pages ascend, do not overlap, lie in private mappings, and their content is in pages files (chain.c). */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "mem/huge.h"
#include "mem/mem.h"
#include "mem/restoring.h"
#include "mem/scan.h"
#include "mem/smaps.h"

#define KNOWN_PROT (PROT_READ | PROT_WRITE | PROT_EXEC)
#define KNOWN_FLAGS (MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | HUGE_FLAGS)
#define KNOWN_MADV                                                                                                     \
	(1ull << MADV_RANDOM | 1ull << MADV_SEQUENTIAL | 1ull << MADV_DONTFORK | 1ull << MADV_MERGEABLE |              \
	 1ull << MADV_HUGEPAGE | 1ull << MADV_NOHUGEPAGE | 1ull << MADV_DONTDUMP | 1ull << MADV_WIPEONFORK)
#define KINDS (VMA_FILE_PRIVATE | VMA_FILE_SHARED | VMA_ON_ANON)
#define VMA_ON_ANON (VMA_ANON_SHARED | VMA_ANON_PRIVATE)
#define AUXV_MAX 64   /* words; the kernel's own room is a little less */

struct memory *memory(struct restore *r)
{
	if (!r->memory) {
		r->memory = mem_zalloc(sizeof *r->memory);
		r->memory->pool.turns = &r->turns;
	}
	return r->memory;
}

struct task_memory *task_memory(struct restore *r, const struct task *t)
{
	struct memory *m = memory(r);

	for (size_t i = 0; i < m->tasks.n; i++)
		if (m->tasks.data[i]->task == t)
			return m->tasks.data[i];
	return NULL;
}

struct segment *segment_find(struct restore *r, uint64_t shmid)
{
	struct memory *m = memory(r);

	for (size_t i = 0; i < m->segments.n; i++)
		if (m->segments.data[i].shmid == shmid && !m->segments.data[i].sysv)
			return &m->segments.data[i];
	return NULL;
}

/* --- mappings --- */

static int vma_refuse(const struct task *t, const VmaEntry *v, const char *reason)
{
	return fail_text(EINVAL, "task %d: mm-%d.img: mapping %" PRIx64 "-%" PRIx64 ": %s", t->pid, t->pid, v->start, v->end, reason);
}

static const struct {
	uint32_t status;
	const char *reason;
} refused_status[] = {
	{ VMA_SOCKET, "a mapped socket is not supported" },
	{ VMA_AIORING, "an asynchronous I/O ring is not supported" },
	{ VMA_SHSTK, "a shadow stack is not supported" },
	{ VMA_UPROBES, "uprobes are not supported" },
	{ 1u << 27, "a mapping of a CRIU plugin is not supported" },
};
#define KNOWN_STATUS                                                                                                           \
	(VMA_REGULAR | VMA_STACK | VMA_VSYSCALL | VMA_VDSO | VMA_HEAP | VMA_FILE_PRIVATE | VMA_FILE_SHARED | VMA_ANON_SHARED | \
	 VMA_ANON_PRIVATE | VMA_VVAR | VMA_MEMFD | VMA_GUARD | VMA_SYSVIPC)

static int check_place(const struct task *t, const VmaEntry *v, uint64_t *behind)
{
	if (v->status & VMA_VSYSCALL)
		return v->start == VSYSCALL_START && v->end == VSYSCALL_START + PAGE ? 0 : vma_refuse(t, v, "vsyscall is not there");
	if (v->start % PAGE || v->end % PAGE || v->start >= v->end)
		return vma_refuse(t, v, "not made of whole pages");
	if ((v->start | v->end | (v->status & VMA_ANON_SHARED ? v->pgoff : 0)) % huge_page_size(v->flags))
		return vma_refuse(t, v, "not made of whole huge pages");
	if (v->end > TASK_END)
		return vma_refuse(t, v, "beyond the addresses of a program");
	if (vma_is_guard(v))
		return 0;
	if (v->start < *behind)
		return vma_refuse(t, v, "overlaps the mapping before it, or is out of order");
	*behind = v->end;
	return 0;
}

static int check_form(const struct task *t, const VmaEntry *v)
{
	uint32_t kind = v->status & KINDS;

	for (size_t i = 0; i < sizeof refused_status / sizeof *refused_status; i++)
		if (v->status & refused_status[i].status)
			return vma_refuse(t, v, refused_status[i].reason);
	if (v->status & ~(uint32_t)KNOWN_STATUS)
		return vma_refuse(t, v, "unknown status bits");
	if (v->prot & ~(uint32_t)KNOWN_PROT)
		return vma_refuse(t, v, "unknown protection bits");
	if ((v->flags & ~(uint32_t)KNOWN_FLAGS) || (!flags_are_huge(v->flags) && v->flags & HUGE_FLAGS))
		return vma_refuse(t, v, "unknown flags");
	if (v->madv & ~KNOWN_MADV)
		return vma_refuse(t, v, "unknown advice bits (madv)");
	if (vma_is_guard(v))
		return 0;
	if (flags_are_huge(v->flags) && !(kind & VMA_ON_ANON))
		return vma_refuse(t, v, "huge pages (hugetlb) of files and memfds are not supported");
	if (!kind || (kind & (kind - 1)))
		return vma_refuse(t, v, "its status does not say what it maps");
	bool shared = kind & (VMA_FILE_SHARED | VMA_ANON_SHARED), anonymous = kind & VMA_ON_ANON;
	if ((v->flags & (MAP_SHARED | MAP_PRIVATE)) != (shared ? MAP_SHARED : MAP_PRIVATE) || !(v->flags & MAP_ANONYMOUS) == anonymous)
		return vma_refuse(t, v, "its flags and its status contradict each other");
	return 0;
}

static int check_object(struct restore *r, const struct task *t, const VmaEntry *v)
{
	uint64_t size = v->end - v->start;

	if (!(v->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED | VMA_ANON_SHARED)) || vma_is_guard(v))
		return 0;
	if (v->status & VMA_SYSVIPC)
		return v->status & VMA_ANON_SHARED ? 0 : vma_refuse(t, v, "its status does not say what it maps");   /* sysv_check() */
	if (v->pgoff % PAGE || v->pgoff > INT64_MAX - size)
		return vma_refuse(t, v, "impossible file offset");
	if (!(v->status & VMA_ANON_SHARED)) {
		if (v->shmid > UINT32_MAX || !tree_file(r->tree, (uint32_t)v->shmid))
			return vma_refuse(t, v, "files.img does not have the file that it maps");
		return 0;
	}
	struct segment *s = segment_find(r, v->shmid);
	if (!s) {
		s = &array_push(&memory(r)->segments);
		*s = (struct segment){ .shmid = v->shmid, .huge = v->flags & HUGE_FLAGS, .fd = -1 };
	}
	if (s->huge != (v->flags & HUGE_FLAGS))
		return vma_refuse(t, v, "its segment has pages of another size elsewhere");
	s->size = v->pgoff + size > s->size ? v->pgoff + size : s->size;
	return 0;
}

static int check_mappings(struct restore *r, const struct task *t)
{
	uint64_t behind = 0;
	int e = 0;

	for (size_t i = 0; e == 0 && i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		e = check_form(t, v);
		if (e == 0)
			e = check_place(t, v, &behind);
		if (e == 0)
			e = check_object(r, t, v);
	}
	return e;
}

/* Every run lies in private mappings that touch each other. */
static int check_runs(const struct task *t, const struct image_pages *p)
{
	struct ranges where = { 0 };
	int e = 0;

	for (size_t i = 0; i < t->mm->n_vmas; i++)
		if (vma_is_private(t->mm->vmas[i]) && !vma_is_guard(t->mm->vmas[i]))
			ranges_add(&where, t->mm->vmas[i]->start, t->mm->vmas[i]->end);
	for (size_t i = 0, k = 0; e == 0 && i < p->runs.n; i++) {
		const struct image_run *run = &p->runs.data[i];
		while (k < where.list.n && where.list.data[k].end <= run->start)
			k++;
		if (k == where.list.n || run->start < where.list.data[k].start || run->end > where.list.data[k].end)
			e = fail_text(EINVAL, "task %d: pagemap-%d.img: pages %" PRIx64 "-%" PRIx64 " are in no private mapping", t->pid,
				      t->pid, run->start, run->end);
	}
	array_free(&where.list);
	return e;
}

/* The content of a lazy dump comes from its source, by a pager. The daemon of another restore may know the source, this one's has to. */
static int check_remote(const struct restore *r, const struct task *t, const struct image_pages *p)
{
	uint64_t size = pages_remote(p);

	if (!size || (r->o->lazy_pages && (!r->o->own_pager || r->o->page_server)))
		return 0;
	fail_text(EINVAL, "task %d: %" PRIu64 " KiB of its memory are not in the images, but with the lazy dump that made them", t->pid, size >> 10);
	fail_hint(r->o->lazy_pages ? "name the page server of the dump (--page-server)"
				   : "restore with --lazy-pages, and a pager that has the pages from the source (--page-server)");
	return -EINVAL;
}

/* --- mm_entry --- */

/* What PR_SET_MM_MAP asks of its numbers. */
static int check_numbers(struct restore *r, const struct task *t)
{
	const MmEntry *m = t->mm;
	const struct {
		const char *name;
		uint64_t start, end;
		bool proper;
	} pairs[] = {
		{ "code", m->mm_start_code, m->mm_end_code, true }, { "data", m->mm_start_data, m->mm_end_data, false },
		{ "break", m->mm_start_brk, m->mm_brk, false }, { "arguments", m->mm_arg_start, m->mm_arg_end, false },
		{ "environment", m->mm_env_start, m->mm_env_end, false },
	};

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		if (pairs[i].end > TASK_END || pairs[i].start > pairs[i].end || (pairs[i].proper && pairs[i].start == pairs[i].end))
			return fail_text(EINVAL, "task %d: mm-%d.img: the addresses of its %s (%" PRIx64 "-%" PRIx64 ") are impossible",
					 t->pid, t->pid, pairs[i].name, pairs[i].start, pairs[i].end);
	if (m->mm_start_stack > TASK_END)
		return fail_text(EINVAL, "task %d: mm-%d.img: impossible address of the stack", t->pid, t->pid);
	if (m->n_mm_saved_auxv > AUXV_MAX || m->n_mm_saved_auxv % 2)
		return fail_text(EINVAL, "task %d: mm-%d.img: an auxiliary vector of %zu words", t->pid, t->pid, m->n_mm_saved_auxv);
	if (m->n_aios)
		return fail_text(EOPNOTSUPP, "task %d: asynchronous I/O rings are not supported", t->pid);
	if (!tree_file(r->tree, m->exe_file_id))
		return fail_text(EINVAL, "task %d: mm-%d.img: its executable, file %" PRIu32 ", is not in files.img", t->pid, t->pid,
				 m->exe_file_id);
	return 0;
}

int mm_check(struct restore *r, struct task *t)
{
	char who[32];

	if (!t->mm)
		return fail_text(EINVAL, "task %d has no memory image (mm-%d.img)", t->pid, t->pid);
	struct task_memory *m = array_push(&memory(r)->tasks) = mem_zalloc(sizeof *m);
	m->task = t;
	m->uffd = -1;
	snprintf(who, sizeof who, "task %d", t->pid);
	int e = check_numbers(r, t);
	if (e == 0)
		e = foreign_segments(r, t);
	if (e == 0)
		e = check_mappings(r, t);
	if (e == 0)
		e = pages_read(r, IMG_PAGEMAP, (uint64_t)t->pid, who, &m->pages);
	if (e == -ENOENT)
		return fail_text(ENOENT, "task %d: image pagemap-%d.img is missing", t->pid, t->pid);
	if (e == 0)
		e = check_runs(t, &m->pages);
	if (e == 0)
		e = check_remote(r, t, &m->pages);
	return e < 0 ? e : vdso_check(r, t);
}

/* --- a hole --- */

static int compare_ranges(const void *a, const void *b)
{
	uint64_t x = ((const struct range *)a)->start, y = ((const struct range *)b)->start;

	return (x > y) - (x < y);
}

/* The first gap of the size, at or above `from`, with a margin on both sides: a stack needs its guard gap. */
static uint64_t find_gap(const struct range *used, size_t n, uint64_t from, uint64_t size)
{
	const uint64_t margin = 2 << 20;
	uint64_t at = from;

	for (size_t i = 0; i < n; i++) {
		if (used[i].start >= at && used[i].start - at >= size + 2 * margin)
			break;
		at = used[i].end > at ? used[i].end : at;
	}
	return at + size + 2 * margin <= TASK_END ? at + margin : 0;
}

uint64_t mm_find_hole(const struct tree *t, uint64_t size)
{
	ARRAY(struct range) used = { 0 };
	autofree char *text = NULL;
	struct smaps own = { 0 };

	if (file_read(AT_FDCWD, "/proc/self/maps", &text, 64u << 20) < 0)
		return 0;
	int r = smaps_parse(text, &own);
	for (size_t i = 0; r == 0 && i < own.vmas.n; i++)
		array_push(&used) = (struct range){ own.vmas.data[i].start, own.vmas.data[i].end };
	for (size_t k = 0; k < t->tasks.n; k++) {
		const MmEntry *m = t->tasks.data[k]->mm;
		for (size_t i = 0; m && i < m->n_vmas; i++)
			array_push(&used) = (struct range){ m->vmas[i]->start, m->vmas[i]->end };
	}
	if (used.n)
		qsort(used.data, used.n, sizeof *used.data, compare_ranges);
	/* Above 4 GiB there is rarely anything; a program that has something everywhere may have room below. */
	uint64_t at = r < 0 ? 0 : find_gap(used.data, used.n, 1ull << 32, size);
	if (!at && r == 0)
		at = find_gap(used.data, used.n, 1 << 20, size);
	array_free(&own.vmas);
	array_free(&used);
	return at;
}
