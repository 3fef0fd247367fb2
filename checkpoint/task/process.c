/* SPDX-License-Identifier: Apache-2.0 */
/* What a process is besides its subjects with files of their own: personality, flags, the OOM killer's adjustment, the audit login uid,
 * whether it is a child subreaper, its registrations for membarrier.
 *
 * Kernel facts:
 * - membarrier's registrations can be asked for since Linux 6.3 (MEMBARRIER_CMD_GET_REGISTRATIONS); older kernels do not tell, and a
 *   program that uses it would get EPERM after a restore there, which the log says.
 * - oom_score_adj is inherited; lowering it below the least value it ever had needs CAP_SYS_RESOURCE.
 * - /proc/PID/loginuid may be written by the task itself only: the engine opens it (the tree may have no /proc) and hands the
 *   descriptor to the task, which writes. An audit policy may forbid any change of a login uid that is set; then the task belongs to the
 *   login session of whoever restores it, which the log says.
 * - The signal that a child sends to its parent when it ends has no place in the format: other than SIGCHLD it is refused.
 * - memory-deny-write-execute (prctl PR_SET_MDWE, 6.3) has none either: refused. */
#define LOG_PREFIX "task"
#include "task/subject.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "remote/ahead.h"

#define PERSONALITY_ASK 0xffffffffu
#define PR_GET_MDWE_VALUE 66
#define MEMBARRIER_GET_REGISTRATIONS (1u << 9)
/* GLOBAL_EXPEDITED, PRIVATE_EXPEDITED, PRIVATE_EXPEDITED_SYNC_CORE, PRIVATE_EXPEDITED_RSEQ */
#define MEMBARRIER_REGISTER_ALL (1u << 2 | 1u << 4 | 1u << 6 | 1u << 8)

enum { ASK_PERSONALITY, ASK_SUBREAPER, ASK_MEMBARRIER, ASK_MDWE };

void process_ask(struct ask *a, struct ask_slot *s)
{
	s->at = ask_space(a, sizeof(int32_t));
	s->first = a->n;
	ask(a, "read the personality", SYS_personality, PERSONALITY_ASK);
	ask(a, "read the subreaper flag", SYS_prctl, PR_GET_CHILD_SUBREAPER, s->at);
	ask(a, "read membarrier registrations", SYS_membarrier, MEMBARRIER_GET_REGISTRATIONS, 0, 0);
	ask(a, "read memory-deny-write-execute", SYS_prctl, PR_GET_MDWE_VALUE);
}

/* A number in a file of /proc/PID; false where the kernel has no such file. */
static bool proc_number(pid_t pid, const char *name, int64_t *v)
{
	autofree char *text = NULL;

	if (proc_read(pid, name, &text) < 0)
		return false;
	*v = strtoll(text, NULL, 10);
	return true;
}

static bool ahead_number(struct dump *d, const struct task *t, enum ahead_text which, int64_t *v)
{
	autofree char *text = NULL;

	if (ahead_read(d, t, which, &text) < 0)
		return false;
	*v = strtoll(text, NULL, 10);
	return true;
}

static int take_outside(struct dump *d, struct task *t, TaskCoreEntry *tc)
{
	int64_t v;
	int r = ahead_stat(d, t);

	if (r < 0)
		return fail(-r, "read /proc/%d/stat", t->host_pid);
	tc->flags = t->stat->flags;
	if (t->parent && t->stat->exit_signal != SIGCHLD)
		return fail_text(ENOTSUP, TASK_FMT " was made by clone() with exit signal %d instead of SIGCHLD, which cannot be saved", TASK_ARG(t),
				 t->stat->exit_signal);
	if (ahead_number(d, t, AHEAD_OOM, &v)) {
		tc->has_oom_score_adj = true;
		tc->oom_score_adj = (int32_t)v;
	}
	if (ahead_number(d, t, AHEAD_LOGINUID, &v)) {
		tc->has_loginuid = true;
		tc->loginuid = (uint32_t)v;
	}
	return 0;
}

