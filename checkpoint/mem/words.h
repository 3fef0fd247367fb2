/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_WORDS_H
#define MEM_WORDS_H

#include "mem/scan.h"

/* As scan_pages(), of [start, end), by an open pagemap; zeroes: with the zero page where it was read. A bare -errno. */
int words_scan(int pagemap, uint64_t start, uint64_t end, bool zeroes, struct ranges *pages, struct ranges *guards);

/* By which a page table of a task is known again: the 2 MiB that it is for, and some of its pages, by their number there (9 bits) and the
 * frame (55 bits). 0: none. */
#define WITNESS_PAGES 4
struct witness {
	uint64_t block, page[WITNESS_PAGES];
};
struct witnesses {
	ARRAY(struct witness) list;  /* ascending; more than one of a block if it has several mappings */
};
/* The pages of [start, end) with content that soft-dirty bits tell to be unchanged, of a task that stands. Witnesses of the last round (NULL:
 * nothing counts as unchanged), and those for the next one, which are appended. */
int words_soft_dirty(int pagemap, uint64_t start, uint64_t end, const struct witnesses *before, struct witnesses *now, struct ranges *clean);

#endif
