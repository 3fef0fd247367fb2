/* SPDX-License-Identifier: Apache-2.0 */
/* Pages on their way to a page server (pages/client.c): nothing of them touches this machine's disk.
 *
 * Several threads read and one at a time sends: a chunk is read by whoever is free, and sent when all before it have been. Runs are cut
 * into chunks, each of them a message with its content; the server joins what touches. What has vanished of a running task is left
 * out.
 *
 * For a round that others will build on, what was sent is noted on this side (sent-pagemap-PID), as the server's pagemaps are not here: the next
 * round leaves out only what is in that list, and only if the server says that it has the earlier pagemap. The server checks both. */
#define LOG_PREFIX "mem"
#include <pthread.h>
#include <stdlib.h>

#include "base/err.h"
#include "mem/sink.h"
#include "model/tree.h"
#include "pagemap.pb-c.h"
#include "pages/client.h"

#define PAGE UINT64_C(4096)
#define CHUNK (POOL_BUFFER / 2)

struct part {
	uint64_t address, size;
	uint32_t flags;
	bool sole;
};
/* Parts that are read in one way and sent together. */
struct chunk {
	size_t first, n;
	uint64_t size;               /* of content */
};

struct server_sink {
	struct page_sink sink;
	struct pool *pool;
	struct page_client *client;
	struct image_dir *record;
	bool parent;                 /* the server has earlier images of what is open */
	enum image_kind kind;
	uint64_t id;
	const struct page_source *from;
	ARRAY(struct part) parts;
	ARRAY(struct chunk) chunks;
	uint64_t size;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	size_t turn;                 /* the chunk that is sent next */
	bool broken;
	struct ranges gone;
};

static struct server_sink *mine(struct page_sink *s)
{
	return (struct server_sink *)s;
}

static int server_open(struct page_sink *sink, enum image_kind kind, uint64_t id, const struct page_source *from)
{
	struct server_sink *s = mine(sink);

	s->kind = kind;
	s->id = id;
	s->from = from;
	s->parts.n = s->chunks.n = 0;
	s->size = 0;
	return page_client_open(s->client, kind == IMG_PAGEMAP_SHMEM, id, &s->parent);
}

static void add_part(struct server_sink *s, uint64_t address, uint64_t size, uint32_t flags, bool sole)
{
	struct chunk *c = s->chunks.n ? &s->chunks.data[s->chunks.n - 1] : NULL;
	bool present = flags & PAGEMAP_PRESENT;

	if (!c || c->n == PIECES_MAX || c->size + (present ? size : 0) > CHUNK ||
	    (present && c->size && s->parts.data[c->first].sole != sole)) {
		c = &array_push(&s->chunks);
		c->first = s->parts.n;
	}
	array_push(&s->parts) = (struct part){ address, size, flags, sole };
	/* A chunk's first part tells how its content is read. */
	if (present && !c->size)
		s->parts.data[c->first].sole = sole;
	c->n++;
	c->size += present ? size : 0;
	s->size += present ? size : 0;
}

static int server_add(struct page_sink *sink, const struct page_run *run)
{
	struct server_sink *s = mine(sink);
	uint32_t flags = run->flags & PAGEMAP_PARENT && !s->parent ? PAGEMAP_PRESENT : run->flags;
	bool present = flags & PAGEMAP_PRESENT, sole = present && source_is_sole(s->from, run->start, run->end);

	for (uint64_t at = run->start, size; at < run->end; at += size) {
		uint64_t room = CHUNK;
		if (s->chunks.n && s->chunks.data[s->chunks.n - 1].size < CHUNK)
			room = CHUNK - s->chunks.data[s->chunks.n - 1].size;
		size = !present || run->end - at < room ? run->end - at : room;
		add_part(s, at, size, flags, sole);
	}
	return 0;
}

/* --- a chunk --- */

/* False: another thread has failed, and tells why. */
static bool await_turn(struct server_sink *s, size_t i)
{
	pthread_mutex_lock(&s->lock);
	while (s->turn != i && !s->broken)
		pthread_cond_wait(&s->moved, &s->lock);
	bool broken = s->broken;
	pthread_mutex_unlock(&s->lock);
	return !broken;
}

static void end_turn(struct server_sink *s, int result)
{
	pthread_mutex_lock(&s->lock);
	s->broken |= result < 0;
	s->turn++;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
}

static bool is_gone(const struct ranges *gone, size_t *k, uint64_t page)
{
	while (*k < gone->list.n && gone->list.data[*k].end <= page)
		++*k;
	return *k < gone->list.n && gone->list.data[*k].start <= page;
}

struct message {
	struct client_piece pieces[PAGE_PIECES_MAX];
	size_t n;
};

static int message_send(struct server_sink *s, struct message *m)
{
	int r = m->n ? page_client_add(s->client, m->pieces, m->n) : 0;

	m->n = 0;
	return r;
}

static int message_add(struct server_sink *s, struct message *m, uint64_t address, uint64_t size, uint32_t flags, const char *data)
{
	int r = m->n == PAGE_PIECES_MAX ? message_send(s, m) : 0;

	m->pieces[m->n++] = (struct client_piece){ address, size / PAGE, flags, data };
	return r;
}

