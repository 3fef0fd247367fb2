/* SPDX-License-Identifier: Apache-2.0 */
/* The pager: memory of tasks that run already.
 *
 *   events  a fault, fork, mremap, munmap, madvise of some task: changes of what is missing, and pages at once for who waits (events.c)
 *   answers from the page server, if that has the content: asked for by this thread, nearest to the last fault first (fetch.c)
 *   copying the rest from the images, after the restore's word: by other threads (copy.c)
 *
 * 1. What is missing of an address space (space.c) changes only by what the kernel has told: while it has something to tell,
 *    UFFDIO_COPY says EAGAIN, and the fault or the piece waits until that has been read. What has been told is in the journal as well.
 * 2. A userfaultfd is closed when nothing is missing any more, never before: closing wakes all who wait, and they would read zeroes. So
 *    there are two processes that have it, and either may be killed (guard.c, journal.c).
 * 3. A task that has ended, or executed another program, takes its address space with it (ESRCH).
 * 4. A pager that gives up (an image that cannot be read, SIGTERM) poisons what is missing before it closes: who needs it gets SIGBUS.
 * 5. The restore is told when all of that is in force; its tasks do not run before. */
#define LOG_PREFIX "lazy"
#include "lazy/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stage.h"
#include "lazy/guard.h"
#include "lazy/internal.h"
#include "lazy/request.h"
#include "mem/lazy.h"

#define WAIT_US 20                 /* for a task to take notice of what has been read */

/* --- address spaces --- */

struct lazy_task *lazy_task_add(struct pager *p, const struct task *t, int uffd)
{
	struct lazy_task *l = mem_zalloc(sizeof *l);

