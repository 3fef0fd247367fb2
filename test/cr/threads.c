/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight threads, each with its own name, signal mask, thread-local storage, alternate stack, nice value, scheduling
 * policy, CPU mask, robust list (it owns a robust mutex) and rseq area. Two compute, two sleep, two wait for a mutex, two
 * on a condition variable. Afterwards each one finds its own; a thread that ends while it owns a robust mutex leaves
 * EOWNERDEAD; the C library's rseq area shows the right CPU.
 */
#include "cr.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

#define THREADS 8
static __thread uint64_t local[64];
static __thread char *local_name;
static pthread_mutex_t robust[THREADS], gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t ready;
static pthread_t threads[THREADS];
static pid_t tids[THREADS];
static int waiting;   /* on the condition variable, by the gate */
static bool closed, open_now;
static char stacks[THREADS][65536];
static cpu_set_t processors;

static void set_up(int i)
{
	char name[16];
	sigset_t mask;
	stack_t stack = { .ss_sp = stacks[i], .ss_size = sizeof(stacks[i]) };

	snprintf(name, sizeof(name), "worker \t%d", i);
	need(prctl(PR_SET_NAME, name) == 0);
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + i);
	sigaddset(&mask, 1 + i);
	need(pthread_sigmask(SIG_SETMASK, &mask, NULL) == 0);
	need(sigaltstack(&stack, NULL) == 0);
	cr_fill(local, sizeof(local), i);
	local_name = strdup(name);
	tids[i] = gettid();
	need(setpriority(PRIO_PROCESS, tids[i], i) == 0);
	if (i % 3 == 2)
		need(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 }) == 0);
	need(pthread_mutex_lock(&robust[i]) == 0);
}

static void check_rseq(int i)
{
	const char *base = (const char *)__builtin_thread_pointer() + __rseq_offset;
	const volatile struct rseq *r = (const void *)base;

	if (!__rseq_size)
		return;
	bool good = false;
	for (int tries = 0; tries < 100 && !good; tries++)
		good = (int)r->cpu_id == sched_getcpu();
	expect(good, "thread %d: rseq says CPU %d", i, (int)r->cpu_id);
}

static void check(int i)
{
	char name[16], want[16];
	sigset_t mask;
	stack_t stack;

	snprintf(want, sizeof(want), "worker \t%d", i);
	prctl(PR_GET_NAME, name);
	expect(!strcmp(name, want) && !strcmp(local_name, want), "thread %d: name '%s'", i, name);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (int s = 1; s < 64; s++)
		expect(s == 32 || s == 33 || sigismember(&mask, s) == (s == SIGRTMIN + i || s == 1 + i),
		       "thread %d: signal %d in the mask: %d", i, s, sigismember(&mask, s));
	expect(sigaltstack(NULL, &stack) == 0 && stack.ss_sp == stacks[i], "thread %d: alternate stack", i);
	cr_check_fill("thread-local storage", local, sizeof(local), i);
	expect(gettid() == tids[i], "thread %d: id %d instead of %d", i, gettid(), tids[i]);
	expect(getpriority(PRIO_PROCESS, 0) == i, "thread %d: nice %d", i, getpriority(PRIO_PROCESS, 0));
	expect(sched_getscheduler(0) == (i % 3 == 2 ? SCHED_BATCH : SCHED_OTHER), "thread %d: policy %d", i,
	       sched_getscheduler(0));
	cpu_set_t now;
	expect(sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &processors), "thread %d: runs on %d processors", i, CPU_COUNT(&now));
	check_rseq(i);
}

static void wait_for_go(int i)
{
	uint64_t n = 0;

	if (i < 2)
		while (access(cr_path("go"), F_OK) < 0)
			for (int k = 0; k < 100000; k++)
				__atomic_fetch_add(&n, 1, __ATOMIC_RELAXED);
	else if (i < 4)
		cr_wait_go();
	while ((i == 4 || i == 5) && !__atomic_load_n(&closed, __ATOMIC_SEQ_CST))
		cr_sleep_ms(1);
	pthread_mutex_lock(&gate);
	waiting += i >= 6;
	while (i >= 6 && !open_now)
		pthread_cond_wait(&opened, &gate);
	pthread_mutex_unlock(&gate);
}

static void *run(void *arg)
{
	int i = (int)(intptr_t)arg;

	set_up(i);
	pthread_barrier_wait(&ready);
	wait_for_go(i);
	check(i);
	return NULL; /* with its robust mutex locked */
}

int main(int argc, char **argv)
{
	pthread_mutexattr_t attr;

	cr_begin(argc, argv);
	need(sched_getaffinity(0, sizeof processors, &processors) == 0);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_barrier_init(&ready, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		pthread_mutex_init(&robust[i], &attr);
		need(pthread_create(&threads[i], NULL, run, (void *)(intptr_t)i) == 0);
	}
	pthread_barrier_wait(&ready);
	for (pthread_mutex_lock(&gate); waiting < 2; pthread_mutex_lock(&gate)) {
		pthread_mutex_unlock(&gate);
		cr_sleep_ms(1);
	}
	__atomic_store_n(&closed, true, __ATOMIC_SEQ_CST); /* for the two that find it so */
	cr_sleep_ms(20);
	cr_wait();
	open_now = true;
	pthread_cond_broadcast(&opened);
	pthread_mutex_unlock(&gate);
	for (int i = 0; i < THREADS; i++)
		expect(pthread_join(threads[i], NULL) == 0, "join thread %d", i);
	for (int i = 0; i < THREADS; i++) {
		int r = pthread_mutex_trylock(&robust[i]);
		expect(r == EOWNERDEAD, "the robust mutex of thread %d: %s instead of 'owner died'", i, strerror(r));
	}
	return cr_end();
}
