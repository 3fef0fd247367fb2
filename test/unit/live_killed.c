/* SPDX-License-Identifier: Apache-2.0 */
/* The engine is killed while it works on programs (test/live.c): at random moments, and at each of its own system calls. The programs go on,
 * and find nothing wrong. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/stage.h"
#include "harness.h"
#include "live.h"
#include "remote/internal.h"

/* The engine is killed at random moments of its work. */
static void kills(const struct program *p, unsigned n)
{
	struct live l = live_start(p);

	srand(1);
	for (unsigned i = 0; i < n; i++) {
		pid_t engine = fork();
		if (!engine)
			for (;;)
				if (live_visit(l.pid, 3) < 0) {
					fprintf(stderr, "%s\n", err_line(0));
					_exit(1);
				}
		usleep((unsigned)(rand() % 4000));
		int status;
		kill(engine, SIGKILL);
		waitpid(engine, &status, 0);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		if (!live_goes_on(&l))
			test_failed(__FILE__, __LINE__, "lost after %u kills", i);
		CHECK_EQ(live_found_wrong(&l), 0);
	}
	CHECK_OK(live_visit(l.pid, 1));
	live_end(&l);
}

/* The engine is stopped at one of its system calls after the other, entry and exit, and killed there. Returns whether it had not ended. */
static bool killed_at(pid_t pid, unsigned stops)
{
	int status;
	pid_t engine = fork();

	if (!engine) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(live_visit(pid, 2) < 0);
	}
	CHECK_EQ(waitpid(engine, &status, 0), engine);
	CHECK_EQ(ptrace(PTRACE_SETOPTIONS, engine, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0);
	for (int deliver = 0; WIFSTOPPED(status) && stops;) {
		CHECK_EQ(ptrace(PTRACE_SYSCALL, engine, NULL, (long)deliver), 0);
		CHECK_EQ(waitpid(engine, &status, 0), engine);
		bool call = WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80);
		deliver = WIFSTOPPED(status) && !call ? WSTOPSIG(status) : 0;
		stops -= call;
	}
	if (WIFSTOPPED(status)) {
		kill(engine, SIGKILL);
		waitpid(engine, &status, 0);
		return true;
	}
	CHECK_EQ(status, 0);
	return false;
}

/* step: an odd number, so that both sides of calls are met. */
static void kills_everywhere(const struct program *p, unsigned step)
{
	struct live l = live_start(p);
	unsigned n = 1;

	for (; killed_at(l.pid, n); n += step) {
		if (!live_goes_on(&l))
			test_failed(__FILE__, __LINE__, "lost after a kill at stop %u", n);
		CHECK_EQ(live_found_wrong(&l), 0);
	}
	CHECK(n > 100);
	live_end(&l);
}

/* The thread was let go in its sleep, and is stopped again before it goes on with it: the kernel has made the call restart_syscall, which
 * says EINTR once a signal frame was gone through. (Found so in one visit of 800 that follow each other closely.) */
static void engine_at_restart(pid_t pid)
{
	struct remote *r = NULL;
	int signal, e;

	do {
		remote_release(&r, 0);
		usleep(200);
		e = remote_seize(pid, &r);
		if (e == 0)
			e = remote_wait_stop(r, &signal, 0);
	} while (e == 0 && (int64_t)r->found.rax != -516);
	r->found.rax = SYS_restart_syscall;
	r->found.rip -= 2;
	if (e == 0)
		e = remote_prepare(r, NULL);
	kill(getpid(), e == 0 ? SIGKILL : SIGABRT);
}

static void killed_at_restart(void)
{
	struct live l = live_start(&asleep_program);

	for (unsigned i = 0; i < 50; i++) {
		int status;
		pid_t engine = fork();
		if (!engine)
			engine_at_restart(l.pid);
		waitpid(engine, &status, 0);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		CHECK(live_goes_on(&l));
	}
	CHECK_OK(live_visit(l.pid, 1));
	live_end(&l);
}

