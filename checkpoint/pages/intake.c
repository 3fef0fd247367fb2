/* SPDX-License-Identifier: Apache-2.0 */
/* What a dump sends, on its way into a file. Headers and small content go through buffers, as does all of it with TLS. Large content goes from the
 * socket into a pipe and from there into the file by splice(2), one copy, in two threads: making the pages of a file on a tmpfs is most of
 * the work, and the socket must not wait for it. A file system that does not take splice (EINVAL) gets it through a buffer.
 *
 * 1. A ring of pipes is the queue between the two: it bounds what is on its way. A pipe belongs to one of them at a time, as the kernel holds its
 *    lock while the file is written.
 * 2. The writer never stops emptying them, not even after an error, so that the other thread cannot hang; the error is told with the next piece, or
 *    at the end of the file.
 * 3. Who writes at an offset by himself has waited for the writer before. */
#define LOG_PREFIX "page-server"
#include "pages/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
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
#define PIPES 4
#define HANDED (512u << 10)   /* what a pipe gets if there is so much: each handing over is a change of threads */

struct pipe {
	int from, to;
	size_t bytes;
};

struct intake {
	struct channel *peer;
	const char *path;            /* of the directory, for messages */
	int out;                     /* the pages file */
	struct pipe pipes[PIPES];    /* -1: not used */
	size_t filling;              /* the next that is filled */
	uint64_t offset;             /* in the pages file */
	unsigned char *input;        /* of READ_SIZE */
	size_t from, to;             /* what is unread of it */
	bool bulk;                   /* much content comes: nothing of it is to be read along with a header */
	unsigned char *output;       /* of WRITE_SIZE */
	size_t pending;              /* what is not yet written of it */
	/* The writer: */
	pthread_t writer;
	pthread_mutex_t lock;        /* of queued, stop, error; offset is the writer's while something is queued */
	pthread_cond_t more, done;
	size_t queued;               /* how many pipes are the writer's: those before `filling` */
	int error;
	bool running, stop, by_copy;
	unsigned char *copy;         /* of READ_SIZE */
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

/* --- the writer: a thread that moves what is in the pipes into the file --- */

static ssize_t discard(struct intake *s, const struct pipe *p)
{
	ssize_t n = read(p->from, s->copy, p->bytes < READ_SIZE ? p->bytes : READ_SIZE);

	return n > 0 ? n : n < 0 ? -errno : -EIO;
}

/* A file that does not take splice gets it through a buffer. */
static ssize_t move_by_copy(struct intake *s, const struct pipe *p)
{
	ssize_t n = discard(s, p);
	int r = n > 0 ? fd_pwrite_all(s->out, s->copy, (size_t)n, s->offset) : (int)n;

	return r < 0 ? r : n;
}

static ssize_t move(struct intake *s, const struct pipe *p)
{
	loff_t offset = (loff_t)s->offset;
	ssize_t n = s->by_copy ? -1 : splice(p->from, NULL, s->out, &offset, p->bytes, SPLICE_F_MOVE);

	if (!s->by_copy && n < 0 && errno == EINVAL)
		s->by_copy = true;
	if (s->by_copy)
		return move_by_copy(s, p);
	return n > 0 ? n : n < 0 ? -errno : -EIO;
}

/* Empties a pipe; after an error for nothing, so that who fills them comes to hear of it. Returns the error. */
static int empty(struct intake *s, struct pipe *p, int error)
{
	while (p->bytes) {
		ssize_t n = error ? discard(s, p) : move(s, p);
		if (n == -EINTR)
			continue;
		if (n < 0 && error)   /* nothing comes out of it any more */
			break;
		if (n < 0)
			error = (int)-n;
		p->bytes -= n > 0 ? (size_t)n : 0;
		s->offset += !error ? (uint64_t)n : 0;
	}
	p->bytes = 0;
	return error;
}

static void *writer(void *arg)
{
	struct intake *s = arg;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->queued && !s->stop)
			pthread_cond_wait(&s->more, &s->lock);
		if (!s->queued)
			break;
		struct pipe *p = &s->pipes[(s->filling + PIPES - s->queued) % PIPES];
		int error = s->error;
		pthread_mutex_unlock(&s->lock);
		error = empty(s, p, error);
		pthread_mutex_lock(&s->lock);
		s->error = error;
		s->queued--;
		pthread_cond_signal(&s->done);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* False: there is none, and all goes through the buffer. */
static bool writer_start(struct intake *s)
{
	sigset_t all, before;

	if (s->running || s->pipes[PIPES - 1].from < 0)
		return s->running;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	s->copy = mem_alloc(READ_SIZE);
	s->running = pthread_create(&s->writer, NULL, writer, s) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return s->running;
}

static void writer_end(struct intake *s)
{
	if (!s->running)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->writer, NULL);
	s->running = false;
}

