/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAZY_SPACE_H
#define LAZY_SPACE_H

#include <stdint.h>

#include "base/str.h"

/* What an address space still lacks: stretches of addresses, and where in the images (addresses as they were) their content is. */
struct missing {
	uint64_t start, end, at;
};
struct space {
	ARRAY(struct missing) list;   /* ascending, apart; those with start == end are used up */
	size_t used_up;
	uint64_t size;                /* bytes missing */
};

void space_add(struct space *s, uint64_t start, uint64_t end, uint64_t at);   /* behind all others */
/* The stretch that holds an address; NULL: nothing is missing there. Valid until the next change. */
const struct missing *space_find(const struct space *s, uint64_t address);
/* The first one that ends behind the address; NULL: none. */
const struct missing *space_next(const struct space *s, uint64_t address);
void space_cut(struct space *s, uint64_t start, uint64_t end);                /* no longer missing */
void space_move(struct space *s, uint64_t from, uint64_t to, uint64_t size);  /* mremap() */
void space_copy(struct space *to, const struct space *from);                  /* fork() */
void space_done(struct space *s);

#endif
