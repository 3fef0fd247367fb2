/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that share a processor for a time, and where they may run afterwards. */
#include "base/turns.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

static pid_t make_child(void)
{
	pid_t pid = fork();

	while (pid == 0)
		pause();
	CHECK(pid > 0);
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static cpu_set_t processors(pid_t tid)
{
	cpu_set_t set;

	CHECK(sched_getaffinity(tid, sizeof set, &set) == 0);
	return set;
}

static void check_same(pid_t tid, cpu_set_t wanted)
{
	cpu_set_t now = processors(tid);

	CHECK(CPU_EQUAL(&now, &wanted));
}

static void there_and_back(void)
{
	cpu_set_t own = processors(0), one;
	pid_t child = make_child(), other = make_child();
	struct turns t;

	turns_begin(&t, child);
	CHECK(t.on);
	turns_join(&t, other);
	one = processors(0);
	CHECK_EQ(CPU_COUNT(&one), 1);
	check_same(child, one);
	check_same(other, one);
	turns_pause(&t);
	check_same(0, own);
	turns_resume(&t);
	check_same(0, one);
	CHECK_EQ(turns_release(&t, child), 0);
	turns_end(&t);
	check_same(child, own);
	check_same(0, own);
	end_child(child);
	end_child(other);
}

/* A thread that somebody has restricted stays so, and the caller comes to where it may be. */
static void restricted(void)
{
	cpu_set_t own = processors(0), one = own;
	pid_t child = make_child();
	struct turns t;

	if (CPU_COUNT(&own) < 2)
		test_skip("there is one processor only");
	for (int cpu = 0; CPU_COUNT(&one) > 1; cpu++)
		CPU_CLR(cpu, &one);
	CHECK(sched_setaffinity(child, sizeof one, &one) == 0);
	turns_begin(&t, child);
	CHECK(t.on);
	check_same(0, one);
	CHECK_EQ(turns_release(&t, child), 0);
	turns_end(&t);
	check_same(child, one);
	check_same(0, own);
	end_child(child);
}

/* Nothing was begun: nothing happens. */
static void nobody(void)
{
	cpu_set_t own = processors(0);
	pid_t child = make_child();
	struct turns t = { .on = false };

	end_child(child);
	turns_begin(&t, child);
	CHECK(!t.on);
	turns_pause(&t);
	turns_resume(&t);
	CHECK_EQ(turns_release(&t, child), 0);
	turns_end(&t);
	check_same(0, own);
}

const struct test tests[] = { TEST(there_and_back), TEST(restricted), TEST(nobody), {} };
