/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_CHANNEL_H
#define PAGES_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "checkpoint.h"

/* A stream to the other side of a page server's protocol: a socket, with or without TLS. One thread sends and one receives at a time. Functions
 * return -errno and explain it, naming the peer. */
struct channel;

int channel_connect(const struct ck_page_peer *peer, struct channel **out);
/* The server's end of a connection, whose socket it takes, also when it fails. `where`: what the server was told. */
int channel_accept(const struct ck_page_peer *where, int sock, const char *who, struct channel **out);
const char *channel_name(const struct channel *c);

/* All of it. The vector is used up. */
int channel_send(struct channel *c, const void *data, size_t size);
int channel_sendv(struct channel *c, struct iovec *v, size_t n);
/* All of it; an end before that is -ECONNRESET. */
int channel_recv(struct channel *c, void *data, size_t size);
/* What there is, at least one byte; 0: the other side has ended. */
ssize_t channel_read(struct channel *c, void *data, size_t size);

/* To poll: when channel_pending(), there is something to read whatever poll says. */
int channel_socket(const struct channel *c);
bool channel_pending(const struct channel *c);
/* Nothing but a socket: what is sent and received may go past these functions (splice). */
bool channel_is_plain(const struct channel *c);
/* Ends it; NULL is harmless. */
void channel_free(struct channel **c);

#endif
