/* SPDX-License-Identifier: Apache-2.0 */
/* Copying the rest, from the images: a few threads, each with a piece of some task's memory at a time, behind the last fault first.
 *
 * 1. A piece stays missing while it flies, so that nothing that comes between takes it for zeroes: who needs a page of it waits until it has
 *    landed, when it is there or as missing as before.
 * 2. While a piece flies nothing that the kernel has to tell of its task is read (hold()): what would be told may be that the place is no
 *    longer missing, and until it is read the kernel refuses the piece.
 * 3. Copiers neither close userfaultfds nor write the journal: that is the main thread's.
 * 4. Images in a tmpfs are mapped, and the kernel copies from there: one copy less.
 * 5. While there are faults, pieces are small, because pages wait for them (larger ones cost less), and the last copier rests: who faults and who
 *    serves run in turn on one processor, and would wait for the end of a copier's turn there, some 4 ms. */
#define LOG_PREFIX "lazy"
#include <errno.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sched.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/stage.h"
#include "lazy/internal.h"

#define PIECE_LARGE (512u << 10)
#define PIECE_SMALL (64u << 10)
#define QUIET_US 2000              /* without a fault */
#define RETRY_US 50

static bool has_faults(const struct pager *p)
{
	return clock_us() - p->fault_us < QUIET_US;
}

uint64_t piece_size(const struct pager *p)
{
	return has_faults(p) ? PIECE_SMALL : PIECE_LARGE;
}

bool is_flying(const struct pager *p, const struct lazy_task *l, uint64_t address)
{
	for (size_t i = 0; i < p->copiers.n; i++) {
		const struct flight *f = &p->copiers.list[i].flight;
		if (f->t == l && address >= f->start && address < f->end)
			return true;
	}
	return false;
}

/* Whether somebody is at an address: then *end is where that ends; else *end, which is behind it, is cut to what is free. */
static bool is_busy(const struct pager *p, const struct lazy_task *l, uint64_t address, uint64_t *end)
{
	for (size_t i = 0; i < p->copiers.n; i++) {
		const struct flight *f = &p->copiers.list[i].flight;
		if (f->t != l || f->end <= address || f->start >= *end)
			continue;
		*end = f->start <= address ? f->end : f->start;
		if (f->start <= address)
			return true;
	}
	const struct asked *a = fetch_find(p, l, address);
	*end = a ? a->address + a->size : *end;
	return a;
}

/* The first piece from an address on whose content is in the images, or with the page server. */
static bool piece_from(const struct pager *p, const struct lazy_task *l, uint64_t address, bool remote, uint64_t limit, struct piece *out)
{
	for (const struct missing *m; (m = space_next(&l->space, address));) {
		uint64_t from = m->start > address ? m->start : address, size = m->end - from, at = m->at + (from - m->start), end;
		bool there = content_is_remote(p->content, l->task, at, &size) == remote;
		address = from + size;
		end = from + (size < limit ? size : limit);
		if (!there)
			continue;
		if (!is_busy(p, l, from, &end)) {
			*out = (struct piece){ from, at, end - from };
			return true;
		}
		address = end;
	}
	return false;
}

struct lazy_task *next_piece(struct pager *p, bool remote, uint64_t limit, struct piece *out)
{
	for (size_t i = 0; i < p->tasks.n; i++) {
		struct lazy_task *l = p->tasks.data[p->turn++ % p->tasks.n];
		if (l->gone || (l->wanted && !remote) || !l->space.size || (l->local_done && !remote))
			continue;
		/* Behind the last fault, then from the start. */
		if (piece_from(p, l, l->near, remote, limit, out) || piece_from(p, l, 0, remote, limit, out)) {
			l->near = out->address + out->size;
			return l;
		}
		l->local_done |= !remote && !l->flights;
	}
	return NULL;
}

/* --- holding --- */

void hold(struct pager *p, struct lazy_task *l)
{
	l->wanted = true;
	while (l->flights)
		pthread_cond_wait(&p->copiers.landed, &p->lock);
}

void hold_end(struct pager *p, struct lazy_task *l)
{
	l->wanted = false;
	pthread_cond_broadcast(&p->copiers.work);
}

/* --- a copier --- */

static void ring(struct pager *p)
{
	const uint64_t one = 1;

	if (write(*journal_fd(p->journal, JOURNAL_BELL), &one, sizeof one) < 0)
		return;
}

static uint64_t give(const struct flight *f, const char *data, uint64_t size)
{
	struct uffdio_copy copy = { .dst = f->start, .src = (uintptr_t)data, .len = size };

	return ioctl(f->t->uffd, UFFDIO_COPY, &copy) == 0 ? size : copy.copy > 0 ? (uint64_t)copy.copy : 0;
}

