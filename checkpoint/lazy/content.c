/* SPDX-License-Identifier: Apache-2.0 */
/* Page content for the pager, from two places at once: what the images have is read there, what a lazy dump left out (LAZY without PRESENT)
 * is asked of its page server. A page server answers a request (GET, with a bare pid) with ADD_F, the same address, and as many pages as it
 * likes, but not none; answers come in the order of the requests. The server is on a network: what it sends is checked like what a page
 * server is sent, and an answer that was not asked for ends the connection. */
#define LOG_PREFIX "lazy"
#include "lazy/content.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "mem/lazy.h"
#include "pages/channel.h"
#include "pages/wire.h"

#ifndef MADV_POPULATE_READ          /* Linux 5.14 */
#define MADV_POPULATE_READ 22
#endif

#define END_TRIES 60
#define REFUSED_TRIES 4

struct content {
	struct restore *r;
	const struct ck_page_peer *server;
	struct channel *channel;
};

/* The run that holds an address; NULL. */
static const struct image_run *run_of(const struct image_pages *p, uint64_t at)
{
	size_t i = image_run_at(p, at);

	return i < p->runs.n && p->runs.data[i].start <= at ? &p->runs.data[i] : NULL;
}

/* --- the connection --- */

void content_drop(struct content *c)
{
	channel_free(&c->channel);
}

/* What a failed transfer leaves is an error and no connection. */
static int checked(struct content *c, int e)
{
	if (e < 0)
		content_drop(c);
	return e;
}

static int send_message(struct content *c, const struct wire_message *m)
{
	unsigned char bytes[WIRE_SIZE];

	wire_encode(m, bytes);
	return c->channel ? channel_send(c->channel, bytes, sizeof bytes) : fail_text(ENOTCONN, "there is no connection to a page server");
}

/* An i32 answers a message of torpor's own, and CLOSE. */
static int say(struct content *c, enum wire_command command, uint64_t id, int32_t *status)
{
	const struct wire_message m = { .command = command, .id = id };
	int e = send_message(c, &m);

	return checked(c, e < 0 ? e : channel_recv(c->channel, status, sizeof *status));
}

/* A source that is torpor is asked whether it is the right one. */
static int content_connect(struct content *c)
{
	int32_t status = 0;
	int e = channel_connect(c->server, &c->channel);

	if (e == 0 && c->r->lazy_mark)
		e = say(c, WIRE_SAME, c->r->lazy_mark, &status);
	if (e == 0 && status != 0)
		e = fail_text(ESTALE, "%s serves another dump than the one that made these images", channel_name(c->channel));
	return checked(c, e);
}

int content_open(struct restore *r, const struct ck_page_peer *server, struct content **out)
{
	struct content *c = mem_zalloc(sizeof *c);
	int e = 0;

	c->r = r;
	c->server = server;
	*out = c;
	if (server)
		e = content_connect(c);
	for (size_t i = 0; e == 0 && i < r->tree->tasks.n; i++) {
		struct task_memory *m = task_memory(r, r->tree->tasks.data[i]);
		e = m ? pages_open(&m->pages) : 0;
		if (m)
			pages_map(&m->pages);
	}
	if (e < 0)
		content_free(out);
	return e;
}

void content_free(struct content **c)
{
	if (!*c)
		return;
	content_drop(*c);
	free(*c);
	*c = NULL;
}

bool content_is_remote(const struct content *c, const struct task *t, uint64_t at, uint64_t *size)
{
	const struct image_pages *p = &task_memory(c->r, t)->pages;
	const struct image_run *run = run_of(p, at);

	if (!run || !c->server)
		return false;
	bool remote = p->files.data[run->file].remote;
	uint64_t end = run->end;
	for (run++; run < p->runs.data + p->runs.n && run->start == end && end < at + *size; run++) {
		if (p->files.data[run->file].remote != remote)
			break;
		end = run->end;
	}
	*size = end - at < *size ? end - at : *size;
	return remote;
}

uint64_t content_stretch(const struct content *c, const struct task *t, uint64_t at, uint64_t size)
{
	const struct image_pages *p = &task_memory(c->r, t)->pages;
	const struct image_run *run = run_of(p, at);
	uint64_t end = at;

	for (; run && run < p->runs.data + p->runs.n && run->start <= end && end < at + size; run++)
		end = run->end;
	return end - at < size ? end - at : size;
}

int content_read(struct content *c, const struct task *t, uint64_t at, void *data, uint64_t size)
{
	const struct image_pages *p = &task_memory(c->r, t)->pages;
	char *to = data;

	while (size) {
		const struct image_run *run = run_of(p, at);
		if (!run)
			return fail_text(EINVAL, "task %d: the images have no page at %" PRIx64, t->pid, at);
		uint64_t part = run->end - at < size ? run->end - at : size;
		int e = fd_pread_all(p->files.data[run->file].fd, to, part, run->offset + (at - run->start));
		if (e < 0)
			return fail(-e, "task %d: read its pages image", t->pid);
		at += part;
		to += part;
		size -= part;
	}
	return 0;
}

