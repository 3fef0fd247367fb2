/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SOCKETS_TCP_CLOSE_H
#define SOCKETS_TCP_CLOSE_H

#include "dump.h"

/* Connections that end with their tasks (tcp_close.c). */
void tcp_close_note(struct dump *d, int fd);
void tcp_close_now(struct dump *d);      /* the tasks are about to end */
void tcp_close_end(struct dump *d);

#endif
