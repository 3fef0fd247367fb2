/* SPDX-License-Identifier: Apache-2.0 */
/* The restore: the engine is the only builder, tasks do what a batch tells them.
 *
 *   open         images into the tree; everything is checked before anything is made
 *   plan         who makes whom; where the batch pages go
 *   husk         the root husk, empty; its network is locked (network_lock.c)
 *   builder      a process in the husk's namespaces; contents of namespaces; files that mappings need
 *   tree         all husks, with their memory
 *   files        every open file, into every task
 *   threads      threads, process groups
 *   state        handlers, limits, credentials; zombies die
 *   finish       signals, timers, registers; batch pages gone
 *   go           pid file, the caller's last word, everything runs
 *
 * A failure kills what there is. Husks die with the engine (PTRACE_O_EXITKILL), so that a killed engine leaves nothing either. When all
 * is done they cease to, the root last: in a pid namespace of the tree's own, all of it lives from that moment on or nothing does.
 *
 * From `tree` to `finish` the engine, the builder and all husks are on one processor (base/turns.c), as only one of them has something to do at a
 * time; threads that fill memory are not. */
#define LOG_PREFIX "restore"
#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "action.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stage.h"
#include "build.h"
#include "cpuinfo.h"
#include "files/builder.h"
#include "inventory.h"
#include "lazy.h"
#include "network_lock.h"
#include "mem/lazy.h"
#include "mem/mem.h"
#include "mem/memfd.h"
#include "mem/sysv.h"
#include "ns/ns.h"
#include "plan.h"
#include "remote/regs.h"
#include "remote/remote.h"
#include "sockets/inet.h"
#include "task/task.h"

static int check_options(const struct ck_restore_options *o)
{
	if (!o->images_dir)
		return fail_text(EINVAL, "no images directory given (--images-dir DIR)");
	if (o->auto_dedup && o->lazy_pages)
		return fail_text(EINVAL, "--auto-dedup: with --lazy-pages it is the pager that reads the images, and it frees nothing");
	return 0;
}

static int open_log(struct restore *r, const struct task *t, int flags)
{
	if (!r->o->log_per_task)
		return -1;
	autofree char *path = str_printf("%s.%d", r->o->log_per_task, t->pid);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, 0600);
	if (fd < 0)
		log_warn("--log-pid: open %s: %s", path, strerror(errno));
	return fd;
}

int restore_log_begin(struct restore *r, const struct task *t)
{
	int fd = open_log(r, t, 0);

	return fd < 0 ? -1 : log_swap(fd);
}

void restore_log_end(int before)
{
	if (before >= 0)
		close(log_swap(before));
}

/* What a restore before this one wrote goes, as from the log itself. */
static int empty_log(struct restore *r, struct task *t)
{
	autoclose int fd = open_log(r, t, O_TRUNC);

	(void)fd;
	return 0;
}

static int for_task(struct restore *r, struct task *t, int (*fn)(struct restore *r, struct task *t))
{
	int before = restore_log_begin(r, t), ret = fn(r, t);

	restore_log_end(before);
	return ret;
}

static int for_tasks(struct restore *r, int (*fn)(struct restore *r, struct task *t))
{
	int ret = 0;

	for (size_t i = 0; i < r->tree->tasks.n && ret >= 0; i++)
		if (r->tree->tasks.data[i]->state != TASK_DEAD)
			ret = for_task(r, r->tree->tasks.data[i], fn);
	return ret;
}

