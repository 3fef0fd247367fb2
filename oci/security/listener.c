/* SPDX-License-Identifier: Apache-2.0 */
/* Handing a seccomp listener over: one message with the descriptor and the beginning of the text, then the rest of the text, then the
 * end of the connection. Who waits reads to the end. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "security/security.h"

static int connect_to(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof at.sun_path)
		return fail(ENAMETOOLONG, "linux.seccomp.listenerPath: %s", path);
	strcpy(at.sun_path, path);
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof at) < 0)
		return fail(errno, "linux.seccomp.listenerPath: connect to %s", path);
	return take_fd(&fd);
}

int seccomp_send_listener(const char *path, int listener, const char *state, size_t size)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof listener)];
	} control = { 0 };
	struct iovec text = { (char *)(uintptr_t)state, size };
	struct msghdr message = { .msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	ssize_t n;

	autoclose int sock = connect_to(path);
	if (sock < 0)
		return sock;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof listener);
	memcpy(CMSG_DATA(c), &listener, sizeof listener);
	do
		n = sendmsg(sock, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	for (size_t at = n < 0 ? 0 : (size_t)n; n >= 0 && at < size; at += (size_t)n) {
		n = send(sock, state + at, size - at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			n = 0;
	}
	return n < 0 ? fail(errno, "linux.seccomp.listenerPath: send to %s", path) : 0;
}
