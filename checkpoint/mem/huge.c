/* SPDX-License-Identifier: Apache-2.0 */
/* Memory on huge pages of hugetlb: mmap(MAP_ANONYMOUS | MAP_HUGETLB), private and shared.
 *
 * Facts relied on:
 * 1. Each such mapping is one of a file without a name of the kernel's own hugetlbfs, "/anon_hugepage (deleted)", also a private one. The
 *    size of its pages is the block size of that file.
 * 2. Neither tracker knows it, nor has it a zero page: all pages that are there are saved, by every dump; a pre-dump leaves them out.
 * 3. The file tells nothing of its holes (SEEK_DATA says that all of it is data), but they read as zeroes without becoming pages. So a
 *    page of a shared segment that is all zeroes is not saved.
 * 4. The kernel does not write through page protections there (FOLL_FORCE), and a userfaultfd would want whole huge pages: a private
 *    mapping is made writable until it is filled, and is filled before its task runs, lazy restores included.
 * 5. A page is charged to the hugetlb cgroup of who touches it first: the husk does (MADV_POPULATE_WRITE, 5.14), not the engine.
 *
 * In the image it is as CRIU has it: the flags of the mapping with the page size, private ones with pages of 4 KiB like any other;
 * shared ones are segments (shmem.c), where CRIU writes a memfd (foreign.c).
 *
 * Not handled, and refused by name: files of a mounted hugetlbfs, memfds and System V segments of huge pages. */
#include "mem/huge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/err.h"
#include "base/fd.h"
#include "mem/restoring.h"
#include "mem/sink.h"
#include "mem/smaps.h"

#define HUGETLBFS 0x958458f6
#define POPULATE_WRITE 23           /* MADV_POPULATE_WRITE */
#define LOOK (64u << 10)

bool huge_is_anonymous(const struct smaps_vma *v)
{
	return (v->flags & SMAPS_HUGETLB) && !strcmp(v->name, "/anon_hugepage (deleted)");
}

int huge_flags(pid_t pid, const struct smaps_vma *v, uint32_t *flags)
{
	char path[96];
	struct stat st;

	snprintf(path, sizeof path, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid, v->start, v->end);
	if (stat(path, &st) < 0)
		return -errno;
	if (st.st_blksize <= 4096 || st.st_blksize & (st.st_blksize - 1))
		return -EINVAL;
	*flags = MAP_HUGETLB | (uint32_t)__builtin_ctzll((uint64_t)st.st_blksize) << HUGE_SHIFT;
	return 0;
}

uint64_t huge_of_file(int fd)
{
	struct statfs s;

	return fstatfs(fd, &s) == 0 && s.f_type == HUGETLBFS ? (uint64_t)s.f_bsize : 0;
}

/* Whether there is anything but zeroes: mostly the first piece tells. */
static int has_content(int fd, uint64_t at, uint64_t size, char *buffer)
{
	for (uint64_t end = at + size; at < end; at += LOOK) {
		int r = fd_pread_all(fd, buffer, LOOK, at);
		if (r < 0)
			return r;
		if (buffer[0] || memcmp(buffer, buffer + 1, LOOK - 1))
			return 1;
	}
	return 0;
}

int huge_runs(int fd, uint64_t size, uint64_t page, struct page_runs *runs, uint64_t *pages)
{
	autofree char *buffer = mem_alloc(LOOK);

	for (uint64_t at = 0; at < size; at += page) {
		struct page_run *last = runs->list.n ? &runs->list.data[runs->list.n - 1] : NULL;
		int r = has_content(fd, at, page, buffer);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		if (last && last->end == at)
			last->end = at + page;
		else
			array_push(&runs->list) = (struct page_run){ at, at + page, PAGEMAP_PRESENT };
		*pages += page / 4096;
	}
	return 0;
}

static int populate_failed(const char *who, uint64_t start, uint64_t end, int e)
{
	if (e == -EINVAL)       /* a kernel before 5.14: they come when they are filled */
		return 0;
	fail(-e, "%s: get huge pages for %" PRIx64 "-%" PRIx64, who, start, end);
	fail_hint("as many have to be free here as the program had (nr_hugepages below /sys/kernel/mm/hugepages)");
	return e;
}

int huge_populate(struct remote *husk, const char *who, const struct image_pages *p, uint64_t start, uint64_t end, uint64_t shift)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < p->runs.n && p->runs.data[i].start < end; i++) {
		uint64_t from = p->runs.data[i].start > start ? p->runs.data[i].start : start;
		uint64_t to = p->runs.data[i].end < end ? p->runs.data[i].end : end;
		if (from >= to)
			continue;
		int64_t ret = remote_call(husk, SYS_madvise, from + shift, to - from, POPULATE_WRITE, 0, 0, 0);
		e = ret < 0 ? populate_failed(who, from, to, (int)ret) : 0;
	}
	return e;
}
