/* SPDX-License-Identifier: Apache-2.0 */
/* The restore's side of lazy memory: CRIU's lazy-pages protocol.
 *
 *   for each task, in the tree's order:  i32 pid, then its userfaultfd (SCM_RIGHTS);  a zombie: i32 -pid, no descriptor
 *   (from a pager of torpor's:           one byte: none of that is lost when one process is killed)
 *   when the tasks run:                  u32 LAZY_GO
 * and, torpor's own, requests for what only the source of a lazy dump has and cannot wait (lazy_fetch), and whether the tasks may run.
 *
 * CRIU's daemon says nothing, and its restore does not listen. A daemon that does has set the sticky bit of its socket.
 *
 * 1. Every task makes its userfaultfd while its memory is laid out (layout.c), where it still may; nothing is registered with it then:
 *    what the engine itself does to the memory afterwards would wait for ever, and so would the making of children.
 * 2. Mappings are registered when all else is done, all of them before the first task goes on.
 * 3. Where the kernel writes before that, the content has to be there before: rseq areas. What it has only looked at is found by a scan
 *    and filled then, as no access to it would be told.
 * 4. Copy-on-write sharing between tasks is not kept for lazy memory: each has its own copy.
 *
 * Not handled: a program that changes a lazy mapping to MADV_WIPEONFORK before its pages have come, and then forks: the child sees those
 * pages. */
#define LOG_PREFIX "lazy"
#include "mem/lazy.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "mem/scan.h"
#include "remote/remote.h"

#define FEATURES (UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)

int lazy_connect(struct restore *r)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *dir = r->o->work_dir ? r->o->work_dir : r->o->images_dir;
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (snprintf(a.sun_path, sizeof a.sun_path, "%s/" LAZY_SOCKET, dir) >= (int)sizeof a.sun_path)
		return fail(ENAMETOOLONG, "%s/" LAZY_SOCKET, dir);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
		int e = fail(errno, "connect to %s", a.sun_path);
		fail_hint("start the lazy-pages daemon first, with the same work directory");
		return e;
	}
	struct stat st;
	memory(r)->lazy_answers = stat(a.sun_path, &st) == 0 && (st.st_mode & S_ISVTX);
	memory(r)->lazy = take_fd(&fd);
	return 0;
}

/* Mappings that lack something. */
static bool has_content(const struct image_pages *p, const VmaEntry *v)
{
	size_t low = 0, high = p->runs.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (p->runs.data[middle].end > v->start)
			high = middle;
		else
			low = middle + 1;
	}
	return low < p->runs.n && p->runs.data[low].start < v->end;
}

/* The pages of a thread's rseq area; false: it has none. */
static bool rseq_pages(const struct thread *th, uint64_t *start, uint64_t *end)
{
	const RseqEntry *e = th->core && th->core->thread_core ? th->core->thread_core->rseq_entry : NULL;

	if (!e || !e->rseq_abi_pointer)
		return false;
	*start = e->rseq_abi_pointer & ~(PAGE - 1);
	*end = (e->rseq_abi_pointer + e->rseq_abi_size + PAGE - 1) & ~(PAGE - 1);
	return true;
}

/* --- what cannot wait --- */

static int ask_pager(struct restore *r, const struct lazy_request *q, void *data)
{
	struct {
		int32_t pid;
		struct lazy_request q;
	} __attribute__((packed)) message = { LAZY_REQUEST, *q };
	int sock = memory(r)->lazy;
	int32_t status = 0;
	int e = fd_write_all(sock, &message, sizeof message);

	if (e == 0)
		e = fd_read_all(sock, &status, sizeof status);
	if (e == 0 && status == 0 && q->size)
		e = fd_read_all(sock, data, q->size);
	if (e == 0 && status == 0)
		return 0;
	if (status)
		fail_text(-status, "the pager cannot reach the source of the lazy dump: its log tells why");
	else
		fail_text(-e, "the pager has gone, or does not know what it was asked: its log tells why");
	return status ? status : e;
}

static int fetch_range(struct restore *r, const struct task *t, struct image_file *to, uint64_t start, uint64_t end)
{
	autofree char *data = mem_alloc(LAZY_REQUEST_MAX);
	int e = 0;

	for (uint64_t at = start; e == 0 && at < end;) {
		struct lazy_request q = { LAZY_CONTENT, t->pid, at, end - at < LAZY_REQUEST_MAX ? end - at : LAZY_REQUEST_MAX };
		e = ask_pager(r, &q, data);
		if (e == 0 && (e = fd_pwrite_all(to->fd, data, q.size, to->size)) < 0)
			return fail(-e, "task %d: keep fetched pages", t->pid);
		to->size += q.size;
		at += q.size;
	}
	return e;
}

