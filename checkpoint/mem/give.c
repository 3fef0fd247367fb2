/* SPDX-License-Identifier: Apache-2.0 */
/* The source of a lazy migration: the memory that a lazy dump has left out of its images is served out of the tasks, which stand still
 * until all of it has been fetched (pages/giver.c).
 *
 * 1. Any page of a private mapping that was found is served, whatever the images say of it: the tasks have them all.
 * 2. Nothing is lost or run twice. Until the program is taken over, all that goes wrong lets it go on here. Before the answer that lets
 *    it run over there every task gets a SIGSTOP, which waits as long as the task is traced: whatever ends the dump without the last
 *    word of the other side, be it SIGKILL, leaves the program standing here, and who knows that it does not run there lets it
 *    go on with SIGCONT.
 * 3. The tasks are alive: one that is killed by others meanwhile cannot be read any more, which ends the dump with an error. */
#define LOG_PREFIX "lazy"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "mem/dumping.h"
#include "mem/mem.h"
#include "pages/giver.h"
#include "pages/socket.h"
#include "pages/wire.h"

#define PAGE UINT64_C(4096)

struct lazy_source {
	int sock;
	unsigned port;
	bool connected;
};

int lazy_listen(struct dump *d)
{
	if (!d->o->lazy_pages)
		return 0;
	struct lazy_source *l = d->lazy = mem_zalloc(sizeof *l);
	l->sock = page_listen(d->o->lazy_pages, 16, &l->port, &l->connected);
	return l->sock < 0 ? l->sock : 0;
}

void lazy_end(struct dump *d)
{
	if (d->lazy)
		fd_close(&d->lazy->sock);
	free(d->lazy);
	d->lazy = NULL;
}

static const struct task *task_of(const struct dump *d, pid_t pid)
{
	const struct task *t = tree_find(d->tree, pid);

	return t && t->state != TASK_DEAD ? t : NULL;
}

static uint64_t stretch(void *arg, pid_t pid, uint64_t address, uint64_t pages)
{
	struct dump *d = arg;
	const struct task *t = task_of(d, pid);
	const struct task_pages *p = t ? task_pages_of(d, t) : NULL;
	size_t low = 0, high = p ? p->found.pages.list.n : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (p->found.pages.list.data[middle].end > address)
			high = middle;
		else
			low = middle + 1;
	}
	if (!p || low == p->found.pages.list.n || p->found.pages.list.data[low].start > address)
		return 0;
	uint64_t have = (p->found.pages.list.data[low].end - address) / PAGE;
	return have < pages ? have : pages;
}

static int read_task(void *arg, pid_t pid, uint64_t address, char *buffer, uint64_t size)
{
	struct dump *d = arg;
	const struct task *t = task_of(d, pid);
	const struct task_pages *p = task_pages_of(d, t);
	autofree char *what = str_printf("task %d", pid);
	struct page_source from = { .fd = remote_mem_fd(t->threads[0].remote), .pid = t->host_pid, .sole = &p->sole, .what = what };
	struct page_piece piece = { address, size };

	return source_read(&from, &piece, 1, source_is_sole(&from, address, address + size), buffer, NULL);
}

static void taken(void *arg)
{
	struct dump *d = arg;

	for (size_t i = 0; i < d->tree->tasks.n; i++)
		if (d->tree->tasks.data[i]->state != TASK_DEAD)
			kill(d->tree->tasks.data[i]->host_pid, SIGSTOP);
	d->taken = true;
	log_info("the program is taken over");
}

int lazy_serve(struct dump *d)
{
	struct lazy_source *l = d->lazy;
	const struct giver g = {
		.where = d->o->lazy_pages,
		.mark = wire_mark(d->run_id), .harmless = !d->stats.pages_lazy, .stop_fd = d->o->stop_fd,
		.stretch = stretch, .read = read_task, .taken = taken, .arg = d,
	};

	log_info("%" PRIu64 " MiB are left to be fetched", d->stats.pages_lazy >> 8);
	int r = d->o->ready ? d->o->ready(d->o->arg, l->port) : 0;   /* the images, a log among them perhaps, may be copied from here on */
	if (r >= 0)
		r = giver_run(&g, take_fd(&l->sock), l->connected);
	if (r < 0 && d->taken)
		fail_hint("its processes are stopped here: if it does not run there, `kill -CONT` lets them go on");
	return r;
}
