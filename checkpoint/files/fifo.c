/* SPDX-License-Identifier: Apache-2.0 */
/* Named pipes: a path and a pipe.
 *
 * The image has two entries for each description: a reg_file for the path, flags and type, and a fifo that refers to it and has the
 * pipe's identity (the inode number). Contents are stored once per inode, as those of pipes are; where the tree has no reading
 * description, one is made through /proc/self/fd for the moment.
 *
 * Opening one side of a fifo waits for the other (fifo(7)): restore first opens each fifo for both, without waiting, puts the
 * contents in, and keeps that description until all others are open.
 *
 * A fifo that was opened outside the container and named by the caller is an external reg_file (reg.c). Whether others than the tree
 * have a fifo open is not looked at: who opens it by its path can do so again. */
#include "files/fifo.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "files/pipe_data.h"
#include "files/reg.h"

static bool fifo_match(const struct file_info *f)
{
	return S_ISFIFO(f->st.st_mode) && f->link[0] == '/' && !(f->flags & O_PATH);
}

struct fifo {
	struct fifo *next;
	uint32_t pipe_id;
	dev_t dev;
	int hold;                      /* restore: open for both sides */
};

static int dump_data(struct dump *d, const struct file_info *f)
{
	struct fifo **all = (struct fifo **)file_state(d, STATE_FIFO);

	for (const struct fifo *k = *all; k; k = k->next)
		if (k->pipe_id == (uint32_t)f->st.st_ino && k->dev == f->st.st_dev)
			return 0;
	struct fifo *k = arena_new(d->arena, struct fifo);
	*k = (struct fifo){ *all, (uint32_t)f->st.st_ino, f->st.st_dev, -1 };
	*all = k;
	if ((f->flags & O_ACCMODE) != O_WRONLY)
		return pipe_data_dump(d, f, IMG_FIFO_DATA, f->local, k->pipe_id);
	autoclose int fd = open(FD_PATH(f->local), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail(errno, FILE_FMT ": open the fifo for reading", FILE_ARG(f));
	return pipe_data_dump(d, f, IMG_FIFO_DATA, fd, k->pipe_id);
}

static int fifo_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	FileEntry *path = file_add_entry(d, FD_TYPES__REG);

	e->fifo = ARENA_MESSAGE(d->arena, FifoEntry, FIFO_ENTRY__INIT);
	e->fifo->id = e->id;
	e->fifo->pipe_id = (uint32_t)f->st.st_ino;
	e->fifo->has_regf_id = true;
	e->fifo->regf_id = path->id;
	int r = reg_dump_path(d, f, path);
	return r < 0 ? r : dump_data(d, f);
}

/* --- restore --- */

static struct fifo *find_held(struct restore *r, uint32_t pipe_id)
{
	for (struct fifo *k = *file_restore_state(r, STATE_FIFO); k; k = k->next)
		if (k->pipe_id == pipe_id)
			return k;
	return NULL;
}

static int hold_open(struct restore *r, const FileEntry *e, const RegFileEntry *path)
{
	struct fifo **all = (struct fifo **)file_restore_state(r, STATE_FIFO);
	bool packets = (path->flags & O_DIRECT) != 0;

	if (find_held(r, e->fifo->pipe_id))
		return 0;
	autoclose int fd = reg_open_entry(r, path, O_RDWR | O_NONBLOCK);
	if (fd < 0)
		return fd;
	int ret = pipe_data_restore(r, IMG_FIFO_DATA, e->fifo->pipe_id, fd, packets);
	if (ret < 0)
		return ret;
	struct fifo *k = arena_new(r->arena, struct fifo);
	*k = (struct fifo){ .next = *all, .pipe_id = e->fifo->pipe_id, .hold = take_fd(&fd) };
	*all = k;
	return 0;
}

static int fifo_open(struct restore *r, const FileEntry *e)
{
	const FileEntry *path = file_entry(r, FD_TYPES__REG, e->fifo->has_regf_id ? e->fifo->regf_id : e->id);

	if (!path || !path->reg)
		return fail_text(EBADMSG, ENTRY_FMT ": its path (file %u) is missing", ENTRY_ARG(e), e->fifo->regf_id);
	int ret = hold_open(r, e, path->reg);
	if (ret < 0)
		return ret;
	autoclose int fd = reg_open_entry(r, path->reg, path->reg->flags);
	if (fd < 0)
		return fd;
	ret = file_set_flags(e, fd, path->reg->flags);
	return ret < 0 ? ret : take_fd(&fd);
}

static int fifo_finish(struct restore *r, const FileEntry *e, int fd)
{
	struct fifo *k = find_held(r, e->fifo->pipe_id);

	(void)fd;
	if (k)
		fd_close(&k->hold);
	return 0;
}

const struct file_kind fifo_kind = {
	.name = "fifo",
	.type = FD_TYPES__FIFO,
	.match = fifo_match,
	.dump = fifo_dump,
	.open = fifo_open,
	.finish = fifo_finish,
};
