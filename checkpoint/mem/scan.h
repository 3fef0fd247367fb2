/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_SCAN_H
#define MEM_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

struct range {
	uint64_t start, end;
};
struct ranges {
	ARRAY(struct range) list;   /* ascending, neither overlapping nor touching */
};

/* Appends a range that starts at or behind the last one's start: merges it with that one where they overlap or touch. */
void ranges_add(struct ranges *r, uint64_t start, uint64_t end);

/* The pages in the given ranges that have content of their own (present or swapped out; neither a page of a file or a shared
 * segment, nor the zero page), and, in guards, the guard regions (MADV_GUARD_INSTALL). */
int scan_pages(pid_t pid, const struct ranges *where, struct ranges *pages, struct ranges *guards);
/* The same, with the zero page where it was read, and without guard regions: a userfaultfd tells nothing of accesses to these pages. */
int scan_touched(pid_t pid, const struct ranges *where, struct ranges *pages);

/* Of one mapping that is write-protected asynchronously: the pages with content that were not written since they were protected. protect:
 * all with content are protected from now on. What the task has changed of its mappings meanwhile is left out. */
int scan_written(int pagemap, uint64_t start, uint64_t end, bool protect, struct ranges *clean);
/* The same by the soft-dirty bit; the task stands. */
int scan_soft_dirty(int pagemap, uint64_t start, uint64_t end, struct ranges *clean);

#endif
