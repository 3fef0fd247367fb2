/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_LISTED_H
#define PAGES_LISTED_H

#include "image/stream.h"

/* Calls fn for everything that a pagemap lists as being there or in its parent, in the order of the image. A bare -ENOENT: there is no such
 * pagemap; 0; -errno, explained. */
int pagemap_listed(struct image_dir *dir, enum image_kind kind, uint64_t id, void (*fn)(void *arg, uint64_t start, uint64_t end), void *arg);

#endif
