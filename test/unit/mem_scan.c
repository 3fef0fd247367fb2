/* SPDX-License-Identifier: Apache-2.0 */
/* Memory as it is: the smaps parser, flags of mappings, page scans and what they say of changed pages. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/kernel.h"
#include "base/proc.h"
#include "harness.h"
#include "mem/dumping.h"
#include "mem/restoring.h"
#include "mem/vmflags.h"

/* --- smaps --- */

static const char two_mappings[] =
	"55d071809000-55d07180a000 r-xp 00002000 fe:00 10969682                   /usr/bin/a b\\012c (deleted)\n"
	"Size:                  4 kB\n"
	"Rss:                   0 kB\n"
	"Shared_Dirty:          8 kB\n"
	"VmFlags: rd ex mr mw me lo dd hg \n"
	"7ffd7e723000-7ffd7e744000 rw-s 00000000 00:01 127 \n"
	"Size:                132 kB\n"
	"VmFlags: rd wr mr me gd nr um \n"
	"7ffd7e744000-7ffd7e745000 ---p 00000000 00:00 0                          [stack]\n";

static void smaps(void)
{
	struct smaps s = { 0 };
	char *text = str_dup(two_mappings);

	CHECK_EQ(smaps_parse(text, &s), 0);
	CHECK_EQ(s.vmas.n, 3);
	const struct smaps_vma *v = s.vmas.data;
	CHECK_EQ(v[0].start, 0x55d071809000);
	CHECK_EQ(v[0].end, 0x55d07180a000);
	CHECK_EQ(v[0].pgoff, 0x2000);
	CHECK_EQ(v[0].prot, PROT_READ | PROT_EXEC);
	CHECK_EQ(v[0].major, 0xfe);
	CHECK_EQ(v[0].inode, 10969682);
	CHECK(!v[0].shared && v[1].shared);
	CHECK_STR(v[0].name, "/usr/bin/a b\\012c (deleted)");
	CHECK_EQ(v[0].flags, SMAPS_MAYWRITE | SMAPS_LOCKED);
	CHECK_EQ(v[0].madv, 1 << MADV_DONTDUMP | 1 << MADV_HUGEPAGE);
	CHECK(v[0].mapped_elsewhere && !v[1].mapped_elsewhere);
	CHECK_STR(v[1].name, "");
	CHECK_EQ(v[1].flags, SMAPS_GROWSDOWN | SMAPS_NORESERVE | SMAPS_UFFD);
	CHECK_STR(v[2].name, "[stack]");
	CHECK_EQ(v[2].prot, 0);
	array_free(&s.vmas);
	free(text);
}

static void smaps_strange(void)
{
	static const char *const texts[] = {
		"nonsense\n", "55d0-55d1\n", "2000-1000 rw-p 0 0:0 0 \n", "1000-2000 rw-p 00000000 00:01\n", "1000-2000 rw-p 0 0:0 0 cut short",
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct smaps s = { 0 };
		char *text = str_dup(texts[i]);
		CHECK_EQ(smaps_parse(text, &s), -EINVAL);
		array_free(&s.vmas);
		free(text);
	}
}

/* --- ranges and scans --- */

static void ranges_merge(void)
{
	struct ranges r = { 0 };

	ranges_add(&r, 0x1000, 0x2000);
	ranges_add(&r, 0x2000, 0x3000);
	ranges_add(&r, 0x1000, 0x2000);   /* twice: a scan that starts behind what it has returned */
	ranges_add(&r, 0x5000, 0x5000);
	ranges_add(&r, 0x5000, 0x6000);
	CHECK_EQ(r.list.n, 2);
	CHECK_EQ(r.list.data[0].start, 0x1000);
	CHECK_EQ(r.list.data[0].end, 0x3000);
	CHECK_EQ(r.list.data[1].start, 0x5000);
	array_free(&r.list);
}

#define HUGE_PAGE (UINT64_C(2) << 20)

static char *anonymous(size_t pages)
{
	char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);   /* pages that are not touched are not there, on kernels that have huge ones for all too */
	return p;
}

