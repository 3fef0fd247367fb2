/* SPDX-License-Identifier: Apache-2.0 */
/* Shared anonymous memory (MAP_SHARED | MAP_ANONYMOUS) at a dump.
 *
 * Such a mapping is a file without a name of the kernel's own tmpfs. Tasks that share one have got it by fork, so that its inode tells
 * that it is the same: it is found while the mappings are collected, through the link in map_files, and saved once, as
 * pagemap-shmem-INODE with addresses counted from the segment's start. What has content is asked of the file (SEEK_DATA), as no task
 * need have all of it in its page tables. The format has no size: a segment is as long as the longest part that is mapped of it.
 *
 * One of huge pages (huge.c) is read to see which have content.
 *
 * A segment that a process outside the tree shares is copied all the same; who maps a file cannot be asked of the kernel. After a
 * restore it is the tree's alone. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "mem/dumping.h"
#include "mem/huge.h"
#include "mem/maps.h"
#include "mem/mem.h"
#include "mem/vmflags.h"

#define PAGE UINT64_C(4096)

struct shmem_table *shmem_table(struct dump *d)
{
	if (!d->shmem)
		d->shmem = mem_zalloc(sizeof *d->shmem);
	return d->shmem;
}

struct task_pages *task_pages_add(struct dump *d, const struct task *t)
{
	struct task_pages *p = array_push(&shmem_table(d)->tasks) = mem_zalloc(sizeof *p);

	p->task = t;
	return p;
}

static struct shmem_segment *segment_find(struct shmem_table *t, uint64_t inode)
{
	for (size_t i = 0; i < t->segments.n; i++)
		if (t->segments.data[i].inode == inode && !t->segments.data[i].sysv)
			return &t->segments.data[i];
	return NULL;
}

/* Images of the content are named by the number alone. */
static int two_of_one_number(uint64_t inode)
{
	return fail_text(ENOTSUP, "two shared memory segments (of System V, or on huge pages, and another) have the number %" PRIu64 ": not supported", inode);
}

int shmem_add(struct dump *d, struct shmem_segment s)
{
	struct shmem_table *t = shmem_table(d);

	for (size_t i = 0; i < t->segments.n; i++)
		if (t->segments.data[i].inode == s.inode) {
			close(s.fd);
			return two_of_one_number(s.inode);
		}
	array_push(&t->segments) = s;
	return 0;
}

int shmem_found(struct dump *d, const struct task *t, const struct smaps_vma *v)
{
	struct shmem_table *table = shmem_table(d);
	struct shmem_segment *s = segment_find(table, v->inode);
	struct stat st;
	char path[96];

	if (!s) {
		snprintf(path, sizeof path, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->host_pid, v->start, v->end);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return fail(errno, "task %d: open the shared memory segment %" PRIu64 " through %s", t->pid, v->inode, path);
		int r = shmem_add(d, (struct shmem_segment){ .inode = v->inode, .fd = fd });
		if (r < 0)
			return r;
		s = segment_find(table, v->inode);
	} else if (s->sysv || fstat(s->fd, &st) < 0 || st.st_dev != makedev(v->major, v->minor)) {
		return two_of_one_number(v->inode);
	}
	uint64_t end = v->pgoff + (v->end - v->start);
	s->size = end > s->size ? end : s->size;
	return 0;
}

static int segment_runs(const struct shmem_segment *s, struct page_runs *runs, uint64_t *pages)
{
	uint64_t huge = huge_of_file(s->fd);

	if (huge) {
		int r = huge_runs(s->fd, s->size, huge, runs, pages);
		return r < 0 ? fail(-r, "read the shared memory segment %" PRIu64, s->inode) : 0;
	}
	for (off_t at = 0, end; (uint64_t)at < s->size; at = end) {
		off_t start = lseek(s->fd, at, SEEK_DATA);
		if (start < 0 && errno == ENXIO)
			return 0;
		end = start < 0 ? -1 : lseek(s->fd, start, SEEK_HOLE);
		if (end < 0)
			return fail(errno, "look for data in the shared memory segment %" PRIu64, s->inode);
		uint64_t from = (uint64_t)start & ~(PAGE - 1), to = ((uint64_t)end + PAGE - 1) & ~(PAGE - 1);
		if (from >= s->size)
			return 0;
		to = to > s->size ? s->size : to;
		array_push(&runs->list) = (struct page_run){ from, to, PAGEMAP_PRESENT };
		*pages += (to - from) / PAGE;
	}
	return 0;
}

static int segment_save(struct dump *d, const struct shmem_segment *s)
{
	struct page_runs runs = { 0 };
	uint64_t pages = 0;
	char what[64];
	int r = segment_runs(s, &runs, &pages);

	snprintf(what, sizeof what, "shared memory segment %" PRIu64, s->inode);
	struct page_source from = { .fd = s->fd, .end = s->end, .what = what };
	if (r == 0)
		r = sink_put(d->sink, IMG_PAGEMAP_SHMEM, s->inode, &from, &runs, NULL);
	d->stats.shpages_scanned += s->size / PAGE;
	d->stats.shpages_written += pages;
	log_debug("%s: %" PRIu64 " of %" PRIu64 " pages", what, pages, s->size / PAGE);
	array_free(&runs.list);
	return r;
}

/* The directory may be the one into which the server puts the pages, so that nothing there can be told from an older checkpoint's. */
static int begin_server(struct dump *d)
{
	if (faccessat(d->images->fd, "inventory.img", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		fail_text(EEXIST, "%s holds a whole checkpoint, whose pages would be taken for those at the page server", d->images->path);
		fail_hint("dump into an empty directory");
		return -EEXIST;
	}
	d->images->pages_elsewhere = true;
	struct image_dir *record = d->o->pre_dump || d->o->track_mem ? d->images : NULL;
	return sink_server(d->o->page_server, &shmem_table(d)->pool, record, &d->sink);
}

int mem_begin(struct dump *d)
{
	int r = parent_begin(d);

	if (r >= 0)
		r = parent_link(d);
	if (r >= 0)
		r = tracker_begin(d);
	if (r >= 0)
		maps_begin(d);
	if (r >= 0 && d->o->page_server)
		return begin_server(d);
	d->sink = sink_files(d->images, &shmem_table(d)->pool, 1);
	return r;
}

int shmem_save(struct dump *d)
{
	struct shmem_table *t = shmem_table(d);
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->segments.n; i++)
		r = segment_save(d, &t->segments.data[i]);
	return r < 0 ? r : d->sink->ops->finish(d->sink);
}

void shmem_end(struct dump *d)
{
	struct shmem_table *t = d->shmem;

	image_dir_free(d->parent);
	d->parent = NULL;
	if (!t)
		return;
	if (d->sink)
		d->sink->ops->free(d->sink);
	d->sink = NULL;
	for (size_t i = 0; i < t->segments.n; i++)
		fd_close(&t->segments.data[i].fd);
	for (size_t i = 0; i < t->tasks.n; i++) {
		array_free(&t->tasks.data[i]->areas.list);
		scan_found_done(&t->tasks.data[i]->found);
		array_free(&t->tasks.data[i]->sole.list);
		free(t->tasks.data[i]);
	}
	array_free(&t->segments);
	array_free(&t->tasks);
	array_free(&t->seen);
	pool_done(&t->pool);
	vmflags_end(t->flags);
	free(t);
	d->shmem = NULL;
}
