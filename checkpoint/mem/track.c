/* SPDX-License-Identifier: Apache-2.0 */
/* Change tracking, in two ways behind one interface.
 *
 * TRACKER_UFFD (Linux 6.7): the private anonymous mappings of a task are registered with a userfaultfd for asynchronous write
 * protection. PAGEMAP_SCAN tells page by page whether the page was written and protects it again, in one step, so that the task may run
 * meanwhile: content that is read after that is what the page had, or the page counts as written at the next round. Facts relied on:
 * 1. A page without the protection counts as written: one that was not there, one of a mapping made since (it is not registered, and
 *    does not grow together with one that is), one moved by mremap (the kernel drops registration and protection), one of a child
 *    after fork, all of a task after exec. So the kernel's word alone decides, and no map of what was registered is needed.
 * 2. But bits of a mapping that was not registered say nothing (before 6.13 mremap left them): only mappings that were registered with
 *    our own userfaultfd when the mappings were read count. That it is ours is seen by registering again: EBUSY says another's.
 * 3. Only populated pages are protected. Protected holes of a file mapping would look like swapped-out pages; so file mappings are not
 *    tracked at all, and pages written in them are copied in every round.
 * 4. userfaultfd() with UFFD_USER_MODE_ONLY needs no privilege (5.11), and asynchronous protection no handler: faults in kernel mode are
 *    resolved all the same. The task makes it by a batch, the engine takes it (pidfd_getfd), its number in the task is closed.
 *
 * TRACKER_SOFT_DIRTY: bit 55 of /proc/PID/pagemap, cleared by writing 4 to clear_refs. Reading and clearing are two steps: the task has
 * to stand still for both, and the second takes time with the size of the task. So the other way is preferred where there are both.
 * The bit alone does not tell all that was moved: words.c has what is remembered besides.
 *
 * What is unchanged since the last round is in the images of that round, no other. So the run id of the dump that began it is kept, and
 * the inventory of --prev-images-dir must have the same one. A dump that fails after it began a round leaves an id that no
 * inventory has: the next round is a full one. So is one whose keeper was lost.
 *
 * Not seen by either: what a device writes into pages pinned before the round (io_uring and asynchronous I/O, which a dump refuses). Two
 * neighbouring mappings of which one is newer than the last round stay two: mremap() over both fails where it would not untracked. */
#define LOG_PREFIX "track"
#include "mem/track.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/proc.h"
#include "image/run_id.h"

#define PAGE UINT64_C(4096)
#define USER_MODE_ONLY 1                                  /* UFFD_USER_MODE_ONLY */
#define WP_ASYNC (1u << 13 | 1u << 15)                    /* UFFD_FEATURE_WP_UNPOPULATED, UFFD_FEATURE_WP_ASYNC */
#define NOWHERE UINT64_C(0x7fffffffe000)

static const char *const names[] = { [TRACKER_NONE] = "none", [TRACKER_SOFT_DIRTY] = "soft-dirty", [TRACKER_UFFD] = "uffd" };

/* --- the choice --- */

static bool available(enum tracker_kind k)
{
	if (k == TRACKER_SOFT_DIRTY)
		return kernel_has(KERNEL_SOFT_DIRTY);
	return k == TRACKER_NONE || (kernel_has(KERNEL_UFFD_WP_ASYNC) && kernel_has(KERNEL_PAGEMAP_SCAN));
}

static int choose(const char *wanted, enum tracker_kind *out)
{
	bool automatic = !wanted || !strcmp(wanted, "auto");

	for (int k = TRACKER_UFFD; k >= TRACKER_NONE; k--) {
		if (automatic ? !available((enum tracker_kind)k) : strcmp(wanted, names[k]) != 0)
			continue;
		*out = (enum tracker_kind)k;
		if (!available(*out))
			return fail_text(EOPNOTSUPP, "--tracker %s: this kernel cannot track changes of memory in that way", wanted);
		if (automatic && k == TRACKER_NONE)
			log_warn("this kernel cannot track changes of memory (neither soft-dirty nor asynchronous write protection, Linux 6.7): "
				 "each round saves all pages");
		return 0;
	}
	return fail_text(EINVAL, "--tracker %s: auto, uffd, soft-dirty and none are known", wanted);
}

/* --- beginning --- */

