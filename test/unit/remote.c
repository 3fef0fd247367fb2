/* SPDX-License-Identifier: Apache-2.0 */
/* Driving tasks from outside: husks, batches, descriptors, threads; live programs seized and released. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/proc.h"
#include "base/str.h"
#include "harness.h"
#include "remote/regs.h"
#include "remote/remote.h"

#define BASE 0x10000000ull

static pid_t sleeper(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	for (;;)
		pause();
}

static struct remote *husk(void)
{
	struct remote *r = NULL;

	CHECK_OK(remote_take_husk(sleeper(), BASE, &r));
	return r;
}

static char *maps_of(pid_t pid)
{
	char *text = NULL;

	CHECK_OK(proc_read(pid, "maps", &text));
	return text;
}

static void batch_results(void)
{
	struct remote *r = husk();
	pid_t pid = remote_tid(r);
	struct call c[] = {
		{ .nr = SYS_getpid },
		{ .nr = SYS_eventfd2, .arg = { 7, 0 }, .must = 1 },
		{ .nr = SYS_fcntl, .arg = { 0, F_DUPFD, 100 }, .ref_from = 2, .ref_arg = 0, .must = 1 },
		{ .nr = SYS_close, .arg = { 0 }, .ref_from = 3 },
		{ .nr = SYS_close, .arg = { 999 } },
		{ .nr = SYS_close, .arg = { 998 }, .must = 1 },
		{ .nr = SYS_getpid },
	};

	CHECK_OK(remote_batch(r, c, 7));
	CHECK_EQ(c[0].ret, pid);
	CHECK(c[1].ret >= 0);
	CHECK_EQ(c[2].ret, 100);
	CHECK_EQ(c[3].ret, 0);
	CHECK_EQ(c[4].ret, -EBADF);
	CHECK_EQ(c[5].ret, -EBADF);
	CHECK(c[6].ret == REMOTE_NOT_RUN);
	CHECK_EQ(remote_batch_checked(r, c, 7, "try it"), -EBADF);
	CHECK_HAS(err_line(0), "try it");
	CHECK_EQ(remote_call(r, SYS_getppid, 0, 0, 0, 0, 0, 0), getpid());
	struct call wrong = { .nr = SYS_getpid, .ref_from = 1 };
	CHECK_EQ(remote_batch(r, &wrong, 1), -EINVAL);
	remote_kill(&r);
	CHECK(!r);
	CHECK_EQ(kill(pid, 0), -1);
}

static void long_batches(void)
{
	struct remote *r = husk();
	enum { N = 3 * REMOTE_CALLS_MAX + 5 };
	static struct call c[N];

	for (size_t i = 0; i < N; i++)
		c[i] = (struct call){ .nr = SYS_getpid, .must = 1 };
	CHECK_OK(remote_batch_checked(r, c, N, "ask"));
	CHECK_EQ(c[N - 1].ret, remote_tid(r));
	CHECK_EQ(remote_batch(r, c, N), -EINVAL);
	remote_kill(&r);
}

static void memory(void)
{
	struct remote *r = husk();
	char text[] = "written from outside", back[sizeof text];
	struct call c = { .nr = SYS_mmap, .arg = { 0x500000000000, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1ul, 0 }, .must = 1 };

	CHECK_OK(remote_batch_checked(r, &c, 1, "map"));
	CHECK_OK(remote_write(r, c.arg[0] + 100, text, sizeof text));
	CHECK_OK(remote_read(r, c.arg[0] + 100, back, sizeof back));
	CHECK_STR(back, text);
	CHECK_OK(remote_scratch_write(r, REMOTE_SCRATCH_SIZE - sizeof text, text, sizeof text));
	CHECK_OK(remote_scratch_read(r, REMOTE_SCRATCH_SIZE - sizeof text, back, sizeof back));
	CHECK_STR(back, text);
	CHECK(remote_scratch_write(r, REMOTE_SCRATCH_SIZE - 1, text, 2) < 0);
	CHECK(remote_read(r, 0x400000000000, back, 1) < 0);
	remote_kill(&r);
}

static void descriptors(void)
{
	struct remote *r = husk();
	enum { N = 600 };
	static int fds[N], numbers[N];
	char byte = 'x';
	int pipes[2];

	CHECK_OK(pipe2(pipes, O_CLOEXEC));
	for (int i = 0; i < N; i++)
		fds[i] = pipes[i % 2];
	CHECK_OK(remote_open_channel(r));
	CHECK_OK(remote_open_channel(r));
	CHECK(remote_channel(r) >= 0);
	CHECK_OK(remote_send_fds(r, fds, N, numbers));
	CHECK_OK(remote_scratch_write(r, 0, "y", 1));
	CHECK_EQ(remote_call(r, SYS_write, (uint64_t)numbers[N - 1], remote_scratch(r), 1, 0, 0, 0), 1);
	CHECK_EQ(read(pipes[0], &byte, 1), 1);
	CHECK_EQ(byte, 'y');
	int back = remote_get_fd(r, numbers[1]);
	CHECK(back >= 0);
	CHECK_EQ(write(back, "z", 1), 1);
	CHECK_EQ(remote_call(r, SYS_read, (uint64_t)numbers[0], remote_scratch(r), 1, 0, 0, 0), 1);
	CHECK_EQ(remote_get_fd(r, 5000), -EBADF);
	CHECK_OK(remote_close_channel(r));
	CHECK_OK(remote_close_channel(r));
	CHECK_EQ(remote_channel(r), -1);
	remote_kill(&r);
}

static void emptied(void)
{
	struct remote *r = husk();
	struct call vdso = { .nr = SYS_arch_prctl, .arg = { 0x2003, 0x7f0000000000 } };

	CHECK_OK(remote_empty(r));
	CHECK_OK(remote_batch(r, &vdso, 1));
	CHECK(vdso.ret > 0);
	autofree char *maps = maps_of(remote_tid(r));
	size_t lines = 0;
	for (const char *p = maps; (p = strchr(p, '\n')); p++)
		lines++;
	CHECK(lines <= 8);
	CHECK_HAS(maps, "7f0000");
	CHECK_HAS(maps, "[vdso]");
	CHECK_EQ(remote_call(r, SYS_getpid, 0, 0, 0, 0, 0, 0), remote_tid(r));
	remote_kill(&r);
}

static int64_t clone_in(struct remote *r, uint64_t flags, uint64_t exit_signal)
{
	struct clone_args a = { .flags = flags, .exit_signal = exit_signal };

	if (flags & CLONE_VM)
		a.stack = remote_scratch(r), a.stack_size = 8192;
	CHECK_OK(remote_scratch_write(r, 32768, &a, sizeof a));
	return remote_call(r, SYS_clone3, remote_scratch(r) + 32768, sizeof a, 0, 0, 0, 0);
}

static void children(void)
{
	struct remote *r = husk(), *child[20];

	CHECK_OK(remote_empty(r));
	for (int i = 0; i < 20; i++) {
		int64_t pid = clone_in(i ? child[i - 1] : r, 0, SIGCHLD);
		CHECK(pid > 0);
		CHECK_EQ(remote_born(i ? child[i - 1] : r, (pid_t)pid), pid);
		CHECK_OK(remote_adopt_virtual((pid_t)pid, i ? child[i - 1] : r, false, &child[i]));
		CHECK_EQ(remote_call(child[i], SYS_getpid, 0, 0, 0, 0, 0, 0), pid);
	}
	for (int i = 0; i < 20; i++)
		CHECK_EQ(remote_call(child[i], SYS_getppid, 0, 0, 0, 0, 0, 0), remote_tid(i ? child[i - 1] : r));
	for (int i = 0; i < 20; i++)
		remote_kill(&child[i]);
	remote_kill(&r);
}

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)
static void threads(void)
{
	struct remote *r = husk(), *t[100];

	CHECK_OK(remote_empty(r));
	for (int i = 0; i < 100; i++) {
		int64_t tid = clone_in(r, THREAD_FLAGS, 0);
		CHECK(tid > 0);
		CHECK_OK(remote_adopt_virtual((pid_t)tid, r, true, &t[i]));
	}
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(remote_call(t[i], SYS_gettid, 0, 0, 0, 0, 0, 0), remote_tid(t[i]));
		CHECK_EQ(remote_call(t[i], SYS_getpid, 0, 0, 0, 0, 0, 0), remote_tid(r));
		CHECK_OK(remote_scratch_write(t[i], 0, &i, sizeof i));
	}
	for (int i = 0, got; i < 100; i++) {
		CHECK_OK(remote_scratch_read(t[i], 0, &got, sizeof got));
		CHECK_EQ(got, i);
	}
	pid_t pid = remote_tid(r);
	remote_kill(&r);                /* the leader first: does not wait for ever */
	for (int i = 0; i < 100; i++)
		remote_kill(&t[i]);
	CHECK_EQ(kill(pid, 0), -1);
}

