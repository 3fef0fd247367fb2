/* SPDX-License-Identifier: Apache-2.0 */
/* listener SOCKET OUT: takes seccomp listeners, writes what comes with each as a line to OUT, and answers their notifications in a child:
 * mkdir fails with "No medium found", everything else goes on. Ends with its standard input. */
#include <err.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void answer(int fd)
{
	for (;;) {
		struct seccomp_notif n = { 0 };
		struct seccomp_notif_resp r = { 0 };
		struct pollfd p = { .fd = fd, .events = POLLIN };
		poll(&p, 1, -1);
		if (p.revents & POLLHUP)
			exit(0);
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0)
			continue;
		r.id = n.id;
		if (n.data.nr == SYS_mkdir || n.data.nr == SYS_mkdirat)
			r.error = -ENOMEDIUM;
		else
			r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &r);
	}
}

static int receive(int sock, FILE *out)
{
	char text[65536], control[CMSG_SPACE(sizeof(int))];
	struct iovec v = { text, sizeof text };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	int fd = -1;
	ssize_t n = recvmsg(sock, &m, 0);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);

	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	for (; n > 0; n = read(sock, text, sizeof text))
		fwrite(text, 1, (size_t)n, out);
	fputc('\n', out);
	fflush(out);
	return fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	FILE *out = fopen(argc > 2 ? argv[2] : "/dev/null", "a");

	snprintf(at.sun_path, sizeof at.sun_path, "%s.new", argc > 1 ? argv[1] : "");   /* it has its name when it can be connected to */
	if (!out || argc < 2 || s < 0 || bind(s, (const struct sockaddr *)&at, sizeof at) < 0 || listen(s, 8) < 0 || rename(at.sun_path, argv[1]) < 0)
		err(1, "%s", at.sun_path);
	for (;;) {
		struct pollfd p[] = { { .fd = 0, .events = POLLIN }, { .fd = s, .events = POLLIN } };
		poll(p, 2, -1);
		if (p[0].revents)
			return 0;
		int sock = accept(s, NULL, NULL), fd = receive(sock, out);
		close(sock);
		if (fd >= 0 && fork() == 0)
			answer(fd);
		close(fd);
	}
}
