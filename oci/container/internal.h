/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CONTAINER_INTERNAL_H
#define OCI_CONTAINER_INTERNAL_H

#include "container/container.h"

/* state.json and back (file.c). */
char *container_state_encode(const struct container *c);                        /* to be freed */
int container_state_decode(struct container *c, const char *text, size_t size);
/* A pidfd of init if it still is the process that create made and has not ended; -ESRCH otherwise. */
int container_init_pidfd(struct container *c);

#endif
