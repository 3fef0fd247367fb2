/* SPDX-License-Identifier: Apache-2.0 */
/* The general registers and thread segments of an image, x86-64 (xstate.c: the rest).
 *
 * Saved are the registers that the thread had when it was seized, its interrupted call settled (interrupted.c) and orig_rax -1, since
 * no call is in progress then. Thread segments (GDT entries 12…14, set_thread_area) belong to 32-bit code, but a 64-bit thread may
 * have them: always three entries in the image, an empty one marked as the kernel describes it.
 *
 * The kernel checks what it is given to set (selectors, bases, flags, MXCSR): an image can not make it run anything in kernel mode. What is
 * checked here is checked to say why, before anything was created.
 *
 * Not handled: 32-bit code (COMPAT), shadow stacks. */
#include <asm/ldt.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ptrace.h>

#include "base/err.h"
#include "remote/arch/x86_64/xstate.h"
#include "remote/internal.h"
#include "remote/regs.h"

#define TLS_FIRST 12
#define TLS_ENTRIES 3
#define USER_CS 0x33
#define USER_SS 0x2b

static UserX86RegsEntry *save_general(struct arena *arena, const struct user_regs_struct *u)
{
	UserX86RegsEntry *g = arena_new(arena, UserX86RegsEntry);

	user_x86_regs_entry__init(g);
	g->r15 = u->r15, g->r14 = u->r14, g->r13 = u->r13, g->r12 = u->r12;
	g->r11 = u->r11, g->r10 = u->r10, g->r9 = u->r9, g->r8 = u->r8;
	g->bp = u->rbp, g->bx = u->rbx, g->ax = u->rax, g->cx = u->rcx, g->dx = u->rdx, g->si = u->rsi, g->di = u->rdi;
	g->orig_ax = u->orig_rax, g->ip = u->rip, g->flags = u->eflags, g->sp = u->rsp;
	g->cs = u->cs, g->ss = u->ss, g->ds = u->ds, g->es = u->es, g->fs = u->fs, g->gs = u->gs;
	g->fs_base = u->fs_base, g->gs_base = u->gs_base;
	g->has_mode = 1;
	g->mode = USER_X86_REGS_MODE__NATIVE;
	return g;
}

static struct user_regs_struct load_general(const UserX86RegsEntry *g)
{
	return (struct user_regs_struct){
		.r15 = g->r15, .r14 = g->r14, .r13 = g->r13, .r12 = g->r12, .r11 = g->r11, .r10 = g->r10, .r9 = g->r9, .r8 = g->r8,
		.rbp = g->bp, .rbx = g->bx, .rax = g->ax, .rcx = g->cx, .rdx = g->dx, .rsi = g->si, .rdi = g->di,
		.orig_rax = UINT64_MAX, .rip = g->ip, .eflags = g->flags, .rsp = g->sp, .cs = g->cs, .ss = g->ss,
		.ds = g->ds, .es = g->es, .fs = g->fs, .gs = g->gs, .fs_base = g->fs_base, .gs_base = g->gs_base,
	};
}

static UserDescT *save_segment(struct arena *arena, pid_t tid, unsigned number)
{
	UserDescT *e = arena_new(arena, UserDescT);
	struct user_desc d;

	user_desc_t__init(e);
	e->entry_number = number;
	e->read_exec_only = e->seg_not_present = 1;
	if (ptrace(PTRACE_GET_THREAD_AREA, tid, (uintptr_t)number, &d) < 0)     /* a kernel without 32-bit programs */
		return e;
	e->base_addr = d.base_addr;
	e->limit = d.limit;
	e->seg_32bit = d.seg_32bit;
	e->contents_h = d.contents >> 1 & 1;
	e->contents_l = d.contents & 1;
	e->read_exec_only = d.read_exec_only;
	e->limit_in_pages = d.limit_in_pages;
	e->seg_not_present = d.seg_not_present;
	e->usable = d.useable;
	return e;
}

static bool segment_empty(const UserDescT *e)
{
	return !e->base_addr && !e->limit && e->read_exec_only && e->seg_not_present && !e->seg_32bit && !e->contents_h && !e->contents_l &&
	       !e->limit_in_pages && !e->usable;
}

