/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAZY_PAGER_H
#define LAZY_PAGER_H

#include <stddef.h>

#include "restore.h"

/* Serves the lazy memory of a restore whose images (tree and memory) have been read and checked into r: takes the tasks' userfaultfds from
 * sock, CRIU's lazy-pages protocol, serves faults from then on, and copies the rest when the restore says that all is in place. server: a
 * connection to the page server that has the content, or -1: the images have it. Returns 0 when every task has all of its memory or has
 * ended; -errno, explained, if some of it could not be had. */
int pager_run(struct restore *r, int sock, const struct ck_page_peer *server);

#endif
