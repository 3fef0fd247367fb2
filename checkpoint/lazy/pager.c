/* SPDX-License-Identifier: Apache-2.0 */
/* The pager: memory of tasks that run already.
 *
 *   events  a fault, fork, mremap, munmap, madvise of some task: changes of what is missing, and pages at once for who waits
 *   answers from the page server, if that has the content
 *   copying the rest in pieces, after the restore's word, nearest to the last fault first
 *
 * 1. What is missing of an address space (space.c) changes only by what the kernel has told: while it has something to tell,
 *    UFFDIO_COPY says EAGAIN, and the fault or the piece waits until that has been read.
 * 2. A fault where nothing is missing is at memory that was never written, or given up since: a page of zeroes.
 * 3. A userfaultfd is closed when nothing is missing any more, never before: closing wakes all who wait, and they would read zeroes.
 * 4. A task that has ended, or executed another program, takes its address space with it (ESRCH).
 * 5. A connection that is lost is tried again every second; until then those who need what is missing stand in their faults, and the log
 *    names them. What is here already keeps running.
 * 6. A pager that gives up (an image that cannot be read, SIGTERM) poisons what is missing before it closes: who needs it gets SIGBUS.
 *
 * Not handled: a pager that is killed by SIGKILL. The kernel closes its userfaultfds, and what is missing then reads as zeroes. The
 * kernel's out-of-memory killer is told to leave it alone. */
#define LOG_PREFIX "lazy"
#include "lazy/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stage.h"
#include "lazy/content.h"
#include "lazy/request.h"
#include "lazy/space.h"
#include "mem/lazy.h"

#ifndef UFFDIO_POISON              /* Linux 6.6 */
struct uffdio_poison {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

#define PIECE (64u << 10)          /* copied before faults are looked at again */
#define PIECE_ASKED (256u << 10)   /* the same, of a page server */
#define ASKED_MAX 4
#define RETRY_US 1000000

struct waiting {
	uint64_t address;
	bool remote, asked;          /* a page server has the content; it has been asked for it */
};

/* An address space. */
struct lazy_task {
	const struct task *task;     /* whose images are its content */
	int uffd;
	struct space space;
	uint64_t near;               /* where copying goes on */
	ARRAY(struct waiting) faults;   /* that could not be served at once */
	bool local_done;             /* what is missing is with the page server, all of it */
	bool gone;
};

/* A request that is not answered yet. */
struct asked {
	struct lazy_task *t;
	uint64_t address, at, size;
};

struct pager {
	struct restore *r;
	struct content *content;
	int sock;                    /* to the restore, -1: it has said its last word */
	size_t received;             /* tasks and zombies */
	bool go, lost;
	uint64_t lost_us;
	ARRAY(struct lazy_task *) tasks;
	ARRAY(struct asked) asked;   /* in order */
	size_t turn;
	char *buffer;
	uint64_t faults, pages;
};

/* --- address spaces --- */

static struct lazy_task *task_add(struct pager *p, const struct task *t, int uffd)
{
	struct lazy_task *l = array_push(&p->tasks) = mem_zalloc(sizeof *l);

