/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_LOOP_H
#define TASK_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The shim's only thread: descriptors, timers, ends of child processes. There is one loop per process. */

/* A descriptor that is waited for. Its owner keeps the struct; while a callback runs any watch may be removed. */
struct loop_watch {
	int fd;                                         /* -1: not in the loop */
	void (*ready)(void *arg, uint32_t events);      /* EPOLLIN, … */
	void *arg;
	uint32_t events;
};
int loop_add(struct loop_watch *w, uint32_t events);
void loop_want(struct loop_watch *w, uint32_t events);
void loop_remove(struct loop_watch *w);                 /* harmless when it is not there; does not close */

/* Calls back once, after so many milliseconds. A timer that runs is started anew. */
struct loop_timer {
	void (*fire)(void *arg);
	void *arg;
	uint64_t at;                                    /* 0: not running */
	struct loop_timer *next;
};
void loop_after(struct loop_timer *t, unsigned ms);
void loop_cancel(struct loop_timer *t);

/* Called for every child process that ended, orphans that came to us included. status as waitpid() has it. */
void loop_on_child(void (*ended)(pid_t pid, int status));
/* Called for SIGTERM and SIGINT. */
void loop_on_stop(void (*stop)(void));

int loop_begin(void);   /* blocks the signals; before the first fork */
int loop_run(void);     /* until loop_end(); 0 or -errno */
void loop_end(void);
/* In a forked child: gives back what the loop has, and the signals. */
void loop_forked(void);

#endif
