/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of a task have content of their own.
 *
 * PAGEMAP_SCAN (Linux 6.7) answers it with one call for each stretch of mappings. Facts relied on:
 * 1. PAGE_IS_FILE is every page that is not anonymous memory: page cache, shared segments, the vdso. PAGE_IS_PFNZERO is the zero
 *    page, small or huge. VM_PFNMAP mappings (vvar) are skipped.
 * 2. A guard region (6.13) looks like a swapped-out page; the category PAGE_IS_GUARD tells it apart (6.16). A kernel that does not
 *    know the category refuses it with EINVAL.
 * 3. Regions come in ascending order and complete up to the end of the last one, but walk_end may lie behind what was returned
 *    (seen with more than 512 regions). So the next call starts at the end of the last region, never at walk_end.
 *
 * Before 6.7 /proc/PID/pagemap has one word a page: bit 63 present, 62 swapped, 61 file page or shared, 58 guard region (6.15). The
 * zero page is known by its frame number, which is read from our own pagemap. */
#include "mem/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"

#define PAGE UINT64_C(4096)

/* The layout of linux/fs.h, which is newer than the headers of the systems that torpor is built on. */
struct scan_region {
	uint64_t start, end, categories;
};
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask, category_anyof_mask,
		return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
enum { IS_WRITTEN = 1 << 1, IS_FILE = 1 << 2, IS_PRESENT = 1 << 3, IS_SWAPPED = 1 << 4, IS_ZERO = 1 << 5, IS_GUARD = 1 << 8 };
#define REGIONS 512

void ranges_add(struct ranges *r, uint64_t start, uint64_t end)
{
	struct range *last = r->list.n ? &r->list.data[r->list.n - 1] : NULL;

	if (start >= end)
		return;
	if (last && start <= last->end)
		last->end = end > last->end ? end : last->end;
	else
		array_push(&r->list) = (struct range){ start, end };
}

static int scan_ioctl(int fd, uint64_t start, uint64_t end, bool zeroes, bool with_guards, struct ranges *pages, struct ranges *guards)
{
	struct scan_region regions[REGIONS];
	struct scan_arg arg = {
		.size = sizeof arg, .end = end, .vec = (uintptr_t)regions, .vec_len = REGIONS,
		.category_inverted = zeroes ? IS_FILE : IS_FILE | IS_ZERO, .category_mask = zeroes ? IS_FILE : IS_FILE | IS_ZERO,
		.category_anyof_mask = IS_PRESENT | IS_SWAPPED, .return_mask = with_guards ? IS_GUARD : 0,
	};

	while (start < end) {
		arg.start = start;
		int n = ioctl(fd, SCAN_IOCTL, &arg);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		for (int i = 0; i < n; i++)
			ranges_add(regions[i].categories & IS_GUARD ? guards : pages, regions[i].start, regions[i].end);
		if (n < REGIONS && arg.walk_end >= end)
			break;
		start = regions[n - 1].end;
	}
	return 0;
}

/* --- written or not --- */

enum { PROTECT = 1 << 0, CHECK_ASYNC = 1 << 1 };

static int scan_protect(int fd, uint64_t start, uint64_t end, bool protect, uint64_t guard, struct ranges *clean)
{
	struct scan_region regions[REGIONS];
	struct scan_arg arg = {
		.size = sizeof arg, .flags = CHECK_ASYNC | (protect ? PROTECT : 0), .end = end, .vec = (uintptr_t)regions, .vec_len = REGIONS,
		.category_inverted = IS_FILE | IS_ZERO | guard, .category_mask = IS_FILE | IS_ZERO | guard,
		.category_anyof_mask = IS_PRESENT | IS_SWAPPED, .return_mask = IS_WRITTEN,
	};

	while (start < end) {
		arg.start = start;
		int n = ioctl(fd, SCAN_IOCTL, &arg);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++)
			if (!(regions[i].categories & IS_WRITTEN))
				ranges_add(clean, regions[i].start, regions[i].end);
		if (n == 0 || (n < REGIONS && arg.walk_end >= end))
			break;
		start = regions[n - 1].end;
	}
	return 0;
}

int scan_written(int pagemap, uint64_t start, uint64_t end, bool protect, struct ranges *clean)
{
	int r = scan_protect(pagemap, start, end, protect, IS_GUARD, clean);

	if (r == -EINVAL)
		r = scan_protect(pagemap, start, end, protect, 0, clean);
	return r == -EPERM || r == -ESRCH ? 0 : r;   /* no longer registered as a whole; gone */
}

