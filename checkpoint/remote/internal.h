/* SPDX-License-Identifier: Apache-2.0 */
#ifndef REMOTE_INTERNAL_H
#define REMOTE_INTERNAL_H

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "base/str.h"
#include "remote/arch/arch.h"
#include "remote/remote.h"

/* What the files of this folder share. */

#define PAGE 4096u

/* The area: the page with the loop, then one slot for each thread. A live task's area ends with one more r-x page, so that the
 * rw- pages never merge with a mapping of the task's own. */
#define SLOT_SCRATCH 0u
#define SLOT_PRIVATE REMOTE_SCRATCH_SIZE                      /* this folder's own scratch */
#define PRIVATE_SIZE 4096u
#define HOLD_SIZE 128u                                        /* the last of it: a batch for remote_hold() */
#define SLOT_HOLD (SLOT_PRIVATE + PRIVATE_SIZE - HOLD_SIZE)
#define SLOT_RECORDS (SLOT_PRIVATE + PRIVATE_SIZE)
#define RECORDS_SIZE (REMOTE_CALLS_MAX * sizeof(struct call))
#define SLOT_FRAME (SLOT_RECORDS + RECORDS_SIZE)
#define SLOT_SIZE (128u << 10)
_Static_assert(RECORDS_SIZE % PAGE == 0 && SLOT_FRAME < SLOT_SIZE, "a slot's parts are whole pages");
#define AREA_SIZE_AT 2048u    /* in the loop's page: the size of the area, for who finds what a killed engine left */

/* /proc/TID/status */
struct status {
	pid_t tgid, tracer;
	char state;
	unsigned threads, seccomp;
	uint64_t pending, blocked, ignored, caught;
	bool shadow_stack;
	bool first;            /* of its pid namespace */
	char comm[64];
};
int status_read(pid_t tid, struct status *s);   /* 0 or a bare -errno */
static inline uint64_t signal_bit(int signal)
{
	return 1ull << (signal - 1);
}

/* A child that a husk has made: the engine's number of it, and that of the call's result. */
struct birth {
	pid_t host, number;
};

struct remote_mm {
	unsigned users;
	int mem;                   /* /proc/PID/mem */
	uint64_t area, area_size;  /* what is mapped; 0: nothing */
	uint64_t limit;            /* a husk's area may grow up to this size; 0: it is as it is */
	size_t slots, used;        /* slots that are mapped, and handed out */
	struct status status;      /* of the thread that mapped it, in a live task */
};

struct remote {
	pid_t tid, tgid;
	struct remote_mm *mm;
	bool owner;                /* this thread mapped the area of a live task */
	bool husk, dead, group_stopped;
	bool stands;               /* its first stop was waited for */
	bool is_thread;            /* of a husk: not the leader */
	bool can_suspend_seccomp;
	int own_mem, pidfd, channel, peer;
	struct user_regs_struct found;   /* registers to be put back */
	bool found_changed;        /* they differ from what the thread has although no batch ran */
	bool touched, masked;      /* registers, signal mask were changed */
	bool is_back;              /* all is as it was found: nothing is left but to let it go */
	uint64_t mask;             /* to be put back */
	int signal;                /* ends a batch; 0: every call is stopped at instead (run.c) */
	int held_stop;             /* SIGSTOP came meanwhile */
	bool holds;                /* remote_hold(): its registers lead there whenever it stands */
	uint64_t slot;
	void *xstate;
	size_t xstate_size;
	struct {                   /* the owner's frame outside of the area (prepare.c) */
		uint64_t frame, low, instruction, restorer;
		unsigned popped;
		bool untouched;    /* it lies in pages that the program has not used */
		size_t size;
		void *before;      /* what was there */
	} first;
	struct preparing *preparing;     /* a live task's leader that is on its way to its batch pages, or rid of them: it may run */
	struct {
		struct call *calls;      /* of a batch that was started */
		size_t n, births;
	} running;
	ARRAY(struct birth) births;
};

/* seize.c */
int remote_attach(pid_t tid, unsigned long options, struct remote **out);
struct remote *remote_new(pid_t tid);
void remote_free(struct remote **r);
int remote_need_mem(struct remote *r);
int remote_stop(struct remote *r, int *signal, unsigned seconds);   /* waits for the stop that was asked for */

/* waits.c */
int remote_name_wait(struct remote *r, int *signal);   /* of a thread that stands; signal as of remote_wait_stop() */
int remote_read_xstate(struct remote *r);

/* run.c */
int remote_wait(struct remote *r, int *status, int timeout_ms);   /* < 0: as long as it takes. -ETIMEDOUT bare */
int remote_get_regs(struct remote *r, struct user_regs_struct *regs);
int remote_set_regs(struct remote *r, const struct user_regs_struct *regs);
int remote_block_signals(struct remote *r);
int remote_start_batch(struct remote *r, struct user_regs_struct *regs);
int remote_finish_batch(struct remote *r);
/* One call at an instruction of the task, stopped at its exit; `regs` as arch_set_call() has made them. */
int remote_run_call(struct remote *r, const struct user_regs_struct *regs, int64_t *result);
/* The same without waiting for it: started, then steps until one returns 0 (1: it has stopped on its way and runs again). */
int remote_start_call(struct remote *r, const struct user_regs_struct *regs);
int remote_step_call(struct remote *r, int64_t *result);
int remote_died(struct remote *r, int status);
void remote_reap_others(pid_t tgid, pid_t tid);
int remote_explain(struct remote *r, int e, size_t mark);
int remote_trace_failed(struct remote *r, const char *what);   /* explains errno */

/* prepare.c */
void preparing_free(struct remote *r);
void remote_settle(struct remote *r);   /* waits for what the thread was started to do: it stands afterwards */

/* text.c */
struct map_line {
	uint64_t start, end, offset, inode;
	unsigned major, minor;
	char perms[5];
	const char *name;          /* up to its newline or NUL */
	size_t name_length;
};
bool map_next(const char **text, struct map_line *m);
bool map_is(const struct map_line *m, const char *name);
struct text_code {
	uint64_t syscall, call_return, restorer;   /* addresses; 0: there is none */
	unsigned popped;
};
int remote_find_code(struct remote *r, const char *maps, struct text_code *c);
/* The address of a system call instruction; *poked: it was written over `saved` and is to be put back by remote_unpoke(). */
int remote_find_syscall(struct remote *r, uint64_t *address, bool *poked, uint8_t saved[ARCH_CODE_MAX]);
int remote_unpoke(struct remote *r, uint64_t address, const uint8_t *saved);

/* area.c */
struct remote_mm *mm_new(int mem);
void mm_release(struct remote_mm **mm);
int area_take_slot(struct remote *r, struct remote_mm *mm);
int area_map_at(struct remote *r, uint64_t instruction, uint64_t base, size_t slots);
/* A live task's area, in three parts around two calls; the registers for the next one are put into *call. */
void area_to_map(struct remote *r, struct user_regs_struct *call, const char *maps, size_t slots, bool anywhere);
int area_to_protect(struct remote *r, struct user_regs_struct *call, int64_t mapped);
int area_mapped(struct remote *r, int64_t protect);
bool area_leftover(struct remote *r, const struct map_line *m, uint64_t *area, uint64_t *size);
int area_write_frame(struct remote *r, bool has_pending);

#endif
