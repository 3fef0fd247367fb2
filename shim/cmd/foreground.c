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
#include "cmd/terminal.h"

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

static void forward(const struct shim_terminal *t, pid_t pid, int sig)
{
	if (sig == SIGWINCH && t->pty >= 0)
		shim_terminal_resize(t);
	else if (sig != SIGCHLD)
		kill(pid, sig);   /* not reaped yet, so the number is still its own */
}

static int serve(struct shim_terminal *t, pid_t pid, int signals)
{
	for (;;) {
		struct signalfd_siginfo info;
		int r = reap(pid);   /* first: it may have ended already */
		if (r != -EAGAIN)
			return r;
		while (t->pty >= 0 && (r = shim_terminal_poll(t, signals)) == 0)
			;
		if (t->pty >= 0 && r < 0)
			return r;
		r = fd_read_all(signals, &info, sizeof info);
		if (r < 0)
			return fail(-r, "read the signalfd");
		forward(t, pid, (int)info.ssi_signo);
	}
}

int shim_foreground_wait(pid_t pid, int console)
{
	struct shim_terminal terminal = { .pty = -1 };
	sigset_t set;

	signal_set(&set);
	autoclose int fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return fail(errno, "open a signalfd");
	int r = console >= 0 ? shim_terminal_begin(&terminal, console) : 0;
	if (r >= 0)
		r = serve(&terminal, pid, fd);
	shim_terminal_end(&terminal);
	return r;
}
