/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of what the images say about files, before anything is created: every id that is used exists and is a file of the kind it is
 * used as, every entry has the message of its type, descriptor numbers are possible and unique. What the values of one kind mean is
 * checked when it is opened. The index by id that the builder uses is made here.
 *
 * CRIU gives the two entries of a fifo (or a terminal) one id or two; of equal ids the one that is not a plain file is meant by
 * descriptors. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "files/builder_state.h"
#include "files/path_ids.h"

#define FD_LIMIT (1u << 30)          /* the kernel's nr_open never goes beyond */

void path_ids_collect(const struct tree *t, struct path_ids *ids)
{
	for (size_t i = 0; i < t->tasks.n; i++) {
		const struct task *task = t->tasks.data[i];
		if (task->fs) {
			array_push(ids) = task->fs->cwd_id;
			array_push(ids) = task->fs->root_id;
		}
		if (!task->mm)
			continue;
		array_push(ids) = task->mm->exe_file_id;
		uint64_t last = 0;
		for (size_t k = 0; k < task->mm->n_vmas; k++) {
			const VmaEntry *v = task->mm->vmas[k];
			if (!(v->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED)) || v->shmid == last)
				continue;
			last = v->shmid;
			array_push(ids) = (uint32_t)v->shmid;
		}
	}
}

/* A file's message by its type; NULL: it is missing, or the type is not known. */
static const void *message_of(const FileEntry *e)
{
	switch ((int)e->type) {
	case FD_TYPES__REG:
		return e->reg;
	case FD_TYPES__PIPE:
		return e->pipe;
	case FD_TYPES__FIFO:
		return e->fifo;
	case FD_TYPES__INETSK:
		return e->isk;
	case FD_TYPES__UNIXSK:
		return e->usk;
	case FD_TYPES__EVENTFD:
		return e->efd;
	case FD_TYPES__EVENTPOLL:
		return e->epfd;
	case FD_TYPES__SIGNALFD:
		return e->sgfd;
	case FD_TYPES__TIMERFD:
		return e->tfd;
	case FD_TYPES__TTY:
		return e->tty;
	case FD_TYPES__MEMFD:
		return e->memfd;
	case FD_TYPES__PIDFD:
		return e->pidfd;
	case FD_TYPES__INOTIFY:
		return e->ify;
	case FD_TYPES__FANOTIFY:
		return e->ffy;
	}
	return NULL;
}

static int compare_slots(const void *a, const void *b)
{
	const FileEntry *x = ((const struct slot *)a)->entry, *y = ((const struct slot *)b)->entry;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->type == FD_TYPES__REG) - (y->type == FD_TYPES__REG);
}

static int make_index(struct restore *r)
{
	struct builder *b = arena_new(r->arena, struct builder);

	b->sock = b->self_fd = b->terminal = -1;
	b->n = r->tree->files.n;
	b->slots = arena_array(r->arena, struct slot, b->n + 1);
	for (size_t i = 0; i < b->n; i++)
		b->slots[i] = (struct slot){ r->tree->files.data[i], -1, false };
	qsort(b->slots, b->n, sizeof *b->slots, compare_slots);
	for (size_t i = 1; i < b->n; i++)
		if (compare_slots(&b->slots[i - 1], &b->slots[i]) == 0)
			return fail_text(EBADMSG, "files.img lists id %u twice", b->slots[i].entry->id);
	r->builder = b;
	return 0;
}

static int check_entry(const FileEntry *e)
{
	if (!e->id)
		return fail_text(EBADMSG, "files.img has an entry with id 0");
	if (!file_kind_of(e->type))
		return fail_text(ENOTSUP, "file %u of the images is of type %d, which is not supported", e->id, (int)e->type);
	if (!message_of(e))
		return fail_text(EBADMSG, "files.img: the entry with id %u does not have what its type (%s) needs", e->id,
				 file_kind_of(e->type)->name);
	if (e->type == FD_TYPES__REG && !e->reg->name[0])
		return fail_text(EBADMSG, "files.img: the file with id %u has no name", e->id);
	return 0;
}

static int check_table(struct restore *r, const struct fdtable *t)
{
	uint32_t last = 0;

	for (size_t i = 0; i < t->fds.n; i++) {
		const FdinfoEntry *f = t->fds.data[i];
		const struct slot *s = builder_slot(r, f->id);
		if (f->fd >= FD_LIMIT || (i && f->fd <= last))
			return fail_text(EBADMSG, "fdinfo-%u.img: descriptor %u is out of range or listed twice", t->id, f->fd);
		if (!s || s->entry->type != f->type)
			return fail_text(EBADMSG, "fdinfo-%u.img: descriptor %u refers to file %u, which %s", t->id, f->fd, f->id,
					 s ? "is of another type" : "is not in the images");
		last = f->fd;
	}
	return 0;
}

static int check_paths(struct restore *r)
{
	struct path_ids ids = { 0 };
	int ret = 0;

	path_ids_collect(r->tree, &ids);
	for (size_t i = 0; i < ids.n && ret >= 0; i++)
		if (!file_entry(r, FD_TYPES__REG, ids.data[i]) && !file_entry(r, FD_TYPES__MEMFD, ids.data[i]))
			ret = fail_text(EBADMSG, "a mapping or directory refers to file %u, which is not a file of the images", ids.data[i]);
	array_free(&ids);
	return ret;
}

static int compare_fds(const void *a, const void *b)
{
	const FdinfoEntry *x = *(FdinfoEntry *const *)a, *y = *(FdinfoEntry *const *)b;

	return (x->fd > y->fd) - (x->fd < y->fd);
}

/* One table for two processes is refused at dump; images may come from elsewhere. */
static int check_sharing(const struct restore *r)
{
	for (size_t i = 0; i < r->tree->tasks.n; i++) {
		const struct task *t = r->tree->tasks.data[i];
		if (t->fds && t->fds->owner != t)
			return fail_text(ENOTSUP, "tasks %d and %d share one descriptor table (CLONE_FILES), which is not supported",
					 t->fds->owner->pid, t->pid);
	}
	return 0;
}

int files_check(struct restore *r)
{
	int ret = make_index(r);

	for (size_t i = 0; i < r->tree->files.n && ret >= 0; i++) {
		ret = check_entry(r->tree->files.data[i]);
		r->terminals |= r->tree->files.data[i]->type == FD_TYPES__TTY;
	}
	for (size_t i = 0; i < r->tree->fdtables.n && ret >= 0; i++) {
		struct fdtable *t = r->tree->fdtables.data[i];
		if (t->fds.n)
			qsort(t->fds.data, t->fds.n, sizeof(FdinfoEntry *), compare_fds);
		ret = check_table(r, t);
	}
	if (ret >= 0)
		ret = check_sharing(r);
	return ret < 0 ? ret : check_paths(r);
}
