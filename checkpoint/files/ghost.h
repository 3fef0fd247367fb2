/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_GHOST_H
#define FILES_GHOST_H

#include "files/kinds.h"
#include "remap-file-path.pb-c.h"

/* Files that are open but have no name any more. */

/* Stores the file (once per inode) and notes that reg_file `orig_id` is it. */
int ghost_dump(struct dump *d, const struct file_info *f, uint32_t orig_id);
/* Notes that reg_file `orig_id` has no name of its own, and what stands for it: a ghost, or another reg_file. */
int remap_write(struct dump *d, uint32_t orig_id, uint32_t remap_id, RemapType type);
/* In the builder: 1 and a new description of the ghost that stands for the entry; 0 if it is an ordinary file. */
int ghost_open(struct restore *r, const RegFileEntry *e, uint32_t flags, int *fd);
/* When all files are open: a temporary name goes (link_remap.h). */
int ghost_finish(struct restore *r, const RegFileEntry *e);
/* Cuts ".cr.<id>.ghost", which an earlier restore added, off a path. */
void ghost_strip_suffix(char *path);

#endif
