/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a container's process in the foreground (run, exec, restore without --detach).
 *
 * Signals are blocked before the process is made and read from a signalfd, so that none is lost between the clone and the wait. All
 * that may be meant for the container go on to its process; those that the kernel sends for a fault of torpor itself, and those of job
 * control (Ctrl-Z stops torpor, as the user expects), keep their way. As a subreaper torpor gets the orphans of processes outside a
 * pid namespace: they are reaped here, or they would stay zombies as long as the container lives.
 *
 * The mask set here is inherited by what is cloned meanwhile; init puts its own to empty before it executes the program. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cmd/cmd.h"

static const int not_forwarded[] = {
	SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE, SIGURG,
};

static void signal_set(sigset_t *set)
{
	sigfillset(set);
	for (size_t i = 0; i < sizeof not_forwarded / sizeof *not_forwarded; i++)
		sigdelset(set, not_forwarded[i]);
}

int shim_foreground_begin(bool subreaper)
{
	sigset_t set;

	signal_set(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return fail(errno, "block signals");
	if (subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return fail(errno, "become the reaper of the container's orphans");
	return 0;
}

void shim_foreground_end(void)
{
	sigset_t set;

	signal_set(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Reaps all that have ended. Returns the status once pid is among them, -EAGAIN before. */
static int reap(pid_t pid)
{
	int status, result = -EAGAIN;
	pid_t ended;

	while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
		if (ended == pid)
			result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (result == -EAGAIN && ended < 0 && errno == ECHILD)
		return fail(ECHILD, "wait for process %d", pid);
	return result;
}

int shim_foreground_wait(pid_t pid)
{
	sigset_t set;

	signal_set(&set);
	autoclose int fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return fail(errno, "open a signalfd");
	for (;;) {
		struct signalfd_siginfo info;
		int r = reap(pid);   /* first: it may have ended already */
		if (r != -EAGAIN)
			return r;
		r = fd_read_all(fd, &info, sizeof info);
		if (r < 0)
			return fail(-r, "read the signalfd");
		if (info.ssi_signo != SIGCHLD)
			kill(pid, (int)info.ssi_signo);   /* not reaped yet, so the number is still its own */
	}
}
