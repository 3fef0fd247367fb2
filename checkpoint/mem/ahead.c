/* SPDX-License-Identifier: Apache-2.0 */
/* Reading smaps is the longest single step of a small task's dump (100 us for 25 mappings: the kernel walks all page tables), and needs
 * nothing but a task that stands still. So a thread reads it for the tasks that come next while the dump is busy with one.
 *
 * Each task has a slot. Whoever comes first, the thread or the dump, claims it (FREE -> TAKEN) and reads; a text that is there (DONE)
 * is handed to the dump once. The thread keeps at most AHEAD tasks before the dump, so that memory does not grow with the tree. */
#include "mem/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/proc.h"

#define AHEAD 64
#define TASKS_MIN 4   /* in the tree, for a thread to be worth it */

enum state { FREE, TAKEN, DONE };

struct slot {
	const struct task *task;
	pid_t pid;
	enum state state;
	int result;
	char *text;
};

struct ahead {
	struct slot *slots;
	size_t n, at;           /* at: where the dump is */
	bool threaded, stop;
	pthread_t thread;
	pthread_mutex_t lock;   /* of all above */
	pthread_cond_t changed;
};

/* The kernel gives a page or so of text a read, and looks for its place again at each: the buffer never ends shortly behind it. */
static int read_smaps(pid_t pid, char **text)
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
	return 0;
}

static void *read_ahead(void *arg)
{
	struct ahead *a = arg;

	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < a->n && !a->stop; i++) {
		struct slot *s = &a->slots[i];
		while (i > a->at + AHEAD && !a->stop)
			pthread_cond_wait(&a->changed, &a->lock);
		if (a->stop || s->state != FREE)
			continue;
		s->state = TAKEN;
		pthread_mutex_unlock(&a->lock);
		char *text = NULL;
		int result = read_smaps(s->pid, &text);
		pthread_mutex_lock(&a->lock);
		s->text = text;
		s->result = result;
		s->state = DONE;
		pthread_cond_broadcast(&a->changed);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

static void start_thread(struct ahead *a)
{
	cpu_set_t cpus;
	sigset_t all, before;

	if (a->n < TASKS_MIN || sched_getaffinity(0, sizeof cpus, &cpus) < 0 || CPU_COUNT(&cpus) < 2)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	a->threaded = pthread_create(&a->thread, NULL, read_ahead, a) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static struct ahead *ahead_new(const struct tree *t)
{
	struct ahead *a = mem_zalloc(sizeof *a);

	a->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	a->changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	a->slots = mem_zalloc(t->tasks.n * sizeof *a->slots);
	for (size_t i = 0; i < t->tasks.n; i++)
		if (t->tasks.data[i]->state != TASK_DEAD)
			a->slots[a->n++] = (struct slot){ .task = t->tasks.data[i], .pid = t->tasks.data[i]->host_pid };
	start_thread(a);
	return a;
}

/* From where the dump is: it asks in order. */
static struct slot *find_slot(struct ahead *a, const struct task *t)
{
	for (size_t i = a->at; i < a->n; i++)
		if (a->slots[i].task == t) {
			a->at = i;
			return &a->slots[i];
		}
	return NULL;
}

int ahead_smaps(struct dump *d, struct ahead **ap, const struct task *t, char **text)
{
	if (!*ap)
		*ap = ahead_new(d->tree);
	struct ahead *a = *ap;
	int result = 0;
	bool own = true;

	pthread_mutex_lock(&a->lock);
	struct slot *s = find_slot(a, t);
	pthread_cond_broadcast(&a->changed);
	if (s && s->state == FREE) {
		s->state = TAKEN;
	} else if (s) {
		while (s->state != DONE)
			pthread_cond_wait(&a->changed, &a->lock);
		*text = s->text;
		s->text = NULL;
		result = s->result;
		own = !*text && result == 0;   /* asked for a second time */
	}
	pthread_mutex_unlock(&a->lock);
	return own ? read_smaps(t->host_pid, text) : result;
}

void ahead_end(struct ahead **ap)
{
	struct ahead *a = *ap;

	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
	if (a->threaded)
		pthread_join(a->thread, NULL);
	for (size_t i = 0; i < a->n; i++)
		free(a->slots[i].text);
	free(a->slots);
	free(a);
	*ap = NULL;
}
