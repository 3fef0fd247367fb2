/* SPDX-License-Identifier: Apache-2.0 */
/* Saving a task: what /proc and ptrace tell, and one batch for each thread; then the images core-, ids-, mm- and fs-.
 *
 * Order of one thread:
 * 1. /proc/PID/task/TID/status, for credentials and masks.
 * 2. One batch with everything that only the thread can tell; the leader is asked for the process's things as well, memory settings
 *    among them, and runs it while the dump looks at its mappings (task_ask).
 * 3. Pending signals, after the timers: one that expires meanwhile is saved with what it sends, never without. Then seccomp filters and
 *    scheduling, by ptrace and from outside.
 * 4. Registers last: a call that was interrupted is judged by the signals that wait.
 *
 * The leader's core has the task's part (tc); its state, name and mask are there for older readers as well as in thread_core. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/err.h"
#include "base/proc.h"
#include "mem/mem.h"
#include "remote/ahead.h"
#include "remote/regs.h"
#include "task/subject.h"

#define ROOT_CGROUP_SET 1

struct task_facts *task_facts(struct dump *d)
{
	if (!d->task_facts)
		d->task_facts = arena_new(d->arena, struct task_facts);
	return d->task_facts;
}

static CoreEntry *core_new(struct dump *d, bool leader, bool alive)
{
	CoreEntry *core = arena_new(d->arena, CoreEntry);

	core_entry__init(core);
	if (leader) {
		core->tc = arena_new(d->arena, TaskCoreEntry);
		task_core_entry__init(core->tc);
	}
	if (alive) {
		core->thread_core = arena_new(d->arena, ThreadCoreEntry);
		thread_core_entry__init(core->thread_core);
	}
	return core;
}

/* Where the answers of a thread's one batch are. */
struct slots {
	struct ask_slot thread, creds, memory, process, signal, itimer, rlimit;
};

/* A leader's batch runs while its files and mappings are looked at. */
struct asked {
	struct ask a;
	struct slots s;
};

static void ask_thread(struct ask *a, struct slots *s)
{
	thread_ask(a, &s->thread);
	creds_ask(a, &s->creds);
}

static void ask_process(struct ask *a, struct slots *s)
{
	struct call memory[MM_QUESTIONS];

	s->memory.first = a->n;
	mm_ask(memory);
	for (size_t i = 0; i < MM_QUESTIONS; i++)
		ask_call(a, "ask for the memory settings", (long)memory[i].nr, memory[i].arg);
	process_ask(a, &s->process);
	signal_ask(a, &s->signal);
	itimer_ask(a, &s->itimer);
	rlimit_ask(a, &s->rlimit);
}

static int take_process(struct dump *d, struct ask *a, const struct slots *s, struct task *t)
{
	TaskCoreEntry *tc = t->threads[0].core->tc;
	int r = mm_take(t, &a->calls[s->memory.first]);

	if (r >= 0)
		r = process_take(d, a, &s->process, t, tc);
	if (r >= 0)
		r = signal_take(d, a, &s->signal, tc);
	if (r >= 0)
		r = itimer_take(d, a, &s->itimer, tc);
	if (r >= 0)
		r = rlimit_take(d, a, &s->rlimit, tc);
	return r < 0 ? r : timer_dump(d, t, tc->timers);
}

static int take_signals(struct dump *d, struct thread *th, const struct task_status *st, uint64_t mask)
{
	CoreEntry *core = th->core;
	uint64_t pending = st->pending | st->shared_pending;
	int r = signal_queue_dump(d, th, false, &core->thread_core->signals_p, &pending);

	if (r >= 0 && core->tc)
		r = signal_queue_dump(d, th, true, &core->tc->signals_s, &pending);
	if (r < 0)
		return r;
	core->thread_core->has_blk_sigset = true;
	core->thread_core->blk_sigset = mask;
	return regs_save(th->remote, d->arena, core, (pending & ~mask & st->caught) != 0);
}

static void fill_process(struct task *t, const struct thread *th)
{
	TaskCoreEntry *tc = th->core->tc;

	tc->task_state = (uint32_t)t->state;
	tc->has_stop_signo = t->state == TASK_STOPPED;
	tc->stop_signo = t->state == TASK_STOPPED ? (uint32_t)(t->stop_signal ? t->stop_signal : SIGSTOP) : 0;
	tc->blk_sigset = th->core->thread_core->blk_sigset;
}

