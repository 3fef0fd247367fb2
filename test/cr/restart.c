/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that wait in calls which the kernel restarts in different ways when a tracer interrupts them; which one is the
 * argument:
 *	poll    poll with a timeout of 3 s (restart block) and without (until a byte arrives)
 *	select  select with a timeout of 3 s and pselect without
 *	epoll   epoll_wait with a timeout of 3 s and without (EINTR, never restarted: an engine must hide it)
 *	futex   FUTEX_WAIT with a timeout (restart block), without, a mutex and a condition variable; nanosleep and poll by syscall(2) as well
 *	read    read on a pipe and on an eventfd, write on a full pipe, waitpid
 *	sigwait sigwaitinfo (EINTR, as epoll_wait)
 * A write that has written a part may return with that, and is then called again. No other call may return early or
 * with EINTR; each gets what it waits for.
 */
#include "cr.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>

#define SECONDS 3.0
static int pipes[4][2], epolls[2], event, word = 5, word2 = 6;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, cond_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool signalled;
static pthread_t sleeper;

static void expect_slept(const char *what, double start, int r)
{
	double slept = cr_now(CLOCK_MONOTONIC) - start;

	expect(r == 0, "%s: returned %d (%s) after %.3f s", what, r, strerror(errno), slept);
	expect(slept >= SECONDS - 0.02 && slept < SECONDS + 100, "%s: %.3f s instead of %.1f", what, slept, SECONDS);
}

static void *poll_timeout(void *arg)
{
	struct pollfd p = { pipes[0][0], POLLIN, 0 };
	double start = cr_now(CLOCK_MONOTONIC);

	expect_slept("poll", start, poll(&p, 1, SECONDS * 1000));
	return arg;
}

static void *poll_forever(void *arg)
{
	struct pollfd p = { pipes[1][0], POLLIN, 0 };
	int r = poll(&p, 1, -1);

	expect(r == 1 && p.revents == POLLIN, "poll: returned %d, events %#x: %s", r, (unsigned)p.revents, strerror(errno));
	return arg;
}

static void *select_timeout(void *arg)
{
	struct timeval t = { SECONDS, 0 };
	double start = cr_now(CLOCK_MONOTONIC);
	fd_set set;

	FD_ZERO(&set);
	FD_SET(pipes[0][0], &set);
	expect_slept("select", start, select(pipes[0][0] + 1, &set, NULL, NULL, &t));
	return arg;
}

static void *select_forever(void *arg)
{
	sigset_t mask;
	fd_set set;

	sigemptyset(&mask);
	FD_ZERO(&set);
	FD_SET(pipes[1][0], &set);
	int r = pselect(pipes[1][0] + 1, &set, NULL, NULL, NULL, &mask);
	expect(r == 1 && FD_ISSET(pipes[1][0], &set), "pselect: returned %d: %s", r, strerror(errno));
	return arg;
}

static void *epoll_timeout(void *arg)
{
	struct epoll_event e;
	double start = cr_now(CLOCK_MONOTONIC);

	expect_slept("epoll_wait", start, epoll_wait(epolls[0], &e, 1, SECONDS * 1000));
	return arg;
}

static void *epoll_forever(void *arg)
{
	struct epoll_event e = { 0 };
	int r = epoll_wait(epolls[1], &e, 1, -1);

	expect(r == 1 && e.data.u64 == 4711, "epoll_wait: returned %d, data %ju: %s", r, (uintmax_t)e.data.u64,
	       strerror(errno));
	return arg;
}

static void *futex_timeout(void *arg)
{
	struct timespec t = { SECONDS, 0 };
	double start = cr_now(CLOCK_MONOTONIC);
	int r = syscall(SYS_futex, &word, FUTEX_WAIT, 5, &t, NULL, 0);

	expect(r == -1 && errno == ETIMEDOUT, "futex with a timeout: returned %d: %s", r, strerror(errno));
	expect_slept("futex", start, 0);
	return arg;
}

static void *futex_forever(void *arg)
{
	int r = syscall(SYS_futex, &word2, FUTEX_WAIT_PRIVATE, 6, NULL, NULL, 0);

	expect(r == 0, "futex: returned %d: %s", r, strerror(errno));
	return arg;
}

static void *called_sleep(void *arg)
{
	struct timespec t = { SECONDS, 0 };
	double start = cr_now(CLOCK_MONOTONIC);

	expect_slept("nanosleep by syscall(2)", start, (int)syscall(SYS_nanosleep, &t, NULL));
	return arg;
}

static void *called_poll(void *arg)
{
	struct pollfd p = { pipes[0][0], POLLIN, 0 };
	double start = cr_now(CLOCK_MONOTONIC);

	expect_slept("poll by syscall(2)", start, (int)syscall(SYS_poll, &p, 1L, (long)(SECONDS * 1000)));
	return arg;
}

