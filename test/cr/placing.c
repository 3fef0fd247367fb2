/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU affinity, timer slack and I/O priority: of the first thread, of another one, and of a child that has the defaults. CRIU's format has no
 * place for them.
 */
#include "cr.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static pthread_barrier_t ready;
static cpu_set_t all, one;

static void check(const char *who, const cpu_set_t *cpus, int slack, long priority)
{
	cpu_set_t now;

	expect(sched_getaffinity(0, sizeof(now), &now) == 0 && CPU_EQUAL(&now, cpus), "%s: may run on %d processors, not on %d", who, CPU_COUNT(&now),
	       CPU_COUNT(cpus));
	expect(prctl(PR_GET_TIMERSLACK) == slack, "%s: timer slack %d instead of %d", who, prctl(PR_GET_TIMERSLACK), slack);
	expect(syscall(SYS_ioprio_get, 1, 0) == priority, "%s: I/O priority %#lx instead of %#lx", who, syscall(SYS_ioprio_get, 1, 0), priority);
}

static void *thread(void *arg)
{
	long priority = 3 << 13; /* idle */

	need(sched_setaffinity(0, sizeof(one), &one) == 0 && prctl(PR_SET_TIMERSLACK, 1234567) == 0);
	need(syscall(SYS_ioprio_set, 1, 0, priority) == 0);
	pthread_barrier_wait(&ready);
	cr_wait_go();
	check("thread", &one, 1234567, priority);
	return arg;
}

static int child(void *arg)
{
	(void)arg;
	long priority = syscall(SYS_ioprio_get, 1, 0);
	int slack = prctl(PR_GET_TIMERSLACK);

	cr_child_ready();
	cr_wait_go();
	check("child", &all, slack, priority);
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t t;
	long priority = 2 << 13 | 7; /* best effort, lowest */
	int cpu = -1;

	cr_begin(argc, argv);
	need(sched_getaffinity(0, sizeof(all), &all) == 0);
	while (!CPU_ISSET(++cpu, &all))
		;
	CPU_SET(cpu, &one);
	pid_t pid = cr_fork(child, NULL);
	need(pthread_barrier_init(&ready, NULL, 2) == 0 && pthread_create(&t, NULL, thread, NULL) == 0);
	need(prctl(PR_SET_TIMERSLACK, 1) == 0 && syscall(SYS_ioprio_set, 1, 0, priority) == 0);
	pthread_barrier_wait(&ready);
	cr_wait();
	check("main", &all, 1, priority);
	need(pthread_join(t, NULL) == 0);
	cr_join(pid);
	return cr_end();
}
