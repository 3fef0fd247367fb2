/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_SMAPS_H
#define MEM_SMAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* One mapping as /proc/PID/smaps tells it. */
struct smaps_vma {
	uint64_t start, end, pgoff;   /* bytes */
	uint32_t major, minor;
	uint64_t inode;
	uint32_t prot;                /* PROT_ */
	bool shared;
	uint32_t flags;               /* SMAPS_ */
	uint64_t madv;                /* bit number = MADV_ value */
	bool mapped_elsewhere;        /* some of its pages are in other address spaces too */
	const char *name;             /* path or "[heap]" or "", in the text that was parsed */
};

/* What the VmFlags line says, as far as it matters. */
enum smaps_flag {
	SMAPS_MAYWRITE = 1 << 0, SMAPS_GROWSDOWN = 1 << 1, SMAPS_LOCKED = 1 << 2, SMAPS_NORESERVE = 1 << 3, SMAPS_HUGETLB = 1 << 4,
	SMAPS_UFFD = 1 << 5, SMAPS_SHADOW_STACK = 1 << 6, SMAPS_SEALED = 1 << 7, SMAPS_DEVICE = 1 << 8,
};

struct smaps {
	ARRAY(struct smaps_vma) vmas;
};

/* Parses the whole text, which is cut up (names point into it). 0, or a bare -EINVAL for text that the kernel does not write. */
int smaps_parse(char *text, struct smaps *out);

#endif
