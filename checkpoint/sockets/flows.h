/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SOCKETS_FLOWS_H
#define SOCKETS_FLOWS_H

#include "dump.h"
#include "restore.h"

/* The TCP connections of a tree, for a lock that is to hit nobody else's. */
struct flows {
	struct ck_flow *data;
	size_t n, cap;
};
/* Of the standing tasks: theirs, and those to their listening sockets that nobody has accepted. netns: where they are. */
int flows_of_tasks(struct dump *d, int netns, struct flows *out);
/* Of the images. */
void flows_of_images(const struct restore *r, struct flows *out);

#endif
