/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of an image: interrupted calls, saving, checking, loading; the last steps of a husk. x86-64. */
#include "remote/regs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/proc.h"
#include "harness.h"
#include "remote/arch/arch.h"
#include "remote/internal.h"

#define BASE 0x10000000ull

static pid_t program(void (*run)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	if (run)
		run();
	for (;;)
		pause();
}

static struct remote *seized(pid_t pid)
{
	struct remote *r = NULL;
	int signal;

	CHECK_OK(remote_seize(pid, &r));
	CHECK_OK(remote_wait_stop(r, &signal, 0));
	return r;
}

static struct user_regs_struct in_call(long nr, long result)
{
	return (struct user_regs_struct){ .orig_rax = (uint64_t)nr, .rax = (uint64_t)result, .rip = 0x401002, .rdi = 1, .rsi = 2, .rdx = 3,
					  .r10 = 4 };
}

static void check_again(struct user_regs_struct r, bool has_pending)
{
	uint64_t nr = r.orig_rax;

	arch_restart_image(&r, has_pending, getpid());
	CHECK_EQ(r.rax, nr);
	CHECK_EQ(r.rip, 0x401000);
	CHECK_EQ(r.orig_rax, -1);
}

static void check_result(struct user_regs_struct r, bool has_pending, long result)
{
	arch_restart_image(&r, has_pending, getpid());
	CHECK_EQ(r.rax, result);
	CHECK_EQ(r.rip, 0x401002);
	CHECK_EQ(r.orig_rax, -1);
}

static void interrupted_calls(void)
{
	check_again(in_call(SYS_read, -512), false);
	check_result(in_call(SYS_read, -512), true, -EINTR);
	check_again(in_call(SYS_futex, -513), true);
	check_again(in_call(SYS_pause, -514), false);
	check_result(in_call(SYS_pause, -514), true, -EINTR);
	check_again(in_call(SYS_poll, -516), false);
	check_result(in_call(SYS_poll, -516), true, -EINTR);
	check_again(in_call(SYS_epoll_wait, -EINTR), false);
	check_result(in_call(SYS_epoll_wait, -EINTR), true, -EINTR);
	check_result(in_call(SYS_connect, -EINTR), false, -EINTR);
	check_result(in_call(SYS_read, 17), true, 17);
	check_result(in_call(SYS_read, -EAGAIN), false, -EAGAIN);
	check_result(in_call(-1, -512), false, -512);           /* in user mode: a value of the program */
}

static void interrupted_sleeps(void)
{
	check_again(in_call(SYS_nanosleep, -516), false);       /* never cut short */
	check_again(in_call(SYS_clock_nanosleep, -516), false);
	check_again(in_call(SYS_clock_nanosleep, -514), false);
	check_result(in_call(SYS_nanosleep, -516), true, -EINTR);
	check_result(in_call(SYS_restart_syscall, -516), false, -EINTR);
}

/* A sleep that was interrupted before goes on as restart_syscall: which call that is stands in the program. */
static void restarted_sleeps(void)
{
	static const uint8_t code[] = { 0x90, 0xb8, 230, 0, 0, 0, 0x0f, 0x05 };      /* mov $clock_nanosleep, %eax; syscall */
	pid_t pid = program(NULL);
	struct remote *r = seized(pid);
	struct user_regs_struct regs = in_call(SYS_restart_syscall, -516);

	regs.rip = (uint64_t)(uintptr_t)code + sizeof code;
	arch_restart_image(&regs, false, pid);
	CHECK_EQ(regs.rax, SYS_clock_nanosleep);
	CHECK_EQ(regs.rip, (uintptr_t)code + sizeof code - 2);
	remote_kill(&r);
}

