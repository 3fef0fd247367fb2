/* SPDX-License-Identifier: Apache-2.0 */
/* Getting a live task ready for batches, and out of them, so that a killed engine harms nobody.
 *
 * If the engine dies at any moment, the thread is let go by the kernel with whatever registers it has then. From the first change of a
 * register on, whatever it has leads into rt_sigreturn with the stack pointer at a complete signal frame of the moment it was stopped:
 *
 *   stage                  registers stand at                                 what leads to the frame
 *   found                  the program                                        nothing was changed yet
 *   first calls (mmap)     `syscall; ret` of the program's own text           returns into its C library's signal restorer,
 *                                                                             frame in the program's stack
 *   between batches        the loop's end                                     falls into rt_sigreturn, frame in the area
 *   in a batch             the loop                                           the same, when the records are done
 *   last call (munmap)     `syscall; ret` of the program's own text           as the first calls
 *   put back               the program                                        nothing is needed
 *
 * Invariants:
 * 1. A frame is complete before registers lead to it, and stays until they no longer do.
 * 2. The signal mask is changed only while registers lead into a frame, and put back before the final registers are set.
 * 3. While signals are blocked nothing but r->signal and SIGSTOP can reach the thread (run.c).
 * 4. The end of a batch must mean nothing without a tracer: the signal that the loop sends itself is one that this thread does not
 *    block, that its process does not catch, and that is ignored, by default (SIGURG, SIGWINCH, SIGCHLD) or by its wish. An instance
 *    of it that somebody else sends would be ignored as well. A program that catches all of them (Go does) is run from call to call.
 *    (A tracee is told of ignored signals: sig_ignored() in kernel/signal.c.)
 *
 * A thread need not be waited for at each of its stops: the steps of many tasks are taken in turn (remote_prepare_step), so that they run
 * on other processors meanwhile.
 *
 * Where the first frame goes: into the stack mapping, below the red zone, if the stack pointer is there. If not (Go's goroutines run
 * on small stacks in the heap, with other objects below), into pages at the low end of the stack mapping that were never touched.
 * What was there is put back as soon as the frame is no longer needed; in an untouched page 8 bytes stay, by which it is found again.
 *
 * Not handled:
 * - A program without a signal restorer in its text (no C library, no handlers) is worked on without this net until the loop is there,
 *   and again when it goes; a debug line says so.
 * - A seccomp filter is suspended while we trace. If the engine is killed in the middle of a batch, the rest of it runs under the
 *   filter: a call that is refused does no harm, one that the filter kills for does.
 * - What a killed engine leaves mapped is removed when the task is prepared the next time; but for good stays what it leaves in the few
 *   microseconds in which a thread is given back (seize.c, put_back(): a handler may still want it): one kill of about a thousand.
 * - Shadow stacks and 32-bit code are refused. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#define LOG_PREFIX "remote"
#include "base/log.h"
#include "remote/internal.h"

#define LEFTOVERS_MAX 64

static int quiet_signal(const struct status *s, uint64_t mask)
{
	static const int by_default[] = { SIGURG, SIGWINCH, SIGCHLD }, by_wish[] = { SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT, SIGINT };
	uint64_t meant = s->caught | mask;

	for (size_t i = 0; i < sizeof by_default / sizeof *by_default; i++)
		if (!(meant & signal_bit(by_default[i])))
			return by_default[i];
	for (size_t i = 0; i < sizeof by_wish / sizeof *by_wish; i++)
		if (!(meant & signal_bit(by_wish[i])) && (s->ignored & signal_bit(by_wish[i])))
			return by_wish[i];
	return 0;
}

/* The signals that wait for a stopped thread or its process. */
static uint64_t pending_signals(const struct remote *r)
{
	enum { AT_ONCE = 16 };
	siginfo_t info[AT_ONCE];
	uint64_t bits = 0;

	for (unsigned shared = 0; shared < 2; shared++) {
		struct __ptrace_peeksiginfo_args args = { .flags = shared ? PTRACE_PEEKSIGINFO_SHARED : 0, .nr = AT_ONCE };
		long n;
		do {
			n = ptrace(PTRACE_PEEKSIGINFO, r->tid, &args, info);
			for (long i = 0; i < n; i++)
				bits |= signal_bit(info[i].si_signo);
			args.off += n > 0 ? (uint64_t)n : 0;
		} while (n == AT_ONCE);
	}
	return bits;
}

/* What a further thread needs not read again: its process has it in common. Its own signals are asked of ptrace, which is faster. */
static int read_status(struct remote *r, const struct remote_mm *mm, struct status *s)
{
	if (mm && mm->status.tgid && r->can_suspend_seccomp) {
		*s = mm->status;
		s->pending = pending_signals(r);
		return 0;
	}
	int e = status_read(r->tid, s);
	return e < 0 ? fail(-e, "read the status of task %d", r->tid) : 0;
}

