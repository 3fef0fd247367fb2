/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes: pipe(2).
 *
 * Kernel facts relied on:
 * - A pipe is an inode of pipefs; its inode number identifies it (pipe_id) while it lives. The ends are ordinary descriptions of that
 *   inode, read-only and write-only; further ones come from opening /proc/PID/fd/N, also for both.
 * - poll(2) says whether the other side exists at all: a reading end without any writer has POLLHUP, a writing end without any
 *   reader POLLERR.
 *
 * Which ends the tree has is known when all descriptors were seen. If one side is missing in it though it exists, somebody outside has
 * it: that is an error, unless the caller named the pipe (--external 'pipe:[N]'); then nothing of its contents is stored, and at
 * restore the caller has to give a descriptor (--inherit-fd); a mark of torpor's own in the entry tells so. If the other side does not
 * exist at all, the restored pipe has none either: the reader gets what is left and then end of file, the writer SIGPIPE.
 *
 * Restore makes each pipe once, when the first of its entries is opened, and all entries of it with it. */
#include "files/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "files/builder.h"
#include "files/pipe_data.h"

static bool pipe_match(const struct file_info *f)
{
	return S_ISFIFO(f->st.st_mode) && str_starts(f->link, "pipe:[");
}

/* --- dump --- */

struct pipe {
	struct pipe *next;
	uint64_t ino;
	bool reader, writer, external, stored;
	bool half;                     /* the side that is missing does not exist */
	struct task *task;             /* where it was first seen */
	int fd;
};

static struct pipe *pipe_get(struct dump *d, const struct file_info *f)
{
	struct pipe **all = (struct pipe **)file_state(d, STATE_PIPE), *p;

	for (p = *all; p && p->ino != f->st.st_ino; p = p->next)
		;
	if (!p) {
		p = arena_new(d->arena, struct pipe);
		*p = (struct pipe){ .next = *all, .ino = f->st.st_ino, .task = f->task, .fd = f->fd };
		*all = p;
	}
	return p;
}

static bool readable(const struct file_info *f)
{
	return (f->flags & O_ACCMODE) != O_WRONLY;
}

static int note_side(struct pipe *p, const struct file_info *f)
{
	struct pollfd poll_fd = { .fd = f->local, .events = POLLIN | POLLOUT };

	p->reader |= readable(f);
	p->writer |= (f->flags & O_ACCMODE) != O_RDONLY;
	p->external |= f->external;
	if (p->reader && p->writer)
		return 0;
	if (poll(&poll_fd, 1, 0) < 0)
		return fail(errno, FILE_FMT ": ask whether its other end exists", FILE_ARG(f));
	p->half = (poll_fd.revents & (readable(f) ? POLLHUP : POLLERR)) != 0;
	return 0;
}

static int pipe_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	struct pipe *p = pipe_get(d, f);

	e->pipe = ARENA_MESSAGE(d->arena, PipeEntry, PIPE_ENTRY__INIT);
	e->pipe->id = e->id;
	e->pipe->pipe_id = (uint32_t)f->st.st_ino;
	e->pipe->flags = f->flags;
	int r = file_fown(d, f, &e->pipe->fown);
	if (r >= 0)
		r = note_side(p, f);
	e->pipe->has_torpor_external = e->pipe->torpor_external = f->external;
	if (r < 0 || p->stored || p->external || !readable(f))
		return r;
	p->stored = true;
	return pipe_data_dump(d, f, IMG_PIPES_DATA, f->local, (uint32_t)p->ino);
}

static int pipe_dump_end(struct dump *d)
{
	for (const struct pipe *p = *file_state(d, STATE_PIPE); p; p = p->next) {
		if ((p->reader && p->writer) || p->external || p->half)
			continue;
		const struct file_info f = { .task = p->task };
		fail_text(ENOTCONN, "task %d (%s), descriptor %d (pipe:[%llu]): the %s end of the pipe is outside the tree", p->task->pid,
			  file_comm(&f), p->fd, (unsigned long long)p->ino, p->reader ? "writing" : "reading");
		fail_hint("name it with --external 'pipe:[%llu]' and give an end back at restore with --inherit-fd 'fd[N]:pipe:[%llu]'",
			  (unsigned long long)p->ino, (unsigned long long)p->ino);
		return -ENOTCONN;
	}
	return 0;
}

/* --- restore --- */

/* All entries of pipes, by pipe. */
struct pipe_entries {
	const FileEntry **data;
	size_t n;
};