static void scan_many_regions(void)
{
	enum { PAGES = 4000 };
	char *p = anonymous(PAGES);
	struct ranges where = { 0 }, pages = { 0 }, guards = { 0 };

	for (size_t i = 0; i < PAGES; i += 2)
		p[i * PAGE] = 1;
	for (size_t i = 1; i < 100; i += 2)
		CHECK_EQ(((volatile char *)p)[i * PAGE], 0);   /* the zero page */
	ranges_add(&where, (uintptr_t)p, (uintptr_t)p + PAGES * PAGE);
	CHECK_OK(scan_pages(getpid(), &where, &pages, &guards));
	CHECK_EQ(pages.list.n, PAGES / 2);
	for (size_t i = 0; i < pages.list.n; i++) {
		CHECK_EQ(pages.list.data[i].start, (uintptr_t)p + 2 * i * PAGE);
		CHECK_EQ(pages.list.data[i].end, pages.list.data[i].start + PAGE);
	}
	CHECK_EQ(guards.list.n, 0);
	array_free(&where.list);
	array_free(&pages.list);
}

/* What vmflags_read() says of our own mappings is what smaps says. */
static void flags_without_smaps(void)
{
	static const int advice[] = { MADV_DONTFORK, MADV_DONTDUMP, MADV_SEQUENTIAL, MADV_RANDOM, MADV_WIPEONFORK, MADV_HUGEPAGE };
	struct vmflags *f = vmflags_begin();
	struct smaps lean = { 0 }, full = { 0 };
	autofree char *maps = NULL, *text = NULL;
	char *p = anonymous(64);

	if (!f)
		test_skip("this kernel, or what we may do, has no other way than smaps");
	for (size_t i = 0; i < sizeof advice / sizeof *advice; i++)
		madvise(p + 8 * i * PAGE, PAGE, advice[i]);
	mlock(p + 62 * PAGE, PAGE);
	memset(p, 1, 64 * PAGE);
	mprotect(p + 60 * PAGE, PAGE, PROT_READ);
	CHECK(proc_read(getpid(), "maps", &maps) > 0);
	CHECK_OK(smaps_parse(maps, &lean));
	CHECK_OK(vmflags_read(f, getpid(), &lean));
	CHECK(proc_read(getpid(), "smaps", &text) > 0);
	CHECK_OK(smaps_parse(text, &full));
	size_t seen = 0;
	for (size_t i = 0, k = 0; i < full.vmas.n; i++) {
		const struct smaps_vma *a = &full.vmas.data[i], *b;
		while (k < lean.vmas.n && lean.vmas.data[k].start < a->start)
			k++;
		b = k < lean.vmas.n ? &lean.vmas.data[k] : a;
		if (b->start != a->start || b->end != a->end || (uintptr_t)p > a->start || (uintptr_t)p + 64 * PAGE <= a->start)
			continue;   /* ours has grown meanwhile, or is none of those made above */
		CHECK_EQ(b->flags, a->flags);
		CHECK_EQ(b->madv, a->madv);
		CHECK_EQ(b->mapped_elsewhere, a->mapped_elsewhere);
		seen++;
	}
	CHECK(seen > 10);
	pid_t child = fork();
	if (child == 0)
		pause();
	CHECK_OK(vmflags_read(f, getpid(), &lean));
	for (size_t i = 0; i < lean.vmas.n; i++)
		if (lean.vmas.data[i].start == (uintptr_t)p + PAGE)
			CHECK(lean.vmas.data[i].mapped_elsewhere);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	vmflags_end(f);
	array_free(&lean.vmas);
	array_free(&full.vmas);
}

