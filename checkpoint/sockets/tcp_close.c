/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are given up with a checkpoint (--tcp-close): what remains of them must not stand in the way of the restore.
 *
 * When the tasks have ended, the kernel says good-bye to the peers for them, which takes it a minute (TIME-WAIT, of either end on the loopback).
 * Meanwhile their port can be bound again only if both had SO_REUSEADDR: the restore sets it for the moment (inet.c), and here, when nothing
 * can fail any more, the connections get it.
 *
 * Best effort: a descriptor that cannot be had is left out. */
#include "sockets/tcp_close.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

struct tcp_closing {
	ARRAY(int) fds;
};

void tcp_close_note(struct dump *d, int fd)
{
	int copy = d->o->leave_running || d->o->leave_stopped ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return;
	if (!d->closing)
		d->closing = mem_zalloc(sizeof *d->closing);
	array_push(&d->closing->fds) = copy;
}

void tcp_close_now(struct dump *d)
{
	for (size_t i = 0; d->closing && i < d->closing->fds.n; i++)
		setsockopt(d->closing->fds.data[i], SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	tcp_close_end(d);   /* else they would not end with the tasks */
}

void tcp_close_end(struct dump *d)
{
	for (size_t i = 0; d->closing && i < d->closing->fds.n; i++)
		close(d->closing->fds.data[i]);
	if (d->closing)
		array_free(&d->closing->fds);
	free_pointer(&d->closing);
}
