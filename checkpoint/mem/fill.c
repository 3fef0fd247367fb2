/* SPDX-License-Identifier: Apache-2.0 */
/* Page content on its way from a pages file into a husk.
 *
 * Pieces of the file are read into a buffer (a mapping of it would be a SIGBUS away from a file that somebody cuts short) and from
 * there put into the task in one of three ways:
 *   UFFDIO_COPY         new private anonymous memory, when there is much of it: the fastest, and it makes no page but those asked for
 *   process_vm_writev   other memory that the task may write to, many pieces with one call
 *   /proc/PID/mem       the rest: the kernel lets a tracer write through page protections; a private file page is copied first
 * In a mapping that the husk keeps from its parent, what is there is the parent's image at that address: it is read too and compared
 * page by page, and only what differs is written. Pages that the parent has and the child has not are dropped by the caller. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "mem/restoring.h"

#define CHUNK (POOL_BUFFER / 2)   /* the other half of the buffer is for what is compared with */
#define PIECES_MAX 256

/* --- what goes where --- */

/* Where content comes from, and what it is compared with. */
struct origin {
	uint64_t offset, compare;
	uint32_t file, compare_file;
};

static bool continues(const struct fill_piece *last, const struct origin *o)
{
	return last->file == o->file && last->offset + last->size == o->offset;
}

static void piece_add(struct fill *f, uint64_t start, uint64_t end, struct origin o, const struct fill_where *w)
{
	while (start < end) {
		struct fill_chunk *c = f->chunks.n ? &f->chunks.data[f->chunks.n - 1] : NULL;
		const struct fill_piece *last = f->pieces.n ? &f->pieces.data[f->pieces.n - 1] : NULL;
		uint64_t limit = f->size < POOL_BUFFER ? POOL_SMALL : CHUNK;
		if (!c || c->n == PIECES_MAX || c->size >= limit || !continues(last, &o)) {
			c = &array_push(&f->chunks);
			c->first = f->pieces.n;
		}
		uint64_t room = limit - c->size, size = end - start < room ? end - start : room;
		array_push(&f->pieces) =
			(struct fill_piece){ start, size, o.offset, o.compare, o.file, o.compare_file, w->writable, w->uffd };
		c->n++;
		c->size += size;
		f->size += size;
		f->uffd_size += w->uffd ? size : 0;
		start += size;
		o.offset += size;
		o.compare += o.compare == FILL_NEW ? 0 : size;
	}
}

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The content of a run from an address on, which is new. */
static struct origin new_from(const struct image_run *r, uint64_t address)
{
	return (struct origin){ .offset = r->offset + (address - r->start), .compare = FILL_NEW, .file = r->file };
}

void fill_add(struct fill *f, const struct fill_where *w, uint64_t shift)
{
	const struct image_pages *own = f->own;

	for (size_t i = image_run_at(own, w->start); i < own->runs.n && own->runs.data[i].start < w->end; i++) {
		const struct image_run *r = &own->runs.data[i];
		uint64_t start = max64(r->start, w->start);
		piece_add(f, start + shift, min64(r->end, w->end) + shift, new_from(r, start), w);
	}
}

/* [start, end) of a run of the child: what the parent has of it is compared, the rest is new. */
static void add_against(struct fill *f, const struct image_run *r, uint64_t start, uint64_t end, const struct fill_where *w)
{
	const struct image_pages *parent = f->parent;

	for (size_t i = image_run_at(parent, start); i < parent->runs.n && parent->runs.data[i].start < end; i++) {
		const struct image_run *p = &parent->runs.data[i];
		uint64_t from = max64(p->start, start), to = min64(p->end, end);
		struct origin o = new_from(r, from);
		piece_add(f, start, from, new_from(r, start), w);
		o.compare = p->offset + (from - p->start);
		o.compare_file = p->file;
		piece_add(f, from, to, o, w);
		start = to;
	}
	piece_add(f, start, end, new_from(r, start), w);
}

/* [start, end) of the parent's pages without what the child has: dropped. */
static void drop_without(struct fill *f, uint64_t start, uint64_t end, const struct image_pages *own)
{
	for (size_t i = image_run_at(own, start); i < own->runs.n && own->runs.data[i].start < end; i++) {
		const struct image_run *r = &own->runs.data[i];
		if (r->start > start)
			array_push(&f->drop) = (struct image_run){ start, r->start, 0, 0 };
		start = min64(r->end, end);
	}
	if (start < end)
		array_push(&f->drop) = (struct image_run){ start, end, 0, 0 };
}

void fill_add_inherited(struct fill *f, const struct fill_where *w)
{
	const struct image_pages *own = f->own, *parent = f->parent;

	for (size_t i = image_run_at(own, w->start); i < own->runs.n && own->runs.data[i].start < w->end; i++) {
		const struct image_run *r = &own->runs.data[i];
		add_against(f, r, max64(r->start, w->start), min64(r->end, w->end), w);
	}
	for (size_t i = image_run_at(parent, w->start); i < parent->runs.n && parent->runs.data[i].start < w->end; i++) {
		const struct image_run *p = &parent->runs.data[i];
		drop_without(f, max64(p->start, w->start), min64(p->end, w->end), own);
	}
}