/* --- the fallback --- */

enum { WORDS = 4096 };
static const uint64_t word_present = 1ull << 63, word_swapped = 1ull << 62, word_file = 1ull << 61, word_guard = 1ull << 58,
		      word_soft_dirty = 1ull << 55,
		      word_frame = (1ull << 55) - 1;

/* The frame of the zero page; 0 where it cannot be known (then zero pages are saved like others). */
static uint64_t zero_frame(void)
{
	uint64_t word = 0;
	volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return 0;
	autoclose int fd = proc_open(getpid(), "pagemap");
	if (fd >= 0 && *page == 0 && fd_pread_all(fd, &word, sizeof word, (uintptr_t)page / PAGE * sizeof word) < 0)
		word = 0;
	munmap((void *)(uintptr_t)page, PAGE);
	return word & word_present ? word & word_frame : 0;
}

static int scan_words(int fd, uint64_t start, uint64_t end, bool zeroes, struct ranges *pages, struct ranges *guards)
{
	uint64_t words[WORDS], zero = zeroes ? 0 : zero_frame();

	while (start < end) {
		size_t want = (end - start) / PAGE < WORDS ? (size_t)((end - start) / PAGE) : WORDS;
		ssize_t got = pread(fd, words, want * sizeof *words, (off_t)(start / PAGE * sizeof *words));
		if (got < (ssize_t)sizeof *words)
			return got < 0 ? -errno : 0;
		size_t n = (size_t)got / sizeof *words;
		for (size_t i = 0; i < n; i++) {
			uint64_t w = words[i], at = start + i * PAGE;
			if (w & word_guard)
				ranges_add(guards, at, at + PAGE);
			else if ((w & (word_present | word_swapped)) && !(w & word_file) &&
				 !(zero && (w & word_present) && (w & word_frame) == zero))
				ranges_add(pages, at, at + PAGE);
		}
		start += n * PAGE;
	}
	return 0;
}

int scan_soft_dirty(int pagemap, uint64_t start, uint64_t end, struct ranges *clean)
{
	uint64_t words[WORDS];

	while (start < end) {
		size_t want = (end - start) / PAGE < WORDS ? (size_t)((end - start) / PAGE) : WORDS;
		ssize_t got = pread(pagemap, words, want * sizeof *words, (off_t)(start / PAGE * sizeof *words));
		if (got < (ssize_t)sizeof *words)
			return got < 0 ? -errno : 0;
		size_t n = (size_t)got / sizeof *words;
		for (size_t i = 0; i < n; i++)
			if ((words[i] & (word_present | word_swapped)) && !(words[i] & (word_soft_dirty | word_file | word_guard)))
				ranges_add(clean, start + i * PAGE, start + i * PAGE + PAGE);
		start += n * PAGE;
	}
	return 0;
}

static int scan_range(int fd, const struct range *w, bool zeroes, struct ranges *pages, struct ranges *guards)
{
	int r = scan_ioctl(fd, w->start, w->end, zeroes, true, pages, guards);

	if (r == -EINVAL)
		r = scan_ioctl(fd, w->start, w->end, zeroes, false, pages, guards);
	if (r == -ENOTTY || r == -EINVAL)
		r = scan_words(fd, w->start, w->end, zeroes, pages, guards);
	return r;
}

static int scan(pid_t pid, const struct ranges *where, bool zeroes, struct ranges *pages, struct ranges *guards)
{
	autoclose int fd = proc_open(pid, "pagemap");

	if (fd < 0)
		return fail(-fd, "open the page map of process %d", pid);
	for (size_t i = 0; i < where->list.n; i++) {
		int r = scan_range(fd, &where->list.data[i], zeroes, pages, guards);
		if (r < 0)
			return fail(-r, "read the page map of process %d", pid);
	}
	return 0;
}

int scan_pages(pid_t pid, const struct ranges *where, struct ranges *pages, struct ranges *guards)
{
	return scan(pid, where, false, pages, guards);
}

int scan_touched(pid_t pid, const struct ranges *where, struct ranges *pages)
{
	struct ranges guards = { 0 };
	int r = scan(pid, where, true, pages, &guards);

	array_free(&guards.list);
	return r;
}
