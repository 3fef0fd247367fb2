/* SPDX-License-Identifier: Apache-2.0 */
/* Making the other threads of a restored process: the leader clones them by batch, with their ids (clone3 set_tid, Linux 5.5). They are traced
 * from their first moment and stop before they run one instruction of the loop; the engine takes each over.
 *
 * The ids are those of the tree's pid namespace, the innermost; in the outer ones the kernel chooses, and tells the tracer. */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "task/subject.h"

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

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

int task_restore_threads(struct restore *r, struct task *t)
{
	(void)r;
	struct thread *leader = &t->threads[0];
	int ret = 0;

	leader->host_tid = t->host_pid;
	if (t->n_threads == 1)
		return 0;
	ret = clone_all(t);
	for (size_t i = 1; i < t->n_threads && ret >= 0; i++) {
		struct thread *th = &t->threads[i];
		ret = remote_adopt_virtual(th->tid, leader->remote, true, &th->remote);
		if (ret >= 0)
			th->host_tid = remote_tid(th->remote);
	}
	return ret;
}
