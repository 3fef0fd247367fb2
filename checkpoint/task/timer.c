/* SPDX-License-Identifier: Apache-2.0 */
/* Interval timers (setitimer) and POSIX timers (timer_create).
 *
 * Kernel facts:
 * - The image has what remains, not a date: a timer goes on after a restore where it stood, whatever the clock.
 * - /proc/PID/timers (CONFIG_CHECKPOINT_RESTORE) lists id, signal, value, target and clock of every POSIX timer; times and overruns are asked
 *   by batch. The clock of timer_create(CLOCK_PROCESS_CPUTIME_ID) shows as -6 and of CLOCK_THREAD_CPUTIME_ID as -2: "of the caller",
 *   with which they are created again.
 * - Ids: since Linux 6.15 prctl(PR_TIMER_CREATE_RESTORE_IDS) makes timer_create() take the id it finds in the caller's variable.
 *   Before, ids count up from 0 in a process: timers are created and deleted until the wanted one comes.
 * - A timer is armed last: it runs from then on. Its signal waits (all are blocked in a batch).
 * - ITIMER_REAL stands still, with nothing left and its interval, from its expiry until its SIGALRM is delivered, which starts it again. No
 *   call sets that: the signal is in the restored queue, and the timer gets a whole interval.
 *
 * Not kept: the overrun count of the last delivery (no call sets it); that a CLOCK_REALTIME timer was absolute.
 * Refused: a timer on the CPU time of one of several threads, when /proc does not tell which. A timer whose thread has gone
 * cannot deliver; it is saved as one that notifies nobody (SIGEV_NONE). */
#define LOG_PREFIX "timer"
#include "task/subject.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "base/proc.h"
#include "remote/ahead.h"

#define ITIMERS 3
#define TIMERS_MAX 65536
#define TIMERS_AT_ONCE 64          /* in one batch */
#define ID_GAP_MAX 200000          /* creating and deleting that many takes about a second */
#define CLOCK_THREAD_SELF (-2)     /* make_thread_cpuclock(0, CPUCLOCK_SCHED) */
#define PR_TIMER_CREATE_RESTORE_IDS 77
#ifndef SIGEV_THREAD_ID
#define SIGEV_THREAD_ID 4
#endif

struct itimer_value {
	int64_t isec, iusec, vsec, vusec;
};
struct timer_value {
	int64_t isec, insec, vsec, vnsec;
};

/* --- dump --- */

void itimer_ask(struct ask *a, struct ask_slot *s)
{
	s->at = ask_space(a, ITIMERS * sizeof(struct itimer_value));
	s->first = a->n;
	for (uint64_t i = 0; i < ITIMERS; i++)
		ask(a, "read an interval timer", SYS_getitimer, i, s->at + i * sizeof(struct itimer_value));
}

int itimer_take(struct dump *d, struct ask *a, const struct ask_slot *s, TaskCoreEntry *tc)
{
	const struct itimer_value *v = ask_answer(a, s->at);
	ItimerEntry **to[ITIMERS];

	tc->timers = arena_new(d->arena, TaskTimersEntry);
	task_timers_entry__init(tc->timers);
	to[ITIMER_REAL] = &tc->timers->real;
	to[ITIMER_VIRTUAL] = &tc->timers->virt;
	to[ITIMER_PROF] = &tc->timers->prof;
	for (size_t i = 0; i < ITIMERS; i++) {
		if (a->calls[s->first + i].ret < 0)
			return fail((int)-a->calls[s->first + i].ret, "read interval timer %zu of " THREAD_FMT, i, THREAD_ARG(a->th));
		ItimerEntry *e = *to[i] = arena_new(d->arena, ItimerEntry);
		itimer_entry__init(e);
		e->isec = (uint64_t)v[i].isec;
		e->iusec = (uint64_t)v[i].iusec;
		e->vsec = (uint64_t)v[i].vsec;
		e->vusec = (uint64_t)v[i].vusec;
	}
	return 0;
}

static pid_t virtual_tid(const struct task *t, int host_tid)
{
	for (size_t i = 0; i < t->n_threads; i++)
		if (t->threads[i].host_tid == host_tid)
			return t->threads[i].tid;
	return 0;
}

