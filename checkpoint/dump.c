/* SPDX-License-Identifier: Apache-2.0 */
/* The dump: one pipeline for torpor-cr and the runtime.
 *
 *   open       images directory; nothing of the tree is touched
 *   freeze     every thread stands (freeze.c)
 *   lock       the network, if connections are saved (network_lock.c)
 *   prepare    batch pages in every task
 *   namespaces which are the tree's own; mounts
 *   tasks      descriptors, memory maps, threads: into the tree, in memory
 *   memory     pages into their images
 *   contents   of namespaces; descriptors' images (queues, ghosts)
 *   resume     (leave-running) the tasks go on here: writing the small images needs no frozen tree
 *   write      files, tasks, pstree
 *   seal       inventory; files renamed into place: from here on this is a checkpoint
 *   post-dump  others have their say (action.c), as before "open" and after "freeze"
 *   serve      (lazy) those who restore fetch the memory: from here on failure may leave the tasks stopped (mem/give.c)
 *   finish     the tasks are killed (or left stopped), statistics written: cannot fail any more
 *
 * A pre-dump has stages of its own in between (predump.c).
 *
 * A stage that fails is undone, and so are those before it: the tasks go on where they were, the images of the attempt vanish. */
#define LOG_PREFIX "dump"
#include "dump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "action.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/stage.h"
#include "cpuinfo.h"
#include "files/table.h"
#include "freeze.h"
#include "inventory.h"
#include "network_lock.h"
#include "mem/mem.h"
#include "mem/track.h"
#include "ns/ns.h"
#include "predump.h"
#include "remote/ahead.h"
#include "remote/remote.h"
#include "sockets/tcp_close.h"
#include "sockets/tcp_guard.h"
#include "task/task.h"

int dump_image(struct dump *d, enum image_kind kind, struct image **out)
{
	if (!d->shared[kind]) {
		int r = image_create(d->images, kind, 0, &d->shared[kind]);
		if (r < 0)
			return r;
	}
	*out = d->shared[kind];
	return 0;
}

/* What this cut does not do yet must not be taken for done. */
static int check_options(const struct ck_dump_options *o)
{
	if (o->pid <= 0)
		return fail_text(EINVAL, "no task to dump: give its pid (--tree PID)");
	if (!o->images_dir)
		return fail_text(EINVAL, "no images directory given (--images-dir DIR)");
	if (o->tcp_established && o->tcp_close)
		return fail_text(EINVAL, "--tcp-established and --tcp-close exclude each other");
	if (o->pre_dump && o->leave_stopped)
		return fail_text(EINVAL, "--leave-stopped: a pre-dump lets the tasks run");
	if (o->auto_dedup && o->page_server)
		return fail_text(EINVAL, "--auto-dedup: with --page-server it is the server that has the earlier pages: give it the option");
	if (o->lazy_pages && o->pre_dump)
		return fail_text(EINVAL, "--lazy-pages: a pre-dump keeps no pages for others to fetch");
	if (o->lazy_pages && o->leave_running)
		return fail_text(EINVAL, "--leave-running: with --lazy-pages the tasks stand still until others have their memory, and end then");
	if (o->lazy_pages && o->page_server)
		return fail_text(EINVAL, "--page-server: with --lazy-pages the dump is the page server itself (--address, --port: where it listens)");
	if (o->leave_running && o->leave_stopped)
		return fail_text(EINVAL, "--leave-running and --leave-stopped exclude each other");
	return 0;
}

static int no_task(pid_t pid, int err)
{
	struct proc_stat st;

	if (err != ENOENT)
		return fail(err, "open the root directory of task %d", pid);
	if (proc_stat_read(pid, &st) >= 0)
		return fail_text(ESRCH, "task %d is a zombie: it has exited and there is nothing to dump", pid);
	return fail_text(ESRCH, "there is no task %d to dump", pid);
}

static int stage_open(void *ctx)
{
	struct dump *d = ctx;
	char path[64];
	int r = check_options(d->o);

	if (r >= 0)
		r = image_dir_create(d->o->images_dir, &d->images);
	if (r >= 0)
		r = image_dir_begin(d->images);
	if (r < 0)
		return r;
	cpu_xcr0();   /* slow, once: before the tree stands still */
	d->images->keep_partial = d->o->keep_partial;
	d->images->unsynced = d->o->no_sync;
	d->images->write_early = !d->o->no_sync && (d->o->pre_dump || !d->o->leave_running);
	snprintf(path, sizeof path, "/proc/%d/root", d->o->pid);
	d->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (d->root_fd < 0)
		return no_task(d->o->pid, errno);
	r = action_dump_begin(d);
	if (r < 0)
		return r;
	r = tcp_guard_start(d);   /* before there is a second thread */
	if (r < 0)
		return r;
	remote_look_ahead(d->o->pid);
	ahead_begin(d);
	r = lazy_listen(d);
	if (r >= 0)
		r = ns_begin(d);
	if (r >= 0)
		r = inventory_run_id_new(d);
	if (r >= 0)
		r = mem_begin(d);
	return r < 0 ? r : files_begin(d);
}

