/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SOCKETS_SOCKET_H
#define SOCKETS_SOCKET_H

#include "files/kinds.h"

/* What all kinds of sockets share. */

int sock_int(const struct file_info *f, int level, int option);   /* getsockopt of an int; -1 if there is none */
/* One that was the caller's (--external) and is not given back. */
int sock_not_given(uint32_t ino);
/* Refuses a socket of another network namespace than the tree's. */
int sock_check_netns(struct dump *d, const struct file_info *f);

/* opts.c: the options of SOL_SOCKET. Buffer sizes are restored on their own, after contents were put in. */
int sock_opts_dump(struct dump *d, const struct file_info *f, SkOptsEntry **out);
int sock_opts_restore(struct restore *fresh, const FileEntry *e, int fd, const SkOptsEntry *o);   /* fresh: NULL, or see sock_set_new() */
int sock_filter_restore(const FileEntry *e, int fd, const SkOptsEntry *o);   /* part of sock_opts_restore() */
int sock_buffers_restore(const FileEntry *e, int fd, const SkOptsEntry *o);
int sock_set_int(const FileEntry *e, int fd, int level, int option, int value, const char *name);   /* if it differs */
/* The same, of an internet socket that was made a moment ago: what such a socket has is asked once, not of each. */
int sock_set_new(struct restore *r, const FileEntry *e, int fd, int level, int option, int value, const char *name);

/* queue.c: what a socket has received and nobody has read. shut: it gets nothing more. */
int sock_queue_dump(struct dump *d, const struct file_info *f, uint32_t id, int type, bool shut);
struct packet {
	uint32_t id_for, length;
	void *data;
};
struct packets {
	struct packet *data;
	size_t n, cap;
};
int sock_queues_read(struct restore *r, struct packets **out);   /* read at the first call */

#endif
