/* SPDX-License-Identifier: Apache-2.0 */
/* The loop, x86-64: the only code that torpor puts into a task.
 *
 * Registers: r12 = next record, r13 = end of the records, rbp = rsp = signal frame, rbx = signal that ends a batch.
 * A record is a struct call whose references are addresses: ref_from that of an earlier record's result, ref_arg that of the
 * argument it replaces. Vector registers are not used: a task's extended state needs no saving around a batch.
 *
 * The end of a batch is tgkill(getpid(), gettid(), rbx): numbers of the task's own pid namespace, which is why the loop asks for
 * them itself. The signal is one that the tracer is told of and that means nothing when nobody traces (prepare.c chooses it): then
 * the loop runs on, marks its frame as left (uc_link, which the kernel does not look at) and returns from it. */
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>

#include "remote/arch/arch.h"
#include "remote/remote.h"

#define PAUSES_PER_MS 20000   /* where one takes longest; others are done in a tenth of the time */

extern const char loop_start[];
extern const uint64_t loop_size, loop_syscall_at, loop_stop_at, loop_hold_at;
__asm__(".pushsection .rodata\n"
	"	.balign 16\n"
	"loop_start:\n"
	"1:	cmp	%r13, %r12\n"
	"	jae	4f\n"
	"	mov	64(%r12), %rax\n"       /* ref_from */
	"	test	%rax, %rax\n"
	"	jz	2f\n"
	"	mov	(%rax), %rax\n"
	"	mov	72(%r12), %rcx\n"       /* ref_arg */
	"	mov	%rax, (%rcx)\n"
	"2:	mov	0(%r12), %rax\n"
	"	mov	8(%r12), %rdi\n"
	"	mov	16(%r12), %rsi\n"
	"	mov	24(%r12), %rdx\n"
	"	mov	32(%r12), %r10\n"
	"	mov	40(%r12), %r8\n"
	"	mov	48(%r12), %r9\n"
	"loop_syscall:\n"
	"	syscall\n"
	"	mov	%rax, 56(%r12)\n"
	"	cmpq	$0, 80(%r12)\n"         /* must */
	"	je	3f\n"
	"	cmp	$-4096, %rax\n"
	"	ja	4f\n"
	"3:	add	$88, %r12\n"
	"	jmp	1b\n"
	"4:	mov	$39, %eax\n"            /* getpid */
	"	syscall\n"
	"	mov	%rax, %r14\n"
	"	mov	$186, %eax\n"           /* gettid */
	"	syscall\n"
	"	mov	%rax, %rsi\n"
	"	mov	%r14, %rdi\n"
	"	mov	%rbx, %rdx\n"
	"	mov	$234, %eax\n"           /* tgkill */
	"	syscall\n"
	"loop_stop:\n"
	"	mov	%rbp, %rsp\n"
	"	movq	$0, 8(%rbp)\n"
	"	mov	$15, %eax\n"            /* rt_sigreturn */
	"	syscall\n"
	"loop_hold:\n"
	"	pause\n"
	"	dec	%r12\n"
	"	jnz	loop_hold\n"
	"	jmp	loop_stop\n"
	"loop_end:\n"
	"	.balign 8\n"
	"loop_size:	.quad loop_end - loop_start\n"
	"loop_syscall_at: .quad loop_syscall - loop_start\n"
	"loop_stop_at:	.quad loop_stop - loop_start\n"
	"loop_hold_at:	.quad loop_hold - loop_start\n"
	".popsection\n");
_Static_assert(sizeof(struct call) == 88 && offsetof(struct call, ret) == 56 && offsetof(struct call, ref_from) == 64 &&
		       offsetof(struct call, ref_arg) == 72 && offsetof(struct call, must) == 80,
	       "the loop knows struct call");

struct arch_loop arch_loop(void)
{
	return (struct arch_loop){
		.code = loop_start,
		.size = loop_size,
		.syscall = loop_syscall_at,
		.stop = loop_stop_at,
	};
}

/* What every way of running the task's code has in common: no restart, no single step. */
static void prepare(struct user_regs_struct *r, uint64_t ip, uint64_t sp)
{
	r->rip = ip;
	r->rsp = sp;
	r->orig_rax = UINT64_MAX;
	r->eflags &= ~0x100ull;
}

void arch_set_batch(struct user_regs_struct *r, const struct arch_batch *b)
{
	prepare(r, b->code, b->frame);
	r->r12 = b->first;
	r->r13 = b->end;
	r->rbp = b->frame;
	r->rbx = (uint64_t)b->signal;
}

void arch_set_batch_signal(struct user_regs_struct *r, int signal)
{
	r->rbx = (uint64_t)signal;
}

void arch_set_heal(struct user_regs_struct *r, uint64_t code, uint64_t frame)
{
	prepare(r, code + loop_stop_at, frame);
	r->rbp = frame;
}

void arch_set_spin(struct user_regs_struct *r, uint64_t code, uint64_t frame, unsigned ms)
{
	prepare(r, code + loop_hold_at, frame);
	r->rbp = frame;
	r->r12 = ms * (uint64_t)PAUSES_PER_MS + 1;
}

void arch_set_call(struct user_regs_struct *r, uint64_t instruction, uint64_t sp, uint64_t nr, const uint64_t arg[6])
{
	prepare(r, instruction, sp);
	r->rax = nr;
	r->rdi = arg[0];
	r->rsi = arg[1];
	r->rdx = arg[2];
	r->r10 = arg[3];
	r->r8 = arg[4];
	r->r9 = arg[5];
}

uint64_t arch_ip(const struct user_regs_struct *r)
{
	return r->rip;
}

uint64_t arch_sp(const struct user_regs_struct *r)
{
	return r->rsp;
}

uint64_t arch_batch_frame(const struct user_regs_struct *r)
{
	return r->rbp;
}

int arch_peek_ip(pid_t tid, uint64_t *ip)
{
	errno = 0;
	*ip = (uint64_t)ptrace(PTRACE_PEEKUSER, tid, offsetof(struct user, regs.rip), NULL);
	return -errno;
}

bool arch_is_compat(const struct user_regs_struct *r)
{
	return r->cs == 0x23;
}
