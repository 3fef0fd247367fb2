/* SPDX-License-Identifier: Apache-2.0 */
/* What pipes and fifos hold.
 *
 * Kernel facts relied on:
 * - tee(2) duplicates the contents of a pipe into another one without consuming them; it always begins at the front, so that the
 *   second pipe must take everything at once. It counts pages (slots), not bytes: the copy gets the capacity of the original.
 * - A capacity above /proc/sys/fs/pipe-max-size needs CAP_SYS_RESOURCE.
 * - Data written with O_DIRECT is in packets; each read returns one. The mark is on the data, tee keeps it; only the writing
 *   description has the flag. Other data comes with a single read, however it was written.
 *
 * The images have one entry {pipe_id, bytes, capacity} and the bytes for each read: packets are one entry each, so that a reader
 * that concatenates them still has the bytes in order.
 *
 * Restore reads the image once, when the first pipe asks, and keeps it in memory: a pipe holds at most a few MiB. */
#include "files/pipe_data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "pipe-data.pb-c.h"

#define CAPACITY_MAX (1u << 30)

static int write_entry(struct image *i, uint32_t pipe_id, int capacity, const void *data, size_t size)
{
	PipeDataEntry e = PIPE_DATA_ENTRY__INIT;

	e.pipe_id = pipe_id;
	e.bytes = (uint32_t)size;
	e.has_size = true;
	e.size = (uint32_t)capacity;
	int r = image_write(i, &e);
	return r < 0 ? r : image_write_raw(i, data, size);
}

/* A second pipe with a copy of everything; returns its reading end. */
static int duplicate(const struct file_info *f, int fd, int capacity, int bytes)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail(errno, FILE_FMT ": make a pipe for its contents", FILE_ARG(f));
	autoclose int in = ends[0], out = ends[1];
	if (fcntl(out, F_GETPIPE_SZ) < capacity && fcntl(out, F_SETPIPE_SZ, capacity) < 0)
		return fail(errno, FILE_FMT ": make a pipe of %d bytes for its contents", FILE_ARG(f), capacity);
	ssize_t n = tee(fd, out, INT32_MAX, SPLICE_F_NONBLOCK);
	if (n < 0)
		return fail(errno, FILE_FMT ": copy its contents (tee)", FILE_ARG(f));
	if (n != bytes)
		return fail_text(EAGAIN, FILE_FMT ": %zd of %d bytes could be copied (tee): somebody outside the tree uses the pipe", FILE_ARG(f),
				 n, bytes);
	return take_fd(&in);
}

int pipe_data_dump(struct dump *d, const struct file_info *f, enum image_kind kind, int fd, uint32_t pipe_id)
{
	struct image *i;
	int bytes = 0, capacity = fcntl(fd, F_GETPIPE_SZ);

	if (capacity < 0 || ioctl(fd, FIONREAD, &bytes) < 0)
		return fail(errno, FILE_FMT ": ask how much it holds", FILE_ARG(f));
	int r = dump_image(d, kind, &i);
	if (r < 0 || !bytes)
		return r < 0 ? r : write_entry(i, pipe_id, capacity, NULL, 0);
	autoclose int copy = duplicate(f, fd, capacity, bytes);
	if (copy < 0)
		return copy;
	autofree char *data = mem_alloc((size_t)bytes);
	for (size_t have = 0; have < (size_t)bytes;) {
		ssize_t n = read(copy, data + have, (size_t)bytes - have);
		if (n <= 0)
			return fail(n ? errno : ENODATA, FILE_FMT ": read its contents", FILE_ARG(f));
		r = write_entry(i, pipe_id, capacity, data + have, (size_t)n);
		if (r < 0)
			return r;
		have += (size_t)n;
	}
	return 0;
}

/* --- restore --- */

struct content {
	uint32_t pipe_id, size, capacity;
	size_t order;                  /* in the image */
	char *data;
};

struct contents {
	bool loaded;
	ARRAY(struct content) list;
};

static int compare_contents(const void *a, const void *b)
{
	const struct content *x = a, *y = b;

	if (x->pipe_id != y->pipe_id)
		return x->pipe_id < y->pipe_id ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static int load(struct restore *r, enum image_kind kind, struct contents *c)
{
	auto_image struct image *i = NULL;
	PipeDataEntry *e;
	int ret = image_open(r->images, kind, 0, &i);

	c->loaded = true;
	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return ret;
	while ((ret = image_read(i, r->arena, &e)) > 0) {
		if (e->bytes > CAPACITY_MAX || (e->has_size && e->size > CAPACITY_MAX))
			return fail_text(EBADMSG, "image %s: pipe %u claims %u bytes", image_name(i), e->pipe_id, e->bytes);
		struct content *n = &array_push(&c->list);
		*n = (struct content){ e->pipe_id, e->bytes, e->has_size ? e->size : 0, c->list.n, mem_alloc(e->bytes + 1) };
		ret = image_read_raw(i, n->data, e->bytes);
		if (ret < 0)
			return ret;
	}
	if (c->list.n)
		qsort(c->list.data, c->list.n, sizeof *c->list.data, compare_contents);
	return ret;
}

static int put(uint32_t pipe_id, int fd, const struct content *c)
{
	int capacity = fcntl(fd, F_GETPIPE_SZ);

	if (c->capacity && capacity != (int)c->capacity && fcntl(fd, F_SETPIPE_SZ, (int)c->capacity) < 0)
		return fail(errno, "give pipe %u its capacity of %u bytes", pipe_id, c->capacity);
	if (!c->size)
		return 0;
	ssize_t n = write(fd, c->data, c->size);
	if (n != (ssize_t)c->size)
		return fail(n < 0 ? errno : ENOSPC, "put %u bytes into pipe %u", c->size, pipe_id);
	return 0;
}

static size_t first_content(const struct contents *c, uint32_t pipe_id)
{
	size_t low = 0, high = c->list.n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		if (c->list.data[mid].pipe_id < pipe_id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int pipe_data_restore(struct restore *r, enum image_kind kind, uint32_t pipe_id, int fd, bool packets)
{
	struct contents **state = (struct contents **)file_restore_state(r, kind == IMG_PIPES_DATA ? STATE_PIPE_DATA : STATE_FIFO_DATA);
	int flags = fcntl(fd, F_GETFL), ret = 0;

	if (!*state)
		*state = arena_new(r->arena, struct contents);
	if (!(*state)->loaded)
		ret = load(r, kind, *state);
	if (ret < 0)
		return ret;
	const struct content *list = (*state)->list.data;
	size_t first = first_content(*state, pipe_id), end = first;
	while (end < (*state)->list.n && list[end].pipe_id == pipe_id)
		end++;
	packets |= end - first > 1;
	if (flags < 0 || fcntl(fd, F_SETFL, (flags & ~O_DIRECT) | O_NONBLOCK | (packets ? O_DIRECT : 0)) < 0)
		return fail(errno, "prepare pipe %u for its contents", pipe_id);
	for (size_t i = first; i < end && ret >= 0; i++)
		ret = put(pipe_id, fd, &list[i]);
	if (ret >= 0 && fcntl(fd, F_SETFL, flags) < 0)
		return fail(errno, "set the flags of pipe %u", pipe_id);
	return ret;
}
