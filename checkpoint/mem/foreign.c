/* SPDX-License-Identifier: Apache-2.0 */
/* Shared anonymous memory as CRIU stores it on kernels of today.
 *
 * The kernel keeps shared anonymous memory and memfds in one tmpfs, and CRIU 4.1 and 4.2 take the first for the second: the mapping is
 * one of a file of type MEMFD, whose inode in memfd.img has the name "/dev/zero" (a real memfd has the name its maker gave it). The
 * content is in pagemap-shmem-SHMID all the same. Shared memory on huge pages is such a file too, "/anon_hugepage", with flags that tell the
 * size of its pages. Here such mappings become what they were, and their files are taken out of the tree:
 * no descriptor refers to them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "mem/huge.h"
#include "mem/memfd.h"
#include "mem/restoring.h"

static bool is_anonymous(const MemfdInodeEntry *n)
{
	return !strcmp(n->name, n->hugetlb_flag ? "/anon_hugepage" : "/dev/zero");
}

/* The segment that a file entry means; false: it is a real memfd. */
static bool segment_of(struct restore *r, const FileEntry *f, struct foreign_segment *s)
{
	const MemfdInodeEntry *n = memfd_inode(r, f->memfd->inode_id);

	if (!n || !is_anonymous(n))
		return false;
	s->shmid = n->shmid;
	s->huge = n->hugetlb_flag ? MAP_HUGETLB | (n->hugetlb_flag & HUGE_FLAGS & ~(uint32_t)MAP_HUGETLB) : 0;
	return true;
}

/* Takes the files out of the tree that are segments, and remembers which. */
static int sort_out(struct restore *r, struct memory *m)
{
	struct tree *t = r->tree;
	size_t kept = 0;
	int e = 0;

	for (size_t i = 0; e == 0 && i < t->files.n; i++) {
		FileEntry *f = t->files.data[i];
		struct foreign_segment s = { .file = f->id };
		bool memfd = f->type == FD_TYPES__MEMFD && f->memfd;
		if (memfd)
			e = memfds_read(r);
		if (e == 0 && memfd && segment_of(r, f, &s))
			array_push(&m->foreign) = s;
		else
			t->files.data[kept++] = f;
	}
	t->files.n = e == 0 ? kept : t->files.n;
	return e;
}

int foreign_segments(struct restore *r, struct task *t)
{
	struct memory *m = memory(r);

	if (m->tasks.n == 1) {   /* the first task */
		int e = sort_out(r, m);
		if (e < 0)
			return e;
	}
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		VmaEntry *v = t->mm->vmas[i];
		for (size_t k = 0; (v->status & VMA_MEMFD) && k < m->foreign.n; k++)
			if (m->foreign.data[k].file == v->shmid) {
				v->shmid = m->foreign.data[k].shmid;
				v->status = (v->status & ~(uint32_t)(VMA_MEMFD | VMA_FILE_SHARED)) | VMA_ANON_SHARED;
				v->flags = (v->flags & ~(uint32_t)HUGE_FLAGS) | MAP_ANONYMOUS | m->foreign.data[k].huge;
				break;
			}
	}
	return 0;
}
