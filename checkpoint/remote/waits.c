/* SPDX-License-Identifier: Apache-2.0 */
/* Waits that were interrupted before.
 *
 * A sleep, poll() or FUTEX_WAIT with a timeout that was interrupted (by an earlier dump that left it running, a debugger, SIGSTOP) goes on as
 * restart_syscall; its own number is no longer in the thread's registers. Its arguments are: the kernel keeps nothing else for an image. Where the
 * number is not in the program's text either (syscall(2) has it as an argument), the thread is let go for a moment: it goes on waiting,
 * /proc/TID/wchan names the function of the kernel that it waits in, and it is stopped again. Nothing of that is seen by the program. With the call's
 * own number in orig_rax the kernel goes on as before.
 *
 * If it does not wait meanwhile, or the name is none that is known (a kernel without names says 0), nothing is changed: EINTR in the image. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <time.h>

#include "base/err.h"
#include "base/proc.h"
#define LOG_PREFIX "remote"
#include "base/log.h"
#include "remote/internal.h"

#define LOOKS 100
#define STOP_SECONDS 10

/* Where it waits; empty: nowhere. */
static void wait_of(pid_t tid, char *name, size_t size)
{
	const struct timespec pause = { .tv_nsec = 100000 };

	for (int i = 0; i < LOOKS; i++) {
		autofree char *text = NULL;
		if (proc_read(tid, "wchan", &text) > 0 && strcmp(text, "0") && !strstr(text, "ptrace")) {
			snprintf(name, size, "%s", text);
			return;
		}
		nanosleep(&pause, NULL);
	}
	*name = '\0';
}

int remote_name_wait(struct remote *r, int *signal)
{
	char name[64];

	if (!arch_restart_lost(&r->found, r->tid))
		return 0;
	if (ptrace(PTRACE_CONT, r->tid, NULL, 0L) < 0)
		return remote_trace_failed(r, "let go for a moment");
	r->stands = false;
	wait_of(r->tid, name, sizeof name);
	if (ptrace(PTRACE_INTERRUPT, r->tid, NULL, NULL) < 0)
		return remote_trace_failed(r, "stop again");
	int e = remote_stop(r, signal, STOP_SECONDS);
	if (e == 0)
		e = remote_get_regs(r, &r->found);
	if (e < 0)
		return e;
	r->group_stopped = *signal != SIGTRAP;
	if (!r->group_stopped)
		*signal = 0;
	bool known = arch_restart_name(&r->found, name);
	log_debug("task %d: an interrupted wait, in %s: %s", r->tid, *name ? name : "?", known ? "known" : "not known");
	r->found_changed = known;
	return 0;
}
