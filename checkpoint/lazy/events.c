/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells the pager: faults, which are served with pages, and changes of address spaces, which are taken down.
 *
 * 1. A fault where nothing is missing is at memory that was never written, or given up since: a page of zeroes.
 * 2. The kernel puts faults first; but what has been read has happened, and a page put before a fork that came with it is looked at would not
 *    be in the child. So of what is read at once the changes are taken first.
 * 3. A fault that cannot be served at once waits in its task's list: until the piece that it is in has landed, the answer has come, or
 *    what the kernel has to tell has been read.
 *
 * Not handled: two threads of which one forks while the other moves memory. The kernel may tell of them in another order. */
#define LOG_PREFIX "lazy"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/stage.h"
#include "lazy/internal.h"

#define ASKED_FAULT (16u << 10)    /* of the page server, by a fault */

/* --- faults --- */

/* 0: done; -EAGAIN, bare: later, when what flies has landed, or what was asked for has come. */
static int serve(struct pager *p, struct lazy_task *l, struct waiting *w)
{
	const struct missing *m = space_find(&l->space, w->address);

	w->remote = false;
	if (!m)
		return put_zero(l, w->address);
	if (is_flying(p, l, w->address))
		return -EAGAIN;
	l->near = w->address + PAGE;
	uint64_t at = m->at + (w->address - m->start), size = m->end - w->address < ASKED_FAULT ? m->end - w->address : ASKED_FAULT;
	w->remote = content_is_remote(p->content, l->task, at, &size);
	if (w->remote) {
		if (!w->asked && !p->lost && !fetch_find(p, l, w->address))
			fetch_pages(p, l, w->address, at, size);
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
	p->fault_us = clock_us();
	if (e == -EAGAIN && !l->gone)
		array_push(&l->faults) = w;
	return e == -EAGAIN ? 0 : e;
}

int faults_serve(struct pager *p, struct lazy_task *l)
{
	size_t n = 0;
	int e = 0;

	for (size_t i = 0; i < l->faults.n && e == 0; i++) {
		struct waiting w = l->faults.data[i];
		/* An answer that came short, or too late, leaves it missing and no longer asked for. */
		w.asked = w.asked && fetch_find(p, l, w.address);
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

void events_ready(struct lazy_task *l)
{
	fcntl(l->uffd, F_SETFL, fcntl(l->uffd, F_GETFL) | O_NONBLOCK);
	fcntl(l->uffd, F_SETFD, FD_CLOEXEC);
}

static void forked(struct pager *p, struct lazy_task *parent, int uffd)
{
	struct lazy_task *child = lazy_task_add(p, parent->task, uffd);

	space_copy(&child->space, &parent->space);
	child->near = parent->near;
}

void event_take(void *arg, size_t number, const struct uffd_msg *m)
{
	struct pager *p = arg;
	struct lazy_task *l = p->tasks.data[number];

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

/* A journal that is nearly full is written anew. */
int events_room(struct pager *p)
{
	size_t records = p->tasks.n;

	if (!journal_is_full(p->journal))
		return 0;
	for (size_t i = 0; i < p->tasks.n; i++)
		records += p->tasks.data[i]->space.list.n;
	int e = journal_rewrite_begin(p->journal, records);
	for (size_t i = 0; i < p->tasks.n && e == 0; i++) {
		const struct lazy_task *l = p->tasks.data[i];
		journal_known(p->journal, l->task->pid, l->uffd);
		for (const struct missing *m = space_next(&l->space, 0); m; m = space_next(&l->space, m->end))
			journal_missing(p->journal, i, m);
	}
	if (e == 0)
		journal_rewrite_done(p->journal);
	return e;
}

static int take_events(struct pager *p, struct lazy_task *l, const struct uffd_msg *m, size_t n)
{
	int e = 0;

	size_t known = p->tasks.n;

	for (size_t i = 0; i < n; i++)
		event_take(p, l->number, &m[i]);
	for (size_t i = known; i < p->tasks.n; i++)
		events_ready(p->tasks.data[i]);
	for (size_t i = 0; i < n && e == 0 && !l->gone; i++)
		if (m[i].event == UFFD_EVENT_PAGEFAULT)
			e = fault(p, l, m[i].arg.pagefault.address);
	return e;
}

int events_read(struct pager *p, struct lazy_task *l)
{
	struct uffd_msg m[JOURNAL_EVENTS];
	int e = 0;

	while (!l->gone && e == 0) {
		e = events_room(p);
		if (e < 0)
			return e;
		struct uffd_msg *noted = journal_read_begin(p->journal, l->number);
		ssize_t n = read(l->uffd, noted, sizeof m);
		int error = errno;
		memcpy(m, noted, sizeof m);
		journal_read_done(p->journal);
		if (n < 0 && error == EINTR)
			continue;
		if (n < 0 && error == EAGAIN)
			return 0;
		if (n <= 0) {
			task_over(l, "its userfaultfd has ended");
			return 0;
		}
		e = take_events(p, l, m, (size_t)n / sizeof *m);
		if ((size_t)n < sizeof m)
			break;
	}
	return e;
}