const char *content_place(const struct content *c, const struct task *t, uint64_t at, uint64_t size)
{
	const struct image_pages *p = &task_memory(c->r, t)->pages;
	const struct image_run *run = run_of(p, at);
	const char *map = run ? p->files.data[run->file].map : NULL;

	if (!map || run->end - at < size)
		return NULL;
	map += run->offset + (at - run->start);
	return madvise((void *)(uintptr_t)map, size, MADV_POPULATE_READ) == 0 ? map : NULL;
}

int content_socket(const struct content *c)
{
	return c->channel ? channel_socket(c->channel) : -1;
}

bool content_pending(const struct content *c)
{
	return c->channel && channel_pending(c->channel);
}

uint64_t content_limit(const struct content *c)
{
	return c->r->lazy_mark ? CONTENT_MAX : 64u << 10;
}

int content_ask(struct content *c, const struct task *t, uint64_t at, uint64_t size)
{
	const struct wire_message m = { .command = WIRE_GET, .pages = size / PAGE, .address = at, .id = (uint64_t)t->pid };

	return checked(c, send_message(c, &m));
}

/* The id of an answer is what was asked for, a bare pid. */
static int decode_answer(struct content *c, unsigned char *bytes, uint64_t *id, struct wire_message *m)
{
	memcpy(id, bytes + 24, sizeof *id);
	uint64_t typed = *id << 8 | WIRE_TASK;
	memcpy(bytes + 24, &typed, sizeof typed);
	int e = wire_decode(bytes, m);
	if (e == 0 && (m->command != WIRE_ADD_F || !wire_content(m) || wire_content(m) > CONTENT_MAX))
		e = fail_text(EPROTO, "%s answers with what was not asked for", channel_name(c->channel));
	return e;
}

int content_answer(struct content *c, pid_t *pid, uint64_t *at, uint64_t *size, void *data)
{
	unsigned char bytes[WIRE_SIZE];
	struct wire_message m;
	uint64_t id = 0;
	int e = channel_recv(c->channel, bytes, sizeof bytes);

	if (e == 0)
		e = decode_answer(c, bytes, &id, &m);
	if (e == 0)
		e = channel_recv(c->channel, data, wire_content(&m));
	if (e < 0)
		return checked(c, e);
	*pid = (pid_t)id;
	*at = m.address;
	*size = wire_content(&m);
	return 0;
}

/* The source stands still until it hears this, so that a connection that was cut is worth some tries. But a source that is no longer there
 * may have heard it, and only its answer was lost. */
int content_end(struct content *c)
{
	const struct timespec pause = { .tv_nsec = 500000000 };
	size_t mark = err_mark();
	int32_t status = 0;
	int e = c->server ? -ENOTCONN : 0;

	for (int i = 0, refused = 0; c->server && i < END_TRIES && refused < REFUSED_TRIES; i++) {
		err_rewind(mark);
		e = c->channel ? 0 : content_connect(c);
		if (e == 0)
			e = say(c, WIRE_CLOSE, 0, &status);
		if (e == 0)
			return status ? fail_text(EIO, "%s does not end: status %d", channel_name(c->channel), status) : 0;
		refused += e == -ECONNREFUSED || e == -ENOENT;
		if (nanosleep(&pause, NULL) < 0)
			break;
	}
	if (e < 0)
		log_warn("all memory is here, but the source could not be told: if the program still stands there, end it (%s)", err_line(mark));
	err_rewind(mark);
	return 0;
}

void content_forget(struct content *c)
{
	c->channel = NULL;           /* what it has in memory is not worth the risk of its closing another's descriptor */
}

int content_again(struct content *c)
{
	size_t mark = err_mark();
	int e = content_connect(c);

	err_rewind(mark);
	return e;
}

int content_begin(struct content *c)
{
	int32_t status = 0;
	int e = c->server && c->r->lazy_mark ? say(c, WIRE_RUNS, 0, &status) : 0;

	return e == 0 && status ? fail_text(ECANCELED, "%s does not give its program away", channel_name(c->channel)) : e;
}

static int fetch_remote(struct content *c, const struct task *t, uint64_t at, uint64_t *size, void *data)
{
	pid_t pid = 0;
	uint64_t from = 0, got = 0;

	*size = *size < content_limit(c) ? *size : content_limit(c);
	int e = content_ask(c, t, at, *size);
	if (e == 0)
		e = content_answer(c, &pid, &from, &got, data);
	if (e == 0 && (pid != t->pid || from != at || got > *size))
		e = checked(c, fail_text(EPROTO, "%s answers with what was not asked for", channel_name(c->channel)));
	*size = e == 0 ? got : 0;
	return e;
}

int content_fetch(struct content *c, const struct task *t, uint64_t at, void *data, uint64_t size)
{
	autofree char *buffer = mem_alloc(CONTENT_MAX);
	int e = 0;

	for (uint64_t done = 0, part; e == 0 && done < size; done += part) {
		part = size - done;
		if (content_is_remote(c, t, at + done, &part)) {
			e = fetch_remote(c, t, at + done, &part, buffer);
			if (e == 0)
				memcpy((char *)data + done, buffer, part);
		} else {
			e = content_read(c, t, at + done, (char *)data + done, part);
		}
	}
	return e;
}
