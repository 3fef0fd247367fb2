/* SPDX-License-Identifier: Apache-2.0 */
/* What processes may share: descriptors (files/table.c knows), but not memory, directories (fs_struct) or signal handlers. clone() can make
 * such processes (CLONE_VM without CLONE_THREAD), vfork() does until the child's exec. They are refused by both names.
 *
 * kcmp(2) orders the kernel's objects (Linux 3.5; by obscured addresses): the objects seen so far are kept sorted, so that a tree of a hundred
 * tasks costs seven comparisons for each object, not a hundred. Ids are the place in the tree: nothing is shared, so all differ. 1 is
 * the dumping tool's own. */
#include "task/subject.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

enum { COMPARE_VM = 1, COMPARE_FS = 3, COMPARE_SIGHAND = 4 };   /* linux/kcmp.h */

static const struct object {
	int type;
	const char *what, *flag;
} objects[] = {
	{ COMPARE_VM, "memory", "CLONE_VM" },
	{ COMPARE_FS, "working directory and umask", "CLONE_FS" },
	{ COMPARE_SIGHAND, "signal handlers", "CLONE_SIGHAND" },
};
#define OBJECTS (sizeof objects / sizeof *objects)

struct sharing {
	size_t cap;
	struct {
		size_t n;
		struct task **sorted;
	} of[OBJECTS];
};

static struct sharing *sharing_new(struct dump *d)
{
	struct sharing *s = arena_new(d->arena, struct sharing);

	s->cap = d->tree->tasks.n;
	for (size_t i = 0; i < OBJECTS; i++)
		s->of[i].sorted = arena_array(d->arena, struct task *, s->cap);
	return s;
}

static int refuse(const struct object *o, const struct task *a, const struct task *b)
{
	fail_text(ENOTSUP, TASK_FMT " and " TASK_FMT " share their %s (%s), which cannot be saved", TASK_ARG(a), TASK_ARG(b), o->what, o->flag);
	if (o->type == COMPARE_VM)
		fail_hint("if one is just between vfork() and exec, the next attempt succeeds");
	return -ENOTSUP;
}

/* Binary search for where t's object belongs; an equal one is refused. */
static int insert(struct sharing *s, size_t which, struct task *t)
{
	struct task **sorted = s->of[which].sorted;
	size_t low = 0, high = s->of[which].n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		long r = syscall(SYS_kcmp, t->host_pid, sorted[middle]->host_pid, objects[which].type, 0, 0);
		if (r < 0)
			return fail(errno, "compare " TASK_FMT " with " TASK_FMT " (kcmp)", TASK_ARG(t), TASK_ARG(sorted[middle]));
		if (r == 0)
			return refuse(&objects[which], sorted[middle], t);
		if (r == 1)
			high = middle;
		else
			low = middle + 1;
	}
	if (s->of[which].n == s->cap)
		return fail_text(EINVAL, "the tree grew while it was dumped");
	memmove(sorted + low + 1, sorted + low, (s->of[which].n - low) * sizeof *sorted);
	sorted[low] = t;
	s->of[which].n++;
	return 0;
}

int share_check(struct dump *d, struct task *t)
{
	struct task_facts *f = task_facts(d);
	int r = 0;

	if (!f->sharing)
		f->sharing = sharing_new(d);
	uint32_t id = (uint32_t)f->sharing->of[0].n + 2;
	for (size_t i = 0; i < OBJECTS && r >= 0; i++)
		r = insert(f->sharing, i, t);
	if (!t->ids) {
		t->ids = arena_new(d->arena, TaskKobjIdsEntry);
		task_kobj_ids_entry__init(t->ids);
	}
	t->ids->vm_id = t->ids->fs_id = t->ids->sighand_id = id;
	return r;
}