	l->number = p->tasks.n;
	l->task = t;
	l->uffd = uffd;
	array_push(&p->tasks) = l;
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

/* --- the restore --- */

static int receive_task(struct pager *p, size_t *received)
{
	int32_t pid;
	int uffd = -1, e = fd_read_all(p->sock, &pid, sizeof pid);

	if (e < 0)
		return e == -ENODATA ? fail_text(ECONNRESET, "the restore has ended before all its tasks were in place") :
				       fail(-e, "receive a task from the restore");
	if (pid == LAZY_REQUEST)
		return request_serve(p->r, p->content, p->sock);
	*received += 1;
	if (pid < 0)
		return 0;
	const struct task *t = tree_find(p->r->tree, pid);
	int n = t && t->state != TASK_DEAD ? fd_recv(p->sock, &uffd, 1) : -EPROTO;
	if (n != 1)
		return fail(n < 0 ? -n : EPROTO, "receive the userfaultfd of task %d", pid);
	journal_task(p->journal, pid, uffd);
	return 0;
}

static int receive_tasks(struct pager *p)
{
	int e = 0;

	for (size_t n = 0; n < p->r->tree->tasks.n && e == 0;)
		e = receive_task(p, &n);
	return e;
}

static int receive_go(struct pager *p)
{
	int e = fd_read_all(p->sock, journal_go(p->journal), sizeof(uint32_t));

	if (e == 0 && *journal_go(p->journal) == LAZY_REQUEST) {
		*journal_asked(p->journal) = true;
		e = request_serve(p->r, p->content, p->sock);
		*journal_asked(p->journal) = false;
		return e;
	}
	if (e < 0 || *journal_go(p->journal) != LAZY_GO)
		return fail_text(ECONNRESET, "the restore has failed");
	fd_close(&p->sock);
	p->sock = -1;
	p->go = true;
	pthread_cond_broadcast(&p->copiers.work);
	return 0;
}

/* --- the loop --- */

/* Userfaultfds that are no longer needed are closed. */
static int close_some(struct pager *p)
{
	int e = 0;

	for (size_t i = 0; i < p->tasks.n && e == 0; i++) {
		struct lazy_task *l = p->tasks.data[i];
		if (p->go && !l->space.size && !l->flights)
			task_over(l, "all of its memory is there");
		if (!l->gone || l->uffd < 0 || l->flights)
			continue;
		e = events_room(p);
		if (e < 0)
			return e;
		journal_end(p->journal, l->number);
		fd_close(&l->uffd);
		l->uffd = -1;
	}
	return e;
}

/* What the page server still answers has to be taken first: it is asked to end on the same connection. */
static bool is_done(const struct pager *p)
{
	bool done = p->go && !p->asked.n;

	for (size_t i = 0; i < p->tasks.n && done; i++)
		done = p->tasks.data[i]->uffd < 0;
	return done;
}

/* How long to sleep, if nothing comes: NULL, for ever. */
static const struct timespec *patience(const struct pager *p)
{
	static const struct timespec none = { 0 }, retry = { .tv_nsec = WAIT_US * 1000 }, lost = { .tv_nsec = 200000000 };

	for (size_t i = 0; i < p->tasks.n; i++) {
		const struct lazy_task *l = p->tasks.data[i];
		for (size_t k = 0; k < l->faults.n; k++)
			if (!l->faults.data[k].remote && !is_flying(p, l, l->faults.data[k].address))
				return &retry;
	}
	return !p->lost ? NULL : clock_us() - p->lost_us < FETCH_RETRY_US ? &lost : &none;
}

enum { RESTORE, SERVER, GUARD, BELL, OTHERS };

/* Waits; *out: what has come, the tasks' first. */
static int await(struct pager *p, struct pollfd **out)
{
	size_t n = p->tasks.n;
	struct pollfd *fds = *out = mem_zalloc((n + OTHERS) * sizeof *fds);

	for (size_t i = 0; i < n; i++)
		fds[i] = (struct pollfd){ p->tasks.data[i]->uffd, POLLIN, 0 };
	fds[n + RESTORE] = (struct pollfd){ p->sock, POLLIN, 0 };
	fds[n + SERVER] = (struct pollfd){ content_socket(p->content), POLLIN, 0 };
	fds[n + GUARD] = (struct pollfd){ *journal_fd(p->journal, JOURNAL_GUARD), POLLIN, 0 };
	fds[n + BELL] = (struct pollfd){ *journal_fd(p->journal, JOURNAL_BELL), POLLIN, 0 };
	const struct timespec *t = patience(p);
	pthread_mutex_unlock(&p->lock);
	int r = ppoll(fds, n + OTHERS, t, NULL), e = errno;
	pthread_mutex_lock(&p->lock);
	return r < 0 && e != EINTR ? fail(e, "wait for faults") : 0;
}

static int take_tasks(struct pager *p, const struct pollfd *fds, size_t n)
{
	int e = 0;

	for (size_t i = 0; i < n && e == 0; i++) {
		struct lazy_task *l = p->tasks.data[i];
		if (!fds[i].revents || l->gone)
			continue;
		hold(p, l);
		e = events_read(p, l);
		hold_end(p, l);
	}
	return e;
}

/* With the lock. */
static int loop_once(struct pager *p)
{
	size_t n = p->tasks.n;
	uint64_t rung;
	autofree struct pollfd *fds = NULL;
	int e = await(p, &fds);

	if (e == 0)
		e = take_tasks(p, fds, n);
	if (e == 0 && fds[n + RESTORE].revents)
		e = receive_go(p);
	if (e == 0 && fds[n + SERVER].revents && content_socket(p->content) >= 0)
		do
			e = fetch_answer(p);
		while (e == 0 && content_pending(p->content));
	if (fds[n + BELL].revents && read(*journal_fd(p->journal, JOURNAL_BELL), &rung, sizeof rung) < 0)
		return fail(errno, "read from an eventfd");
	if (e == 0)
		fetch_reconnect(p);
	for (size_t i = 0; i < p->tasks.n && e == 0; i++)
		if (p->tasks.data[i]->faults.n)
			e = faults_serve(p, p->tasks.data[i]);
	if (e == 0)
		fetch_some(p);
	if (e == 0)
		e = close_some(p);
	if (e == 0 && p->copiers.error)
		e = fail_text(EIO, "%s", p->copiers.error);
	return e == 0 && fds[n + GUARD].revents ? GUARD_GONE : e;
}

/* --- the process --- */

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
	prctl(PR_SET_NAME, "torpor-pager");
	prctl(PR_SET_TIMERSLACK, 1);
}

static int replay_task(void *arg, pid_t pid, int uffd, bool images)
{
	struct pager *p = arg;
	struct lazy_task *l = lazy_task_add(p, tree_find(p->r->tree, pid), uffd);

	l->gone = uffd < 0;
	if (images)
		fill_space(p, l);
	return 0;
}

static void replay_missing(void *arg, size_t task, const struct missing *m)
{
	const struct pager *p = arg;

	space_add(&p->tasks.data[task]->space, m->start, m->end, m->at);
}

