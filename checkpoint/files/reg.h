/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_REG_H
#define FILES_REG_H

#include "files/kinds.h"

extern const struct file_kind reg_kind;   /* regular files, directories, memory devices, O_PATH */

/* Whether the caller named this open file as one from outside (--external): a pipe, socket or terminal by its link's text, a file by
 * file[mount:inode] or by its path, if that path does not lead to it in the tree. */
bool file_is_external(const struct dump *d, const struct file_info *f);
/* Fills a reg_file entry for the file's path and checks that the path leads there: for what else lives at a path (fifo). */
int reg_dump_path(struct dump *d, const struct file_info *f, FileEntry *e);
/* Opens a reg_file entry (in the builder) with the given flags and O_NONBLOCK: deleted files included. */
int reg_open_entry(struct restore *r, const RegFileEntry *e, uint32_t flags);
#endif
