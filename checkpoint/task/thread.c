/* SPDX-License-Identifier: Apache-2.0 */
/* What every thread has for itself and sets for itself: its name, the alternate signal stack, the address that is cleared when it ends
 * (set_tid_address), the robust futex list, the parent-death signal, the timer slack (in a field of torpor's own, as the format has none;
 * which slack its children will have cannot be asked) and the rseq area.
 *
 * Kernel facts:
 * - prctl(PR_GET_TID_ADDRESS) needs CONFIG_CHECKPOINT_RESTORE; PTRACE_GET_RSEQ_CONFIGURATION is of Linux 5.13.
 * - sigaltstack() refuses a change while the stack pointer is on the alternate stack: in a batch it never is, and the flags it
 *   tells lack SS_ONSTACK for the same reason.
 * - The parent-death signal is reset by every change of credentials: it is set after them (creds_restore.c).
 * - From the registration on the kernel writes the CPU's number into the rseq area whenever the thread goes back to user mode, and
 *   looks at rseq_cs: a pointer there, with the thread outside of that section (it is in the batch's loop), is cleared; newer
 *   kernels clear it at registration as well. A pointer that an image has is therefore written when no batch follows. torpor's own images have
 *   threads outside of critical sections (the seizing takes them to the abort handler); CRIU's may have them inside.
 */
#include "task/subject.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/err.h"

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif
#ifndef PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
#endif
#define RSEQ_SIZE_MIN 32u
#define RSEQ_SIZE_MAX 4096u
#define RSEQ_CS_OFFSET 8
#define ALTSTACK_AUTODISARM (1u << 31)
#define ROBUST_HEAD_SIZE 24
#define SLACK_DEFAULT 50000

struct rseq_configuration {   /* struct ptrace_rseq_configuration */
	uint64_t pointer;
	uint32_t size, signature, flags, pad;
};
struct dispatch_configuration {   /* struct ptrace_sud_config */
	uint64_t mode, selector, offset, len;
};

struct stack {   /* the kernel's stack_t */
	uint64_t sp;
	int32_t flags;
	uint64_t size;
};

struct answers {
	char comm[16];
	struct stack stack;
	uint64_t clear_tid, robust, robust_len;
	int32_t pdeath;
};
enum { ASK_COMM, ASK_STACK, ASK_CLEAR_TID, ASK_ROBUST, ASK_PDEATH, ASK_SLACK };

void thread_ask(struct ask *a, struct ask_slot *s)
{
	s->at = ask_space(a, sizeof(struct answers));
	s->first = a->n;
	ask(a, "read the name", SYS_prctl, PR_GET_NAME, s->at + offsetof(struct answers, comm));
	ask(a, "read the alternate signal stack", SYS_sigaltstack, 0, s->at + offsetof(struct answers, stack));
	ask(a, "read the clear-tid address", SYS_prctl, PR_GET_TID_ADDRESS, s->at + offsetof(struct answers, clear_tid));
	ask(a, "read the robust futex list", SYS_get_robust_list, 0, s->at + offsetof(struct answers, robust),
	    s->at + offsetof(struct answers, robust_len));
	ask(a, "read the parent-death signal", SYS_prctl, PR_GET_PDEATHSIG, s->at + offsetof(struct answers, pdeath));
	ask(a, "read the timer slack", SYS_prctl, PR_GET_TIMERSLACK);
}

static int rseq_dump(struct dump *d, struct thread *th, ThreadCoreEntry *tce)
{
	struct rseq_configuration c = { 0 };

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, th->host_tid, sizeof c, &c) < 0) {
		int r = fail(errno, "read the rseq area of " THREAD_FMT, THREAD_ARG(th));
		if (r == -EIO)
			fail_hint("Linux 5.13 is needed, which tells it");
		return r;
	}
	if (!c.pointer)
		return 0;
	RseqEntry *e = arena_new(d->arena, RseqEntry);
	rseq_entry__init(e);
	e->rseq_abi_pointer = c.pointer;
	e->rseq_abi_size = c.size;
	e->signature = c.signature;
	tce->rseq_entry = e;
	int r = remote_read(th->remote, c.pointer + RSEQ_CS_OFFSET, &e->rseq_cs_pointer, sizeof e->rseq_cs_pointer);
	e->has_rseq_cs_pointer = e->rseq_cs_pointer != 0;
	return r;
}

/* Wine and its kin: calls from outside an address range become signals. The image has no place for it. */
static int refuse_user_dispatch(struct thread *th)
{
	struct dispatch_configuration c = { 0 };

	if (ptrace(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, th->host_tid, sizeof c, &c) < 0 || !c.mode)
		return 0;   /* off, or a kernel (before 6.4) that does not tell */
	return fail_text(ENOTSUP, THREAD_FMT " uses syscall user dispatch (prctl PR_SET_SYSCALL_USER_DISPATCH), which cannot be saved",
			 THREAD_ARG(th));
}

static void set_clear_tid(CoreEntry *core, uint64_t address)
{
	if (core->thread_info)
		core->thread_info->clear_tid_addr = address;
	if (core->ti_aarch64)
		core->ti_aarch64->clear_tid_addr = address;
}

static uint64_t clear_tid(const CoreEntry *core)
{
	return core->thread_info ? core->thread_info->clear_tid_addr : core->ti_aarch64 ? core->ti_aarch64->clear_tid_addr : 0;
}

