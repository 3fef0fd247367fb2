/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_TURNS_H
#define BASE_TURNS_H

#include <sched.h>
#include <stdbool.h>
#include <sys/types.h>

/* Threads that take turns run on one processor for a time (turns.c). Harmless where nothing was begun. */
struct turns {
	bool on;
	int cpu;
	pid_t other;                 /* whose threads get `theirs` back */
	cpu_set_t own, theirs;       /* what the caller's thread and the other get back */
};

/* The caller's thread and another one: all that are made by them from here on are on that processor as well. Where that is not possible
 * nothing is begun. */
void turns_begin(struct turns *a, pid_t other);
/* One more thread. */
void turns_join(const struct turns *a, pid_t tid);
/* A thread that descends from `other` may run where that might. 0 or a bare -errno. */
int turns_release(const struct turns *a, pid_t tid);
/* The caller's thread may run where it might, for a time or for good. */
void turns_pause(const struct turns *a);
void turns_resume(const struct turns *a);
void turns_end(struct turns *a);

#endif
