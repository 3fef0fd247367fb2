/* SPDX-License-Identifier: Apache-2.0 */
/* The content of System V shared memory (shmat(2)), as far as tasks' memory is concerned.
 *
 * 1. A segment is a file of the kernel's tmpfs whose inode number is the segment's id. Mappings are "/SYSVkey"; in the image they
 *    are shared anonymous memory with the bit VMA_SYSVIPC, shmid the id, and the content is pagemap-shmem-ID, as that of other
 *    segments. The numbers of the two may meet by chance: then the dump is refused.
 * 2. A task attaches a segment again by shmat() in its own batch (mapping the file would not count as attached). That maps all of it: a
 *    segment of which a task has unmapped, or protected in another way, a part is refused.
 * 3. The content is filled in by the root husk, which attaches each segment for the moment, so that the pages are charged to the tree.
 *    It knows segments that nobody has attached as well.
 * 4. A segment that is removed and still attached (SHM_DEST) is made, attached, and then removed. */
#define LOG_PREFIX "mem"
#include "mem/sysv.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "ipc-shm.pb-c.h"
#include "mem/dumping.h"
#include "mem/restoring.h"

#ifndef SHM_DEST
#define SHM_DEST 01000
#endif

static uint64_t whole_pages(uint64_t size)
{
	return (size + PAGE - 1) & ~(PAGE - 1);
}

/* --- dump --- */

int sysv_found(struct dump *d, uint64_t id, int fd, uint64_t size)
{
	return shmem_add(d, (struct shmem_segment){ .inode = id, .fd = fd, .end = size, .size = whole_pages(size), .sysv = true });
}

const char *sysv_refused(struct dump *d, const struct task *t, uint64_t id, uint64_t offset, uint64_t size)
{
	const struct shmem_table *table = shmem_table(d);

	(void)t;
	if (!d->own_ipc_ns)
		return "System V shared memory of an IPC namespace that is not the tree's own cannot be saved";
	for (size_t i = 0; i < table->segments.n; i++) {
		const struct shmem_segment *s = &table->segments.data[i];
		if (s->sysv && s->inode == id)
			return offset || size != s->size ? "a part of a System V shared memory segment, unmapped or protected by itself, is not supported"
							 : NULL;
	}
	return "a System V shared memory segment that its IPC namespace does not list is not supported";
}

/* --- restore --- */

static struct segment *sysv_find(struct restore *r, uint64_t id)
{
	struct memory *m = memory(r);

	for (size_t i = 0; i < m->segments.n; i++)
		if (m->segments.data[i].sysv && m->segments.data[i].shmid == id)
			return &m->segments.data[i];
	return NULL;
}

static int add_segment(struct restore *r, const IpcShmEntry *e)
{
	uint64_t id = e->desc->id;

	if (!e->size || e->size > INT64_MAX - PAGE || id > INT32_MAX || sysv_find(r, id))
		return fail_text(EBADMSG, "ipcns-shm: segment %" PRIu64 " is impossible, or listed twice", id);
	if (segment_find(r, id))
		return fail_text(ENOTSUP, "the checkpoint has System V segment %" PRIu64 " and other shared memory with the same number", id);
	if (!e->in_pagemaps)
		return fail_text(ENOTSUP, "the content of System V segment %" PRIu64 " is stored in an old form, which is not supported", id);
	array_push(&memory(r)->segments) =
		(struct segment){ .shmid = id, .size = whole_pages(e->size), .fd = -1, .sysv = true, .removed = e->desc->mode & SHM_DEST };
	return 0;
}

static int read_segments(struct restore *r, uint32_t ns)
{
	auto_image struct image *i = NULL;
	IpcShmEntry *e;
	int ret = image_open(r->images, IMG_IPCNS_SHM, ns, &i);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = image_read(i, r->arena, &e)) > 0) {
		ret = add_segment(r, e);
		if (ret < 0)
			return ret;
	}
	return ret;
}

static int check_task(struct restore *r, const struct task *t)
{
	for (size_t i = 0; t->mm && i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		const struct segment *s = v->status & VMA_SYSVIPC ? sysv_find(r, v->shmid) : NULL;
		if ((v->status & VMA_SYSVIPC) && (!s || v->pgoff || v->end - v->start != s->size))
			return fail_text(EINVAL, "task %d: mm-%d.img: mapping %" PRIx64 "-%" PRIx64 ": %s", t->pid, t->pid, v->start, v->end,
					 s ? "a part of a System V segment" : "its System V segment is not in the images");
	}
	return 0;
}

int sysv_check(struct restore *r)
{
	const TaskKobjIdsEntry *ids = tree_root(r->tree)->ids;
	int e = ids && ids->has_ipc_ns_id ? read_segments(r, ids->ipc_ns_id) : 0;

	for (size_t i = 0; i < r->tree->tasks.n && e == 0; i++)
		e = check_task(r, r->tree->tasks.data[i]);
	return e;
}

void sysv_made(struct restore *r, uint64_t id)
{
	struct segment *s = sysv_find(r, id);

	if (s)
		s->made = true;
}

static int fill_one(struct restore *r, struct segment *s, struct remote *husk)
{
	int64_t at = s->pages.size ? remote_call(husk, SYS_shmat, s->shmid, 0, 0, 0, 0, 0) : 0, ret = 0;

	if (at < 0 && at >= -4095)
		return fail((int)-at, "attach System V segment %" PRIu64 " to fill it", s->shmid);
	int e = at ? segment_fill(r, s, husk, (uint64_t)at) : 0;
	if (at)
		ret = remote_call(husk, SYS_shmdt, (uint64_t)at, 0, 0, 0, 0, 0);
	if (e == 0 && ret == 0 && s->removed)
		ret = remote_call(husk, SYS_shmctl, s->shmid, IPC_RMID, 0, 0, 0, 0);
	return e < 0 ? e : ret < 0 ? fail((int)-ret, "let System V segment %" PRIu64 " go", s->shmid) : 0;
}

int sysv_fill(struct restore *r)
{
	struct memory *m = memory(r);
	int e = 0;

	for (size_t i = 0; i < m->segments.n && e == 0; i++)
		if (m->segments.data[i].made)
			e = fill_one(r, &m->segments.data[i], tree_root(r->tree)->threads[0].remote);
	return e;
}