/* A part without the pages of it that have gone. */
static int add_what_is_there(struct server_sink *s, struct message *m, const struct part *p, const char *data, const struct ranges *gone)
{
	size_t k = 0;
	int r = 0;

	for (uint64_t at = 0, end; r == 0 && at < p->size; at = end) {
		bool missing = is_gone(gone, &k, p->address + at);
		for (end = at + PAGE; end < p->size && is_gone(gone, &k, p->address + end) == missing; end += PAGE)
			;
		if (!missing)
			r = message_add(s, m, p->address + at, end - at, p->flags, data + at);
	}
	return r;
}

static int send_chunk(struct server_sink *s, const struct chunk *c, const char *data, const struct ranges *gone)
{
	struct message m = { .n = 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n; i++) {
		const struct part *p = &s->parts.data[c->first + i];
		if (!(p->flags & PAGEMAP_PRESENT)) {
			r = message_add(s, &m, p->address, p->size, p->flags, NULL);
			continue;
		}
		r = add_what_is_there(s, &m, p, data, gone);
		data += p->size;
	}
	for (size_t i = 0; i < gone->list.n; i++)
		ranges_add(&s->gone, gone->list.data[i].start, gone->list.data[i].end);
	return r < 0 ? r : message_send(s, &m);
}

static int read_chunk(struct server_sink *s, const struct chunk *c, char *buffer, struct ranges *gone)
{
	struct page_piece pieces[PIECES_MAX];
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct part *p = &s->parts.data[c->first + i];
		if (p->flags & PAGEMAP_PRESENT)
			pieces[n++] = (struct page_piece){ p->address, p->size };
	}
	return n ? source_read(s->from, pieces, n, s->parts.data[c->first].sole, buffer, gone) : 0;
}

static int move_chunk(void *arg, size_t i, void *buffer)
{
	struct server_sink *s = arg;
	struct ranges gone = { 0 };
	int read = read_chunk(s, &s->chunks.data[i], buffer, &gone), r = 0;

	if (await_turn(s, i)) {
		r = read < 0 ? read : send_chunk(s, &s->chunks.data[i], buffer, &gone);
		end_turn(s, r);
	}
	array_free(&gone.list);
	return r;
}

/* --- what was sent --- */

static int record_range(struct image *i, uint64_t start, uint64_t end)
{
	PagemapEntry e = PAGEMAP_ENTRY__INIT;

	e.vaddr = start;
	e.has_nr_pages = e.has_flags = true;
	e.nr_pages = (end - start) / PAGE;
	e.flags = PAGEMAP_PRESENT;
	return image_write_message(i, &e);
}

/* What the server has now of the task, in this round or an earlier one. */
static void sent_ranges(const struct server_sink *s, struct ranges *sent)
{
	size_t k = 0;

	for (size_t i = 0; i < s->parts.n; i++) {
		const struct part *p = &s->parts.data[i];
		uint64_t at = p->address, end = p->address + p->size;
		for (; k < s->gone.list.n && s->gone.list.data[k].end <= at; k++)
			;
		for (size_t n = k; n < s->gone.list.n && s->gone.list.data[n].start < end; n++) {
			ranges_add(sent, at, s->gone.list.data[n].start);
			at = s->gone.list.data[n].end;
		}
		if (at < end)
			ranges_add(sent, at, end);
	}
}

static int record_write(struct server_sink *s)
{
	auto_image struct image *i = NULL;
	PagemapHead head = PAGEMAP_HEAD__INIT;
	struct ranges sent = { 0 };
	int r = image_create(s->record, IMG_SENT, s->id, &i);

	if (r == 0)
		r = image_write_message(i, &head);
	sent_ranges(s, &sent);
	for (size_t k = 0; r == 0 && k < sent.list.n; k++)
		r = record_range(i, sent.list.data[k].start, sent.list.data[k].end);
	array_free(&sent.list);
	return r < 0 ? r : image_close(&i);
}

static int server_close(struct page_sink *sink, struct ranges *gone)
{
	struct server_sink *s = mine(sink);

	s->turn = 0;
	s->broken = false;
	s->gone.list.n = 0;
	int r = pool_run(s->pool, s->chunks.n, s->size, move_chunk, s);
	if (r == 0 && s->record && s->kind == IMG_PAGEMAP)
		r = record_write(s);
	for (size_t i = 0; gone && r == 0 && i < s->gone.list.n; i++)
		ranges_add(gone, s->gone.list.data[i].start, s->gone.list.data[i].end);
	return r;
}

static int server_finish(struct page_sink *sink)
{
	return page_client_finish(mine(sink)->client);
}

static void server_free(struct page_sink *sink)
{
	struct server_sink *s = mine(sink);

	page_client_free(&s->client);
	array_free(&s->parts);
	array_free(&s->chunks);
	array_free(&s->gone.list);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->moved);
	free(s);
}

static const struct page_sink_ops ops = { server_open, server_add, server_close, server_finish, server_free };

int sink_server(const struct ck_page_peer *peer, struct pool *pool, struct image_dir *record, struct page_sink **out)
{
	struct page_client *client;
	int r = page_client_connect(peer, &client);

	if (r < 0)
		return r;
	struct server_sink *s = mem_zalloc(sizeof *s);
	s->sink.ops = &ops;
	s->pool = pool;
	s->client = client;
	s->record = record;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->moved, NULL);
	*out = &s->sink;
	return 0;
}
