/* SPDX-License-Identifier: Apache-2.0 */
#ifndef REMOTE_REGS_H
#define REMOTE_REGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "core.pb-c.h"
#include "remote/remote.h"

/* Registers of a thread as the image has them (one implementation per architecture below arch/). */

/* Fills core->mtype and the architecture's thread info (clear_tid_addr is the caller's) from the registers the thread had when
 * it was seized. A system call that was interrupted is turned into what a new kernel can go on with (arch/x86_64/regs.c);
 * has_pending: an unblocked signal with a handler waits. */
int regs_save(const struct remote *r, struct arena *arena, CoreEntry *core, bool has_pending);
/* Checks an image's register set: architecture, modes, sizes, no feature that this CPU lacks. */
int regs_check(const CoreEntry *core, pid_t tid);
/* Sets what the thread of a husk will run with once it is let go: no batch may follow. */
int regs_load(struct remote *r, const CoreEntry *core);

/* Last steps of a restored process, when all its threads but the leader have their final registers: unmaps the batch pages with
 * a call of the leader that is stopped at its exit, so that nothing is fetched from a page that is gone. Afterwards regs_load() the
 * leader: no batch is possible any more. */
int remote_drop_area(struct remote *leader);
/* Signal mask of a thread, set directly (ptrace). */
int remote_set_sigmask(struct remote *r, uint64_t mask);
/* All is done with it: it no longer dies with the engine, but goes on then. It stands until it is let go; `signal` as below. */
int remote_outlive(struct remote *r, int signal);
/* Detaches: the thread runs, or stops by `signal` (SIGSTOP for a task that was stopped). Frees *r. */
int remote_let_go(struct remote **r, int signal);

#endif
