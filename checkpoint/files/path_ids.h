/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_PATH_IDS_H
#define FILES_PATH_IDS_H

#include "model/tree.h"

/* The files that tasks have without a descriptor: executables, mapped files, working and root directories. */
struct path_ids {
	uint32_t *data;
	size_t n, cap;
};
void path_ids_collect(const struct tree *t, struct path_ids *ids);   /* ids may repeat */

#endif
