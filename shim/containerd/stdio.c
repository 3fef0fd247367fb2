/* SPDX-License-Identifier: Apache-2.0 */
/* Standard streams.
 *
 *   FIFO        the client made it. The shim has both ends of an output FIFO open, so that a client that is not there (yet, or any more)
 *               neither blocks the opening nor breaks the writer; what it does not read fills first the FIFO, then the process's
 *               pipe: the process waits, nothing is lost. An input FIFO has its writing end open as well, so that it does not end
 *               before CloseIO.
 *   file://     opened for appending and given to the process as it is: nothing is copied.
 *   binary://   a logging program: it has the reading ends of the process's pipes itself: nothing is copied here either.
 *   terminal    what the process writes there is copied to the client's output, whichever it is; there is no separate standard error.
 *
 * A copy (relay) moves bytes with splice(), which keeps them out of this process; where that does not work (terminals of old kernels) by a
 * buffer. It waits either for its source or for its destination, never for both, so that a slow reader costs nothing. */
#include "containerd/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "containerd/bootstrap.h"
#include "containerd/logger.h"
#include "containerd/loop.h"

#define CHUNK 65536

struct relay {
	struct loop_watch from, to;
	bool on, buffered, waits_to;
	uint8_t *data;               /* read, not written yet: data[at … n) */
	size_t at, n;
	struct stdio *owner;
};

struct stdio {
	struct stdio_options o;
	char *in, *out, *err;
	int child[3];                /* the process's ends; -1: /dev/null, or the terminal */
	struct relay relays[3];
	int keep[3];                 /* other ends of FIFOs, only held */
	int console;
	int logger[2];               /* reading ends for a logging program */
	bool in_closed;
	void (*changed)(void *arg);
	void *arg;
};

/* --- copying ----------------------------------------------------------------------------------------------------------------- */

static void relay_end(struct relay *r)
{
	if (!r->on)
		return;
	r->on = false;
	loop_remove(&r->from);
	loop_remove(&r->to);
	if (r->from.fd != r->owner->console)
		fd_close(&r->from.fd);
	if (r->to.fd != r->owner->console)
		fd_close(&r->to.fd);
	free_pointer(&r->data);
	if (r->owner->changed)
		r->owner->changed(r->owner->arg);
}

static bool writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) > 0 && p.revents & POLLOUT;
}

/* One step: bytes moved, 0 at the end, -EAGAIN: the source is empty, -EBUSY: the destination is full. */
static ssize_t move_spliced(struct relay *r)
{
	ssize_t n = splice(r->from.fd, NULL, r->to.fd, NULL, CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n >= 0 || errno != EAGAIN)
		return n >= 0 ? n : -errno;
	return writable(r->to.fd) ? -EAGAIN : -EBUSY;
}

static ssize_t move_buffered(struct relay *r)
{
	if (!r->data)
		r->data = mem_alloc(CHUNK);
	if (r->at == r->n) {
		ssize_t n = read(r->from.fd, r->data, CHUNK);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		r->at = 0;
		r->n = (size_t)n;
	}
	ssize_t n = write(r->to.fd, r->data + r->at, r->n - r->at);
	if (n < 0)
		return errno == EAGAIN ? -EBUSY : -errno;
	r->at += (size_t)n;
	if (r->at == r->n)
		free_pointer(&r->data);   /* an idle stream costs no memory */
	return n;
}

static ssize_t move(struct relay *r)
{
	ssize_t n = r->buffered ? move_buffered(r) : move_spliced(r);

	if (n == -EINVAL && !r->buffered) {
		r->buffered = true;
		n = move_buffered(r);
	}
	return n;
}

static void wait_for(struct relay *r, bool destination)
{
	if (r->waits_to == destination)
		return;
	r->waits_to = destination;
	loop_remove(destination ? &r->from : &r->to);
	if (loop_add(destination ? &r->to : &r->from, destination ? EPOLLOUT : EPOLLIN) < 0) {
		log_warn("%s", err_line(0));
		err_clear();
	}
}

static void on_relay(void *arg, uint32_t events)
{
	struct relay *r = arg;
	(void)events;

	for (int steps = 0; steps < 16; steps++) {
		ssize_t n = move(r);
		if (n == -EINTR || n > 0)
			continue;
		if (n == -EAGAIN || n == -EBUSY)
			wait_for(r, n == -EBUSY);
		else
			relay_end(r);   /* the end; of a terminal that is EIO, of a reader that has gone EPIPE */
		return;
	}
}

