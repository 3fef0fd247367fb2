/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX timers: ids with gaps (one in between is deleted), four clocks, notification by signal with a value, to one
 * thread, by none; armed, disarmed, periodic, absolute; one that has overrun while its signal is blocked.
 */
#include "cr.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#define TIMERS 6

/* Kernel timers, without the C library's ids. */
static int timers[TIMERS];
static volatile pid_t worker;
static pthread_barrier_t ready, checked;

static int create(clockid_t clock, int notify, int signo, int value, pid_t tid)
{
	struct sigevent e = { .sigev_notify = notify, .sigev_signo = signo, .sigev_value.sival_int = value };
	int id = -1;

	if (notify == SIGEV_THREAD_ID)
		e.sigev_notify_thread_id = tid;
	need(syscall(SYS_timer_create, clock, &e, &id) == 0);
	return id;
}

static void arm(int id, int flags, double value, double interval)
{
	struct itimerspec t = { { (time_t)interval, (long)(interval * 1e9) % 1000000000 },
				{ (time_t)value, (long)((value - (time_t)value) * 1e9) } };

	need(syscall(SYS_timer_settime, id, flags, &t, NULL) == 0);
}

static void expect_left(const char *what, int id, double least, double most, double interval)
{
	struct itimerspec t;

	if (syscall(SYS_timer_gettime, id, &t) < 0) {
		cr_fault(__FILE__, __LINE__, "%s: timer %d: %s", what, id, strerror(errno));
		return;
	}
	double left = t.it_value.tv_sec + t.it_value.tv_nsec / 1e9;
	double every = t.it_interval.tv_sec + t.it_interval.tv_nsec / 1e9;
	expect(left >= least && left <= most, "%s: %.6f s left, not %.3f to %.3f", what, left, least, most);
	expect(every > interval - 1e-6 && every < interval + 1e-6, "%s: interval %.6f instead of %.6f", what, every, interval);
}

static void *work(void *arg)
{
	sigset_t set;
	siginfo_t info;
	struct timespec most = { 40, 0 };

	worker = gettid();
	pthread_barrier_wait(&ready);
	cr_wait_go();
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 2);
	for (int i = 0; i < 3; i++) {
		int r = sigtimedwait(&set, &info, &most);
		expect(r == SIGRTMIN + 2 && info.si_code == SI_TIMER, "the thread's timer does not tick: %s", strerror(errno));
		expect(r < 0 || info.si_value.sival_int == 42, "the thread's timer: value %d", info.si_value.sival_int);
	}
	pthread_barrier_wait(&checked);
	return arg;
}

int main(int argc, char **argv)
{
	struct timespec most = { 40, 0 };
	sigset_t set;
	siginfo_t info;
	pthread_t t;

	cr_begin(argc, argv);
	sigemptyset(&set);
	for (int i = 0; i < 6; i++)
		sigaddset(&set, SIGRTMIN + i);
	need(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	pthread_barrier_init(&ready, NULL, 2);
	pthread_barrier_init(&checked, NULL, 2);
	need(pthread_create(&t, NULL, work, NULL) == 0);
	pthread_barrier_wait(&ready);

	timers[0] = create(CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN, 1, 0);
	int gap = create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0);
	timers[1] = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 1, 7, 0);
	timers[2] = create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 2, 42, worker);
	timers[3] = create(CLOCK_BOOTTIME, SIGEV_NONE, 0, 0, 0);
	timers[4] = create(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGRTMIN + 4, 9, 0);
	timers[5] = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 5, 11, 0);
	need(syscall(SYS_timer_delete, gap) == 0);
	arm(timers[0], 0, 1000.25, 3.5);
	arm(timers[1], 0, 0.01, 0); /* expires before it is ready: its signal is pending */
	arm(timers[2], 0, 0.03, 0.03);
	arm(timers[3], TIMER_ABSTIME, cr_now(CLOCK_BOOTTIME) + 2000, 0);
	arm(timers[4], 0, 500, 1.25);
	cr_sleep_ms(100);
	while (sigpending(&set) == 0 && !sigismember(&set, SIGRTMIN + 1))
		cr_sleep_ms(1);
	cr_wait();

	expect_left("real", timers[0], 900, 1000.25, 3.5);
	expect_left("expired", timers[1], 0, 0, 0);
	expect_left("thread", timers[2], 0, 0.03, 0.03);
	expect_left("absolute", timers[3], 1000, 2000, 0);
	expect_left("processor time", timers[4], 400, 500, 1.25);
	expect_left("disarmed", timers[5], 0, 0, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	int r = sigtimedwait(&set, &info, &(struct timespec){ 0, 0 });
	expect(r == SIGRTMIN + 1 && info.si_value.sival_int == 7, "the signal of an expired timer is not pending");
	arm(timers[5], 0, 0.01, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 5);
	r = sigtimedwait(&set, &info, &most);
	expect(r == SIGRTMIN + 5 && info.si_value.sival_int == 11, "a timer armed afterwards does not signal");
	pthread_barrier_wait(&checked);
	pthread_join(t, NULL);
	return cr_end();
}
