/* SPDX-License-Identifier: Apache-2.0 */
/* Pages by the words of /proc/PID/pagemap: which have content, before Linux 6.7 has PAGEMAP_SCAN (scan.c), and which have changed, by
 * soft-dirty bits.
 *
 * It has one word a page: bit 63 present, 62 swapped, 61 file page or shared, 58 guard region (6.15). The
 * zero page is known by its frame number, which is read from our own pagemap; the huge one, which comes and goes, by /proc/kpageflags: it
 * can only be at 2 MiB boundaries. Frame numbers are shown to CAP_SYS_ADMIN only: without it zero pages are saved like others, and no
 * page counts as unchanged, as one that reads as zeroes since it was dropped has no soft-dirty bit either.
 *
 * Soft-dirty bits have a hole: mremap() moves a whole page table (2 MiB, 1 GiB) without a mark on its pages, which then look unchanged in
 * their new place (seen on 6.1). So some pages of each page table are remembered with their frames when a round begins. A page that
 * has its frame and no mark was there all the time, as had it come from elsewhere since, its frame would have been another's then; and
 * the page table it is in was not moved. A page table of which none is found again counts as written. Not so with merged pages (KSM),
 * of which several have one frame: the caller leaves such mappings out. */
#include "mem/words.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/proc.h"

#define PAGE UINT64_C(4096)

enum { WORDS = 4096 };
static const uint64_t word_present = 1ull << 63, word_swapped = 1ull << 62, word_file = 1ull << 61, word_guard = 1ull << 58,
		      word_soft_dirty = 1ull << 55,
		      word_frame = (1ull << 55) - 1;

#define HUGE_PAGES UINT64_C(512)
#define FLAG_ZERO_PAGE 24                                 /* KPF_ZERO_PAGE */

struct zeroes {
	uint64_t small, huge;        /* frames; 0: unknown */
	uint64_t asked;              /* the last frame looked up in kpageflags */
	int flags;                   /* /proc/kpageflags, opened when it is needed */
};

static struct zeroes zeroes_find(void)
{
	struct zeroes z = { .flags = -1 };
	uint64_t word = 0;
	volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return z;
	madvise((void *)(uintptr_t)page, PAGE, MADV_NOHUGEPAGE);
	autoclose int fd = proc_open(getpid(), "pagemap");
	if (fd >= 0 && *page == 0 && fd_pread_all(fd, &word, sizeof word, (uintptr_t)page / PAGE * sizeof word) < 0)
		word = 0;
	munmap((void *)(uintptr_t)page, PAGE);
	z.small = word & word_present ? word & word_frame : 0;
	return z;
}

/* A frame that may be the first of the huge zero page. */
static void zeroes_ask(struct zeroes *z, uint64_t frame)
{
	uint64_t flags = 0;

	z->asked = frame;
	if (z->flags < 0)
		z->flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (z->flags >= 0 && fd_pread_all(z->flags, &flags, sizeof flags, frame * sizeof flags) == 0 && flags >> FLAG_ZERO_PAGE & 1)
		z->huge = frame;
}

static bool is_zero(struct zeroes *z, uint64_t word, uint64_t at)
{
	uint64_t frame = word & word_frame;

	if (!(word & word_present) || word & word_file || !frame)
		return false;
	if (at / PAGE % HUGE_PAGES == 0 && frame % HUGE_PAGES == 0 && frame != z->asked)
		zeroes_ask(z, frame);
	return frame == z->small || (z->huge && frame - z->huge < HUGE_PAGES);
}

static bool has_content(uint64_t word)
{
	return (word & (word_present | word_swapped)) && !(word & (word_file | word_guard));
}

/* What a word says. */
static void take_word(uint64_t word, uint64_t at, struct zeroes *z, struct ranges *pages, struct ranges *guards)
{
	if (word & word_guard)
		ranges_add(guards, at, at + PAGE);
	else if (has_content(word) && !(z && is_zero(z, word, at)))
		ranges_add(pages, at, at + PAGE);
}

static ssize_t read_words(int fd, uint64_t start, uint64_t end, uint64_t words[WORDS])
{
	size_t want = (end - start) / PAGE < WORDS ? (size_t)((end - start) / PAGE) : WORDS;
	ssize_t got = pread(fd, words, want * sizeof *words, (off_t)(start / PAGE * sizeof *words));

	return got < 0 ? -errno : got / (ssize_t)sizeof *words;
}

