/* SPDX-License-Identifier: Apache-2.0 */
/* Sending pages to a page server. One connection is one dump. The server says nothing while it is sent pages: what went wrong there is
 * known here as a connection that was reset, or by the status it answers CLOSE with. */
#include "pages/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/str.h"
#include "pages/channel.h"
#include "pages/wire.h"

struct page_client {
	struct channel *channel;
	bool handed;                 /* the caller's socket: it stays open behind us */
	struct wire_message current; /* the pagemap that is open */
};

static int lost(int r)
{
	if (r < 0)
		fail_hint("the page server's log tells why; the tasks go on where they were");
	return r;
}

static int send_header(struct page_client *c, const struct wire_message *m)
{
	unsigned char bytes[WIRE_SIZE];

	wire_encode(m, bytes);
	return channel_send(c->channel, bytes, sizeof bytes);
}

/* Any question will do, before anything relies on the connection: only its answer shows that the server takes our certificate (tls.c). */
static int try_out(struct page_client *c)
{
	const struct wire_message m = { .command = WIRE_PARENT, .id = 1 };
	int32_t answer;
	size_t mark = err_mark();

	if (send_header(c, &m) < 0)   /* it has gone, but not without a word */
		err_rewind(mark);
	return channel_recv(c->channel, &answer, sizeof answer);
}

int page_client_connect(const struct ck_page_peer *peer, struct page_client **out)
{
	struct channel *channel;
	int r = channel_connect(peer, &channel);

	if (r < 0)
		return r;
	struct page_client *c = mem_zalloc(sizeof *c);
	c->channel = channel;
	c->handed = peer->socket >= 0;
	*out = c;
	r = peer->tls ? try_out(c) : 0;
	if (r < 0)
		page_client_free(out);
	return r;
}

int page_client_open(struct page_client *c, bool segment, uint64_t id, bool *parent)
{
	unsigned char answer;

	c->current = (struct wire_message){ .command = WIRE_OPEN2, .id = id, .segment = segment };
	int r = send_header(c, &c->current);
	if (r == 0)
		r = channel_recv(c->channel, &answer, sizeof answer);
	if (r < 0)
		return lost(r);
	*parent = answer == 1;
	return 0;
}

int page_client_add(struct page_client *c, const struct client_piece *pieces, size_t n)
{
	unsigned char headers[PAGE_PIECES_MAX][WIRE_SIZE];
	struct iovec v[2 * PAGE_PIECES_MAX];
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		struct wire_message m = c->current;
		m.command = WIRE_ADD_F;
		m.flags = pieces[i].flags;
		m.address = pieces[i].address;
		m.pages = pieces[i].pages;
		wire_encode(&m, headers[i]);
		v[k++] = (struct iovec){ headers[i], WIRE_SIZE };
		if (wire_content(&m))
			v[k++] = (struct iovec){ (void *)(uintptr_t)pieces[i].data, wire_content(&m) };
	}
	return lost(channel_sendv(c->channel, v, k));
}

int page_client_finish(struct page_client *c)
{
	struct wire_message m = { .command = c->handed ? WIRE_FORCE_CLOSE : WIRE_CLOSE };
	int32_t status;
	int r = send_header(c, &m);

	if (r == 0)
		r = channel_recv(c->channel, &status, sizeof status);
	if (r < 0)
		return lost(r);
	if (status != 0)
		return fail_text(EIO, "%s could not store the pages (status %d): its log tells why", channel_name(c->channel), status);
	channel_free(&c->channel);
	return 0;
}

void page_client_free(struct page_client **c)
{
	if (!*c)
		return;
	channel_free(&(*c)->channel);
	free(*c);
	*c = NULL;
}
