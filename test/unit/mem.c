/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: the smaps parser, page scans, saving and filling pages, what a restore's checks refuse, copy-on-write plans. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/proc.h"
#include "base/str.h"
#include "harness.h"
#include "image/stream.h"
#include "inventory.pb-c.h"
#include "mem/dumping.h"
#include "mem/mem.h"
#include "mem/restoring.h"
#include "mem/smaps.h"
#include "mem/vmflags.h"
#include "memfd.pb-c.h"
#include "pagemap.pb-c.h"

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

/* --- a restore's checks --- */

struct bench {
	struct image_dir *images;
	struct restore r;
	struct task *t;
	MmEntry mm;
	VmaEntry vmas[8], *list[8];
	FileEntry file, *files[1];
};

static void bench_open(struct bench *b)
{
	memset(b, 0, sizeof *b);
	CHECK_OK(image_dir_create(test_dir(), &b->images));
	static const struct ck_restore_options options = { 0 };
	b->r = (struct restore){ .o = &options, .tree = tree_new(), .images = b->images };
	b->r.arena = &b->r.tree->arena;
	b->t = tree_add(b->r.tree, NULL, 7, 1);
	mm_entry__init(&b->mm);
	file_entry__init(&b->file);
	b->file.id = 3;
	array_push(&b->r.tree->files) = &b->file;
	b->t->mm = &b->mm;
	b->mm.mm_start_code = PAGE;
	b->mm.mm_end_code = 2 * PAGE;
	b->mm.exe_file_id = 3;
	b->mm.vmas = b->list;
	err_clear();
}

static VmaEntry *bench_vma(struct bench *b, uint64_t start, uint64_t end)
{
	VmaEntry *v = b->list[b->mm.n_vmas] = &b->vmas[b->mm.n_vmas];

	b->mm.n_vmas++;
	vma_entry__init(v);
	v->start = start;
	v->end = end;
	v->prot = PROT_READ;
	v->flags = MAP_PRIVATE | MAP_ANONYMOUS;
	v->status = VMA_REGULAR | VMA_ANON_PRIVATE;
	v->fd = -1;
	return v;
}

/* pagemap-7 with one entry for each {address, pages, flags}, ended by pages 0; pages-1 of the size. */
static void bench_pages(struct bench *b, const uint64_t (*e)[3], size_t size)
{
	struct image *i;
	PagemapHead head = PAGEMAP_HEAD__INIT;

	head.pages_id = 1;
	CHECK_OK(image_create(b->images, IMG_PAGEMAP, 7, &i));
	CHECK_OK(image_write_message(i, &head));
	for (; e && (*e)[1]; e++) {
		PagemapEntry entry = PAGEMAP_ENTRY__INIT;
		entry.vaddr = (*e)[0];
		entry.has_nr_pages = entry.has_flags = true;
		entry.nr_pages = (*e)[1];
		entry.flags = (uint32_t)(*e)[2];
		CHECK_OK(image_write_message(i, &entry));
	}
	CHECK_OK(image_close(&i));
	int fd = image_create_raw(b->images, "pages-1.img");
	CHECK(fd >= 0);
	CHECK(ftruncate(fd, (off_t)size) == 0);
	close(fd);
	CHECK_OK(image_write_one(b->images, IMG_INVENTORY, 0, &(InventoryEntry)INVENTORY_ENTRY__INIT));
	CHECK_OK(image_dir_commit(b->images, false));
}

static int bench_check(struct bench *b)
{
	struct image_dir *images;

	CHECK_OK(image_dir_open(test_dir(), &images));
	b->r.images = images;
	int e = mm_check(&b->r, b->t);
	shmem_done(&b->r);
	image_dir_free(images);
	image_dir_free(b->images);
	tree_free(b->r.tree);
	return e;
}

