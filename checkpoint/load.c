/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a checkpoint into the tree, and checking that it holds together, before anything is created.
 *
 * Images are untrusted. What is checked here is what links them: pids are positive and unique, there is one root and it comes first,
 * every parent is listed before its child, every task has the images it must have, ids refer to things that exist. What the values of
 * one subject mean is checked by that subject (task_check, mm_check, files_check, ns_read). */
#define LOG_PREFIX "load"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "inventory.h"
#include "inventory.pb-c.h"
#include "pages/wire.h"

#define PID_LIMIT (4u << 20)      /* PID_MAX_LIMIT of 64-bit kernels */
#define TASKS_LIMIT 65536

enum { LOCK_IPTABLES, LOCK_NFTABLES };   /* the inventory's own numbering */

int inventory_read(struct restore *r)
{
	InventoryEntry *e;
	int ret = image_read_one(r->images, IMG_INVENTORY, 0, r->arena, &e);

	if (ret == -ENOENT) {
		fail_text(ENOENT, "%s holds no checkpoint: there is no inventory.img in it", r->images->path);
		fail_hint("an unfinished or failed dump leaves none; dump again, or name the right directory");
		return -ENOENT;
	}
	if (ret < 0)
		return ret;
	if (e->has_pre_dump_mode)
		return fail_text(EINVAL, "%s holds a pre-dump (memory only), which cannot be restored by itself", r->images->path);
	if (e->img_version != 1 && e->img_version != 2)
		return fail_text(EPROTONOSUPPORT, "%s: image version %u is unknown (1 and 2 are)", r->images->path, e->img_version);
	if (e->img_version == 1)
		return fail_text(EPROTONOSUPPORT, "%s: image version 1 (without head magics) is not supported", r->images->path);
	if (!e->has_fdinfo_per_id || !e->fdinfo_per_id)
		return fail_text(EPROTONOSUPPORT, "%s: images of this age (one fdinfo per task) are not supported", r->images->path);
	if (e->plugins_entry && e->plugins_entry->n_plugins)
		return fail_text(EPROTONOSUPPORT, "%s needs the CRIU plugin %s, which torpor does not have", r->images->path,
				 e->plugins_entry->plugins[0]);
	r->tcp_closed = e->has_tcp_close && e->tcp_close;
	r->root_ids = e->root_ids;
	r->own_cgroup_set = e->has_root_cg_set ? e->root_cg_set : 0;
	r->lock_left = e->torpor_lock;
	r->criu_iptables = !e->has_network_lock_method || e->network_lock_method == LOCK_IPTABLES;
	if (e->has_network_lock_method && e->network_lock_method == LOCK_NFTABLES)
		r->criu_lock = e->dump_criu_run_id ? e->dump_criu_run_id : "";   /* 3.17 and older: the root's pid (network_lock.c) */
	r->lazy_mark = e->has_torpor_lazy && e->torpor_lazy ? wire_mark(e->dump_criu_run_id) : 0;
	return 0;
}

static int add_task(struct restore *r, const PstreeEntry *e)
{
	struct task *parent = e->ppid ? tree_find(r->tree, (pid_t)e->ppid) : NULL;

	if (!e->pid || e->pid > PID_LIMIT || e->pgid > PID_LIMIT || e->sid > PID_LIMIT)
		return fail_text(EBADMSG, "pstree.img: pid %u (group %u, session %u) is out of range", e->pid, e->pgid, e->sid);
	if (tree_find(r->tree, (pid_t)e->pid))
		return fail_text(EBADMSG, "pstree.img lists pid %u twice", e->pid);
	if (!e->ppid && r->tree->tasks.n)
		return fail_text(EBADMSG, "pstree.img has a second root, pid %u", e->pid);
	if (e->ppid && !parent)
		return fail_text(EBADMSG, "pstree.img: the parent %u of task %u is not listed before it", e->ppid, e->pid);
	if (e->n_threads > TASKS_LIMIT || (e->n_threads > 1 && e->threads[0] != e->pid))
		return fail_text(EBADMSG, "pstree.img: the threads of task %u do not begin with its leader", e->pid);
	struct task *t = tree_add(r->tree, parent, (pid_t)e->pid, e->n_threads ? e->n_threads : 1);
	t->threads[0].tid = t->pid;   /* CRIU lists one with any number for a zombie */
	t->pgid = (pid_t)e->pgid;
	t->sid = (pid_t)e->sid;
	for (size_t i = 1; i < e->n_threads; i++) {
		if (!e->threads[i] || e->threads[i] > PID_LIMIT)
			return fail_text(EBADMSG, "pstree.img: thread %u of task %u is out of range", e->threads[i], e->pid);
		t->threads[i].tid = (pid_t)e->threads[i];
	}
	return 0;
}

