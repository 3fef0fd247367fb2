/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_TLS_H
#define PAGES_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "checkpoint.h"

/* TLS over a connected stream socket, with certificates on both sides. Below pages/channel.h, which is what others use. */
struct tls;

/* Whether the files named in `o` can be used at all; 0 or -errno, explained. */
int tls_check(const struct ck_tls *o, bool server);
/* The handshake, at most 30 s of it. The socket stays the caller's. name: what the peer's certificate is to be for; NULL: any name. who: the peer,
 * for messages. 0 or -errno, explained. */
int tls_start(const struct ck_tls *o, bool server, int sock, const char *name, const char *who, struct tls **out);
/* All of it, by tls_flush() at the latest; 0 or -errno, explained. */
int tls_write(struct tls *t, const void *data, size_t size);
int tls_flush(struct tls *t);
/* What there is, at least one byte; 0: the peer has ended; -errno, explained. */
ssize_t tls_read(struct tls *t, void *data, size_t size);
/* There is something to read, which the socket does not show. */
bool tls_pending(const struct tls *t);
/* Tells the peer that nothing more comes, and frees. */
void tls_free(struct tls **t);

#endif
