/* SPDX-License-Identifier: Apache-2.0 */
/* Page content for who restores a lazy dump: each connection has a thread, which answers one request after another.
 *
 *   GET     ADD_F with the same address and id and as many pages as follow each other there, and their content
 *   SAME    whether these are the pages of the client's images (torpor's own)
 *   RUNS    the program goes on there from here on (torpor's own)
 *   CLOSE   the client has what it wants: the end of it all
 *
 * 1. A client whose connection is cut comes again. The server may not have noticed yet: it takes new connections beside the old ones,
 *    which have nothing that could be in each other's way, as pages are only read.
 * 2. The program must not run in two places. It is taken over when a client says RUNS, or, not being torpor (it has not said SAME), asks
 *    for the first page. Until then a client that breaks off, or closes, has failed, and that ends the serving: the program is still
 *    this side's. Afterwards only CLOSE ends it, or this side's user.
 * 3. A connection without a word is nobody's: somebody has looked whether the port is open.
 * 4. Content that cannot be read ends the serving. No client ever gets other pages than it asked for, or fewer than announced: its
 *    connection ends instead. */
#define LOG_PREFIX "page-server"
#include "pages/giver.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "pages/channel.h"
#include "pages/socket.h"
#include "pages/wire.h"

#define LINKS_MAX 16
#define BUFFER (256u << 10)

struct giving;
struct link {
	struct giving *all;
	pthread_t thread;
	int sock;                    /* taken by the channel, if there is one */
	int number;                  /* its number, open until the thread has been joined */
	struct channel *channel;
	bool used, ended;            /* has a thread; which is at its end */
	bool same;                   /* the client is torpor, and has the same images */
	bool old;                    /* the client is an older CRIU (wire.c) */
};

struct giving {
	const struct giver *g;
	int event;                   /* wakes the main thread */
	pthread_mutex_t lock;        /* of all below */
	bool taken, closed, failed;
	bool broke_off;              /* a client, before it has taken over */
	uint64_t pages;
	char why[512];               /* failed */
	struct link links[LINKS_MAX];
};

static void take_over(struct giving *a)
{
	pthread_mutex_lock(&a->lock);
	if (!a->taken && a->g->taken)
		a->g->taken(a->g->arg);
	a->taken = true;
	pthread_mutex_unlock(&a->lock);
}

/* --- answers --- */

static int answer(struct link *l, int32_t status)
{
	return channel_send(l->channel, &status, sizeof status);
}

static int cannot_read(struct giving *a)
{
	pthread_mutex_lock(&a->lock);
	if (!a->failed)
		snprintf(a->why, sizeof a->why, "%s", err_line(0) ? err_line(0) : "pages cannot be read");
	a->failed = true;
	pthread_mutex_unlock(&a->lock);
	return -EIO;
}

static int give(struct link *l, const struct wire_message *m, char *buffer)
{
	struct giving *a = l->all;
	pid_t pid = (pid_t)m->id;
	uint64_t pages = a->g->stretch(a->g->arg, pid, m->address, m->pages), size = pages * WIRE_PAGE;
	struct wire_message head = { .command = WIRE_ADD_F, .flags = 4, .pages = pages, .address = m->address, .id = m->id, .bare = true };
	size_t used = l->old ? WIRE_OLD_SIZE : WIRE_SIZE;

	if (!pages)
		return fail_text(EPROTO, "a request for pages of task %d at %" PRIx64 ", where it has none", pid, m->address);
	if (!l->same)
		take_over(a);
	wire_encode(&head, (unsigned char *)buffer);
	if (l->old)
		wire_narrow((unsigned char *)buffer);
	for (uint64_t at = 0; at < size;) {
		uint64_t part = size - at < BUFFER ? size - at : BUFFER;
		if (a->g->read(a->g->arg, pid, m->address + at, buffer + used, part) < 0)
			return cannot_read(a);
		int e = channel_send(l->channel, buffer, used + part);
		if (e < 0)
			return e;
		at += part;
		used = 0;
	}
	pthread_mutex_lock(&a->lock);
	a->pages += pages;
	pthread_mutex_unlock(&a->lock);
	return 0;
}

static int is_same(struct link *l, const struct wire_message *m)
{
	l->same = m->id == l->all->g->mark;
	int e = answer(l, l->same ? 0 : -ESTALE);
	return e < 0 ? e : l->same ? 0 : fail_text(ESTALE, "a client whose images are of another dump");
}

static int runs(struct link *l)
{
	take_over(l->all);
	return answer(l, 0);
}

/* 1: the client has closed. */
static int obey(struct link *l, const struct wire_message *m, char *buffer)
{
	switch (m->command) {
	case WIRE_GET: return give(l, m, buffer);
	case WIRE_SAME: return is_same(l, m);
	case WIRE_RUNS: return runs(l);
	case WIRE_CLOSE:
	case WIRE_FORCE_CLOSE: return 1;
	default: return fail_text(EPROTO, "pages from a client: this server gives pages, it takes none");
	}
}

/* --- a connection --- */

static void link_end(struct link *l, int result, bool spoken)
{
	struct giving *a = l->all;
	const uint64_t one = 1;

	pthread_mutex_lock(&a->lock);
	if (result == 1 && (a->taken || a->g->harmless))
		a->closed = true;
	else if (spoken && !a->taken && !a->g->harmless && (l->same || result == 1))
		a->broke_off = true;
	l->ended = true;
	bool closed = a->closed;
	pthread_mutex_unlock(&a->lock);
	if (result == 1)
		answer(l, closed ? 0 : -ECANCELED);
	if (l->channel)
		shutdown(channel_socket(l->channel), SHUT_RDWR);
	if (write(a->event, &one, sizeof one) < 0)
		log_warn("wake the page server: %m");
}

