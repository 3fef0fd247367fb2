/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is moved, given up, forked and protected right after the program goes on, while a lazy restore is still bringing it in:
 * every page must be what it was, or zero where it was given up. Several threads and children look at it in different orders.
 */
#include "cr.h"

#include <pthread.h>
#include <sys/mman.h>

#define PAGE 4096UL
#define PAGES 12000UL
#define SIZE (PAGES * PAGE)
#define THREADS 3

static char *memory;

/* Pages in an order of its own; `zero` tells those that were given up. */
static void look(const char *who, const char *at, size_t first, size_t n, size_t stride, bool (*zero)(size_t page))
{
	for (size_t k = 0, i = 0; k < n; k++, i = (i + stride) % n) {
		const char *page = at + i * PAGE;
		if (zero && zero(first + i))
			expect(cr_is_zero(page, PAGE), "%s: page %zu is not zero", who, first + i);
		else
			cr_check_fill(who, page, PAGE, first + i);
	}
}

static bool given_up(size_t page)
{
	return page % 100 >= 90;
}

static void *look_thread(void *arg)
{
	static const size_t strides[] = { 1, 7, 1001 };
	uintptr_t n = (uintptr_t)arg;

	/* the second quarter is only read meanwhile */
	look("thread", memory + SIZE / 4, PAGES / 4, PAGES / 4, strides[n % 3], NULL);
	return NULL;
}

static int child(void *arg)
{
	uintptr_t n = (uintptr_t)arg;

	cr_child_ready();
	look("child", memory + SIZE / 4, PAGES / 4, PAGES / 4, n ? 11 : 13, NULL);
	/* what it gives up is its own affair */
	expect(madvise(memory + SIZE / 4, SIZE / 4, MADV_DONTNEED) == 0, "child: madvise: %s", strerror(errno));
	expect(cr_is_zero(memory + SIZE / 4, SIZE / 4), "child: what it gave up is not zero");
	return 0;
}

static void change(void)
{
	/* the first quarter: every tenth ten pages are given up */
	for (size_t i = 0; i < PAGES / 4; i++)
		if (given_up(i))
			expect(madvise(memory + i * PAGE, PAGE, MADV_DONTNEED) == 0, "madvise: %s", strerror(errno));
	/* the third quarter moves, and back, and is made smaller */
	char *from = memory + SIZE / 2, *to = mmap(NULL, SIZE / 4, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(to != MAP_FAILED && mremap(from, SIZE / 4, SIZE / 4, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "mremap: %s", strerror(errno));
	look("moved", to, PAGES / 2, 500, 3, NULL);
	expect(mremap(to, SIZE / 4, SIZE / 4, MREMAP_MAYMOVE | MREMAP_FIXED, from) == from, "mremap back: %s", strerror(errno));
	/* the last quarter: half of it goes, and something new is there; some is read-only */
	char *last = memory + SIZE / 4 * 3;
	expect(munmap(last, SIZE / 8) == 0, "munmap: %s", strerror(errno));
	expect(mmap(last, SIZE / 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == last, "mmap: %s", strerror(errno));
	expect(mprotect(last + SIZE / 8, 100 * PAGE, PROT_READ) == 0, "mprotect: %s", strerror(errno));
	expect(cr_is_zero(last, SIZE / 8), "new memory is not zero");
	look("last", last + SIZE / 8, PAGES / 8 * 7, PAGES / 8, 5, NULL);
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	cr_begin(argc, argv);
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(memory != MAP_FAILED);
	for (size_t i = 0; i < PAGES; i++)
		cr_fill(memory + i * PAGE, PAGE, i);
	cr_ready();
	/* A driver that makes "restored" beforehand wants it to begin at once, when it goes on. */
	while (access(cr_path("go"), F_OK) < 0 && access(cr_path("restored"), F_OK) < 0)
		cr_sleep_ms(1);
	for (uintptr_t i = 0; i < THREADS; i++)
		expect(pthread_create(&threads[i], NULL, look_thread, (void *)i) == 0, "pthread_create");
	pid_t first = cr_fork(child, NULL);
	change();
	pid_t second = cr_fork(child, (void *)1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	look("first quarter", memory, 0, PAGES / 4, 17, given_up);
	look("third quarter", memory + SIZE / 2, PAGES / 2, PAGES / 4, 17, NULL);
	cr_join(first);
	cr_join(second);
	return cr_end();
}
