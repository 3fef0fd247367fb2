/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupted system calls, x86-64.
 *
 * A thread that is stopped while it sleeps in a system call has the call's number in orig_rax and one of the kernel's restart codes,
 * or EINTR, in rax; what comes of it is decided when it goes on:
 *   -512 ERESTARTSYS       again; after a handler without SA_RESTART: EINTR
 *   -513 ERESTARTNOINTR    again, always
 *   -514 ERESTARTNOHAND    again; after a handler: EINTR
 *   -516 RESTART_BLOCK     goes on with what is left of its timeout, which the kernel remembers; after a handler: EINTR
 *   -4   EINTR             calls that the kernel never restarts (signal(7)): epoll_wait, semop, sigtimedwait, …
 *
 * A thread that goes on with its registers put back, orig_rax included, has all of this done by its kernel. Only the last would
 * show: epoll_wait would return EINTR although no signal came, because it was looked at. -514 in its place is exactly what is
 * wanted: the call is made again (its timeout from the start), and if a handler runs first it is EINTR, as it would have been.
 *
 * An image, or a signal frame, has no kernel behind it that remembers. So the decision is made when it is written:
 * - again: rip goes back to the `syscall` instruction, rax is the call's number. A signal that comes before the call is made is
 *   handled first, and the call then made: as if it had come a moment earlier.
 * - EINTR if a signal waits whose handler will run. For -512 it is not known here whether the handler has SA_RESTART: EINTR is
 *   what a program that sets handlers must reckon with, a call that never returns is not.
 * - -516: sleeping longer is allowed, waking early when no handler ran is not. The call is made again with its whole timeout
 *   (poll; nanosleep; futex, where C libraries give a point in time). nanosleep and relative clock_nanosleep have written what is left where
 *   the caller asked for it: if that is also where they read from (sleep(3) of glibc and musl), being made again sleeps just what is left.
 * - A call that was interrupted and went on once before (an earlier dump, a debugger) is now restart_syscall, and the call's own
 *   number is gone. Almost always it still stands in the program: `mov $number, %eax; syscall`. If not, the function that it sleeps in
 *   tells (waits.c); if that is not told either, EINTR.
 * - The same number is in rax, and rip at the `syscall` instruction, in a thread that was let go in such a call and is stopped before it
 *   makes it again: one visit closely after another. */
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "remote/arch/arch.h"

enum { INTERRUPTED = -4, RESTART_SYS = -512, RESTART_NO_INTR = -513, RESTART_NO_HAND = -514, RESTART_BLOCK = -516 };

/* Calls that return EINTR and mean it; made again, they do the same. Of the socket calls only those that nothing is lost by. */
static const uint16_t never_restarted[] = {
	SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_semop, SYS_semtimedop, SYS_io_getevents, SYS_io_pgetevents,
	SYS_rt_sigtimedwait, SYS_io_uring_enter, SYS_accept, SYS_accept4, SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_sendto,
	SYS_sendmsg, SYS_sendmmsg, SYS_read, SYS_readv, SYS_write, SYS_writev,
};

static bool in_call(const struct user_regs_struct *r)
{
	return (int64_t)r->orig_rax >= 0;
}

static bool is_never_restarted(uint64_t nr)
{
	for (size_t i = 0; i < sizeof never_restarted / sizeof *never_restarted; i++)
		if (never_restarted[i] == nr)
			return true;
	return false;
}

bool arch_restart_found(struct user_regs_struct *r)
{
	if (!in_call(r) || (int64_t)r->rax != INTERRUPTED || !is_never_restarted(r->orig_rax))
		return false;
	r->rax = (uint64_t)RESTART_NO_HAND;
	return true;
}

/* True: again; false: EINTR. */
static bool again(const struct user_regs_struct *r, bool has_pending)
{
	switch ((int64_t)r->rax) {
	case RESTART_NO_INTR:
		return true;
	case RESTART_BLOCK:
		return !has_pending && r->orig_rax != SYS_restart_syscall;
	default:
		return !has_pending;
	}
}

/* Only these leave a restart block. */
static bool leaves_block(uint64_t nr)
{
	return nr == SYS_nanosleep || nr == SYS_clock_nanosleep || nr == SYS_poll || nr == SYS_futex;
}

