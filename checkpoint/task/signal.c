/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: what is done on each, and what waits to be delivered. (The masks are ptrace's: core.c, task.c.)
 *
 * Kernel facts:
 * - The image has the actions of signals 1…64 without SIGKILL and SIGSTOP: 62. All are asked for: a default action may still have
 *   SA_NOCLDWAIT or SA_NOCLDSTOP.
 * - Queues are read with PTRACE_PEEKSIGINFO, which takes nothing out.
 * - A process may queue any siginfo to itself (rt_sigqueueinfo), others may not forge what the kernel or kill(2) sends: each
 *   thread queues its own.
 * - A blocked signal, or one of a traced task, is queued even if it is ignored. During a batch all are blocked: nothing is lost or delivered.
 * - Setting SIG_IGN drops what is queued: actions come before queues.
 * - SIGSTOP cannot be blocked: one that waits in a queue is not queued again, the task is let go stopped instead (signal_check).
 * - si_sys_private of a timer's signal belongs to the kernel that made it: cleared.
 *
 * What the building of the tree has sent to a husk (SIGCHLD of a zombie, mostly) is taken out before the queue is filled. */
#include "task/subject.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/err.h"

#define SIGNALS 64
#define ACTIONS 62
#define SIGINFO_SIZE 128
#define QUEUE_MAX 65536     /* more than any sane RLIMIT_SIGPENDING */
#define PEEK_AT_ONCE 32
#define DRAIN_CALLS 4

struct action {   /* the kernel's struct sigaction */
	uint64_t handler, flags, restorer, mask;
};

static bool has_action(int sig)
{
	return sig != SIGKILL && sig != SIGSTOP;
}

void signal_ask(struct ask *a, struct ask_slot *s)
{
	s->at = ask_space(a, ACTIONS * sizeof(struct action));
	s->first = a->n;
	uint64_t at = s->at;
	for (int sig = 1; sig <= SIGNALS; sig++) {
		if (!has_action(sig))
			continue;
		ask(a, "read a signal action", SYS_rt_sigaction, (uint64_t)sig, 0, at, 8);
		at += sizeof(struct action);
	}
}

int signal_take(struct dump *d, struct ask *a, const struct ask_slot *s, TaskCoreEntry *tc)
{
	const struct action *v = ask_answer(a, s->at);
	SaEntry *entries = arena_array(d->arena, SaEntry, ACTIONS);

	tc->n_sigactions = ACTIONS;
	tc->sigactions = arena_array(d->arena, SaEntry *, ACTIONS);
	for (size_t i = 0; i < ACTIONS; i++) {
		const struct call *c = &a->calls[s->first + i];
		if (c->ret < 0)
			return fail((int)-c->ret, "read the action of signal %llu of " THREAD_FMT, (unsigned long long)c->arg[0], THREAD_ARG(a->th));
		SaEntry *e = tc->sigactions[i] = &entries[i];
		sa_entry__init(e);
		e->sigaction = v[i].handler;
		e->flags = v[i].flags;
		e->restorer = v[i].restorer;
		e->mask = v[i].mask;
		e->has_compat_sigaction = true;
	}
	return 0;
}

/* --- queues --- */

static void queue_add(struct dump *d, SignalQueueEntry *q, size_t *cap, const siginfo_t *info)
{
	if (q->n_signals == *cap) {
		*cap = *cap ? 2 * *cap : 8;
		SiginfoEntry **more = arena_array(d->arena, SiginfoEntry *, *cap);
		if (q->n_signals)
			memcpy(more, q->signals, q->n_signals * sizeof *more);
		q->signals = more;
	}
	SiginfoEntry *e = arena_new(d->arena, SiginfoEntry);
	siginfo_entry__init(e);
	e->siginfo.len = SIGINFO_SIZE;
	e->siginfo.data = arena_dup(d->arena, info, SIGINFO_SIZE);
	q->signals[q->n_signals++] = e;
}

int signal_queue_dump(struct dump *d, struct thread *th, bool shared, SignalQueueEntry **out, uint64_t *pending)
{
	siginfo_t info[PEEK_AT_ONCE];
	size_t cap = 0;
	SignalQueueEntry *q = *out = arena_new(d->arena, SignalQueueEntry);

	signal_queue_entry__init(q);
	for (bool more = true; more;) {
		struct __ptrace_peeksiginfo_args args = { q->n_signals, shared ? PTRACE_PEEKSIGINFO_SHARED : 0, PEEK_AT_ONCE };
		long n = ptrace(PTRACE_PEEKSIGINFO, th->host_tid, &args, info);
		if (n < 0)
			return fail(errno, "read the pending signals of " THREAD_FMT, THREAD_ARG(th));
		for (long i = 0; i < n; i++) {
			queue_add(d, q, &cap, &info[i]);
			*pending |= 1ull << (info[i].si_signo - 1);
		}
		more = n == PEEK_AT_ONCE;
	}
	return 0;
}

static int queue_check(const SignalQueueEntry *q, const struct thread *th, bool *stop)
{
	for (size_t i = 0; q && i < q->n_signals; i++) {
		const ProtobufCBinaryData *b = &q->signals[i]->siginfo;
		siginfo_t info = { 0 };
		if (b->len != SIGINFO_SIZE)
			return fail_text(EBADMSG, "core-%d.img: a pending signal has %zu bytes, not %d", th->tid, b->len, SIGINFO_SIZE);
		memcpy(&info, b->data, SIGINFO_SIZE);
		if (info.si_signo < 1 || info.si_signo > SIGNALS || info.si_signo == SIGKILL)
			return fail_text(EBADMSG, "core-%d.img: signal %d cannot be pending", th->tid, info.si_signo);
		*stop |= info.si_signo == SIGSTOP;
	}
	if (q && q->n_signals > QUEUE_MAX)
		return fail_text(EBADMSG, "core-%d.img: %zu pending signals are too many", th->tid, q->n_signals);
	return 0;
}

int signal_check(const struct task *t)
{
	const TaskCoreEntry *tc = t->threads[0].core->tc;
	bool stop = false;

	if (tc->n_sigactions != ACTIONS)
		return fail_text(EBADMSG, "core-%d.img has %zu signal actions, not %d", t->pid, tc->n_sigactions, ACTIONS);
	for (size_t i = 0; i < ACTIONS; i++)
		if (tc->sigactions[i]->has_compat_sigaction && tc->sigactions[i]->compat_sigaction)
			return fail_text(ENOTSUP, "core-%d.img: " TASK_FMT " is a 32-bit program, which cannot be restored", t->pid, TASK_ARG(t));
	int r = queue_check(tc->signals_s, &t->threads[0], &stop);
	for (size_t i = 0; i < t->n_threads && r >= 0; i++)
		r = queue_check(t->threads[i].core->thread_core->signals_p, &t->threads[i], &stop);
	return r < 0 ? r : stop;
}

void signal_restore_actions(struct ask *a)
{
	const TaskCoreEntry *tc = a->th->core->tc;
	struct action v[ACTIONS];
	size_t i = 0;

	for (i = 0; i < ACTIONS; i++) {
		const SaEntry *e = tc->sigactions[i];
		v[i] = (struct action){ e->sigaction, e->flags, e->restorer, e->mask };
	}
	ask_need(a, ACTIONS, sizeof v);
	uint64_t at = ask_data(a, v, sizeof v);
	i = 0;
	for (int sig = 1; sig <= SIGNALS; sig++)
		if (has_action(sig))
			ask(a, "set a signal action", SYS_rt_sigaction, (uint64_t)sig, at + i++ * sizeof *v, 0, 8);
}

static void queue_restore(struct ask *a, const SignalQueueEntry *q, bool shared)
{
	pid_t pid = a->th->task->pid, tid = a->th->tid;

	for (size_t i = 0; q && i < q->n_signals; i++) {
		siginfo_t info;
		memcpy(&info, q->signals[i]->siginfo.data, SIGINFO_SIZE);
		if (info.si_signo == SIGSTOP)
			continue;
		if (info.si_code == SI_TIMER)   /* si_sys_private, behind si_value; libc has no name for it */
			memset((char *)&info + offsetof(siginfo_t, si_value) + sizeof info.si_value, 0, sizeof(int));
		ask_need(a, 1, SIGINFO_SIZE);
		uint64_t at = ask_data(a, &info, SIGINFO_SIZE), sig = (uint64_t)info.si_signo;
		if (shared)
			ask(a, "queue a pending signal", SYS_rt_sigqueueinfo, (uint64_t)pid, sig, at);
		else
			ask(a, "queue a pending signal", SYS_rt_tgsigqueueinfo, (uint64_t)pid, (uint64_t)tid, sig, at);
	}
}

void signal_restore_queues(struct ask *a)
{
	const CoreEntry *core = a->th->core;
	const uint64_t all = UINT64_MAX, now[2] = { 0 };

	ask_need(a, DRAIN_CALLS, sizeof all + sizeof now);
	uint64_t mask = ask_data(a, &all, sizeof all), timeout = ask_data(a, now, sizeof now);
	for (int i = 0; i < DRAIN_CALLS; i++)
		ask(a, NULL, SYS_rt_sigtimedwait, mask, 0, timeout, 8);
	queue_restore(a, core->thread_core->signals_p, false);
	if (core->tc)
		queue_restore(a, core->tc->signals_s, true);
}