/* "notify: signal/tid.1234"; what the image calls it_sigev_notify. */
static int parse_notify(const struct task *t, const char *how, int target, PosixTimerEntry *e)
{
	if (strncmp(how, "none", 4) == 0) {
		e->it_sigev_notify = SIGEV_NONE;
	} else if (strncmp(how, "thread", 6) == 0) {
		e->it_sigev_notify = SIGEV_THREAD;
	} else {
		e->it_sigev_notify = SIGEV_SIGNAL;
	}
	if (!strstr(how, "/tid"))
		return 0;
	e->it_sigev_notify |= SIGEV_THREAD_ID;
	e->has_notify_thread_id = true;
	e->notify_thread_id = virtual_tid(t, target);
	if (e->notify_thread_id)
		return 0;
	log_warn(TASK_FMT ": the thread that timer %u notifies has gone", TASK_ARG(t), e->it_id);
	e->it_sigev_notify = SIGEV_NONE;
	e->has_notify_thread_id = false;
	return 0;
}

/* One timer's four lines. Returns the text after them, NULL if they are not understood. */
static const char *parse_timer(const struct task *t, const char *text, PosixTimerEntry *e)
{
	int used = 0, id, signo, target, clock;
	char how[32];
	uint64_t value;

	posix_timer_entry__init(e);
	int n = sscanf(text, "ID: %d signal: %d/%" SCNx64 " notify: %31[^.].%d ClockID: %d%n", &id, &signo, &value, how, &target, &clock, &used);
	if (n != 6 || !used)
		return NULL;
	e->it_id = (uint32_t)id;
	e->si_signo = (uint32_t)signo;
	e->sival_ptr = value;
	e->clock_id = (uint32_t)clock;
	parse_notify(t, how, target, e);
	return text + used + strspn(text + used, " \n");
}

static int refuse_thread_clock(const struct task *t, const PosixTimerEntry *e)
{
	if ((int32_t)e->clock_id != CLOCK_THREAD_SELF || t->n_threads == 1)
		return 0;
	return fail_text(ENOTSUP, "timer %u of " TASK_FMT " counts the CPU time of one of its %zu threads, and the kernel does not tell which",
			 e->it_id, TASK_ARG(t), t->n_threads);
}

static int ask_times(struct task *t, PosixTimerEntry **e, size_t n)
{
	struct ask a;

	ask_begin(&a, &t->threads[0], false);
	uint64_t at = ask_space(&a, n * sizeof(struct timer_value));
	for (size_t i = 0; i < n; i++) {
		ask(&a, "read", SYS_timer_gettime, e[i]->it_id, at + i * sizeof(struct timer_value));
		ask(&a, "read the overruns", SYS_timer_getoverrun, e[i]->it_id);
	}
	int r = ask_run(&a);
	const struct timer_value *v = ask_answer(&a, at);
	for (size_t i = 0; i < n && r >= 0; i++) {
		if (a.calls[2 * i].ret < 0)
			return fail((int)-a.calls[2 * i].ret, "read timer %u of " TASK_FMT, e[i]->it_id, TASK_ARG(t));
		e[i]->isec = (uint64_t)v[i].isec;
		e[i]->insec = (uint64_t)v[i].insec;
		e[i]->vsec = (uint64_t)v[i].vsec;
		e[i]->vnsec = (uint64_t)v[i].vnsec;
		e[i]->overrun = a.calls[2 * i + 1].ret > 0 ? (uint32_t)a.calls[2 * i + 1].ret : 0;
	}
	return r;
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = (*(PosixTimerEntry *const *)a)->it_id, y = (*(PosixTimerEntry *const *)b)->it_id;

	return (x > y) - (x < y);
}

int timer_dump(struct dump *d, struct task *t, TaskTimersEntry *timers)
{
	autofree char *text = NULL;
	ARRAY(PosixTimerEntry *) list = { 0 };
	ssize_t len = ahead_read(d, t, AHEAD_TIMERS, &text);
	int r = 0;

	if (len == -ENOENT)
		return fail_text(ENOSYS, "the kernel has no /proc/PID/timers (CONFIG_CHECKPOINT_RESTORE): timers of " TASK_FMT " cannot be saved",
				 TASK_ARG(t));
	if (len < 0)
		return fail((int)-len, "read /proc/%d/timers", t->host_pid);
	for (const char *at = text; *at && r >= 0;) {
		PosixTimerEntry *e = arena_new(d->arena, PosixTimerEntry);
		at = parse_timer(t, at, e);
		if (!at) {
			r = fail_text(EBADMSG, "/proc/%d/timers is not understood", t->host_pid);
			break;
		}
		r = refuse_thread_clock(t, e);
		array_push(&list) = e;
	}
	for (size_t i = 0; i < list.n && r >= 0; i += TIMERS_AT_ONCE)
		r = ask_times(t, list.data + i, list.n - i < TIMERS_AT_ONCE ? list.n - i : TIMERS_AT_ONCE);
	if (r >= 0 && list.n) {
		qsort(list.data, list.n, sizeof *list.data, by_id);
		timers->posix = arena_dup(d->arena, list.data, list.n * sizeof *list.data);
		timers->n_posix = list.n;
	}
	array_free(&list);
	return r;
}

