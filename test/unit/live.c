/* SPDX-License-Identifier: Apache-2.0 */
/* Programs (test/live.c) are seized, worked on and released, and stopped, sent signals or killed meanwhile: they go on, and find nothing wrong. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/proc.h"
#include "base/str.h"
#include "harness.h"
#include "live.h"
#include "remote/regs.h"
#include "remote/remote.h"

static void visits(const struct program *p, unsigned n)
{
	struct live l = live_start(p);

	for (unsigned i = 0; i < n; i++) {
		CHECK_OK(live_visit(l.pid, 2));
		if (i % 10 == 0)
			CHECK(live_goes_on(&l));
	}
	CHECK_EQ(live_shared->interrupted, 0);
	live_end(&l);
}

static void one_thread(void)
{
	visits(&compute_program, 500);
}

static void eight_threads(void)
{
	visits(&threads_program, 300);
}

static void asleep(void)
{
	visits(&asleep_program, 300);
}

static void small_stack(void)
{
	visits(&small_stack_program, 300);
}

static void below_a_filter(void)
{
	live_no_sanitizer();
	visits(&refusing_program, 50);
	visits(&killing_program, 50);
}

static void other_user(void)
{
	visits(&other_user_program, 50);
}

static void pid_namespace(void)
{
	struct live l = live_start_in(&compute_program, true);

	for (unsigned i = 0; i < 50; i++)
		CHECK_OK(live_visit(l.pid, 2));
	live_end(&l);
}

/* Nothing is left in the address space. */
static void leaves_nothing(void)
{
	struct live l = live_start(&threads_program);
	autofree char *before = NULL, *after = NULL;

	CHECK_OK(live_visit(l.pid, 1));
	CHECK_OK(proc_read(l.pid, "maps", &before));
	for (int i = 0; i < 10; i++)
		CHECK_OK(live_visit(l.pid, 1));
	CHECK_OK(proc_read(l.pid, "maps", &after));
	CHECK_STR(after, before);
	live_end(&l);
}

/* Signals that come while the program is worked on are handled, all of them, afterwards. */
static void signals_kept(void)
{
	struct live l = live_start(&handler_program);
	unsigned long sent = 0;

	for (unsigned i = 0; i < 100; i++) {
		struct remote *r = NULL;
		int signal;
		unsigned long before = live_shared->signals;
		if (i % 3 == 0)
			kill(l.pid, SIGURG);
		CHECK_OK(remote_seize(l.pid, &r));
		CHECK_OK(remote_wait_stop(r, &signal, 0));
		CHECK_OK(remote_prepare(r, NULL));
		CHECK_OK(live_work(r, 1));
		if (i % 3 == 1)
			kill(l.pid, SIGURG);
		kill(l.pid, SIGWINCH);
		for (int k = 0; k < 3; k++, sent++)
			sigqueue(l.pid, SIGRTMIN, (union sigval){ .sival_int = k });
		CHECK_OK(live_work(r, 2));
		remote_release(&r, 0);
		for (int w = 0; w < 600000 && (live_shared->queued != sent || (i % 3 != 2 && live_shared->signals == before)); w++)
			usleep(100);
		CHECK_EQ(live_shared->queued, sent);
		CHECK_EQ(live_shared->signals, before + (i % 3 != 2));
	}
	live_end(&l);
}

/* It stops when it is given a processor. */
static bool stops(pid_t pid)
{
	struct proc_stat s = { 0 };

	for (int i = 0; i < 60000 && proc_stat_read(pid, &s) == 0 && s.state != 'T'; i++)
		usleep(1000);
	return s.state == 'T';
}

