/* SPDX-License-Identifier: Apache-2.0 */
/* Seccomp: mode and filters of every thread, saved. (seccomp_restore.c puts them back.)
 *
 * Kernel facts:
 * - PTRACE_SECCOMP_GET_FILTER (Linux 4.4) gives the classic BPF program of a filter, number 0 being the one installed first;
 *   PTRACE_SECCOMP_GET_METADATA (4.16) its flags (of which the kernel tells SECCOMP_FILTER_FLAG_LOG). Both need CAP_SYS_ADMIN and an
 *   engine that has no filter itself.
 * - Threads and children share the filters that their ancestors installed; the kernel does not tell which are the same object. Equal chains
 *   are stored once.
 * - seccomp.img holds the nodes of a forest: a program, its flags, the index of another node in `prev`. The format's order is the reverse
 *   of what that name says (seen in what CRIU writes and restores): a thread names the filter that was installed first, and `prev` leads
 *   to the one installed next. A chain that all threads of a process have is in the leader's core alone, and its filters have the TSYNC flag.
 * - A filter may return SECCOMP_RET_USER_NOTIF. The descriptor of its listener is refused as a descriptor when it is in the tree; a listener
 *   outside cannot be seen: the log tells. */
#define LOG_PREFIX "seccomp"
#include "task/subject.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ptrace.h>

#include "base/err.h"
#include "base/log.h"
#include "seccomp.pb-c.h"

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif
#ifndef PTRACE_SECCOMP_GET_METADATA
#define PTRACE_SECCOMP_GET_METADATA 0x420d
#endif
#define BUCKETS 256
#define NO_FILTER UINT32_MAX

struct metadata {   /* struct seccomp_metadata */
	uint64_t number, flags;
};

struct node {
	SeccompFilter entry;
	uint32_t index;
	struct node *next;      /* in its bucket */
};

struct seccomp_table {
	struct node *buckets[BUCKETS];
	size_t n, cap;
	SeccompFilter **entries;
};

static struct seccomp_table *table(struct dump *d)
{
	struct task_facts *f = task_facts(d);

	if (!f->seccomp)
		f->seccomp = arena_new(d->arena, struct seccomp_table);
	return f->seccomp;
}

static size_t bucket_of(const struct sock_filter *f, size_t n, uint32_t prev)
{
	uint32_t h = prev * 2654435761u + (uint32_t)n;

	for (size_t i = 0; i < n; i++)
		h = (h ^ f[i].k ^ f[i].code) * 16777619u;
	return h % BUCKETS;
}

static bool same(const SeccompFilter *e, const struct sock_filter *f, size_t n, uint32_t prev, uint32_t flags)
{
	return e->filter.len == n * sizeof *f && (e->has_prev ? e->prev : NO_FILTER) == prev && e->flags == flags &&
	       memcmp(e->filter.data, f, n * sizeof *f) == 0;
}

static void warn_of_listener(const struct thread *th, const struct sock_filter *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (f[i].code != (BPF_RET | BPF_K) || (f[i].k & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_USER_NOTIF)
			continue;
		log_warn(THREAD_FMT " has a seccomp filter that asks a listener, which a restored task will not have", THREAD_ARG(th));
		return;
	}
}

/* The index of a filter whose chain from the next one on is `prev`; a new one is added. */
static uint32_t intern(struct dump *d, const struct thread *th, const struct sock_filter *f, size_t n, uint32_t prev, uint32_t flags)
{
	struct seccomp_table *t = table(d);
	struct node **bucket = &t->buckets[bucket_of(f, n, prev)];

	for (struct node *at = *bucket; at; at = at->next)
		if (same(&at->entry, f, n, prev, flags))
			return at->index;
	warn_of_listener(th, f, n);
	struct node *new = arena_new(d->arena, struct node);
	seccomp_filter__init(&new->entry);
	new->entry.filter.len = n * sizeof *f;
	new->entry.filter.data = arena_dup(d->arena, f, n * sizeof *f);
	new->entry.has_prev = prev != NO_FILTER;
	new->entry.prev = new->entry.has_prev ? prev : 0;
	new->entry.has_flags = flags != 0;
	new->entry.flags = flags;
	new->index = (uint32_t)t->n;
	new->next = *bucket;
	*bucket = new;
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 16;
		SeccompFilter **more = arena_array(d->arena, SeccompFilter *, t->cap);
		if (t->n)
			memcpy(more, t->entries, t->n * sizeof *more);
		t->entries = more;
	}
	t->entries[t->n++] = &new->entry;
	return new->index;
}

