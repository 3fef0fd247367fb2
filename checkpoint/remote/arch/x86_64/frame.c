/* SPDX-License-Identifier: Apache-2.0 */
/* Signal frames, x86-64: what rt_sigreturn takes a thread's whole state from.
 *
 * At rsp: struct ucontext with the kernel's 8-byte signal mask, then siginfo (which rt_sigreturn does not read); the extended
 * state lies where uc_mcontext.fpstate points, 64-byte aligned, in the standard XSAVE format that ptrace has too. Facts:
 * 1. The extended state is taken only if its stated size is not larger than what the kernel keeps for the thread. That is less
 *    than what ptrace returns on a processor with AMX: tile data counts only for a thread that has used it. The size stated
 *    here therefore ends behind the components up to the last that is on for every thread, tile data only if it is in use.
 * 2. uc_stack is given to sigaltstack, and its errors are ignored except EFAULT. A mode that does not exist (3) leaves the
 *    thread's alternate stack as it is, in use or not.
 * 3. orig_rax becomes -1 and a restart block is forgotten: an interrupted call must have been turned (interrupted.c) before.
 * 4. Segment bases are not in the frame: batches do not change them. */
#include <asm/sigcontext.h>
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "base/cpu.h"
#include "remote/arch/arch.h"

#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4
#define KEEP_ALTERNATE_STACK 3      /* SS_ONSTACK | SS_DISABLE: no such mode */

struct frame {
	uint64_t flags, link;
	struct {
		uint64_t sp;
		int32_t flags, unused;
		uint64_t size;
	} stack;
	struct sigcontext_64 context;
	uint64_t mask;
	uint8_t info[128];
};

#define SOFTWARE_BYTES 464          /* of the legacy area: ptrace puts XCR0 there, a frame struct _fpx_sw_bytes */
#define XSTATE_BV 512
#define LEGACY_SIZE 576             /* with the XSAVE header */
#define TILE_DATA 18
#define FPSTATE ((sizeof(struct frame) + ARCH_FRAME_ALIGN - 1) & ~(size_t)(ARCH_FRAME_ALIGN - 1))

size_t arch_frame_size(size_t xstate_size)
{
	return FPSTATE + xstate_size + FP_XSTATE_MAGIC2_SIZE;
}

size_t arch_frame_busy(void)
{
	return offsetof(struct frame, link);
}

ssize_t arch_xstate_get(pid_t tid, void *to, size_t size)
{
	struct iovec iov = { to, size };

	return ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov) < 0 ? -errno : (ssize_t)iov.iov_len;
}

/* The end of the components that the kernel keeps for this thread (fact 1). */
static uint32_t kept_size(uint64_t xcr0, uint64_t in_use, size_t limit)
{
	struct cpu_xsave c;
	size_t end = LEGACY_SIZE;

	for (unsigned i = 2; i < 63; i++) {
		if (!(xcr0 >> i & 1) || (i == TILE_DATA && !(in_use >> i & 1)))
			continue;
		if (cpu_xsave(i, &c) && !c.supervisor && c.offset + c.size > end && c.offset + c.size <= limit)
			end = c.offset + c.size;
	}
	return (uint32_t)end;
}

static void build_fpstate(uint8_t *to, const uint8_t *xstate, size_t size)
{
	struct _fpx_sw_bytes sw = { .magic1 = FP_XSTATE_MAGIC1 };
	uint64_t xcr0, in_use;
	uint32_t magic2 = FP_XSTATE_MAGIC2;

	memcpy(to, xstate, size);
	if (size < LEGACY_SIZE)         /* no XSAVE: the 512 bytes of FXSAVE alone */
		return;
	memcpy(&xcr0, xstate + SOFTWARE_BYTES, sizeof xcr0);
	memcpy(&in_use, xstate + XSTATE_BV, sizeof in_use);
	sw.xstate_size = kept_size(xcr0, in_use, size);
	sw.extended_size = sw.xstate_size + FP_XSTATE_MAGIC2_SIZE;
	sw.xfeatures = xcr0;
	memcpy(to + SOFTWARE_BYTES, &sw, sizeof sw);
	memcpy(to + sw.xstate_size, &magic2, sizeof magic2);
}

void arch_frame_build(void *to, uint64_t address, const struct user_regs_struct *r, uint64_t mask, const void *xstate, size_t xstate_size)
{
	struct frame f = {
		.flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | (xstate_size < LEGACY_SIZE ? 0 : UC_FP_XSTATE),
		.stack = { .flags = KEEP_ALTERNATE_STACK },
		.mask = mask,
		.context = {
			.r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11, .r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
			.di = r->rdi, .si = r->rsi, .bp = r->rbp, .bx = r->rbx, .dx = r->rdx, .ax = r->rax, .cx = r->rcx,
			.sp = r->rsp, .ip = r->rip, .flags = r->eflags, .cs = (uint16_t)r->cs, .ss = (uint16_t)r->ss,
			.fpstate = address + FPSTATE,
		},
	};

	memcpy(to, &f, sizeof f);
	build_fpstate((uint8_t *)to + FPSTATE, xstate, xstate_size);
}
