/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAZY_REQUEST_H
#define LAZY_REQUEST_H

#include "lazy/content.h"

/* Answers a restore that has said LAZY_REQUEST on its socket. 0 or -errno, explained: the restore has failed. */
int request_serve(struct restore *r, struct content *c, int sock);
/* The last of them, asked by the restore before a new pager came: may the program run? */
int request_runs(struct content *c, int sock);

#endif
