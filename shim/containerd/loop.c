/* SPDX-License-Identifier: Apache-2.0 */
/* epoll, a signalfd and a sorted list of timers. Everything of the shim's runs in here; what takes long is done by worker processes
 * (job.c). SIGCHLD comes through the signalfd, and all ended children are reaped then: which of them matters is for others to know. */
#include "containerd/loop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

#define EVENTS 16

static struct {
	int epoll, signals;
	bool ended;
	struct loop_timer *timers;
	struct epoll_event ready[EVENTS];   /* those of this round that are still to be served */
	int n_ready;
	void (*child)(pid_t pid, int status);
	void (*stop)(void);
	sigset_t before;
} loop = { .epoll = -1, .signals = -1 };

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int loop_add(struct loop_watch *w, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	w->events = events;
	return epoll_ctl(loop.epoll, EPOLL_CTL_ADD, w->fd, &e) < 0 ? fail(errno, "watch descriptor %d", w->fd) : 0;
}

void loop_want(struct loop_watch *w, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	if (w->fd >= 0 && w->events != events)
		epoll_ctl(loop.epoll, EPOLL_CTL_MOD, w->fd, &e);
	w->events = events;
}

void loop_remove(struct loop_watch *w)
{
	if (w->fd >= 0)
		epoll_ctl(loop.epoll, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = 0; i < loop.n_ready; i++)
		if (loop.ready[i].data.ptr == w)
			loop.ready[i].data.ptr = NULL;
}

void loop_cancel(struct loop_timer *t)
{
	struct loop_timer **p = &loop.timers;

	while (*p && *p != t)
		p = &(*p)->next;
	if (*p)
		*p = t->next;
	t->at = 0;
}

void loop_after(struct loop_timer *t, unsigned ms)
{
	struct loop_timer **p = &loop.timers;

	loop_cancel(t);
	t->at = now_ms() + ms;
	while (*p && (*p)->at <= t->at)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
}

void loop_on_child(void (*ended)(pid_t pid, int status))
{
	loop.child = ended;
}

void loop_on_stop(void (*stop)(void))
{
	loop.stop = stop;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (loop.child)
			loop.child(pid, status);
}

static void take_signals(void)
{
	struct signalfd_siginfo s;

	while (read(loop.signals, &s, sizeof s) == sizeof s) {
		if (s.ssi_signo == SIGCHLD)
			reap();
		else if (loop.stop)
			loop.stop();
	}
}

int loop_begin(void)
{
	struct epoll_event e = { .events = EPOLLIN };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, &loop.before);
	signal(SIGPIPE, SIG_IGN);
	loop.epoll = epoll_create1(EPOLL_CLOEXEC);
	loop.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop.epoll < 0 || loop.signals < 0 || epoll_ctl(loop.epoll, EPOLL_CTL_ADD, loop.signals, &e) < 0)
		return fail(errno, "set up the event loop");
	return 0;
}

void loop_forked(void)
{
	fd_close(&loop.epoll);
	fd_close(&loop.signals);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &loop.before, NULL);
}

static int fire_timers(void)
{
	uint64_t now = now_ms();

	while (loop.timers && loop.timers->at <= now) {
		struct loop_timer *t = loop.timers;
		loop.timers = t->next;
		t->at = 0;
		t->fire(t->arg);
	}
	return loop.timers ? (int)(loop.timers->at - now) : -1;
}

static bool serve(struct epoll_event *e)
{
	struct loop_watch *w = e->data.ptr;

	if (w)
		w->ready(w->arg, e->events);
	return w != NULL;
}

int loop_run(void)
{
	while (!loop.ended) {
		int timeout = fire_timers();
		if (loop.ended)
			break;
		int n = epoll_wait(loop.epoll, loop.ready, EVENTS, timeout);
		if (n < 0 && errno != EINTR)
			return fail(errno, "wait for events");
		bool signals = false;
		loop.n_ready = n < 0 ? 0 : n;
		for (int i = 0; i < loop.n_ready; i++)
			signals |= !loop.ready[i].data.ptr;
		for (int i = 0; i < loop.n_ready; i++) {
			struct epoll_event e = loop.ready[i];
			loop.ready[i].data.ptr = NULL;
			serve(&e);
		}
		loop.n_ready = 0;
		if (signals)   /* last: what a child has written before its end was read in this round */
			take_signals();
	}
	return 0;
}

void loop_end(void)
{
	loop.ended = true;
}