static void check_good(void)
{
	struct bench b;

	bench_open(&b);
	bench_vma(&b, 0x10000, 0x20000);
	bench_vma(&b, 0x20000, 0x21000)->prot = PROT_READ | PROT_WRITE;
	VmaEntry *v = bench_vma(&b, VSYSCALL_START, VSYSCALL_START + PAGE);
	v->status = VMA_VSYSCALL | VMA_ANON_PRIVATE;
	v = bench_vma(&b, 0x11000, 0x12000);   /* a guard region, listed behind */
	v->status = VMA_GUARD;
	bench_pages(&b, (const uint64_t[][3]){ { 0x12000, 1, 4 }, { 0x1f000, 2, 6 }, { 0 } }, 3 * PAGE);
	CHECK_OK(bench_check(&b));
}

/* Shared anonymous memory as CRIU stores it. */
static void check_foreign(void)
{
	struct bench b;
	struct image *i;
	FileEntry file = FILE_ENTRY__INIT;
	MemfdFileEntry memfd = MEMFD_FILE_ENTRY__INIT;
	MemfdInodeEntry inodes[] = { MEMFD_INODE_ENTRY__INIT, MEMFD_INODE_ENTRY__INIT };

	bench_open(&b);
	VmaEntry *v = bench_vma(&b, 0x10000, 0x20000);
	v->flags = MAP_SHARED;
	v->status = VMA_REGULAR | VMA_FILE_SHARED | VMA_MEMFD;
	v->shmid = file.id = memfd.id = 5;
	file.type = FD_TYPES__MEMFD;
	file.memfd = &memfd;
	memfd.inode_id = inodes[1].inode_id = 2;
	inodes[1].shmid = 1234;
	inodes[0].name = strdupa("other");
	inodes[1].name = strdupa("/dev/zero");
	array_push(&b.r.tree->files) = &file;
	CHECK_OK(image_create(b.images, IMG_MEMFD, 0, &i));
	CHECK_OK(image_write(i, &inodes[0]));
	CHECK_OK(image_write(i, &inodes[1]));
	CHECK_OK(image_close(&i));
	bench_pages(&b, NULL, 0);
	CHECK_OK(bench_check(&b));
	CHECK_EQ(v->shmid, 1234);
	CHECK_EQ(v->status, VMA_REGULAR | VMA_ANON_SHARED);
	CHECK_EQ(v->flags, MAP_SHARED | MAP_ANONYMOUS);
}

static void must_refuse(struct bench *b, const char *reason)
{
	int e = bench_check(b);

	CHECK(e < 0);
	CHECK(err_count() > 0);
	CHECK_HAS(err_line(0), reason);
	CHECK_HAS(err_line(0), "task 7");
}