static void exits(void)
{
	struct remote *r = husk(), *child;
	int wanted[] = { 3 << 8, SIGTERM, SIGKILL, SIGSEGV, 0 };

	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		int64_t pid = clone_in(r, 0, SIGCHLD);
		int status;
		CHECK_OK(remote_adopt_virtual((pid_t)pid, r, false, &child));
		CHECK_OK(remote_exit(&child, wanted[i]));
		CHECK(!child);
		CHECK_EQ(remote_call(r, SYS_wait4, (uint64_t)pid, remote_scratch(r), __WALL | WNOHANG, 0, 0, 0), pid);
		CHECK_OK(remote_scratch_read(r, 0, &status, sizeof status));
		CHECK_EQ(status, wanted[i]);
	}
	remote_kill(&r);
}

/* A husk gets the whole state of a program that computes, and goes on with it. */
static void dies_with_message(void)
{
	struct remote *r = husk();
	pid_t pid = remote_tid(r);

	CHECK_EQ(remote_call(r, SYS_exit_group, 7, 0, 0, 0, 0, 0), -ESRCH);
	CHECK_HAS(err_line(0), "exited with 7");
	err_clear();
	remote_kill(&r);
	CHECK_EQ(waitpid(pid, NULL, 0), -1);
	r = husk();
	kill(remote_tid(r), SIGKILL);
	CHECK_EQ(remote_call(r, SYS_getpid, 0, 0, 0, 0, 0, 0), -ESRCH);
	CHECK_HAS(err_line(0), "signal 9");
	remote_kill(&r);
}

static void traced_by_another(void)
{
	int ready[2];
	char byte;
	struct remote *r = NULL;
	pid_t pid = sleeper();

	CHECK_OK(pipe(ready));
	pid_t other = fork();
	if (!other) {
		struct remote *mine = NULL;
		int signal;
		CHECK_OK(remote_seize(pid, &mine));
		CHECK_OK(remote_wait_stop(mine, &signal, 0));
		CHECK_EQ(write(ready[1], "x", 1), 1);
		pause();
	}
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	CHECK_EQ(remote_seize(pid, &r), -EBUSY);
	CHECK_HAS(err_line(0), "is traced by process");
	err_clear();
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK_EQ(remote_seize(pid, &r), -ESRCH);
	CHECK_EQ(err_count(), 0);
}

const struct test tests[] = {
	TEST(batch_results), TEST(long_batches), TEST(memory), TEST(descriptors), TEST(emptied), TEST(children), TEST(threads), TEST(exits),
	TEST(dies_with_message), TEST(traced_by_another), {},
};
