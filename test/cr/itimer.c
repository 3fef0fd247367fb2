/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three interval timers: what is left of each and its interval. The time between dump and restore does not count, so
 * the rest is at most what it was. The real one, of 50 ms, goes on ticking in a child.
 */
#include "cr.h"

#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;

static void tick(int signo)
{
	(void)signo;
	ticks++;
}

static int ticking(void *arg)
{
	struct sigaction a = { .sa_handler = tick, .sa_flags = SA_RESTART };
	struct itimerval v = { { 0, 50000 }, { 0, 50000 } };

	(void)arg;
	need(sigaction(SIGALRM, &a, NULL) == 0 && setitimer(ITIMER_REAL, &v, NULL) == 0);
	cr_child_ready();
	cr_wait_go();
	double start = cr_now(CLOCK_MONOTONIC), passed = 0;   /* first: what ticks in between counts less, not more */
	ticks = 0;
	int n = 0;
	while (n < 10 && passed < 20) {
		cr_sleep_ms(10);
		n = ticks;
		passed = cr_now(CLOCK_MONOTONIC) - start;
	}
	expect(n >= 10 && n <= passed / 0.05 + 2, "%d ticks of 50 ms in %.3f s", n, passed);
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "real", "virtual", "profiling" };

	cr_begin(argc, argv);
	for (int i = 0; i < 3; i++) {
		struct itimerval v = { { 7 + i, 1000 * i }, { 1000 + i, 500000 } };
		need(setitimer(i, &v, NULL) == 0);
	}
	pid_t pid = cr_fork(ticking, NULL);
	cr_wait();
	for (int i = 0; i < 3; i++) {
		struct itimerval v;
		expect(getitimer(i, &v) == 0, "getitimer %s", names[i]);
		double left = v.it_value.tv_sec + v.it_value.tv_usec / 1e6;
		expect(v.it_interval.tv_sec == 7 + i && v.it_interval.tv_usec == 1000 * i, "%s: interval %ld.%06ld", names[i],
		       v.it_interval.tv_sec, v.it_interval.tv_usec);
		expect(left > 900 && left <= 1000.6 + i, "%s: %.3f s left of %d.5", names[i], left, 1000 + i);
	}
	cr_join(pid);
	return cr_end();
}
