/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: lists of system calls that a thread makes by itself (arch/ARCH/loop.c), written into its slot of the area and read back. */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/err.h"
#include "base/fd.h"
#include "remote/internal.h"

#define ERRORS_FROM (-4095)
#define SPIN_MS 10

static bool failed(const struct call *c)
{
	return c->ret >= ERRORS_FROM && c->ret < 0;
}

/* A record as the loop reads it: references are addresses. */
static int encode(struct call *to, const struct call *calls, size_t i, uint64_t records)
{
	uint64_t from = calls[i].ref_from;

	*to = calls[i];
	to->ret = REMOTE_NOT_RUN;
	if (!from)
		return 0;
	if (from > i || calls[i].ref_arg >= 6)
		return fail_text(EINVAL, "batch: record %zu refers to record %llu, argument %llu", i, (unsigned long long)from - 1,
				 (unsigned long long)calls[i].ref_arg);
	to->ref_from = records + (from - 1) * sizeof *calls + offsetof(struct call, ret);
	to->ref_arg = records + i * sizeof *calls + offsetof(struct call, arg) + calls[i].ref_arg * sizeof calls->arg[0];
	return 0;
}

/* The children that the batch made, in order: the kernel told their host numbers, the results are those in their own namespace. */
static void name_births(struct remote *r, const struct call *calls, size_t n, size_t first)
{
	for (size_t i = 0; i < n && first < r->births.n; i++) {
		bool makes = calls[i].nr == SYS_clone3 || calls[i].nr == SYS_clone;
#ifdef SYS_fork
		makes = makes || calls[i].nr == SYS_fork || calls[i].nr == SYS_vfork;
#endif
		if (makes && calls[i].ret > 0)
			r->births.data[first++].number = (pid_t)calls[i].ret;
	}
}

static void lead_to(const struct remote *r, uint64_t records, size_t n, struct user_regs_struct *regs)
{
	const struct arch_batch b = { .code = r->mm->area, .first = records, .end = records + n * sizeof(struct call),
				      .frame = r->slot + SLOT_FRAME, .signal = r->signal };

	*regs = r->found;
	arch_set_batch(regs, &b);
}

/* Where a held thread stands between batches: before one that nobody starts. A filter may kill for calls that its program does not make:
 * a thread below one spins. */
static int stand_held(struct remote *r)
{
	struct user_regs_struct regs = r->found;

	if (r->mm->status.seccomp)
		arch_set_spin(&regs, r->mm->area, r->slot + SLOT_FRAME, SPIN_MS);
	else
		lead_to(r, r->slot + SLOT_HOLD, 1, &regs);
	return remote_set_regs(r, &regs);
}

int remote_hold(struct remote *r, unsigned ms)
{
	struct {
		struct call call;
		struct timespec time;
	} hold = { .call = { .nr = SYS_nanosleep, .ret = REMOTE_NOT_RUN }, .time = { ms / 1000, ms % 1000 * 1000000L } };
	_Static_assert(sizeof hold <= HOLD_SIZE, "the batch has its place");

	if (!r->slot || r->running.n)
		return fail_text(EINVAL, "hold: task %d is %s", r->tid, r->slot ? "in a batch" : "not prepared");
	hold.call.arg[0] = r->slot + SLOT_HOLD + sizeof hold.call;
	int e = r->mm->status.seccomp ? 0 : remote_write(r, r->slot + SLOT_HOLD, &hold, sizeof hold);
	if (e == 0)
		e = stand_held(r);
	if (e == 0)
		e = remote_block_signals(r);
	r->holds = e == 0;
	return e;
}

int remote_batch_start(struct remote *r, struct call *calls, size_t n)
{
	struct call wire[REMOTE_CALLS_MAX];
	uint64_t records = r->slot + SLOT_RECORDS;

	if (!r->slot || r->running.n)
		return fail_text(EINVAL, "batch: task %d is %s", r->tid, r->slot ? "busy with another one" : "not prepared");
	if (n > REMOTE_CALLS_MAX)
		return fail_text(EINVAL, "batch: %zu records, at most %d are possible", n, REMOTE_CALLS_MAX);
	if (!n)
		return 0;
	for (size_t i = 0; i < n; i++) {
		calls[i].ret = REMOTE_NOT_RUN;
		int e = encode(&wire[i], calls, i, records);
		if (e < 0)
			return e;
	}
	int e = remote_write(r, records, wire, n * sizeof *wire);
	if (e < 0)
		return e;
	struct user_regs_struct regs;
	lead_to(r, records, n, &regs);
	e = remote_start_batch(r, &regs);
	if (e == 0) {
		r->running.calls = calls;
		r->running.n = n;
		r->running.births = r->births.n;
	}
	return e;
}

