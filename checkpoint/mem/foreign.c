/* SPDX-License-Identifier: Apache-2.0 */
/* Shared anonymous memory as CRIU stores it on kernels of today.
 *
 * The kernel keeps shared anonymous memory and memfds in one tmpfs, and CRIU 4.1 and 4.2 take the first for the second: the mapping is
 * one of a file of type MEMFD, whose inode in memfd.img has the name "/dev/zero" (a real memfd has the name its maker gave it). The
 * content is in pagemap-shmem-SHMID all the same. Here such mappings become what they were, and their files are taken out of the tree:
 * no descriptor refers to them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "mem/restoring.h"
#include "memfd.pb-c.h"

struct inodes {
	ARRAY(MemfdInodeEntry *) list;
};

static int read_inodes(struct restore *r, struct inodes *out)
{
	auto_image struct image *i = NULL;
	int e = image_open(r->images, IMG_MEMFD, 0, &i);

	if (e == -ENOENT)
		return fail_text(ENOENT, "files.img has a memfd, but image memfd.img is missing");
	while (e >= 0) {
		MemfdInodeEntry *entry;
		e = image_read(i, r->arena, &entry);
		if (e <= 0)
			break;
		array_push(&out->list) = entry;
	}
	return e;
}

/* The segment that a file entry means; false: it is a real memfd. */
static bool segment_of(const struct inodes *inodes, const FileEntry *f, uint64_t *shmid)
{
	for (size_t i = 0; i < inodes->list.n; i++) {
		const MemfdInodeEntry *n = inodes->list.data[i];
		if (n->inode_id != f->memfd->inode_id || strcmp(n->name, "/dev/zero"))
			continue;
		*shmid = n->shmid;
		return true;
	}
	return false;
}

/* Takes the files out of the tree that are segments, and remembers which. */
static int sort_out(struct restore *r, struct memory *m)
{
	struct tree *t = r->tree;
	struct inodes inodes = { 0 };
	size_t kept = 0;
	int e = 0;

	for (size_t i = 0; e == 0 && i < t->files.n; i++) {
		FileEntry *f = t->files.data[i];
		struct foreign_segment s = { .file = f->id };
		if (f->type == FD_TYPES__MEMFD && f->memfd && !inodes.list.n)
			e = read_inodes(r, &inodes);
		if (e == 0 && f->type == FD_TYPES__MEMFD && f->memfd && segment_of(&inodes, f, &s.shmid))
			array_push(&m->foreign) = s;
		else
			t->files.data[kept++] = f;
	}
	t->files.n = e == 0 ? kept : t->files.n;
	array_free(&inodes.list);
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
				v->flags |= MAP_ANONYMOUS;
				break;
			}
	}
	return 0;
}
