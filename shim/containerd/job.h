/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_JOB_H
#define TASK_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Work in a process of its own: the runtime's and engine's calls, which may take long, wait, and change the process they run in. */

struct job_result {
	int error;          /* 0 or -errno, the trail is this process's then */
	pid_t pid;          /* a process that was made; it is our child, or becomes it */
	int fd;             /* a descriptor that came along (a terminal); -1. Whoever wants it takes it, else it is closed */
	void *data;         /* bytes that came along, or NULL; freed by the caller of done */
	size_t size;
	bool died;          /* without an answer (killed, out of memory): what it has begun is still there */
	bool more;          /* told with job_tell(): the worker goes on, and done() is called again */
	int tell;           /* the worker's own */
};
/* run() is called in the worker: it fills *r. done() is called in the shim when the worker has answered or is dead. */
int job_start(int (*run)(void *arg, struct job_result *r), void *run_arg, void (*done)(void *arg, struct job_result *r), void *done_arg);
/* In run(): says already what there is to say. */
int job_tell(struct job_result *r);
/* The workers under way; so many that a question had better be asked again later. */
size_t jobs_running(void);
bool jobs_many(void);

#endif
