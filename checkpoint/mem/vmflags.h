/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_VMFLAGS_H
#define MEM_VMFLAGS_H

#include <sys/types.h>

#include "mem/smaps.h"

/* What smaps tells of mappings beyond maps, asked of the kernel without a walk over their pages. */
struct vmflags;

/* NULL where the kernel or our privileges have no such way: then there is smaps. */
struct vmflags *vmflags_begin(void);
void vmflags_end(struct vmflags *f);
/* Fills in flags, madv and mapped_elsewhere of all mappings that were read from /proc/PID/maps, in their order. A bare -errno if it cannot
 * be told of each of them: then there is smaps. */
int vmflags_read(struct vmflags *f, pid_t pid, struct smaps *maps);

#endif
