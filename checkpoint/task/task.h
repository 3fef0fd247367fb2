/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_H
#define TASK_H

#include "dump.h"
#include "remote/remote.h"
#include "restore.h"

/* What a task is besides its memory and files: one file per subject (core, creds, signal, timer, rlimit, seccomp, thread). */

/* --- dump: from /proc and ptrace, and one batch per thread --- */
int task_ask(struct dump *d, struct task *t);             /* starts the leader's batch: until task_dump() nothing else may run in it */
int task_dump(struct dump *d, struct task *t);            /* every thread's core; umask, cwd, root (fs) */
int task_dump_zombie(struct dump *d, struct task *t);
int task_write(struct dump *d, struct task *t);           /* core-, ids-, mm-, fs- images */
int seccomp_write(struct dump *d);                        /* seccomp.img */

/* --- restore: the order is the engine's (restore.c), each is called for every task of a stage --- */
int task_check(struct restore *r, struct task *t);        /* image values, before anything is created */
int task_restore_threads(struct restore *r, struct task *t);      /* clones the other threads; all stand in the loop */
int task_restore_state(struct restore *r, struct task *t);        /* handlers, prctl, umask, cwd, root, seccomp; privileged things */
int task_restore_creds(struct restore *r, struct task *t);        /* limits, credentials per thread; then only its own privileges */
int task_restore_zombie(struct restore *r, struct task *t);       /* its husk dies with the recorded status, unreaped; frees its remote */
int task_restore_last(struct restore *r, struct task *t);         /* signal queues, timers armed, batch pages away, masks, registers */

#endif