static void replay_end(void *arg, size_t task, bool last)
{
	struct pager *p = arg;
	struct lazy_task *l = p->tasks.data[task];

	task_over(l, "is complete");
	if (last)                    /* what was to follow it may have been missed */
		close(l->uffd);
	l->uffd = -1;
}

/* All that the last pager has known; what it had open besides is closed. */
static int take_over(struct pager *p, bool again)
{
	static const struct journal_reader reader = { replay_task, replay_missing, event_take, replay_end };

	for (size_t i = 0; i < JOURNAL_FDS; i++)
		if (again || i != JOURNAL_SERVER) {
			fd_close(journal_fd(p->journal, i));
			*journal_fd(p->journal, i) = -1;
		}
	int e = journal_replay(p->journal, &reader, p);
	if (!again || e < 0)
		return e;
	for (size_t i = 0; i < p->tasks.n; i++)
		if (p->tasks.data[i]->uffd >= 0) {
			events_ready(p->tasks.data[i]);
			wake_all(p->tasks.data[i]);
		}
	p->go = *journal_go(p->journal) == LAZY_GO;
	if (p->go)
		p->sock = -1;                /* the last pager has closed it */
	if (p->server) {
		content_forget(p->content);
		p->lost = true;
		p->lost_us = 0;
	}
	return 0;
}

/* The last pager was killed before it had answered the restore, or right after that. */
static int answer_again(struct pager *p)
{
	fetch_reconnect(p);
	int e = p->lost ? fail_text(ECONNRESET, "the page server is not there again") : request_runs(p->content, p->sock);
	*journal_asked(p->journal) = false;
	return e;
}

/* From here on nothing is lost when this process is killed. */
static int tell_begun(struct pager *p, pid_t guard)
{
	int *fd = journal_fd(p->journal, JOURNAL_GUARD);

	*fd = (int)syscall(SYS_pidfd_open, guard, 0);
	if (getppid() != guard)
		return GUARD_GONE;
	if (*fd < 0)
		return fail(errno, "open the pager's guardian");
	if (*journal_asked(p->journal))
		return answer_again(p);
	if (!*journal_begun(p->journal) && p->sock >= 0 && send(p->sock, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
		*journal_begun(p->journal) = true;
	return 0;
}

static void forget(struct pager *p)
{
	for (size_t i = 0; i < p->tasks.n; i++) {
		space_done(&p->tasks.data[i]->space);
		array_free(&p->tasks.data[i]->faults);
		free(p->tasks.data[i]);
	}
	array_free(&p->tasks);
	array_free(&p->asked);
	free_pointer(&p->buffer);
}

static int give_up(struct pager *p, int e)
{
	for (size_t i = 0; i < p->tasks.n; i++)
		if (!p->tasks.data[i]->gone)
			put_poison(p->tasks.data[i]);
	return e;
}

/* A pager; `guard` is the process that is to start another one. */
static int serve_all(void *arg, bool again, pid_t guard)
{
	struct pager *p = arg;
	uint64_t begin = clock_us();

	be_important();
	if (take_over(p, again) < 0) {
		log_trail();
		abort();               /* not an exit: what is missing is not known */
	}
	p->buffer = mem_alloc(CONTENT_MAX);
	int e = copiers_start(p);
	if (e == 0)
		e = tell_begun(p, guard);
	pthread_mutex_lock(&p->lock);
	while (e == 0 && !is_done(p))
		e = stopped ? fail_text(EINTR, "the pager was told to end") : loop_once(p);
	pthread_mutex_unlock(&p->lock);
	copiers_stop(p);
	if (e == 0)
		e = content_end(p->content);
	log_info("%" PRIu64 " faults, %" PRIu64 " pages in %" PRIu64 " ms", p->faults, p->pages, (clock_us() - begin) / 1000);
	e = e < 0 ? give_up(p, e) : e;
	forget(p);
	return e;
}

int pager_run(struct restore *r, int sock, const struct ck_page_peer *server)
{
	struct pager p = { .r = r, .sock = sock, .server = server };
	int e = content_open(r, server, &p.content);

	file_write(AT_FDCWD, "/proc/self/oom_score_adj", "-1000");
	if (e == 0)
		e = journal_new(r->tree->tasks.n, &p.journal);
	if (e == 0)
		*journal_fd(p.journal, JOURNAL_SERVER) = content_socket(p.content);
	if (e == 0)
		e = receive_tasks(&p);
	if (e == 0)
		e = guard_run(serve_all, &p);
	journal_free(&p.journal);
	content_free(&p.content);
	return e;
}
