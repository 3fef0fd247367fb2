/* SPDX-License-Identifier: Apache-2.0 */
#ifndef REMOTE_ARCH_H
#define REMOTE_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/* What driving a task needs to know of a processor. One folder below arch/ implements it, together with regs.h.
 * Registers are `struct user_regs_struct`, as PTRACE_GETREGSET with NT_PRSTATUS has it. */

/* --- the loop: the one piece of code that is put into a task --- */
struct arch_loop {
	const void *code;
	size_t size;
	size_t syscall;      /* offset of a system call instruction */
	size_t stop;         /* where a batch's end has stopped; going on from here takes up the frame */
};
struct arch_loop arch_loop(void);

struct arch_batch {
	uint64_t code;       /* where the loop lies */
	uint64_t first, end; /* the records */
	uint64_t frame;      /* the signal frame that the loop runs on into if nobody traces it */
	int signal;          /* what it sends itself at the end; 0: nothing that would stop it */
};
/* Registers for a batch, for taking up the frame, for one call at a system call instruction. */
void arch_set_batch(struct user_regs_struct *r, const struct arch_batch *b);
void arch_set_heal(struct user_regs_struct *r, uint64_t code, uint64_t frame);
void arch_set_call(struct user_regs_struct *r, uint64_t instruction, uint64_t sp, uint64_t nr, const uint64_t arg[6]);
/* For waiting about that long without any call, then taking up the frame. */
void arch_set_spin(struct user_regs_struct *r, uint64_t code, uint64_t frame, unsigned ms);
void arch_set_batch_signal(struct user_regs_struct *r, int signal);   /* of a batch that is running */
uint64_t arch_ip(const struct user_regs_struct *r);
uint64_t arch_sp(const struct user_regs_struct *r);
uint64_t arch_batch_frame(const struct user_regs_struct *r);           /* of a thread that stands in the loop */
int arch_peek_ip(pid_t tid, uint64_t *ip);                             /* 0 or -errno */
bool arch_is_compat(const struct user_regs_struct *r);                 /* runs 32-bit code */

/* --- interrupted system calls --- */

/* A call that the stop itself made fail with EINTR, although no signal waits: changed so that the kernel restarts it when the
 * thread goes on. True if it changed something. */
bool arch_restart_found(struct user_regs_struct *r);
/* It goes on by restart_syscall, and nothing in its text says which call that is. */
bool arch_restart_lost(const struct user_regs_struct *r, pid_t tid);
/* Such a thread, stopped in its call, has slept in this function of the kernel: its own number is put in. False: that is none that can be restarted. */
bool arch_restart_name(struct user_regs_struct *r, const char *function);
/* As arch_restart_found(), for a thread whose kernel-side restart state will be gone: restart codes are turned into what user space can go on
 * with. has_pending: an unblocked signal with a handler waits. */
void arch_restart_image(struct user_regs_struct *r, bool has_pending, pid_t tid);

/* --- signal frames --- */

/* Bytes from the frame's address up; the room below it is the stack of a handler that runs before the frame is taken up. */
size_t arch_frame_size(size_t xstate_size);
/* Builds in `to` (arch_frame_size() bytes, cleared) the frame that will lie at `address` (64-byte aligned). */
void arch_frame_build(void *to, uint64_t address, const struct user_regs_struct *r, uint64_t mask, const void *xstate, size_t xstate_size);
/* A word of the frame for a mark; the loop clears it just before it takes the frame up. */
size_t arch_frame_busy(void);
#define ARCH_FRAME_MARK 0x726f70726f74ull
#define ARCH_FRAME_ALIGN 64
#define ARCH_RED_ZONE 128
#define ARCH_XSTATE_MAX 16384
/* The extended state of a stopped thread, as ptrace has it; returns its size or -errno, unexplained. */
ssize_t arch_xstate_get(pid_t tid, void *to, size_t size);

/* --- code that a program already has --- */
enum { ARCH_CODE_NONE = -1 };
struct arch_code {
	ssize_t syscall;     /* a system call instruction, whatever follows */
	ssize_t call_return; /* one that returns by the stack afterwards … */
	unsigned popped;     /* … and pops so many bytes before the return address */
	ssize_t restorer;    /* what a signal handler returns into: rt_sigreturn */
};
#define ARCH_CODE_MAX 16      /* no piece of code is longer */
/* Looks for what is still ARCH_CODE_NONE; offsets are those of text plus `base`. */
void arch_code_find(struct arch_code *c, const uint8_t *text, size_t size, size_t base);
/* Whether the bytes at such an offset still are what was found. `size` bytes of text start at it. */
bool arch_code_is_call_return(const uint8_t *text, size_t size, unsigned *popped);
bool arch_code_is_restorer(const uint8_t *text, size_t size);
bool arch_code_is_syscall(const uint8_t *text, size_t size);
extern const uint8_t arch_syscall_code[];   /* one system call instruction */
extern const size_t arch_syscall_code_size;
#define ARCH_TASK_END 0x7ffffffff000ull     /* where a task's mappings end */

#endif