/* The parts of a run that are wanted come from a file in memory from here on. */
static int fetch_run(struct restore *r, const struct task *t, struct image_pages *p, const struct image_run *run, const struct ranges *want,
		     struct image_pages *out)
{
	uint32_t file = (uint32_t)(p->files.n - 1);
	uint64_t at = run->start;
	int e = 0;

	for (size_t i = 0; i < want->list.n && e == 0; i++) {
		const struct range *w = &want->list.data[i];
		uint64_t start = w->start > at ? w->start : at, end = w->end < run->end ? w->end : run->end;
		if (start >= end)
			continue;
		if (start > at)
			array_push(&out->runs) = (struct image_run){ at, start, run->offset + (at - run->start), run->file };
		array_push(&out->runs) = (struct image_run){ start, end, p->files.data[file].size, file };
		e = fetch_range(r, t, &p->files.data[file], start, end);
		at = end;
	}
	if (at < run->end)
		array_push(&out->runs) = (struct image_run){ at, run->end, run->offset + (at - run->start), run->file };
	return e;
}

static bool lacks(const struct image_pages *p, const struct ranges *want)
{
	for (size_t i = 0, k = 0; i < p->runs.n; i++) {
		const struct image_run *run = &p->runs.data[i];
		while (k < want->list.n && want->list.data[k].end <= run->start)
			k++;
		if (k < want->list.n && want->list.data[k].start < run->end && p->files.data[run->file].remote)
			return true;
	}
	return false;
}

static int fetch(struct restore *r, const struct task *t, struct image_pages *p, const struct ranges *want)
{
	struct image_pages out = { 0 };
	int e = 0;

	if (!lacks(p, want))
		return 0;
	int fd = memfd_create("fetched pages", MFD_CLOEXEC);
	if (fd < 0)
		return fail(errno, "make a file in memory");
	array_push(&p->files) = (struct image_file){ .fd = fd, .fetched = true };
	for (size_t i = 0; i < p->runs.n && e == 0; i++) {
		if (p->files.data[p->runs.data[i].file].remote)
			e = fetch_run(r, t, p, &p->runs.data[i], want, &out);
		else
			array_push(&out.runs) = p->runs.data[i];
	}
	log_debug("task %d: %" PRIu64 " KiB were fetched before it runs", t->pid, p->files.data[p->files.n - 1].size >> 10);
	array_free(&p->runs);
	p->runs.data = out.runs.data;
	p->runs.n = out.runs.n;
	p->runs.cap = out.runs.cap;
	return e;
}

static int compare_ranges(const void *a, const void *b)
{
	uint64_t x = ((const struct range *)a)->start, y = ((const struct range *)b)->start;

	return (x > y) - (x < y);
}

/* Ascending, and apart. */
static void sort_ranges(struct ranges *r)
{
	struct ranges sorted = { 0 };

	if (r->list.n)
		qsort(r->list.data, r->list.n, sizeof *r->list.data, compare_ranges);
	for (size_t i = 0; i < r->list.n; i++)
		ranges_add(&sorted, r->list.data[i].start, r->list.data[i].end);
	array_free(&r->list);
	*r = sorted;
}

static int fetch_early(struct restore *r, const struct task *t, struct task_memory *m)
{
	struct ranges want = { 0 };
	uint64_t start, end;

	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		if (!vma_is_lazy(v) && vma_is_private(v) && !vma_is_guard(v))
			array_push(&want.list) = (struct range){ v->start, v->end };
	}
	for (size_t i = 0; i < t->n_threads; i++)
		if (rseq_pages(&t->threads[i], &start, &end))
			array_push(&want.list) = (struct range){ start, end };
	sort_ranges(&want);
	int e = fetch(r, t, &m->pages, &want);
	array_free(&want.list);
	return e < 0 ? e : vdso_check(r, t);   /* it could not look at the content before */
}

int lazy_fetch(struct restore *r)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < r->tree->tasks.n; i++) {
		const struct task *t = r->tree->tasks.data[i];
		struct task_memory *m = t->state == TASK_DEAD ? NULL : task_memory(r, t);
		if (m && pages_remote(&m->pages))
			e = fetch_early(r, t, m);
	}
	return e;
}

void lazy_add_early(const struct task *t, struct fill *f, const struct fill_where *w)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		struct fill_where early = *w;
		if (!rseq_pages(&t->threads[i], &early.start, &early.end) || early.start < w->start || early.end > w->end)
			continue;
		fill_add(f, &early, 0);
	}
}

