/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes instead of one, so that a pager may be killed.
 *
 * When the last descriptor of a userfaultfd is closed, the kernel lets all who wait for a page go on, with a page of zeroes. So whoever serves
 * it must not be the last one: a guardian shares the table of descriptors (CLONE_FILES), which has also those that the kernel makes for
 * forked tasks while it tells of them, and does nothing but wait. Until there is another pager, tasks stand in their faults.
 *
 *   guardian ── clone() ──▶ pager ── ends ──▶ guardian ends, with its result
 *      ▲  └── clone() again ◀── is killed ──┘ │
 *      └────────── becomes the guardian of another ◀── sees that the guardian was killed
 *
 * The next pager knows by the journal what the last one knew. A pager that dies of a fault of its own is tried a few times.
 *
 * Not handled: both are killed before either has been replaced (that takes a millisecond). Then what is missing reads as zeroes. The
 * kernel's out-of-memory killer is told to leave both alone. */
#define LOG_PREFIX "lazy"
#include "lazy/guard.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

#define CRASHES_MAX 5

static volatile sig_atomic_t pager;

static void pass_on(int signal)
{
	if (pager > 0)
		kill((pid_t)pager, signal);
}

/* fork(), with one table of descriptors for both. There is one thread only, so that nothing has to be made ready for it. */
static pid_t fork_sharing(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
}

static void be_guardian(void)
{
	const struct sigaction a = { .sa_handler = pass_on, .sa_flags = SA_RESTART }, d = { .sa_handler = SIG_DFL };

	sigaction(SIGTERM, &a, NULL);
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGCHLD, &d, NULL);
	prctl(PR_SET_NAME, "torpor-guard");
}

/* How the pager ended: its status, or -EAGAIN, there has to be another one. */
static int await(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail(errno, "wait for the pager");
	pager = 0;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	log_warn("the pager was killed by signal %d (%s): another one goes on", WTERMSIG(status), strsignal(WTERMSIG(status)));
	return WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM ? -EAGAIN : -EFAULT;
}

int guard_run(int (*work)(void *arg, bool again, pid_t guard), void *arg)
{
	pid_t guard = getpid();

	be_guardian();
	for (int crashes = 0, again = false;; again = true) {
		pid_t pid = fork_sharing();
		if (pid == 0) {
			int e = work(arg, again, guard);
			if (e < 0)
				log_trail();
			if (e != GUARD_GONE)
				_exit(e < 0 ? 1 : 0);
			log_warn("the pager's guardian was killed: there is another one");
			guard = getpid();
			be_guardian();
			continue;
		}
		pager = pid;
		int status = pid < 0 ? -EAGAIN : await(pid);
		if (status >= 0)
			return status == 0 ? 0 : fail_text(ECANCELED, "the pager has failed: its log says why");
		crashes += status == -EFAULT;
		if (crashes > CRASHES_MAX) {
			/* Not to be closed: tasks would read zeroes. */
			log_error("the pager crashes again and again: tasks stand still where they need what is missing; end them, then this process");
			for (;;)
				pause();
		}
		if (pid < 0)
			usleep(100000);
	}
}
