/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TEST_LIVE_H
#define TEST_LIVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* Live programs that check themselves while something is done to them.
 *
 * A program is a fork of the test; each of its threads counts its rounds and what it found wrong in shared memory. */
struct remote;
#define THREADS 16
struct shared {
	struct {
		atomic_ulong rounds, wrong;
	} thread[THREADS];
	atomic_ulong signals, queued, interrupted;
};
extern struct shared *live_shared;     /* of the program that was started last */

struct program {
	unsigned threads;
	void (*run)(void);      /* never returns */
};
struct live {
	pid_t pid;              /* the program */
	pid_t outer;            /* what is waited for: the same, or the parent in between of a pid namespace */
	const struct program *program;
};

/* One thread that computes; eight that hand a turn around; each way to sleep; signals that are handled; every signal caught, on a small
 * stack in the heap; filters that refuse, and kill; another user. */
extern const struct program compute_program, threads_program, asleep_program, handler_program, small_stack_program, refusing_program,
	killing_program, other_user_program;

/* Starts a program, in a pid namespace of its own if wanted; all its threads are at work. */
struct live live_start(const struct program *p);
struct live live_start_in(const struct program *p, bool pid_namespace);
/* It goes on, found nothing wrong, and is killed. */
void live_end(struct live *l);
/* Whether each thread makes progress (within a minute). */
bool live_goes_on(const struct live *l);
/* How many things its threads have found wrong; they are printed. */
unsigned long live_found_wrong(const struct live *l);
/* Seizes all threads, does so many rounds of work in each, and lets all go. Returns 0 or -errno. */
int live_visit(pid_t pid, unsigned rounds);
extern unsigned live_hold_ms;   /* its threads are held (remote_hold()) meanwhile; 0: not */
/* So many rounds of harmless calls in a prepared thread. Returns 0 or -errno. */
int live_work(struct remote *r, unsigned rounds);
/* In a program: thread i has done a round; is: found something wrong. */
void live_wrong(unsigned i, bool is);
/* Skips the test where a sanitizer's own system calls do not pass the program's filter. */
void live_no_sanitizer(void);

#endif
