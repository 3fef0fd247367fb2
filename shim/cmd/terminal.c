/* SPDX-License-Identifier: Apache-2.0 */
/* A container's terminal in the foreground: what is typed goes in, what is printed comes out, until the process ends.
 *
 *      our stdin ──► in ──► the pty ──► out ──► our stdout
 *
 * Each direction holds at most a page, and reads on when that is written: a side that does not take anything stops only itself, and
 * signals are served meanwhile. The pty is non-blocking; our own stdio is not made so, as others share it: it is written to when poll()
 * says that it takes something, at most PIPE_BUF bytes.
 *
 * When stdin is a terminal it becomes raw: keys, ^C among them, are the container's. It is put back before the command returns. The
 * container's window has the size of ours, whichever of stdin, stdout, stderr is a terminal, from the start, and follows it (SIGWINCH). The end of
 * stdin is not the end of a terminal, so it ends nothing.
 *
 * After the process's end what it has printed is still read; others that hold the terminal (a background job) are not waited for. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"
#include "cmd/terminal.h"

bool shim_terminal_size(unsigned short *rows, unsigned short *columns)
{
	struct winsize size;

	for (int fd = 0; fd < 3; fd++)
		if (ioctl(fd, TIOCGWINSZ, &size) == 0) {
			*rows = size.ws_row;
			*columns = size.ws_col;
			return true;
		}
	return false;
}

void shim_terminal_resize(const struct shim_terminal *t)
{
	struct winsize size = { 0 };

	if (shim_terminal_size(&size.ws_row, &size.ws_col))
		ioctl(t->pty, TIOCSWINSZ, &size);
}

int shim_terminal_begin(struct shim_terminal *t, int pty)
{
	*t = (struct shim_terminal){ .pty = pty, .in = { STDIN_FILENO, pty }, .out = { pty, STDOUT_FILENO } };
	int flags = fcntl(pty, F_GETFL);
	sigset_t pipe;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);   /* a closed stdout must not end the command before it has cleaned up */
	sigprocmask(SIG_BLOCK, &pipe, NULL);
	if (flags < 0 || fcntl(pty, F_SETFL, flags | O_NONBLOCK) < 0)
		return fail(errno, "prepare the container's terminal");
	t->raw = tcgetattr(STDIN_FILENO, &t->saved) == 0;
	if (!t->raw)
		return 0;
	struct termios raw = t->saved;
	cfmakeraw(&raw);
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0 ? fail(errno, "make the terminal raw") : 0;
}

static short wants(const struct shim_flow *f, int fd)
{
	if (fd == f->from && !f->n && !f->ended)
		return POLLIN;
	return fd == f->to && f->n ? POLLOUT : 0;
}

static void flow_read(struct shim_flow *f)
{
	ssize_t n = read(f->from, f->data, sizeof f->data);

	f->at = 0;
	f->n = n > 0 ? (size_t)n : 0;
	f->ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);   /* EIO of a pty: nobody holds it */
}

static void flow_write(struct shim_flow *f)
{
	size_t most = f->n < PIPE_BUF ? f->n : PIPE_BUF;
	ssize_t n = write(f->to, f->data + f->at, most);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {   /* nobody reads: the rest is lost, as with any command whose output is closed */
		f->ended = true;
		f->n = 0;
		return;
	}
	f->at += (size_t)n;
	f->n -= (size_t)n;
}

int shim_terminal_poll(struct shim_terminal *t, int also)
{
	struct pollfd p[] = {
		{ .fd = also, .events = POLLIN },
		{ .fd = t->in.ended && !t->in.n ? -1 : STDIN_FILENO, .events = wants(&t->in, STDIN_FILENO) },
		{ .fd = t->pty, .events = (short)(wants(&t->in, t->pty) | wants(&t->out, t->pty)) },
		{ .fd = t->out.n ? STDOUT_FILENO : -1, .events = POLLOUT },
	};

	if (!p[1].events)
		p[1].fd = -1;
	if (!p[2].events)
		p[2].fd = -1;
	if (poll(p, sizeof p / sizeof *p, -1) < 0)
		return errno == EINTR ? 0 : fail(errno, "wait for the terminal");
	if (p[1].revents)
		flow_read(&t->in);
	if (t->out.n && p[3].revents)
		flow_write(&t->out);
	else if (!t->out.n && p[2].revents & (POLLIN | POLLHUP | POLLERR))
		flow_read(&t->out);
	if (t->in.n && p[2].revents & (POLLOUT | POLLHUP | POLLERR))
		flow_write(&t->in);
	return p[0].revents != 0;
}

void shim_terminal_end(struct shim_terminal *t)
{
	while (t->pty >= 0) {
		while (t->out.n && poll(&(struct pollfd){ .fd = STDOUT_FILENO, .events = POLLOUT }, 1, -1) > 0)
			flow_write(&t->out);
		if (t->out.ended)
			break;
		flow_read(&t->out);
		if (!t->out.n)
			break;
	}
	if (t->raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
	t->raw = false;
}
