/* SPDX-License-Identifier: Apache-2.0 */
/* Much of a dump is reading /proc, which needs nothing but a task that stands still, while ptrace belongs to one thread of the engine. So
 * another thread reads, on another processor, what the dump is going to ask for: as soon as the tree stands, during the preparing of the
 * tasks and while the dump is busy with those before.
 *
 * 1. Nobody waits for the thread: a text that is there is taken; if not, the dump reads it itself, and the thread leaves it out or throws its
 *    own away.
 * 2. smaps is read when the task's batch pages are mapped and what a killed dump left is unmapped (ahead_mapped). All other texts say
 *    nothing that changes while a task stands, but for pending signals: those are asked of ptrace (task/signal.c).
 * 3. The thread keeps at most AHEAD tasks before the dump, so that memory does not grow with the tree.
 * 4. It makes plain system calls only and has all signals blocked. */
#include "remote/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/proc.h"

#define AHEAD 256

static const char *const names[AHEAD_TEXTS] = {
	[AHEAD_STAT] = "stat",     [AHEAD_STATUS] = "status",	  [AHEAD_AUXV] = "auxv",	 [AHEAD_TIMERS] = "timers",
	[AHEAD_OOM] = "oom_score_adj", [AHEAD_LOGINUID] = "loginuid", [AHEAD_SMAPS] = "smaps",
};

struct text {
	bool settled;           /* read, or the dump reads it itself */
	ssize_t result;
	char *text;             /* until it is taken */
};

struct slot {
	pid_t pid;              /* 0: a zombie, nothing to read */
	struct text texts[AHEAD_TEXTS];
};

struct ahead {
	pthread_t thread;
	pthread_mutex_t lock;   /* of all below */
	pthread_cond_t changed;
	bool stop, lean;
	struct slot *slots;     /* in the tree's order */
	size_t n, mapped;       /* how many may be read, but for smaps; smaps as well */
	size_t at;              /* where the dump is */
	size_t small, smaps;    /* what the thread reads next */
};

/* The kernel gives a page or so of text a read, and looks for its place again at each: the buffer never ends shortly behind it. */
static ssize_t read_smaps(pid_t pid, char **text)
{
	autoclose int fd = proc_open(pid, "smaps");
	size_t size = 64u << 10, n = 0;
	ssize_t got;

	if (fd < 0)
		return fd;
	autofree char *data = mem_alloc(size);
	while ((got = read(fd, data + n, size - n - 1)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		n += (size_t)got;
		if (size - n < 16u << 10)
			data = mem_realloc(data, size *= 2);
	}
	data[n] = 0;
	*text = take_ptr(&data);
	return (ssize_t)n;
}

/* A task whose smaps nobody is going to ask for. */
static bool is_lean(const struct ahead *a, pid_t pid, enum ahead_text which)
{
	return which == AHEAD_SMAPS && a->lean && proc_resident(pid) >= AHEAD_LARGE;
}

static ssize_t read_text(pid_t pid, enum ahead_text which, char **text)
{
	if (which == AHEAD_NS)
		return proc_ns_links(pid, text);
	return which == AHEAD_SMAPS ? read_smaps(pid, text) : proc_read(pid, names[which], text);
}

/* Called and returns with the lock. */
static void read_for_later(struct ahead *a, size_t i, enum ahead_text which)
{
	struct text *t = &a->slots[i].texts[which];
	pid_t pid = a->slots[i].pid;
	char *text = NULL;

	if (a->stop || !pid || i < a->at || t->settled)
		return;
	pthread_mutex_unlock(&a->lock);
	bool lean = is_lean(a, pid, which);
	ssize_t result = lean ? 0 : read_text(pid, which, &text);
	pthread_mutex_lock(&a->lock);
	if (lean || t->settled) {
		free(text);
		return;
	}
	*t = (struct text){ .settled = true, .result = result, .text = text };
}

/* Is there something for this cursor, up to the end of what may be read? */
static bool has_next(const struct ahead *a, size_t *next, size_t end)
{
	*next = *next < a->at ? a->at : *next;
	return *next < end && *next < a->at + AHEAD;
}

static void *read_ahead(void *arg)
{
	struct ahead *a = arg;

	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		bool small = has_next(a, &a->small, a->n), smaps = has_next(a, &a->smaps, a->mapped);
		if (small && (!smaps || a->small <= a->smaps)) {
			for (unsigned k = 0; k < AHEAD_SMAPS; k++)
				read_for_later(a, a->small, k);
			a->small++;
		} else if (smaps) {
			read_for_later(a, a->smaps++, AHEAD_SMAPS);
		} else {
			pthread_cond_wait(&a->changed, &a->lock);
		}
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

void ahead_begin(struct dump *d)
{
	struct ahead *a;
	cpu_set_t cpus;
	sigset_t all, before;

	if (sched_getaffinity(0, sizeof cpus, &cpus) < 0 || CPU_COUNT(&cpus) < 2)
		return;
	a = mem_zalloc(sizeof *a);
	a->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	a->changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&a->thread, NULL, read_ahead, a) == 0)
		d->ahead = a;
	else
		free(a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void ahead_standing(struct dump *d)
{
	struct ahead *a = d->ahead;

	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->n = d->tree->tasks.n;
	a->lean = d->lean_maps;
	a->slots = mem_zalloc(a->n * sizeof *a->slots);
	for (size_t i = 0; i < a->n; i++)
		a->slots[i].pid = d->tree->tasks.data[i]->state == TASK_DEAD ? 0 : d->tree->tasks.data[i]->host_pid;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

void ahead_mapped(struct dump *d, size_t n)
{
	struct ahead *a = d->ahead;

	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->mapped = n;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

/* From where the dump is: it asks in order. */
static struct slot *find_slot(struct ahead *a, pid_t pid)
{
	for (size_t i = a->at; i < a->n; i++) {
		if (a->slots[i].pid != pid)
			continue;
		if (i != a->at)
			pthread_cond_signal(&a->changed);
		a->at = i;
		return &a->slots[i];
	}
	return NULL;
}

ssize_t ahead_read(struct dump *d, const struct task *t, enum ahead_text which, char **text)
{
	struct ahead *a = d->ahead;
	struct text found = { 0 };

	if (a) {
		pthread_mutex_lock(&a->lock);
		struct slot *s = find_slot(a, t->host_pid);
		if (s) {
			found = s->texts[which];
			s->texts[which] = (struct text){ .settled = true };
		}
		pthread_mutex_unlock(&a->lock);
	}
	if (!found.text && found.result >= 0)
		return read_text(t->host_pid, which, text);
	*text = found.text;
	return found.result;
}

int ahead_stat(struct dump *d, struct task *t)
{
	autofree char *text = NULL;

	if (t->stat)
		return 0;
	ssize_t n = ahead_read(d, t, AHEAD_STAT, &text);
	if (n < 0)
		return (int)n;
	struct proc_stat *st = arena_new(d->arena, struct proc_stat);
	t->stat = st;
	return proc_stat_parse(text, st);
}

void ahead_end(struct dump *d)
{
	struct ahead *a = d->ahead;

	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	for (size_t i = 0; i < a->n; i++)
		for (unsigned k = 0; k < AHEAD_TEXTS; k++)
			free(a->slots[i].texts[k].text);
	free(a->slots);
	free(a);
	d->ahead = NULL;
}
