/* SPDX-License-Identifier: Apache-2.0 */
#ifndef REMOTE_ARCH_XSTATE_H
#define REMOTE_ARCH_XSTATE_H

#include "remote/regs.h"

/* The extended state of a thread and its message (xstate.c); called by regs.c. */
int xstate_save(const struct remote *r, struct arena *arena, UserX86FpregsEntry **out);
int xstate_check(const UserX86FpregsEntry *f, pid_t tid);
int xstate_load(struct remote *r, const UserX86FpregsEntry *f);

#endif