static void take_over(struct dump *d, struct tracker *t, int kept)
{
	autofree char *parent = d->parent ? image_run_id(d->parent) : NULL;

	t->trusted = parent && *t->now.round && !strcmp(parent, t->now.round);
	if (kept == -ECONNREFUSED)
		log_warn("the keeper of the change tracking of task %d has been lost: this round saves all pages", t->root);
	else if (d->parent && t->now.kind != TRACKER_NONE && !t->trusted)
		log_warn("changes of the memory of task %d %s %s: this round saves all pages", t->root,
			 kept == 0 ? "were last recorded for another round than" : "have not been recorded since", d->parent->path);
	if (t->trusted)
		log_debug("unchanged since %s: %zu processes tracked by %s", t->now.round, t->now.tasks.n, names[t->now.kind]);
}

int tracker_begin(struct dump *d)
{
	const struct ck_dump_options *o = d->o;
	bool wanted = o->track_mem || o->pre_dump || o->prev_images_dir;
	enum tracker_kind kind = TRACKER_NONE;
	struct tracking kept;
	struct proc_stat st;
	int r = wanted ? choose(o->tracker, &kind) : 0;

	if (r < 0 || proc_stat_read(o->pid, &st) < 0)   /* no such task: explained when it is to be stopped */
		return r;
	r = keeper_take(o->pid, st.starttime, &kept);
	if (r < 0 && !wanted)
		return 0;
	if (r == 0 && wanted && kept.kind != kind)
		tracking_done(&kept);
	struct tracker *t = d->tracker = mem_zalloc(sizeof *t);
	t->now = kept;
	t->now.kind = wanted ? kind : kept.kind;
	t->root = o->pid;
	t->root_start = st.starttime;
	t->arm = (o->track_mem || o->pre_dump) && kind != TRACKER_NONE;
	take_over(d, t, r);
	if (t->arm)
		snprintf(t->now.round, sizeof t->now.round, "%s", d->run_id);
	return 0;
}

static struct tracked *tracked_find(struct tracker *t, const struct task *task)
{
	struct proc_stat st;

	for (size_t i = 0; i < t->now.tasks.n; i++) {
		struct tracked *k = &t->now.tasks.data[i];
		if (k->pid != task->host_pid)
			continue;
		if (k->seen)
			return k;
		k->seen = proc_stat_read(k->pid, &st) == 0 && st.starttime == k->start_time;
		return k->seen ? k : NULL;
	}
	return NULL;
}

/* --- userfaultfd --- */

static bool register_range(int uffd, uint64_t start, uint64_t end)
{
	struct uffdio_register reg = { .range = { start, end - start }, .mode = UFFDIO_REGISTER_MODE_WP };

	return ioctl(uffd, UFFDIO_REGISTER, &reg) == 0;
}

/* The memory that it belongs to is there still: the task has not called exec. (At worst this unprotects a page.) */
static bool is_alive(int uffd)
{
	struct uffdio_writeprotect w = { .range = { NOWHERE, PAGE } };

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &w) == 0 || errno != ESRCH;
}

static int uffd_make(struct remote *r)
{
	struct uffdio_api api = { .api = UFFD_API, .features = WP_ASYNC };
	int64_t number = remote_call(r, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY, 0, 0, 0, 0, 0);

	if (number < 0)
		return (int)number;
	autoclose int fd = remote_get_fd(r, (int)number);
	remote_call(r, SYS_close, (uint64_t)number, 0, 0, 0, 0, 0);
	if (fd < 0)
		return fd;
	return ioctl(fd, UFFDIO_API, &api) < 0 ? -errno : take_fd(&fd);
}

bool tracker_needs_stop(const struct dump *d)
{
	return d->tracker && d->tracker->now.kind == TRACKER_SOFT_DIRTY;
}

bool tracker_lacks(struct dump *d, const struct task *task)
{
	struct tracker *t = d->tracker;
	struct tracked *k = t && t->arm ? tracked_find(t, task) : NULL;

	return t && t->arm && !(k && (k->uffd < 0 || is_alive(k->uffd)));
}

