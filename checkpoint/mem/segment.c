/* SPDX-License-Identifier: Apache-2.0 */
/* Shared anonymous memory at a restore.
 *
 * A segment is made by an ordinary mmap(MAP_SHARED | MAP_ANONYMOUS) of the engine and opened through the engine's map_files, so that
 * it looks in every task as it did ("/dev/zero (deleted)"; a memfd would not). Tasks map that file. The first one maps all of it once
 * more while it is filled, through its memory: so the pages are charged to the memory cgroup of the tree, not of the engine. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "mem/huge.h"
#include "mem/mem.h"
#include "mem/memfd.h"
#include "mem/restoring.h"
#include "mem/sysv.h"

static int segment_make(struct segment *s)
{
	char path[64];
	void *p = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | (int)s->huge, -1, 0);

	if (p == MAP_FAILED)
		return fail(errno, "make the shared memory segment %" PRIu64 " of %" PRIu64 " bytes%s", s->shmid, s->size,
			    s->huge ? " of huge pages" : "");
	s->mapping = p;
	snprintf(path, sizeof path, "/proc/self/map_files/%" PRIxPTR "-%" PRIxPTR, (uintptr_t)p, (uintptr_t)p + s->size);
	s->fd = open(path, O_RDWR | O_CLOEXEC);
	if (s->fd >= 0)
		return 0;
	int r = fail(errno, "open the shared memory segment %" PRIu64 " through %s", s->shmid, path);
	if (r == -EPERM || r == -EACCES)
		fail_hint("it needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN");
	return r;
}

static int segment_read(struct restore *r, struct segment *s)
{
	char who[64];

	snprintf(who, sizeof who, "shared memory segment %" PRIu64, s->shmid);
	int e = pages_read(r, IMG_PAGEMAP_SHMEM, s->shmid, who, &s->pages);
	if (e == -ENOENT)
		return fail_text(ENOENT, "%s: image pagemap-shmem-%" PRIu64 ".img is missing", who, s->shmid);
	const struct image_run *last = s->pages.runs.n ? &s->pages.runs.data[s->pages.runs.n - 1] : NULL;
	if (e == 0 && last && last->end > s->size)
		return fail_text(EINVAL, "%s: pagemap image: content at %" PRIx64 ", beyond its end", who, last->end);
	return e;
}

int shmem_check(struct restore *r)
{
	struct memory *m = memory(r);
	int e = memfds_check(r);

	if (e == 0)
		e = sysv_check(r);
	for (size_t i = 0; e == 0 && i < m->segments.n; i++)
		e = segment_read(r, &m->segments.data[i]);
	return e;
}

int shmem_prepare(struct restore *r)
{
	struct memory *m = memory(r);
	int e = 0;

	for (size_t i = 0; e == 0 && i < m->segments.n; i++)
		if (!m->segments.data[i].memfd_file && !m->segments.data[i].sysv)
			e = segment_make(&m->segments.data[i]);
	return e;
}

int segment_fill(struct restore *r, struct segment *s, struct remote *husk, uint64_t address)
{
	char who[64];

	snprintf(who, sizeof who, "shared memory segment %" PRIu64, s->shmid);
	s->pages.consume = r->o->auto_dedup;
	int e = pages_open(&s->pages);
	if (e < 0)
		return e;
	struct fill f = { .own = &s->pages, .pid = remote_tid(husk), .mem_fd = remote_mem_fd(husk), .uffd = -1, .who = who };
	struct fill_where all = { .end = s->size, .writable = true };
	fill_add(&f, &all, address);
	if (s->huge)
		e = huge_populate(husk, who, &s->pages, 0, s->size, address);
	if (e == 0)
		e = fill_run(&f, &memory(r)->pool);
	pages_close(&s->pages);
	r->stats.pages_restored += f.restored;
	fill_done(&f);
	s->filled = e == 0;
	return e;
}

void shmem_done(struct restore *r)
{
	struct memory *m = r->memory;

	if (!m)
		return;
	for (size_t i = 0; i < m->segments.n; i++) {
		struct segment *s = &m->segments.data[i];
		if (s->mapping)
			munmap(s->mapping, s->size);
		fd_close(&s->fd);
		pages_done(&s->pages);
	}
	for (size_t i = 0; i < m->tasks.n; i++) {
		pages_done(&m->tasks.data[i]->pages);
		fd_close(&m->tasks.data[i]->uffd);
		free(m->tasks.data[i]);
	}
	for (size_t i = 0; i < m->chain.n; i++)
		image_dir_free(m->chain.data[i]);
	array_free(&m->chain);
	array_free(&m->segments);
	array_free(&m->tasks);
	array_free(&m->foreign);
	array_free(&m->memfds);
	pool_done(&m->pool);
	if (m->lazy)
		fd_close(&m->lazy);
	free(m);
	r->memory = NULL;
}
