/* SPDX-License-Identifier: Apache-2.0 */
/* Seizing threads and letting them go.
 *
 * PTRACE_SEIZE does not stop; PTRACE_INTERRUPT makes the thread stop soon, wherever it is, a system call that can be interrupted included.
 * Until then it may stop for a signal that was on its way: it gets it, and is asked again. A thread in a group stop (SIGSTOP)
 * stands already and reports that signal; it is worked on as any other, and its group stop goes on when it is let go, since the
 * kernel reinstates it on detach. What a killed engine left half done is brought to its end first (finish_heal).
 *
 * Not handled: calls that the kernel never restarts (epoll_wait, sigtimedwait; arch/ARCH/interrupted.c) are mended as soon as the thread
 * stands. An engine that is killed in the few microseconds before leaves it with EINTR, as a signal would.
 *
 * What is put back: all registers as they were found, orig_rax included, so that the kernel restarts an interrupted call
 * exactly; the signal mask first, then the registers (prepare.c has the order's reason). */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#define LOG_PREFIX "remote"
#include "base/log.h"
#include "remote/internal.h"
#include "remote/regs.h"

#define STOP_TIMEOUT 10   /* seconds */

struct remote *remote_new(pid_t tid)
{
	struct remote *r = mem_zalloc(sizeof *r);

	r->tid = tid;
	r->own_mem = r->pidfd = r->channel = r->peer = -1;
	return r;
}

void remote_free(struct remote **rp)
{
	struct remote *r = *rp;

	*rp = NULL;
	if (!r)
		return;
	preparing_free(r);
	mm_release(&r->mm);
	fd_close(&r->own_mem);
	fd_close(&r->pidfd);
	fd_close(&r->channel);
	free(r->xstate);
	free(r->first.before);
	array_free(&r->births);
	free(r);
}

static int explain_seize(pid_t tid, int err)
{
	struct status s, tracer;

	if (err == ESRCH)
		return -ESRCH;
	if (status_read(tid, &s) < 0 || s.state == 'Z' || s.state == 'X')
		return -ESRCH;
	if (s.tracer) {
		bool known = status_read(s.tracer, &tracer) == 0;
		int e = fail_text(EBUSY, "task %d (%s) is traced by process %d (%s)", tid, s.comm, s.tracer, known ? tracer.comm : "?");
		fail_hint("detach the debugger first: only one process can trace a task");
		return e;
	}
	return fail(err, "seize task %d (%s)", tid, s.comm);
}

int remote_attach(pid_t tid, unsigned long options, struct remote **out)
{
	bool suspend = true;

	if (ptrace(PTRACE_SEIZE, tid, NULL, options | PTRACE_O_SUSPEND_SECCOMP) < 0) {
		if (errno == EPERM || errno == EINVAL || errno == EIO)      /* no CAP_SYS_ADMIN, or a filter of our own */
			suspend = false;
		if (suspend || ptrace(PTRACE_SEIZE, tid, NULL, options) < 0)
			return explain_seize(tid, errno);
	}
	struct remote *r = remote_new(tid);
	r->can_suspend_seccomp = suspend;
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0) {
		size_t mark = err_mark();
		int e = remote_trace_failed(r, "stop");
		if (e == -ESRCH)
			err_rewind(mark);
		remote_free(&r);
		return e;
	}
	*out = r;
	return 0;
}

int remote_seize(pid_t tid, struct remote **out)
{
	return remote_attach(tid, PTRACE_O_TRACESYSGOOD, out);
}

