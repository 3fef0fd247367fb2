/* SPDX-License-Identifier: Apache-2.0 */
/* The restore's side of lazy memory: CRIU's lazy-pages protocol.
 *
 *   for each task, in the tree's order:  i32 pid, then its userfaultfd (SCM_RIGHTS);  a zombie: i32 -pid, no descriptor
 *   when the tasks run:                  u32 LAZY_GO
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
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
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
	struct remote *stub = t->threads[0].remote;
	struct fill f = { .own = &m->pages, .uffd = -1, .pid = remote_tid(stub), .mem_fd = remote_mem_fd(stub), .who = "lazy memory" };

	for (size_t i = 0; i < touched->list.n; i++)
		for (uint64_t at = touched->list.data[i].start; at < touched->list.data[i].end; at += PAGE) {
			struct fill_where w = { at, at + PAGE, false, false };
			if (!is_early(t, at))
				fill_add(&f, &w, 0);
		}
	int e = pages_open(&m->pages);
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
	return e;
}

int lazy_go(struct restore *r)
{
	const uint32_t go = LAZY_GO;
	int e = fd_write_all(memory(r)->lazy, &go, sizeof go);

	return e < 0 ? fail(-e, "tell the pager to begin") : 0;
}
