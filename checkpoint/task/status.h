/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_STATUS_H
#define TASK_STATUS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

/* What /proc/PID/task/TID/status says, read once for all subjects. */
struct task_status {
	uint32_t uid[4], gid[4];         /* real, effective, saved, file system; in the reader's user namespace */
	ARRAY(uint32_t) groups;
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	uint64_t pending, shared_pending, blocked, ignored, caught;
	uint32_t umask, no_new_privs, seccomp_mode, seccomp_filters;
};

int task_status_read(pid_t pid, pid_t tid, struct task_status *s);      /* host numbers; a bare -errno */
int task_status_parse(const char *text, struct task_status *s);         /* -EBADMSG: a line is missing */
void task_status_done(struct task_status *s);
#define auto_task_status __attribute__((cleanup(task_status_done)))

#endif