/* The engine that drove this thread before was killed, and the thread has not yet run on into its frame: it does now. */
static int finish_heal(struct remote *r)
{
	uint64_t page = arch_ip(&r->found) & ~(uint64_t)(PAGE - 1), first;
	uint8_t code[512];
	int64_t ignored;

	errno = 0;
	long word = ptrace(PTRACE_PEEKTEXT, r->tid, page, NULL);
	memcpy(&first, arch_loop().code, sizeof first);
	if (errno || (uint64_t)word != first || remote_need_mem(r) < 0)
		return 0;
	if (remote_read(r, page, code, arch_loop().size) < 0 || memcmp(code, arch_loop().code, arch_loop().size))
		return 0;
	log_debug("task %d: still on its way out of an earlier dump that was killed", r->tid);
	struct user_regs_struct regs = r->found;
	arch_set_heal(&regs, page, arch_batch_frame(&regs));
	r->masked = true;       /* its mask comes from the frame */
	int e = remote_run_call(r, &regs, &ignored);
	r->touched = r->masked = false;
	return e < 0 ? e : remote_get_regs(r, &r->found);
}

int remote_stop(struct remote *r, int *signal, unsigned seconds)
{
	for (;;) {
		int status, e = remote_wait(r, &status, (int)seconds * 1000);
		if (e == -ETIMEDOUT) {
			struct status s = { .state = '?' };
			status_read(r->tid, &s);
			e = fail_text(ETIMEDOUT, "task %d (%s) did not stop within %u s (state %c)", r->tid, s.comm, seconds, s.state);
			fail_hint("state D: it waits for a device, a file server or a vfork child; a frozen cgroup (v1) must be thawed first");
		}
		if (e < 0)
			return e;
		*signal = WSTOPSIG(status);
		r->stands = status >> 16 == PTRACE_EVENT_STOP;
		if (r->stands)
			return 0;
		/* a signal on its way, which also cancelled the request to stop */
		if (ptrace(PTRACE_INTERRUPT, r->tid, NULL, NULL) < 0 ||
		    ptrace(PTRACE_CONT, r->tid, NULL, status >> 16 ? 0L : (long)WSTOPSIG(status)) < 0)
			if (errno != ESRCH)
				return fail(errno, "stop task %d", r->tid);
	}
}

int remote_wait_stop(struct remote *r, int *signal, unsigned seconds)
{
	size_t mark = err_mark();
	int e = remote_stop(r, signal, seconds ? seconds : STOP_TIMEOUT);

	if (e == 0)
		e = remote_get_regs(r, &r->found);
	if (r->dead)
		err_rewind(mark);       /* expected: threads come and go until all stand */
	if (e < 0)
		return e;
	r->group_stopped = *signal != SIGTRAP;
	if (*signal == SIGTRAP)
		*signal = 0;
	if (arch_is_compat(&r->found))
		return 0;       /* nothing of ours; whoever wants its registers says no */
	e = finish_heal(r);
	if (e == 0 && !r->group_stopped)
		e = remote_name_wait(r, signal);
	if (e == 0)
		r->found_changed |= arch_restart_found(&r->found);
	return e;
}

int remote_need_mem(struct remote *r)
{
	char path[48];

	if (remote_mem_fd(r) >= 0)
		return 0;
	snprintf(path, sizeof path, "/proc/%d/mem", r->tid);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fail(errno, "open the memory of task %d (%s)", r->tid, path);
	if (r->mm)
		r->mm->mem = fd;
	else
		r->own_mem = fd;
	return 0;
}

int remote_read_xstate(struct remote *r)
{
	uint8_t buffer[ARCH_XSTATE_MAX];

	if (r->xstate)
		return 0;
	ssize_t n = arch_xstate_get(r->tid, buffer, sizeof buffer);
	if (n < 0)
		return fail((int)-n, "read the vector registers of task %d", r->tid);
	r->xstate = mem_dup(buffer, (size_t)n);
	r->xstate_size = (size_t)n;
	return 0;
}

static int remote_tgid(struct remote *r)
{
	struct status s;

	if (!r->tgid)
		r->tgid = status_read(r->tid, &s) < 0 ? 0 : s.tgid;
	return r->tgid;
}

static void mark_slot(struct remote *r, uint64_t mark)
{
	if (r->masked && r->slot && r->mm && r->mm->area)
		remote_write(r, r->slot + SLOT_FRAME + arch_frame_busy(), &mark, sizeof mark);
}

