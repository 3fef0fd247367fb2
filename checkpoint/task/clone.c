/* SPDX-License-Identifier: Apache-2.0 */
/* Making the other threads of a restored process: the leader clones them by batch, with their ids (clone3 set_tid, Linux 5.5), traced from their
 * first instruction on (CLONE_PTRACE): they stop before they run any. The engine then takes each over.
 *
 * The ids are those of the tree's pid namespace, the innermost; in the outer ones the kernel chooses. So a thread's id on the host is found by
 * its NSpid in /proc/PID/task, unless the task is in the engine's own pid namespace, where both are the same. */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "base/proc.h"
#include "task/subject.h"

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PTRACE)

static int clone_all(struct task *t)
{
	struct ask a;

	ask_begin(&a, &t->threads[0], true);
	for (size_t i = 1; i < t->n_threads; i++) {
		struct clone_args args = { .flags = THREAD_FLAGS, .set_tid_size = 1 };
		ask_need(&a, 1, sizeof args + sizeof(pid_t));
		args.set_tid = ask_data(&a, &t->threads[i].tid, sizeof t->threads[i].tid);
		ask(&a, "clone the threads", SYS_clone3, ask_data(&a, &args, sizeof args), sizeof args);
	}
	int r = ask_run(&a);
	if (r == -EEXIST)
		fail_hint("a thread id is in use by another task: it must end first, or restore in a pid namespace of its own");
	return r;
}

/* The id in the innermost pid namespace. */
static pid_t innermost(pid_t pid, int tid)
{
	char name[64];
	autofree char *text = NULL;
	pid_t v = 0;

	snprintf(name, sizeof name, "task/%d/status", tid);
	if (proc_read(pid, name, &text) < 0)
		return 0;
	const char *at = proc_field(text, "NSpid");
	for (char *end; at; at = end) {
		long n = strtol(at, &end, 10);
		if (end == at)
			break;
		v = (pid_t)n;
		if (*end == '\n')
			break;
	}
	return v;
}

static int find_host_tids(struct task *t)
{
	autofree int *tids = NULL;
	ssize_t n = proc_numbers(t->host_pid, "task", &tids);
	size_t found = 1;

	if (n < 0)
		return fail((int)-n, "list the threads of " TASK_FMT, TASK_ARG(t));
	for (ssize_t k = 0; k < n; k++) {
		pid_t tid = tids[k] == t->host_pid ? 0 : innermost(t->host_pid, tids[k]);
		for (size_t i = 1; i < t->n_threads; i++) {
			if (t->threads[i].tid == tid) {
				t->threads[i].host_tid = tids[k];
				found++;
				break;
			}
		}
	}
	return found == t->n_threads ? 0 : fail_text(ESRCH, "only %zu of %zu threads of " TASK_FMT " are there", found, t->n_threads, TASK_ARG(t));
}

int task_restore_threads(struct restore *r, struct task *t)
{
	(void)r;
	struct thread *leader = &t->threads[0];
	int ret = 0;

	leader->host_tid = t->host_pid;
	if (t->n_threads == 1)
		return 0;
	ret = clone_all(t);
	if (ret >= 0 && t->pid != t->host_pid)
		ret = find_host_tids(t);
	for (size_t i = 1; i < t->n_threads && ret >= 0; i++) {
		struct thread *th = &t->threads[i];
		if (t->pid == t->host_pid)
			th->host_tid = th->tid;
		ret = remote_adopt(th->host_tid, leader->remote, true, &th->remote);
	}
	return ret;
}
