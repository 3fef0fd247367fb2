/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping a tree of tasks that runs.
 *
 * Every thread is seized and interrupted (PTRACE_SEIZE, PTRACE_INTERRUPT): no signal is sent, a parent notices nothing. The tree is
 * found while it may still fork:
 *
 * 1. A process is complete when all threads listed in /proc/PID/task stand: a pass that finds no thread unknown ends it.
 * 2. The children of a process whose threads all stand do not grow by forks of its own. They may still grow when a task that was
 *    not yet stopped dies and its children move up to a subreaper: passes over the whole tree go on until one finds nothing new.
 * 3. A child in state Z is a zombie: it cannot be seized and needs not be.
 * 4. A pid may have been used again between the listing and the seizing: after the seizing a child must still name its parent.
 *
 * Not handled, refused by name: a process whose leader has exited while other threads live on; tasks in a pid namespace below the
 * root's. */
#define LOG_PREFIX "freeze"
#include "freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "freezer.h"
#include "remote/remote.h"

#define PASSES_MAX 1000   /* a fork bomb that outruns us is an error, not a hang */

/* The last number of a status line such as "NSpid: 4711 12 1": the one in the innermost namespace; depth gets how many there are. */
static pid_t innermost(const char *status, const char *key, int *depth)
{
	const char *at = proc_field(status, key);
	long v = 0;

	*depth = 0;
	while (at && *at && *at != '\n') {
		char *end;
		v = strtol(at, &end, 10);
		if (end == at)
			break;
		++*depth;
		at = end + strspn(end, " \t");
	}
	return (pid_t)v;
}

static bool known_thread(const struct task *t, pid_t host_tid)
{
	for (size_t i = 0; i < t->n_threads; i++)
		if (t->threads[i].host_tid == host_tid)
			return true;
	return false;
}

static struct thread *add_thread(struct task *t, pid_t host_tid)
{
	t->threads = mem_realloc(t->threads, (t->n_threads + 1) * sizeof *t->threads);
	struct thread *th = &t->threads[t->n_threads++];
	memset(th, 0, sizeof *th);
	th->task = t;
	th->host_tid = host_tid;
	return th;
}

/* Seizes what /proc/PID/task lists and is not known. Returns how many threads are new. */
static int seize_threads(struct task *t)
{
	autofree int *tids = NULL;
	ssize_t n = proc_numbers(t->host_pid, "task", &tids);
	int found = 0;

	if (n < 0)
		return fail((int)-n, "list the threads of task %d", t->host_pid);
	for (ssize_t i = 0; i < n; i++) {
		struct remote *r;
		if (known_thread(t, tids[i]))
			continue;
		int e = remote_seize(tids[i], &r);
		if (e == -ESRCH && tids[i] != t->host_pid)
			continue;   /* the thread ended meanwhile */
		if (e < 0)
			return e == -ESRCH ? fail(ESRCH, "stop task %d", t->host_pid) : e;
		add_thread(t, tids[i])->remote = r;
		found++;
	}
	return found;
}

static int thread_ids(struct task *t, struct thread *th)
{
	char name[64];
	autofree char *status = NULL;
	int depth;

	if (th->host_tid == t->host_pid) {
		th->tid = t->pid;
		return 0;
	}
	snprintf(name, sizeof name, "task/%d/status", th->host_tid);
	ssize_t n = proc_read(t->host_pid, name, &status);
	if (n < 0)
		return fail((int)-n, "read the status of thread %d of task %d", th->host_tid, t->host_pid);
	th->tid = innermost(status, "NSpid", &depth);
	return 0;
}

static int wait_thread(struct dump *d, struct thread *th)
{
	int signal = 0, r = remote_wait_stop(th->remote, &signal, d->o->timeout);

	if (r >= 0 && signal) {
		th->task->state = TASK_STOPPED;
		th->task->stop_signal = signal;
	}
	return r;
}

