/* SPDX-License-Identifier: Apache-2.0 */
/* The vdso: code and data of the kernel in every program. A program holds addresses in it (its C library looks the functions up once),
 * so that it must be where it was, and be the same code.
 *
 * ARCH_MAP_VDSO_64 (CONFIG_CHECKPOINT_RESTORE) maps vvar and vdso of the running kernel at an address if the task has none; the
 * address is a hint which the kernel follows if it is free, so that the vdso is mapped first. [vvar] and, since 6.13, [vvar_vclock]
 * come directly before it. In a time namespace the kernel shows other data in the same pages.
 *
 * The image has the vdso's content: equal content is the same code at the same offsets. A checkpoint of a kernel with another vdso
 * would need its calls redirected to the new one, which is not done: it is refused. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "mem/mem.h"
#include "mem/restoring.h"
#include "mem/smaps.h"

/* What this kernel gives to this process is what it will give to the tasks. */
static int learn_own(struct memory *m)
{
	autofree char *text = NULL;
	struct smaps own = { 0 };

	if (m->vdso)
		return 0;
	m->vdso = (const void *)getauxval(AT_SYSINFO_EHDR);
	ssize_t n = file_read(AT_FDCWD, "/proc/self/maps", &text, 64u << 20);
	if (n < 0)
		return fail((int)-n, "read /proc/self/maps");
	int r = smaps_parse(text, &own);
	for (size_t i = 0; r == 0 && i < own.vmas.n; i++) {
		const struct smaps_vma *v = &own.vmas.data[i];
		if (!strcmp(v->name, "[vdso]"))
			m->vdso_size = v->end - v->start;
		else if (str_starts(v->name, "[vvar"))
			m->vvar_size += v->end - v->start;
	}
	array_free(&own.vmas);
	return r < 0 ? fail(-r, "understand /proc/self/maps") : 0;
}

bool vdso_range(const MmEntry *m, uint64_t *start, uint64_t *end)
{
	*start = UINT64_MAX;
	*end = 0;
	for (size_t i = 0; i < m->n_vmas; i++) {
		const VmaEntry *v = m->vmas[i];
		if (!(v->status & (VMA_VDSO | VMA_VVAR)))
			continue;
		*start = v->start < *start ? v->start : *start;
		*end = v->end > *end ? v->end : *end;
	}
	return *end != 0;
}

static int other_kernel(const struct task *t, const char *what)
{
	fail_text(EOPNOTSUPP, "task %d: the checkpoint was made on a kernel with another vdso: %s", t->pid, what);
	fail_hint("restore it on the kernel that it was made on");
	return -EOPNOTSUPP;
}

static int compare_content(struct restore *r, const struct task *t, const VmaEntry *v, struct image_pages *p)
{
	uint64_t size = v->end - v->start;

	for (size_t i = 0; i < p->runs.n; i++) {
		const struct image_run *run = &p->runs.data[i];
		if (run->start > v->start || run->end < v->end)
			continue;
		if (p->files.data[run->file].remote)   /* lazy_fetch() comes again */
			return 0;
		autofree char *content = mem_alloc(size);
		int e = pages_open(p);
		if (e < 0)
			return e;
		e = fd_pread_all(p->files.data[run->file].fd, content, size, run->offset + (v->start - run->start));
		pages_close(p);
		if (e < 0)
			return fail(-e, "task %d: read the vdso from its pages image", t->pid);
		return memcmp(content, memory(r)->vdso, size) ? other_kernel(t, "its code differs") : 0;
	}
	return fail_text(EINVAL, "task %d: the content of its vdso is not in the images", t->pid);
}

int vdso_check(struct restore *r, const struct task *t)
{
	struct memory *m = memory(r);
	const VmaEntry *vdso = NULL;
	uint64_t start, end, vvar = 0;
	int e = learn_own(m);

	if (e < 0 || !vdso_range(t->mm, &start, &end))
		return e;
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		vdso = v->status & VMA_VDSO ? v : vdso;
		vvar += v->status & VMA_VVAR ? v->end - v->start : 0;
	}
	if (!vdso || !m->vdso || !m->vdso_size)
		return other_kernel(t, vdso ? "this kernel has none" : "it has no code");
	if (vdso->end - vdso->start != m->vdso_size || vvar != m->vvar_size)
		return other_kernel(t, "its size differs");
	if (vdso->end != end || end - start != m->vdso_size + m->vvar_size)
		return other_kernel(t, "code and data lie differently");
	return compare_content(r, t, vdso, &task_memory(r, t)->pages);
}
