/* SPDX-License-Identifier: Apache-2.0 */
/* Pages saved and filled: to images and from there into a child, and from a source that runs on meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "harness.h"
#include "inventory.pb-c.h"
#include "mem/dumping.h"
#include "mem/restoring.h"
#include "pagemap.pb-c.h"

static char *anonymous(size_t pages)
{
	char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);   /* pages that are not touched are not there, on kernels that have huge ones for all too */
	return p;
}

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

const struct test tests[] = { TEST(save_and_fill), TEST(vanished), {} };