/* Mask, then registers; then what they no longer need. In between a signal that is no longer blocked may find the thread let go in the
 * loop: its handler comes back there, whenever it likes, so that the slot is marked for that time. */
static int put_back(struct remote *r)
{
	mark_slot(r, ARCH_FRAME_MARK);
	if (r->masked && ptrace(PTRACE_SETSIGMASK, r->tid, sizeof r->mask, &r->mask) < 0)
		return remote_trace_failed(r, "put back the signal mask");
	if (r->touched || r->found_changed) {
		int e = remote_set_regs(r, &r->found);
		if (e < 0)
			return e;
	}
	mark_slot(r, 0);
	if (r->first.before)
		remote_write(r, r->first.low, r->first.before, r->first.size);
	return 0;
}

static void detach(struct remote *r, int stop_signal)
{
	if (!stop_signal && r->held_stop)
		stop_signal = r->held_stop;
	if (stop_signal && remote_tgid(r))
		syscall(SYS_tgkill, r->tgid, r->tid, stop_signal);
	if (ptrace(PTRACE_DETACH, r->tid, NULL, 0L) == 0)
		return;
	size_t mark = err_mark();
	remote_trace_failed(r, "let go");       /* one that was killed has to be waited for */
	if (!r->dead)
		log_warn("task %d: %s", r->tid, err_line(mark) ? err_line(mark) : "not let go");
	err_rewind(mark);
}

void remote_put_back(struct remote *r)
{
	if (!r || r->is_back)
		return;
	size_t mark = err_mark();
	int signal;
	if (!r->stands && !r->dead)     /* only a thread that stands can be let go */
		remote_stop(r, &signal, 1);
	remote_settle(r);
	if (!r->dead && r->owner && r->mm->area && r->mm->users == 1)
		remote_unprepare(r);
	if (!r->dead && put_back(r) < 0 && !r->dead)
		log_warn("task %d: %s", r->tid, err_line(mark) ? err_line(mark) : "not put back");
	r->is_back = true;
	if (!r->owner)
		mm_release(&r->mm);   /* it needs the batch pages no more */
	err_rewind(mark);
}

void remote_release(struct remote **rp, int stop_signal)
{
	struct remote *r = *rp;

	if (!r)
		return;
	remote_put_back(r);
	if (!r->dead)
		detach(r, stop_signal);
	remote_free(rp);
}

/* Waits for a thread's end and, meanwhile, for those of its whole process. */
static void reap_with_threads(pid_t tgid, pid_t tid)
{
	int status;
	pid_t got;

	for (useconds_t pause = 20;; pause = pause < 2000 ? pause * 2 : pause) {
		while ((got = waitpid(tid, &status, __WALL | WNOHANG)) == tid && WIFSTOPPED(status))
			ptrace(PTRACE_CONT, tid, NULL, 0L);       /* a stop from before it was killed */
		if (got)
			return;
		remote_reap_others(tgid, tid);
		usleep(pause);
	}
}

void remote_kill(struct remote **rp)
{
	struct remote *r = *rp;

	if (!r)
		return;
	pid_t tgid = r->dead ? 0 : remote_tgid(r);
	if (tgid) {
		syscall(SYS_tgkill, tgid, r->tid, SIGKILL);
		reap_with_threads(tgid, r->tid);
	}
	remote_free(rp);
}

uint64_t remote_sigmask(const struct remote *r)
{
	return r->mask;
}

int remote_set_sigmask(struct remote *r, uint64_t mask)
{
	if (ptrace(PTRACE_SETSIGMASK, r->tid, sizeof mask, &mask) < 0)
		return fail(errno, "set the signal mask of task %d", r->tid);
	return 0;
}

pid_t remote_tid(const struct remote *r)
{
	return r->tid;
}

struct remote_mm *remote_get_mm(const struct remote *r)
{
	return r->mm;
}

uint64_t remote_area(const struct remote *r)
{
	return r->mm ? r->mm->area : 0;
}

uint64_t remote_area_size(const struct remote *r)
{
	return r->mm ? r->mm->area_size : 0;
}