static void undo_open(void *ctx)
{
	struct dump *d = ctx;

	ahead_end(d);
	tcp_guard_end(d);
	tcp_close_end(d);
	files_end(d);
	lazy_end(d);
	shmem_end(d);
	ns_end(d);
	for (int k = 0; k < IMG_KINDS; k++)
		image_free(&d->shared[k]);
	fd_close(&d->root_fd);
	image_dir_free(d->images);
	d->images = NULL;
	net_lock_dump_end(d);
	tracker_end(d, !d->killed);   /* last: a keeper is a copy of what is in memory then */
}

static int stage_freeze(void *ctx)
{
	struct dump *d = ctx;

	d->freeze_begin_us = clock_us();
	int r = freeze_tree(d);
	d->stats.freezing_us = clock_us() - d->freeze_begin_us;
	if (r >= 0)
		ahead_standing(d);
	return r;
}

static void undo_freeze(void *ctx)
{
	struct dump *d = ctx;

	d->failed = true;
	if (!d->released)
		freeze_explain(d);
	if (!d->taken)
		tcp_let_go(d);
	else if (tcp_watch(d) < 0)
		log_warn("TCP connections of tasks that are left stopped: %s", err_line(err_count() - 1));
	freeze_release(d);
}

static int prepare_leader(struct remote *r)
{
	return remote_prepare_step(r, NULL);
}

static int prepare_others(struct task *t)
{
	int r = 0;

	for (size_t k = 1; k < t->n_threads && r >= 0; k++)
		r = remote_prepare(t->threads[k].remote, remote_get_mm(t->threads[0].remote));
	return r;
}

static int stage_prepare(void *ctx)
{
	struct dump *d = ctx;

	int r = 0;

	for (size_t i = 0, end; i < d->tree->tasks.n && r >= 0; i = end) {
		end = i + FREEZE_AT_ONCE < d->tree->tasks.n ? i + FREEZE_AT_ONCE : d->tree->tasks.n;
		r = freeze_each(d, i, end, prepare_leader);
		for (size_t k = i; k < end && r >= 0; k++)
			r = prepare_others(d->tree->tasks.data[k]);
		ahead_mapped(d, end);
	}
	return r;
}

static int stage_namespaces(void *ctx)
{
	struct dump *d = ctx;
	int r = ns_collect(d);

	return r < 0 ? r : mount_collect(d);
}

static int dump_task(struct dump *d, struct task *t)
{
	if (t->state == TASK_DEAD)
		return task_dump_zombie(d, t);
	int r = files_dump_task(d, t);
	if (r >= 0)
		r = tracker_attach(d, t, t->threads[0].remote);
	if (r >= 0)
		r = task_ask(d, t);
	if (r >= 0)
		r = mm_collect(d, t, t->threads[0].remote);
	if (r >= 0)
		r = task_dump(d, t);
	return r < 0 ? r : ns_fill_ids(d, t);
}

/* Whoever restores would be told the same: better now. A runtime makes a session for what it restores. */
static int check_session(const struct dump *d)
{
	const struct task *root = tree_root(d->tree);

	if (root->sid == root->pid || d->o->shell_job || d->o->bundle)
		return 0;
	fail_text(EINVAL, "the root task %d is in session %d, whose leader is outside the tree", root->pid, root->sid);
	fail_hint("dump and restore it as a job of a shell or program: --shell-job");
	return -EINVAL;
}

static int stage_tasks(void *ctx)
{
	struct dump *d = ctx;
	int r = check_session(d);

	for (size_t i = 0; i < d->tree->tasks.n && r >= 0; i++)
		r = dump_task(d, d->tree->tasks.data[i]);
	ahead_end(d);
	return r < 0 ? r : files_collected(d);
}

static int stage_memory(void *ctx)
{
	struct dump *d = ctx;
	int r = 0;

	for (size_t i = 0; i < d->tree->tasks.n && r >= 0; i++) {
		struct task *t = d->tree->tasks.data[i];
		if (t->state != TASK_DEAD)
			r = mm_save_pages(d, t, t->threads[0].remote);
	}
	return r < 0 ? r : shmem_save(d);
}

static int stage_contents(void *ctx)
{
	return ns_save(ctx);
}

static void thaw(struct dump *d)
{
	if (!d->o->leave_stopped)
		tcp_let_go(d);
	if (d->o->leave_running)
		net_lock_dump_release(d);
	freeze_release(d);
	d->released = true;
	d->stats.frozen_us = clock_us() - d->freeze_begin_us;
}

