/* SPDX-License-Identifier: Apache-2.0 */
/* Which mappings of its parent a husk keeps.
 *
 * A forked program shares with its parent, by copy-on-write, all pages that neither has written since. To have that again, a child's
 * husk is cloned from its parent's husk when that has its memory, and keeps every mapping that lies within a mapping of the parent
 * which is the same but for its length; its pages are then compared by content (fill.c). The rest is unmapped.
 *
 * A mapping is not kept if the kernel would not have copied it as it is (MADV_DONTFORK, MADV_WIPEONFORK), or if the parent has a
 * guard region in it that the child has not, or if it is of huge pages and cannot be written to (huge.c). A child's mapping that is larger
 * than its parent's is made anew: two pieces with different histories would not grow together into one mapping. MAP_LOCKED is not
 * inherited, but set again afterwards for all mappings alike. */
#include <string.h>
#include <sys/mman.h>

#include "mem/restoring.h"

#define NOT_COPIED (1ull << MADV_DONTFORK | 1ull << MADV_WIPEONFORK)

static bool same_object(const VmaEntry *c, const VmaEntry *p)
{
	if (c->status & (VMA_ANON_PRIVATE))
		return true;
	return c->shmid == p->shmid && c->pgoff - p->pgoff == c->start - p->start && c->fdflags == p->fdflags;
}

static bool same_mapping(const VmaEntry *c, const VmaEntry *p)
{
	const uint32_t status = ~(uint32_t)VMA_HEAP;   /* a mark, no property */

	return c->start >= p->start && c->end <= p->end && c->prot == p->prot && c->flags == p->flags &&
	       (c->status & status) == (p->status & status) && c->madv == p->madv && !(c->madv & NOT_COPIED) && same_object(c, p) &&
	       (!(c->flags & MAP_HUGETLB) || c->prot & PROT_WRITE);
}

static bool is_guarded(const MmEntry *m, const VmaEntry *guard)
{
	for (size_t i = m->n_vmas; i-- > 0;)
		if (vma_is_guard(m->vmas[i]) && m->vmas[i]->start <= guard->start && m->vmas[i]->end >= guard->end)
			return true;
	return false;
}

/* The parent has a guard region there that the child has not. */
static bool unwanted_guard(const MmEntry *child, const MmEntry *parent, const VmaEntry *c)
{
	for (size_t i = parent->n_vmas; i-- > 0;) {
		const VmaEntry *p = parent->vmas[i];
		if (vma_is_guard(p) && p->start < c->end && p->end > c->start && !is_guarded(child, p))
			return true;
	}
	return false;
}

static bool any_guard(const MmEntry *m)
{
	for (size_t i = m->n_vmas; i-- > 0;)
		if (vma_is_guard(m->vmas[i]))
			return true;
	return false;
}

static bool same_vdso(const MmEntry *child, const MmEntry *parent)
{
	uint64_t cs, ce, ps, pe;

	return vdso_range(child, &cs, &ce) && vdso_range(parent, &ps, &pe) && cs == ps && ce == pe;
}

bool *inherit_plan(const MmEntry *child, const MmEntry *parent)
{
	bool *kept = mem_zalloc(child->n_vmas * sizeof *kept + 1);
	bool vdso = same_vdso(child, parent), guards = any_guard(parent);

	for (size_t i = 0, k = 0; i < child->n_vmas; i++) {
		const VmaEntry *c = child->vmas[i];
		if (vma_is_guard(c) || (c->status & VMA_VSYSCALL))
			continue;
		if (c->status & (VMA_VDSO | VMA_VVAR)) {
			kept[i] = vdso;
			continue;
		}
		while (k < parent->n_vmas && (parent->vmas[k]->end <= c->start || vma_is_guard(parent->vmas[k])))
			k++;
		kept[i] = k < parent->n_vmas && same_mapping(c, parent->vmas[k]) &&
			  !(guards && unwanted_guard(child, parent, c));
	}
	return kept;
}