static void killed_everywhere_one_thread(void)
{
	kills_everywhere(&compute_program, 1);
}

static void killed_everywhere_eight_threads(void)
{
	kills_everywhere(&threads_program, 13);
}

static void killed_everywhere_asleep(void)
{
	kills_everywhere(&asleep_program, 13);
}

static void killed_everywhere_small_stack(void)
{
	kills_everywhere(&small_stack_program, 3);
}

static void killed_one_thread(void)
{
	kills(&compute_program, 1000);
}

static void killed_eight_threads(void)
{
	kills(&threads_program, 1000);
}

static void killed_asleep(void)
{
	kills(&asleep_program, 300);
}

static void killed_small_stack(void)
{
	kills(&small_stack_program, 300);
}

static void killed_below_a_filter(void)
{
	live_no_sanitizer();
	kills(&refusing_program, 300);
}

static void killed_held(void)
{
	live_hold_ms = 1;
	kills(&compute_program, 200);
	kills(&threads_program, 200);
	kills(&asleep_program, 100);
}

static void killed_everywhere_held(void)
{
	live_hold_ms = 1;
	kills_everywhere(&compute_program, 3);
	kills_everywhere(&threads_program, 29);
}

/* An engine that is killed while the program stands, held. */
static void killed_standing(pid_t pid, unsigned ms)
{
	struct remote *r;
	int signal, status;
	pid_t engine = fork();

	if (!engine) {
		bool ready = remote_seize(pid, &r) == 0 && remote_wait_stop(r, &signal, 0) == 0 && remote_prepare(r, NULL) == 0 &&
			     remote_hold(r, ms) == 0 && remote_call(r, SYS_getpid, 0, 0, 0, 0, 0, 0) > 0;
		kill(getpid(), ready ? SIGKILL : SIGABRT);
	}
	waitpid(engine, &status, 0);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* It sleeps for that long, and no longer. (Again if this process has not come to look in that time.) */
static void held_sleeps(void)
{
	struct live l = live_start(&compute_program);
	const uint64_t us = 3000000;
	unsigned long before, after;
	uint64_t began;

	do {
		began = clock_us();
		killed_standing(l.pid, us / 1000);
		before = live_shared->thread[0].rounds;
		usleep(200000);
		after = live_shared->thread[0].rounds;
	} while (clock_us() - began >= us);
	CHECK_EQ(after, before);
	CHECK(live_goes_on(&l));
	live_end(&l);
}

/* A filter that kills for what the program itself never calls. */
static void held_below_a_killing_filter(void)
{
	live_no_sanitizer();
	struct live l = live_start(&killing_program);

	for (int i = 0; i < 100; i++) {
		killed_standing(l.pid, 100);
		CHECK(live_goes_on(&l));
	}
	CHECK_EQ(live_found_wrong(&l), 0);
	live_end(&l);
}

const struct test tests[] = {
	{ "killed_one_thread", killed_one_thread, 120 }, { "killed_eight_threads", killed_eight_threads, 120 },
	{ "killed_everywhere_one_thread", killed_everywhere_one_thread, 120 },
	{ "killed_everywhere_eight_threads", killed_everywhere_eight_threads, 120 },
	{ "killed_everywhere_asleep", killed_everywhere_asleep, 120 },
	{ "killed_everywhere_small_stack", killed_everywhere_small_stack, 120 },
	TEST(killed_at_restart), { "killed_asleep", killed_asleep, 120 }, { "killed_small_stack", killed_small_stack, 120 },
	{ "killed_below_a_filter", killed_below_a_filter, 120 }, { "killed_held", killed_held, 120 },
	{ "killed_everywhere_held", killed_everywhere_held, 120 }, TEST(held_sleeps),
	{ "held_below_a_killing_filter", held_below_a_killing_filter, 120 }, {},
};