static int pstree_read(struct restore *r)
{
	auto_image struct image *i = NULL;
	PstreeEntry *e;
	int ret = image_open(r->images, IMG_PSTREE, 0, &i);

	if (ret == -ENOENT)
		return fail(ENOENT, "open image %s/pstree.img", r->images->path);
	if (ret < 0)
		return ret;
	while ((ret = image_read(i, r->arena, &e)) > 0) {
		if (r->tree->tasks.n >= TASKS_LIMIT)
			return fail_text(EBADMSG, "pstree.img lists more than %d tasks", TASKS_LIMIT);
		ret = add_task(r, e);
		if (ret < 0)
			return ret;
	}
	if (ret == 0 && !r->tree->tasks.n)
		return fail_text(EBADMSG, "pstree.img lists no task");
	return ret;
}

static int missing(struct restore *r, const char *what, pid_t pid)
{
	return fail_text(ENOENT, "%s: %s-%d.img is missing: the checkpoint is not complete", r->images->path, what, pid);
}

static int core_read(struct restore *r, struct thread *th)
{
	int ret = image_read_one(r->images, IMG_CORE, (uint64_t)th->tid, r->arena, &th->core);

	return ret == -ENOENT ? missing(r, "core", th->tid) : ret;
}

static int fdinfo_read(struct restore *r, struct task *t)
{
	auto_image struct image *i = NULL;
	FdinfoEntry *e;

	t->fds = tree_fdtable(r->tree, t->ids->files_id);
	if (t->fds)
		return 0;
	t->fds = tree_add_fdtable(r->tree, t->ids->files_id, t);
	int ret = image_open(r->images, IMG_FDINFO, t->ids->files_id, &i);
	if (ret == -ENOENT)
		return missing(r, "fdinfo", (pid_t)t->ids->files_id);
	if (ret < 0)
		return ret;
	while ((ret = image_read(i, r->arena, &e)) > 0)
		array_push(&t->fds->fds) = e;
	return ret;
}

static int task_read(struct restore *r, struct task *t)
{
	int ret = core_read(r, &t->threads[0]);

	if (ret < 0)
		return ret;
	const CoreEntry *core = t->threads[0].core;
	if (!core->tc)
		return fail_text(EBADMSG, "core-%d.img has no task part", t->pid);
	t->state = core->tc->task_state == TASK_DEAD || core->tc->task_state == 6 ? TASK_DEAD : (enum task_state)core->tc->task_state;
	if (t->state != TASK_DEAD && t->state != TASK_ALIVE && t->state != TASK_STOPPED)
		return fail_text(EBADMSG, "core-%d.img: unknown task state %u", t->pid, core->tc->task_state);
	if (t->state == TASK_DEAD)
		return t->n_threads == 1 ? 0 : fail_text(EBADMSG, "pstree.img: the dead task %d has threads", t->pid);
	if (t->state == TASK_STOPPED)
		t->stop_signal = core->tc->has_stop_signo ? (int)core->tc->stop_signo : 19;
	for (size_t k = 1; k < t->n_threads && ret >= 0; k++)
		ret = core_read(r, &t->threads[k]);
	if (ret >= 0)
		ret = image_read_one(r->images, IMG_IDS, (uint64_t)t->pid, r->arena, &t->ids);
	if (ret == -ENOENT)
		return missing(r, "ids", t->pid);
	if (ret >= 0)
		ret = image_read_one(r->images, IMG_MM, (uint64_t)t->pid, r->arena, &t->mm);
	if (ret == -ENOENT)
		return missing(r, "mm", t->pid);
	if (ret >= 0)
		ret = image_read_one(r->images, IMG_FS, (uint64_t)t->pid, r->arena, &t->fs);
	if (ret == -ENOENT)
		return missing(r, "fs", t->pid);
	return ret < 0 ? ret : fdinfo_read(r, t);
}

static int files_read(struct restore *r)
{
	auto_image struct image *i = NULL;
	FileEntry *e;
	int ret = image_open(r->images, IMG_FILES, 0, &i);

	if (ret == -ENOENT)
		return fail(ENOENT, "open image %s/files.img", r->images->path);
	if (ret < 0)
		return ret;
	while ((ret = image_read(i, r->arena, &e)) > 0)
		array_push(&r->tree->files) = e;
	return ret;
}

int tree_read(struct restore *r)
{
	int ret = pstree_read(r);

	for (size_t k = 0; k < r->tree->tasks.n && ret >= 0; k++)
		ret = task_read(r, r->tree->tasks.data[k]);
	if (ret >= 0 && tree_root(r->tree)->state == TASK_DEAD)
		return fail_text(EBADMSG, "pstree.img: the root task %d is dead", tree_root(r->tree)->pid);
	if (ret >= 0)
		ret = files_read(r);
	log_debug("%zu tasks, %zu open files read", r->tree->tasks.n, r->tree->files.n);
	return ret;
}
