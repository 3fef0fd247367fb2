/* SPDX-License-Identifier: Apache-2.0 */
/* Husks: processes of our own making that a restore turns into the tasks of an image.
 *
 * A husk begins as a fork of a program with a C library, which has registered things with the kernel that lie in the memory we
 * are about to unmap. They are unregistered from outside, since the husk may not have run one instruction yet:
 * - the rseq area: the kernel kills a task that comes back to user mode with its area gone (SIGSEGV, SI_KERNEL). ptrace tells where it is.
 * - the robust list and the clear-tid address: the kernel would write there when the thread ends.
 * - the alternate signal stack.
 * Children are copies of a husk that is clean already.
 *
 * A husk dies with the engine (PTRACE_O_EXITKILL) until remote_outlive(), and so do its children: options are inherited. PTRACE_O_TRACEFORK and friends
 * make the kernel tell the host number of each child, and trace it from its first moment: it stops before its first
 * instruction. Its signal mask is that of its parent's batch, everything but HUSK_SIGNAL. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#define LOG_PREFIX "remote"
#include "base/log.h"
#include "remote/internal.h"
#include "remote/regs.h"

#define HUSK_SIGNAL SIGURG
#define HUSK_OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE)
#define ROBUST_HEAD_SIZE 24
#define RSEQ_UNREGISTER 1

static int unregister(struct remote *r)
{
	struct __ptrace_rseq_configuration rseq = { 0 };
	struct {
		uint64_t sp;
		int32_t flags, unused;
		uint64_t size;
	} none = { .flags = SS_DISABLE };
	struct call c[4] = {
		{ .nr = SYS_set_robust_list, .arg = { 0, ROBUST_HEAD_SIZE }, .must = 1 },
		{ .nr = SYS_set_tid_address, .arg = { 0 } },
		{ .nr = SYS_sigaltstack, .arg = { remote_scratch(r), 0 }, .must = 1 },
	};
	size_t n = 3;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, r->tid, sizeof rseq, &rseq) < 0 && errno != EIO && errno != EINVAL)
		return fail(errno, "the rseq area of task %d", r->tid);
	if (rseq.rseq_abi_pointer)
		c[n++] = (struct call){ .nr = SYS_rseq, .must = 1,
					.arg = { rseq.rseq_abi_pointer, rseq.rseq_abi_size, RSEQ_UNREGISTER, rseq.signature } };
	int e = remote_scratch_write(r, 0, &none, sizeof none);
	return e < 0 ? e : remote_batch_checked(r, c, n, "unregister what the C library has registered");
}

static int map_husk_area(struct remote *r, uint64_t base)
{
	uint64_t instruction;
	uint8_t saved[ARCH_CODE_MAX];
	bool poked;
	int e = remote_find_syscall(r, &instruction, &poked, saved);

	if (e < 0)
		return e;
	r->mm = mm_new(take_fd(&r->own_mem));
	e = area_map_at(r, instruction, base, 1);
	int back = poked ? remote_unpoke(r, instruction, saved) : 0;
	e = e < 0 ? e : back;
	return e < 0 ? e : area_take_slot(r, r->mm);
}

int remote_take_husk(pid_t pid, uint64_t base, struct remote **out)
{
	struct remote *r = NULL;
	size_t mark = err_mark();
	int signal, e = remote_attach(pid, HUSK_OPTIONS, &r);

	if (e < 0)
		return e == -ESRCH ? fail(ESRCH, "take over husk %d", pid) : e;
	r->husk = true;
	r->signal = HUSK_SIGNAL;
	e = remote_wait_stop(r, &signal, 0);
	if (e == 0)
		e = map_husk_area(r, base);
	if (e == 0)
		e = unregister(r);
	if (e < 0) {
		e = remote_explain(r, e, mark);
		remote_kill(&r);
		return e;
	}
	*out = r;
	return 0;
}

/* One by one, when the whole range could not go at once: names what stays. */
static int empty_singly(struct remote *r)
{
	autofree char *maps = NULL;
	ssize_t got = proc_read(r->tid, "maps", &maps);
	struct map_line m;

	if (got < 0)
		return fail((int)-got, "read the mappings of task %d", r->tid);
	for (const char *at = maps; map_next(&at, &m);) {
		if (map_is(&m, "[vsyscall]") || (m.start >= remote_area(r) && m.end <= remote_area(r) + remote_area_size(r)))
			continue;
		int64_t ret = remote_call(r, SYS_munmap, m.start, m.end - m.start, 0, 0, 0, 0);
		if (ret < 0)
			return fail((int)-ret, "unmap %" PRIx64 "-%" PRIx64 " %.*s of husk %d", m.start, m.end, (int)m.name_length, m.name, r->tid);
	}
	return 0;
}

int remote_empty(struct remote *r)
{
	uint64_t end = remote_area(r) + remote_area_size(r);
	struct call c[2] = {
		{ .nr = SYS_munmap, .arg = { 0, remote_area(r) } },
		{ .nr = SYS_munmap, .arg = { end, ARCH_TASK_END - end } },
	};
	int e = remote_batch(r, c, 2);

	if (e < 0)
		return e;
	return c[0].ret < 0 || c[1].ret < 0 ? empty_singly(r) : 0;
}

/* --- children and threads --- */

pid_t remote_born(const struct remote *parent, pid_t number)
{
	for (size_t i = parent->births.n; i-- > 0;)
		if (parent->births.data[i].number == number)
			return parent->births.data[i].host;
	return -ESRCH;
}

