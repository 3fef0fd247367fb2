/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages an earlier round has, by its pagemaps: only those may be left out of a later one. */
#include "pages/listed.h"

#include <errno.h>

#include "base/err.h"
#include "pagemap.pb-c.h"

#define PAGE UINT64_C(4096)
#define PARENT 1u
#define PRESENT 4u

int pagemap_listed(struct image_dir *dir, enum image_kind kind, uint64_t id, void (*fn)(void *arg, uint64_t start, uint64_t end), void *arg)
{
	auto_image struct image *i = NULL;
	struct arena arena = { 0 };
	PagemapHead *head;
	int r = image_open(dir, kind, id, &i);

	if (r < 0)
		return r;
	r = image_read_message(i, &pagemap_head__descriptor, &arena, &head);
	while (r > 0) {
		PagemapEntry *e;
		r = image_read_message(i, &pagemap_entry__descriptor, &arena, &e);
		if (r > 0) {
			uint64_t pages = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
			bool here = !e->has_flags || e->flags & (PRESENT | PARENT);
			if (here && pages < UINT64_MAX / PAGE && e->vaddr + pages * PAGE > e->vaddr)
				fn(arg, e->vaddr, e->vaddr + pages * PAGE);
		}
	}
	arena_done(&arena);
	return r;
}
