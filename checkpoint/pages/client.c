/* SPDX-License-Identifier: Apache-2.0 */
/* Sending pages to a page server. One connection is one dump. The server says nothing while it is sent pages: what went wrong there is
 * known here as a connection that was reset, or by the status it answers CLOSE with. */
#include "pages/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "pages/socket.h"
#include "pages/wire.h"

struct page_client {
	int sock;
	bool handed;                 /* the caller's socket: it stays open behind us */
	char name[128];
	struct wire_message current; /* the pagemap that is open */
};

static int lost(const struct page_client *c, int error)
{
	int r = error == ENODATA ? fail_text(ECONNRESET, "the page server %s has closed the connection", c->name) :
				   fail(error, "send pages to the page server %s", c->name);

	fail_hint("its log tells why; the tasks go on where they were");
	return r;
}

int page_client_connect(const struct ck_page_peer *peer, struct page_client **out)
{
	int sock = page_connect(peer);

	if (sock < 0)
		return sock;
	struct page_client *c = mem_zalloc(sizeof *c);
	c->sock = sock;
	c->handed = peer->socket >= 0;
	page_peer_name(peer, c->name, sizeof c->name);
	*out = c;
	return 0;
}

static int send_header(struct page_client *c, const struct wire_message *m)
{
	unsigned char bytes[WIRE_SIZE];

	wire_encode(m, bytes);
	return page_send(c->sock, bytes, sizeof bytes);
}

int page_client_open(struct page_client *c, bool segment, uint64_t id, bool *parent)
{
	unsigned char answer;

	c->current = (struct wire_message){ .command = WIRE_OPEN2, .id = id, .segment = segment };
	int r = send_header(c, &c->current);
	if (r == 0)
		r = page_recv(c->sock, &answer, sizeof answer);
	if (r < 0)
		return lost(c, -r);
	*parent = answer == 1;
	return 0;
}

static int send_vector(struct page_client *c, struct iovec *v, size_t n)
{
	while (n) {
		struct msghdr m = { .msg_iov = v, .msg_iovlen = n };
		ssize_t sent = sendmsg(c->sock, &m, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		for (; n && (size_t)sent >= v->iov_len; v++, n--)
			sent -= (ssize_t)v->iov_len;
		if (n)
			*v = (struct iovec){ (char *)v->iov_base + sent, v->iov_len - (size_t)sent };
	}
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
	int r = send_vector(c, v, k);
	return r < 0 ? lost(c, -r) : 0;
}

int page_client_finish(struct page_client *c)
{
	struct wire_message m = { .command = c->handed ? WIRE_FORCE_CLOSE : WIRE_CLOSE };
	int32_t status;
	int r = send_header(c, &m);

	if (r == 0)
		r = page_recv(c->sock, &status, sizeof status);
	if (r < 0)
		return lost(c, -r);
	if (status != 0)
		return fail_text(EIO, "the page server %s could not store the pages (status %d): its log tells why", c->name, status);
	fd_close(&c->sock);
	c->sock = -1;
	return 0;
}

void page_client_free(struct page_client **c)
{
	if (!*c)
		return;
	fd_close(&(*c)->sock);
	free(*c);
	*c = NULL;
}