static int explain(const struct thread *th, int error)
{
	int r = fail(error, "read a seccomp filter of " THREAD_FMT, THREAD_ARG(th));

	if (error == EACCES)
		fail_hint("it needs CAP_SYS_ADMIN, and torpor must not run under a seccomp filter itself");
	if (error == EMEDIUMTYPE)
		fail_hint("the kernel has kept no program for it");
	return r;
}

/* Before Linux 5.9 /proc does not tell: the first number that there is no filter for. */
static uint64_t count_filters(const struct thread *th, const struct task_status *st)
{
	uint64_t n = st->seccomp_filters;

	if (!n)
		while (ptrace(PTRACE_SECCOMP_GET_FILTER, th->host_tid, n, NULL) >= 0)
			n++;
	return n ? n : 1;   /* one at least: reading it says what is wrong */
}

int seccomp_dump(struct dump *d, struct thread *th, const struct task_status *st)
{
	ThreadCoreEntry *tce = th->core->thread_core;
	struct sock_filter f[BPF_MAXINSNS];
	uint32_t next = NO_FILTER;

	tce->has_seccomp_mode = st->seccomp_mode != 0;
	tce->seccomp_mode = (SeccompMode)st->seccomp_mode;
	if (st->seccomp_mode != SECCOMP_MODE_FILTER)
		return 0;
	for (uint64_t i = count_filters(th, st); i-- > 0;) {
		struct metadata meta = { .number = i };
		long n = ptrace(PTRACE_SECCOMP_GET_FILTER, th->host_tid, i, f);
		if (n < 0)
			return explain(th, errno);
		if (ptrace(PTRACE_SECCOMP_GET_METADATA, th->host_tid, sizeof meta, &meta) < 0)
			meta.flags = 0;   /* before Linux 4.16 there was none */
		next = intern(d, th, f, (size_t)n, next, (uint32_t)meta.flags);
	}
	tce->has_seccomp_filter = true;
	tce->seccomp_filter = next;
	return 0;
}

static bool same_chain(const struct task *t)
{
	const ThreadCoreEntry *leader = t->threads[0].core->thread_core;

	for (size_t i = 1; i < t->n_threads; i++) {
		const ThreadCoreEntry *e = t->threads[i].core->thread_core;
		if (!e->has_seccomp_filter || e->seccomp_filter != leader->seccomp_filter)
			return false;
	}
	return leader->has_seccomp_filter && t->n_threads > 1;
}

/* The chain that begins with a node, once more, with the TSYNC flag. (The one without stays in the image; another task may have it.) */
static uint32_t intern_for_all(struct dump *d, const struct thread *th, uint32_t index)
{
	const SeccompFilter *e = table(d)->entries[index];
	uint32_t next = e->has_prev ? intern_for_all(d, th, e->prev) : NO_FILTER;

	return intern(d, th, (const struct sock_filter *)e->filter.data, e->filter.len / sizeof(struct sock_filter), next,
		      e->flags | SECCOMP_FILTER_FLAG_TSYNC);
}

void seccomp_dump_end(struct dump *d, struct task *t)
{
	if (!same_chain(t))
		return;
	ThreadCoreEntry *leader = t->threads[0].core->thread_core;
	leader->seccomp_filter = intern_for_all(d, &t->threads[0], leader->seccomp_filter);
	for (size_t i = 1; i < t->n_threads; i++) {
		ThreadCoreEntry *e = t->threads[i].core->thread_core;
		e->has_seccomp_mode = e->has_seccomp_filter = false;
	}
}

int seccomp_write(struct dump *d)
{
	const struct seccomp_table *t = table(d);
	SeccompEntry e = SECCOMP_ENTRY__INIT;

	e.n_seccomp_filters = t->n;
	e.seccomp_filters = t->entries;
	return image_write_one(d->images, IMG_SECCOMP, 0, &e);
}