static int load_segment(pid_t tid, const UserDescT *e)
{
	struct user_desc d = {
		.entry_number = e->entry_number, .base_addr = e->base_addr, .limit = e->limit, .seg_32bit = !!e->seg_32bit,
		.contents = (e->contents_h ? 2u : 0) | (e->contents_l ? 1u : 0), .read_exec_only = !!e->read_exec_only,
		.limit_in_pages = !!e->limit_in_pages, .seg_not_present = !!e->seg_not_present, .useable = !!e->usable,
	};

	if (segment_empty(e))
		return 0;
	if (ptrace(PTRACE_SET_THREAD_AREA, tid, (uintptr_t)e->entry_number, &d) < 0)
		return fail(errno, "set thread segment %u of task %d", e->entry_number, tid);
	return 0;
}

int regs_save(const struct remote *r, struct arena *arena, CoreEntry *core, bool has_pending)
{
	struct user_regs_struct regs = r->found;

	if (arch_is_compat(&regs))
		return fail_text(ENOTSUP, "task %d runs 32-bit code: not supported yet", r->tid);
	arch_restart_image(&regs, has_pending, r->tid);
	ThreadInfoX86 *info = arena_new(arena, ThreadInfoX86);
	thread_info_x86__init(info);
	info->gpregs = save_general(arena, &regs);
	info->n_tls = TLS_ENTRIES;
	info->tls = arena_array(arena, UserDescT *, TLS_ENTRIES);
	for (unsigned i = 0; i < TLS_ENTRIES; i++)
		info->tls[i] = save_segment(arena, r->tid, TLS_FIRST + i);
	core->mtype = CORE_ENTRY__MARCH__X86_64;
	core->thread_info = info;
	return xstate_save(r, arena, &info->fpregs);
}

int regs_check(const CoreEntry *core, pid_t tid)
{
	const ThreadInfoX86 *info = core->thread_info;

	if (core->mtype != CORE_ENTRY__MARCH__X86_64 || !info)
		return fail_text(EINVAL, "registers of thread %d: not of an x86-64 processor (architecture %d)", tid, (int)core->mtype);
	const UserX86RegsEntry *g = info->gpregs;
	if (!g || !info->fpregs)
		return fail_text(EINVAL, "registers of thread %d: the image has none", tid);
	if (g->has_mode && g->mode != USER_X86_REGS_MODE__NATIVE)
		return fail_text(ENOTSUP, "registers of thread %d: it runs 32-bit code: not supported yet", tid);
	if (g->cs != USER_CS || g->ss != USER_SS)
		return fail_text(EINVAL, "registers of thread %d: segments cs %#" PRIx64 ", ss %#" PRIx64 " are not those of 64-bit code", tid,
				 g->cs, g->ss);
	if (g->ip >= ARCH_TASK_END || g->fs_base >= ARCH_TASK_END || g->gs_base >= ARCH_TASK_END)
		return fail_text(EINVAL, "registers of thread %d: ip %#" PRIx64 ", fs %#" PRIx64 " or gs %#" PRIx64 " lies beyond a task's memory",
				 tid, g->ip, g->fs_base, g->gs_base);
	for (size_t i = 0; i < info->n_tls; i++)
		if (!segment_empty(info->tls[i]) && info->tls[i]->entry_number - TLS_FIRST >= TLS_ENTRIES)
			return fail_text(EINVAL, "registers of thread %d: thread segment %u does not exist", tid, info->tls[i]->entry_number);
	return xstate_check(info->fpregs, tid);
}

int regs_load(struct remote *r, const CoreEntry *core)
{
	const ThreadInfoX86 *info = core->thread_info;
	struct user_regs_struct regs = load_general(info->gpregs);
	int e = xstate_load(r, info->fpregs);

	for (size_t i = 0; e == 0 && i < info->n_tls; i++)
		e = load_segment(r->tid, info->tls[i]);
	return e < 0 ? e : remote_set_regs(r, &regs);
}