/* All that was queued is in the file. */
static int writer_await(struct intake *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->queued)
		pthread_cond_wait(&s->done, &s->lock);
	int error = s->error;
	pthread_mutex_unlock(&s->lock);
	return error ? fail(error, "write pages into %s", s->path) : 0;
}

/* The pipe that is filled next, when it is empty. */
static struct pipe *writer_pipe(struct intake *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->queued == PIPES)
		pthread_cond_wait(&s->done, &s->lock);
	struct pipe *p = &s->pipes[s->filling];
	pthread_mutex_unlock(&s->lock);
	return p;
}

static int writer_queue(struct intake *s)
{
	pthread_mutex_lock(&s->lock);
	if (!s->queued++)
		pthread_cond_signal(&s->more);
	s->filling = (s->filling + 1) % PIPES;
	int error = s->error;
	pthread_mutex_unlock(&s->lock);
	return error ? fail(error, "write pages into %s", s->path) : 0;
}

/* --- content --- */

static int flush(struct intake *s)
{
	if (!s->pending)
		return 0;
	int r = writer_await(s);
	if (r < 0)
		return r;
	r = fd_pwrite_all(s->out, s->output, s->pending, s->offset);
	s->offset += s->pending;
	s->pending = 0;
	return r < 0 ? fail(-r, "write pages into %s", s->path) : 0;
}

/* One splice into an empty pipe waits for the socket only, the others for nothing. Bytes, 0: the socket takes no splice, or -errno,
 * explained. */
static ssize_t fill_pipe(struct intake *s, struct pipe *p, uint64_t size)
{
	unsigned flags = SPLICE_F_MOVE;

	do {
		uint64_t rest = size - p->bytes;
		ssize_t n = splice(channel_socket(s->peer), NULL, p->to, NULL, rest < PIPE_SIZE ? rest : PIPE_SIZE, flags);
		if (p->bytes && n <= 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EINVAL ? 0 : fail(errno, "receive from %s", channel_name(s->peer));
		if (n == 0)
			return ended();
		p->bytes += (size_t)n;
		flags |= SPLICE_F_NONBLOCK;
	} while (p->bytes < HANDED && p->bytes < size);
	return (ssize_t)p->bytes;
}

/* As much as possible; the rest is left in *size. */
static int receive_by_splice(struct intake *s, uint64_t *size)
{
	while (*size) {
		ssize_t n = fill_pipe(s, writer_pipe(s), *size);
		int r = n > 0 ? writer_queue(s) : (int)n;
		if (n <= 0 || r < 0)
			return r;
		*size -= (uint64_t)n;
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

	s->bulk = size >= SPLICE_FROM && writer_start(s);
	if (size <= here || size - here < SPLICE_FROM || !s->bulk)
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

/* The last one tells whether there are any. */
static void pipes_make(struct intake *s)
{
	for (size_t i = 0; i < PIPES; i++)
		s->pipes[i] = (struct pipe){ -1, -1, 0 };
	for (size_t i = 0; i < PIPES && channel_is_plain(s->peer); i++) {
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) < 0)
			return;
		fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE);
		s->pipes[i] = (struct pipe){ ends[0], ends[1], 0 };
	}
}

struct intake *intake_new(struct channel *peer, const char *path)
{
	struct intake *s = mem_zalloc(sizeof *s);

	s->peer = peer;
	s->path = path;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->more, NULL);
	pthread_cond_init(&s->done, NULL);
	s->out = -1;
	s->input = mem_alloc(READ_SIZE);
	s->output = mem_alloc(WRITE_SIZE);
	pipes_make(s);
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

	if (r == 0)
		r = writer_await(s);
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
	writer_end(s);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->more);
	pthread_cond_destroy(&s->done);
	free(s->copy);
	fd_close(&s->out);
	for (size_t i = 0; i < PIPES; i++) {
		fd_close(&s->pipes[i].from);
		fd_close(&s->pipes[i].to);
	}
	free(s->input);
	free(s->output);
	free(s);
	*out = NULL;
}
