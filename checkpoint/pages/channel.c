/* SPDX-License-Identifier: Apache-2.0 */
/* A stream to the other side: the socket itself, or TLS over it (tls.c), which then begins at once, before any message. */
#include "pages/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "pages/socket.h"
#include "pages/tls.h"

struct channel {
	int sock;
	struct tls *tls;             /* NULL: none */
	char name[160];
};

static int channel_new(int sock, const char *name, struct channel **out)
{
	struct channel *c = mem_zalloc(sizeof *c);

	c->sock = sock;
	snprintf(c->name, sizeof c->name, "%s", name);
	*out = c;
	return 0;
}

/* The name that the server's certificate is to have. */
static int wanted_name(const struct ck_page_peer *p, const char **name)
{
	*name = p->tls->any_name ? NULL : p->address;
	if (p->tls->any_name || (p->address && *p->address != '/'))
		return 0;
	fail_text(EINVAL, "--tls: there is no name here that the page server's certificate could be checked against");
	fail_hint("give --address, or --tls-no-cn-verify if any name will do");
	return -EINVAL;
}

int channel_connect(const struct ck_page_peer *peer, struct channel **out)
{
	char address[128], name[160];
	const char *wanted = NULL;
	int r = peer->tls ? tls_check(peer->tls, false) : 0;

	if (r == 0 && peer->tls)
		r = wanted_name(peer, &wanted);
	if (r < 0)
		return r;
	int sock = page_connect(peer);
	if (sock < 0)
		return sock;
	page_peer_name(peer, address, sizeof address);
	snprintf(name, sizeof name, "the page server %s", address);
	channel_new(sock, name, out);
	r = peer->tls ? tls_start(peer->tls, false, sock, wanted, name, &(*out)->tls) : 0;
	if (r < 0)
		channel_free(out);
	return r;
}

int channel_accept(const struct ck_page_peer *where, int sock, const char *who, struct channel **out)
{
	channel_new(sock, who, out);
	int r = where->tls ? tls_start(where->tls, true, sock, NULL, who, &(*out)->tls) : 0;
	if (r < 0)
		channel_free(out);
	return r;
}

const char *channel_name(const struct channel *c)
{
	return c->name;
}

static int send_plain(struct channel *c, struct iovec *v, size_t n)
{
	while (n) {
		struct msghdr m = { .msg_iov = v, .msg_iovlen = n };
		ssize_t sent = sendmsg(c->sock, &m, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return fail(errno, "send to %s", c->name);
		for (; n && (size_t)sent >= v->iov_len; v++, n--)
			sent -= (ssize_t)v->iov_len;
		if (n)
			*v = (struct iovec){ (char *)v->iov_base + sent, v->iov_len - (size_t)sent };
	}
	return 0;
}

int channel_sendv(struct channel *c, struct iovec *v, size_t n)
{
	int r = 0;

	if (!c->tls)
		return send_plain(c, v, n);
	for (size_t i = 0; i < n && r == 0; i++)
		r = tls_write(c->tls, v[i].iov_base, v[i].iov_len);
	return r < 0 ? r : tls_flush(c->tls);
}

int channel_send(struct channel *c, const void *data, size_t size)
{
	struct iovec v = { (void *)(uintptr_t)data, size };

	return channel_sendv(c, &v, 1);
}

ssize_t channel_read(struct channel *c, void *data, size_t size)
{
	ssize_t n;

	if (c->tls)
		return tls_read(c->tls, data, size);
	while ((n = recv(c->sock, data, size, 0)) < 0 && errno == EINTR)
		;
	return n < 0 ? fail(errno, "receive from %s", c->name) : n;
}

int channel_recv(struct channel *c, void *data, size_t size)
{
	for (char *at = data; size;) {
		ssize_t n = channel_read(c, at, size);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return fail_text(ECONNRESET, "%s has closed the connection", c->name);
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int channel_socket(const struct channel *c)
{
	return c->sock;
}

bool channel_pending(const struct channel *c)
{
	return c->tls && tls_pending(c->tls);
}

bool channel_is_plain(const struct channel *c)
{
	return !c->tls;
}

void channel_free(struct channel **c)
{
	if (!*c)
		return;
	tls_free(&(*c)->tls);
	fd_close(&(*c)->sock);
	free(*c);
	*c = NULL;
}
