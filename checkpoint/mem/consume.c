/* SPDX-License-Identifier: Apache-2.0 */
/* restore --auto-dedup: page content is freed in the images as soon as it is in its task, so that images on a tmpfs and the program they become
 * are not in memory both. If the restore fails after that, the images are lost: that is what was asked for.
 *
 * The content of a task whose children inherit its memory is compared with theirs (fill.c), and is freed when the last of them has its own. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>

#include "base/err.h"
#include "base/log.h"
#include "mem/restoring.h"

int pages_punch(const struct image_pages *p, uint32_t file, uint64_t offset, uint64_t size)
{
	const struct image_file *f = &p->files.data[file];

	if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) == 0)
		return 0;
	int r = fail(errno, "--auto-dedup: free pages in %s/pages-%" PRIu32 ".img", f->dir->path, f->id);
	if (r == -EOPNOTSUPP)
		fail_hint("its file system cannot do that: restore without --auto-dedup");
	return r;
}

static const struct task_memory *inherited_by(struct restore *r, const struct task *t, size_t *i)
{
	for (; *i < r->tree->tasks.n; ++*i) {
		const struct task *c = r->tree->tasks.data[*i];
		if (c->parent == t && c->state != TASK_DEAD && restore_task(c)->inherits) {
			++*i;
			return task_memory(r, c);
		}
	}
	return NULL;
}

bool consume_at_once(struct restore *r, const struct task *t)
{
	size_t i = 0;

	return r->o->auto_dedup && !inherited_by(r, t, &i);
}

/* All of a task's content, if nobody needs it any more. */
static int consume_task(struct restore *r, const struct task *t)
{
	struct task_memory *own = task_memory(r, t);
	size_t i = 0;

	if (!own || !own->filled || own->pages.consume)
		return 0;
	for (const struct task_memory *m; (m = inherited_by(r, t, &i));)
		if (!m->filled)
			return 0;
	own->pages.consume = true;
	int e = pages_open(&own->pages);
	for (size_t k = 0; e == 0 && k < own->pages.runs.n; k++) {
		const struct image_run *run = &own->pages.runs.data[k];
		e = pages_punch(&own->pages, run->file, run->offset, run->end - run->start);
	}
	pages_close(&own->pages);
	return e;
}

int consume_after(struct restore *r, const struct task *t)
{
	int e = r->o->auto_dedup ? consume_task(r, t) : 0;

	return e == 0 && r->o->auto_dedup && t->parent ? consume_task(r, t->parent) : e;
}
