/* SPDX-License-Identifier: Apache-2.0 */
/* Husks of a restore: processes that have the pids and parents of the tasks, and no program of their own; each becomes its task.
 *
 * 1. The root husk is a fork of the engine (or the runtime's parked init): seized with EXITKILL before it does anything (until then it
 *    ends with a pipe of ours), its own address space goes, and it has the batch pages and a channel. From here on it runs nothing but batches.
 * 2. Every other husk is cloned by a batch in its parent (or sibling, or helper: plan.c) with clone3(set_tid): it is
 *    traced from birth and dies with the engine too.
 * 3. A parent's memory is filled before its children are cloned, so that pages which were shared by copy-on-write are shared again.
 * 4. Husks that only ever stand in (helpers) are reaped by their parent's batch.
 * 5. The death of a child leaves a SIGCHLD pending in its parent, although it is blocked there: it is consumed before the parent's own
 *    pending signals are put back.
 * 6. Helpers and zombies are gone before any task runs. */
#define LOG_PREFIX "build"
#include "build.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "files/builder.h"
#include "mem/mem.h"
#include "ns/ns.h"
#include "plan.h"
#include "remote/remote.h"
#include "task/task.h"

#define PID_TRIES 250
#define PID_PAUSE_NS 2000000

struct helper {
	pid_t pid;
	struct task *parent;
	struct remote *remote;
};

struct helpers {
	ARRAY(struct helper) list;
};

static struct remote *driver(const struct task *t)
{
	return t->threads[0].remote;
}

/* --- the root --- */

/* Until it is seized: the engine may die before that. */
_Noreturn static void wait_for_engine(const int ends[2])
{
	char byte;

	close(ends[1]);
	while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
		;
	_exit(1);
}

/* A number stays taken for some microseconds after its process is no longer to be seen, and as long as a process that has ended is not
 * waited for. Whether it is worth trying again. */
static bool may_come_free(pid_t pid, unsigned *tries)
{
	struct proc_stat st;

	if (++*tries > PID_TRIES || (proc_stat_read(pid, &st) >= 0 && st.state != 'Z' && st.state != 'X'))
		return false;
	nanosleep(&(struct timespec){ .tv_nsec = PID_PAUSE_NS }, NULL);
	return true;
}

static int pid_in_use(pid_t pid)
{
	struct proc_stat st;

	if (proc_stat_read(pid, &st) >= 0)
		fail_text(EEXIST, "pid %d is in use (%s, state %c): the tree cannot get its pids back", pid, st.comm, st.state);
	else
		fail_text(EEXIST, "pid %d is in use: the tree cannot get its pids back", pid);
	fail_hint("end the process that has it, or restore in a pid namespace (a container)");
	return -EEXIST;
}

/* In the caller's network namespace, if it gave one. */
static pid_t clone_into(const struct restore *r, const struct clone_args *a)
{
	autoclose int home = r->net_fd > 0 ? open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC) : -1;

	if (r->net_fd > 0 && (home < 0 || setns(r->net_fd, CLONE_NEWNET) < 0))
		return -1;
	pid_t child = (pid_t)syscall(SYS_clone3, a, sizeof *a);
	int err = errno;
	if (child && home >= 0 && setns(home, CLONE_NEWNET) < 0)
		abort();   /* as base/netlink.c: a thread in the wrong namespace would do harm everywhere */
	errno = err;
	return child;
}

