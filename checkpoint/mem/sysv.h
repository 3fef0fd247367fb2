/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_SYSV_H
#define MEM_SYSV_H

#include "dump.h"
#include "restore.h"

/* System V shared memory: its content, and where tasks have it attached. The segments themselves are ns/ipc_shm.c's. */

/* Dump: a segment of the tree's IPC namespace; fd is its file, which is taken. */
int sysv_found(struct dump *d, uint64_t id, int fd, uint64_t size);
/* NULL, or why a mapping of it cannot be saved. */
const char *sysv_refused(struct dump *d, const struct task *t, uint64_t id, uint64_t offset, uint64_t size);

/* Restore. */
int sysv_check(struct restore *r);               /* ipcns-shm against the mappings; adds the segments */
void sysv_made(struct restore *r, uint64_t id);  /* it exists in the tree's IPC namespace, empty */
/* All tasks have attached theirs: the root husk fills what was made, and removes what was removed. */
int sysv_fill(struct restore *r);

#endif
