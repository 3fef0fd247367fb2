/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FREEZE_H
#define FREEZE_H

#include "dump.h"

/* Stops every thread of the tree and puts what was found into d->tree (pids, threads, states, sessions, groups). */
int freeze_tree(struct dump *d);
/* The tree as it is to be afterwards: released (running, or stopped with leave_stopped), or killed and gone. */
void freeze_release(struct dump *d);
/* When the dump has failed: if a task has ended meanwhile, that is the cause. */
void freeze_explain(struct dump *d);
void freeze_kill(struct dump *d);

#endif