static void check_bad_mappings(void)
{
	static const struct {
		uint64_t start, end;
		uint32_t prot, flags, status;
		uint64_t madv;
		const char *reason;
	} rows[] = {
		{ 0x10001, 0x20000, 1, 0x22, 0x201, 0, "whole pages" },
		{ 0x20000, 0x10000, 1, 0x22, 0x201, 0, "whole pages" },
		{ 0x7ffffffff000, 0x800000000000, 1, 0x22, 0x201, 0, "beyond the addresses" },
		{ 0x1000, 0x3000, 1, 0x22, 0x201, 0, "overlaps" },
		{ 0x10000, 0x20000, 1, 0x22, 0x204, 0, "vsyscall" },
		{ 0x10000, 0x20000, 9, 0x22, 0x201, 0, "protection" },
		{ 0x10000, 0x20000, 1, 0x40022, 0x201, 0, "hugetlb" },
		{ 0x10000, 0x20000, 1, 0x1000022, 0x201, 0, "unknown flags" },
		{ 0x10000, 0x20000, 1, 0x21, 0x201, 0, "contradict" },
		{ 0x10000, 0x20000, 1, 0x02, 0x201, 0, "contradict" },
		{ 0x10000, 0x20000, 1, 0x22, 0x301, 0, "does not say" },
		{ 0x10000, 0x20000, 1, 0x22, 0x1, 0, "does not say" },
		{ 0x10000, 0x20000, 1, 0x22, 0x40000201, 0, "status bits" },
		{ 0x10000, 0x20000, 1, 0x22, 0x2201, 0, "asynchronous" },
		{ 0x10000, 0x20000, 1, 0x22, 0x201, 1ull << 40, "madv" },
		{ 0x10000, 0x20000, 1, 0x02, 0x41, 0, "files.img" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct bench b;
		bench_open(&b);
		bench_vma(&b, 0x2000, 0x4000);
		VmaEntry *v = bench_vma(&b, rows[i].start, rows[i].end);
		v->prot = rows[i].prot;
		v->flags = rows[i].flags;
		v->status = rows[i].status;
		v->madv = rows[i].madv;
		v->shmid = 99;
		bench_pages(&b, NULL, 0);
		must_refuse(&b, rows[i].reason);
	}
}

static void check_bad_pages(void)
{
	static const struct {
		uint64_t entries[3][3];
		size_t size;
		const char *reason;
	} rows[] = {
		{ { { 0x10000, 4, 4 } }, 3 * 4096, "cut short" },
		{ { { 0x10010, 1, 4 } }, 4096, "impossible" },
		{ { { 0x10000, UINT64_MAX, 4 } }, 4096, "impossible" },
		{ { { 0xffffffffff600000, 1, 4 } }, 4096, "impossible" },
		{ { { 0x12000, 1, 4 }, { 0x11000, 1, 4 } }, 8192, "out of order" },
		{ { { 0x1f000, 2, 4 } }, 8192, "no private mapping" },
		{ { { 0x30000, 1, 4 } }, 8192, "no private mapping" },
		{ { { 0x11000, 1, 1 } }, 0, "an earlier checkpoint" },
		{ { { 0x11000, 1, 5 } }, 0, "both" },
		{ { { 0x11000, 1, 2 } }, 0, "lazy dump" },
		{ { { 0x11000, 1, 0 } }, 0, "nowhere" },
		{ { { 0x11000, 1, 12 } }, 4096, "unknown flags" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct bench b;
		bench_open(&b);
		bench_vma(&b, 0x10000, 0x20000);
		VmaEntry *v = bench_vma(&b, 0x30000, 0x40000);
		v->flags = MAP_SHARED | MAP_ANONYMOUS;
		v->status = VMA_REGULAR | VMA_ANON_SHARED;
		bench_pages(&b, rows[i].entries, rows[i].size);
		must_refuse(&b, rows[i].reason);
	}
}

static void check_bad_numbers(void)
{
	struct bench b;

	bench_open(&b);
	b.mm.mm_brk = 1;
	b.mm.mm_start_brk = 2;
	bench_pages(&b, NULL, 0);
	must_refuse(&b, "break");
	bench_open(&b);
	b.mm.exe_file_id = 4;
	bench_pages(&b, NULL, 0);
	must_refuse(&b, "executable");
	bench_open(&b);
	b.mm.n_mm_saved_auxv = 1000;
	bench_pages(&b, NULL, 0);
	must_refuse(&b, "auxiliary");
}

static void hole(void)
{
	struct bench b;

	bench_open(&b);
	bench_vma(&b, 0x100000000, 0x200000000);
	uint64_t at = mm_find_hole(b.r.tree, 8 << 20);
	CHECK(at >= 0x200000000);
	CHECK(at % PAGE == 0);
	b.mm.n_vmas = 0;
	bench_vma(&b, 0x10000, TASK_END);
	CHECK_EQ(mm_find_hole(b.r.tree, 8 << 20), 0);
	image_dir_free(b.images);
	tree_free(b.r.tree);
}

/* --- copy-on-write --- */

static void inherit(void)
{
	struct bench p, c;

	bench_open(&p);
	bench_open(&c);
	bench_vma(&p, 0x10000, 0x20000);
	bench_vma(&p, 0x20000, 0x30000)->prot = PROT_NONE;
	bench_vma(&p, 0x30000, 0x40000)->madv = 1 << MADV_DONTFORK;
	VmaEntry *v = bench_vma(&p, 0x40000, 0x50000);
	v->flags = MAP_PRIVATE;
	v->status = VMA_REGULAR | VMA_FILE_PRIVATE;
	v->shmid = 3;
	v->pgoff = 0x1000;
	bench_vma(&c, 0x11000, 0x20000);                                       /* within: kept */
	bench_vma(&c, 0x20000, 0x30000);                                       /* another protection */
	bench_vma(&c, 0x30000, 0x40000)->madv = 1 << MADV_DONTFORK;            /* was not copied */
	c.vmas[3] = *v;
	c.list[c.mm.n_vmas++] = &c.vmas[3];
	c.vmas[3].start += 0x1000;
	c.vmas[3].pgoff += 0x1000;                                             /* the same part of the same file: kept */
	bench_vma(&c, 0x50000, 0x60000);                                       /* the parent has nothing there */
	bool *kept = inherit_plan(&c.mm, &p.mm);
	CHECK(kept[0] && !kept[1] && !kept[2] && kept[3] && !kept[4]);
	free(kept);
	c.vmas[3].pgoff = 0;
	c.vmas[0].end = 0x20800;
	kept = inherit_plan(&c.mm, &p.mm);
	CHECK(!kept[0] && !kept[3]);
	free(kept);
	image_dir_free(p.images);
	image_dir_free(c.images);
	tree_free(p.r.tree);
	tree_free(c.r.tree);
}

/* --- saving and filling: this process's pages to images, and from there into a child --- */

enum { FILL_PAGES = 6000 };

static void pages_of_child(char *p, char seed)
{
	for (size_t i = 0; i < FILL_PAGES; i++)
		if (i % 7)
			memset(p + i * PAGE, (char)(seed + i % 50), PAGE);
}

static pid_t child_with(void (*fn)(char *p), char *p)
{
	pid_t pid = fork();

	if (pid == 0) {
		fn(p);
		raise(SIGSTOP);
		_exit(0);
	}
	int status;
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	return pid;
}

static void fresh(char *p)
{
	munmap(p, FILL_PAGES * PAGE);
	CHECK(mmap(p, FILL_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	mprotect(p, 100 * PAGE, PROT_NONE);   /* to be written by force */
}

static void nothing(char *p)
{
	(void)p;
}

static void save_self(struct image_dir *images, uint32_t id, char *p, struct image_pages *out)
{
	struct pool pool = { 0 };
	struct page_sink *sink = sink_files(images, &pool, id);
	struct ranges where = { 0 }, pages = { 0 }, guards = { 0 };
	struct page_runs runs = { 0 };
	autoclose int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	struct page_source from = { .fd = mem, .pid = getpid(), .sole = &where, .what = "this test" };
	struct image_run *last = NULL;

	ranges_add(&where, (uintptr_t)p, (uintptr_t)p + FILL_PAGES * PAGE);
	CHECK_OK(scan_pages(getpid(), &where, &pages, &guards));
	array_push(&out->files) = (struct image_file){ .dir = images, .id = id, .fd = -1 };
	for (size_t i = 0; i < pages.list.n; i++) {
		const struct range *r = &pages.list.data[i];
		array_push(&runs.list) = (struct page_run){ r->start, r->end, PAGEMAP_PRESENT };
		last = &array_push(&out->runs);
		*last = (struct image_run){ r->start, r->end, out->size, 0 };
		out->size += r->end - r->start;
	}
	CHECK_OK(sink_put(sink, IMG_PAGEMAP, id, &from, &runs, NULL));
	CHECK_OK(sink->ops->finish(sink));
	sink->ops->free(sink);
	pool_done(&pool);
	array_free(&runs.list);
	array_free(&pages.list);
	array_free(&where.list);
}

static void check_child(pid_t pid, const char *p)
{
	char path[64];
	char *got = malloc(FILL_PAGES * PAGE);

	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	autoclose int mem = open(path, O_RDONLY | O_CLOEXEC);
	CHECK_EQ(fd_pread_all(mem, got, FILL_PAGES * PAGE, (uintptr_t)p), 0);
	CHECK(!memcmp(got, p, FILL_PAGES * PAGE));
	free(got);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void fill_child(pid_t pid, char *p, struct image_pages *own, const struct image_pages *parent, struct fill *f)
{
	char path[64];
	struct pool pool = { 0 };
	uint64_t start = (uintptr_t)p, none = start + 100 * PAGE, end = start + FILL_PAGES * PAGE;

	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	autoclose int mem = open(path, O_RDWR | O_CLOEXEC);
	CHECK(mem >= 0);
	CHECK_OK(pages_open(own));
	*f = (struct fill){ .own = own, .parent = parent, .pid = pid, .mem_fd = mem, .uffd = -1, .who = "this test" };
	struct fill_where w[] = { { start, none, parent != NULL, false }, { none, end, true, true } };
	for (size_t i = 0; i < 2; i++)
		if (parent)
			fill_add_inherited(f, &w[i]);
		else
			fill_add(f, &w[i], 0);
	CHECK_OK(fill_run(f, &pool));
	pool_done(&pool);
}

static void save_and_fill(void)
{
	struct image_dir *images;
	struct image_pages first = { 0 }, second = { 0 };
	char *p = anonymous(FILL_PAGES);
	struct fill f;

	/* A parent's pages; a child's that differ in every hundredth, lack some and have some more. */
	CHECK_OK(image_dir_create(test_dir(), &images));
	pages_of_child(p, 1);
	mprotect(p, 10 * PAGE, PROT_NONE);
	save_self(images, 1, p, &first);
	mprotect(p, 10 * PAGE, PROT_READ | PROT_WRITE);
	CHECK_EQ(first.size, (FILL_PAGES - FILL_PAGES / 7 - 1) * PAGE);
	CHECK_OK(image_write_one(images, IMG_INVENTORY, 0, &(InventoryEntry)INVENTORY_ENTRY__INIT));
	CHECK_OK(image_dir_commit(images, false));

	pid_t pid = child_with(fresh, p);
	fill_child(pid, p, &first, NULL, &f);
	CHECK_EQ(f.restored, first.size / PAGE);
	fill_done(&f);
	check_child(pid, p);

	pid = child_with(nothing, p);   /* it has the parent's memory */
	for (size_t i = 0; i < FILL_PAGES; i += 100)
		p[i * PAGE + 17] ^= 1;
	madvise(p + 3000 * PAGE, 20 * PAGE, MADV_DONTNEED);
	image_dir_free(images);
	CHECK_OK(image_dir_create(test_dir(), &images));
	save_self(images, 2, p, &second);
	CHECK_OK(image_write_one(images, IMG_INVENTORY, 0, &(InventoryEntry)INVENTORY_ENTRY__INIT));
	CHECK_OK(image_dir_commit(images, false));
	fill_child(pid, p, &second, &first, &f);
	CHECK(f.skipped > FILL_PAGES / 2);
	CHECK_EQ(f.restored, FILL_PAGES / 100 - 1);                        /* but for page 3000, which is dropped */
	CHECK_EQ(f.compared - f.skipped, f.restored - FILL_PAGES / 700 - 1);  /* those in multiples of 700 were not there */
	uint64_t dropped = 0;
	for (size_t i = 0; i < f.drop.n; i++)
		dropped += (f.drop.data[i].end - f.drop.data[i].start) / PAGE;
	CHECK(dropped >= 16 && dropped <= 20);
	fill_done(&f);
	image_dir_free(images);
	pages_done(&first);
	pages_done(&second);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* --- a source that runs on, and has lost pages when they are read --- */

static bool is_there(uint64_t page)
{
	return page % 16 != 3 && page % 16 != 4 && page < 900;
}

/* Pages of process memory, from which some are taken; and what is left of the runs is right. */
static void vanished(void)
{
	enum { N = 1000 };
	struct image_dir *images;
	struct pool pool = { 0 };
	struct ranges gone = { 0 };
	struct page_runs runs = { 0 };
	char *p = anonymous(N);
	uint64_t at = (uintptr_t)p, missing = 0, page = 0;
	autoclose int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	for (uint64_t i = 0; i < N; i++) {
		memset(p + i * PAGE, (int)(i % 251), PAGE);
		if (!is_there(i))
			CHECK(munmap(p + i * PAGE, PAGE) == 0);
		missing += !is_there(i) && i % 100 < 90;
	}
	for (uint64_t i = 0; i < N; i += 100) {
		array_push(&runs.list) = (struct page_run){ at + i * PAGE, at + (i + 90) * PAGE, PAGEMAP_PRESENT };
		array_push(&runs.list) = (struct page_run){ at + (i + 90) * PAGE, at + (i + 100) * PAGE, PAGEMAP_LAZY };
	}
	CHECK_OK(image_dir_create(test_dir(), &images));
	struct page_sink *sink = sink_files(images, &pool, 1);
	struct page_source from = { .fd = mem, .pid = getpid(), .running = true, .what = "this test" };
	CHECK_OK(sink_put(sink, IMG_PAGEMAP, 7, &from, &runs, &gone));
	for (size_t i = 0; i < gone.list.n; i++)
		missing -= (gone.list.data[i].end - gone.list.data[i].start) / PAGE;
	CHECK_EQ(missing, 0);
	from.running = false;
	CHECK(sink_put(sink, IMG_PAGEMAP, 8, &from, &runs, NULL) < 0);
	CHECK_OK(image_dir_publish(images));

	auto_image struct image *i = NULL;
	struct arena arena = { 0 };
	PagemapHead *head;
	PagemapEntry *e;
	char data[PAGE];
	autoclose int pages = image_open_raw(images, "pages-1.img");
	CHECK_OK(image_open(images, IMG_PAGEMAP, 7, &i));
	CHECK(image_read_message(i, &pagemap_head__descriptor, &arena, &head) == 1);
	while (image_read_message(i, &pagemap_entry__descriptor, &arena, &e) == 1)
		for (uint64_t k = 0; e->flags == PAGEMAP_PRESENT && k < e->nr_pages; k++) {
			uint64_t n = (e->vaddr - at) / PAGE + k;
			CHECK(is_there(n));
			CHECK_OK(fd_pread_all(pages, data, PAGE, page++ * PAGE));
			CHECK(data[0] == (char)(n % 251) && data[PAGE - 1] == data[0]);
		}
	CHECK(fd_pread_all(pages, data, 1, page * PAGE) == -ENODATA);
	CHECK(page > 600);
	arena_done(&arena);
	sink->ops->free(sink);
	pool_done(&pool);
	image_dir_free(images);
	array_free(&runs.list);
	array_free(&gone.list);
}

const struct test tests[] = {
	TEST(smaps), TEST(smaps_strange), TEST(ranges_merge), TEST(scan_many_regions), TEST(scan_in_pieces), TEST(flags_without_smaps),
	TEST(scan_guards), TEST(soft_dirty), TEST(soft_dirty_huge), TEST(check_good), TEST(check_foreign), TEST(check_bad_mappings),
	TEST(check_bad_pages), TEST(check_bad_numbers), TEST(hole), TEST(inherit), TEST(save_and_fill), TEST(vanished), {}
};