static int check_task(struct remote *r, const struct status *s)
{
	if (arch_is_compat(&r->found))
		return fail_text(ENOTSUP, "task %d (%s) runs 32-bit code: not supported yet", r->tid, s->comm);
	if (s->shadow_stack)
		return fail_text(ENOTSUP, "task %d (%s) has a shadow stack: not supported yet", r->tid, s->comm);
	if (s->seccomp && !r->can_suspend_seccomp) {
		int e = fail_text(EPERM, "task %d (%s) has a seccomp filter, which can not be suspended", r->tid, s->comm);
		fail_hint("this needs CAP_SYS_ADMIN and a process without a filter of its own");
		return e;
	}
	return 0;
}

static int read_mask(struct remote *r)
{
	if (!r->masked && ptrace(PTRACE_GETSIGMASK, r->tid, sizeof r->mask, &r->mask) < 0)
		return fail(errno, "read the signal mask of task %d", r->tid);
	return 0;
}

/* --- the first frame --- */

/* The frame in memory below `top`. first.low … + first.size is what will be written. */
static void lay_frame(struct remote *r, uint64_t top)
{
	size_t size = arch_frame_size(r->xstate_size);

	r->first.frame = (top - size) & ~(uint64_t)(ARCH_FRAME_ALIGN - 1);
	r->first.low = r->first.frame - sizeof r->first.restorer - r->first.popped;
	r->first.size = r->first.frame + size - r->first.low;
}

/* A place that an earlier visit left its mark in. */
static bool is_marked(struct remote *r)
{
	uint64_t mark = 0;

	return fd_pread_all(remote_mem_fd(r), &mark, sizeof mark, r->first.frame + arch_frame_busy()) == 0 && mark == ARCH_FRAME_MARK;
}

/* Lays the frame into the lowest pages of a mapping that were never touched, or where it lay before; the very first one is left alone. */
static bool lay_untouched(struct remote *r, const struct map_line *m, size_t whole)
{
	enum { ENTRIES = 2048 };
	autoclose int fd = proc_open(r->tid, "pagemap");
	autofree uint64_t *entry = mem_alloc(ENTRIES * sizeof *entry);
	size_t n = (m->end - m->start) / PAGE, need = (whole + PAGE - 1) / PAGE;

	n = n < ENTRIES ? n : ENTRIES;
	if (fd < 0 || fd_pread_all(fd, entry, n * sizeof *entry, m->start / PAGE * sizeof *entry) < 0)
		return false;
	for (size_t i = 1, run = 0; i < n; i++) {
		run = entry[i] >> 62 ? 0 : run + 1;     /* bit 63: present, 62: swapped */
		lay_frame(r, m->start + (i + 1) * PAGE);
		if (i >= need && (run >= need || is_marked(r)))
			return true;
	}
	return false;
}

static int place_frame(struct remote *r, const char *maps)
{
	size_t whole = arch_frame_size(r->xstate_size) + 2 * ARCH_FRAME_ALIGN + 16;
	uint64_t sp = arch_sp(&r->found);
	struct map_line m;

	while (map_next(&maps, &m)) {
		if (!map_is(&m, "[stack]") || strncmp(m.perms, "rw", 2))
			continue;
		r->first.untouched = sp <= m.start + whole + ARCH_RED_ZONE + PAGE || sp > m.end;
		if (!r->first.untouched)
			lay_frame(r, sp - ARCH_RED_ZONE);
		return !r->first.untouched || lay_untouched(r, &m, whole) ? 0 : -ENOSPC;
	}
	return -ENOSPC;
}

static int write_first_frame(struct remote *r, bool has_pending)
{
	const uint64_t mark = ARCH_FRAME_MARK;
	struct user_regs_struct regs = r->found;
	autofree uint8_t *bytes = mem_zalloc(r->first.size);
	autofree void *before = mem_alloc(r->first.size);
	int e = remote_read(r, r->first.low, before, r->first.size);

	if (e < 0)
		return e;
	arch_restart_image(&regs, has_pending, r->tid);
	arch_frame_build(bytes + (r->first.frame - r->first.low), r->first.frame, &regs, r->mask, r->xstate, r->xstate_size);
	memcpy(bytes + (r->first.frame - r->first.low) + arch_frame_busy(), &mark, sizeof mark);
	memcpy(bytes + r->first.popped, &r->first.restorer, sizeof r->first.restorer);
	if (r->first.untouched)         /* the next visit finds the place again */
		memcpy((uint8_t *)before + (r->first.frame - r->first.low) + arch_frame_busy(), &mark, sizeof mark);
	r->first.before = take_ptr(&before);
	return remote_write(r, r->first.low, bytes, r->first.size);
}