int thread_take(struct dump *d, struct ask *a, const struct ask_slot *s, CoreEntry *core)
{
	const struct answers *v = ask_answer(a, s->at);
	ThreadCoreEntry *tce = core->thread_core;

	for (size_t i = ASK_COMM; i <= ASK_SLACK; i++)
		if (a->calls[s->first + i].ret < 0)
			return fail((int)-a->calls[s->first + i].ret, "%s of " THREAD_FMT, a->what[s->first + i], THREAD_ARG(a->th));
	tce->comm = arena_printf(d->arena, "%.15s", v->comm);
	if (core->tc)
		core->tc->comm = tce->comm;
	tce->sas = arena_new(d->arena, ThreadSasEntry);
	thread_sas_entry__init(tce->sas);
	tce->sas->ss_sp = v->stack.sp;
	tce->sas->ss_size = v->stack.size;
	tce->sas->ss_flags = (uint32_t)v->stack.flags;
	tce->futex_rla = v->robust;
	tce->futex_rla_len = (uint32_t)v->robust_len;
	tce->has_pdeath_sig = v->pdeath != 0;
	tce->pdeath_sig = (uint32_t)v->pdeath;
	set_clear_tid(core, v->clear_tid);
	int64_t slack = a->calls[s->first + ASK_SLACK].ret;   /* 0: real-time threads have none */
	tce->has_torpor_timer_slack = slack && slack != SLACK_DEFAULT;
	tce->torpor_timer_slack = tce->has_torpor_timer_slack ? (uint64_t)slack : 0;
	int r = refuse_user_dispatch(a->th);
	return r < 0 ? r : rseq_dump(d, a->th, tce);
}

static int rseq_check(const struct thread *th, const RseqEntry *e)
{
	if (!e || !e->rseq_abi_pointer)
		return 0;
	if (e->rseq_abi_pointer % 32 || e->rseq_abi_size < RSEQ_SIZE_MIN || e->rseq_abi_size > RSEQ_SIZE_MAX)
		return fail_text(EBADMSG, "core-%d.img: rseq area %#llx of %u bytes is impossible", th->tid, (unsigned long long)e->rseq_abi_pointer,
				 e->rseq_abi_size);
	return 0;
}

int thread_check(const struct thread *th)
{
	const ThreadCoreEntry *tce = th->core->thread_core;

	if (tce->comm && strlen(tce->comm) > 15)
		return fail_text(EBADMSG, "core-%d.img: the name \"%.32s\" is longer than 15 bytes", th->tid, tce->comm);
	if (tce->has_pdeath_sig && tce->pdeath_sig > 64)
		return fail_text(EBADMSG, "core-%d.img: parent-death signal %u is none", th->tid, tce->pdeath_sig);
	if (tce->futex_rla_len && tce->futex_rla_len != ROBUST_HEAD_SIZE)
		return fail_text(EBADMSG, "core-%d.img: a robust list head has %d bytes, not %u", th->tid, ROBUST_HEAD_SIZE, tce->futex_rla_len);
	if (tce->sas && tce->sas->ss_flags & ~(SS_ONSTACK | SS_DISABLE | ALTSTACK_AUTODISARM))
		return fail_text(EBADMSG, "core-%d.img: flags %#x of the alternate signal stack are unknown", th->tid, tce->sas->ss_flags);
	return rseq_check(th, tce->rseq_entry);
}

void thread_restore(struct ask *a)
{
	const CoreEntry *core = a->th->core;
	const ThreadCoreEntry *tce = core->thread_core;
	const RseqEntry *rseq = tce->rseq_entry;
	const char *comm = tce->comm ? tce->comm : core->tc ? core->tc->comm : NULL;

	ask_need(a, 6, 256);
	if (comm) {
		char name[16] = { 0 };
		memcpy(name, comm, strnlen(comm, 15));
		ask(a, "set the name", SYS_prctl, PR_SET_NAME, ask_data(a, name, sizeof name));
	}
	if (tce->sas && tce->sas->ss_size && !(tce->sas->ss_flags & SS_DISABLE)) {
		struct stack st = { tce->sas->ss_sp, (int32_t)(tce->sas->ss_flags & ALTSTACK_AUTODISARM), tce->sas->ss_size };
		ask(a, "set the alternate signal stack", SYS_sigaltstack, ask_data(a, &st, sizeof st), 0);
	}
	if (tce->futex_rla_len)
		ask(a, "set the robust futex list", SYS_set_robust_list, tce->futex_rla, tce->futex_rla_len);
	if (tce->has_torpor_timer_slack && tce->torpor_timer_slack)
		ask(a, "set the timer slack", SYS_prctl, PR_SET_TIMERSLACK, tce->torpor_timer_slack);
	ask(a, "set the clear-tid address", SYS_set_tid_address, clear_tid(core));
	if (rseq && rseq->rseq_abi_pointer)
		ask(a, "register the rseq area", SYS_rseq, rseq->rseq_abi_pointer, rseq->rseq_abi_size, 0, rseq->signature);
}

int thread_restore_rseq_cs(struct thread *th)
{
	const RseqEntry *e = th->core->thread_core->rseq_entry;

	if (!e || !e->rseq_abi_pointer || !e->has_rseq_cs_pointer || !e->rseq_cs_pointer)
		return 0;
	return remote_write(th->remote, e->rseq_abi_pointer + RSEQ_CS_OFFSET, &e->rseq_cs_pointer, sizeof e->rseq_cs_pointer);
}
