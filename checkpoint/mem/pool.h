/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_POOL_H
#define MEM_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/turns.h"
#include "base/str.h"

/* Work on many pieces by a few threads, each with a buffer of its own that is kept from one run to the next. */
struct pool {
	ARRAY(void *) buffers;
	bool gentle;                /* the program runs meanwhile: it comes first */
	const struct turns *turns;   /* the caller's thread may be bound to a processor, the others not; NULL: it is not */
};

#define POOL_BUFFER (1u << 20)
#define POOL_SMALL (64u << 10)   /* of it, what the first megabyte of a task uses */

/* Calls job(arg, i, buffer) for each i below n: in this thread if `bytes`, the amount of data in all, is small, else by several.
 * The first failure ends the run; its explanation comes into this thread's trail. */
int pool_run(struct pool *p, size_t n, uint64_t bytes, int (*job)(void *arg, size_t i, void *buffer), void *arg);
void pool_done(struct pool *p);

#endif