/* The threads besides the leader, which stands: afterwards all do. */
static int freeze_threads(struct dump *d, struct task *t)
{
	for (size_t waited = 1;;) {
		int found = seize_threads(t);
		if (found <= 0)
			return found;
		for (; waited < t->n_threads; waited++) {
			int r = wait_thread(d, &t->threads[waited]);
			if (r >= 0)
				r = thread_ids(t, &t->threads[waited]);
			if (r < 0)
				return r;
		}
	}
}

/* What /proc/PID/status says. */
struct numbers {
	char state;
	pid_t parent;
	unsigned threads;
};

static int task_numbers(struct dump *d, struct task *t, struct numbers *s)
{
	autofree char *status = NULL;
	uint64_t parent = 0, threads = 0;
	int depth, unused;
	ssize_t n = proc_read(t->host_pid, "status", &status);

	if (n < 0)
		return n == -ENOENT || n == -ESRCH ? -ESRCH : fail((int)-n, "read the status of task %d", t->host_pid);
	t->pid = innermost(status, "NSpid", &depth);
	t->pgid = innermost(status, "NSpgid", &unused);
	t->sid = innermost(status, "NSsid", &unused);
	const char *state = proc_field(status, "State");
	proc_field_u64(status, "PPid", 10, &parent);
	proc_field_u64(status, "Threads", 10, &threads);
	*s = (struct numbers){ state ? *state : '?', (pid_t)parent, (unsigned)threads };
	if (t->parent && s->parent != t->parent->host_pid)
		return -ESRCH;
	if (!t->parent)
		d->ns_depth = depth;
	else if (depth != d->ns_depth)
		return fail_text(ENOTSUP, "task %d (in the tree: %d) is in a pid namespace of its own: nested pid namespaces cannot be dumped",
				 t->host_pid, t->pid);
	return 0;
}

static int add_zombie(struct task *t)
{
	autofree int *tids = NULL;

	if (!t->parent)
		return fail_text(ESRCH, "task %d is a zombie: it has exited and there is nothing to dump", t->host_pid);
	if (proc_numbers(t->host_pid, "task", &tids) > 1)
		return fail_text(ENOTSUP, "task %d: its first thread has exited while others run on; this cannot be dumped", t->host_pid);
	for (size_t i = 0; i < t->n_threads; i++)
		remote_release(&t->threads[i].remote, 0);
	t->n_threads = 0;
	t->state = TASK_DEAD;
	add_thread(t, t->host_pid)->tid = t->pid;
	return 0;
}

/* A task whose leader was seized (leader NULL: it could not be, it has ended or become a zombie). -ESRCH, bare: it has gone, or is a child of
 * somebody else now. */
static int add_task(struct dump *d, struct task *parent, pid_t host_pid, struct remote *leader)
{
	struct task *t = tree_add(d->tree, parent, 0, 0);
	struct numbers s = { 0 };
	size_t mark = err_mark();
	int r, stop = -ESRCH;

	t->host_pid = host_pid;
	if (leader) {
		add_thread(t, host_pid)->remote = leader;
		stop = wait_thread(d, &t->threads[0]);
	}
	if (stop < 0 && stop != -ESRCH)
		return stop;
	if (stop < 0)
		err_rewind(mark);
	r = task_numbers(d, t, &s);
	if (r < 0)
		return r;
	if (s.state == 'Z' || s.state == 'X')
		return add_zombie(t);
	if (stop < 0)
		return -ESRCH;
	t->threads[0].tid = t->pid;
	return s.threads == 1 ? 0 : freeze_threads(d, t);   /* a thread that stands and is the only one makes no others */
}

static bool known_task(const struct tree *tree, pid_t host_pid)
{
	for (size_t i = 0; i < tree->tasks.n; i++)
		if (tree->tasks.data[i]->host_pid == host_pid)
			return true;
	return false;
}

static void forget_last(struct tree *tree)
{
	struct task *t = tree->tasks.data[--tree->tasks.n];

	for (size_t i = 0; i < t->n_threads; i++)
		remote_release(&t->threads[i].remote, 0);
	if (t->parent)
		t->parent->children.n--;
	array_free(&t->children);
	free(t->threads);
	free(t);
}