static int receive(struct link *l, unsigned char *bytes, bool first)
{
	int e = channel_recv(l->channel, bytes, first || l->old ? WIRE_OLD_SIZE : WIRE_SIZE);

	if (e == 0 && first)
		l->old = wire_is_old(bytes);
	if (e == 0 && first && !l->old)
		e = channel_recv(l->channel, bytes + WIRE_OLD_SIZE, WIRE_SIZE - WIRE_OLD_SIZE);
	if (e == 0 && l->old)
		wire_widen(bytes);
	return e;
}

/* 1: the client has closed; *spoken: there was a client. */
static int link_serve(struct link *l, bool *spoken)
{
	autofree char *buffer = mem_alloc(WIRE_SIZE + BUFFER);
	int e = channel_accept(l->all->g->where, take_fd(&l->sock), "the pager", &l->channel);

	while (e == 0) {
		struct wire_message m;
		unsigned char bytes[WIRE_SIZE];
		e = receive(l, bytes, !*spoken);
		if (e < 0)
			break;
		*spoken = true;
		e = wire_decode(bytes, &m);
		if (e == 0)
			e = obey(l, &m, buffer);
	}
	return e;
}

static void *link_run(void *arg)
{
	struct link *l = arg;
	bool spoken = false;
	int e = link_serve(l, &spoken);

	if (e < 0 && spoken)
		log_warn("%s", err_line(0));
	else if (e < 0)
		log_debug("a connection without a word: %s", err_line(0));
	err_clear();
	link_end(l, e, spoken);
	return NULL;
}

static void link_join(struct link *l)
{
	if (!l->used)
		return;
	pthread_join(l->thread, NULL);
	fd_close(&l->sock);
	channel_free(&l->channel);
	l->used = false;
}

static struct link *free_link(struct giving *a)
{
	struct link *free = NULL;

	for (size_t i = 0; i < LINKS_MAX; i++) {
		pthread_mutex_lock(&a->lock);
		bool ended = a->links[i].ended;
		pthread_mutex_unlock(&a->lock);
		if (a->links[i].used && ended)
			link_join(&a->links[i]);
		if (!a->links[i].used)
			free = &a->links[i];
	}
	return free;
}

/* Signals are the main thread's. */
static int link_start(struct giving *a, int sock)
{
	struct link *l = free_link(a);
	sigset_t all, before;

	if (!l) {
		log_warn("more than %d connections: one is turned away", LINKS_MAX);
		fd_close(&sock);
		return 0;
	}
	page_patience(sock);
	*l = (struct link){ .all = a, .sock = sock, .number = sock };
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int e = pthread_create(&l->thread, NULL, link_run, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	l->used = e == 0;
	if (e)
		fd_close(&sock);
	return e ? fail(e, "start a thread for a connection") : 0;
}

/* --- all of them --- */

/* 1: goes on. */
static int state(struct giving *a, bool connected)
{
	pthread_mutex_lock(&a->lock);
	bool taken = a->taken, closed = a->closed, failed = a->failed, broke_off = a->broke_off;
	bool gone = connected && a->links[0].ended;
	pthread_mutex_unlock(&a->lock);
	if (closed)
		return 0;
	if (failed)
		return fail_text(EIO, "%s", a->why);
	if (broke_off)
		return fail_text(ECANCELED, "the other side has broken off before the program ran there");
	if (gone)
		return fail_text(taken ? ECONNRESET : ECANCELED, "the only connection (--ps-socket) has ended");
	return 1;
}

static int wait_some(struct giving *a, int sock)
{
	struct pollfd fds[] = { { sock, POLLIN, 0 }, { a->event, POLLIN, 0 }, { a->g->stop_fd, POLLIN, 0 } };
	uint64_t count;

	if (poll(fds, 3, -1) < 0)
		return errno == EINTR ? 0 : fail(errno, "wait for connections");
	if (fds[1].revents && read(a->event, &count, sizeof count) < 0)
		return fail(errno, "wait for connections");
	if (fds[2].revents)
		return fail_text(EINTR, "told to end before all pages were fetched");
	if (!fds[0].revents)
		return 0;
	int fd = accept4(sock, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 && errno != EINTR && errno != ECONNABORTED && errno != EAGAIN)
		return fail(errno, "take a connection");
	return fd < 0 ? 0 : link_start(a, fd);
}

static void end_links(struct giving *a)
{
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < LINKS_MAX; i++)
		if (a->links[i].used && !a->links[i].ended)
			shutdown(a->links[i].number, SHUT_RDWR);
	pthread_mutex_unlock(&a->lock);
	for (size_t i = 0; i < LINKS_MAX; i++)
		link_join(&a->links[i]);
}

int giver_run(const struct giver *g, int sock, bool connected)
{
	struct giving a = { .g = g, .event = eventfd(0, EFD_CLOEXEC) };
	int e = a.event < 0 ? fail(errno, "make an eventfd") : 1;

	pthread_mutex_init(&a.lock, NULL);
	if (e > 0 && connected)
		e = link_start(&a, take_fd(&sock)) < 0 ? -EIO : 1;
	while (e > 0) {
		e = wait_some(&a, connected ? -1 : sock);
		if (e >= 0)
			e = state(&a, connected);
	}
	fd_close(&sock);
	end_links(&a);
	if (e < 0 && a.taken)
		fail_hint("the program may be running at the other side");
	log_info("%" PRIu64 " MiB of pages were fetched, %s", a.pages >> 8, e < 0 ? "not all that were wanted" : "which is all that was wanted");
	pthread_mutex_destroy(&a.lock);
	fd_close(&a.event);
	return e;
}