/* Pieces of many areas, by several threads: the same pages as in one go. */
static void scan_in_pieces(void)
{
	enum { AREAS = 40 };
	static const size_t size = 32u << 20;
	char *p = mmap(NULL, AREAS * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct scan_areas areas = { 0 };
	struct scan_found found = { 0 };
	struct pool pool = { 0 };
	size_t n = 0;

	CHECK(p != MAP_FAILED);
	madvise(p, AREAS * size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < AREAS * size; at += size / 4 + 3 * PAGE, n++)
		p[at] = 1;
	for (size_t i = 0; i < AREAS; i++)
		array_push(&areas.list) = (struct scan_area){ .start = (uintptr_t)p + i * size, .end = (uintptr_t)p + (i + 1) * size,
							      .anonymous = i % 3 };
	CHECK_OK(scan_areas(getpid(), &areas, true, &pool, &found));
	CHECK_EQ(found.pages.list.n, n);
	for (size_t i = 0; i < n; i++)
		CHECK_EQ(found.pages.list.data[i].start, (uintptr_t)p + i * (size / 4 + 3 * PAGE));
	CHECK_EQ(found.clean.list.n, 0);
	scan_found_done(&found);
	array_free(&areas.list);
	pool_done(&pool);
	munmap(p, AREAS * size);
}

/* The pages of a huge page's room that are unchanged by their soft-dirty bits. */
static struct witnesses before;
static size_t soft_clean(char *p)
{
	struct ranges clean = { 0 };
	struct witnesses now = { 0 };
	size_t n = 0;
	autoclose int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	CHECK_OK(words_soft_dirty(pagemap, (uintptr_t)p, (uintptr_t)p + HUGE_PAGE, &before, &now, &clean));
	for (size_t i = 0; i < clean.list.n; i++)
		n += (clean.list.data[i].end - clean.list.data[i].start) / PAGE;
	array_free(&clean.list);
	array_free(&now.list);
	return n;
}

static void next_round(char *p)
{
	struct ranges clean = { 0 };
	autoclose int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	array_free(&before.list);
	CHECK_OK(words_soft_dirty(pagemap, (uintptr_t)p, (uintptr_t)p + 3 * HUGE_PAGE, NULL, &before, &clean));
	CHECK_EQ(clean.list.n, 0);
	autoclose int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0 && write(fd, "4", 1) == 1);
}

/* What is somewhere else than it was, with the page table that it is in, or gone, is not unchanged. huge: as a huge page, if it can be. */
static void soft_dirty_moves(bool huge)
{
	char *p = anonymous(4 * HUGE_PAGE / PAGE), *a = (char *)(((uintptr_t)p + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1)), *b = a + 2 * HUGE_PAGE;

	munmap(a + HUGE_PAGE, HUGE_PAGE);
	madvise(a, HUGE_PAGE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	madvise(b, HUGE_PAGE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(a, 1, HUGE_PAGE);
	memset(b, 2, HUGE_PAGE);
	CHECK_EQ(soft_clean(a), 0);
	next_round(a);
	CHECK_EQ(soft_clean(a), HUGE_PAGE / PAGE);
	CHECK_EQ(soft_clean(b), HUGE_PAGE / PAGE);
	a[5 * PAGE] = 3;
	CHECK_EQ(soft_clean(a), huge ? 0 : HUGE_PAGE / PAGE - 1);
	next_round(a);
	CHECK(mremap(a, HUGE_PAGE, HUGE_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, b) == b);
	CHECK_EQ(soft_clean(b), 0);
	next_round(a);
	madvise(b, HUGE_PAGE, MADV_DONTNEED);
	for (size_t i = 0; i < HUGE_PAGE; i += PAGE)
		CHECK_EQ(((volatile char *)b)[i], 0);   /* the zero page, or the huge one */
	CHECK_EQ(soft_clean(b), 0);
}

static void soft_dirty(void)
{
	if (!kernel_has(KERNEL_SOFT_DIRTY))
		test_skip("this kernel has no soft-dirty bits");
	soft_dirty_moves(false);
}

static void soft_dirty_huge(void)
{
	if (!kernel_has(KERNEL_SOFT_DIRTY))
		test_skip("this kernel has no soft-dirty bits");
	soft_dirty_moves(true);
}

static void scan_guards(void)
{
	char *p = anonymous(16);
	struct ranges where = { 0 }, pages = { 0 }, guards = { 0 };

	if (madvise(p + 3 * PAGE, 2 * PAGE, 102) < 0)
		test_skip("this kernel has no guard regions");
	p[0] = 1;
	ranges_add(&where, (uintptr_t)p, (uintptr_t)p + 16 * PAGE);
	CHECK_OK(scan_pages(getpid(), &where, &pages, &guards));
	if (guards.list.n == 0)
		test_skip("this kernel does not tell guard regions from swapped pages");
	CHECK_EQ(guards.list.data[0].start, (uintptr_t)p + 3 * PAGE);
	CHECK_EQ(guards.list.data[0].end, (uintptr_t)p + 5 * PAGE);
	CHECK_EQ(pages.list.n, 1);
	array_free(&where.list);
	array_free(&pages.list);
	array_free(&guards.list);
}

const struct test tests[] = { TEST(smaps), TEST(smaps_strange), TEST(ranges_merge), TEST(scan_many_regions), TEST(scan_in_pieces),
	TEST(flags_without_smaps), TEST(scan_guards), TEST(soft_dirty), TEST(soft_dirty_huge), {} };