static int stage_open(void *ctx)
{
	struct restore *r = ctx;
	int ret = check_options(r->o);

	if (ret >= 0)
		ret = image_dir_open(r->o->images_dir, &r->images);
	if (ret >= 0)
		ret = inventory_read(r);
	if (ret >= 0 && r->o->cpu_cap & CK_CPU_IMAGE)
		ret = cpuinfo_check(r->images, r->o->cpu_cap);
	if (ret >= 0)
		ret = tree_read(r);
	if (ret >= 0 && r->o->log_per_task)
		ret = for_tasks(r, empty_log);
	for (size_t i = 0; i < r->tree->tasks.n && ret >= 0; i++)
		ret = task_check(r, r->tree->tasks.data[i]);
	if (ret >= 0)
		ret = for_tasks(r, mm_check);
	if (ret >= 0)
		ret = shmem_check(r);
	if (ret >= 0)
		ret = files_check(r);
	if (ret >= 0)
		ret = ns_read(r);
	if (ret >= 0 && r->o->root && !r->own_ns[NSK_MNT])
		ret = fail_text(EINVAL, "--root %s: the checkpoint has no mount namespace of its own whose root this could be", r->o->root);
	if (ret >= 0)
		ret = action_restore_begin(r);
	if (ret >= 0)   /* a script may have made the network ready */
		ret = inet_check(r, r->o->husk || !r->own_ns[NSK_NET]);
	if (ret >= 0 && r->o->lazy_pages)
		ret = r->o->own_pager ? lazy_start(r) : lazy_connect(r);
	return ret < 0 || !r->o->lazy_pages ? ret : lazy_fetch(r);
}

static void undo_open(void *ctx)
{
	struct restore *r = ctx;

	if (r->net_fd > 0)
		fd_close(&r->net_fd);
	ns_restored(r);
	shmem_done(r);
	image_dir_free(r->images);
	r->images = NULL;
}

static int stage_plan(void *ctx)
{
	struct restore *r = ctx;
	int ret = plan_births(r);

	if (ret < 0)
		return ret;
	r->area = mm_find_hole(r->tree, REMOTE_AREA_SIZE);
	return r->area ? 0 : fail_text(ENOMEM, "no %u bytes of address space are free in all tasks of the checkpoint", REMOTE_AREA_SIZE);
}

static int stage_husk(void *ctx)
{
	int ret = build_root(ctx);

	if (ret >= 0)
		ret = net_lock_restore(ctx);
	return ret < 0 ? ret : action_restore_made(ctx);
}

static void undo_husk(void *ctx)
{
	build_kill(ctx);
	ns_cgroups_undo(ctx);
	net_lock_restore_undo(ctx);
}

static int stage_builder(void *ctx)
{
	struct restore *r = ctx;
	struct task *root = tree_root(r->tree);
	int ret = ns_build(r, root);

	if (ret >= 0)
		ret = builder_start(r, root->host_pid);
	if (ret >= 0)
		ret = ns_restore(r, root);
	if (ret >= 0)
		ret = action_restore_filled(r);
	return ret < 0 ? ret : builder_open_paths(r);
}

static void undo_builder(void *ctx)
{
	struct restore *r = ctx;

	builder_stop(r);
	shmem_done(r);
}

static int stage_tree(void *ctx)
{
	struct restore *r = ctx;
	uint64_t begin = clock_us();

	turns_begin(&r->turns, tree_root(r->tree)->host_pid);
	builder_share(r);
	int ret = shmem_prepare(r);

	if (ret >= 0)
		ret = build_tree(r);
	if (ret >= 0)
		ret = ns_cgroups_spread(r);
	r->stats.forking_us = clock_us() - begin;
	return ret;
}

static void undo_tree(void *ctx)
{
	struct restore *r = ctx;

	turns_end(&r->turns);
}

static int stage_files(void *ctx)
{
	struct restore *r = ctx;
	int ret = memfds_fill(r);

	if (ret >= 0)
		ret = sysv_fill(r);
	if (ret >= 0)
		ret = builder_open_all_start(r);
	if (ret >= 0)
		ret = builder_open_all_wait(r);
	if (ret >= 0)
		ret = ns_build_late(r);
	if (ret >= 0)
		ret = action_restore_terminals(r);
	if (ret >= 0)
		ret = for_tasks(r, files_restore_task);
	return ret < 0 ? ret : for_tasks(r, files_restore_owner);
}

static int stage_threads(void *ctx)
{
	struct restore *r = ctx;
	int ret = build_groups(r);

	return ret < 0 ? ret : for_tasks(r, task_restore_threads);
}

static int stage_state(void *ctx)
{
	struct restore *r = ctx;
	int ret = build_zombies(r);   /* before handlers: a parent that ignores SIGCHLD would reap them */

	if (ret >= 0)
		ret = for_tasks(r, task_restore_state);
	return ret < 0 ? ret : for_tasks(r, task_restore_creds);
}