/* The leaders of the children that are not known: all on their way to their stop before the first is waited for. */
struct newcomer {
	pid_t pid;
	struct remote *leader;
};
struct newcomers {
	ARRAY(struct newcomer) list;
};

static int seize_children(struct dump *d, const struct task *t, struct newcomers *found)
{
	autofree pid_t *pids = NULL;
	ssize_t n = t->n_threads == 1 ? proc_thread_children(t->host_pid, &pids) : proc_children(t->host_pid, &pids);

	if (n < 0)
		return fail((int)-n, "list the children of task %d", t->host_pid);
	for (ssize_t k = 0; k < n; k++) {
		struct remote *leader = NULL;
		if (known_task(d->tree, pids[k]))
			continue;
		int r = remote_seize(pids[k], &leader);
		array_push(&found->list) = (struct newcomer){ pids[k], leader };
		if (r < 0 && r != -ESRCH)
			return r;
	}
	return 0;
}

static int add_children(struct dump *d, struct task *t)
{
	struct newcomers new = { 0 };
	int found = 0, r = seize_children(d, t, &new);
	size_t i = 0;

	while (r >= 0 && i < new.list.n) {
		size_t mark = err_mark();
		r = add_task(d, t, new.list.data[i].pid, new.list.data[i].leader);
		i++;
		found++;
		if (r != -ESRCH || err_count() > mark)
			continue;
		forget_last(d->tree);   /* it ended, or moved up, meanwhile: the next pass sees what there is */
		r = 0;
	}
	for (; i < new.list.n; i++)
		remote_release(&new.list.data[i].leader, 0);
	array_free(&new.list);
	return r < 0 ? r : found;
}

/* One pass over the children of every known task. Returns how many tasks are new. */
static int find_children(struct dump *d)
{
	int found = 0;

	for (size_t i = 0; i < d->tree->tasks.n; i++) {
		int r = d->tree->tasks.data[i]->state == TASK_DEAD ? 0 : add_children(d, d->tree->tasks.data[i]);
		if (r < 0)
			return r;
		found += r;
	}
	return found;
}

static void depth_first(struct task *t, struct task **out, size_t *n)
{
	out[(*n)++] = t;
	for (size_t i = 0; i < t->children.n; i++)
		depth_first(t->children.data[i], out, n);
}

/* The images list the tree depth first. */
static void order_tree(struct tree *tree)
{
	struct task **ordered = mem_alloc(tree->tasks.n * sizeof *ordered);
	size_t n = 0;

	depth_first(tree_root(tree), ordered, &n);
	free(tree->tasks.data);
	tree->tasks.data = ordered;
	tree->tasks.cap = n;
}

/* --- the whole tree --- */

int freeze_tree(struct dump *d)
{
	int r = freezer_look(d);

	if (r >= 0)
		r = freezer_thaw(d, false);
	struct remote *root = NULL;
	if (r >= 0)
		r = remote_seize(d->o->pid, &root);
	if (r >= 0 || (r == -ESRCH && !err_count()))
		r = add_task(d, NULL, d->o->pid, root);
	if (r == -ESRCH && !err_count())
		return fail_text(ESRCH, "there is no task %d to dump", d->o->pid);
	for (int pass = 0; r >= 0; pass++) {
		if (pass == PASSES_MAX)
			return fail_text(EAGAIN, "the tree of task %d forks faster than it can be stopped; freeze its cgroup (--freeze-cgroup)",
					 d->o->pid);
		r = find_children(d);
		if (r == 0)
			break;
	}
	if (r >= 0)
		r = freezer_strangers(d);
	if (r >= 0)
		r = freezer_thaw(d, true);
	if (r < 0)
		return r;
	order_tree(d->tree);
	log_debug("%zu tasks stand", d->tree->tasks.n);
	return 0;
}

/* A task that was killed in the middle makes all sorts of things fail. */
void freeze_explain(struct dump *d)
{
	for (size_t i = 0; i < d->tree->tasks.n; i++) {
		struct task *t = d->tree->tasks.data[i];
		if (t->state == TASK_DEAD || !t->n_threads || !proc_is_ending(t->host_pid))
			continue;
		err_rewind(0);
		fail_text(ESRCH, "task %d ended in the middle of the dump", t->host_pid);
		return;
	}
}