static int drop_first_frame(struct remote *r)
{
	autofree void *before = take_ptr(&r->first.before);

	return before ? remote_write(r, r->first.low, before, r->first.size) : 0;
}

/* Registers for calls at the program's own text; the frame is there afterwards if there is a net. */
static int own_text(struct remote *r, const char *maps, bool has_pending, struct user_regs_struct *call)
{
	struct text_code c;
	int e = remote_find_code(r, maps, &c);

	if (e < 0)
		return e;
	*call = r->found;
	r->first.instruction = c.call_return;
	r->first.restorer = c.restorer;
	r->first.popped = c.popped;
	if (c.call_return && c.restorer && place_frame(r, maps) == 0) {
		e = write_first_frame(r, has_pending);
		arch_set_call(call, c.call_return, r->first.low, 0, (uint64_t[6]){ 0 });
		return e;
	}
	log_debug("task %d: no %s: worked on without a net", r->tid,
		  !c.restorer    ? "signal restorer in its text"
		  : !c.call_return ? "system call that returns in its text"
				   : "room for a frame in its stack");
	r->first.instruction = 0;
	return 0;
}

/* --- in --- */

/* A leader on its way to its batch pages, or rid of them: one call is being made. */
struct preparing {
	enum { MAP, MAP_ANYWHERE, PROTECT, UNMAP } call;
	struct user_regs_struct regs;
	char *maps;
	size_t slots;
	bool has_pending;
	bool poked;              /* the instruction was written over what is saved */
	uint64_t instruction;
	uint8_t saved[ARCH_CODE_MAX];
};

static int start_call(struct remote *r)
{
	int e = remote_start_call(r, &r->preparing->regs);

	return e < 0 ? e : 1;
}

/* Calls without a net. */
static int bare_text(struct remote *r, struct preparing *p)
{
	int e = remote_find_syscall(r, &p->instruction, &p->poked, p->saved);

	p->regs = r->found;
	arch_set_call(&p->regs, p->instruction, arch_sp(&r->found), 0, (uint64_t[6]){ 0 });
	return e;
}

static int start_mapping(struct remote *r, bool anywhere)
{
	struct preparing *p = r->preparing;

	p->call = anywhere ? MAP_ANYWHERE : MAP;
	area_to_map(r, &p->regs, p->maps, p->slots, anywhere);
	return start_call(r);
}

static int start_protecting(struct remote *r, int64_t mapped)
{
	struct preparing *p = r->preparing;
	int e = area_to_protect(r, &p->regs, mapped);

	p->call = PROTECT;
	return e < 0 ? e : start_call(r);
}

/* The thread stands at the loop's end, with its frame in the area. */
static int enter_area(struct remote *r, bool has_pending)
{
	struct user_regs_struct regs = r->found;
	int e = area_take_slot(r, r->mm);

	if (e == 0)
		e = area_write_frame(r, has_pending);
	if (e < 0 || !r->owner)
		return e;
	arch_set_heal(&regs, r->mm->area, r->slot + SLOT_FRAME);
	e = remote_set_regs(r, &regs);
	return e < 0 ? e : drop_first_frame(r);
}

static int remove_leftovers(struct remote *r, const char *maps)
{
	struct call unmap[LEFTOVERS_MAX];
	size_t n = 0;
	struct map_line m;
	uint64_t area, size;

	while (n < LEFTOVERS_MAX && map_next(&maps, &m))
		if (area_leftover(r, &m, &area, &size))
			unmap[n++] = (struct call){ .nr = SYS_munmap, .arg = { area, size }, .must = 1 };
	if (n)
		log_debug("task %d: removing what %zu killed dumps left", r->tid, n);
	return remote_batch_checked(r, unmap, n, "unmap what a killed dump left");
}

static int area_ready(struct remote *r, int64_t protect)
{
	int e = area_mapped(r, protect);

	if (e == 0)
		e = enter_area(r, r->preparing->has_pending);
	return e < 0 ? e : remove_leftovers(r, r->preparing->maps);
}

static int area_gone(struct remote *r, int64_t unmap)
{
	if (unmap < 0)
		return fail((int)-unmap, "unmap the batch pages of task %d", r->tid);
	r->mm->area = r->mm->area_size = r->slot = 0;
	r->mm->slots = r->mm->used = 0;
	return 0;
}

