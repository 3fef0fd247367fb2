/* SPDX-License-Identifier: Apache-2.0 */
/* Memory on huge pages (MAP_HUGETLB): private, with copy-on-write, shared with a child, and parts of a mapping.
 *
 *     hugetlb DIR/ready          needs 16 free pages of the default size
 *
 * Pages that were never touched stay so: there are fewer pages than the mappings are long. */
#include "cr.h"

#include <stdio.h>
#include <sys/mman.h>

#define HUGE_MAX (32u << 20)

static size_t huge;
static char *private, *inherited, *shared, *part;

static char *map(size_t pages, int flags)
{
	char *at = mmap(NULL, pages * huge, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE | flags, -1, 0);

	if (at == MAP_FAILED)
		cr_skip(": %zu huge pages: %s", pages, strerror(errno));
	return at;
}

static void check_untouched(const char *what, const char *at)
{
	FILE *f = fopen("/proc/self/pagemap", "re");
	uint64_t word = 0;

	expect(f && fseek(f, (long)((uintptr_t)at / 4096 * 8), SEEK_SET) == 0 && fread(&word, 8, 1, f) == 1, "read the page map");
	expect(!(word >> 63), "%s: a page that was never touched is there", what);
	if (f)
		fclose(f);
}

static int child(void *none)
{
	(void)none;
	cr_fill(inherited + huge, huge, 12);            /* the first page stays the parent's */
	cr_fill(shared + huge, huge, 22);
	cr_child_ready();
	cr_wait_go();
	cr_check_fill("inherited, in the child", inherited, huge, 10);
	cr_check_fill("inherited and written, in the child", inherited + huge, huge, 12);
	cr_check_fill("shared, in the child", shared, huge, 20);
	cr_check_fill("shared, its own", shared + huge, huge, 22);
	cr_fill(shared + 2 * huge, 4096, 23);
	return 0;
}

static void check(void)
{
	cr_check_fill("private", private, huge, 1);
	check_untouched("private", private + huge);
	cr_check_fill("private", private + 2 * huge, huge, 2);
	cr_fill(private + huge, huge, 3);
	cr_check_fill("private, written now", private + huge, huge, 3);
	cr_check_fill("inherited", inherited, huge, 10);
	cr_check_fill("inherited", inherited + huge, huge, 11);
	cr_check_fill("shared", shared, huge, 20);
	cr_check_fill("shared, the child's", shared + huge, huge, 22);
	cr_check_fill("shared, written after", shared + 2 * huge, 4096, 23);
	cr_check_fill("a part", part, huge, 31);
	expect(mprotect(part, huge, PROT_READ | PROT_WRITE) == 0, "mprotect: %s", strerror(errno));
	expect(munmap(part, huge) == 0, "unmap a part: %s", strerror(errno));
	expect(munmap(private + huge, huge) == 0, "unmap a page in the middle: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	huge = strtoull(cr_proc("/proc/meminfo", "Hugepagesize"), NULL, 10) << 10;
	if (!huge || huge > HUGE_MAX)
		cr_skip(": no huge pages of a size that is right for a test");
	if (strtoull(cr_proc("/proc/meminfo", "HugePages_Free"), NULL, 10) < 16)
		cr_skip(": fewer than 16 free huge pages (vm.nr_hugepages)");
	private = map(3, MAP_PRIVATE);
	inherited = map(2, MAP_PRIVATE);
	shared = map(4, MAP_SHARED);
	part = map(3, MAP_SHARED);
	cr_fill(private, huge, 1);
	cr_fill(private + 2 * huge, huge, 2);
	cr_fill(inherited, huge, 10);
	cr_fill(inherited + huge, huge, 11);
	cr_fill(shared, huge, 20);
	cr_fill(part + huge, huge, 31);
	need(munmap(part, huge) == 0);                  /* a segment that nobody maps from its beginning */
	part += huge;
	need(mprotect(part, huge, PROT_READ) == 0);
	pid_t pid = cr_fork(child, NULL);
	cr_wait();
	cr_join(pid);
	check();
	return cr_end();
}
