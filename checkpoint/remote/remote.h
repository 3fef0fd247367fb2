/* SPDX-License-Identifier: Apache-2.0 */
#ifndef REMOTE_H
#define REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Driving the system calls of another task from outside. A struct remote is one stopped, traced thread. Threads of one address
 * space share a struct remote_mm: the r-x page with the loop and the rw- pages with records, signal frames and scratch areas.
 *
 * Two ways in. A live task of a dump is seized: nothing that the engine does to it may harm it if the engine is killed at any
 * moment (seize.c tells how). A husk of a restore is adopted: it dies with the engine (PTRACE_O_EXITKILL). */

struct call {
	uint64_t nr, arg[6];
	int64_t ret;         /* the result; REMOTE_NOT_RUN where the batch stopped before */
	uint64_t ref_from;   /* 0, or 1 + index of an earlier record whose result replaces arg[ref_arg] */
	uint64_t ref_arg;
	uint64_t must;       /* nonzero: a result in -4095…-1 ends the batch */
};
#define REMOTE_NOT_RUN INT64_MIN
#define REMOTE_SCRATCH_SIZE (64u << 10)   /* bytes of scratch each thread has */
#define REMOTE_CALLS_MAX 512              /* records in one batch */

/* All calls on the threads of one tree come from one thread of the engine (ptrace), and nobody else in its process waits for any
 * child (waitpid(-1)): stops would be stolen. A batch may change anything of the task except its signal mask; calls that sleep and can
 * be restarted (nanosleep, poll and futex with a timeout) do not belong into batches of live tasks: they overwrite what the kernel
 * remembers of the task's own. */
struct remote;
struct remote_mm;

/* --- seizing live tasks (dump) --- */

/* PTRACE_SEIZE + PTRACE_INTERRUPT without waiting, so that many threads are stopped at once; then remote_wait_stop() for each.
 * A task that somebody else traces gives -EBUSY with an explanation that names the tracer. -ESRCH, bare, when it has gone. */
int remote_seize(pid_t tid, struct remote **out);
/* Waits until it stands, for that many seconds (0: 10). *signal: 0, or the signal of the group stop (SIGSTOP…) in which it was
 * found. -ESRCH, bare, when it has ended before; -ETIMEDOUT, explained, when the time is up. */
int remote_wait_stop(struct remote *r, int *signal, unsigned seconds);
/* Before it is seized: looks for what remote_prepare() needs of a task's text, so that the task need not stand still for that. Must
 * come from the thread that seizes; a miss costs time only. */
void remote_look_ahead(pid_t pid);
/* Gives the thread what a batch needs, heal-safe from the first register write on. mm NULL: maps the batch pages into the
 * address space (leader); for further threads of the process pass remote_get_mm(leader). Threads that need no batch need not be
 * prepared. */
int remote_prepare(struct remote *r, struct remote_mm *mm);
/* The same without waiting for the task: 1, there is more to do (the next step waits for this one), so that many tasks are prepared at
 * once: a step of each, until all have returned 0. */
int remote_prepare_step(struct remote *r, struct remote_mm *mm);
/* For the thread that mapped the batch pages, after all other threads were released or put back: unmaps them. */
int remote_unprepare(struct remote *r);
int remote_unprepare_step(struct remote *r);   /* as remote_prepare_step() */
/* Registers and signal mask back exactly as they were, but the thread stands: nothing is left for remote_release() but to let it go. */
void remote_put_back(struct remote *r);
/* Registers and signal mask back exactly as they were, detached: the thread goes on (or stays in its group stop; stop_signal:
 * it is put into one). Frees *r; NULL is harmless. */
void remote_release(struct remote **r, int stop_signal);
/* The process is killed (SIGKILL) and this thread's tracing ends; frees *r. Any thread of it will do. */
void remote_kill(struct remote **r);

/* --- husks (restore) --- */

/* A process of our own making (fork of the engine, or a parked init of the runtime) is seized with EXITKILL, the batch pages
 * are mapped at `base` (REMOTE_AREA_SIZE bytes, free in it), rseq, robust list and clear-tid address of its C library are
 * unregistered. */
int remote_take_husk(pid_t pid, uint64_t base, struct remote **out);
/* Unmaps everything but the batch pages (and vsyscall, which cannot go). */
int remote_empty(struct remote *r);
/* A stopped child or thread, host tid `tid`, that a husk has just made by a batch (fork, clone, clone3; CLONE_PTRACE is not
 * needed): waits for its first stop and takes it over. thread: it shares parent's address space (gets scratch of its own; more of the
 * area is mapped as needed); else it has a copy, batch pages included. */
