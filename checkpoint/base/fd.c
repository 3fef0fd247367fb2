/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: ownership, whole transfers, small files, passing between processes. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"

void fd_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
		*fd = -1;
	}
}

int take_fd(int *fd)
{
	int r = *fd;
	*fd = -1;
	return r;
}

int fd_read_all(int fd, void *data, size_t size)
{
	char *at = data;

	while (size) {
		ssize_t n = read(fd, at, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t n = write(fd, at, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_pread_all(int fd, void *data, size_t size, uint64_t offset)
{
	char *at = data;

	while (size) {
		ssize_t n = pread(fd, at, size, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		at += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_pwrite_all(int fd, const void *data, size_t size, uint64_t offset)
{
	const char *at = data;

	while (size) {
		ssize_t n = pwrite(fd, at, size, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -EIO;      /* the memory of a process that has ended takes nothing */
		at += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

ssize_t file_read(int dirfd, const char *path, char **text, size_t max)
{
	autoclose int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size_t cap = 4096, n = 0;
	autofree char *data = mem_alloc(cap + 1);
	for (;;) {
		ssize_t got = read(fd, data + n, cap - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
		if (n > max)
			return -EFBIG;
		if (n == cap) {
			cap *= 2;
			data = mem_realloc(data, cap + 1);
		}
	}
	data[n] = 0;
	*text = take_ptr(&data);
	return (ssize_t)n;
}

int file_write(int dirfd, const char *path, const char *text)
{
	autoclose int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size_t len = strlen(text);
	ssize_t n;
	do
		n = write(fd, text, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

/* What is there already (of a process with this number that was killed, or put there by somebody) is taken away, not written through. */
static int create_anew(int dirfd, const char *path, mode_t mode)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, fd = openat(dirfd, path, flags, mode);

	if (fd < 0 && errno == EEXIST && unlinkat(dirfd, path, 0) == 0)
		fd = openat(dirfd, path, flags, mode);
	return fd;
}

static int replace(int dirfd, const char *path, const void *data, size_t size, mode_t mode, bool durable)
{
	autofree char *temporary = str_printf("%s.tmp.%d", path, getpid());
	autoclose int fd = create_anew(dirfd, temporary, mode);
	if (fd < 0)
		return -errno;
	int r = fd_write_all(fd, data, size);
	if (r >= 0 && durable && fsync(fd) < 0)
		r = -errno;
	if (r >= 0 && renameat(dirfd, temporary, dirfd, path) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dirfd, temporary, 0);
	return r;
}

int file_replace(int dirfd, const char *path, const void *data, size_t size, mode_t mode)
{
	return replace(dirfd, path, data, size, mode, true);
}

int file_swap(int dirfd, const char *path, const void *data, size_t size, mode_t mode)
{
	return replace(dirfd, path, data, size, mode, false);
}

int fd_send(int sock, const int *fds, size_t n)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
	} control;
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(n * sizeof(int)) };

	if (n == 0 || n > FD_PASS_MAX)
		return -EINVAL;
	memset(&control, 0, sizeof control);
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	ssize_t r;
	do
		r = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int fd_recv(int sock, int *fds, size_t max)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t r;

	do
		r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (r == 0)
		return -ENODATA;
	size_t n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
			if (n < max)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
	return msg.msg_flags & MSG_CTRUNC ? -EMSGSIZE : (int)n;
}

int fd_end_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? fail(errno, "make a signalfd") : fd;
}

struct fd_path fd_path(int fd)
{
	struct fd_path p;
	snprintf(p.text, sizeof p.text, "/proc/self/fd/%d", fd);
	return p;
}