static int stage_finish(void *ctx)
{
	struct restore *r = ctx;
	int ret = for_tasks(r, task_restore_last);

	turns_end(&r->turns);
	return ret;
}

static int write_pidfile(struct restore *r)
{
	const char *dir = r->o->work_dir ? r->o->work_dir : r->o->images_dir;
	char text[16];

	if (!r->o->pidfile)
		return 0;
	autofree char *path = r->o->pidfile[0] == '/' ? str_dup(r->o->pidfile) : str_printf("%s/%s", dir, r->o->pidfile);
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(errno, "make the pid file %s", path);
	r->pidfile_made = take_ptr(&path);
	int n = snprintf(text, sizeof text, "%d", tree_root(r->tree)->host_pid);
	int ret = fd_write_all(fd, text, (size_t)n);
	return ret < 0 ? fail(-ret, "write the pid file %s", r->pidfile_made) : 0;
}

static int outlive(struct restore *r, struct task *t)
{
	int signal = t->state == TASK_STOPPED ? t->stop_signal : r->o->leave_stopped ? SIGSTOP : 0, ret = 0;

	for (size_t k = t->n_threads; k-- > 0 && ret >= 0;)
		ret = remote_outlive(t->threads[k].remote, k ? 0 : signal);
	return ret;
}

static int outlive_all(struct restore *r)
{
	int ret = 0;

	for (size_t i = r->tree->tasks.n; i-- > 0 && ret >= 0;)
		if (r->tree->tasks.data[i]->state != TASK_DEAD)
			ret = outlive(r, r->tree->tasks.data[i]);
	return ret;
}

static int let_go(struct restore *r, struct task *t)
{
	(void)r;
	for (size_t k = t->n_threads; k-- > 0;) {
		int ret = remote_let_go(&t->threads[k].remote, 0);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int stage_go(void *ctx)
{
	struct restore *r = ctx;
	int ret = write_pidfile(r);

	if (ret >= 0)
		ret = action_restore_end(r);
	if (ret >= 0 && r->o->before_resume)
		ret = r->o->before_resume(r->o->arg, tree_root(r->tree)->host_pid);
	if (ret >= 0 && r->o->lazy_pages)
		ret = lazy_hand_over(r);
	if (ret >= 0)
		ret = inet_resume(r);
	builder_stop(r);
	if (ret >= 0)
		ret = outlive_all(r);
	if (ret >= 0)
		ret = net_lock_restore_release(r);
	if (ret >= 0)
		ret = for_tasks(r, let_go);
	if (ret >= 0)
		ret = ns_cgroups_settle(r);
	if (ret >= 0)
		action_restore_runs(r);
	return ret < 0 || !r->o->lazy_pages ? ret : lazy_go(r);
}

static void undo_go(void *ctx)
{
	struct restore *r = ctx;

	if (r->pidfile_made)
		unlink(r->pidfile_made);
}

static const struct stage stages[] = {
	{ "open", stage_open, undo_open },
	{ "plan", stage_plan, NULL },
	{ "husk", stage_husk, undo_husk },
	{ "builder", stage_builder, undo_builder },
	{ "tree", stage_tree, undo_tree },
	{ "files", stage_files, NULL },
	{ "threads", stage_threads, NULL },
	{ "state", stage_state, NULL },
	{ "finish", stage_finish, NULL },
	{ "go", stage_go, undo_go },
};

int ck_restore(const struct ck_restore_options *o, pid_t *root)
{
	struct restore r = { .o = o };
	struct stage_report report;

	r.tree = tree_new();
	r.arena = &r.tree->arena;
	int ret = stage_run(stages, sizeof stages / sizeof *stages, &r, &report);
	if (ret >= 0) {
		*root = tree_root(r.tree)->host_pid;
		net_lock_restore_end(&r);
		r.stats.restore_us = report.total_us;
		shmem_done(&r);
		size_t mark = err_mark();
		if (stats_restore_write(&r) < 0) {   /* the tree runs: not a failure of the restore */
			log_warn("%s", err_line(mark));
			err_rewind(mark);
		}
		undo_open(&r);
	}
	free_pointer(&r.pidfile_made);
	tree_free(r.tree);
	return ret;
}