int remote_adopt(pid_t tid, const struct remote *parent, bool thread, struct remote **out);
/* The same by the number that the call returned in the husk (its own pid namespace): the kernel told us its host tid. */
int remote_adopt_virtual(pid_t number, const struct remote *parent, bool thread, struct remote **out);
/* That host tid; -ESRCH, bare, if this husk made no such child. */
pid_t remote_born(const struct remote *parent, pid_t number);
/* Ends a husk by itself, so that it becomes a zombie of its parent with this wait status (exit code or signal); frees *r. */
int remote_exit(struct remote **r, int wait_status);
#define REMOTE_AREA_SIZE (1u << 30)       /* address space set aside for the batch pages of a husk: 8,000 threads; mapped as needed */

/* --- batches --- */

/* Runs n records; results are filled in. Returns 0 if the batch ran (look at the results), or -errno if the task could not be
 * driven (died: -ESRCH, explained). A record with `must` that failed ends the batch, which returns 0 all the same. */
int remote_batch(struct remote *r, struct call *calls, size_t n);
/* In two parts: the task runs meanwhile, and nothing but remote_read() is to be done with it. `calls` must stay. */
int remote_batch_start(struct remote *r, struct call *calls, size_t n);
int remote_batch_finish(struct remote *r);
/* Runs the batch and turns the first failed `must` record into an error: `what` names it ("map memory"). Longer lists than
 * REMOTE_CALLS_MAX are run in pieces (references must not cross them). */
int remote_batch_checked(struct remote *r, struct call *calls, size_t n, const char *what);
/* A prepared thread of a live task: should the engine be killed from now on while the thread stands, it sleeps for that long before it goes
 * on; whoever is to put something else in order first has that time. (Below a seccomp filter it does not sleep, it spins, for some milliseconds.)
 * Not in the middle of a batch. Ends with remote_release(). */
int remote_hold(struct remote *r, unsigned ms);
/* One call; the kernel's result, or -ESRCH if the task could not be driven. */
int64_t remote_call(struct remote *r, long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);

/* This thread's scratch area: its address in the task, and writing/reading at an offset of it. */
uint64_t remote_scratch(const struct remote *r);
int remote_scratch_write(struct remote *r, size_t offset, const void *data, size_t size);
int remote_scratch_read(struct remote *r, size_t offset, void *data, size_t size);
/* Any memory of the task, through page protections (/proc/PID/mem). */
int remote_read(struct remote *r, uint64_t address, void *data, size_t size);
int remote_write(struct remote *r, uint64_t address, const void *data, size_t size);
int remote_mem_fd(const struct remote *r);   /* /proc/PID/mem, owned by r */

/* Descriptors into and out of the task. remote_open_channel() makes a stream socketpair in the task and takes one end. */
int remote_open_channel(struct remote *r);                     /* once per descriptor table; later calls return at once */
/* For a task of our own making, once: all descriptors that it has are closed first. It keeps our end as well, until remote_keep_channel(). */
int remote_open_only_channel(struct remote *r);
int remote_channel(const struct remote *r);                    /* our end, -1 if none */
int remote_send_fds(struct remote *r, const int *fds, size_t n, int *numbers);   /* numbers[] = what they are in the task */
/* Receives n descriptors that somebody else (the builder) has sent, in messages of at most FD_PASS_MAX, to our end's peer. */
int remote_recv_fds(struct remote *r, size_t n, int *numbers);
int remote_close_channel(struct remote *r);                    /* both ends; harmless if there is none */
/* Our end; the task's number of its own, which the caller has to close by a batch, or -1. */
int remote_forget_channel(struct remote *r);
int remote_keep_channel(struct remote *r, int number);         /* the task has nothing but its end then, with that number, not 0 */
int remote_get_fd(struct remote *r, int fd);                   /* pidfd_getfd: our duplicate (CLOEXEC), or a bare -errno */
int remote_pidfd(struct remote *r);                            /* of the process, owned by r, or a bare -errno */

/* The signal mask that a seized thread had when it was stopped, before the engine changed it. */
uint64_t remote_sigmask(const struct remote *r);
pid_t remote_tid(const struct remote *r);
struct remote_mm *remote_get_mm(const struct remote *r);
uint64_t remote_area(const struct remote *r);        /* start of the batch pages … */
uint64_t remote_area_size(const struct remote *r);   /* … and what is mapped: to be left out of a dump */

#endif
