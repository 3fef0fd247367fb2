/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SOCKETS_TCP_H
#define SOCKETS_TCP_H

#include <netinet/in.h>

#include "sockets/socket.h"

/* What the files about TCP connections share (inet.c, tcp_save.c, tcp_restore.c, tcp_inject.c). */

union inet_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};
struct inet_text {
	char text[INET6_ADDRSTRLEN + 16];
};
struct inet_text inet_show(const union inet_address *a);   /* "10.0.0.1:80", for messages */
socklen_t inet_size(const union inet_address *a);
/* An address of the entry, mapped as the caller wishes (--map-address). */
int inet_own_address(struct restore *r, const FileEntry *e, union inet_address *a);
int inet_peer_address(struct restore *r, const FileEntry *e, union inet_address *a);
void inet_map(const struct restore *r, union inet_address *a);

/* State of a connection, in the kernel's numbering (tcpi_state). */
bool tcp_connected(uint32_t state);      /* neither closed nor listening */

/* tcp_diag.c. Whom a socket that is not connected yet connects to. */
int tcp_ask_peer(struct dump *d, const struct file_info *f, const InetSkEntry *i, union inet_address *peer);
/* Keys of a connection, whose names are in the entry. Refuses protocols on top, too. */
int tcp_dump_keys(struct dump *d, const struct file_info *f, InetSkEntry *i);
int tcp_dump_listening_keys(struct dump *d, const struct file_info *f, InetSkEntry *i);
int tcp_restore_keys(struct restore *r, const FileEntry *e, int fd);

/* tcp_save.c: a connection into its image, with --tcp-established. */
int tcp_save(struct dump *d, const struct file_info *f, InetSkEntry *i, const union inet_address *own, const union inet_address *peer);

/* tcp_restore.c, in the builder. fd: new, with its options. Until tcp_resume() it neither sends nor takes anything. */
int tcp_rebuild(struct restore *r, const FileEntry *e, int fd);
int tcp_resume(struct restore *r);       /* all of them */

/* multicast.c: the groups that a socket has joined */
void multicast_dump(struct dump *d, const struct file_info *f, InetSkEntry *i);
void multicast_restore(const FileEntry *e, int fd);

/* inet_options.c: what CRIU's messages have no place for. */
void inet_options_dump(struct dump *d, const struct file_info *f, InetSkEntry *i);
int inet_options_restore(struct restore *r, const FileEntry *e, int fd);

/* tcp_inject.c: a segment from the peer, as far as the socket can tell. */
struct segment {
	const union inet_address *from, *to;
	uint32_t seq, ack;
	uint16_t window, urgent;             /* urgent: 0, or how many bytes from seq on are */
	bool fin;
	const void *data;
	size_t size;
};
int tcp_inject(const FileEntry *e, const struct segment *s);
/* A filter that lets nothing but injected segments through to the socket; its program is kept in *program (-1 at first). */
int tcp_block(int fd, int *program);
#define TCP_MARK 0xC114u                 /* of packets that the engine sends: CRIU's */

#endif
