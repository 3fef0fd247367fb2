/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Closes *fd if it is open (>= 0), keeps errno. */
void fd_close(int *fd);
#define autoclose __attribute__((cleanup(fd_close)))
/* Hands ownership on: returns *fd and leaves -1. */
int take_fd(int *fd);

/* Whole transfers, restarted after EINTR. Return 0 or -errno; a short read is -ENODATA at once (end of file) . */
int fd_read_all(int fd, void *data, size_t size);
int fd_write_all(int fd, const void *data, size_t size);
int fd_pread_all(int fd, void *data, size_t size, uint64_t offset);
int fd_pwrite_all(int fd, const void *data, size_t size, uint64_t offset);

/* Reads a whole (small or /proc) file below dirfd (AT_FDCWD allowed) into *text, NUL-terminated, to be freed by the caller.
 * Returns its length or -errno (-EFBIG beyond max bytes). Adds nothing to the trail. */
ssize_t file_read(int dirfd, const char *path, char **text, size_t max);
/* Writes text into an existing file with one write() (cgroup and proc files). Returns 0 or -errno, adds nothing. */
int file_write(int dirfd, const char *path, const char *text);
/* Creates or replaces a file atomically: temporary name beside it, fsync, rename. Returns 0 or -errno, adds nothing. */
int file_replace(int dirfd, const char *path, const void *data, size_t size, mode_t mode);
/* The same without fsync: for what is of no use any more once the machine has gone down. */
int file_swap(int dirfd, const char *path, const void *data, size_t size, mode_t mode);

/* For a program that waits for others: SIGTERM, SIGINT and SIGHUP are blocked and can be read from the descriptor that is returned (a signalfd)
 * instead, so that it gives up in good order. -errno when it failed, explained. */
int fd_end_signals(void);

/* Passing descriptors with SCM_RIGHTS and one data byte, at most FD_PASS_MAX a message. fd_recv() returns how many came
 * (CLOEXEC set) or -errno; -ENODATA when the peer has gone. */
#define FD_PASS_MAX 250
int fd_send(int sock, const int *fds, size_t n);
int fd_recv(int sock, int *fds, size_t max);

/* The file's /proc/self/fd path, in a per-call buffer: FD_PATH(fd).text */
struct fd_path {
	char text[32];
};
struct fd_path fd_path(int fd);
#define FD_PATH(fd) (fd_path(fd).text)

#endif