/* As far as it goes without waiting for the task's next stop: 1. */
static int go_on(struct remote *r)
{
	int64_t result;
	int e = remote_step_call(r, &result);

	if (e)
		return e;
	switch (r->preparing->call) {
	case MAP:
		return result < 0 ? start_mapping(r, true) : start_protecting(r, result);
	case MAP_ANYWHERE:
		return start_protecting(r, result);
	case PROTECT:
		return area_ready(r, result);
	case UNMAP:
		return area_gone(r, result);
	}
	return -EINVAL;
}

/* Ends the steps unless there are more (1). A text that was written over is made good at once, before another task may need it. */
static int step_done(struct remote *r, int e)
{
	while (e == 1 && r->preparing->poked)
		e = go_on(r);
	if (e == 1 || !r->preparing)
		return e;
	int back = r->preparing->poked ? remote_unpoke(r, r->preparing->instruction, r->preparing->saved) : 0;
	preparing_free(r);
	return e < 0 ? e : back;
}

void preparing_free(struct remote *r)
{
	if (r->preparing)
		free(r->preparing->maps);
	free_pointer(&r->preparing);
}

static int begin_owner(struct remote *r, const struct status *s, bool has_pending)
{
	struct preparing *p = r->preparing = mem_zalloc(sizeof *p);
	ssize_t got = proc_read(r->tid, "maps", &p->maps);

	if (got < 0)
		return fail((int)-got, "read the mappings of task %d", r->tid);
	if (!r->mm)
		r->mm = mm_new(take_fd(&r->own_mem));
	r->mm->status = *s;
	r->owner = true;
	p->slots = s->threads ? s->threads : 1;
	p->has_pending = has_pending;
	int e = own_text(r, p->maps, has_pending, &p->regs);
	if (e == 0 && !r->first.instruction)
		e = bare_text(r, p);
	return e < 0 ? e : start_mapping(r, false);
}

static int begin(struct remote *r, struct remote_mm *mm)
{
	struct status s;
	int e = read_status(r, mm, &s);

	if (e == 0)
		e = check_task(r, &s);
	if (e == 0)
		e = read_mask(r);
	if (e == 0)
		e = remote_read_xstate(r);
	if (e < 0)
		return e;
	r->tgid = s.tgid;
	r->signal = quiet_signal(&s, r->mask);
	bool has_pending = s.pending & ~r->mask & s.caught;
	if (!mm)
		return begin_owner(r, &s, has_pending);
	fd_close(&r->own_mem);
	r->mm = mm;
	mm->users++;
	return enter_area(r, has_pending);
}

int remote_prepare_step(struct remote *r, struct remote_mm *mm)
{
	size_t mark = err_mark();

	if (r->slot && !r->preparing)
		return 0;
	return remote_explain(r, step_done(r, r->preparing ? go_on(r) : begin(r, mm)), mark);
}

int remote_prepare(struct remote *r, struct remote_mm *mm)
{
	int e;

	do
		e = remote_prepare_step(r, mm);
	while (e == 1);
	return e;
}

/* --- out --- */

/* A batch that was started by what failed since: who is to have its results may be gone. */
static int abandon_batch(struct remote *r)
{
	bool runs = r->running.n && !r->dead;

	r->running.n = 0;
	return runs ? remote_finish_batch(r) : 0;
}

static int begin_unmapping(struct remote *r)
{
	const uint64_t arg[6] = { r->mm->area, r->mm->area_size };
	uint64_t instruction = r->first.instruction;

	if (r->mm->users > 1)
		return fail_text(EBUSY, "the batch pages of task %d are still used by %u other threads", r->tid, r->mm->users - 1);
	struct preparing *p = r->preparing = mem_zalloc(sizeof *p);
	p->call = UNMAP;
	p->regs = r->found;
	int e = !instruction ? bare_text(r, p) : r->first.before ? 0 : write_first_frame(r, false);
	if (e < 0)
		return e;
	arch_set_call(&p->regs, instruction ? instruction : p->instruction, instruction ? r->first.low : arch_sp(&p->regs), SYS_munmap, arg);
	return start_call(r);
}

int remote_unprepare_step(struct remote *r)
{
	size_t mark = err_mark();

	if (!r->preparing && (!r->owner || !r->mm->area))
		return 0;
	int e = r->preparing ? 0 : abandon_batch(r);
	if (e == 0)
		e = r->preparing ? go_on(r) : begin_unmapping(r);
	return remote_explain(r, step_done(r, e), mark);
}

int remote_unprepare(struct remote *r)
{
	int e;

	do
		e = remote_unprepare_step(r);
	while (e == 1);
	return e;
}

void remote_settle(struct remote *r)
{
	while (!r->dead && r->preparing)
		step_done(r, go_on(r));
	abandon_batch(r);
}