static int compare_pipes(const void *a, const void *b)
{
	const FileEntry *x = *(const FileEntry *const *)a, *y = *(const FileEntry *const *)b;

	if (x->pipe->pipe_id != y->pipe->pipe_id)
		return x->pipe->pipe_id < y->pipe->pipe_id ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

static const struct pipe_entries *entries_of(struct restore *r)
{
	struct pipe_entries **at = (struct pipe_entries **)file_restore_state(r, STATE_PIPE), *all = *at;

	if (all)
		return all;
	*at = all = arena_new(r->arena, struct pipe_entries);
	all->data = arena_array(r->arena, const FileEntry *, r->tree->files.n + 1);
	for (size_t i = 0; i < r->tree->files.n; i++)
		if (r->tree->files.data[i]->type == FD_TYPES__PIPE && r->tree->files.data[i]->pipe)
			all->data[all->n++] = r->tree->files.data[i];
	qsort(all->data, all->n, sizeof *all->data, compare_pipes);
	return all;
}

static size_t first_entry(const struct pipe_entries *all, uint32_t pipe_id)
{
	size_t low = 0, high = all->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		if (all->data[mid]->pipe->pipe_id < pipe_id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct ends {
	int in, out;                   /* what pipe2() made */
	bool in_used, out_used;
};

static int side_open(const struct restore *r, struct ends *ends, const FileEntry *e)
{
	uint32_t mode = e->pipe->flags & O_ACCMODE;
	int fd;

	if (mode == O_RDONLY && !ends->in_used) {
		ends->in_used = true;
		fd = ends->in;
	} else if (mode == O_WRONLY && !ends->out_used) {
		ends->out_used = true;
		fd = ends->out;
	} else {
		fd = file_reopen(r, ends->in, mode | O_CLOEXEC | O_NONBLOCK);
	}
	if (fd < 0)
		return fail(-fd, "open an end of pipe %u", e->pipe->pipe_id);
	int ret = file_set_flags(e, fd, e->pipe->flags);
	return ret < 0 ? ret : fd;
}

/* Every entry of the pipe but e itself (what an error leaves open goes with the builder) goes to the builder's table; e's descriptor is returned. */
static int all_sides(struct restore *r, struct ends *ends, const FileEntry *e)
{
	const struct pipe_entries *all = entries_of(r);
	int own = -ENOENT;

	for (size_t i = first_entry(all, e->pipe->pipe_id); i < all->n && all->data[i]->pipe->pipe_id == e->pipe->pipe_id; i++) {
		const FileEntry *o = all->data[i];
		int fd = side_open(r, ends, o);
		if (fd < 0)
			return fd;
		if (o == e)
			own = fd;
		else if ((fd = builder_put(r, o->id, fd)) < 0)
			return fd;
	}
	if (!ends->in_used)
		close(ends->in);
	if (!ends->out_used)
		close(ends->out);
	return own;
}

static bool has_packets(struct restore *r, uint32_t pipe_id)
{
	const struct pipe_entries *all = entries_of(r);

	for (size_t i = first_entry(all, pipe_id); i < all->n && all->data[i]->pipe->pipe_id == pipe_id; i++)
		if (all->data[i]->pipe->flags & O_DIRECT)
			return true;
	return false;
}

/* The caller's descriptor stands for one end; one for the other side is opened through it. */
static int take_inherited(struct restore *r, const FileEntry *e, int fd)
{
	autoclose int owned = fd;
	int flags = fcntl(fd, F_GETFL);
	uint32_t mode = e->pipe->flags & O_ACCMODE;

	if (flags < 0)
		return fail(errno, "ask for the flags of the descriptor given for pipe:[%u]", e->pipe->pipe_id);
	if (((uint32_t)flags & O_ACCMODE) != mode && (flags & O_ACCMODE) != O_RDWR) {
		int other = file_reopen(r, fd, mode | O_CLOEXEC | O_NONBLOCK);
		if (other < 0)
			return fail(-other, "open the other end of what was given for pipe:[%u]", e->pipe->pipe_id);
		close(owned);
		owned = other;
	}
	int ret = file_set_flags(e, owned, e->pipe->flags);
	return ret < 0 ? ret : take_fd(&owned);
}

static int pipe_open(struct restore *r, const FileEntry *e)
{
	char key[32];
	int ends[2];

	snprintf(key, sizeof key, "pipe:[%u]", e->pipe->pipe_id);
	int given = file_inherited(r, key);
	if (given != -ENOENT)
		return given < 0 ? given : take_inherited(r, e, given);
	if (e->pipe->torpor_external) {
		fail_text(ENOENT, "pipe:[%u] was the caller's when the checkpoint was taken, and must come from it", e->pipe->pipe_id);
		fail_hint("restore with --inherit-fd 'fd[N]:pipe:[%u]'", e->pipe->pipe_id);
		return -ENOENT;
	}
	bool packets = has_packets(r, e->pipe->pipe_id);
	if (pipe2(ends, O_CLOEXEC | (packets ? O_DIRECT : 0)) < 0)
		return fail(errno, "make pipe %u", e->pipe->pipe_id);
	int ret = pipe_data_restore(r, IMG_PIPES_DATA, e->pipe->pipe_id, ends[1], packets);
	return ret < 0 ? ret : all_sides(r, &(struct ends){ .in = ends[0], .out = ends[1] }, e);
}

const struct file_kind pipe_kind = {
	.name = "pipe",
	.type = FD_TYPES__PIPE,
	.match = pipe_match,
	.dump = pipe_dump,
	.dump_end = pipe_dump_end,
	.open = pipe_open,
};
