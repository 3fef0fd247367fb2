/* SPDX-License-Identifier: Apache-2.0 */
/* Moving page content by several threads.
 *
 * Tried on two processors, 1 GiB to and from tmpfs, warmed memory: process_vm_readv + pwrite 1.2–2.0 GB/s by one thread, 2.5–3.1 by
 * two; pread of /proc/PID/mem + pwrite 1.8–2.0 and 2.3–2.6; the task's own pwrite, driven from outside, up to 2.9, but then the image's
 * pages are charged to the memory cgroup of the container, which may have no room for them, and a limit on file sizes would reach it.
 * On the way in, UFFDIO_COPY out of a buffer 2.8 by one, 5.5–6.2 by two; process_vm_writev 2.3 and 4.0; the task's own pread 2.0–2.6. Threads
 * cost about 50 us each, so small amounts have none.
 *
 * While the program runs (pre-dump), the threads beside the caller's take what it leaves of the processors.
 *
 * Threads here make plain system calls only: ptrace stays with the caller's thread. They are gone when pool_run() returns (the engine
 * forks), and block all signals while they run. */
#include "mem/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"

#define THREADS_MAX 4
#define NICE 10
#define PARALLEL_FROM (8u << 20)   /* bytes that are worth a second thread */

struct run {
	bool gentle;
	atomic_size_t next;
	atomic_int error;
	size_t n;
	int (*job)(void *arg, size_t i, void *buffer);
	void *arg;
	pthread_mutex_t lock;
	ARRAY(char *) trail;           /* of the thread that failed first */
};

struct worker {
	struct run *run;
	void *buffer;
	pthread_t thread;
};

/* What this thread has explained since `mark` is handed to the caller's thread. */
static void keep_trail(struct run *r, size_t mark)
{
	pthread_mutex_lock(&r->lock);
	for (size_t i = mark; r->trail.n == 0 && i < err_count(); i++)
		array_push(&r->trail) = str_dup(err_line(i));
	pthread_mutex_unlock(&r->lock);
	err_rewind(mark);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct run *r = w->run;
	size_t mark = err_count();

	for (size_t i; !atomic_load(&r->error) && (i = atomic_fetch_add(&r->next, 1)) < r->n;) {
		int e = r->job(r->arg, i, w->buffer), none = 0;
		if (e < 0 && atomic_compare_exchange_strong(&r->error, &none, e))
			keep_trail(r, mark);
	}
	err_rewind(mark);
	return NULL;
}

static void *work_aside(void *arg)
{
	struct worker *w = arg;

	if (w->run->gentle)
		setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	return work(w);
}

static unsigned thread_count(size_t n, uint64_t bytes)
{
	cpu_set_t cpus;

	if (n < 2 || bytes < PARALLEL_FROM)
		return 1;
	int have = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
	unsigned want = have < THREADS_MAX ? (unsigned)have : THREADS_MAX;
	return n < want ? (unsigned)n : want;
}

static void *pool_buffer(struct pool *p, size_t i)
{
	while (p->buffers.n <= i)
		array_push(&p->buffers) = mem_alloc(POOL_BUFFER);
	return p->buffers.data[i];
}

/* The first worker is the caller's own thread; one that cannot be started is not missed. */
static void run_workers(struct worker *w, unsigned n)
{
	sigset_t all, before;
	unsigned started = 1;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (started < n && pthread_create(&w[started].thread, NULL, work_aside, &w[started]) == 0)
		started++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	work(&w[0]);
	while (started > 1)
		pthread_join(w[--started].thread, NULL);
}

int pool_run(struct pool *p, size_t n, uint64_t bytes, int (*job)(void *arg, size_t i, void *buffer), void *arg)
{
	struct run r = { .gentle = p->gentle, .n = n, .job = job, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER };
	struct worker w[THREADS_MAX];
	bool roam = p->turns && bytes >= PARALLEL_FROM;

	if (n == 0)
		return 0;
	if (roam)
		turns_pause(p->turns);
	unsigned threads = thread_count(n, bytes);
	for (unsigned i = 0; i < threads; i++)
		w[i] = (struct worker){ .run = &r, .buffer = pool_buffer(p, i) };
	if (threads == 1)
		work(&w[0]);
	else
		run_workers(w, threads);
	if (roam)
		turns_resume(p->turns);
	int e = atomic_load(&r.error);
	for (size_t i = 0; i < r.trail.n; i++) {
		fail_text(-e, "%s", r.trail.data[i]);
		free(r.trail.data[i]);
	}
	array_free(&r.trail);
	return e;
}

void pool_done(struct pool *p)
{
	for (size_t i = 0; i < p->buffers.n; i++)
		free(p->buffers.data[i]);
	array_free(&p->buffers);
}
