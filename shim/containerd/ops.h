/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_OPS_H
#define TASK_OPS_H

#include "containerd/task.h"

/* What is done by workers. Each answers the call when it is done, and ends what task_begin() began (all but kill and stats, which need not
 * wait for others). */
void op_create(struct task *t, const Task__CreateTaskRequest *q, struct rpc_call *call);
void op_start(struct process *p, struct rpc_call *call);
void op_delete(struct task *t);                  /* of t->init.deleting */
void op_kill_all(struct task *t, int signal, struct rpc_call *call);
void op_freeze(struct task *t, bool pause, struct rpc_call *call);
void op_checkpoint(struct task *t, const Task__CheckpointTaskRequest *q, struct rpc_call *call);
/* Ends a lazy checkpoint that is served; the answer comes from there. false: there is none. */
bool op_give_up(struct task *t, struct rpc_call *call);
void op_update(struct task *t, const Wk__Any *resources, struct rpc_call *call);
void op_stats(struct task *t, struct rpc_call *call);

#endif
