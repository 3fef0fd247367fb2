/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_ASK_H
#define TASK_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/tree.h"
#include "remote/remote.h"

/* A batch in the making: records, and the part of the thread's scratch area that they read and write, mirrored here. Many
 * subjects add to one ask, so that a thread is resumed once for all of them. */
#define ASK_CALLS 224
#define ASK_DATA (40u << 10)   /* holds the largest seccomp filter */

struct ask {
	struct thread *th;
	size_t n, used;
	bool must;             /* a call that fails ends the batch and is an error, named by `what` */
	int error;             /* the first error of pieces that were run because the ask was full, or that it overflowed */
	const char *what[ASK_CALLS];
	struct call calls[ASK_CALLS];
	_Alignas(16) unsigned char data[ASK_DATA];
};

void ask_begin(struct ask *a, struct thread *th, bool must);
/* Room for at least `calls` more records and `size` bytes; with `must`, what was asked so far is run first if it is needed. */
void ask_need(struct ask *a, size_t calls, size_t size);
/* Space that calls fill: its address in the task. ask_answer() gives what is there after the run. */
uint64_t ask_space(struct ask *a, size_t size);
/* The same with contents. */
uint64_t ask_data(struct ask *a, const void *data, size_t size);
void *ask_answer(struct ask *a, uint64_t address);
/* Adds a record; returns its index. what: "set the umask"; NULL: its failure does not matter. */
size_t ask_call(struct ask *a, const char *what, long nr, const uint64_t arg[6]);
#define ask(a, what, nr, ...) ask_call(a, what, nr, (const uint64_t[6]){ __VA_ARGS__ })
/* Runs what was asked. With `must`: the first failure explained ("WHAT of task 5 (comm): reason"). Without: results are in
 * calls[].ret, the space is filled; only a task that cannot be driven is an error. */
int ask_run(struct ask *a);
/* In two parts: the thread runs meanwhile, and must not be touched. */
void ask_start(struct ask *a);
int ask_finish(struct ask *a);

/* "task 17 (redis-server)" for messages. */
#define TASK_FMT "task %d (%s)"
#define TASK_ARG(t) (t)->pid, task_name(t)
#define THREAD_FMT "thread %d of task %d (%s)"
#define THREAD_ARG(th) (th)->tid, (th)->task->pid, task_name((th)->task)
const char *task_name(const struct task *t);

#endif