static pid_t clone_root(struct restore *r, pid_t pid, int *lifeline)
{
	bool own_pid_ns = r->clone_flags & CLONE_NEWPID;
	struct clone_args a = {
		.flags = r->clone_flags | (r->o->sibling ? CLONE_PARENT : 0),
		.exit_signal = r->o->sibling ? 0 : SIGCHLD,   /* a sibling has ours */
		.set_tid = (uint64_t)(uintptr_t)&pid,
		.set_tid_size = 1,
	};

	if (own_pid_ns && pid != 1)
		return fail_text(EINVAL, "the root task has pid %d in a pid namespace of its own, where the first must be 1", pid);
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(errno, "make a pipe for the root task");
	unsigned tries = 0;
	pid_t child;
	int err;
	do {
		child = clone_into(r, &a);
		if (child == 0)
			wait_for_engine(ends);
		err = errno;
	} while (child < 0 && err == EEXIST && may_come_free(pid, &tries));
	close(ends[0]);
	*lifeline = ends[1];
	if (child < 0)
		return err == EEXIST ? pid_in_use(pid) : fail(err, "make the root task with pid %d", pid);
	return child;
}

/* The soft limits of the builder's machine must not be in the way of the rebuilding; the task's own come last. */
static int raise_limits(struct remote *r)
{
	struct rlimit64 limits[RLIM_NLIMITS];
	struct call calls[RLIM_NLIMITS];

	for (int i = 0; i < RLIM_NLIMITS; i++) {
		if (prlimit64(remote_tid(r), (__rlimit_resource_t)i, NULL, &limits[i]) < 0)
			return fail(errno, "read the limits of husk %d", remote_tid(r));
		limits[i].rlim_cur = limits[i].rlim_max;
		calls[i] = (struct call){ .nr = SYS_prlimit64,
			.arg = { 0, (uint64_t)i, remote_scratch(r) + (uint64_t)i * sizeof limits[i], 0 } };
	}
	int ret = remote_scratch_write(r, 0, limits, sizeof limits);
	return ret < 0 ? ret : remote_batch(r, calls, RLIM_NLIMITS);
}

static int close_all(struct remote *r)
{
	int64_t ret = remote_call(r, SYS_close_range, 0, ~0u, 0, 0, 0, 0);

	return ret < 0 ? fail((int)-ret, "close the descriptors of husk %d", remote_tid(r)) : 0;
}

static void set_leader(struct task *t, struct remote *remote)
{
	t->threads[0].remote = remote;
	t->host_pid = t->threads[0].host_tid = remote_tid(remote);
	restore_task(t)->made = true;
}

int build_root(struct restore *r)
{
	struct task *root = tree_root(r->tree);
	struct remote *remote;
	pid_t pid = r->o->husk;
	autoclose int lifeline = -1;
	int saved = -1, ret = 0;

	if (!pid) {
		ret = ns_cgroups_make(r);
		if (ret < 0)
			return ret;
		size_t mark = err_mark();
		if (r->has_times && !r->joins)
			ret = ck_timens_enter(r->monotonic, r->boottime, &saved);
		if (ret == -EPERM && r->o->unprivileged) {
			log_warn("without CAP_SYS_ADMIN there is no time namespace: monotonic clocks will jump");
			err_rewind(mark);
		} else if (ret == -EOPNOTSUPP)
			log_info("this kernel has no time namespaces: monotonic clocks will jump");
		else if (ret < 0)
			return ret;
		ret = ns_join_enter(r);
		pid = ret < 0 ? ret : clone_root(r, root->pid, &lifeline);
		ret = ns_join_leave(r);
		if (ret >= 0)
			ret = ck_timens_leave(&saved);
		if (pid < 0)
			return pid;
		r->own_husk = true;
		r->husk_pid = pid;
		if (ret < 0)
			return ret;
	}
	r->husk_pid = pid;
	ret = remote_take_husk(pid, r->area, &remote);
	if (ret < 0)
		return ret;
	set_leader(root, remote);
	ret = ns_cgroups_enter(r, remote);
	if (ret >= 0)
		ret = raise_limits(remote);
	if (ret >= 0)
		ret = close_all(remote);
	if (ret >= 0)
		ret = remote_empty(remote);
	return ret < 0 ? ret : remote_open_channel(remote);
}

/* --- the others --- */

