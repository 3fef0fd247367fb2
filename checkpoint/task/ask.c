/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting the calls of several subjects into one batch.
 *
 * A batch costs some 15 µs before its first call and 0.2 µs for each: what a thread is asked is put together and asked once.
 * Arguments and answers lie in the thread's scratch area; its beginning is mirrored in the ask, written before the batch (if
 * anything in it has contents) and read after it (if anything in it is to be filled).
 *
 * A dump asks without `must`: it looks at each result. A restore asks with `must`; a list that outgrows the ask is run in pieces,
 * and the error of a piece is kept until ask_run(). */
#include "task/ask.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

const char *task_name(const struct task *t)
{
	const CoreEntry *core = t->n_threads ? t->threads[0].core : NULL;

	return core && core->tc && core->tc->comm && core->tc->comm[0] ? core->tc->comm : "?";
}

void ask_begin(struct ask *a, struct thread *th, bool must)
{
	a->th = th;
	a->n = a->used = 0;
	a->error = 0;
	a->must = must;
}

static int start(struct ask *a)
{
	struct remote *r = a->th->remote;
	int ret = a->used ? remote_scratch_write(r, 0, a->data, a->used) : 0;

	for (size_t i = 0; i < a->n; i++)
		a->calls[i].must = a->must && a->what[i];
	return ret < 0 ? ret : remote_batch_start(r, a->calls, a->n);
}

static int finish(struct ask *a, int ret)
{
	struct remote *r = a->th->remote;

	if (ret >= 0)
		ret = remote_batch_finish(r);
	if (ret >= 0 && a->used && !a->must)
		ret = remote_scratch_read(r, 0, a->data, a->used);
	if (ret < 0)
		fail_text(ECANCELED, "while working on " THREAD_FMT, THREAD_ARG(a->th));
	for (size_t i = 0; a->must && ret >= 0 && i < a->n; i++)
		if (a->what[i] && a->calls[i].ret < 0 && a->calls[i].ret > -4096)
			ret = fail((int)-a->calls[i].ret, "%s of " THREAD_FMT, a->what[i], THREAD_ARG(a->th));
	return ret;
}

static int run(struct ask *a)
{
	return finish(a, start(a));
}

static int overflow(struct ask *a)
{
	return fail_text(E2BIG, "more is asked of " THREAD_FMT " than one batch holds", THREAD_ARG(a->th));
}

void ask_need(struct ask *a, size_t calls, size_t size)
{
	if (a->n + calls <= ASK_CALLS && a->used + size + 16 * calls <= ASK_DATA)
		return;
	if (!a->error)
		a->error = a->must ? run(a) : overflow(a);
	a->n = a->used = 0;
}

uint64_t ask_space(struct ask *a, size_t size)
{
	if (a->used + size > ASK_DATA) {   /* ask_need() was not asked: a mistake of ours, never an overrun */
		a->error = a->error ? a->error : overflow(a);
		a->used = 0;
	}
	uint64_t at = remote_scratch(a->th->remote) + a->used;

	memset(a->data + a->used, 0, size);
	a->used += (size + 15) & ~(size_t)15;
	return at;
}

uint64_t ask_data(struct ask *a, const void *data, size_t size)
{
	uint64_t at = ask_space(a, size);

	memcpy(ask_answer(a, at), data, size);
	return at;
}

void *ask_answer(struct ask *a, uint64_t address)
{
	return a->data + (address - remote_scratch(a->th->remote));
}

size_t ask_call(struct ask *a, const char *what, long nr, const uint64_t arg[6])
{
	if (a->n == ASK_CALLS) {
		a->error = a->error ? a->error : overflow(a);
		a->n = 0;
	}
	struct call *c = &a->calls[a->n];

	memset(c, 0, sizeof *c);
	c->nr = (uint64_t)nr;
	memcpy(c->arg, arg, sizeof c->arg);
	a->what[a->n] = what;
	return a->n++;
}

int ask_run(struct ask *a)
{
	return a->error ? a->error : run(a);
}

void ask_start(struct ask *a)
{
	if (!a->error)
		a->error = start(a);
}

int ask_finish(struct ask *a)
{
	return finish(a, a->error);
}
