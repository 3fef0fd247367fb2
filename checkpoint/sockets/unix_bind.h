/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SOCKETS_UNIX_BIND_H
#define SOCKETS_UNIX_BIND_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "files/kinds.h"

/* Names of unix sockets: none, one in the file system, or an abstract one (its first byte is 0). */
bool unix_named(const UnixSkEntry *u);
bool unix_by_path(const UnixSkEntry *u);
/* The name as an address; a name longer than there is room is an error (-EBADMSG). */
int unix_address(const FileEntry *e, struct sockaddr_un *a, socklen_t *size);
/* Binds fd to its name, if it has one; a file gets its owner and mode. gone: the name did not exist any more, or was another file's, and that
 * is so again afterwards. Changes the working directory. Returns 0 or -errno, explained. */
int unix_bind(const FileEntry *e, int fd, bool gone);

#endif
