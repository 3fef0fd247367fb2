/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_SCAN_H
#define MEM_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"
#include "mem/pool.h"

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

/* A mapping, or a part of it, of which more is to be known. */
struct scan_area {
	uint64_t start, end;
	bool anonymous;    /* no page of a file can be in it */
	bool registered;   /* with some userfaultfd, when the mappings were read */
	bool mergeable;    /* its pages may be merged with others of the same content (KSM) */
	bool known;        /* a page that is still protected asynchronously was not written since the last round: it is clean */
	bool protect;      /* a new round begins: pages with content are protected from now on */
};
struct scan_areas {
	ARRAY(struct scan_area) list;   /* ascending */
};
struct scan_found {
	struct ranges pages, clean, guards;   /* as scan_pages(); those of the pages that are clean */
};
/* stands: the task does, and guards are told. If not, what is protected is found and protected in one step, and guards there are not told.
 * A bare -errno. */
int scan_areas(pid_t pid, const struct scan_areas *areas, bool stands, struct pool *pool, struct scan_found *out);
void scan_found_done(struct scan_found *f);

#endif