/* One clone3 by a batch of `maker`; the child stands, traced. A sibling has the exit signal of its maker: naming one would be an error. */
static int clone_husk(struct restore *r, struct remote *maker, pid_t pid, uint64_t flags, struct remote **out)
{
	struct {
		struct clone_args a;
		pid_t tid;
	} block = { .a = { .flags = flags, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD }, .tid = pid };
	uint64_t at = remote_scratch(maker);

	block.a.set_tid = at + offsetof(typeof(block), tid);
	block.a.set_tid_size = 1;
	int ret = remote_scratch_write(maker, 0, &block, sizeof block);
	if (ret < 0)
		return ret;
	int64_t made;
	unsigned tries = r->own_ns[NSK_PID] ? PID_TRIES : 0;   /* the numbers are not ours then */
	do
		made = remote_call(maker, SYS_clone3, at, sizeof block.a, 0, 0, 0, 0);
	while (made == -EEXIST && may_come_free(pid, &tries));
	if (made == -EEXIST)
		return pid_in_use(pid);
	if (made < 0)
		return fail((int)-made, "make task %d", pid);
	return remote_adopt_virtual((pid_t)made, maker, false, out);
}

static int make_session(struct remote *r, pid_t pid)
{
	int64_t ret = remote_call(r, SYS_setsid, 0, 0, 0, 0, 0, 0);

	return ret < 0 ? fail((int)-ret, "make task %d the leader of a session", pid) : 0;
}

/* What a session has as its terminal, its children inherit: its leader takes it before they are born. */
static int take_terminal(struct restore *r, struct task *t)
{
	autoclose int fd = r->terminals ? builder_terminal(r, t->sid) : -ENOENT;
	int number;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	int64_t ret = remote_send_fds(driver(t), &fd, 1, &number);
	if (ret < 0)
		return (int)ret;
	ret = remote_call(driver(t), SYS_ioctl, (uint64_t)number, TIOCSCTTY, 0, 0, 0, 0);
	if (ret < 0)
		return fail((int)-ret, "make a terminal the controlling one of session %d", t->sid);
	ret = remote_call(driver(t), SYS_close, (uint64_t)number, 0, 0, 0, 0, 0);
	return ret < 0 ? fail((int)-ret, "close the terminal of session %d", t->sid) : 0;
}

/* A new husk to the point where it has its memory. */
static int settle(struct restore *r, struct task *t)
{
	struct remote *remote = driver(t);

	if (t->state == TASK_DEAD)
		return close_all(remote);
	int ret = remote_open_only_channel(remote);
	if (ret >= 0 && !restore_task(t)->inherits)
		ret = remote_empty(remote);
	if (ret < 0)
		return ret;
	int before = restore_log_begin(r, t);
	ret = mm_restore(r, t, remote);
	restore_log_end(before);
	return ret;
}

static int make_children(struct restore *r, struct task *p);

static int make_task(struct restore *r, struct task *t, struct remote *maker, uint64_t flags)
{
	struct remote *remote;
	int ret = clone_husk(r, maker, t->pid, flags, &remote);

	if (ret < 0)
		return ret;
	set_leader(t, remote);
	restore_task(t)->inherits = maker == driver(t->parent) && !r->o->lazy_pages;
	ret = settle(r, t);
	return ret < 0 ? ret : make_children(r, t);
}

static struct helper *find_helper(struct restore *r, pid_t pid)
{
	for (size_t i = 0; i < r->helpers->list.n; i++)
		if (r->helpers->list.data[i].pid == pid)
			return &r->helpers->list.data[i];
	return NULL;
}

static int make_helper(struct restore *r, struct task *parent, struct remote *maker, pid_t pid, struct helper **out)
{
	struct remote *remote;
	int ret = clone_husk(r, maker, pid, 0, &remote);

	if (ret < 0)
		return ret;
	*out = &array_push(&r->helpers->list);
	**out = (struct helper){ pid, parent, remote };
	return close_all(remote);
}

