/* SPDX-License-Identifier: Apache-2.0 */
/* The content of memfds (memfd_create(2)); the files themselves are a kind (files/memfd.c).
 *
 * A memfd is a file of the kernel's tmpfs without a name, as shared anonymous memory is, and its content is stored as a segment's:
 * pagemap-shmem-INODE. Unlike a segment it has a size of its own, of which the last page may be used in part.
 *
 * Restore: the builder makes the files, empty; tasks map them; then the root husk maps each as a whole, so that the pages are charged to
 * the memory cgroup of the tree, and it is filled from outside. Seals come after that (the kind's finish).
 *
 * Not handled, refused by name: memfds on huge pages. */
#define LOG_PREFIX "mem"
#include "mem/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "files/builder.h"
#include "mem/dumping.h"
#include "mem/restoring.h"

/* --- dump --- */

int memfd_found(struct dump *d, int fd, uint64_t inode, uint64_t size)
{
	autoclose int own = open(FD_PATH(fd), O_RDONLY | O_CLOEXEC);

	if (own < 0)
		return fail(errno, "open memfd %" PRIu64 " to save its content", inode);
	return shmem_add(d, (struct shmem_segment){ .inode = inode, .fd = take_fd(&own), .end = size, .size = (size + PAGE - 1) & ~(PAGE - 1) });
}

/* --- restore --- */

int memfds_read(struct restore *r)
{
	struct memory *m = memory(r);
	auto_image struct image *i = NULL;

	if (m->memfds.n)
		return 0;
	int e = image_open(r->images, IMG_MEMFD, 0, &i);
	if (e == -ENOENT)
		return fail_text(ENOENT, "files.img has a memfd, but image memfd.img is missing");
	while (e >= 0) {
		MemfdInodeEntry *entry;
		e = image_read(i, r->arena, &entry);
		if (e <= 0)
			break;
		array_push(&m->memfds) = entry;
	}
	return e;
}

const MemfdInodeEntry *memfd_inode(struct restore *r, uint32_t id)
{
	struct memory *m = memory(r);

	for (size_t i = 0; i < m->memfds.n; i++)
		if (m->memfds.data[i]->inode_id == id)
			return m->memfds.data[i];
	return NULL;
}

static int check_one(struct restore *r, const FileEntry *f)
{
	const MemfdInodeEntry *n = memfd_inode(r, f->memfd->inode_id);
	uint64_t size;

	if (!n)
		return fail_text(EBADMSG, "file %u of the images is memfd %u, which memfd.img does not have", f->id, f->memfd->inode_id);
	if (n->has_hugetlb_flag && n->hugetlb_flag)
		return fail_text(ENOTSUP, "memfd '%s' of the checkpoint is on huge pages, which is not supported", n->name);
	if (n->size > INT64_MAX - PAGE)
		return fail_text(EBADMSG, "memfd.img: memfd '%s' has the impossible size %" PRIu64, n->name, n->size);
	size = (n->size + PAGE - 1) & ~(PAGE - 1);
	struct segment *s = segment_find(r, n->shmid);
	if (s && s->memfd_file && s->size == size)
		return 0;   /* another description of it */
	if (s)
		return fail_text(EBADMSG, "memfd.img: the content of memfd '%s' is that of another file", n->name);
	if (size)
		array_push(&memory(r)->segments) = (struct segment){ .shmid = n->shmid, .size = size, .fd = -1, .memfd_file = f->id };
	return 0;
}

int memfds_check(struct restore *r)
{
	int e = 0;

	for (size_t i = 0; i < r->tree->files.n && e == 0; i++) {
		const FileEntry *f = r->tree->files.data[i];
		if (f->type != FD_TYPES__MEMFD || !f->memfd)
			continue;
		e = memfds_read(r);
		if (e == 0)
			e = check_one(r, f);
	}
	return e;
}

/* An open file of the engine, mapped by the husk for the time it takes. */
static int fill_mapped(struct restore *r, struct segment *s, struct remote *husk, int number)
{
	int64_t at = remote_call(husk, SYS_mmap, 0, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, (uint64_t)number, 0);

	if (at < 0 && at >= -4095)
		return fail((int)-at, "map memfd %" PRIu64 " to fill it", s->shmid);
	int e = segment_fill(r, s, husk, (uint64_t)at);
	int64_t gone = remote_call(husk, SYS_munmap, (uint64_t)at, s->size, 0, 0, 0, 0);
	return e < 0 ? e : gone < 0 ? fail((int)-gone, "unmap memfd %" PRIu64, s->shmid) : 0;
}

static int fill_one(struct restore *r, struct segment *s, struct remote *husk)
{
	autoclose int fd = builder_get(r, s->memfd_file);
	int number;

	if (fd < 0)
		return fd;
	autoclose int writable = open(FD_PATH(fd), O_RDWR | O_CLOEXEC);
	if (writable < 0)
		return fail(errno, "open memfd %" PRIu64 " to fill it", s->shmid);
	int e = remote_open_channel(husk);
	if (e >= 0)
		e = remote_send_fds(husk, &writable, 1, &number);
	if (e < 0)
		return e;
	e = fill_mapped(r, s, husk, number);
	int64_t closed = remote_call(husk, SYS_close, (uint64_t)number, 0, 0, 0, 0, 0);
	return e < 0 ? e : closed < 0 ? fail((int)-closed, "close memfd %" PRIu64, s->shmid) : 0;
}

int memfds_fill(struct restore *r)
{
	struct memory *m = memory(r);
	int e = 0;

	for (size_t i = 0; i < m->segments.n && e == 0; i++)
		if (m->segments.data[i].memfd_file && m->segments.data[i].pages.size)
			e = fill_one(r, &m->segments.data[i], tree_root(r->tree)->threads[0].remote);
	return e;
}