static void set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* Takes both descriptors. */
static void relay_start(struct stdio *s, int which, int from, int to)
{
	struct relay *r = &s->relays[which];

	*r = (struct relay){ .from = { .fd = from, .ready = on_relay, .arg = r }, .to = { .fd = to, .ready = on_relay, .arg = r }, .owner = s,
		.on = true };
	set_nonblocking(from);
	set_nonblocking(to);
	if (loop_add(&r->from, EPOLLIN) < 0) {
		log_warn("%s", err_line(0));
		err_clear();
		relay_end(r);
	}
}

/* --- opening ------------------------------------------------------------------------------------------------------------------- */

static const char *after(const char *uri, const char *scheme)
{
	return str_starts(uri, scheme) ? uri + strlen(scheme) : NULL;
}

static const char *fifo_path(const char *uri)
{
	const char *path = after(uri, "fifo://");

	return path ? path : strstr(uri, "://") ? NULL : uri;
}

/* Both streams of a process; a terminal's one is copied there. */
static int open_file(struct stdio *s, const char *path)
{
	autofree char *dir = str_dup(path);
	char *slash = strrchr(dir, '/');
	int r = 0;

	if (slash && slash != dir) {
		*slash = '\0';
		r = bootstrap_make_path(dir, 0755, 0755);
	}
	int fd = r < 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return r < 0 ? r : fail(errno, "open the log file %s", path);
	if (s->o.terminal) {
		s->relays[1].to.fd = fd;
		return 0;
	}
	s->child[1] = fd;
	s->child[2] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return 0;
}

static int make_pipe(struct stdio *s, int ends[2])
{
	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(errno, "make a pipe for standard streams");
	if ((!s->o.uid && !s->o.gid) || (fchown(ends[0], s->o.uid, s->o.gid) == 0 && fchown(ends[1], s->o.uid, s->o.gid) == 0))
		return 0;
	int r = fail(errno, "give the pipes of standard streams to user %u, group %u", s->o.uid, s->o.gid);
	close(ends[0]);
	close(ends[1]);
	return r;
}

/* The client's end of an output: a FIFO, or an ordinary file. */
static int open_output(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return fail(errno, "open %s", path);
	int flags = S_ISFIFO(st.st_mode) ? O_RDWR | O_NONBLOCK : O_WRONLY | O_APPEND;
	int fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return fail(errno, "open %s", path);
	return fd;
}

static int open_out(struct stdio *s, int which, const char *uri)
{
	const char *path = fifo_path(uri);
	int ends[2];

	if (!path)
		return fail_text(ENOTSUP, "%s: this kind of output is not supported (FIFOs, file://, binary:// are)", uri);
	int to = open_output(path);
	if (to < 0)
		return to;
	if (s->o.terminal) {
		s->relays[which].to.fd = to;
		return 0;
	}
	int r = make_pipe(s, ends);
	if (r < 0) {
		fd_close(&to);
		return r;
	}
	s->child[which] = ends[1];
	s->relays[which].from.fd = ends[0];
	s->relays[which].to.fd = to;
	return 0;
}

static int open_in(struct stdio *s)
{
	const char *path = fifo_path(s->in);
	int ends[2];

	if (!path)
		return fail_text(ENOTSUP, "%s: this kind of input is not supported (FIFOs are)", s->in);
	int from = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (from < 0)
		return fail(errno, "open %s", path);
	s->relays[0].from.fd = from;
	s->keep[0] = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (s->o.terminal)
		return 0;
	int r = make_pipe(s, ends);
	if (r < 0)
		return r;
	s->child[0] = ends[0];
	s->relays[0].to.fd = ends[1];
	return 0;
}

static int open_logger(struct stdio *s)
{
	for (int k = 0; k < 2; k++) {
		int ends[2], r = make_pipe(s, ends);
		if (r < 0)
			return r;
		s->logger[k] = ends[0];
		if (!s->o.terminal)
			s->child[k + 1] = ends[1];
		else if (k == 0)
			s->relays[1].to.fd = ends[1];
		else
			close(ends[1]);   /* a terminal has no standard error */
	}
	return 0;
}