/* --- the three ways --- */

static int put_forced(const struct fill *f, uint64_t address, const void *data, uint64_t size)
{
	int r = fd_pwrite_all(f->mem_fd, data, size, address);

	return r < 0 ? fail(-r, "%s: fill %" PRIu64 " bytes of memory at %" PRIx64, f->who, size, address) : 0;
}

static int put_uffd(const struct fill *f, uint64_t address, const char *data, uint64_t size)
{
	while (size) {
		struct uffdio_copy c = { .dst = address, .src = (uintptr_t)data, .len = size, .mode = UFFDIO_COPY_MODE_DONTWAKE };
		if (ioctl(f->uffd, UFFDIO_COPY, &c) == 0)
			return 0;
		if (errno != EAGAIN)
			return put_forced(f, address, data, size);
		if (c.copy > 0) {
			address += (uint64_t)c.copy;
			data += c.copy;
			size -= (uint64_t)c.copy;
		}
	}
	return 0;
}

/* Pieces collected for one process_vm_writev. */
struct vector {
	struct iovec local[PIECES_MAX], remote[PIECES_MAX];
	size_t n, size;
};

static int vector_flush(const struct fill *f, struct vector *v)
{
	int r = 0;

	if (v->n && process_vm_writev(f->pid, v->local, v->n, v->remote, v->n, 0) != (ssize_t)v->size)
		for (size_t i = 0; r == 0 && i < v->n; i++)
			r = put_forced(f, (uintptr_t)v->remote[i].iov_base, v->local[i].iov_base, v->local[i].iov_len);
	v->n = v->size = 0;
	return r;
}

static int put(const struct fill *f, struct vector *v, const struct fill_piece *p, uint64_t skip, char *data, uint64_t size)
{
	uint64_t address = p->address + skip;

	if (p->uffd && f->uffd >= 0)
		return put_uffd(f, address, data, size);
	if (!p->writable)
		return put_forced(f, address, data, size);
	int r = v->n == PIECES_MAX ? vector_flush(f, v) : 0;
	v->local[v->n] = (struct iovec){ data, size };
	v->remote[v->n++] = (struct iovec){ (void *)(uintptr_t)address, size };
	v->size += size;
	return r;
}

/* Writes the pages of a piece that differ from what the parent has there. */
static int put_changed(struct fill *f, struct vector *v, const struct fill_piece *p, char *data, char *other)
{
	uint64_t same = 0;
	int r = fd_pread_all(f->parent->files.data[p->compare_file].fd, other, p->size, p->compare);

	if (r < 0)
		return fail(-r, "%s: read the pages image of its parent", f->who);
	for (uint64_t at = 0, end; r == 0 && at < p->size; at = end) {
		bool differs = memcmp(data + at, other + at, PAGE) != 0;
		for (end = at + PAGE; end < p->size && (memcmp(data + end, other + end, PAGE) != 0) == differs; end += PAGE)
			;
		same += differs ? 0 : (end - at) / PAGE;
		if (differs)
			r = put(f, v, p, at, data + at, end - at);
	}
	__atomic_fetch_add(&f->compared, p->size / PAGE, __ATOMIC_RELAXED);
	__atomic_fetch_add(&f->skipped, same, __ATOMIC_RELAXED);
	return r;
}

static int fill_chunk(void *arg, size_t i, void *buffer)
{
	struct fill *f = arg;
	const struct fill_chunk *c = &f->chunks.data[i];
	const struct fill_piece *p = &f->pieces.data[c->first];
	struct vector v = { .n = 0 };
	char *data = buffer;
	int r = fd_pread_all(f->own->files.data[p->file].fd, data, c->size, p->offset);

	if (r < 0)
		return fail(-r, "%s: read its pages image", f->who);
	for (size_t k = 0; r == 0 && k < c->n; k++, p++) {
		if (p->compare == FILL_NEW)
			r = put(f, &v, p, 0, data, p->size);
		else
			r = put_changed(f, &v, p, data, (char *)buffer + CHUNK);
		data += p->size;
	}
	if (r == 0)
		r = vector_flush(f, &v);
	p = &f->pieces.data[c->first];
	return r == 0 && f->own->consume ? pages_punch(f->own, p->file, p->offset, c->size) : r;
}

int fill_run(struct fill *f, struct pool *pool)
{
	int r = pool_run(pool, f->chunks.n, f->size, fill_chunk, f);

	f->restored = f->size / PAGE - f->skipped;
	return r;
}

void fill_done(struct fill *f)
{
	array_free(&f->pieces);
	array_free(&f->chunks);
	array_free(&f->drop);
}
