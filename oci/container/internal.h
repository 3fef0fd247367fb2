/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CONTAINER_INTERNAL_H
#define OCI_CONTAINER_INTERNAL_H

#include "container/container.h"

/* state.json and back (file.c). */
char *container_state_encode(const struct container *c);                        /* to be freed */
int container_state_decode(struct container *c, const char *text, size_t size);

/* The steps of opening one. A container with names, when they are valid, and nothing else. */
int container_make(const char *root, const char *id, struct container **out);
int container_open_dir(struct container *c);                                    /* without a trail */
void container_note_spec(struct container *c, const struct spec *s);            /* what the state has of the configuration */

#endif