static int open_all(struct stdio *s)
{
	const char *file = after(s->out, "file://");
	int r = *s->in ? open_in(s) : 0;

	if (r < 0)
		return r;
	if (file)
		return open_file(s, file);
	if (logger_is_meant(s->out))
		return open_logger(s);
	if (*s->out)
		r = open_out(s, 1, s->out);
	if (r < 0 || !*s->err || s->o.terminal)
		return r;
	if (strcmp(s->out, s->err) != 0 || s->child[1] < 0)
		return open_out(s, 2, s->err);
	s->child[2] = fcntl(s->child[1], F_DUPFD_CLOEXEC, 3);
	return s->child[2] < 0 ? fail(errno, "copy a descriptor") : 0;
}

int stdio_open(const struct stdio_options *o, void (*changed)(void *arg), void *arg, struct stdio **out)
{
	struct stdio *s = mem_zalloc(sizeof *s);

	s->o = *o;
	s->in = str_dup(o->in ? o->in : "");
	s->out = str_dup(o->out ? o->out : "");
	s->err = str_dup(o->err ? o->err : "");
	s->changed = changed;
	s->arg = arg;
	s->console = s->logger[0] = s->logger[1] = -1;
	for (int k = 0; k < 3; k++) {
		s->child[k] = s->keep[k] = s->relays[k].from.fd = s->relays[k].to.fd = -1;
		s->relays[k].owner = s;
	}
	int r = open_all(s);
	if (r < 0) {
		stdio_free(s);
		s = NULL;
	}
	*out = s;
	return r;
}

/* --- the worker ------------------------------------------------------------------------------------------------------------- */

int stdio_attach(struct stdio *s)
{
	autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int r = s->logger[0] >= 0 ? logger_start(s->out, s->logger, s->o.id, s->o.ns) : 0;
	int log = log_fd() == 2 ? fcntl(2, F_DUPFD_CLOEXEC, 100) : -1;   /* what the worker logs is not the process's output */

	if (log >= 0)
		log_swap(log);
	for (int k = 0; k < 3 && r == 0; k++)
		if (dup2(s->child[k] >= 0 ? s->child[k] : null, k) < 0)
			r = fail(errno, "set up standard stream %d", k);
	return r;
}

/* --- the shim --------------------------------------------------------------------------------------------------------------- */

void stdio_begin(struct stdio *s, int console)
{
	struct relay *relays = s->relays;

	for (int k = 0; k < 3; k++)
		fd_close(&s->child[k]);
	fd_close(&s->logger[0]);
	fd_close(&s->logger[1]);
	s->console = console;
	if (console >= 0) {
		set_nonblocking(console);
		if (relays[0].from.fd >= 0)
			relays[0].to.fd = fcntl(console, F_DUPFD_CLOEXEC, 3);
		relays[1].from.fd = fcntl(console, F_DUPFD_CLOEXEC, 3);
		if (relays[1].to.fd < 0)
			relays[1].to.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	}
	for (int k = 0; k < 3; k++)
		if (relays[k].from.fd >= 0 && relays[k].to.fd >= 0)
			relay_start(s, k, relays[k].from.fd, relays[k].to.fd);
	if (s->in_closed)
		fd_close(&s->keep[0]);
}

void stdio_close_in(struct stdio *s)
{
	s->in_closed = true;
	fd_close(&s->keep[0]);
}

int stdio_resize(struct stdio *s, uint32_t width, uint32_t height)
{
	struct winsize size = { .ws_row = (unsigned short)height, .ws_col = (unsigned short)width };

	if (s->console < 0)
		return fail_text(EINVAL, "the process has no terminal");
	return ioctl(s->console, TIOCSWINSZ, &size) < 0 ? fail(errno, "resize the terminal") : 0;
}

bool stdio_idle(const struct stdio *s)
{
	return !s->relays[1].on && !s->relays[2].on;
}

void stdio_free(struct stdio *s)
{
	if (!s)
		return;
	s->changed = NULL;
	for (int k = 0; k < 3; k++) {
		relay_end(&s->relays[k]);
		fd_close(&s->relays[k].from.fd);
		fd_close(&s->relays[k].to.fd);
		fd_close(&s->child[k]);
		fd_close(&s->keep[k]);
	}
	fd_close(&s->logger[0]);
	fd_close(&s->logger[1]);
	fd_close(&s->console);
	free_pointer(&s->in);
	free_pointer(&s->out);
	free_pointer(&s->err);
	free_pointer(&s);
}