int process_take(struct dump *d, struct ask *a, const struct ask_slot *s, struct task *t, TaskCoreEntry *tc)
{
	const struct call *c = &a->calls[s->first];

	for (size_t i = ASK_PERSONALITY; i <= ASK_SUBREAPER; i++)
		if (c[i].ret < 0)
			return fail((int)-c[i].ret, "%s of " TASK_FMT, a->what[s->first + i], TASK_ARG(t));
	if (c[ASK_MDWE].ret > 0)
		return fail_text(ENOTSUP, TASK_FMT " has memory-deny-write-execute set (prctl PR_SET_MDWE), which cannot be saved", TASK_ARG(t));
	tc->personality = (uint32_t)c[ASK_PERSONALITY].ret;
	tc->has_child_subreaper = true;
	tc->child_subreaper = *(int32_t *)ask_answer(a, s->at) != 0;
	if (c[ASK_MEMBARRIER].ret > 0) {
		tc->has_membarrier_registration_mask = true;
		tc->membarrier_registration_mask = (uint32_t)c[ASK_MEMBARRIER].ret;
	}
	return take_outside(d, t, tc);
}

int process_check(const struct task *t)
{
	const TaskCoreEntry *tc = t->threads[0].core->tc;

	if (tc->has_oom_score_adj && (tc->oom_score_adj < -1000 || tc->oom_score_adj > 1000))
		return fail_text(EBADMSG, "core-%d.img: oom_score_adj %d is out of range", t->pid, tc->oom_score_adj);
	if (tc->has_membarrier_registration_mask && tc->membarrier_registration_mask & ~MEMBARRIER_REGISTER_ALL)
		return fail_text(EBADMSG, "core-%d.img: membarrier registrations %#x are unknown", t->pid, tc->membarrier_registration_mask);
	return 0;
}

void process_restore(struct ask *a)
{
	const TaskCoreEntry *tc = a->th->core->tc;

	ask_need(a, 8, 0);
	ask(a, "set the personality", SYS_personality, tc->personality);
	if (tc->has_child_subreaper && tc->child_subreaper)
		ask(a, "make a child subreaper", SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
	for (unsigned bit = 0; bit < 32 && tc->has_membarrier_registration_mask; bit++)
		if (tc->membarrier_registration_mask & 1u << bit)
			ask(a, "register for membarrier", SYS_membarrier, 1u << bit, 0, 0);
}

static int restore_oom(const struct task *t, int32_t wanted)
{
	char path[64], text[16];
	int64_t now;

	if (!proc_number(t->host_pid, "oom_score_adj", &now) || now == wanted)
		return 0;
	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", t->host_pid);
	snprintf(text, sizeof text, "%d", wanted);
	int r = file_write(AT_FDCWD, path, text);
	if (r == 0)
		return 0;
	r = fail(-r, "set oom_score_adj of " TASK_FMT " to %d", TASK_ARG(t), wanted);
	if (r == -EACCES)
		fail_hint("lowering it from %lld needs CAP_SYS_RESOURCE", (long long)now);
	return r;
}

static int restore_loginuid(const struct task *t, uint32_t wanted)
{
	struct thread *th = &t->threads[0];
	char text[16];
	int64_t now;
	int number;

	if (!proc_number(t->host_pid, "loginuid", &now) || (uint32_t)now == wanted)
		return 0;
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/loginuid", t->host_pid);
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(errno, "open %s", path);
	int r = remote_open_channel(th->remote);
	if (r >= 0)
		r = remote_send_fds(th->remote, &fd, 1, &number);
	if (r < 0)
		return r;
	snprintf(text, sizeof text, "%u", wanted);
	struct ask a;
	ask_begin(&a, th, false);
	size_t i = ask(&a, "write the login uid", SYS_write, (uint64_t)number, ask_data(&a, text, strlen(text)), strlen(text));
	ask(&a, "close", SYS_close, (uint64_t)number);
	r = ask_run(&a);
	if (r >= 0 && a.calls[i].ret < 0)
		log_warn(TASK_FMT " keeps the login uid %d of this session, not %d: %s", TASK_ARG(t), (int)now, (int)wanted,
			 strerror((int)-a.calls[i].ret));
	return r;
}

int process_restore_outside(struct task *t)
{
	const TaskCoreEntry *tc = t->threads[0].core->tc;
	int r = tc->has_oom_score_adj ? restore_oom(t, tc->oom_score_adj) : 0;

	return r >= 0 && tc->has_loginuid ? restore_loginuid(t, tc->loginuid) : r;
}