/* --- check --- */

static int bad(const struct task *t, const PosixTimerEntry *e, const char *why)
{
	return fail_text(EBADMSG, "core-%d.img: timer %u: %s", t->pid, e->it_id, why);
}

static int posix_check(const struct task *t, const PosixTimerEntry *e)
{
	uint32_t how = e->it_sigev_notify & ~(uint32_t)SIGEV_THREAD_ID;

	if (e->it_id > INT_MAX)
		return bad(t, e, "the id is out of range");
	if (how > SIGEV_THREAD)
		return bad(t, e, "the way of notification is unknown");
	if (how != SIGEV_NONE && (e->si_signo < 1 || e->si_signo > 64))
		return bad(t, e, "its signal is none");
	if (e->insec >= 1000000000 || e->vnsec >= 1000000000 || e->isec > INT64_MAX || e->vsec > INT64_MAX)
		return bad(t, e, "its times are out of range");
	if (!(e->it_sigev_notify & SIGEV_THREAD_ID))
		return 0;
	for (size_t i = 0; i < t->n_threads; i++)
		if (e->has_notify_thread_id && t->threads[i].tid == e->notify_thread_id)
			return 0;
	return bad(t, e, "it notifies a thread that the task does not have");
}

static int itimer_check(const struct task *t, const ItimerEntry *e)
{
	if (e->iusec >= 1000000 || e->vusec >= 1000000 || e->isec > INT64_MAX || e->vsec > INT64_MAX)
		return fail_text(EBADMSG, "core-%d.img: the times of an interval timer are out of range", t->pid);
	return 0;
}

int timer_check(const struct task *t)
{
	TaskTimersEntry *e = t->threads[0].core->tc->timers;

	if (!e)
		return 0;
	if (e->n_posix > TIMERS_MAX)
		return fail_text(EBADMSG, "core-%d.img: %zu timers are too many", t->pid, e->n_posix);
	int r = itimer_check(t, e->real);
	if (r >= 0)
		r = itimer_check(t, e->virt);
	if (r >= 0)
		r = itimer_check(t, e->prof);
	for (size_t i = 0; i < e->n_posix && r >= 0; i++)
		r = posix_check(t, e->posix[i]);
	if (r >= 0 && e->n_posix)
		qsort(e->posix, e->n_posix, sizeof *e->posix, by_id);
	for (size_t i = 1; i < e->n_posix && r >= 0; i++)
		if (e->posix[i]->it_id == e->posix[i - 1]->it_id)
			r = bad(t, e->posix[i], "its id is there twice");
	return r;
}

/* --- restore --- */

static void fill_event(const PosixTimerEntry *e, struct sigevent *ev)
{
	memset(ev, 0, sizeof *ev);
	ev->sigev_value.sival_ptr = (void *)(uintptr_t)e->sival_ptr;
	ev->sigev_signo = (int)e->si_signo;
	ev->sigev_notify = (int)e->it_sigev_notify;
	if (e->it_sigev_notify & SIGEV_THREAD_ID)
		ev->_sigev_un._tid = e->notify_thread_id;
}

static size_t ask_create(struct ask *a, const PosixTimerEntry *e, int32_t id)
{
	struct sigevent ev;

	fill_event(e, &ev);
	ask_need(a, 1, sizeof ev + sizeof id);
	uint64_t at = ask_data(a, &id, sizeof id);
	return ask(a, "create a timer", SYS_timer_create, (uint64_t)(int64_t)(int32_t)e->clock_id, ask_data(a, &ev, sizeof ev), at);
}