static int wait_first_stop(struct remote *r)
{
	int status, e = remote_wait(r, &status, -1);

	if (e == 0 && status >> 16 != PTRACE_EVENT_STOP)
		return fail_text(EPROTO, "child %d of a husk stopped by signal %d instead of its start", r->tid, WSTOPSIG(status));
	return e;
}

/* The address space that a child has a copy of: any slot of it is free. */
static void copy_mm(struct remote *r, const struct remote *parent)
{
	r->mm = mm_new(-1);
	r->mm->area = parent->mm->area;
	r->mm->area_size = parent->mm->area_size;
	r->mm->limit = parent->mm->limit;
	r->mm->slots = parent->mm->slots;
}

int remote_adopt(pid_t tid, const struct remote *parent, bool thread, struct remote **out)
{
	struct remote *r = remote_new(tid);

	r->husk = r->stands = true;
	r->is_thread = thread;
	r->can_suspend_seccomp = parent->can_suspend_seccomp;
	r->signal = parent->signal;
	r->masked = true;
	r->found = parent->found;
	int e = wait_first_stop(r);
	if (e == 0 && thread) {
		r->mm = parent->mm;
		r->mm->users++;
	} else if (e == 0) {
		copy_mm(r, parent);
	}
	if (e == 0)
		e = area_take_slot(r, r->mm);
	if (e < 0) {
		remote_kill(&r);
		return e;
	}
	*out = r;
	return 0;
}

int remote_adopt_virtual(pid_t number, const struct remote *parent, bool thread, struct remote **out)
{
	pid_t host = remote_born(parent, number);

	if (host < 0)
		return fail(ESRCH, "task %d has made no child that is %d in its pid namespace", parent->tid, number);
	return remote_adopt(host, parent, thread, out);
}

/* --- the end --- */

/* The call is made in the loop's own page: it is stopped at its exit, and what it goes on with are the final registers. */
int remote_drop_area(struct remote *r)
{
	struct user_regs_struct call = r->found;
	int64_t result = 0;

	arch_set_call(&call, remote_area(r) + arch_loop().syscall, arch_sp(&call), SYS_munmap,
		      (uint64_t[6]){ remote_area(r), remote_area_size(r) });
	int e = remote_run_call(r, &call, &result);
	if (e == 0 && result < 0)
		e = fail((int)-result, "unmap the batch pages of task %d", r->tid);
	r->slot = 0;
	return e;
}

int remote_outlive(struct remote *r, int signal)
{
	if (signal && syscall(SYS_tgkill, r->tgid ? r->tgid : r->tid, r->tid, signal) < 0)
		return fail(errno, "stop task %d", r->tid);
	if (ptrace(PTRACE_SETOPTIONS, r->tid, NULL, PTRACE_O_TRACESYSGOOD) < 0)
		return remote_trace_failed(r, "change the options");
	return 0;
}

int remote_let_go(struct remote **rp, int signal)
{
	struct remote *r = *rp;
	int e = 0;

	if (!r)
		return 0;
	if (signal && syscall(SYS_tgkill, r->tgid ? r->tgid : r->tid, r->tid, signal) < 0)
		e = fail(errno, "stop task %d", r->tid);
	if (e == 0 && ptrace(PTRACE_DETACH, r->tid, NULL, 0L) < 0)
		e = fail(errno, "let task %d go", r->tid);
	remote_free(rp);
	return e;
}

static int die_by_signal(struct remote *r, int status)
{
	struct {
		uint64_t handler, flags, restorer, mask;
	} by_default = { 0 };
	struct rlimit no_core = { 0, 0 };
	int signal = WTERMSIG(status);
	uint64_t at = remote_scratch(r), none = 0;
	struct call c[] = {
		{ .nr = SYS_rt_sigaction, .arg = { (uint64_t)signal, at, 0, 8 } },
		{ .nr = SYS_prlimit64, .arg = { 0, RLIMIT_CORE, at + sizeof by_default, 0 } },
	};
	int e = remote_scratch_write(r, 0, &by_default, sizeof by_default);

	if (e == 0)
		e = remote_scratch_write(r, sizeof by_default, &no_core, sizeof no_core);
	if (e == 0)
		e = remote_batch(r, c, 2);
	if (e == 0 && ptrace(PTRACE_SETSIGMASK, r->tid, sizeof none, &none) < 0)
		e = fail(errno, "set the signal mask of task %d", r->tid);
	/* it stands where a batch's signal stopped it: another one may be delivered in its place */
	if (e == 0 && ptrace(PTRACE_CONT, r->tid, NULL, (long)signal) < 0)
		e = fail(errno, "end task %d", r->tid);
	return e;
}

int remote_exit(struct remote **rp, int wait_status)
{
	struct remote *r = *rp;
	size_t mark = err_mark();
	int status = 0, e;

	if (WIFSIGNALED(wait_status)) {
		e = die_by_signal(r, wait_status);
		if (e == 0 && remote_wait(r, &status, -1) == 0)
			e = fail_text(EPROTO, "task %d did not end by signal %d", r->tid, WTERMSIG(wait_status));
	} else {
		int64_t ret = remote_call(r, SYS_exit_group, (uint64_t)WEXITSTATUS(wait_status), 0, 0, 0, 0, 0);
		e = r->dead ? 0 : fail_text(EPROTO, "task %d did not end: %" PRId64, r->tid, ret);
	}
	if (e == 0)
		err_rewind(mark);
	if (e < 0)
		remote_kill(rp);
	else
		remote_free(rp);
	return e;
}