static int make_by_helper(struct restore *r, struct task *t)
{
	pid_t pid = restore_task(t)->helper;
	struct helper *h = find_helper(r, pid);

	if (!h) {
		int ret = make_helper(r, t->parent, driver(t->parent), pid, &h);
		if (ret >= 0)
			ret = make_session(h->remote, pid);
		if (ret < 0)
			return ret;
	}
	return make_task(r, t, h->remote, CLONE_PARENT);
}

/* The children of a task that has its memory: early ones, setsid, the others, then the orphans that siblings and helpers make. */
static int make_children(struct restore *r, struct task *p)
{
	int ret = 0;

	for (size_t i = 0; i < p->children.n && ret >= 0; i++)
		if (restore_task(p->children.data[i])->early)
			ret = make_task(r, p->children.data[i], driver(p), 0);
	if (ret >= 0 && p->sid == p->pid)
		ret = r->o->husk && !p->parent ? 0 : make_session(driver(p), p->pid);
	if (ret >= 0 && p->sid == p->pid && p->state != TASK_DEAD)
		ret = take_terminal(r, p);
	for (size_t i = 0; i < p->children.n && ret >= 0; i++) {
		struct restore_task *rt = restore_task(p->children.data[i]);
		if (!rt->made && !rt->helper && rt->maker == p)
			ret = make_task(r, p->children.data[i], driver(p), 0);
	}
	for (size_t i = 0; i < p->children.n && ret >= 0; i++) {
		struct restore_task *rt = restore_task(p->children.data[i]);
		if (rt->made)
			continue;
		ret = rt->helper ? make_by_helper(r, p->children.data[i]) : make_task(r, p->children.data[i], driver(rt->maker), CLONE_PARENT);
	}
	return ret;
}

int build_tree(struct restore *r)
{
	struct task *root = tree_root(r->tree);

	r->helpers = arena_new(r->arena, struct helpers);
	int before = restore_log_begin(r, root), ret = mm_restore(r, root, driver(root));

	restore_log_end(before);
	return ret < 0 ? ret : make_children(r, root);
}

/* --- groups --- */

static int set_group(struct task *t)
{
	int64_t ret;

	if (t->pid == t->sid)
		return 0;   /* setsid() made it the leader of its group */
	ret = remote_call(driver(t), SYS_setpgid, 0, t->pgid == t->pid ? 0 : (uint64_t)t->pgid, 0, 0, 0, 0);
	return ret < 0 ? fail((int)-ret, "put task %d into process group %d", t->pid, t->pgid) : 0;
}

/* The group of the tree's root lies outside the checkpoint: a job of the shell that restores it. */
static bool group_outside(const struct restore *r, const struct task *t)
{
	const struct task *root = tree_root(r->tree);

	return !t->pgid || (t->pgid == root->pgid && root->pgid != root->pid && !tree_find(r->tree, t->pgid));
}

static int group_leader_gone(struct restore *r, struct task *t)
{
	struct helper *h;
	int ret;

	if (find_helper(r, t->pgid))
		return 0;
	ret = make_helper(r, t, driver(t), t->pgid, &h);
	if (ret < 0)
		return ret;
	int64_t group = remote_call(h->remote, SYS_setpgid, 0, 0, 0, 0, 0, 0);
	return group < 0 ? fail((int)-group, "make process group %d", t->pgid) : 0;
}

/* Takes the SIGCHLDs of dead husks out of a parent's queue. */
static int forget_signals(struct task *p)
{
	struct {
		uint64_t set;
		struct timespec zero;
	} block = { .set = 1ull << (SIGCHLD - 1) };
	uint64_t at = remote_scratch(driver(p));
	int ret = remote_scratch_write(driver(p), 0, &block, sizeof block);

	while (ret >= 0) {
		int64_t got = remote_call(driver(p), SYS_rt_sigtimedwait, at, 0, at + offsetof(typeof(block), zero), sizeof block.set, 0, 0);
		if (got != SIGCHLD)
			break;
	}
	return ret;
}

