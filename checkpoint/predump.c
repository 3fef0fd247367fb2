/* SPDX-License-Identifier: Apache-2.0 */
/* The pre-dump: a round of memory, of a tree that runs on.
 *
 *   open       as a dump's
 *   freeze     every thread stands: the tasks there are
 *   track      tasks that have no tracking yet get it (with soft-dirty: what was written, and the new round)
 *   release    the tasks go on
 *   memory     mappings, what was written since the last round, pages (mem/predump.c)
 *   seal       inventory, which says that it is no checkpoint; files renamed into place
 *   finish     statistics */
#define LOG_PREFIX "pre-dump"
#include "predump.h"

#include <errno.h>

#include "base/err.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/stage.h"
#include "freeze.h"
#include "inventory.h"
#include "mem/mem.h"
#include "mem/sink.h"
#include "mem/track.h"
#include "remote/ahead.h"
#include "remote/remote.h"

static int for_tasks(struct dump *d, int (*fn)(struct dump *d, struct task *t))
{
	int r = 0;

	for (size_t i = 0; i < d->tree->tasks.n && r >= 0; i++)
		if (d->tree->tasks.data[i]->state != TASK_DEAD)
			r = fn(d, d->tree->tasks.data[i]);
	return r;
}

static int attach(struct dump *d, struct task *t)
{
	if (!tracker_lacks(d, t))
		return 0;
	size_t mark = err_mark();
	int r = remote_prepare(t->threads[0].remote, NULL);
	if (r == -ESRCH) {   /* killed meanwhile: it will not be missed */
		err_rewind(mark);
		return 0;
	}
	return r < 0 ? r : tracker_attach(d, t, t->threads[0].remote);
}

int predump_track(void *ctx)
{
	struct dump *d = ctx;

	ahead_end(d);   /* the tasks are about to run: nothing of them can be read beforehand */
	int r = for_tasks(d, attach);

	return r >= 0 && tracker_needs_stop(d) ? for_tasks(d, mm_pre_collect) : r;
}

int predump_release(void *ctx)
{
	struct dump *d = ctx;

	freeze_release(d);
	d->released = true;
	d->stats.frozen_us = clock_us() - d->freeze_begin_us;
	return 0;
}

int predump_memory(void *ctx)
{
	struct dump *d = ctx;
	int r = tracker_needs_stop(d) ? 0 : for_tasks(d, mm_pre_collect);

	if (r >= 0)
		r = for_tasks(d, mm_pre_save);
	if (r >= 0 && proc_is_ending(d->o->pid))   /* others may come and go */
		return fail_text(ESRCH, "task %d has ended while its memory was saved: this is no round", d->o->pid);
	return r < 0 ? r : d->sink->ops->finish(d->sink);
}

int predump_finish(void *ctx)
{
	size_t mark = err_mark();

	if (stats_dump_write(ctx) < 0) {
		log_warn("%s", err_line(mark));
		err_rewind(mark);
	}
	return 0;
}