/* The leader's was read by another thread, perhaps a while ago: what signals wait is asked of ptrace. */
static int status_read(struct dump *d, const struct thread *th, struct task_status *s)
{
	autofree char *text = NULL;

	if (th != &th->task->threads[0])
		return task_status_read(th->task->host_pid, th->host_tid, s);
	ssize_t n = ahead_read(d, th->task, AHEAD_STATUS, &text);
	if (n >= 0)
		return task_status_parse(text, s);
	memset(s, 0, sizeof *s);
	return (int)n;
}

static int thread_dump(struct dump *d, struct thread *th, struct ask *a, const struct slots *s, uint32_t *umask)
{
	struct task *t = th->task;
	bool leader = th == &t->threads[0];
	auto_task_status struct task_status st;

	th->core = core_new(d, leader, true);
	ThreadCoreEntry *tce = th->core->thread_core;
	int r = status_read(d, th, &st);
	if (r < 0)
		return fail(-r, "read the status of " THREAD_FMT, THREAD_ARG(th));
	r = ask_finish(a);
	if (r >= 0 && leader)
		r = take_process(d, a, s, t);
	if (r >= 0)
		r = take_signals(d, th, &st, remote_sigmask(th->remote));
	if (r >= 0)
		r = thread_take(d, a, &s->thread, th->core);
	if (r >= 0 && leader) {
		fill_process(t, th);
		*umask = st.umask;
	}
	if (r >= 0)
		r = creds_take(d, a, &s->creds, &st, tce);
	if (r >= 0)
		r = sched_dump(th, tce);
	if (r >= 0)
		r = place_dump(d, th, tce);
	tce->has_cg_set = true;
	tce->cg_set = ROOT_CGROUP_SET;
	return r < 0 ? r : seccomp_dump(d, th, &st);
}

int task_ask(struct dump *d, struct task *t)
{
	struct task_facts *f = task_facts(d);

	if (!f->asked)
		f->asked = arena_new(d->arena, struct asked);
	ask_begin(&f->asked->a, &t->threads[0], false);
	ask_thread(&f->asked->a, &f->asked->s);
	ask_process(&f->asked->a, &f->asked->s);
	ask_start(&f->asked->a);
	return f->asked->a.error;
}

static int further_thread_dump(struct dump *d, struct thread *th)
{
	struct slots s;
	struct ask a;

	ask_begin(&a, th, false);
	ask_thread(&a, &s);
	ask_start(&a);
	return thread_dump(d, th, &a, &s, NULL);
}

int task_dump(struct dump *d, struct task *t)
{
	struct asked *asked = task_facts(d)->asked;
	uint32_t umask = 0;
	int r = thread_dump(d, &t->threads[0], &asked->a, &asked->s, &umask);

	for (size_t i = 1; i < t->n_threads && r >= 0; i++)
		r = further_thread_dump(d, &t->threads[i]);
	if (r < 0)
		return r;
	seccomp_dump_end(d, t);
	r = share_check(d, t);
	return r < 0 ? r : fs_dump(d, t, umask);
}

static CoreEntry__March march(void)
{
#if defined __x86_64__
	return CORE_ENTRY__MARCH__X86_64;
#elif defined __aarch64__
	return CORE_ENTRY__MARCH__AARCH64;
#else
#error "which architecture is this for the image format?"
#endif
}

int task_dump_zombie(struct dump *d, struct task *t)
{
	struct thread *th = &t->threads[0];
	struct proc_stat st;
	int r = proc_stat_read(t->host_pid, &st);

	if (r < 0)
		return fail(-r, "read /proc/%d/stat of a zombie", t->host_pid);
	th->core = core_new(d, true, false);
	th->core->mtype = march();
	TaskCoreEntry *tc = th->core->tc;
	tc->task_state = TASK_DEAD;
	tc->exit_code = (uint32_t)st.exit_code;
	tc->flags = st.flags;
	tc->comm = arena_str(d->arena, st.comm);
	if (t->parent && st.exit_signal != SIGCHLD)
		return fail_text(ENOTSUP, "zombie " TASK_FMT " was made by clone() with exit signal %d instead of SIGCHLD, which cannot be saved",
				 TASK_ARG(t), st.exit_signal);
	return 0;
}

int task_write(struct dump *d, struct task *t)
{
	int r = 0;

	for (size_t i = 0; i < t->n_threads && r >= 0; i++)
		r = image_write_one(d->images, IMG_CORE, (uint64_t)t->threads[i].tid, t->threads[i].core);
	if (t->state == TASK_DEAD)
		return r;
	if (r >= 0)
		r = image_write_one(d->images, IMG_IDS, (uint64_t)t->pid, t->ids);
	if (r >= 0)
		r = image_write_one(d->images, IMG_MM, (uint64_t)t->pid, t->mm);
	return r < 0 ? r : image_write_one(d->images, IMG_FS, (uint64_t)t->pid, t->fs);
}
