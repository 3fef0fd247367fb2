/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FREEZE_H
#define FREEZE_H

#include "dump.h"
#include "remote/remote.h"

/* Stops every thread of the tree and puts what was found into d->tree (pids, threads, states, sessions, groups). */
int freeze_tree(struct dump *d);
/* Takes steps with the leaders of the tasks from … end - 1 (at most FREEZE_AT_ONCE) in turn, until none returns 1: the first error. */
#define FREEZE_AT_ONCE 16
int freeze_each(struct dump *d, size_t from, size_t end, int (*step)(struct remote *leader));
/* The tree as it is to be afterwards: released (running, or stopped with leave_stopped), or killed and gone. */
void freeze_release(struct dump *d);
/* When the dump has failed: if a task has ended meanwhile, that is the cause. */
void freeze_explain(struct dump *d);
void freeze_kill(struct dump *d);

#endif