/* Where the program does not say it, the function in which it sleeps does. */
static void lost_sleeps(void)
{
	static const uint8_t code[] = { 0x90, 0xb8, 230, 0, 0, 0, 0x0f, 0x05 }, other[8] = { 0x0f, 0x05 };
	static const struct {
		const char *function;
		uint64_t first;
		long want;
	} cases[] = {
		{ "futex_do_wait", 0x7f0000001000, SYS_futex },  { "poll_schedule_timeout.constprop.0", 0x7f0000001000, SYS_poll },
		{ "hrtimer_nanosleep", 0x7f0000001000, SYS_nanosleep }, { "do_syscall_64", 1, SYS_clock_nanosleep },
		{ "do_cpu_nanosleep", (uint64_t)-14, SYS_clock_nanosleep }, { "hrtimer_nanosleep", (uint32_t)-14, SYS_clock_nanosleep },
		{ "pipe_read", 3, 0 }, { "", 3, 0 },
	};
	pid_t pid = program(NULL);
	struct remote *r = seized(pid);
	struct user_regs_struct regs = in_call(SYS_restart_syscall, -516), next = in_call(-1, SYS_restart_syscall);

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		regs = in_call(SYS_restart_syscall, -516);
		regs.rdi = cases[i].first;
		CHECK_EQ(arch_restart_name(&regs, cases[i].function), cases[i].want != 0);
		CHECK_EQ(regs.orig_rax, cases[i].want ? cases[i].want : SYS_restart_syscall);
	}
	regs = in_call(SYS_futex, -516);
	CHECK(!arch_restart_name(&regs, "futex_do_wait"));
	CHECK(!arch_restart_lost(&regs, pid));
	regs = in_call(SYS_restart_syscall, -516);
	regs.rip = (uintptr_t)code + sizeof code;
	CHECK(!arch_restart_lost(&regs, pid));
	regs.rip = (uintptr_t)other + 2;
	CHECK(arch_restart_lost(&regs, pid));
	next.rip = (uintptr_t)code + 6;
	CHECK(!arch_restart_lost(&next, pid));
	next.rip = (uintptr_t)other;
	CHECK(arch_restart_lost(&next, pid));
	next.rip = (uintptr_t)code;             /* a value of the program */
	CHECK(!arch_restart_lost(&next, pid));
	remote_kill(&r);
}

/* Stopped where restart_syscall is to be made next: the kernel has changed the number, and has gone back to the instruction. */
static void sleeps_about_to_restart(void)
{
	static const uint8_t code[] = { 0x90, 0xb8, 230, 0, 0, 0, 0x0f, 0x05 }, other[8] = { 0x0f, 0x05 };
	pid_t pid = program(NULL);
	struct remote *r = seized(pid);
	struct {
		long nr;
		const uint8_t *at;
		long want;
	} cases[] = {
		{ SYS_poll, other, SYS_poll },                                  /* the kernel still knows */
		{ SYS_restart_syscall, code + 6, SYS_clock_nanosleep },
		{ -1, code + 6, SYS_clock_nanosleep },
		{ -1, other, SYS_restart_syscall },
		{ SYS_poll, code, SYS_restart_syscall },                        /* a result, no number */
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct user_regs_struct regs = in_call(cases[i].nr, SYS_restart_syscall);
		regs.rip = (uint64_t)(uintptr_t)cases[i].at;
		arch_restart_image(&regs, false, pid);
		CHECK_EQ(regs.rax, cases[i].want);
		CHECK_EQ(regs.rip, (uintptr_t)cases[i].at);
		CHECK_EQ(regs.orig_rax, -1);
	}
	remote_kill(&r);
}

static void released_calls(void)
{
	struct user_regs_struct r = in_call(SYS_epoll_pwait, -EINTR);

	CHECK(arch_restart_found(&r));
	CHECK_EQ(r.rax, -514);
	CHECK_EQ(r.orig_rax, SYS_epoll_pwait);
	r = in_call(SYS_read, -512);
	CHECK(!arch_restart_found(&r));
	r = in_call(-1, -EINTR);
	CHECK(!arch_restart_found(&r));
}

/* --- save, check, load --- */

static void spin_with_vectors(void)
{
	typedef uint64_t vector __attribute__((vector_size(16)));
	vector v = { 0x1122334455667788, 0x99aabbccddeeff00 };

	__asm__ volatile("fldpi\n fldl2e\n movdqa %0, %%xmm3\n"
			 "cmpl $0, %2\n je 1f\n .byte 0xc5, 0xfd, 0x6f, 0xcb\n" /* vmovdqa %ymm3, %ymm1 */
			 "vinserti128 $1, %%xmm3, %%ymm1, %%ymm1\n"
			 "1: mov $0x1234, %%r15\n mov %1, %%r14\n2: jmp 2b" ::"x"(v), "r"(&v), "m"((int){ __builtin_cpu_supports("avx2") })
			 : "r15", "r14");
}

