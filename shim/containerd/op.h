/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_OP_H
#define TASK_OP_H

#include "containerd/ops.h"

/* An operation under way: what ops.c, control.c and migrate.c share. The task stays until it is done: it is busy. */
struct op {
	struct task *task;
	struct process *process;
	struct rpc_call *call;
	union {
		const Task__CreateTaskRequest *create;      /* in the worker only */
		const Task__CheckpointTaskRequest *checkpoint;
		const Wk__Any *resources;
	} q;
	int signal;
	bool pause;
	char *path;                  /* of a checkpoint; of a creation: why its worker died */
	int stop;                    /* of a lazy one, in the worker: readable when it is to be given up */
	uint64_t since;              /* task_ends_so_far() */
};

struct op *op_new(struct task *t, struct rpc_call *call);
/* done() is called in any case. */
void op_run(struct op *op, int (*run)(void *arg, struct job_result *r), void (*done)(void *arg, struct job_result *r));
/* Answers the call if it failed. */
bool op_failed(struct op *op, const struct job_result *r);
/* In the worker. */
int op_with_container(const char *id, int (*fn)(struct container *c, void *arg), void *arg);
struct oci_create_options op_create_options(const struct task *t, int *console);
void op_made_init(struct job_result *r, struct container *c);

/* migrate.c: in the worker, Start of a task that was created with a checkpoint. */
int migrate_restore(void *arg, struct job_result *r);

#endif
