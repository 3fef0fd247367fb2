/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_MEMFD_H
#define MEM_MEMFD_H

#include "dump.h"
#include "memfd.pb-c.h"
#include "restore.h"

/* The content of memfds. */

/* Dump: content that is saved with the shared segments. `fd` may be any description of it. The caller asks once for each inode. */
int memfd_found(struct dump *d, int fd, uint64_t inode, uint64_t size);

/* Restore. */
int memfds_read(struct restore *r);                              /* memfd.img, once; an error if there is none */
const MemfdInodeEntry *memfd_inode(struct restore *r, uint32_t id);   /* NULL */
int memfds_check(struct restore *r);                             /* what files.img has of them; adds their segments */
/* Fills those that have content, through the root husk: when they are open, and before they are sealed. */
int memfds_fill(struct restore *r);

#endif
