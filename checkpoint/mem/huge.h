/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_HUGE_H
#define MEM_HUGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

struct image_pages;
struct page_runs;
struct remote;
struct smaps_vma;

/* What mmap(2) is told of huge pages: that it shall be those of hugetlb, and of which size (the logarithm; 0: the default size). */
#define HUGE_SHIFT 26
#define HUGE_FLAGS (MAP_HUGETLB | 0x3fu << HUGE_SHIFT)

static inline bool flags_are_huge(uint32_t flags)
{
	return flags & MAP_HUGETLB;
}
/* Bytes of one page, as far as flags tell: 4096 where they do not. */
static inline uint64_t huge_page_size(uint32_t flags)
{
	unsigned shift = flags >> HUGE_SHIFT & 0x3f;

	return flags_are_huge(flags) && shift > 12 ? 1ull << shift : 4096;
}

/* --- dump --- */
/* Anonymous memory on huge pages, private or shared; false: a file. */
bool huge_is_anonymous(const struct smaps_vma *v);
/* The flags that make such a mapping; a bare -errno. */
int huge_flags(pid_t pid, const struct smaps_vma *v, uint32_t *flags);
/* The size of the pages of an open file: 0, it has no huge ones. */
uint64_t huge_of_file(int fd);
/* The pages of a segment that have content; reads what it has to. 0 or a bare -errno. */
int huge_runs(int fd, uint64_t size, uint64_t page, struct page_runs *runs, uint64_t *pages);

/* --- restore --- */
/* Huge pages for [start, end) of what is to be filled, which the husk touches itself: they count for its cgroup. Explained. */
int huge_populate(struct remote *husk, const char *who, const struct image_pages *p, uint64_t start, uint64_t end, uint64_t shift);

#endif
