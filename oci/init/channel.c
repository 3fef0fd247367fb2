/* SPDX-License-Identifier: Apache-2.0 */
/* Between the runtime and the child it cloned: a socket pair, one byte a message and what belongs to it.
 *
 *   child → runtime   MEET            it waits for the runtime to do its part (hooks), and goes on at its answer
 *                     LISTENER, n     it will have a seccomp listener at descriptor n in a moment, and goes on at the answer
 *                     CONSOLE, fd     the other end of its terminal
 *                     READY           it waits (create, restore), or is about to execute its program
 *                     FAILED, trail   it could not, and exits
 *   runtime → child   filter          number of instructions and flags, then the instructions; before any answer
 *                     GO              the answer
 *
 * The child's trail becomes part of the runtime's, so the user reads the cause where it happened. End of file before READY:
 * the child died of something that let it say nothing. End of file after READY on a close-on-exec descriptor: execve() succeeded.
 * If the runtime dies, the child's write raises SIGPIPE, or its read ends: it exits. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "init/internal.h"

enum { READY = 'R', FAILED = 'F', MEET = 'M', GO = 'G', LISTENER = 'L', CONSOLE = 'T' };

struct filter_head {
	uint32_t n, flags, notify;
};

int channel_open(int ends[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ? fail(errno, "make a socket pair") : 0;
}

int channel_ready(int fd)
{
	char tag = READY;
	return fd_write_all(fd, &tag, 1);
}

int channel_announce_listener(int fd, int number)
{
	char text[1 + sizeof number] = { LISTENER };

	memcpy(text + 1, &number, sizeof number);
	int r = fd_write_all(fd, text, sizeof text);
	return r < 0 ? fail(-r, "announce a seccomp listener") : 0;
}

int channel_wait_go(int fd)
{
	char tag;
	int r = fd_read_all(fd, &tag, 1);

	return r < 0 ? fail(-r, "wait for the runtime") : tag == GO ? 0 : fail_text(EPROTO, "unknown message 0x%02x from the runtime", tag);
}

int channel_meet(int fd)
{
	char tag = MEET;
	int r = fd_write_all(fd, &tag, 1);

	return r < 0 ? fail(-r, "wait for the runtime") : channel_wait_go(fd);
}

int channel_go(int fd)
{
	char tag = GO;
	int r = send(fd, &tag, 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;

	if (r == -EPIPE || r == -ECONNRESET)   /* it has failed, and says why */
		return 0;
	return r < 0 ? fail(-r, "let the container's process go on") : 0;
}

void channel_die(int fd)
{
	char tag = FAILED;

	if (fd_write_all(fd, &tag, 1) == 0)
		err_send(fd);
	_exit(1);
}

/* The child's trail is the root cause: it stands first, before what the caller adds. */
static int receive_failure(int fd)
{
	size_t mark = err_mark();
	int r = err_recv(fd);

	if (r < 0 || err_count() == mark)
		return fail_text(EPROTO, "the container's process failed and could not say why");
	return -ECHILD;
}

/* A byte and, with some, a descriptor. */
static int read_tag(int fd, char *tag, int *passed)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { tag, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t n;

	do
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(passed, CMSG_DATA(c), sizeof *passed);
	return n > 0 ? 0 : n == 0 || errno == ECONNRESET ? -ECANCELED : fail(errno, "read from the container's process");
}

int channel_wait(int fd, int *console)
{
	autoclose int passed = -1;
	char tag;
	int r = read_tag(fd, &tag, &passed);

	if (r >= 0 && tag == CONSOLE && console) {
		fd_close(console);
		*console = take_fd(&passed);
		r = read_tag(fd, &tag, &passed);
	}
	if (r < 0)
		return r;
	if (tag == READY || tag == MEET)
		return tag == READY ? 0 : CHANNEL_MEET;
	return tag == FAILED ? receive_failure(fd) : fail_text(EPROTO, "unknown message 0x%02x from the container's process", tag);
}

static int take_listener(int fd, const struct listener_owner *owner)
{
	int number;
	int r = fd_read_all(fd, &number, sizeof number);

	if (r < 0)
		return fail(-r, "read from the container's process");
	r = listener_take(fd, number, owner);
	return r < 0 ? r : channel_go(fd);
}

int channel_wait_exec(int fd, int *console, const struct listener_owner *owner)
{
	char tag;
	int r = channel_wait(fd, console);

	if (r != 0)
		return r < 0 ? r : fail_text(EPROTO, "the container's process waits for nothing");
	while ((r = fd_read_all(fd, &tag, 1)) == 0 && tag == LISTENER) {
		r = take_listener(fd, owner);
		if (r < 0)
			return r;
	}
	if (r == -ENODATA || r == -ECONNRESET)
		return 0;
	return r < 0 ? fail(-r, "read from the container's process") : receive_failure(fd);
}

int channel_send_fd(int sock, char *bytes, size_t n, int fd)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { bytes, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	return sendmsg(sock, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int channel_send_console(int fd, int console)
{
	char tag = CONSOLE;
	int r = channel_send_fd(fd, &tag, 1, console);

	return r < 0 ? fail(-r, "send the console to the runtime") : 0;
}

/* In one message: the largest filter (32 KiB) is far below what a socket holds, so this does not wait for the child. */
int channel_send_filter(int fd, const struct seccomp_program *p)
{
	struct filter_head head = { p->n, p->flags, p->notify };
	struct iovec parts[] = { { &head, sizeof head }, { p->code, p->n * sizeof *p->code } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = p->n ? 2 : 1 };
	ssize_t n;

	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (size_t)n == sizeof head + p->n * sizeof *p->code ? 0 : -EMSGSIZE;
}

int channel_receive_filter(int fd, struct seccomp_program *p)
{
	struct filter_head head;
	int r = fd_read_all(fd, &head, sizeof head);

	if (r < 0)
		return fail(-r, "receive the seccomp filter");
	*p = (struct seccomp_program){ .n = (unsigned short)head.n, .flags = head.flags, .notify = head.notify };
	if (!head.n)
		return 0;
	p->code = mem_alloc(head.n * sizeof *p->code);
	r = fd_read_all(fd, p->code, head.n * sizeof *p->code);
	return r < 0 ? fail(-r, "receive the seccomp filter") : 0;
}