static CoreEntry *saved(const struct remote *r, struct arena *arena)
{
	CoreEntry *core = arena_new(arena, CoreEntry);

	core_entry__init(core);
	CHECK_OK(regs_save(r, arena, core, false));
	return core;
}

static struct remote *husk(void)
{
	struct remote *r = NULL;

	CHECK_OK(remote_take_husk(program(NULL), BASE, &r));
	return r;
}

/* Seized when it has come to its endless loop. */
static struct remote *spinning(pid_t pid)
{
	struct remote *r = seized(pid);

	for (int i = 0; i < 30000 && r->found.r15 != 0x1234; i++) {
		remote_release(&r, 0);
		usleep(1000);
		r = seized(pid);
	}
	return r;
}

static void save_and_load(void)
{
	pid_t pid = program(spin_with_vectors);
	uint8_t wanted[ARCH_XSTATE_MAX], got[ARCH_XSTATE_MAX];
	struct user_regs_struct regs;
	struct arena arena = { 0 };

	struct remote *r = spinning(pid), *s = husk();
	CoreEntry *core = saved(r, &arena);
	CHECK_EQ(core->mtype, CORE_ENTRY__MARCH__X86_64);
	CHECK_EQ(core->thread_info->gpregs->r15, 0x1234);
	CHECK_EQ(core->thread_info->fpregs->xmm_space[12], 0x55667788);
	CHECK_EQ(core->thread_info->n_tls, 3);
	CHECK_EQ(core->thread_info->tls[2]->entry_number, 14);
	CHECK_OK(regs_check(core, pid));
	CHECK_OK(regs_load(s, core));
	CHECK_OK(remote_get_regs(s, &regs));
	regs.orig_rax = r->found.orig_rax;      /* not in a call: -1, or what an interrupt left */
	CHECK(!memcmp(&regs, &r->found, sizeof regs));
	ssize_t n = arch_xstate_get(pid, wanted, sizeof wanted);
	CHECK(n > 512);
	CHECK_EQ(arch_xstate_get(remote_tid(s), got, sizeof got), n);
	CHECK(!memcmp(got, wanted, (size_t)n));
	remote_kill(&r);
	remote_kill(&s);
	arena_done(&arena);
}

/* Changes one thing of a good image, and wants an error that says `part`. */
#define REFUSED(change, part)                                        \
	do {                                                         \
		CoreEntry *core = saved(r, &arena);                  \
		ThreadInfoX86 *t = core->thread_info;                \
		(void)t;                                             \
		change;                                              \
		CHECK(regs_check(core, 77) < 0);                     \
		CHECK_HAS(err_line(0), part);                        \
		CHECK_HAS(err_line(0), "thread 77");                 \
		err_clear();                                         \
	} while (0)

static void bad_images(void)
{
	struct remote *r = seized(program(NULL));
	struct arena arena = { 0 };

	CHECK_OK(regs_check(saved(r, &arena), 77));
	REFUSED(core->mtype = CORE_ENTRY__MARCH__AARCH64, "x86-64");
	REFUSED(core->thread_info = NULL, "x86-64");
	REFUSED(t->fpregs = NULL, "none");
	REFUSED(t->gpregs->mode = USER_X86_REGS_MODE__COMPAT, "32-bit");
	REFUSED(t->gpregs->cs = 0x10, "segments");
	REFUSED(t->gpregs->ip = 1ull << 63, "beyond");
	REFUSED(t->gpregs->fs_base = 1ull << 63, "beyond");
	REFUSED(t->fpregs->n_xmm_space = 63, "SSE");
	REFUSED(t->fpregs->mxcsr = UINT32_MAX, "MXCSR");
	REFUSED(t->fpregs->xsave->xstate_bv |= 1ull << 18, "AMX tile data");
	REFUSED(t->fpregs->xsave->xstate_bv |= 1ull << 62, "unknown");
	REFUSED(t->fpregs->xsave->xstate_bv |= 1ull << 3, "MPX");
	REFUSED((t->fpregs->xsave->xstate_bv |= 4, t->fpregs->xsave->n_ymmh_space = 0), "AVX");
	REFUSED((t->tls[0]->entry_number = 3, t->tls[0]->usable = 1), "segment 3");
	remote_kill(&r);
	arena_done(&arena);
}