/* The helper dies; the task that is its parent reaps it by a batch. */
static int end_helper(struct helper *h)
{
	remote_kill(&h->remote);
	int64_t ret = remote_call(driver(h->parent), SYS_wait4, (uint64_t)h->pid, 0, __WALL, 0, 0, 0);
	return ret == h->pid ? forget_signals(h->parent) :
			       fail(ret < 0 ? (int)-ret : ECHILD, "reap helper %d of task %d", h->pid, h->parent->pid);
}

/* A group that has gone is nobody's loss. */
static int set_foreground(struct restore *r, struct task *t)
{
	autoclose int fd = builder_terminal(r, t->sid);
	int number, group = fd < 0 ? 0 : builder_foreground(r, t->sid);

	if (fd < 0 || group <= 0)
		return fd < 0 && fd != -ENOENT ? fd : group;
	int64_t ret = remote_send_fds(driver(t), &fd, 1, &number);
	if (ret >= 0)
		ret = remote_scratch_write(driver(t), 0, &group, sizeof group);
	if (ret < 0)
		return (int)ret;
	ret = remote_call(driver(t), SYS_ioctl, (uint64_t)number, TIOCSPGRP, remote_scratch(driver(t)), 0, 0, 0);
	if (ret < 0)
		log_info("process group %d is not in the foreground of session %d again: %s", group, t->sid, strerror((int)-ret));
	ret = remote_call(driver(t), SYS_close, (uint64_t)number, 0, 0, 0, 0, 0);
	return ret < 0 ? fail((int)-ret, "close the terminal of session %d", t->sid) : 0;
}

int build_groups(struct restore *r)
{
	struct tree *tree = r->tree;
	int ret = 0;

	for (size_t i = 0; i < tree->tasks.n && ret >= 0; i++)
		if (tree->tasks.data[i]->pgid == tree->tasks.data[i]->pid)
			ret = set_group(tree->tasks.data[i]);
	for (size_t i = 0; i < tree->tasks.n && ret >= 0; i++) {
		struct task *t = tree->tasks.data[i];
		if (t->pgid == t->pid || group_outside(r, t))
			continue;
		if (!tree_find(tree, t->pgid))
			ret = group_leader_gone(r, t);
		if (ret >= 0)
			ret = set_group(t);
	}
	for (size_t i = 0; r->terminals && i < tree->tasks.n && ret >= 0; i++)
		if (tree->tasks.data[i]->sid == tree->tasks.data[i]->pid && tree->tasks.data[i]->state != TASK_DEAD)
			ret = set_foreground(r, tree->tasks.data[i]);
	while (r->helpers->list.n && ret >= 0) {
		ret = end_helper(&r->helpers->list.data[r->helpers->list.n - 1]);
		if (ret >= 0)
			r->helpers->list.n--;
	}
	if (!r->helpers->list.n)
		array_free(&r->helpers->list);
	return ret;
}

/* --- zombies --- */

int build_zombies(struct restore *r)
{
	for (size_t i = 0; i < r->tree->tasks.n; i++) {
		struct task *t = r->tree->tasks.data[i];
		if (t->state != TASK_DEAD)
			continue;
		int ret = task_restore_zombie(r, t);
		if (ret >= 0)
			ret = forget_signals(t->parent);
		if (ret < 0)
			return ret;
	}
	return 0;
}

void build_kill(struct restore *r)
{
	for (size_t i = 0; r->helpers && i < r->helpers->list.n; i++)
		remote_kill(&r->helpers->list.data[i].remote);
	if (r->helpers)
		array_free(&r->helpers->list);
	for (size_t i = r->tree->tasks.n; i-- > 0;) {
		struct task *t = r->tree->tasks.data[i];
		if (t->host_pid > 0)
			kill(t->host_pid, SIGKILL);
		for (size_t k = t->n_threads; k-- > 0;)
			remote_kill(&t->threads[k].remote);
	}
	if (r->husk_pid > 0)
		kill(r->husk_pid, SIGKILL);
	if (r->own_husk && !r->o->sibling)
		waitpid(r->husk_pid, NULL, __WALL);
}
