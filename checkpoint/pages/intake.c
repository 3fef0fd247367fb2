/* SPDX-License-Identifier: Apache-2.0 */
/* What a dump sends, on its way into a file: headers are read through a small buffer; content of more than a buffer goes from the socket into the
 * file by splice(2), one copy, and otherwise through a buffer, as do TLS and a file system that does not take splice (EINVAL). */
#define LOG_PREFIX "page-server"
#include "pages/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

#define HEADER_SIZE 32
#define READ_SIZE (64u << 10)
#define WRITE_SIZE (512u << 10)
#define SPLICE_FROM (256u << 10)
#define PIPE_SIZE (1u << 20)

struct intake {
	struct channel *peer;
	const char *path;            /* of the directory, for messages */
	int out, pipe[2];            /* the pages file; pipe -1: not used */
	uint64_t offset;             /* in the pages file */
	unsigned char *input;        /* of READ_SIZE */
	size_t from, to;             /* what is unread of it */
	bool bulk;                   /* much content comes: nothing of it is to be read along with a header */
	unsigned char *output;       /* of WRITE_SIZE */
	size_t pending;              /* what is not yet written of it */
};

/* --- input --- */

static int ended(void)
{
	return fail_text(ECONNRESET, "the connection ended before the dump did");
}

static int refill(struct intake *s)
{
	ssize_t n = channel_read(s->peer, s->input, s->bulk ? HEADER_SIZE : READ_SIZE);

	if (n <= 0)
		return n < 0 ? (int)n : ended();
	s->from = 0;
	s->to = (size_t)n;
	return 0;
}

static size_t take(struct intake *s, void *data, size_t size)
{
	size_t n = s->to - s->from < size ? s->to - s->from : size;

	memcpy(data, s->input + s->from, n);
	s->from += n;
	return n;
}

int intake_header(struct intake *s, unsigned char *bytes, size_t size)
{
	for (size_t have = 0; have < size;) {
		int r = s->from == s->to ? refill(s) : 0;
		if (r < 0)
			return r;
		have += take(s, bytes + have, size - have);
	}
	return 0;
}

/* --- content --- */

static int flush(struct intake *s)
{
	int r = fd_pwrite_all(s->out, s->output, s->pending, s->offset);

	s->offset += s->pending;
	s->pending = 0;
	return r < 0 ? fail(-r, "write pages into %s", s->path) : 0;
}

/* What is in the pipe into the file; -EINVAL, bare, if the file does not take it (nothing is lost then). */
static int drain(struct intake *s, size_t size)
{
	while (size) {
		loff_t offset = (loff_t)s->offset;
		ssize_t n = splice(s->pipe[0], NULL, s->out, &offset, size, SPLICE_F_MOVE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno == EINVAL ? -EINVAL : fail(n < 0 ? errno : EIO, "write pages into %s", s->path);
		s->offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

static int drain_by_copy(struct intake *s, size_t size)
{
	while (size) {
		size_t part = size < WRITE_SIZE ? size : WRITE_SIZE;
		int r = fd_read_all(s->pipe[0], s->output, part);
		if (r < 0)
			return fail(-r, "read pages from a pipe");
		s->pending = part;
		r = flush(s);
		if (r < 0)
			return r;
		size -= part;
	}
	return 0;
}

/* As much as possible; the rest is left in *size. */
static int receive_by_splice(struct intake *s, uint64_t *size)
{
	while (*size && s->pipe[0] >= 0) {
		ssize_t n = splice(channel_socket(s->peer), NULL, s->pipe[1], NULL, *size < (1u << 20) ? *size : 1u << 20, SPLICE_F_MOVE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EINVAL)
			return fail(errno, "receive from %s", channel_name(s->peer));
		if (n == 0)
			return ended();
		int r = n < 0 ? -EINVAL : drain(s, (size_t)n);
		if (r == -EINVAL) {
			r = n > 0 ? drain_by_copy(s, (size_t)n) : 0;
			fd_close(&s->pipe[0]);
			fd_close(&s->pipe[1]);
			s->pipe[0] = s->pipe[1] = -1;
		}
		if (r < 0)
			return r;
		*size -= n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

static int receive_small(struct intake *s, uint64_t size)
{
	while (size) {
		int r = s->pending == WRITE_SIZE ? flush(s) : 0;
		size_t room = WRITE_SIZE - s->pending, want = size < room ? size : room;
		size_t n = take(s, s->output + s->pending, want);
		if (r == 0 && !n && want >= READ_SIZE) {
			ssize_t got = channel_read(s->peer, s->output + s->pending, want);
			if (got <= 0)
				return got < 0 ? (int)got : ended();
			n = (size_t)got;
		} else if (r == 0 && !n) {
			r = refill(s);
		}
		if (r < 0)
			return r;
		s->pending += n;
		size -= n;
	}
	return 0;
}

int intake_content(struct intake *s, uint64_t size)
{
	uint64_t here = s->to - s->from, rest;

	s->bulk = size >= SPLICE_FROM && s->pipe[0] >= 0;
	if (size <= here || size - here < SPLICE_FROM || s->pipe[0] < 0)
		return receive_small(s, size);
	rest = size - here;
	int r = receive_small(s, here);
	if (r == 0)
		r = flush(s);
	if (r == 0)
		r = receive_by_splice(s, &rest);
	return r < 0 ? r : receive_small(s, rest);
}

/* --- a file --- */

struct intake *intake_new(struct channel *peer, const char *path)
{
	struct intake *s = mem_zalloc(sizeof *s);

	s->peer = peer;
	s->path = path;
	s->out = s->pipe[0] = s->pipe[1] = -1;
	s->input = mem_alloc(READ_SIZE);
	s->output = mem_alloc(WRITE_SIZE);
	if (channel_is_plain(peer) && pipe2(s->pipe, O_CLOEXEC) == 0)
		fcntl(s->pipe[1], F_SETPIPE_SZ, PIPE_SIZE);
	return s;
}

void intake_open(struct intake *s, int out)
{
	s->out = out;
	s->offset = 0;
}

int intake_close(struct intake *s)
{
	int r = flush(s);

	if (r == 0 && fdatasync(s->out) < 0)
		r = fail(errno, "write pages into %s to the disk", s->path);
	fd_close(&s->out);
	return r;
}

void intake_free(struct intake **out)
{
	struct intake *s = *out;

	if (!s)
		return;
	fd_close(&s->out);
	fd_close(&s->pipe[0]);
	fd_close(&s->pipe[1]);
	free(s->input);
	free(s->output);
	free(s);
	*out = NULL;
}