/* A husk's end: emptied, a program of four instructions mapped, final registers, batch pages gone, let go. */
static void last_steps(void)
{
	static const uint8_t code[] = { 0xb8, 0xe7, 0, 0, 0, 0xbf, 42, 0, 0, 0, 0x0f, 0x05 };      /* exit_group(42) */
	struct remote *s = husk(), *other = seized(program(NULL));
	struct arena arena = { 0 };
	CoreEntry *core = saved(other, &arena);
	pid_t pid = remote_tid(s);
	autofree char *maps = NULL;
	int status;

	remote_kill(&other);
	CHECK_OK(remote_empty(s));
	CHECK_EQ(remote_call(s, SYS_mmap, 0x400000, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1ul, 0), 0x400000);
	CHECK_OK(remote_write(s, 0x400000, code, sizeof code));
	core->thread_info->gpregs->ip = 0x400000;
	CHECK_OK(remote_drop_area(s));
	CHECK_OK(regs_load(s, core));
	CHECK_OK(remote_set_sigmask(s, 0));
	CHECK_OK(proc_read(pid, "maps", &maps));
	CHECK(!strstr(maps, "10000000-"));
	CHECK(remote_call(s, SYS_getpid, 0, 0, 0, 0, 0, 0) < 0);
	err_clear();
	CHECK_OK(remote_let_go(&s, 0));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	arena_done(&arena);
}

static void parked_in_namespace(void)
{
	int pipes[2];
	struct remote *r = NULL;

	CHECK_OK(pipe2(pipes, O_CLOEXEC));
	CHECK_OK(unshare(CLONE_NEWPID));
	pid_t pid = fork();
	if (!pid) {
		char byte;
		while (read(pipes[0], &byte, 1) < 0)
			;
		_exit(1);
	}
	usleep(20000);
	CHECK_OK(remote_take_husk(pid, BASE, &r));
	CHECK_EQ(remote_call(r, SYS_getpid, 0, 0, 0, 0, 0, 0), 1);
	CHECK_OK(remote_empty(r));
	CHECK_EQ(remote_call(r, SYS_getppid, 0, 0, 0, 0, 0, 0), 0);
	int64_t child = remote_call(r, SYS_fork, 0, 0, 0, 0, 0, 0);
	struct remote *c = NULL;
	CHECK_EQ(child, 2);
	CHECK(remote_born(r, 2) > 0 && remote_born(r, 3) == -ESRCH);
	CHECK_OK(remote_adopt_virtual(2, r, false, &c));
	CHECK_EQ(remote_call(c, SYS_getpid, 0, 0, 0, 0, 0, 0), 2);
	remote_kill(&c);
	remote_kill(&r);
}

