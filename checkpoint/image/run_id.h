/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_RUN_ID_H
#define IMAGE_RUN_ID_H

#include "image/stream.h"

/* Every dump has an id, a UUID's text, in its inventory. */

/* The id of the dump that made these images, to be freed; NULL if none is noted. */
char *image_run_id(struct image_dir *images);
/* Whether `parent` is the checkpoint that `images` were saved upon, where the inventories tell. */
int image_check_parent(struct image_dir *images, struct image_dir *parent);

#endif
