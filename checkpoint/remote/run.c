/* SPDX-License-Identifier: Apache-2.0 */
/* Letting a traced thread run until what it was to do is done.
 *
 * A batch ends in one of two ways:
 * - by a signal that the loop sends to itself (r->signal), unblocked while everything else is blocked. One stop per batch.
 * - if there is no signal that would be harmless without a tracer (prepare.c), the thread is run from system call to system call
 *   (PTRACE_O_TRACESYSGOOD) and stopped at the exit of the loop's last one. Two stops per call: ten times slower, no signal needed.
 *
 * Starting and waiting are two functions, so that many tasks can run on other processors at once (prepare.c), or the engine does something
 * else meanwhile.
 *
 *     stands ──resume()──> runs ──> stop ──┬─ end of the batch (at_end)          ──> stands
 *                            ^             ├─ PTRACE_EVENT_STOP, another call    ──> resume()
 *                            │             ├─ a child or thread was made         ──> noted, resume()
 *                            └─────────────┴─ a signal that is not ours          ──> take_signal(), resume()
 *
 * Signals that are not ours. All but r->signal are blocked, so there are two. SIGSTOP cannot be blocked: it is remembered and
 * sent again when the thread is let go. A foreign instance of r->signal goes back into its queue, siginfo and all: injecting a signal
 * that is blocked by then does just that (kernel/signal.c, ptrace_signal()). From then on the thread runs the second way.
 *
 * Every stop has to be waited for by the tracer's own thread, and nobody else in the process may wait for any child (-1). */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sched.h>
#include <elf.h>
#include <time.h>

#include "base/err.h"
#include "base/proc.h"
#define LOG_PREFIX "remote"
#include "base/log.h"
#include "remote/internal.h"

#define SYSCALL_STOP (SIGTRAP | 0x80)
#define SPINS 50
#define SHORT_PAUSES 100
#define LONGEST_PAUSE_NS 1000000
#define GONE_TIMEOUT_MS 2000
#define DEATH_TIMEOUT_MS 20
#define ENDING_TIMEOUT_MS 200

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The end of a leader is told only when all other threads of its process have been waited for. If they are our tracees, that is us;
 * in the first process of a pid namespace the thread that ends last waits for it, too. Only ends are taken, not stops. */
void remote_reap_others(pid_t tgid, pid_t tid)
{
	autofree int *tids = NULL;
	ssize_t n = proc_numbers(tgid, "task", &tids);

	for (ssize_t i = 0; i < n; i++)
		if (tids[i] != tid)
			waitid(P_PID, (id_t)tids[i], NULL, WEXITED | WNOHANG | __WALL);
}

static bool has_ended(pid_t tid)
{
	struct proc_stat s;

	return proc_stat_read(tid, &s) == 0 && (s.state == 'Z' || s.state == 'X');
}

/* Looks again and again. Most threads stop within microseconds, so that giving way a few times is faster than sleeping. Returns 0
 * after the time limit (< 0: none), and when a task is ending whose end is not told: the first process of a pid namespace waits for
 * all others in it, which may be our tracees as well. */
static pid_t wait_looking(pid_t tid, int *status, int timeout_ms)
{
	struct timespec pause = { .tv_nsec = 20000 };
	int64_t begin = now_ms();

	for (unsigned i = 0;; i++) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);
		if (got)
			return got;
		if (i < SPINS) {
			sched_yield();
			continue;
		}
		int64_t waited = now_ms() - begin;
		if ((timeout_ms >= 0 && waited > timeout_ms) || (waited > ENDING_TIMEOUT_MS && proc_is_ending(tid)))
			return 0;
		nanosleep(&pause, NULL);
		if (i < SPINS + SHORT_PAUSES)
			continue;
		if (pause.tv_nsec < LONGEST_PAUSE_NS)
			pause.tv_nsec *= 2;
		else if (has_ended(tid))
			remote_reap_others(tid, tid);
	}
}

/* Sleeps until any tracee has something to say: if it is not this one, it may be ending, and its end not be told. */
static pid_t wait_sleeping(pid_t tid, int *status)
{
	siginfo_t info = { 0 };
	pid_t got = 0;

	for (unsigned i = 0; i < SPINS && !got; i++) {
		got = waitpid(tid, status, __WALL | WNOHANG);
		if (!got)
			sched_yield();
	}
	if (got || waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOWAIT | __WALL | __WNOTHREAD) < 0)
		return got ? got : -1;
	return info.si_pid == tid ? waitpid(tid, status, __WALL) : wait_looking(tid, status, -1);
}

/* Whether other threads of this process may be ours as well, so that its end would not be told to a waitpid() that sleeps. */
static bool leads_others(const struct remote *r)
{
	bool leader = r->husk ? !r->is_thread : r->tgid == r->tid;

	return leader && r->mm && (r->mm->users > 1 || r->mm->status.threads > 1);
}

