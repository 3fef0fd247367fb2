/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAZY_GUARD_H
#define LAZY_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

/* Runs work() in a process that shares this one's descriptors, and again in another one when that is killed (guard.c). work() returns 0,
 * -errno (explained) or GUARD_GONE, when it has seen that the process `guard` is there no more. The result is work()'s: 0 or -errno. */
#define GUARD_GONE 1
int guard_run(int (*work)(void *arg, bool again, pid_t guard), void *arg);

#endif