int remote_batch_finish(struct remote *r)
{
	struct call wire[REMOTE_CALLS_MAX], *calls = r->running.calls;
	size_t n = r->running.n;

	if (!n)
		return 0;
	r->running.n = 0;
	int e = remote_finish_batch(r);
	if (e == 0 && r->holds)
		e = stand_held(r);
	if (e == 0)
		e = remote_read(r, r->slot + SLOT_RECORDS, wire, n * sizeof *wire);
	for (size_t i = 0; e == 0 && i < n; i++)
		calls[i].ret = wire[i].ret;
	if (e == 0)
		name_births(r, calls, n, r->running.births);
	return e;
}

int remote_batch(struct remote *r, struct call *calls, size_t n)
{
	int e = remote_batch_start(r, calls, n);

	return e < 0 ? e : remote_batch_finish(r);
}

int remote_batch_checked(struct remote *r, struct call *calls, size_t n, const char *what)
{
	for (size_t done = 0; done < n; done += REMOTE_CALLS_MAX) {
		size_t part = n - done < REMOTE_CALLS_MAX ? n - done : REMOTE_CALLS_MAX;
		int e = remote_batch(r, calls + done, part);
		if (e < 0)
			return e;
		for (size_t i = done; i < done + part; i++)
			if (calls[i].must && failed(&calls[i]))
				return fail((int)-calls[i].ret, "%s in task %d (call %zu, number %llu)", what, r->tid, i,
					    (unsigned long long)calls[i].nr);
	}
	return 0;
}

int64_t remote_call(struct remote *r, long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
	struct call c = { .nr = (uint64_t)nr, .arg = { a0, a1, a2, a3, a4, a5 } };
	int e = remote_batch(r, &c, 1);

	return e < 0 ? e : c.ret;
}

uint64_t remote_scratch(const struct remote *r)
{
	return r->slot + SLOT_SCRATCH;
}

static int check_scratch(const struct remote *r, size_t offset, size_t size)
{
	if (offset > REMOTE_SCRATCH_SIZE || size > REMOTE_SCRATCH_SIZE - offset)
		return fail_text(EINVAL, "%zu bytes at %zu do not fit task %d's scratch area", size, offset, r->tid);
	return 0;
}

int remote_scratch_write(struct remote *r, size_t offset, const void *data, size_t size)
{
	int e = check_scratch(r, offset, size);

	return e < 0 ? e : remote_write(r, remote_scratch(r) + offset, data, size);
}

int remote_scratch_read(struct remote *r, size_t offset, void *data, size_t size)
{
	int e = check_scratch(r, offset, size);

	return e < 0 ? e : remote_read(r, remote_scratch(r) + offset, data, size);
}

static int explain_memory(struct remote *r, int e, const char *what, uint64_t address, size_t size)
{
	size_t mark = err_mark();

	fail(-e, "%s %zu bytes at %#llx of task %d", what, size, (unsigned long long)address, r->tid);
	return e == -EIO || e == -ENODATA ? remote_explain(r, e, mark) : e;
}

int remote_read(struct remote *r, uint64_t address, void *data, size_t size)
{
	int e = remote_need_mem(r);

	if (e < 0)
		return e;
	e = fd_pread_all(remote_mem_fd(r), data, size, address);
	return e < 0 ? explain_memory(r, e, "read", address, size) : 0;
}

int remote_write(struct remote *r, uint64_t address, const void *data, size_t size)
{
	int e = remote_need_mem(r);

	if (e < 0)
		return e;
	e = fd_pwrite_all(remote_mem_fd(r), data, size, address);
	return e < 0 ? explain_memory(r, e, "write", address, size) : 0;
}

int remote_mem_fd(const struct remote *r)
{
	return r->mm ? r->mm->mem : r->own_mem;
}
