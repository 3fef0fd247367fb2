/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_SOCKET_H
#define PAGES_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

#include "checkpoint.h"

/* "10.0.0.2 port 1234", for messages. */
void page_peer_name(const struct ck_page_peer *p, char *text, size_t size);
/* A connected stream socket, or -errno, explained. A descriptor that the caller gave is duplicated. */
int page_connect(const struct ck_page_peer *p);
/* A listening socket; *port is what the kernel chose (0 for a unix socket). A descriptor that the caller gave may be a listening or a
 * connected socket: *connected tells. */
int page_listen(const struct ck_page_peer *p, int backlog, unsigned *port, bool *connected);

/* A peer that does not take what is sent for half a minute has gone. */
void page_patience(int sock);
/* Whole transfers on a stream socket; no signal when the peer has gone. 0 or a bare -errno (-ENODATA: it ended). */
int page_send(int sock, const void *data, size_t size);
int page_recv(int sock, void *data, size_t size);

#endif
