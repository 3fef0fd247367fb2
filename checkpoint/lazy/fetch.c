/* SPDX-License-Identifier: Apache-2.0 */
/* The pager's side of a page server: requests in a line, answers in the same order, pages put where they are missing still.
 *
 * 1. The server always has something to do, but faults come first: while there are some, the line is kept short.
 * 2. What has moved between request and answer is not put: it is still missing where it is now, and asked for again.
 * 3. A connection that is lost is tried again every second; until then those who need what is missing stand in their faults, and the log
 *    names them. What is here already keeps running. */
#define LOG_PREFIX "lazy"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/stage.h"
#include "lazy/internal.h"

#define ASKED_LARGE (256u << 10)   /* when there are no faults; so many at once: */
#define ASKED_AT_ONCE 4u

static void connection_lost(struct pager *p)
{
	if (p->lost)
		return;
	log_error("%s", err_line(err_count() - 1));
	for (size_t i = 0; i < p->tasks.n; i++)
		if (p->tasks.data[i]->space.size)
			log_error("task %d stands still when it needs one of the %" PRIu64 " KiB of its memory that are missing",
				  p->tasks.data[i]->task->pid, p->tasks.data[i]->space.size >> 10);
	log_error("trying again every second: start the page server again, or end the tasks");
	err_clear();
	*journal_fd(p->journal, JOURNAL_SERVER) = -1;
	p->asked.n = 0;
	p->lost = true;
	p->lost_us = clock_us();
	for (size_t i = 0; i < p->tasks.n; i++)
		for (size_t k = 0; k < p->tasks.data[i]->faults.n; k++)
			p->tasks.data[i]->faults.data[k].asked = false;
}

void fetch_reconnect(struct pager *p)
{
	if (!p->lost || clock_us() - p->lost_us < FETCH_RETRY_US)
		return;
	p->lost_us = clock_us();
	if (content_again(p->content) == 0) {
		*journal_fd(p->journal, JOURNAL_SERVER) = content_socket(p->content);
		p->lost = false;
		log_warn("connected to the page server again");
	}
}

void fetch_pages(struct pager *p, struct lazy_task *l, uint64_t address, uint64_t at, uint64_t size)
{
	if (p->lost)
		return;
	if (content_ask(p->content, l->task, at, size) < 0) {
		connection_lost(p);
		return;
	}
	array_push(&p->asked) = (struct asked){ l, address, at, size };
}

const struct asked *fetch_find(const struct pager *p, const struct lazy_task *l, uint64_t address)
{
	for (size_t i = 0; i < p->asked.n; i++)
		if (p->asked.data[i].t == l && p->asked.data[i].address <= address && address < p->asked.data[i].address + p->asked.data[i].size)
			return &p->asked.data[i];
	return NULL;
}

static int put_answer(struct pager *p, const struct asked *a, const char *data, uint64_t size)
{
	int e = 0;

	for (uint64_t at = 0; e == 0 && at < size && !a->t->gone;) {
		const struct missing *m = space_next(&a->t->space, a->address + at);
		if (!m || m->start >= a->address + size)
			break;
		uint64_t start = m->start > a->address + at ? m->start : a->address + at;
		uint64_t end = m->end < a->address + size ? m->end : a->address + size;
		if (m->at + (start - m->start) == a->at + (start - a->address))
			e = put(p, a->t, start, data + (start - a->address), end - start);
		at = end - a->address;
	}
	return e == -EAGAIN ? 0 : e;
}

int fetch_answer(struct pager *p)
{
	pid_t pid;
	uint64_t at, size;

	if (content_answer(p->content, &pid, &at, &size, p->buffer) < 0) {
		connection_lost(p);
		return 0;
	}
	struct asked a = p->asked.n ? p->asked.data[0] : (struct asked){ 0 };
	if (!a.t || a.t->task->pid != pid || a.at != at || size > a.size) {
		fail_text(EPROTO, "the page server answers with pages of task %d at %" PRIx64 ", which were not asked for", pid, at);
		content_drop(p->content);
		connection_lost(p);
		return 0;
	}
	memmove(p->asked.data, p->asked.data + 1, --p->asked.n * sizeof a);
	return put_answer(p, &a, p->buffer, size);
}

void fetch_some(struct pager *p)
{
	uint64_t limit = piece_size(p) < ASKED_LARGE ? piece_size(p) : ASKED_LARGE;
	size_t most = limit < ASKED_LARGE ? 1 : ASKED_AT_ONCE;
	limit = limit < content_limit(p->content) ? limit : content_limit(p->content);
	struct lazy_task *l;
	struct piece c;

	while (p->go && !p->lost && content_socket(p->content) >= 0 && p->asked.n < most && (l = next_piece(p, true, limit, &c)))
		fetch_pages(p, l, c.address, c.at, c.size);
}
