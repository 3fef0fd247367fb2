/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_SUBJECT_H
#define TASK_SUBJECT_H

#include "task/ask.h"
#include "task/status.h"
#include "task/task.h"

/* The subjects of a task, between the files of this folder. For a dump: NOUN_ask() adds questions to a thread's batch, NOUN_take()
 * puts the answers into the image; NOUN_dump() is for what is read from outside. For a restore: NOUN_check() judges an image before
 * anything is created, NOUN_restore() adds to a batch that runs with `must`, or works on its own and returns an error. */

/* Where a subject's answers are: its space in the scratch area, its first record. */
struct ask_slot {
	uint64_t at;
	size_t first;
};

/* What a dump remembers from task to task (in the tree's arena; dump.h: task_facts). */
struct task_facts {
	struct seccomp_table *seccomp;
	struct sharing *sharing;
	struct user_map *users;
	struct asked *asked;
	struct cpus *online;         /* place.c */
};
struct task_facts *task_facts(struct dump *d);

/* thread.c: name, alternate stack, clear-tid address, robust list, parent-death signal, rseq */
void thread_ask(struct ask *a, struct ask_slot *s);
int thread_take(struct dump *d, struct ask *a, const struct ask_slot *s, CoreEntry *core);
int thread_check(const struct thread *th);
void thread_restore(struct ask *a);              /* all of it but the parent-death signal */
int thread_restore_rseq_cs(struct thread *th);   /* when no batch follows */

/* sched.c: policy, priority, nice; from outside */
int sched_dump(struct thread *th, ThreadCoreEntry *tce);
int sched_check(const struct thread *th);
int sched_restore(struct thread *th);

/* place.c: CPU affinity and I/O priority; from outside, before sched_restore() */
int place_dump(struct dump *d, struct thread *th, ThreadCoreEntry *e);
void place_restore(struct thread *th);

/* process.c: personality, flags, oom score, login uid, subreaper, membarrier */
void process_ask(struct ask *a, struct ask_slot *s);
int process_take(struct dump *d, struct ask *a, const struct ask_slot *s, struct task *t, TaskCoreEntry *tc);
int process_check(const struct task *t);
void process_restore(struct ask *a);
int process_restore_outside(struct task *t);     /* oom_score_adj, loginuid */

/* signal.c: handlers, queues, masks */
void signal_ask(struct ask *a, struct ask_slot *s);
int signal_take(struct dump *d, struct ask *a, const struct ask_slot *s, TaskCoreEntry *tc);
int signal_queue_dump(struct dump *d, struct thread *th, bool shared, SignalQueueEntry **out, uint64_t *pending);   /* adds to the set */
int signal_check(const struct task *t);
void signal_restore_actions(struct ask *a);
void signal_restore_queues(struct ask *a);       /* the thread's; a leader's: the process's as well */

/* timer.c */
void itimer_ask(struct ask *a, struct ask_slot *s);
int itimer_take(struct dump *d, struct ask *a, const struct ask_slot *s, TaskCoreEntry *tc);
int timer_dump(struct dump *d, struct task *t, TaskTimersEntry *timers);    /* the POSIX timers */
int timer_check(const struct task *t);
int timer_restore(struct task *t);               /* creates the POSIX timers, arms everything */

/* rlimit.c */
void rlimit_ask(struct ask *a, struct ask_slot *s);
int rlimit_take(struct dump *d, struct ask *a, const struct ask_slot *s, TaskCoreEntry *tc);
int rlimit_check(const struct task *t);
int rlimit_restore(struct task *t);

/* creds.c (dump, check), creds_restore.c */
void creds_ask(struct ask *a, struct ask_slot *s);
int creds_take(struct dump *d, struct ask *a, const struct ask_slot *s, const struct task_status *st, ThreadCoreEntry *tce);
int creds_check(const struct thread *th);
const CredsEntry *creds_of(const struct thread *th);   /* a thread without: its leader's */
uint64_t creds_caps(size_t n, const uint32_t *words);
int creds_restore(struct thread *th);            /* and what a change of credentials resets: parent-death signal, dumpable */

/* seccomp.c (dump), seccomp_restore.c */
int seccomp_dump(struct dump *d, struct thread *th, const struct task_status *st);
void seccomp_dump_end(struct dump *d, struct task *t);   /* after all threads */
int seccomp_check_filters(const SeccompEntry *e);
int seccomp_check(struct restore *r, const struct task *t);
int seccomp_restore(struct restore *r, struct task *t);

/* share.c: what two processes may not share */
int share_check(struct dump *d, struct task *t);

/* zombie.c */
int zombie_check(const struct task *t);

/* fs.c: umask, working and root directory */
int fs_dump(struct dump *d, struct task *t, uint32_t umask);
int fs_check(struct restore *r, const struct task *t);
int fs_restore(struct restore *r, struct task *t);

#endif