static bool is_early(const struct task *t, uint64_t page)
{
	uint64_t start, end;

	for (size_t i = 0; i < t->n_threads; i++)
		if (rseq_pages(&t->threads[i], &start, &end) && page >= start && page < end)
			return true;
	return false;
}

/* What is there already, since the kernel has looked at it while the task was made: with content that is not the task's. */
static int fill_touched(struct restore *r, const struct task *t, struct task_memory *m, const struct ranges *touched)
{
	struct remote *husk = t->threads[0].remote;
	struct fill f = { .own = &m->pages, .uffd = -1, .pid = remote_tid(husk), .mem_fd = remote_mem_fd(husk), .who = "lazy memory" };

	int e = fetch(r, t, &m->pages, touched);
	for (size_t i = 0; e == 0 && i < touched->list.n; i++)
		for (uint64_t at = touched->list.data[i].start; at < touched->list.data[i].end; at += PAGE) {
			struct fill_where w = { at, at + PAGE, false, false };
			if (!is_early(t, at))
				fill_add(&f, &w, 0);
		}
	if (e == 0)
		e = pages_open(&m->pages);
	log_debug("task %d: %" PRIu64 " pages were touched before it runs", t->pid, f.size / PAGE);
	if (e == 0)
		e = fill_run(&f, &memory(r)->pool);
	pages_close(&m->pages);
	fill_done(&f);
	return e;
}

static int register_mappings(struct restore *r, const struct task *t, struct task_memory *m)
{
	struct ranges where = { 0 }, touched = { 0 };
	int e = 0;

	for (size_t i = 0; i < t->mm->n_vmas && e == 0; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		struct uffdio_register reg = { .range = { v->start, v->end - v->start }, .mode = UFFDIO_REGISTER_MODE_MISSING };
		if (!vma_is_lazy(v) || !has_content(&m->pages, v))
			continue;
		ranges_add(&where, v->start, v->end);
		if (ioctl(m->uffd, UFFDIO_REGISTER, &reg) < 0)
			e = fail(errno, "task %d: register %" PRIx64 "-%" PRIx64 " with its userfaultfd", t->pid, v->start, v->end);
	}
	if (e == 0)
		e = scan_touched(t->host_pid, &where, &touched);
	if (e == 0 && touched.list.n)
		e = fill_touched(r, t, m, &touched);
	array_free(&where.list);
	array_free(&touched.list);
	return e;
}

static int register_task(struct restore *r, const struct task *t, struct task_memory *m)
{
	struct uffdio_api api = { .api = UFFD_API, .features = FEATURES };

	if (ioctl(m->uffd, UFFDIO_API, &api) < 0) {
		int e = fail(errno, "task %d: ask its userfaultfd for events", t->pid);
		if (e == -EPERM)
			fail_hint("it needs CAP_SYS_PTRACE in the initial user namespace");
		return e;
	}
	return register_mappings(r, t, m);
}

static int send_task(int sock, const struct task *t, struct task_memory *m)
{
	int32_t pid = m ? t->pid : -t->pid;
	int e = fd_write_all(sock, &pid, sizeof pid);

	if (e == 0 && m)
		e = fd_send(sock, &m->uffd, 1);
	if (m) {
		fd_close(&m->uffd);
		m->uffd = -1;
	}
	return e < 0 ? fail(-e, "hand the memory of task %d over to the pager", t->pid) : 0;
}

static int await_answer(int sock)
{
	char byte;
	int e = fd_read_all(sock, &byte, 1);

	return e == 0 ? 0 : e == -ENODATA ? fail_text(ECONNRESET, "the pager has ended: its log says why") : fail(-e, "hear from the pager");
}

int lazy_hand_over(struct restore *r)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < r->tree->tasks.n; i++) {
		const struct task *t = r->tree->tasks.data[i];
		struct task_memory *m = t->state == TASK_DEAD ? NULL : task_memory(r, t);
		if (m)
			e = register_task(r, t, m);
		if (e == 0)
			e = send_task(memory(r)->lazy, t, m);
	}
	const struct lazy_request runs = { .kind = LAZY_RUNS };
	if (e == 0 && memory(r)->lazy_answers)
		e = await_answer(memory(r)->lazy);
	return e < 0 || !r->lazy_mark ? e : ask_pager(r, &runs, NULL);
}

int lazy_go(struct restore *r)
{
	const uint32_t go = LAZY_GO;
	int e = fd_write_all(memory(r)->lazy, &go, sizeof go);

	return e < 0 ? fail(-e, "tell the pager to begin") : 0;
}
