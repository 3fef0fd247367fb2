/* SPDX-License-Identifier: Apache-2.0 */
/* Making a stub a zombie with the status that the image has (a raw wait status: exit code in the second byte, or a signal in the low 7 bits).
 *
 * A killing signal is queued from outside, unblocked, with its default action; a code ends in exit_group(). The stub dies as it is let go,
 * without a core file. Then it is not our tracee any more, nor our child: its pidfd tells when it is dead.
 *
 * Not restored: the "core was dumped" bit of a status, which only a core dump sets; the log tells. The zombie's parent must have its signal
 * handlers set after this: with SIGCHLD ignored the kernel would reap it. */
#define LOG_PREFIX "zombie"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "remote/regs.h"
#include "task/subject.h"

#define DEATH_TIMEOUT_MS 5000
#define CORE_DUMPED 0x80

int zombie_check(const struct task *t)
{
	uint32_t status = t->threads[0].core->tc->exit_code;

	if (status & ~0xffffu || (status & 0x7f) > 64 || ((status & 0x7f) && status & 0xff00))
		return fail_text(EBADMSG, "core-%d.img: wait status %#x of a dead task is none", t->pid, status);
	return 0;
}

/* The name, no core file (dumpable 0: a limit does not stop a core_pattern that is a pipe), and the default action for the signal that kills it. */
static int prepare(struct thread *th, int sig)
{
	const char *comm = th->core->tc->comm;
	const uint64_t action[4] = { 0 };   /* SIG_DFL */
	char name[16] = { 0 };
	struct ask a;

	ask_begin(&a, th, true);
	memcpy(name, comm, strnlen(comm, 15));
	ask(&a, "set the name", SYS_prctl, PR_SET_NAME, ask_data(&a, name, sizeof name));
	ask(&a, "forbid a core file", SYS_prctl, PR_SET_DUMPABLE, 0);
	if (sig && sig != SIGKILL)
		ask(&a, "set the action of a signal", SYS_rt_sigaction, (uint64_t)sig, ask_data(&a, action, sizeof action), 0, 8);
	return ask_run(&a);
}

static int await_death(const struct task *t, int pidfd)
{
	struct pollfd p = { pidfd, POLLIN, 0 };
	int n = poll(&p, 1, DEATH_TIMEOUT_MS);

	return n == 1 ? 0 : fail(n < 0 ? errno : ETIMEDOUT, "wait for zombie " TASK_FMT " to die", TASK_ARG(t));
}

static int die_by_signal(struct task *t, int sig)
{
	struct thread *th = &t->threads[0];
	int r = remote_set_sigmask(th->remote, 0);

	if (sig == SIGKILL) {
		remote_kill(&th->remote);
		return 0;
	}
	if (r >= 0 && syscall(SYS_tgkill, t->host_pid, th->host_tid, sig) < 0)
		r = fail(errno, "send signal %d to zombie " TASK_FMT, sig, TASK_ARG(t));
	return r < 0 ? r : remote_let_go(&th->remote, 0);
}

/* The batch never comes back: its error is what was wanted. */
static int die_by_exit(struct task *t, int code)
{
	struct thread *th = &t->threads[0];
	size_t mark = err_mark();
	int64_t r = remote_call(th->remote, SYS_exit_group, (uint64_t)code, 0, 0, 0, 0, 0);

	err_rewind(mark);
	remote_kill(&th->remote);
	return r == -ESRCH ? 0 : fail_text(EIO, "zombie " TASK_FMT " did not exit", TASK_ARG(t));
}

int task_restore_zombie(struct restore *r, struct task *t)
{
	(void)r;
	uint32_t status = t->threads[0].core->tc->exit_code;
	int sig = WTERMSIG(status);
	struct thread *th = &t->threads[0];

	autoclose int pidfd = fcntl(remote_pidfd(th->remote), F_DUPFD_CLOEXEC, 3);
	if (pidfd < 0)
		return fail(errno, "duplicate the pidfd of " TASK_FMT, TASK_ARG(t));
	if (status & CORE_DUMPED)
		log_warn("zombie " TASK_FMT " had dumped core: its status will not tell", TASK_ARG(t));
	int ret = prepare(th, sig);
	if (ret >= 0)
		ret = sig ? die_by_signal(t, sig) : die_by_exit(t, WEXITSTATUS(status));
	return ret < 0 ? ret : await_death(t, pidfd);
}
