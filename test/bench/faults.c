/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page fault costs while a lazy restore brings memory in.
 *
 *	faults run FILE MIB    fill MIB of private memory, make FILE, wait until FILE.go exists; then touch pages in random order, each
 *	                       once, and write into FILE the median of what took longer than 3 µs (others were there already), in ns, how many
 *	                       those were, and the 99th percentile. A page that is wrong ends it with status 2.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define FAULT_NS 3000
#define TOUCHES_MAX 20000

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int save(const char *file, const char *text)
{
	char name[4096];

	snprintf(name, sizeof name, "%s.new", file);
	FILE *f = fopen(name, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) < 0)
		return 1;
	return rename(name, file) < 0;
}

/* A page, random but never twice: multiplication by an odd number permutes the numbers below a power of two. */
static size_t page_of(size_t i, size_t pages)
{
	return (i * 2654435761UL + 12345) & (pages - 1);
}

int main(int argc, char **argv)
{
	static uint64_t took[TOUCHES_MAX];
	char go[4096], text[128] = "";
	size_t pages = argc == 4 ? strtoul(argv[3], NULL, 10) * (1024 * 1024 / PAGE) : 0, n = 0;

	if (!pages || pages & (pages - 1)) {
		fprintf(stderr, "usage: faults run FILE MIB, a power of two\n");
		return 1;
	}
	volatile uint64_t *m = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		return 1;
	madvise((void *)(uintptr_t)m, pages * PAGE, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < pages; i++)
		for (size_t k = 0; k < PAGE / 8; k++)
			m[i * PAGE / 8 + k] = i * 1000003 + k + 1;
	snprintf(go, sizeof go, "%s.go", argv[2]);
	if (save(argv[2], ""))
		return 1;
	while (access(go, F_OK) < 0)
		usleep(50);
	for (size_t i = 0; i < pages && n < TOUCHES_MAX; i++) {
		size_t page = page_of(i, pages);
		uint64_t begin = now(), word = m[page * PAGE / 8], ns = now() - begin;
		if (word != page * 1000003 + 1)
			return 2;
		if (ns > FAULT_NS)
			took[n++] = ns;
	}
	qsort(took, n, sizeof *took, compare);
	snprintf(text, sizeof text, "%ju %zu %ju\n", n ? (uintmax_t)took[n / 2] : 0, n, n ? (uintmax_t)took[n * 99 / 100] : 0);
	return save(argv[2], text);
}
