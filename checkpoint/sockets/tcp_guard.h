/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SOCKETS_TCP_GUARD_H
#define SOCKETS_TCP_GUARD_H

#include "dump.h"

/* Who puts connections back if the engine does not (tcp_guard.c). All functions are harmless where there is no guard. */

int tcp_guard_start(struct dump *d);   /* with --tcp-established, before the tree stands */
void tcp_guard_end(struct dump *d);
/* A connection that is about to be changed: what it was like. */
struct tcp_was {
	int32_t peek_offset;
	bool reuse, inline_urgent, filtered;   /* filtered: by a program of its own, which stays */
};
int tcp_guard_add(struct dump *d, int fd, const struct tcp_was *was);
int *tcp_guard_program(struct dump *d);   /* for tcp_block() */
void tcp_put_back(int fd, const struct tcp_was *was);

/* The tasks are about to go on: all connections as they were. */
void tcp_let_go(struct dump *d);
/* The tasks are about to end: their connections end with them without a word to the peers. From here on the guard kills the tasks if the
 * engine cannot. */
int tcp_silence(struct dump *d);
/* The tasks are about to be left stopped: connections stay silent until one of the tasks runs. */
int tcp_watch(struct dump *d);

#endif
