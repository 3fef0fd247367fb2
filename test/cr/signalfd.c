/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal descriptors: their masks, flags, and signals that wait to be read through them, with their values.
 */
#include "cr.h"

#include <signal.h>
#include <sys/signalfd.h>

static int make(int signo, int other, int flags)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, signo);
	sigaddset(&set, other);
	need(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && (fd = signalfd(-1, &set, flags)) >= 0);
	return fd;
}

static void expect_signal(const char *what, int fd, int signo, int value)
{
	struct signalfd_siginfo info = { 0 };

	expect(read(fd, &info, sizeof(info)) == sizeof(info), "%s: %s", what, strerror(errno));
	expect((int)info.ssi_signo == signo && info.ssi_int == value, "%s: signal %u, value %d instead of %d, %d", what,
	       info.ssi_signo, info.ssi_int, signo, value);
}

int main(int argc, char **argv)
{
	struct signalfd_siginfo info;

	cr_begin(argc, argv);
	int one = make(SIGUSR1, SIGRTMIN + 1, SFD_NONBLOCK), two = make(SIGUSR2, SIGRTMIN + 2, SFD_NONBLOCK | SFD_CLOEXEC);
	need(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = 11 }) == 0);
	need(sigqueue(getpid(), SIGUSR2, (union sigval){ .sival_int = 22 }) == 0);
	cr_wait();
	expect(fcntl(two, F_GETFD) == FD_CLOEXEC && fcntl(one, F_GETFD) == 0, "close-on-exec");
	expect_signal("first", one, SIGRTMIN + 1, 11);
	expect(read(one, &info, sizeof(info)) < 0 && errno == EAGAIN, "first: a signal too many");
	expect_signal("second", two, SIGUSR2, 22);
	sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_int = 33 });
	sigqueue(getpid(), SIGRTMIN + 2, (union sigval){ .sival_int = 44 });
	expect_signal("first, afterwards", one, SIGUSR1, 33);
	expect_signal("second, afterwards", two, SIGRTMIN + 2, 44);
	return cr_end();
}
