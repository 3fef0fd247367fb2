/* SPDX-License-Identifier: Apache-2.0 */
/* What a restore refuses of an image's mappings and pages, where it finds room, and what a child has from its parent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "harness.h"
#include "inventory.pb-c.h"
#include "mem/mem.h"
#include "mem/restoring.h"
#include "pagemap.pb-c.h"

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
		{ 0x10000, 0x20000, 1, 0x54040022, 0x201, 0, "whole huge pages" },
		{ 0x10000, 0x20000, 1, 0x40002, 0x41, 0, "hugetlb" },
		{ 0x10000, 0x20000, 1, 0x54000022, 0x201, 0, "unknown flags" },
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

const struct test tests[] = { TEST(check_good), TEST(check_foreign), TEST(check_bad_mappings), TEST(check_bad_pages), TEST(check_bad_numbers),
	TEST(hole), TEST(inherit), {} };
