/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SOCKETS_UNIX_H
#define SOCKETS_UNIX_H

#include "files/kinds.h"

#define UNIX_EXTERNAL 1u   /* unix_sk.uflags: a peer outside the tree; no descriptor is it */

/* unix_restore.c */
int unix_open(struct restore *r, const FileEntry *e);
int unix_finish(struct restore *r, const FileEntry *e, int fd);

#endif
