/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SOCKETS_DIAG_H
#define SOCKETS_DIAG_H

#include <linux/inet_diag.h>
#include <linux/unix_diag.h>

#include "base/netlink.h"

/* What sock_diag answers about a socket (diag.c). Pointers point into the message. 0, or -EBADMSG. */

struct diag_inet {
	uint32_t inode;
	uint8_t family, state;
	struct inet_diag_sockid id;
	const void *md5;                 /* keys that its segments are signed with: an array of struct tcp_diag_md5sig; NULL: none */
	size_t md5_size;
};
int diag_inet(const struct nlmsghdr *m, struct diag_inet *out);

struct diag_unix {
	uint32_t ino, peer, backlog;
	uint8_t state, shutdown;
	const void *name;                /* NULL: none */
	size_t name_size;
	const uint32_t *clients;         /* inodes that wait to be accepted */
	size_t n_clients;
};
int diag_unix(const struct nlmsghdr *m, struct diag_unix *out);

#endif