int tracker_attach(struct dump *d, const struct task *task, struct remote *r)
{
	struct tracker *t = d->tracker;
	struct proc_stat st;

	if (!tracker_lacks(d, task) || proc_stat_read(task->host_pid, &st) < 0)
		return 0;
	struct tracked *k = tracked_find(t, task);
	int fd = t->now.kind == TRACKER_UFFD ? uffd_make(r) : -1;
	if (fd < 0 && t->now.kind == TRACKER_UFFD) {
		log_warn("task %d: no userfaultfd could be made in it (%s): its changes are not tracked, each round saves all its pages", task->pid,
			 strerror(-fd));
		return 0;
	}
	if (k)
		tracked_done(k);
	else
		k = &array_push(&t->now.tasks);
	*k = (struct tracked){ task->host_pid, st.starttime, fd, true };
	return 0;
}

bool tracker_owns(struct dump *d, const struct task *task, uint64_t start, uint64_t end)
{
	struct tracked *k = d->tracker ? tracked_find(d->tracker, task) : NULL;

	return k && k->uffd >= 0 && register_range(k->uffd, start, end);
}

/* The program's own, or gone meanwhile: all of it counts as written. */
void tracker_mark(struct dump *d, const struct task *task, struct scan_areas *areas)
{
	struct tracker *t = d->tracker;
	struct tracked *k = t && t->now.kind == TRACKER_UFFD ? tracked_find(t, task) : NULL;

	for (size_t i = 0; k && k->uffd >= 0 && i < areas->list.n; i++) {
		struct scan_area *a = &areas->list.data[i];
		if (!a->anonymous || (!t->arm && (!t->trusted || !a->registered)) || !register_range(k->uffd, a->start, a->end))
			continue;
		a->protect = t->arm;
		a->known = t->trusted && a->registered;
	}
}

/* --- soft-dirty --- */

static int begin_round(const struct task *task)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/clear_refs", task->host_pid);
	int r = file_write(AT_FDCWD, path, "4");
	return r < 0 ? fail(-r, "task %d: begin a round of change tracking: write to %s", task->pid, path) : 0;
}

static int clean_by_soft_dirty(struct tracker *t, const struct task *task, struct tracked *k, const struct scan_areas *areas,
			       struct ranges *clean)
{
	struct witnesses now = { 0 };
	autoclose int pagemap = proc_open(task->host_pid, "pagemap");
	int r = pagemap < 0 ? fail(-pagemap, "open the page map of process %d", task->host_pid) : 0;

	for (size_t i = 0; r == 0 && i < areas->list.n; i++) {
		const struct scan_area *a = &areas->list.data[i];
		if (a->anonymous && !a->mergeable)
			r = words_soft_dirty(pagemap, a->start, a->end, t->trusted ? &k->witnesses : NULL, &now, clean);
	}
	if (r == 0 && t->arm)
		r = begin_round(task);
	if (r == 0 && t->arm) {
		array_free(&k->witnesses.list);
		k->witnesses = now;
		return 0;
	}
	array_free(&now.list);
	return r;
}

int tracker_clean(struct dump *d, const struct task *task, const struct scan_areas *areas, struct ranges *clean)
{
	struct tracker *t = d->tracker;
	struct tracked *k = t && t->now.kind == TRACKER_SOFT_DIRTY ? tracked_find(t, task) : NULL;
	int r = 0;

	if (k && (t->arm || t->trusted))
		r = clean_by_soft_dirty(t, task, k, areas, clean);
	return r == 0 && d->parent ? parent_limit(d, IMG_PAGEMAP, (uint64_t)task->pid, clean) : r;
}

/* --- the end --- */

static void forget_unseen(struct tracking *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->tasks.n; i++)
		if (t->tasks.data[i].seen)
			t->tasks.data[n++] = t->tasks.data[i];
		else
			tracked_done(&t->tasks.data[i]);
	t->tasks.n = n;
}

void tracker_end(struct dump *d, bool tree_lives)
{
	struct tracker *t = d->tracker;
	size_t mark = err_mark();

	if (!t)
		return;
	if (t->arm)
		forget_unseen(&t->now);
	if (tree_lives && t->now.tasks.n && keeper_start(t->root, t->root_start, &t->now) < 0) {
		log_warn("%s: the next round will save all pages", err_line(mark));
		err_rewind(mark);
	}
	tracking_done(&t->now);
	free(t);
	d->tracker = NULL;
}