/* A live process of one thread that is not the first of a pid namespace: its end is told at once, a waitpid() may sleep. */
static bool ends_alone(const struct remote *r)
{
	return !r->husk && r->owner && r->mm && r->mm->status.threads == 1 && !r->mm->status.first;
}

static pid_t wait_for(const struct remote *r, int *status, int timeout_ms)
{
	if (timeout_ms >= 0 || leads_others(r))
		return wait_looking(r->tid, status, timeout_ms);
	return ends_alone(r) ? waitpid(r->tid, status, __WALL) : wait_sleeping(r->tid, status);
}

int remote_died(struct remote *r, int status)
{
	r->dead = true;
	if (WIFSIGNALED(status))
		return fail_text(ESRCH, "task %d was killed by signal %d (%s) while it was being worked on", r->tid, WTERMSIG(status),
				 strsignal(WTERMSIG(status)));
	return fail_text(ESRCH, "task %d exited with %d while it was being worked on", r->tid, WEXITSTATUS(status));
}

int remote_wait(struct remote *r, int *status, int timeout_ms)
{
	pid_t got;

	do
		got = wait_for(r, status, timeout_ms);
	while (got < 0 && errno == EINTR);
	if (!got && proc_is_ending(r->tid))
		return fail_text(ESRCH, "task %d has ended while it was being worked on", r->tid);
	if (!got)
		return -ETIMEDOUT;
	if (got < 0) {
		r->dead = true;
		return fail(ESRCH, "wait for task %d: it has gone, or somebody else has waited for it", r->tid);
	}
	return WIFSTOPPED(*status) ? 0 : remote_died(r, *status);
}

/* Something failed whose own reason may mislead: if the task has been killed meanwhile, that is the cause. */
int remote_explain(struct remote *r, int e, size_t mark)
{
	size_t end = err_mark();
	int status;

	if (e >= 0 || r->dead)
		return e;
	if (remote_wait(r, &status, DEATH_TIMEOUT_MS) != -ESRCH) {
		err_rewind(end);
		return e;
	}
	autofree char *how = str_dup(err_line(end) ? err_line(end) : "the task has ended");
	err_rewind(mark);
	return fail_text(ESRCH, "%s", how);
}

/* ptrace() has failed: ESRCH means that the thread no longer stands, because it was killed. */
int remote_trace_failed(struct remote *r, const char *what)
{
	int status, err = errno;

	if (err == ESRCH && !r->dead) {
		int e = remote_wait(r, &status, GONE_TIMEOUT_MS);
		if (e == -ESRCH)
			return e;
	}
	return fail(err, "%s of task %d", what, r->tid);
}

int remote_get_regs(struct remote *r, struct user_regs_struct *regs)
{
	struct iovec iov = { regs, sizeof *regs };

	if (ptrace(PTRACE_GETREGSET, r->tid, NT_PRSTATUS, &iov) < 0)
		return remote_trace_failed(r, "read the registers");
	if (iov.iov_len != sizeof *regs)
		return fail_text(ENOTSUP, "task %d runs 32-bit code: not supported yet", r->tid);
	return 0;
}

int remote_set_regs(struct remote *r, const struct user_regs_struct *regs)
{
	struct user_regs_struct copy = *regs;
	struct iovec iov = { &copy, sizeof copy };

	if (ptrace(PTRACE_SETREGSET, r->tid, NT_PRSTATUS, &iov) < 0)
		return remote_trace_failed(r, "set the registers");
	r->touched = true;
	return 0;
}

static int set_mask(struct remote *r, uint64_t mask)
{
	if (ptrace(PTRACE_SETSIGMASK, r->tid, sizeof mask, &mask) < 0)
		return remote_trace_failed(r, "set the signal mask");
	return 0;
}

/* Only after the registers lead into a signal frame: a thread that is let go with this mask must get its own back. */
int remote_block_signals(struct remote *r)
{
	int e = r->masked ? 0 : set_mask(r, r->signal ? ~signal_bit(r->signal) : ~0ull);

	if (e == 0)
		r->masked = true;
	return e;
}

static int resume(struct remote *r, int how, int signal)
{
	if (ptrace(how, r->tid, NULL, (long)signal) == 0)
		return 0;
	return remote_trace_failed(r, "go on with the run");
}

static int note_birth(struct remote *r)
{
	unsigned long host;

	if (ptrace(PTRACE_GETEVENTMSG, r->tid, NULL, &host) < 0)
		return remote_trace_failed(r, "read the number of a child");
	array_push(&r->births).host = (pid_t)host;
	return 0;
}

