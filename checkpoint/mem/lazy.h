/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_LAZY_H
#define MEM_LAZY_H

#include <sys/mman.h>

#include "mem/restoring.h"

#define LAZY_SOCKET "lazy-pages.socket"
#define LAZY_GO 0x52535446               /* all tasks are in place: copying may begin */

/* Torpor's own, where a pid is expected: LAZY_REQUEST, then a request, which is answered with an i32 (0 or -errno) and the content. */
#define LAZY_REQUEST 0
#define LAZY_REQUEST_MAX (1u << 20)
enum lazy_request_kind { LAZY_CONTENT, LAZY_RUNS };   /* pages that cannot wait; the program is about to run: may it? */
struct lazy_request {
	int32_t kind, pid;
	uint64_t address, size;
};

/* Whether a mapping can be filled after its task has begun to run. The others are filled before: what is shared, locked, on huge pages, or must
 * be zero in a child of the task. */
static inline bool vma_is_lazy(const VmaEntry *v)
{
	return (v->status & VMA_ANON_PRIVATE) && !(v->status & (VMA_VDSO | VMA_VVAR | VMA_VSYSCALL | VMA_GUARD)) && !(v->flags & (MAP_LOCKED | MAP_HUGETLB)) &&
	       !(v->madv >> MADV_WIPEONFORK & 1);
}

/* --- the restore's side (lazy.c) --- */
/* What of a lazy mapping cannot wait: the kernel writes there before the task runs (rseq). Adds it to a fill. */
void lazy_add_early(const struct task *t, struct fill *f, const struct fill_where *w);
int lazy_connect(struct restore *r);     /* to the daemon's socket in the work directory */
int lazy_fetch(struct restore *r);       /* what only the source has and cannot wait, through the pager */
/* All mappings are as they will be: from here on accesses to what is missing wait for the pager, which has the userfaultfds. */
int lazy_hand_over(struct restore *r);
int lazy_go(struct restore *r);          /* the tasks run */

#endif