/* A stopped program is worked on and still stopped afterwards; a stop that comes meanwhile takes effect. */
static void stopped(void)
{
	struct live l = live_start(&threads_program);
	struct remote *r = NULL;
	int signal = 0;

	kill(l.pid, SIGSTOP);
	for (int i = 0; i < 20; i++) {
		usleep(1000);
		CHECK_OK(live_visit(l.pid, 2));
	}
	CHECK(stops(l.pid));   /* a thread that each visit stops anew before it comes to it would take the signal now only */
	CHECK_OK(remote_seize(l.pid, &r));
	CHECK_OK(remote_wait_stop(r, &signal, 0));
	CHECK_EQ(signal, SIGSTOP);
	remote_release(&r, 0);
	unsigned long before = live_shared->thread[0].rounds;
	usleep(20000);
	CHECK(stops(l.pid));
	CHECK_EQ(live_shared->thread[0].rounds, before);
	kill(l.pid, SIGCONT);
	CHECK(live_goes_on(&l));

	CHECK_OK(remote_seize(l.pid, &r));
	CHECK_OK(remote_wait_stop(r, &signal, 0));
	CHECK_EQ(signal, 0);
	CHECK_OK(remote_prepare(r, NULL));
	kill(l.pid, SIGSTOP);
	CHECK_OK(live_work(r, 2));
	remote_release(&r, 0);
	CHECK(stops(l.pid));
	kill(l.pid, SIGCONT);
	CHECK(live_goes_on(&l));

	CHECK_OK(remote_seize(l.pid, &r));
	CHECK_OK(remote_wait_stop(r, &signal, 0));
	remote_release(&r, SIGSTOP);
	CHECK(stops(l.pid));
	kill(l.pid, SIGCONT);
	live_end(&l);
}

/* The program is killed at random moments while it is worked on: an error that says so, and no waiting for ever. */
static void victims(const struct program *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct live l = live_start(p);
		unsigned delay = (unsigned)(rand() % 2000);
		int e = 0, status;
		pid_t killer = fork();
		if (!killer) {
			usleep(delay);
			kill(l.pid, SIGKILL);
			_exit(0);
		}
		while (e >= 0 && (err_clear(), waitpid(l.pid, &status, WNOHANG)) == 0)
			e = live_visit(l.pid, 3);
		CHECK(e == 0 || e == -ESRCH || e == -ENOENT);
		err_clear();
		waitpid(killer, NULL, 0);
		waitpid(l.pid, &status, 0);
		CHECK(kill(l.pid, 0) < 0);
	}
}

static void program_killed(void)
{
	victims(&compute_program, 100);
	victims(&threads_program, 100);
}

/* Threads that come and go are all seized in the end. */
static void *short_thread(void *none)
{
	return none;
}

static void run_restless(void)
{
	for (;;) {
		pthread_t t[4];
		for (int i = 0; i < 4; i++)
			pthread_create(&t[i], NULL, short_thread, NULL);
		for (int i = 0; i < 4; i++)
			live_wrong(0, pthread_join(t[i], NULL));
	}
}

static const struct program restless_program = { 1, run_restless };

static struct remote *find_seized(struct remote **r, size_t n, pid_t tid)
{
	for (size_t i = 0; i < n; i++)
		if (remote_tid(r[i]) == tid)
			return r[i];
	return NULL;
}

/* Seizes what is new; returns how many there were. */
static size_t seize_new(pid_t pid, struct remote **r, size_t *n)
{
	autofree int *tids = NULL;
	ssize_t found = proc_numbers(pid, "task", &tids);
	size_t fresh = 0;
	int signal;

	for (ssize_t i = 0; i < found; i++) {
		struct remote *one = NULL;
		if (find_seized(r, *n, tids[i]))
			continue;
		fresh++;
		int e = remote_seize(tids[i], &one);
		if (e == 0)
			e = remote_wait_stop(one, &signal, 0);
		if (e == -ESRCH) {
			CHECK_EQ(err_count(), 0);
			remote_release(&one, 0);
			continue;
		}
		CHECK_OK(e);
		CHECK(*n < THREADS);
		r[(*n)++] = one;
	}
	return fresh;
}

static void restless(void)
{
	struct live l = live_start(&restless_program);

	for (unsigned round = 0; round < 200; round++) {
		struct remote *r[THREADS];
		size_t n = 0;
		while (seize_new(l.pid, r, &n))
			;
		for (size_t i = 0; i < n; i++) {
			CHECK_OK(remote_prepare(r[i], i ? remote_get_mm(r[0]) : NULL));
			CHECK_OK(live_work(r[i], 1));
		}
		while (n--)
			remote_release(&r[n], 0);
	}
	live_end(&l);
}

const struct test tests[] = {
	TEST(one_thread), TEST(eight_threads), TEST(asleep), TEST(small_stack), TEST(below_a_filter), TEST(other_user), TEST(pid_namespace),
	TEST(leaves_nothing), TEST(signals_kept), TEST(stopped), TEST(program_killed), TEST(restless), {},
};