/* What the kernel takes of the content at once, without the lock: how much that was, or -errno, explained. The rest is in the buffer. */
static int64_t fly(struct copier *c, uint64_t at, uint64_t size)
{
	const struct flight *f = &c->flight;
	const char *place = content_place(c->p->content, f->t->task, at, size);
	uint64_t done = place ? give(f, place, size) : 0;

	if (done == size)
		return (int64_t)done;
	int e = content_read(c->p->content, f->t->task, at, c->buffer, size);
	return e < 0 ? e : place ? (int64_t)done : (int64_t)give(f, c->buffer, size);
}

/* With the lock. */
static int land(struct copier *c, int64_t done, uint64_t size)
{
	struct pager *p = c->p;
	struct lazy_task *l = c->flight.t;
	uint64_t start = c->flight.start;
	int e = done < 0 ? (int)done : 0;

	if (done > 0) {
		space_cut(&l->space, start, start + (uint64_t)done);
		p->pages += (uint64_t)done / PAGE;
	}
	if (e == 0 && (uint64_t)done < size && !l->gone)
		e = put(p, l, start + (uint64_t)done, c->buffer + done, size - (uint64_t)done);
	c->flight.t = NULL;
	l->flights--;
	if (l->wanted)
		pthread_cond_broadcast(&p->copiers.landed);
	if (l->faults.n || l->gone || !l->space.size)
		ring(p);
	return e;
}

static void rest(struct pager *p, unsigned us)
{
	pthread_mutex_unlock(&p->lock);
	usleep(us);
	pthread_mutex_lock(&p->lock);
}

/* With the lock, which it lets go meanwhile. A bare -EAGAIN: nothing to do. */
static int copy_one(struct copier *c)
{
	struct pager *p = c->p;
	struct piece piece;

	if (c != p->copiers.list && c == p->copiers.list + p->copiers.n - 1 && has_faults(p)) {
		rest(p, QUIET_US / 4);
		return 0;
	}
	struct lazy_task *l = p->go ? next_piece(p, false, piece_size(p), &piece) : NULL;

	if (!l)
		return -EAGAIN;
	c->flight = (struct flight){ l, piece.address, piece.address + piece.size };
	l->flights++;
	pthread_mutex_unlock(&p->lock);
	int64_t done = fly(c, piece.at, piece.size);
	pthread_mutex_lock(&p->lock);
	int e = land(c, done, piece.size);
	if (e == -EAGAIN)
		rest(p, RETRY_US);
	return e == -EAGAIN ? 0 : e;
}

static void *copier(void *arg)
{
	struct copier *c = arg;
	struct copiers *all = &c->p->copiers;

	pthread_mutex_lock(&c->p->lock);
	while (!all->quit && !all->error) {
		int e = copy_one(c);
		if (e == -EAGAIN)
			pthread_cond_wait(&all->work, &c->p->lock);
		else if (e < 0) {
			all->error = str_dup(err_line(0) ? err_line(0) : "a copier has failed");
			ring(c->p);
		}
	}
	pthread_mutex_unlock(&c->p->lock);
	err_clear();
	return NULL;
}

/* --- all of them --- */

static size_t how_many(void)
{
	cpu_set_t cpus;
	int have = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;

	return have < COPIERS_MAX ? (size_t)have : COPIERS_MAX;
}

int copiers_start(struct pager *p)
{
	struct copiers *all = &p->copiers;
	int *bell = journal_fd(p->journal, JOURNAL_BELL), e = 0;
	sigset_t every, before;

	pthread_mutex_init(&p->lock, NULL);
	*all = (struct copiers){ 0 };
	pthread_cond_init(&all->work, NULL);
	pthread_cond_init(&all->landed, NULL);
	*bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (*bell < 0)
		return fail(errno, "make an eventfd");
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	pthread_mutex_lock(&p->lock);
	for (size_t want = how_many(); e == 0 && all->n < want;) {
		struct copier *c = &all->list[all->n];
		*c = (struct copier){ .p = p, .buffer = mem_alloc(PIECE_LARGE) };
		e = pthread_create(&c->thread, NULL, copier, c);
		if (e)
			free(c->buffer);
		else
			all->n++;
	}
	pthread_mutex_unlock(&p->lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return e && !all->n ? fail(e, "start a thread") : 0;
}

void copiers_stop(struct pager *p)
{
	struct copiers *all = &p->copiers;

	pthread_mutex_lock(&p->lock);
	all->quit = true;
	pthread_cond_broadcast(&all->work);
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < all->n; i++) {
		pthread_join(all->list[i].thread, NULL);
		free(all->list[i].buffer);
	}
	all->n = 0;
	free_pointer(&all->error);
	fd_close(journal_fd(p->journal, JOURNAL_BELL));
	*journal_fd(p->journal, JOURNAL_BELL) = -1;
	pthread_mutex_destroy(&p->lock);
}