static int stage_resume(void *ctx)
{
	struct dump *d = ctx;

	if (d->o->leave_running && !d->o->actions)
		thaw(d);
	return 0;
}

static int stage_write(void *ctx)
{
	struct dump *d = ctx;
	int r = files_write(d);

	for (size_t i = 0; i < d->tree->tasks.n && r >= 0; i++)
		r = task_write(d, d->tree->tasks.data[i]);
	if (r >= 0)
		r = seccomp_write(d);
	if (r >= 0)
		r = pstree_write(d);
	if (r >= 0 && d->o->cpu_cap & CK_CPU_IMAGE)
		r = cpuinfo_write(d->images);
	for (int k = 0; k < IMG_KINDS && r >= 0; k++)
		r = image_close(&d->shared[k]);
	return r;
}

static int stage_seal(void *ctx)
{
	struct dump *d = ctx;
	int r = inventory_write(d);

	if (r >= 0 && d->o->before_seal)
		r = d->o->before_seal(d->o->arg);
	return r < 0 ? r : image_dir_commit(d->images, true);
}

/* A lazy dump: the checkpoint is whole with us alone, and none without us. */
static int stage_serve(void *ctx)
{
	struct dump *d = ctx;
	int r = d->o->lazy_pages ? lazy_serve(d) : 0;

	if (r < 0)
		image_dir_void(d->images);
	return r;
}

/* The checkpoint is whole by now: what cannot be freed in earlier ones is no failure. */
static int stage_dedup(void *ctx)
{
	struct dump *d = ctx;
	size_t mark = err_mark();

	if (d->o->auto_dedup && d->parent && mem_dedup(d->images, false) < 0) {
		log_warn("--auto-dedup: %s", err_line(mark));
		err_rewind(mark);
	}
	return 0;
}

int ck_dedup(const char *images_dir, bool whole)
{
	struct image_dir *images;
	int r = image_dir_open(images_dir, &images);

	if (r < 0)
		return r;
	r = mem_dedup(images, whole);
	image_dir_free(images);
	return r;
}

static int stage_finish(void *ctx)
{
	struct dump *d = ctx;

	if (!d->released && !d->o->leave_running) {
		int r = d->o->leave_stopped ? tcp_watch(d) : tcp_silence(d);
		if (r < 0) {
			image_dir_void(d->images);
			return r;
		}
	}
	if (!d->released && (d->o->leave_stopped || d->o->leave_running))
		thaw(d);
	if (!d->released) {
		tcp_close_now(d);
		freeze_kill(d);
		d->killed = true;
		d->stats.frozen_us = clock_us() - d->freeze_begin_us;
	}
	d->released = true;
	size_t mark = err_mark();
	if (stats_dump_write(d) < 0) {   /* the checkpoint is whole and the tasks are gone: not a failure of the dump */
		log_warn("%s", err_line(mark));
		err_rewind(mark);
	}
	return 0;
}

static const struct stage stages[] = {
	{ "open", stage_open, undo_open },
	{ "freeze", stage_freeze, undo_freeze },
	{ "lock", net_lock_dump, net_lock_dump_undo },
	{ "query", action_dump_query, NULL },
	{ "prepare", stage_prepare, NULL },
	{ "namespaces", stage_namespaces, NULL },
	{ "tasks", stage_tasks, NULL },
	{ "memory", stage_memory, NULL },
	{ "contents", stage_contents, NULL },
	{ "resume", stage_resume, NULL },
	{ "write", stage_write, NULL },
	{ "seal", stage_seal, NULL },
	{ "post-dump", action_dump_end, NULL },
	{ "serve", stage_serve, NULL },
	{ "finish", stage_finish, NULL },
	{ "dedup", stage_dedup, NULL },
};

static const struct stage pre_stages[] = {
	{ "open", stage_open, undo_open },
	{ "freeze", stage_freeze, undo_freeze },
	{ "track", predump_track, NULL },
	{ "release", predump_release, NULL },
	{ "memory", predump_memory, NULL },
	{ "seal", stage_seal, NULL },
	{ "finish", predump_finish, NULL },
	{ "dedup", stage_dedup, NULL },
};

int ck_dump(const struct ck_dump_options *o)
{
	struct dump d = { .own_options = *o, .root_fd = -1 };

	d.o = &d.own_options;
	d.tree = tree_new();
	d.arena = &d.tree->arena;
	const struct stage *list = o->pre_dump ? pre_stages : stages;
	int r = stage_run(list, o->pre_dump ? sizeof pre_stages / sizeof *pre_stages : sizeof stages / sizeof *stages, &d, NULL);
	if (r >= 0)
		undo_open(&d);
	tree_free(d.tree);
	return r;
}