static void *lock_mutex(void *arg)
{
	pthread_mutex_lock(&mutex);
	expect(access(cr_path("go"), F_OK) == 0, "a locked mutex was given away");
	pthread_mutex_unlock(&mutex);
	return arg;
}

static void *wait_cond(void *arg)
{
	pthread_mutex_lock(&cond_mutex);
	while (!signalled)
		pthread_cond_wait(&cond, &cond_mutex);
	pthread_mutex_unlock(&cond_mutex);
	return arg;
}

static void *read_pipe(void *arg)
{
	char text[8] = "";
	ssize_t n = read(pipes[1][0], text, sizeof(text));

	expect(n == 1 && text[0] == 'x', "read of a pipe: %zd (%s)", n, strerror(errno));
	return arg;
}

static void *read_event(void *arg)
{
	uint64_t value = 0;
	ssize_t n = read(event, &value, 8);

	expect(n == 8 && value == 12, "read of an eventfd: %zd, value %ju (%s)", n, (uintmax_t)value, strerror(errno));
	return arg;
}

static void *write_pipe(void *arg)
{
	static char text[100000];

	memset(text, 'w', sizeof(text));
	for (size_t n = 0; n < sizeof(text);) {
		ssize_t r = write(pipes[2][1], text + n, sizeof(text) - n);
		expect(r > 0, "write to a full pipe: %zd (%s)", r, strerror(errno));
		if (r <= 0)
			break;
		n += r;
	}
	close(pipes[2][1]);
	return arg;
}

static void *wait_signal(void *arg)
{
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	int r = sigwaitinfo(&set, &info);
	expect(r == SIGUSR2, "sigwaitinfo: returned %d: %s", r, strerror(errno));
	return arg;
}

static int exit_on_go(void *arg)
{
	(void)arg;
	cr_child_ready();
	cr_wait_go();
	return 0;
}

static void *wait_child(void *arg)
{
	cr_join(*(pid_t *)arg);
	return arg;
}

static const struct mode {
	const char *name;
	void *(*threads[7])(void *);
} modes[] = {
	{ "poll", { poll_timeout, poll_forever } },
	{ "select", { select_timeout, select_forever } },
	{ "epoll", { epoll_timeout, epoll_forever } },
	{ "futex", { futex_timeout, futex_forever, called_sleep, called_poll, lock_mutex, wait_cond } },
	{ "read", { read_pipe, read_event, write_pipe, wait_child } },
	{ "sigwait", { wait_signal } },
};

static void set_up(void)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 4711 };
	sigset_t set;

	for (int i = 0; i < 4; i++)
		need(pipe(pipes[i]) == 0);
	event = eventfd(0, 0);
	for (int i = 0; i < 2; i++) {
		epolls[i] = epoll_create1(0);
		need(epolls[i] >= 0 && epoll_ctl(epolls[i], EPOLL_CTL_ADD, pipes[i][0], &e) == 0);
	}
	pthread_mutex_lock(&mutex);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	need(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}

/* Gives every thread what it waits for. */
static void release(const char *mode)
{
	static char text[100000];
	uint64_t value = 12;
	size_t n = 0;
	ssize_t r;

	expect(write(pipes[1][1], "x", 1) == 1 && write(event, &value, 8) == 8, "write: %s", strerror(errno));
	__atomic_store_n(&word2, 7, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &word2, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	pthread_mutex_unlock(&mutex);
	pthread_mutex_lock(&cond_mutex);
	signalled = true;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&cond_mutex);
	if (sleeper)
		pthread_kill(sleeper, SIGUSR2);
	while (!strcmp(mode, "read") && (r = read(pipes[2][0], text, sizeof(text))) > 0)
		n += r;
	expect(strcmp(mode, "read") || n == sizeof(text), "%zu of %zu bytes arrived", n, sizeof(text));
}

int main(int argc, char **argv)
{
	const struct mode *mode = NULL;
	pthread_t threads[7];
	pid_t child = 0;
	int n = 0;

	cr_begin(argc, argv);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (argc > 2 && !strcmp(modes[i].name, argv[2]))
			mode = &modes[i];
	if (!mode)
		cr_stop("setup", "", "no such mode");
	set_up();
	if (!strcmp(mode->name, "read"))
		child = cr_fork(exit_on_go, NULL);
	for (; mode->threads[n]; n++) {
		need(pthread_create(&threads[n], NULL, mode->threads[n], &child) == 0);
		if (mode->threads[n] == wait_signal)
			sleeper = threads[n];
	}
	cr_wait_asleep();
	cr_wait();
	cr_sleep_ms(100);  /* so that a call which gives up too early does it before it is served */
	cr_wait_asleep();  /* one that is called anew only now would find that there is nothing to wait for */
	release(mode->name);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return cr_end();
}
