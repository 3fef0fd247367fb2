/* SPDX-License-Identifier: Apache-2.0 */
/* What is missing of an address space, against an array with a word for each page. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "lazy/space.h"

enum { PAGES = 600, STEPS = 4000 };
static const uint64_t page = 4096;

static void compare(const struct space *s, const uint64_t *shadow, int seed)
{
	uint64_t size = 0;

	for (uint64_t i = 0; i < PAGES; i++) {
		const struct missing *m = space_find(s, i * page);
		uint64_t is = m ? m->at + (i * page - m->start) : 0;
		if (is != shadow[i])
			test_failed(__FILE__, __LINE__, "seed %d: page %d is %llx, not %llx", seed, (int)i, (unsigned long long)is,
				    (unsigned long long)shadow[i]);
		size += shadow[i] ? page : 0;
	}
	CHECK_EQ(s->size, size);
}

static void step(struct space *s, uint64_t *shadow)
{
	uint64_t from = (uint64_t)rand() % PAGES, n = 1 + (uint64_t)rand() % 20, to = (uint64_t)rand() % PAGES;

	n = from + n > PAGES ? PAGES - from : n;
	if (rand() % 3) {
		space_cut(s, from * page, (from + n) * page);
		memset(shadow + from, 0, n * sizeof *shadow);
	} else if (to + n <= PAGES && (to >= from + n || from >= to + n)) {
		space_move(s, from * page, to * page, n * page);
		memcpy(shadow + to, shadow + from, n * sizeof *shadow);
		memset(shadow + from, 0, n * sizeof *shadow);
	}
}

static void random_changes(void)
{
	for (int seed = 0; seed < 20; seed++) {
		struct space s = { 0 }, copy = { 0 };
		uint64_t shadow[PAGES] = { 0 };
		srand((unsigned)seed);
		for (uint64_t i = 0; i < PAGES; i++)
			if (rand() % 8) {
				shadow[i] = (i + 100000) * page;
				space_add(&s, i * page, (i + 1) * page, shadow[i]);
			}
		for (int k = 0; k < STEPS / 20; k++) {
			step(&s, shadow);
			compare(&s, shadow, seed);
		}
		space_copy(&copy, &s);
		compare(&copy, shadow, seed);
		space_cut(&s, 0, PAGES * page);
		CHECK(s.size == 0 && !space_next(&s, 0));
		compare(&copy, shadow, seed);
		space_done(&s);
		space_done(&copy);
	}
}

const struct test tests[] = { TEST(random_changes), {} };
