/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_MAPS_H
#define MEM_MAPS_H

#include "dump.h"
#include "mem/smaps.h"

/* Before the tree is stopped: gets ready what it takes to read the mappings of large tasks fast. */
void maps_begin(struct dump *d);
/* The mappings of a task; names point into *text, to be freed after them. A bare -errno; -EINVAL: in a form that is not known. */
int maps_read(struct dump *d, const struct task *t, char **text, struct smaps *out);

#endif