	l->task = t;
	l->uffd = uffd;
	return l;
}

static void fill_space(struct pager *p, struct lazy_task *l)
{
	const struct image_pages *pages = &task_memory(p->r, l->task)->pages;
	const MmEntry *m = l->task->mm;

	for (size_t i = 0, k = 0; i < m->n_vmas; i++) {
		const VmaEntry *v = m->vmas[i];
		if (!vma_is_lazy(v))
			continue;
		while (k < pages->runs.n && pages->runs.data[k].end <= v->start)
			k++;
		for (size_t n = k; n < pages->runs.n && pages->runs.data[n].start < v->end; n++) {
			const struct image_run *run = &pages->runs.data[n];
			uint64_t start = run->start > v->start ? run->start : v->start, end = run->end < v->end ? run->end : v->end;
			space_add(&l->space, start, end, start);
		}
	}
}

static void task_end(struct lazy_task *l, const char *why)
{
	log_debug("task %d: %s, %" PRIu64 " KiB missing", l->task->pid, why, l->space.size >> 10);
	fd_close(&l->uffd);
	l->uffd = -1;
	l->gone = true;
	space_done(&l->space);
	array_free(&l->faults);
}

/* --- putting pages --- */

static void wake(struct lazy_task *l, uint64_t address)
{
	struct uffdio_range range = { address, PAGE };

	ioctl(l->uffd, UFFDIO_WAKE, &range);
}

/* What is missing of [address, address + size) gets its content, which is here. 0, or a bare -EAGAIN: later. */
static int put(struct pager *p, struct lazy_task *l, uint64_t address, const char *data, uint64_t size)
{
	bool again = false;

	for (uint64_t at_once = size; size;) {
		at_once = at_once < size ? at_once : size;
		struct uffdio_copy c = { .dst = address, .src = (uintptr_t)data, .len = at_once };
		int e = ioctl(l->uffd, UFFDIO_COPY, &c) == 0 ? 0 : errno;
		uint64_t done = e == 0 ? at_once : c.copy > 0 ? (uint64_t)c.copy : 0;
		if (e == ESRCH) {
			task_end(l, "its memory has gone");
			return 0;
		}
		if (e == EEXIST)       /* somebody was there before: that page is what the program has made of it */
			wake(l, address);
		if ((e == ENOENT || e == EINVAL) && at_once > PAGE) {   /* not one mapping alone */
			at_once = PAGE;
			continue;
		}
		/* A mapping that moves is gone before the kernel says so, but then it says that there is something to say. */
		if ((e == ENOENT || e == EINVAL) && !again) {
			again = true;
			continue;
		}
		again = false;
		at_once = size;
		if (e == EEXIST || e == ENOENT || e == EINVAL)
			done = PAGE;
		if (!done && (e == EAGAIN || e == ENOMEM))
			return -EAGAIN;
		if (!done)
			return fail(e, "task %d: put %" PRIu64 " bytes at %" PRIx64, l->task->pid, size, address);
		space_cut(&l->space, address, address + done);
		p->pages += done / PAGE;
		address += done;
		data += done;
		size -= done;
	}
	return 0;
}

static int put_zero(struct lazy_task *l, uint64_t address)
{
	struct uffdio_zeropage z = { .range = { address, PAGE } };

	if (ioctl(l->uffd, UFFDIO_ZEROPAGE, &z) == 0)
		return 0;
	if (errno == ESRCH) {
		task_end(l, "its memory has gone");
		return 0;
	}
	if (errno == EAGAIN || errno == ENOMEM)
		return -EAGAIN;
	wake(l, address);
	return 0;
}

/* --- asking a page server --- */

static void connection_lost(struct pager *p)
{
	if (p->lost)
		return;
	log_error("%s", err_line(err_count() - 1));
	for (size_t i = 0; i < p->tasks.n; i++)
		if (p->tasks.data[i]->space.size)
			log_error("task %d stands still when it needs one of the %" PRIu64 " KiB of its memory that are missing",
				  p->tasks.data[i]->task->pid, p->tasks.data[i]->space.size >> 10);
	log_error("trying again every second: start the page server again, or end the tasks");
	err_clear();
	p->asked.n = 0;
	p->lost = true;
	p->lost_us = clock_us();
	for (size_t i = 0; i < p->tasks.n; i++)
		for (size_t k = 0; k < p->tasks.data[i]->faults.n; k++)
			p->tasks.data[i]->faults.data[k].asked = false;
}

static void reconnect(struct pager *p)
{
	if (!p->lost || clock_us() - p->lost_us < RETRY_US)
		return;
	p->lost_us = clock_us();
	if (content_again(p->content) == 0) {
		p->lost = false;
		log_warn("connected to the page server again");
	}
}

static void ask(struct pager *p, struct lazy_task *l, uint64_t address, uint64_t at, uint64_t size)
{
	if (p->lost)
		return;
	if (content_ask(p->content, l->task, at, size) < 0) {
		connection_lost(p);
		return;
	}
	array_push(&p->asked) = (struct asked){ l, address, at, size };
}

static const struct asked *find_asked(const struct pager *p, const struct lazy_task *l, uint64_t address)
{
	for (size_t i = 0; i < p->asked.n; i++)
		if (p->asked.data[i].t == l && p->asked.data[i].address <= address && address < p->asked.data[i].address + p->asked.data[i].size)
			return &p->asked.data[i];
	return NULL;
}

/* What of it is still missing where it was when it was asked for; what has moved meanwhile is asked for again. */
static int put_answer(struct pager *p, const struct asked *a, const char *data, uint64_t size)
{
	int e = 0;

	for (uint64_t at = 0; e == 0 && at < size && !a->t->gone;) {
		const struct missing *m = space_next(&a->t->space, a->address + at);
		if (!m || m->start >= a->address + size)
			break;
		uint64_t start = m->start > a->address + at ? m->start : a->address + at;
		uint64_t end = m->end < a->address + size ? m->end : a->address + size;
		if (m->at + (start - m->start) == a->at + (start - a->address))
			e = put(p, a->t, start, data + (start - a->address), end - start);
		at = end - a->address;
	}
	return e == -EAGAIN ? 0 : e;
}

static int take_answer(struct pager *p)
{
	pid_t pid;
	uint64_t at, size;

	if (content_answer(p->content, &pid, &at, &size, p->buffer) < 0) {
		connection_lost(p);
		return 0;
	}
	struct asked a = p->asked.n ? p->asked.data[0] : (struct asked){ 0 };
	if (!a.t || a.t->task->pid != pid || a.at != at || size > a.size) {
		fail_text(EPROTO, "the page server answers with pages of task %d at %" PRIx64 ", which were not asked for", pid, at);
		content_drop(p->content);
		connection_lost(p);
		return 0;
	}
	memmove(p->asked.data, p->asked.data + 1, --p->asked.n * sizeof a);
	return put_answer(p, &a, p->buffer, size);
}

/* --- faults --- */

/* 0: done, or asked for; -EAGAIN, bare: later. */
static int serve(struct pager *p, struct lazy_task *l, struct waiting *w)
{
	const struct missing *m = space_find(&l->space, w->address);

	if (!m)
		return put_zero(l, w->address);
	l->near = w->address + PAGE;
	uint64_t at = m->at + (w->address - m->start), size = m->end - w->address < PIECE ? m->end - w->address : PIECE;
	w->remote = content_is_remote(p->content, l->task, at, &size);
	if (w->remote) {
		if (!w->asked && !p->lost && !find_asked(p, l, w->address))
			ask(p, l, w->address, at, size);
		w->asked = !p->lost;
		return -EAGAIN;
	}
	int e = content_read(p->content, l->task, at, p->buffer, PAGE);
	return e < 0 ? e : put(p, l, w->address, p->buffer, PAGE);
}

static int fault(struct pager *p, struct lazy_task *l, uint64_t address)
{
	struct waiting w = { .address = address & ~(PAGE - 1) };
	int e = serve(p, l, &w);

	p->faults++;
	if (e == -EAGAIN && !l->gone)
		array_push(&l->faults) = w;
	return e == -EAGAIN ? 0 : e;
}

static int serve_waiting(struct pager *p, struct lazy_task *l)
{
	size_t n = 0;
	int e = 0;

	for (size_t i = 0; i < l->faults.n && e == 0; i++) {
		struct waiting w = l->faults.data[i];
		/* An answer that came short, or too late, leaves it missing and no longer asked for. */
		w.asked = w.asked && find_asked(p, l, w.address);
		e = serve(p, l, &w);
		if (l->gone)
			return 0;
		if (e == -EAGAIN) {
			l->faults.data[n++] = w;
			e = 0;
		}
	}
	l->faults.n = n;
	return e;
}

/* --- events --- */

static void forked(struct pager *p, struct lazy_task *parent, int uffd)
{
	struct lazy_task *child = task_add(p, parent->task, uffd);

	fcntl(uffd, F_SETFL, fcntl(uffd, F_GETFL) | O_NONBLOCK);
	fcntl(uffd, F_SETFD, FD_CLOEXEC);
	space_copy(&child->space, &parent->space);
	child->near = parent->near;
}

static void event(struct pager *p, struct lazy_task *l, const struct uffd_msg *m)
{
	switch (m->event) {
	case UFFD_EVENT_FORK: forked(p, l, (int)m->arg.fork.ufd); break;
	case UFFD_EVENT_REMAP:
		space_move(&l->space, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
		l->local_done = false;
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP: space_cut(&l->space, m->arg.remove.start, m->arg.remove.end); break;
	}
}

static int read_events(struct pager *p, struct lazy_task *l)
{
	struct uffd_msg m[16];
	int e = 0;

	while (!l->gone && e == 0) {
		ssize_t n = read(l->uffd, m, sizeof m);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0) {
			task_end(l, "its userfaultfd has ended");
			return 0;
		}
		/* The kernel puts faults first; but what has been read has happened, and a page put before a fork that came with it is looked
		 * at would not be in the child. */
		for (size_t i = 0; i < (size_t)n / sizeof *m; i++)
			event(p, l, &m[i]);
		for (size_t i = 0; i < (size_t)n / sizeof *m && e == 0 && !l->gone; i++)
			if (m[i].event == UFFD_EVENT_PAGEFAULT)
				e = fault(p, l, m[i].arg.pagefault.address);
		if ((size_t)n < sizeof m)
			break;
	}
	return e;
}

/* --- the restore --- */

static int receive_task(struct pager *p)
{
	int32_t pid;
	int uffd = -1, e = fd_read_all(p->sock, &pid, sizeof pid);

	if (e < 0)
		return e == -ENODATA ? fail_text(ECONNRESET, "the restore has ended before all its tasks were in place") :
				       fail(-e, "receive a task from the restore");
	if (pid == LAZY_REQUEST)
		return request_serve(p->r, p->content, p->sock);
	p->received++;
	if (pid < 0)
		return 0;
	const struct task *t = tree_find(p->r->tree, pid);
	int n = t && t->state != TASK_DEAD ? fd_recv(p->sock, &uffd, 1) : -EPROTO;
	if (n != 1)
		return fail(n < 0 ? -n : EPROTO, "receive the userfaultfd of task %d", pid);
	fill_space(p, task_add(p, t, uffd));
	return 0;
}

static int receive(struct pager *p)
{
	uint32_t word;

	if (p->received < p->r->tree->tasks.n)
		return receive_task(p);
	int e = fd_read_all(p->sock, &word, sizeof word);
	if (e == 0 && word == LAZY_REQUEST)
		return request_serve(p->r, p->content, p->sock);
	if (e < 0 || word != LAZY_GO)
		return fail_text(ECONNRESET, "the restore has failed");
	fd_close(&p->sock);
	p->sock = -1;
	p->go = true;
	return 0;
}

/* --- copying the rest --- */

struct piece {
	uint64_t address, at, size;
};

/* The first piece from an address on whose content is in the images, or with the page server and not asked for yet. */
static bool piece_from(const struct pager *p, const struct lazy_task *l, uint64_t address, bool remote, struct piece *out)
{
	for (const struct missing *m; (m = space_next(&l->space, address));) {
		uint64_t from = m->start > address ? m->start : address, size = m->end - from, at = m->at + (from - m->start);
		const struct asked *a = remote ? find_asked(p, l, from) : NULL;
		if (content_is_remote(p->content, l->task, at, &size) == remote && !a) {
			*out = (struct piece){ from, at, size };
			return true;
		}
		address = a ? a->address + a->size : from + size;
	}
	return false;
}

/* Copying goes on behind the last fault, then from the start. */
static bool next_piece(const struct pager *p, const struct lazy_task *l, bool remote, uint64_t limit, struct piece *out)
{
	bool found = piece_from(p, l, l->near, remote, out) || piece_from(p, l, 0, remote, out);

	if (found)
		out->size = out->size < limit ? out->size : limit;
	return found;
}

static int copy_piece(struct pager *p, struct lazy_task *l, const struct piece *c)
{
	int e = content_read(p->content, l->task, c->at, p->buffer, c->size);

	if (e == 0)
		e = put(p, l, c->address, p->buffer, c->size);
	l->near = c->address + c->size;
	return e == -EAGAIN ? 0 : e;
}

/* One piece of one task, in turn. */
static int copy_some(struct pager *p)
{
	struct piece c;

	for (size_t i = 0; i < p->tasks.n; i++) {
		struct lazy_task *l = p->tasks.data[p->turn++ % p->tasks.n];
		if (l->gone || l->local_done || !l->space.size)
			continue;
		if (next_piece(p, l, false, PIECE, &c))
			return copy_piece(p, l, &c);
		l->local_done = true;
	}
	return 0;
}

/* The page server always has something to do. */
static void ask_some(struct pager *p)
{
	bool found = content_socket(p->content) >= 0;
	struct piece c;

	while (found) {
		found = false;
		for (size_t i = 0; i < p->tasks.n && p->asked.n < ASKED_MAX && !p->lost; i++) {
			struct lazy_task *l = p->tasks.data[i];
			if (l->gone || !l->space.size || !next_piece(p, l, true, PIECE_ASKED, &c))
				continue;
			ask(p, l, c.address, c.at, c.size);
			l->near = c.address + c.size;
			found = true;
		}
	}
}

/* --- the loop --- */

static bool is_done(struct pager *p)
{
	bool done = p->go;

	for (size_t i = 0; i < p->tasks.n; i++) {
		struct lazy_task *l = p->tasks.data[i];
		if (!l->gone && p->go && !l->space.size)
			task_end(l, "all of its memory is there");
		done &= l->gone;
	}
	return done;
}

/* There is something to do without waiting: to put what is in the images. */
static bool is_busy(const struct pager *p)
{
	for (size_t i = 0; i < p->tasks.n; i++) {
		const struct lazy_task *l = p->tasks.data[i];
		if (!l->gone && p->go && l->space.size && !l->local_done)
			return true;
		for (size_t k = 0; !l->gone && k < l->faults.n; k++)
			if (!l->faults.data[k].remote)
				return true;
	}
	return false;
}

static int loop_once(struct pager *p)
{
	size_t n = p->tasks.n;
	autofree struct pollfd *fds = mem_zalloc((n + 2) * sizeof *fds);
	int e = 0;

	for (size_t i = 0; i < n; i++)
		fds[i] = (struct pollfd){ p->tasks.data[i]->uffd, POLLIN, 0 };
	fds[n] = (struct pollfd){ p->sock, POLLIN, 0 };
	fds[n + 1] = (struct pollfd){ content_socket(p->content), POLLIN, 0 };
	if (poll(fds, n + 2, is_busy(p) ? 0 : p->lost ? 200 : -1) < 0 && errno != EINTR)
		return fail(errno, "wait for faults");
	for (size_t i = 0; i < n && e == 0; i++)
		if (fds[i].revents && !p->tasks.data[i]->gone)
			e = read_events(p, p->tasks.data[i]);
	if (e == 0 && fds[n].revents)
		e = receive(p);
	if (e == 0 && fds[n + 1].revents && content_socket(p->content) >= 0)
		do
			e = take_answer(p);
		while (e == 0 && content_pending(p->content));
	reconnect(p);
	for (size_t i = 0; i < p->tasks.n && e == 0; i++)
		if (p->tasks.data[i]->faults.n)
			e = serve_waiting(p, p->tasks.data[i]);
	if (e == 0 && p->go)
		ask_some(p);
	return e == 0 && p->go ? copy_some(p) : e;
}

/* Nobody shall take for zeroes what could not be had. */
static void poison(struct lazy_task *l)
{
	for (const struct missing *m = space_next(&l->space, 0); m; m = space_next(&l->space, m->end)) {
		for (uint64_t at = m->start, tries = 0; at < m->end;) {
			struct uffdio_poison c = { .range = { at, m->end - at } };
			int e = ioctl(l->uffd, UFFDIO_POISON, &c) == 0 ? 0 : errno;
			at += e == 0 ? m->end - at : c.updated > 0 ? (uint64_t)c.updated : e == EAGAIN && tries++ < 1000 ? 0 : PAGE;
		}
	}
	if (l->space.size)
		log_error("task %d: %" PRIu64 " KiB of its memory are lost: it gets SIGBUS where it needs them", l->task->pid, l->space.size >> 10);
}

static void pager_done(struct pager *p)
{
	for (size_t i = 0; i < p->tasks.n; i++) {
		if (!p->tasks.data[i]->gone) {
			poison(p->tasks.data[i]);
			task_end(p->tasks.data[i], "given up");
		}
		free(p->tasks.data[i]);
	}
	array_free(&p->tasks);
	array_free(&p->asked);
	content_free(&p->content);
	free(p->buffer);
}

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static void be_important(void)
{
	const struct sigaction a = { .sa_handler = stop };

	sigaction(SIGTERM, &a, NULL);
	sigaction(SIGINT, &a, NULL);
	file_write(AT_FDCWD, "/proc/self/oom_score_adj", "-1000");
}

int pager_run(struct restore *r, int sock, const struct ck_page_peer *server)
{
	struct pager p = { .r = r, .sock = sock };
	uint64_t begin = clock_us();
	int e = content_open(r, server, &p.content);

	if (e < 0)
		return e;
	be_important();
	p.buffer = mem_alloc(CONTENT_MAX);
	while (e == 0 && !is_done(&p))
		e = stopped ? fail_text(EINTR, "the pager was told to end") : loop_once(&p);
	if (e == 0)
		e = content_end(p.content);
	log_info("%" PRIu64 " faults, %" PRIu64 " pages in %" PRIu64 " ms", p.faults, p.pages, (clock_us() - begin) / 1000);
	pager_done(&p);
	return e;
}
