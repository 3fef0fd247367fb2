/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_LAYOUT_H
#define MEM_LAYOUT_H

#include "mem/huge.h"
#include "mem/restoring.h"
#include "mem/steps.h"

/* The address space of a husk while it is laid out (layout.c, objects.c). */

/* A file or a segment that the husk has a descriptor of while it maps it. */
struct object {
	uint64_t id;
	bool segment;
	int reopen;                     /* the mapping needs this access mode, with which the file was not opened; -1: it does not */
	uint32_t flags;
	int number;                     /* in the husk */
};

struct segment_step {
	struct segment *segment;
	size_t step;                    /* in the map list: its result is where the segment is */
};

struct layout {
	struct restore *r;
	struct task *t;
	struct remote *husk;
	struct task_memory *own, *parent;   /* parent NULL: the husk is empty */
	bool *kept;
	bool set_exe;
	ARRAY(struct object) objects;
	struct steps map, finish;
	struct fill fill;
	size_t uffd_step;               /* 1 + index in map; 0: no userfaultfd */
	int uffd_number;                /* in the husk, -1: none */
	ARRAY(struct segment_step) fills;   /* segments that this husk is the first to have */
	char who[32];
};

/* New private mappings of huge pages are made and filled in ways of their own (huge.c). */
static inline bool is_huge(const VmaEntry *v)
{
	return flags_are_huge(v->flags) && (v->status & VMA_ANON_PRIVATE);
}

#define CALL(number, ...) ((struct call){ .nr = (number), .arg = { __VA_ARGS__ } })

static inline bool is_new_mapping(const struct layout *l, size_t i)
{
	const VmaEntry *v = l->t->mm->vmas[i];

	return !l->kept[i] && !vma_is_guard(v) && !(v->status & (VMA_VDSO | VMA_VVAR | VMA_VSYSCALL));
}

/* --- objects.c --- */
/* Which ones the new mappings need, and the executable, which is the first. */
void layout_plan_objects(struct layout *l);
/* The husk has them. */
int layout_receive_objects(struct layout *l);
/* That of a mapping. */
struct object *layout_object(struct layout *l, const VmaEntry *v);

#endif
