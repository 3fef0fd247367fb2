/* SPDX-License-Identifier: Apache-2.0 */
/* Restoring what a task is, in the engine's order:
 *
 *   task_check            image values, before anything is created
 *   task_restore_threads  (clone.c) all threads stand in the loop
 *   task_restore_state    with the husk's privileges: directories, handlers, personality, seccomp, what is written from outside
 *   task_restore_creds    limits, then each thread's credentials: from here on no call needs a privilege
 *   task_restore_last     names, stacks, rseq; signal queues; timers; then no more batches: masks and registers
 *
 * Invariants:
 * 1. Zombies are made before their parent's task_restore_state (SIGCHLD may be ignored from there on).
 * 2. Memory is in place before task_restore_last: the kernel writes into the rseq area.
 * 3. Queues are filled after actions are set (SIG_IGN empties them), and after everything that makes the kernel send signals.
 * 4. Timers are armed by the last batch. Their signals wait: a batch runs with all signals blocked.
 * 5. The batch pages go when all other threads have their final registers; the leader's are set after that. */
#define LOG_PREFIX "task"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "remote/regs.h"
#include "task/subject.h"

/* --- check --- */

static int compare_tids(const void *a, const void *b)
{
	return *(const pid_t *)a - *(const pid_t *)b;
}

/* Thread ids are unique in the whole tree, pids of other tasks included. Done once, for the root. */
static int check_tids(struct restore *r)
{
	ARRAY(pid_t) all = { 0 };
	pid_t twice = 0;

	for (size_t i = 0; i < r->tree->tasks.n; i++)
		for (size_t k = 0; k < r->tree->tasks.data[i]->n_threads; k++)
			array_push(&all) = r->tree->tasks.data[i]->threads[k].tid;
	if (all.n)
		qsort(all.data, all.n, sizeof *all.data, compare_tids);
	for (size_t i = 1; i < all.n && !twice; i++)
		if (all.data[i] == all.data[i - 1])
			twice = all.data[i];
	array_free(&all);
	return twice ? fail_text(EBADMSG, "pstree.img lists the thread id %d twice", twice) : 0;
}

static int check_thread(const struct thread *th)
{
	if (!th->core || !th->core->thread_core)
		return fail_text(EBADMSG, "core-%d.img has no thread part", th->tid);
	int r = regs_check(th->core, th->tid);
	if (r >= 0)
		r = thread_check(th);
	if (r >= 0)
		r = sched_check(th);
	return r < 0 ? r : creds_check(th);
}

static int check_alive(struct restore *r, struct task *t)
{
	int ret = 0;

	for (size_t i = 0; i < t->n_threads && ret >= 0; i++)
		ret = check_thread(&t->threads[i]);
	if (ret >= 0)
		ret = process_check(t);
	if (ret >= 0)
		ret = rlimit_check(t);
	if (ret >= 0)
		ret = timer_check(t);
	if (ret >= 0)
		ret = seccomp_check(r, t);
	if (ret >= 0)
		ret = fs_check(r, t);
	if (ret >= 0)
		ret = signal_check(t);
	if (ret <= 0)
		return ret;
	t->state = TASK_STOPPED;   /* a SIGSTOP was on its way */
	t->stop_signal = SIGSTOP;
	return 0;
}

int task_check(struct restore *r, struct task *t)
{
	const CoreEntry *core = t->threads[0].core;

	if (t->state == TASK_HELPER)
		return 0;
	if (t == tree_root(r->tree)) {
		int ret = check_tids(r);
		if (ret < 0)
			return ret;
	}
	if (!core || !core->tc)
		return fail_text(EBADMSG, "core-%d.img has no task part", t->pid);
	if (strlen(core->tc->comm) > 15)
		return fail_text(EBADMSG, "core-%d.img: the name \"%.32s\" is longer than 15 bytes", t->pid, core->tc->comm);
	return t->state == TASK_DEAD ? zombie_check(t) : check_alive(r, t);
}

/* --- restore --- */

static int restore_process(struct task *t)
{
	struct ask a;

	ask_begin(&a, &t->threads[0], true);
	signal_restore_actions(&a);
	process_restore(&a);
	return ask_run(&a);
}

int task_restore_state(struct restore *r, struct task *t)
{
	int ret = fs_restore(r, t);

	if (ret >= 0)
		ret = restore_process(t);
	if (ret >= 0)
		ret = process_restore_outside(t);
	return ret < 0 ? ret : seccomp_restore(r, t);
}

int task_restore_creds(struct restore *r, struct task *t)
{
	(void)r;
	int ret = rlimit_restore(t);

	/* the leader last: any thread's change of ids resets the dumpable flag of the memory */
	for (size_t i = t->n_threads; i-- > 0 && ret >= 0;)
		ret = creds_restore(&t->threads[i]);
	return ret;
}

static int last_batch(struct thread *th)
{
	struct ask a;
	int channel = remote_forget_channel(th->remote);

	ask_begin(&a, th, true);
	thread_restore(&a);
	signal_restore_queues(&a);
	if (channel >= 0)
		ask(&a, "close the channel", SYS_close, (uint64_t)channel);
	return ask_run(&a);
}

static int let_roam(struct restore *r, struct thread *th)
{
	int e = turns_release(&r->turns, th->host_tid);

	return e < 0 ? fail(-e, "set the processors that " THREAD_FMT " may use", THREAD_ARG(th)) : 0;
}

/* No batch in this thread from here on. Its own scheduling comes last: one that gets little time would hold up the rest. */
static int set_going(struct restore *restore, struct thread *th)
{
	const ThreadCoreEntry *tce = th->core->thread_core;
	uint64_t mask = tce->has_blk_sigset ? tce->blk_sigset : th->core->tc ? th->core->tc->blk_sigset : 0;
	int r = thread_restore_rseq_cs(th);

	if (r >= 0)
		r = remote_set_sigmask(th->remote, mask & ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1)));
	if (r >= 0)
		r = regs_load(th->remote, th->core);
	if (r >= 0)
		r = let_roam(restore, th);
	if (r < 0)
		return r;
	place_restore(th);
	return sched_restore(th);
}

int task_restore_last(struct restore *r, struct task *t)
{
	int ret = 0;

	for (size_t i = t->n_threads; i-- > 0 && ret >= 0;)
		ret = last_batch(&t->threads[i]);
	if (ret >= 0)
		ret = timer_restore(t);
	for (size_t i = 1; i < t->n_threads && ret >= 0; i++)
		ret = set_going(r, &t->threads[i]);
	if (ret >= 0)
		ret = remote_drop_area(t->threads[0].remote);
	return ret < 0 ? ret : set_going(r, &t->threads[0]);
}