/* What restart_syscall goes on with; ip is behind its instruction. */
static uint64_t restarted_call(pid_t tid, uint64_t ip)
{
	uint8_t text[8];
	uint32_t number;

	errno = 0;
	long word = ptrace(PTRACE_PEEKTEXT, tid, ip - sizeof text, NULL);
	if (errno)
		return SYS_restart_syscall;
	memcpy(text, &word, sizeof text);
	if (text[1] != 0xb8 || !arch_code_is_syscall(text + 6, 2))
		return SYS_restart_syscall;
	memcpy(&number, text + 2, sizeof number);
	return leaves_block(number) ? number : SYS_restart_syscall;
}

static bool at_syscall(pid_t tid, uint64_t ip)
{
	uint8_t text[2];

	errno = 0;
	long word = ptrace(PTRACE_PEEKTEXT, tid, ip, NULL);
	memcpy(text, &word, sizeof text);
	return !errno && arch_code_is_syscall(text, sizeof text);
}

/* The thread is about to go on with its call by restart_syscall: another kernel, or this one after rt_sigreturn, would say EINTR. */
static void before_restart(struct user_regs_struct *r, pid_t tid)
{
	if (r->rax == SYS_restart_syscall && at_syscall(tid, r->rip))
		r->rax = leaves_block(r->orig_rax) ? r->orig_rax : restarted_call(tid, r->rip + arch_syscall_code_size);
}

static bool is_restarted(const struct user_regs_struct *r)
{
	return in_call(r) && (int64_t)r->rax == RESTART_BLOCK && r->orig_rax == SYS_restart_syscall;
}

bool arch_restart_lost(const struct user_regs_struct *r, pid_t tid)
{
	struct user_regs_struct next = *r;

	if (is_restarted(r))
		return restarted_call(tid, r->rip) == SYS_restart_syscall;
	before_restart(&next, tid);
	return r->rax == SYS_restart_syscall && next.rax == SYS_restart_syscall && at_syscall(tid, r->rip);
}

/* clock_nanosleep's first argument is a clock's number, nanosleep's an address. */
static uint64_t sleep_call(const struct user_regs_struct *r)
{
	int64_t clock = (int32_t)r->rdi;

	return r->rdi < 4096 || (clock < 0 && (r->rdi >> 32 == 0 || (int64_t)r->rdi == clock)) ? SYS_clock_nanosleep : SYS_nanosleep;
}

/* A sleep's functions count as the scheduler's own and are not named, so that its name is that of whatever called them. The others' are named. */
bool arch_restart_name(struct user_regs_struct *r, const char *function)
{
	static const struct {
		const char *begins;
		uint64_t number;      /* 0: one of the two sleeps */
	} functions[] = {
		{ "futex_", SYS_futex }, { "do_futex", SYS_futex }, { "__futex_", SYS_futex }, { "poll_schedule_timeout", SYS_poll }, { "do_poll", SYS_poll },
		{ "do_sys_poll", SYS_poll }, { "do_restart_poll", SYS_poll }, { "do_nanosleep", 0 }, { "hrtimer_nanosleep", 0 },
		{ "do_syscall_64", 0 }, { "x64_sys_call", 0 }, { "__x64_sys_restart_syscall", 0 }, { "__do_sys_restart_syscall", 0 },
		{ "alarmtimer_do_nsleep", SYS_clock_nanosleep }, { "do_cpu_nanosleep", SYS_clock_nanosleep },
	};

	for (size_t i = 0; i < sizeof functions / sizeof *functions && is_restarted(r); i++)
		if (!strncmp(function, functions[i].begins, strlen(functions[i].begins))) {
			r->orig_rax = functions[i].number ? functions[i].number : sleep_call(r);
			return true;
		}
	return false;
}

void arch_restart_image(struct user_regs_struct *r, bool has_pending, pid_t tid)
{
	arch_restart_found(r);
	if (is_restarted(r))
		r->orig_rax = restarted_call(tid, r->rip);
	int64_t code = in_call(r) ? (int64_t)r->rax : 0;
	before_restart(r, tid);
	bool interrupted = code == RESTART_SYS || code == RESTART_NO_INTR || code == RESTART_NO_HAND || code == RESTART_BLOCK;

	if (interrupted && again(r, has_pending)) {
		r->rax = r->orig_rax;
		r->rip -= arch_syscall_code_size;
	} else if (interrupted) {
		r->rax = (uint64_t)INTERRUPTED;
	}
	r->orig_rax = UINT64_MAX;
}
