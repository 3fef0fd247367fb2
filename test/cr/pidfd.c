/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of processes: of itself, of a child (shared with that child, and non-blocking), of the child from a sibling, and of a
 * process that has ended: after a restore they still mean those, and a child's end is noticed.
 */
#include "cr.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int first;

static int open_pid(pid_t pid, unsigned flags)
{
	int fd = syscall(SYS_pidfd_open, pid, flags);

	if (fd < 0 && errno == ENOSYS)
		cr_skip(": no pidfd_open");
	need(fd >= 0);
	return fd;
}

static int send(int fd, int signal)
{
	return syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static int wait_for_end(void *arg)
{
	(void)arg;
	cr_child_ready();
	for (;;)
		pause();
	return 0;
}

static int look_at_first(void *arg)
{
	(void)arg;
	cr_child_ready();
	cr_wait_go();
	expect(send(first, 0) == 0, "the sibling is not there: %s", strerror(errno));
	expect(send(first, SIGTERM) == 0, "the sibling cannot be ended: %s", strerror(errno));
	return 0;
}

int main(int argc, char **argv)
{
	siginfo_t info = { 0 };

	cr_begin(argc, argv);
	int self = open_pid(getpid(), 0);
	pid_t child = cr_fork(wait_for_end, NULL);
	first = open_pid(child, O_NONBLOCK);
	pid_t other = cr_fork(look_at_first, NULL), gone = fork();
	need(gone >= 0);
	if (!gone)
		_exit(3);
	int dead = open_pid(gone, 0);
	need(waitpid(gone, NULL, 0) == gone);
	cr_wait();

	expect(send(self, 0) == 0 && !readable(self, 0), "of itself: %s", strerror(errno));
	expect(send(dead, 0) < 0 && errno == ESRCH && readable(dead, 0), "of one that has ended: not any more");
	expect((fcntl(first, F_GETFL) & O_NONBLOCK) && fcntl(first, F_GETFD) == FD_CLOEXEC, "flags %#o", fcntl(first, F_GETFL));
	expect(readable(first, 40000), "the child's end is not noticed");
	expect(waitid(P_PIDFD, first, &info, WEXITED) == 0 && info.si_pid == child && info.si_status == SIGTERM, "waited for %d: status %d",
	       info.si_pid, info.si_status);
	cr_join(other);
	return cr_end();
}
