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
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "mem/lazy.h"
#include "pages/socket.h"
#include "pages/wire.h"

struct content {
	struct restore *r;
	const struct ck_page_peer *server;
	int sock;
	char name[128];
};

/* The run that holds an address; NULL. */
static const struct image_run *run_of(const struct image_pages *p, uint64_t at)
{
	size_t low = 0, high = p->runs.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (p->runs.data[middle].end > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low < p->runs.n && p->runs.data[low].start <= at ? &p->runs.data[low] : NULL;
}

int content_open(struct restore *r, const struct ck_page_peer *server, struct content **out)
{
	struct content *c = mem_zalloc(sizeof *c);
	int e = 0;

	c->r = r;
	c->server = server;
	c->sock = -1;
	*out = c;
	if (server) {
		page_peer_name(server, c->name, sizeof c->name);
		c->sock = page_connect(server);
		e = c->sock < 0 ? c->sock : 0;
	}
	for (size_t i = 0; e == 0 && i < r->tree->tasks.n; i++) {
		struct task_memory *m = task_memory(r, r->tree->tasks.data[i]);
		e = m ? pages_open(&m->pages) : 0;
	}
	if (e < 0)
		content_free(out);
	return e;
}

void content_free(struct content **c)
{
	if (!*c)
		return;
	fd_close(&(*c)->sock);
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

int content_socket(const struct content *c)
{
	return c->sock;
}

void content_drop(struct content *c)
{
	fd_close(&c->sock);
	c->sock = -1;
}

static int gone(struct content *c, int error)
{
	content_drop(c);
	return error == ENODATA ? fail_text(ECONNRESET, "the page server %s has closed the connection", c->name) :
				  fail(error, "fetch pages from the page server %s", c->name);
}

int content_ask(struct content *c, const struct task *t, uint64_t at, uint64_t size)
{
	const struct wire_message m = { .command = WIRE_GET, .pages = size / PAGE, .address = at, .id = (uint64_t)t->pid };
	unsigned char bytes[WIRE_SIZE];

	wire_encode(&m, bytes);
	int e = c->sock < 0 ? -ENOTCONN : page_send(c->sock, bytes, sizeof bytes);
	return e < 0 ? gone(c, -e) : 0;
}

int content_answer(struct content *c, pid_t *pid, uint64_t *at, uint64_t *size, void *data)
{
	unsigned char bytes[WIRE_SIZE];
	struct wire_message m;
	int e = page_recv(c->sock, bytes, sizeof bytes);

	if (e < 0)
		return gone(c, -e);
	/* The id is what was asked for, a bare pid. */
	uint64_t id;
	__builtin_memcpy(&id, bytes + 24, sizeof id);
	uint64_t typed = id << 8 | WIRE_TASK;
	__builtin_memcpy(bytes + 24, &typed, sizeof typed);
	e = wire_decode(bytes, &m);
	if (e == 0 && (m.command != WIRE_ADD_F || !wire_content(&m) || wire_content(&m) > CONTENT_MAX))
		e = fail_text(EPROTO, "the page server %s answers with what was not asked for", c->name);
	if (e < 0) {
		content_drop(c);
		return e;
	}
	*pid = (pid_t)id;
	*at = m.address;
	*size = wire_content(&m);
	e = page_recv(c->sock, data, *size);
	return e < 0 ? gone(c, -e) : 0;
}

int content_end(struct content *c)
{
	const struct wire_message m = { .command = WIRE_CLOSE };
	unsigned char bytes[WIRE_SIZE];
	int32_t status = 0;

	if (c->sock < 0)
		return 0;
	wire_encode(&m, bytes);
	int e = page_send(c->sock, bytes, sizeof bytes);
	if (e == 0)
		e = page_recv(c->sock, &status, sizeof status);
	return e < 0 ? gone(c, -e) : 0;
}

int content_again(struct content *c)
{
	size_t mark = err_mark();
	int sock = page_connect(c->server);

	err_rewind(mark);
	c->sock = sock < 0 ? -1 : sock;
	return sock < 0 ? sock : 0;
}