/* A program of one page without a system call, a C library or a stack: worked on all the same, and what it counts goes on. */
static void no_library(void)
{
	static const uint8_t code[] = { 0x48, 0xff, 0x05, 0xf9, 0x0f, 0, 0, 0xeb, 0xf7 };      /* 1: incq 0x401000(%rip); jmp 1b */
	struct remote *s = husk(), *r = seized(program(NULL));
	struct arena arena = { 0 };
	CoreEntry *core = saved(r, &arena);
	pid_t pid = remote_tid(s);
	uint64_t before, count;
	uint8_t text[sizeof code];

	remote_kill(&r);
	CHECK_OK(remote_empty(s));
	CHECK_EQ(remote_call(s, SYS_mmap, 0x400000, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1ul, 0), 0x400000);
	CHECK_EQ(remote_call(s, SYS_mmap, 0x401000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1ul, 0), 0x401000);
	CHECK_OK(remote_write(s, 0x400000, code, sizeof code));
	core->thread_info->gpregs->ip = 0x400000;
	core->thread_info->gpregs->fs_base = 0;
	CHECK_OK(remote_drop_area(s));
	CHECK_OK(regs_load(s, core));
	CHECK_OK(remote_set_sigmask(s, 0));
	CHECK_OK(remote_let_go(&s, 0));
	for (int i = 0; i < 20; i++) {
		r = seized(pid);
		CHECK_OK(remote_prepare(r, NULL));
		CHECK_EQ(remote_call(r, SYS_getpid, 0, 0, 0, 0, 0, 0), pid);
		CHECK_OK(remote_read(r, 0x400000, text, sizeof text));
		CHECK(!memcmp(text, code, sizeof code));
		CHECK_OK(remote_read(r, 0x401000, &before, sizeof before));
		remote_release(&r, 0);
		count = before;
		for (int tries = 0; tries < 60000 && count <= before; tries++) {
			usleep(1000);
			r = seized(pid);
			CHECK_OK(remote_read(r, 0x401000, &count, sizeof count));
			remote_release(&r, 0);
		}
		CHECK(count > before);
	}
	autofree char *maps = NULL;
	CHECK_OK(proc_read(pid, "maps", &maps));
	CHECK(!strstr(maps, "r-xp") || strstr(maps, "r-xp") == strstr(maps, "r-xp 00000000 00:00 0"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	arena_done(&arena);
}

/* A husk that is parked in a blocking read, as an init of the runtime is, in a pid namespace of its own. The sanitizer's search for leaks
 * does not work in a process that has unshared it, so another one does. */
static void parked(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		parked_in_namespace();
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

/* Husks die with the engine. */
static void dies_with_the_engine(void)
{
	int pipes[2];
	pid_t pids[2];

	CHECK_OK(pipe(pipes));
	pid_t engine = fork();
	if (!engine) {
		struct remote *r = husk(), *c = NULL;
		pids[0] = remote_tid(r);
		pids[1] = (pid_t)remote_call(r, SYS_fork, 0, 0, 0, 0, 0, 0);
		CHECK_OK(remote_adopt_virtual(pids[1], r, false, &c));
		CHECK_EQ(write(pipes[1], pids, sizeof pids), sizeof pids);
		pause();
	}
	CHECK_EQ(read(pipes[0], pids, sizeof pids), sizeof pids);
	kill(engine, SIGKILL);
	waitpid(engine, NULL, 0);
	for (int i = 0; i < 2; i++) {
		struct proc_stat s = { 0 };
		for (int w = 0; w < 60000 && proc_stat_read(pids[i], &s) == 0 && s.state != 'Z'; w++)
			usleep(1000);
		CHECK(proc_stat_read(pids[i], &s) < 0 || s.state == 'Z');
	}
}

static void *sleeping_thread(void *none)
{
	for (;;)
		pause();
	return none;
}

#define MANY 300
static void start_many(void)
{
	pthread_attr_t small;
	pthread_t t;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 32768);
	for (int i = 1; i < MANY; i++)
		if (pthread_create(&t, &small, sleeping_thread, NULL))
			abort();
}

/* Many threads of a live program, worked on, let go, and killed in the order in which they come. */
static void many_threads(void)
{
	pid_t pid = program(start_many);
	static struct remote *r[MANY];
	int *tids = NULL;
	int signal;

	for (int i = 0; i < 60000 && proc_numbers(pid, "task", &tids) != MANY; i++) {
		free(tids);
		tids = NULL;
		usleep(1000);
	}
	CHECK(tids);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < MANY; i++)
			CHECK_OK(remote_seize(tids[i], &r[i]));
		for (int i = 0; i < MANY; i++)
			CHECK_OK(remote_wait_stop(r[i], &signal, 0));
		for (int i = 0; i < MANY; i++)
			CHECK_OK(remote_prepare(r[i], i ? remote_get_mm(r[0]) : NULL));
		for (int i = 0; i < MANY; i++)
			CHECK_EQ(remote_call(r[i], SYS_gettid, 0, 0, 0, 0, 0, 0), tids[i]);
		CHECK_EQ(remote_unprepare(r[0]), -EBUSY);
		err_clear();
		for (int i = MANY - 1; i >= 0 && !round; i--)
			remote_release(&r[i], 0);
	}
	for (int i = 0; i < MANY; i++)
		remote_kill(&r[i]);
	CHECK_EQ(kill(pid, 0), -1);
	free(tids);
}

const struct test tests[] = {
	TEST(interrupted_calls), TEST(interrupted_sleeps), TEST(restarted_sleeps), TEST(lost_sleeps), TEST(sleeps_about_to_restart),
	TEST(released_calls), TEST(save_and_load), TEST(bad_images),
	TEST(last_steps), TEST(no_library), TEST(parked),
	TEST(dies_with_the_engine), TEST(many_threads), {},
};
