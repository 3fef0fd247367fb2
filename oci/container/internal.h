/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CONTAINER_INTERNAL_H
#define OCI_CONTAINER_INTERNAL_H

#include "container/container.h"

/* state.json and back (file.c). */
char *container_state_encode(const struct container *c);                        /* to be freed */
int container_state_decode(struct container *c, const char *text, size_t size);

#endif