/* A signal that is not the end of a batch. Sets what is to be delivered when the thread goes on. */
static int take_signal(struct remote *r, int signal, int *deliver)
{
	const uint64_t faults = signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGILL) | signal_bit(SIGFPE) | signal_bit(SIGTRAP) |
				signal_bit(SIGSYS);
	siginfo_t info;
	uint64_t ip = 0;

	if (signal == SIGSTOP) {
		r->held_stop = SIGSTOP;
		return 0;
	}
	if (ptrace(PTRACE_GETSIGINFO, r->tid, NULL, &info) < 0)
		return remote_trace_failed(r, "read the signal");
	arch_peek_ip(r->tid, &ip);
	if (info.si_code > 0 && (faults & signal_bit(signal)))
		return fail_text(EFAULT, "task %d faulted in a batch: signal %d (%s), code %d, at %#llx, address %p", r->tid, signal,
				 strsignal(signal), info.si_code, (unsigned long long)ip, info.si_addr);
	log_debug("task %d: signal %d came while it was worked on; back into its queue", r->tid, signal);
	r->signal = signal == r->signal ? 0 : r->signal;
	r->masked = false;
	*deliver = signal;
	return remote_block_signals(r);
}

/* Waits for a signal or a system call stop of a thread that runs; notes births and passes over other stops. Returns WSTOPSIG or -errno. */
static int next_stop(struct remote *r, int how)
{
	for (;;) {
		int status, e = remote_wait(r, &status, -1);
		if (e < 0)
			return e;
		int event = status >> 16;
		if (!event)
			return WSTOPSIG(status);
		if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE)
			e = note_birth(r);
		if (e == 0)
			e = resume(r, how, 0);
		if (e < 0)
			return e;
	}
}

/* At a system call stop: is it the exit? Its instruction's end and result. */
static int call_exit(struct remote *r, bool *exit, uint64_t *ip, int64_t *result)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, r->tid, sizeof info, &info) < 0)
		return remote_trace_failed(r, "read a system call");
	*exit = info.op == PTRACE_SYSCALL_INFO_EXIT;
	*ip = info.instruction_pointer;
	*result = *exit ? info.exit.rval : 0;
	return 0;
}

/* Whether a stop of a batch is its end. */
static int at_end(struct remote *r, int signal, bool by_calls, bool *end)
{
	uint64_t ip, stop = r->mm->area + arch_loop().stop;
	int64_t result;
	int e = 0;

	*end = false;
	if (by_calls && signal == SYSCALL_STOP) {
		e = call_exit(r, end, &ip, &result);
		*end = *end && ip == stop;
	} else if (!by_calls && signal == r->signal) {
		e = arch_peek_ip(r->tid, &ip);
		if (e < 0)
			return remote_trace_failed(r, "read the instruction pointer");
		*end = ip == stop;
	}
	return e;
}

/* The running batch is to end without a signal from now on. */
static int end_by_calls(struct remote *r)
{
	struct user_regs_struct regs = { 0 };
	int e = remote_get_regs(r, &regs);

	if (e < 0)
		return e;
	arch_set_batch_signal(&regs, 0);
	return remote_set_regs(r, &regs);
}

static int how_to_run(const struct remote *r)
{
	return r->signal ? PTRACE_CONT : PTRACE_SYSCALL;
}

int remote_start_batch(struct remote *r, struct user_regs_struct *regs)
{
	int e = remote_set_regs(r, regs);

	if (e == 0)
		e = remote_block_signals(r);
	return e < 0 ? e : resume(r, how_to_run(r), 0);
}

int remote_finish_batch(struct remote *r)
{
	for (;;) {
		bool by_calls = !r->signal, end;
		int deliver = 0, signal = next_stop(r, how_to_run(r));
		if (signal < 0)
			return signal;
		int e = at_end(r, signal, by_calls, &end);
		if (e < 0 || end)
			return e;
		if (signal != SYSCALL_STOP)
			e = take_signal(r, signal, &deliver);
		if (e == 0 && !by_calls && !r->signal)
			e = end_by_calls(r);
		if (e == 0)
			e = resume(r, how_to_run(r), deliver);
		if (e < 0)
			return e;
	}
}

int remote_start_call(struct remote *r, const struct user_regs_struct *regs)
{
	int e = remote_set_regs(r, regs);

	if (e == 0)
		e = remote_block_signals(r);
	return e < 0 ? e : resume(r, PTRACE_SYSCALL, 0);
}

int remote_step_call(struct remote *r, int64_t *result)
{
	int e, deliver = 0, signal = next_stop(r, PTRACE_SYSCALL);
	bool exit = false;
	uint64_t ip;

	if (signal < 0)
		return signal;
	e = signal == SYSCALL_STOP ? call_exit(r, &exit, &ip, result) : take_signal(r, signal, &deliver);
	if (e < 0 || exit)
		return e;
	e = resume(r, PTRACE_SYSCALL, deliver);
	return e < 0 ? e : 1;
}

int remote_run_call(struct remote *r, const struct user_regs_struct *regs, int64_t *result)
{
	int e = remote_start_call(r, regs);

	if (e == 0)
		do
			e = remote_step_call(r, result);
		while (e == 1);
	return e;
}