/* With the ids given: one batch. -EINVAL, bare: the kernel does not know that. */
static int create_by_id(struct thread *th, const TaskTimersEntry *timers)
{
	int64_t r = remote_call(th->remote, SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0, 0);
	struct ask a;

	if (r < 0)
		return (int)r;
	ask_begin(&a, th, true);
	for (size_t i = 0; i < timers->n_posix; i++)
		ask_create(&a, timers->posix[i], (int32_t)timers->posix[i]->it_id);
	ask_need(&a, 1, 0);
	ask(&a, "end the choice of timer ids", SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0);
	return ask_run(&a);
}

/* Creates a timer; *id is what it got. */
static int create_any(struct thread *th, const PosixTimerEntry *e, int32_t *id)
{
	struct ask a;
	uint64_t first = remote_scratch(th->remote);   /* ask_create() puts the id there first */

	ask_begin(&a, th, false);
	size_t i = ask_create(&a, e, 0);
	int r = ask_run(&a);
	if (r >= 0 && a.calls[i].ret < 0)
		return fail((int)-a.calls[i].ret, "create timer %u of " THREAD_FMT, e->it_id, THREAD_ARG(th));
	*id = *(int32_t *)ask_answer(&a, first);
	return r;
}

static int create_by_counting(struct thread *th, const TaskTimersEntry *timers)
{
	uint32_t last = timers->posix[timers->n_posix - 1]->it_id;

	if (last > ID_GAP_MAX)
		return fail_text(ENOTSUP, "timer id %u of " THREAD_FMT " is too far to count up to: Linux 6.15 is needed, where ids can be chosen",
				 last, THREAD_ARG(th));
	for (size_t i = 0; i < timers->n_posix; i++) {
		uint32_t wanted = timers->posix[i]->it_id;
		for (int32_t id = -1; (uint32_t)id != wanted;) {
			int r = create_any(th, timers->posix[i], &id);
			if (r < 0)
				return r;
			if (id > (int32_t)wanted)
				return fail_text(EEXIST, "timer id %u of " THREAD_FMT " cannot be had: the kernel gave %d", wanted,
						 THREAD_ARG(th), id);
			if (id < (int32_t)wanted)
				remote_call(th->remote, SYS_timer_delete, (uint64_t)id, 0, 0, 0, 0, 0);
		}
	}
	return 0;
}

static void arm_itimer(struct ask *a, uint64_t which, const ItimerEntry *e)
{
	struct itimer_value v = { (int64_t)e->isec, (int64_t)e->iusec, (int64_t)e->vsec, (int64_t)e->vusec };

	bool interval = v.isec || v.iusec, armed = v.vsec || v.vusec;

	if (which == ITIMER_REAL && interval && !armed) {
		v.vsec = v.isec;
		v.vusec = v.iusec;
	}
	if (interval || armed)
		ask(a, "arm an interval timer", SYS_setitimer, which, ask_data(a, &v, sizeof v), 0);
}

static int arm(struct thread *th, const TaskTimersEntry *timers)
{
	struct ask a;

	ask_begin(&a, th, true);
	for (size_t i = 0; i < timers->n_posix; i++) {
		const PosixTimerEntry *e = timers->posix[i];
		struct timer_value v = { (int64_t)e->isec, (int64_t)e->insec, (int64_t)e->vsec, (int64_t)e->vnsec };
		if (!v.vsec && !v.vnsec)
			continue;
		ask_need(&a, 1, sizeof v);
		ask(&a, "arm a timer", SYS_timer_settime, e->it_id, 0, ask_data(&a, &v, sizeof v), 0);
	}
	ask_need(&a, ITIMERS, ITIMERS * sizeof(struct itimer_value));
	arm_itimer(&a, ITIMER_REAL, timers->real);
	arm_itimer(&a, ITIMER_VIRTUAL, timers->virt);
	arm_itimer(&a, ITIMER_PROF, timers->prof);
	return a.n || a.error ? ask_run(&a) : 0;
}

int timer_restore(struct task *t)
{
	struct thread *th = &t->threads[0];
	const TaskTimersEntry *timers = th->core->tc->timers;
	int r = 0;

	if (!timers)
		return 0;
	if (timers->n_posix) {
		r = create_by_id(th, timers);
		if (r == -EINVAL && !err_count())
			r = create_by_counting(th, timers);
	}
	return r < 0 ? r : arm(th, timers);
}
