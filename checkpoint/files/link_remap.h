/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_LINK_REMAP_H
#define FILES_LINK_REMAP_H

#include "files/kinds.h"

/* Files with a name that is not the one they were opened by. */

/* Gives the file (once per inode) a name beside the one that is gone, and notes that reg_file `orig_id` is opened by it. */
int link_remap_dump(struct dump *d, const struct file_info *f, const char *gone, uint32_t orig_id);
/* In the builder: a new description of e, by the name of the entry `id`; and, when all files are open, that name goes. */
int link_remap_open(struct restore *r, const RegFileEntry *e, uint32_t id, uint32_t flags);
int link_remap_finish(struct restore *r, const RegFileEntry *e, uint32_t id);

#endif
