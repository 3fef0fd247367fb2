/* SPDX-License-Identifier: Apache-2.0 */
/* Seccomp, put back. seccomp.c tells what the image has.
 *
 * Filters are installed while the husk has its privileges (CAP_SYS_ADMIN in its user namespace), so that no thread needs no_new_privs for it. They
 * do not act on the engine's batches: every husk is traced with PTRACE_O_SUSPEND_SECCOMP. Strict mode likewise.
 *
 * A program may later install a filter for all its threads at once (SECCOMP_FILTER_FLAG_TSYNC), which the kernel allows only when the chain
 * of every thread is a beginning of the caller's: the same objects. So what the chains of all threads of a process have in common is
 * installed by the leader with TSYNC, and only the rest by each thread.
 *
 * A thread names the filter to install first, `prev` leads to the next (seccomp.c). A link that does not point backwards in the image is
 * refused, so that every chain ends. */
#define LOG_PREFIX "seccomp"
#include "task/subject.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "seccomp.pb-c.h"

#define CHAIN_MAX 4096        /* the kernel allows 32,768 instructions, four more for each filter */
#define FLAGS_KNOWN (SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW)

struct program {   /* struct sock_fprog */
	uint16_t len;
	uint64_t filter;
};

/* --- check --- */

int seccomp_check_filters(const SeccompEntry *e)
{
	for (size_t i = 0; i < e->n_seccomp_filters; i++) {
		const SeccompFilter *f = e->seccomp_filters[i];
		if (!f->filter.len || f->filter.len % sizeof(struct sock_filter) || f->filter.len > BPF_MAXINSNS * sizeof(struct sock_filter))
			return fail_text(EBADMSG, "seccomp.img: filter %zu has an impossible size of %zu bytes", i, f->filter.len);
		if (f->has_prev && f->prev >= i)
			return fail_text(EBADMSG, "seccomp.img: filter %zu follows filter %u, which comes after it", i, f->prev);
		if (f->has_flags && f->flags & ~FLAGS_KNOWN)
			return fail_text(EBADMSG, "seccomp.img: filter %zu has unknown flags %#x", i, f->flags);
	}
	return 0;
}

static int read_filters(struct restore *r)
{
	if (r->seccomp)
		return 0;
	int ret = image_read_one(r->images, IMG_SECCOMP, 0, r->arena, &r->seccomp);
	if (ret != -ENOENT)
		return ret < 0 ? ret : seccomp_check_filters(r->seccomp);
	r->seccomp = arena_new(r->arena, SeccompEntry);
	seccomp_entry__init(r->seccomp);
	return 0;
}

static bool for_all_threads(const SeccompEntry *filters, uint32_t index)
{
	return index < filters->n_seccomp_filters && filters->seccomp_filters[index]->has_flags &&
	       filters->seccomp_filters[index]->flags & SECCOMP_FILTER_FLAG_TSYNC;
}

/* CRIU's images have TSYNC in the flags of a leader's filters when all threads have them, and nothing in the other threads. Those of older
 * versions have it in the task's part. */
static SeccompMode mode_of(const struct restore *r, const struct thread *th, uint32_t *filter)
{
	const TaskCoreEntry *tc = th->task->threads[0].core->tc;
	const ThreadCoreEntry *e = th->core->thread_core, *leader = th->task->threads[0].core->thread_core;

	if (!e->has_seccomp_mode && leader->has_seccomp_filter && for_all_threads(r->seccomp, leader->seccomp_filter))
		e = leader;
	if (e->has_seccomp_mode) {
		*filter = e->has_seccomp_filter ? e->seccomp_filter : UINT32_MAX;
		return e->seccomp_mode;
	}
	*filter = tc->has_old_seccomp_filter ? tc->old_seccomp_filter : UINT32_MAX;
	return tc->has_old_seccomp_mode ? tc->old_seccomp_mode : SECCOMP_MODE__disabled;
}

/* The chain of a thread in the order of installation; chain[] has room for CHAIN_MAX. Returns its length. */
static ssize_t chain_of(const struct restore *r, const struct thread *th, uint32_t *chain)
{
	uint32_t at;
	size_t n = 0;

	if (mode_of(r, th, &at) != SECCOMP_MODE__filter)
		return 0;
	for (bool more = true; more; n++) {
		if (at >= r->seccomp->n_seccomp_filters)
			return fail_text(EBADMSG, "core-%d.img: seccomp filter %u is not in seccomp.img", th->tid, at);
		if (n == CHAIN_MAX)
			return fail_text(EBADMSG, "core-%d.img: more than %d seccomp filters", th->tid, CHAIN_MAX);
		const SeccompFilter *f = r->seccomp->seccomp_filters[at];
		chain[n] = at;
		more = f->has_prev;
		at = f->prev;
	}
	return (ssize_t)n;
}