int words_scan(int fd, uint64_t start, uint64_t end, bool zeroes, struct ranges *pages, struct ranges *guards)
{
	uint64_t words[WORDS];
	struct zeroes z = zeroes_find();
	ssize_t n = 0;

	for (; start < end; start += (uint64_t)n * PAGE) {
		n = read_words(fd, start, end, words);
		if (n <= 0)
			break;
		for (size_t i = 0; i < (size_t)n; i++)
			take_word(words[i], start + i * PAGE, zeroes ? NULL : &z, pages, guards);
	}
	fd_close(&z.flags);
	return n < 0 ? (int)n : 0;
}

/* --- soft-dirty --- */

#define INDEX_SHIFT 55

static const struct witness *witness_first(const struct witnesses *w, uint64_t block)
{
	size_t low = 0, high = w->list.n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (w->list.data[middle].block < block)
			low = middle + 1;
		else
			high = middle;
	}
	return w->list.data + low;
}

/* A stretch of pages in one block of 2 MiB. */
struct stretch {
	uint64_t start, n;
	const uint64_t *words;
};

static bool is_known(const struct stretch *s, const struct witnesses *before)
{
	const struct witness *end = before->list.data + before->list.n;
	uint64_t first = s->start / PAGE % HUGE_PAGES, block = s->start - first * PAGE;

	for (const struct witness *w = witness_first(before, block); w < end && w->block == block; w++)
		for (size_t i = 0; i < WITNESS_PAGES; i++) {
			uint64_t index = (w->page[i] >> INDEX_SHIFT) - first;
			if (w->page[i] && index < s->n && (s->words[index] & word_present) && !(s->words[index] & word_soft_dirty) &&
			    (s->words[index] & word_frame) == (w->page[i] & word_frame))
				return true;
		}
	return false;
}

/* The first page that will do in each quarter. */
static void add_witness(const struct stretch *s, struct zeroes *z, struct witnesses *now)
{
	uint64_t first = s->start / PAGE % HUGE_PAGES, next = 0;
	struct witness w = { .block = s->start - first * PAGE };
	size_t n = 0;

	for (uint64_t i = 0; i < s->n && n < WITNESS_PAGES; i++) {
		uint64_t word = s->words[i];
		if (i < next || !(word & word_present) || !has_content(word) || is_zero(z, word, s->start + i * PAGE))
			continue;
		w.page[n++] = (first + i) << INDEX_SHIFT | (word & word_frame);
		next = (i / (HUGE_PAGES / WITNESS_PAGES) + 1) * (HUGE_PAGES / WITNESS_PAGES);
	}
	if (n)
		array_push(&now->list) = w;
}

static void add_clean(const struct stretch *s, struct zeroes *z, struct ranges *clean)
{
	for (uint64_t i = 0; i < s->n; i++) {
		uint64_t at = s->start + i * PAGE;
		if (has_content(s->words[i]) && !(s->words[i] & word_soft_dirty) && !is_zero(z, s->words[i], at))
			ranges_add(clean, at, at + PAGE);
	}
}

int words_soft_dirty(int pagemap, uint64_t start, uint64_t end, const struct witnesses *before, struct witnesses *now, struct ranges *clean)
{
	uint64_t words[WORDS];
	struct zeroes z = zeroes_find();
	ssize_t n = 0;

	while (z.small && start < end) {
		uint64_t whole = (start / PAGE + WORDS) / HUGE_PAGES * HUGE_PAGES * PAGE;   /* no block is cut */
		n = read_words(pagemap, start, whole < end ? whole : end, words);
		if (n <= 0)
			break;
		for (uint64_t i = 0, room; i < (uint64_t)n; i += room) {
			room = HUGE_PAGES - (start / PAGE + i) % HUGE_PAGES;
			room = room < (uint64_t)n - i ? room : (uint64_t)n - i;
			struct stretch s = { start + i * PAGE, room, words + i };
			if (before && is_known(&s, before))
				add_clean(&s, &z, clean);
			add_witness(&s, &z, now);
		}
		start += (uint64_t)n * PAGE;
	}
	fd_close(&z.flags);
	return n < 0 ? (int)n : 0;
}
