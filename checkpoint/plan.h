/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLAN_H
#define PLAN_H

#include "restore.h"

/* Who makes whom, and when, so that every task is born in the session it needs: fills restore_task of all tasks. Pure: no system
 * calls. -ENOTSUP, explained, for a topology that cannot be built. */
int plan_births(struct restore *r);
/* The session that a task must be born in: PLAN_ANY if it does not matter. */
#define PLAN_ANY ((pid_t)-1)
pid_t plan_need(const struct task *t);
/* A pid that nothing in the tree uses, above `after`. */
pid_t plan_free_pid(const struct tree *t, pid_t after);

#endif
