/* SPDX-License-Identifier: Apache-2.0 */
/* Making a husk a zombie with the status that the image has (a raw wait status: exit code in the second byte, or a signal in the low 7 bits) and
 * its name. It must not write a core file: it is made not dumpable (a limit does not stop a core_pattern that is a pipe).
 *
 * Not restored: the "core was dumped" bit of a status, which only a core dump sets; the log tells. The zombie's parent must have its signal
 * handlers set after this: with SIGCHLD ignored the kernel would reap it. */
#define LOG_PREFIX "zombie"
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "base/log.h"
#include "task/subject.h"

#define CORE_DUMPED 0x80

int zombie_check(const struct task *t)
{
	uint32_t status = t->threads[0].core->tc->exit_code;

	if (status & ~0xffffu || (status & 0x7f) > 64 || ((status & 0x7f) && status & 0xff00))
		return fail_text(EBADMSG, "core-%d.img: wait status %#x of a dead task is none", t->pid, status);
	return 0;
}

int task_restore_zombie(struct restore *r, struct task *t)
{
	(void)r;
	struct thread *th = &t->threads[0];
	const TaskCoreEntry *tc = th->core->tc;
	char name[16] = { 0 };
	struct ask a;

	if (tc->exit_code & CORE_DUMPED)
		log_warn("zombie " TASK_FMT " had dumped core: its status will not tell", TASK_ARG(t));
	ask_begin(&a, th, true);
	memcpy(name, tc->comm, strnlen(tc->comm, 15));
	ask(&a, "set the name", SYS_prctl, PR_SET_NAME, ask_data(&a, name, sizeof name));
	ask(&a, "forbid a core file", SYS_prctl, PR_SET_DUMPABLE, 0);
	int ret = ask_run(&a);
	return ret < 0 ? ret : remote_exit(&th->remote, (int)(tc->exit_code & ~CORE_DUMPED));
}