int freeze_each(struct dump *d, size_t from, size_t end, int (*step)(struct remote *leader))
{
	bool more[FREEZE_AT_ONCE], any = true;
	int r = 0;

	for (size_t i = from; i < end; i++)
		more[i - from] = d->tree->tasks.data[i]->n_threads && d->tree->tasks.data[i]->threads[0].remote;
	while (any) {
		any = false;
		for (size_t i = end; i-- > from;) {
			int e = more[i - from] ? step(d->tree->tasks.data[i]->threads[0].remote) : 0;
			more[i - from] = e == 1;
			any = any || e == 1;
			if (e < 0 && r == 0)
				r = e;
		}
	}
	return r;
}

static bool any_ending(const struct dump *d, size_t from, size_t end)
{
	bool ending = false;

	for (size_t i = from; i < end && !ending; i++)
		ending = d->tree->tasks.data[i]->state != TASK_DEAD && proc_is_ending(d->tree->tasks.data[i]->host_pid);
	return ending;
}

static void release_some(struct dump *d, size_t from, size_t end)
{
	size_t mark = err_mark();

	for (size_t i = from; i < end; i++)
		for (size_t k = d->tree->tasks.data[i]->n_threads; k-- > 1;)
			remote_release(&d->tree->tasks.data[i]->threads[k].remote, 0);
	if (freeze_each(d, from, end, remote_unprepare_step) < 0 && any_ending(d, from, end))
		err_rewind(mark);
	for (size_t i = end; i-- > from;)
		if (d->tree->tasks.data[i]->n_threads)
			remote_release(&d->tree->tasks.data[i]->threads[0].remote, (d->o->leave_stopped && !d->failed) || d->taken ? SIGSTOP : 0);
}

/* A group that was frozen is so again before the first thread is let go: a paused container does not go on for a moment. Batches are over by
 * then: no task of a frozen group runs one. */
static void freeze_again(struct dump *d)
{
	size_t mark = err_mark(), n = d->tree->tasks.n;

	for (size_t i = 0; i < n; i++)
		for (size_t k = d->tree->tasks.data[i]->n_threads; k-- > 1;)
			remote_put_back(d->tree->tasks.data[i]->threads[k].remote);
	for (size_t from = 0; from < n; from += FREEZE_AT_ONCE)
		freeze_each(d, from, from + FREEZE_AT_ONCE < n ? from + FREEZE_AT_ONCE : n, remote_unprepare_step);
	for (size_t i = 0; i < n; i++)
		if (d->tree->tasks.data[i]->n_threads)
			remote_put_back(d->tree->tasks.data[i]->threads[0].remote);
	err_rewind(mark);
	freezer_end(d);
}

/* Some at a time: the first ones are not to wait for all. The root last: the end of one that was killed, first in a pid namespace, waits for
 * those of the others. */
void freeze_release(struct dump *d)
{
	if (d->was_frozen)
		freeze_again(d);
	for (size_t end = d->tree->tasks.n, from; end > 0; end = from) {
		from = end > FREEZE_AT_ONCE ? end - FREEZE_AT_ONCE : 0;
		release_some(d, from, end);
	}
	freezer_let_go(d);
	freezer_end(d);
}

/* All signals first: an engine that is killed meanwhile leaves all of the tree or nothing of it. In a pid namespace of the tree's own the
 * first signal is enough, else there are some microseconds in between. */
void freeze_kill(struct dump *d)
{
	for (size_t i = 0; i < d->tree->tasks.n; i++)
		if (d->tree->tasks.data[i]->state != TASK_DEAD)
			kill(d->tree->tasks.data[i]->host_pid, SIGKILL);
	/* the root is waited for last: its end waits for that of the others */
	for (size_t i = d->tree->tasks.n; i-- > 0;) {
		struct task *t = d->tree->tasks.data[i];
		for (size_t k = t->n_threads; t->state != TASK_DEAD && k-- > 0;)
			remote_kill(&t->threads[k].remote);
	}
}
