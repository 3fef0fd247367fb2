/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The alternate signal stack of two threads, and one thread that is *on* it: inside a handler when it is saved. Its
 * frame must still be there to return through.
 */
#include "cr.h"

#include <pthread.h>
#include <signal.h>

#define SIZE 65536
static char stacks[3][SIZE] __attribute__((aligned(16)));
static pthread_barrier_t ready;
static volatile int was_on, returned;

static void set_stack(int i)
{
	stack_t s = { .ss_sp = stacks[i], .ss_size = SIZE, .ss_flags = 0 };

	need(sigaltstack(&s, NULL) == 0);
}

static void check_stack(int i, int flags)
{
	stack_t s;

	expect(sigaltstack(NULL, &s) == 0 && s.ss_sp == stacks[i] && s.ss_size == SIZE, "thread %d: another stack", i);
	expect(s.ss_flags == flags, "thread %d: stack flags %d instead of %d", i, s.ss_flags, flags);
}

static bool on_stack(int i)
{
	char here;

	return &here >= stacks[i] && &here < stacks[i] + SIZE;
}

static void wait_in_handler(int signo)
{
	(void)signo;
	pthread_barrier_wait(&ready);
	cr_wait_go();
	was_on = on_stack(1);
	check_stack(1, SS_ONSTACK);
}

static void note_stack(int signo)
{
	expect(on_stack(signo == SIGUSR1 ? 0 : 2), "a handler after the restore is not on the alternate stack");
}

static void *in_handler(void *arg)
{
	set_stack(1);
	need(pthread_kill(pthread_self(), SIGUSR2) == 0);
	returned = 1;
	check_stack(1, 0);
	return arg;
}

static void *outside(void *arg)
{
	set_stack(2);
	pthread_barrier_wait(&ready);
	cr_wait_go();
	check_stack(2, 0);
	expect(pthread_kill(pthread_self(), SIGWINCH) == 0, "pthread_kill");
	return arg;
}

int main(int argc, char **argv)
{
	struct sigaction wait = { .sa_handler = wait_in_handler, .sa_flags = SA_ONSTACK };
	struct sigaction note = { .sa_handler = note_stack, .sa_flags = SA_ONSTACK };
	pthread_t a, b;

	cr_begin(argc, argv);
	pthread_barrier_init(&ready, NULL, 3);
	need(sigaction(SIGUSR2, &wait, NULL) == 0 && sigaction(SIGUSR1, &note, NULL) == 0);
	need(sigaction(SIGWINCH, &note, NULL) == 0);
	set_stack(0);
	need(pthread_create(&a, NULL, in_handler, NULL) == 0 && pthread_create(&b, NULL, outside, NULL) == 0);
	pthread_barrier_wait(&ready);
	cr_wait();
	check_stack(0, 0);
	raise(SIGUSR1);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	expect(was_on, "the handler went on off its stack");
	expect(returned, "the handler did not return");
	return cr_end();
}