int seccomp_check(struct restore *r, const struct task *t)
{
	uint32_t chain[CHAIN_MAX], unused;
	int ret = read_filters(r);

	for (size_t i = 0; i < t->n_threads && ret >= 0; i++) {
		unsigned mode = (unsigned)mode_of(r, &t->threads[i], &unused);
		if (mode > SECCOMP_MODE_FILTER)
			return fail_text(EBADMSG, "core-%d.img: seccomp mode %u is unknown", t->threads[i].tid, mode);
		ret = (int)chain_of(r, &t->threads[i], chain);
	}
	return ret < 0 ? ret : 0;
}

/* --- restore --- */

static int explain(struct thread *th, uint32_t index, int64_t error)
{
	if (error > 0)
		return fail_text(EBUSY, "install seccomp filter %u in all threads of " TASK_FMT ": thread %d has another one", index,
				 TASK_ARG(th->task), (int)error);
	int r = fail((int)-error, "install seccomp filter %u in " THREAD_FMT, index, THREAD_ARG(th));
	if (r == -EACCES)
		fail_hint("it needs CAP_SYS_ADMIN in the task's user namespace before its credentials are put back");
	return r;
}

/* A filter may be as large as half of the ask: each has a batch of its own. Few processes have more than two. */
static int install(struct restore *r, struct thread *th, uint32_t index, uint64_t flags)
{
	const SeccompFilter *f = r->seccomp->seccomp_filters[index];
	struct program p = { (uint16_t)(f->filter.len / sizeof(struct sock_filter)), 0 };
	struct ask a;

	flags |= f->has_flags ? f->flags & ~(uint32_t)SECCOMP_FILTER_FLAG_TSYNC : 0;
	ask_begin(&a, th, false);
	p.filter = ask_data(&a, f->filter.data, f->filter.len);
	ask(&a, "install a seccomp filter", SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, ask_data(&a, &p, sizeof p));
	int ret = ask_run(&a);
	return ret < 0 ? ret : a.calls[0].ret != 0 ? explain(th, index, a.calls[0].ret) : 0;
}

/* Chains share their ends in an image, not their beginnings: equal filters have different nodes. */
static bool same_filter(const SeccompEntry *e, uint32_t a, uint32_t b)
{
	const SeccompFilter *x = e->seccomp_filters[a], *y = e->seccomp_filters[b];

	return a == b || (x->filter.len == y->filter.len && !memcmp(x->filter.data, y->filter.data, x->filter.len) &&
			  ((x->flags ^ y->flags) & ~(uint32_t)SECCOMP_FILTER_FLAG_TSYNC) == 0);
}

/* How many filters at the beginning are those of every thread. */
static ssize_t common(const struct restore *r, const struct task *t, const uint32_t *first, size_t n)
{
	uint32_t chain[CHAIN_MAX];

	for (size_t i = 1; i < t->n_threads; i++) {
		ssize_t m = chain_of(r, &t->threads[i], chain);
		if (m < 0)
			return m;
		n = (size_t)m < n ? (size_t)m : n;
		for (size_t k = 0; k < n; k++)
			if (!same_filter(r->seccomp, chain[k], first[k]))
				n = k;
	}
	return (ssize_t)n;
}

static int restore_thread(struct restore *r, struct thread *th, size_t done)
{
	uint32_t chain[CHAIN_MAX], unused;

	if (mode_of(r, th, &unused) == SECCOMP_MODE__strict) {
		int64_t ret = remote_call(th->remote, SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0, 0);
		return ret < 0 ? fail((int)-ret, "set strict seccomp mode of " THREAD_FMT, THREAD_ARG(th)) : 0;
	}
	ssize_t n = chain_of(r, th, chain);
	int ret = n < 0 ? (int)n : 0;
	for (ssize_t k = (ssize_t)done; k < n && ret >= 0; k++)
		ret = install(r, th, chain[k], 0);
	return ret;
}

int seccomp_restore(struct restore *r, struct task *t)
{
	uint32_t chain[CHAIN_MAX];
	ssize_t n = chain_of(r, &t->threads[0], chain), same = n < 0 ? n : common(r, t, chain, (size_t)n);
	int ret = same < 0 ? (int)same : 0;

	for (ssize_t k = 0; k < same && ret >= 0; k++)
		ret = install(r, &t->threads[0], chain[k], t->n_threads > 1 ? SECCOMP_FILTER_FLAG_TSYNC : 0);
	for (size_t i = 0; i < t->n_threads && ret >= 0; i++)
		ret = restore_thread(r, &t->threads[i], (size_t)same);
	return ret;
}
