/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guard regions (MADV_GUARD_INSTALL, Linux 6.13): pages of a mapping that fault without being mappings of their own, as
 * thread stacks have them. In a child they are those of the parent, less one and with one more.
 */
#include "cr.h"

#include <sys/mman.h>

#define PAGE 4096UL
#define PAGES 32
#define GUARD_INSTALL 102
#define GUARD_REMOVE 103

static char *memory;
static int sink[2];

/* Whether the kernel can read there. */
static bool readable(size_t page)
{
	char c;
	bool yes = write(sink[1], memory + page * PAGE, 1) == 1;

	return yes && read(sink[0], &c, 1) == 1;
}

static void check(const char *who, unsigned long guarded)
{
	for (size_t i = 0; i < PAGES; i++) {
		expect(readable(i) == !(guarded >> i & 1), "%s: page %zu is %s", who, i, guarded >> i & 1 ? "not guarded" : "guarded");
		if (!(guarded >> i & 1) && i % 3 == 0)
			cr_check_fill(who, memory + i * PAGE, PAGE, (int)i);
	}
}

static void guard(size_t page, size_t n, int what)
{
	need(madvise(memory + page * PAGE, n * PAGE, what) == 0);
}

static int child(void *arg)
{
	(void)arg;
	guard(10, 1, GUARD_REMOVE);
	guard(20, 1, GUARD_INSTALL);
	cr_child_ready();
	cr_wait_go();
	check("child", 3ul << 4 | 1ul << 20);
	return 0;
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(memory != MAP_FAILED && pipe(sink) == 0);
	for (size_t i = 0; i < PAGES; i += 3)
		if (i != 4 && i != 5 && i != 10)
			cr_fill(memory + i * PAGE, PAGE, (int)i);
	if (madvise(memory + 4 * PAGE, 2 * PAGE, GUARD_INSTALL) < 0)
		cr_skip("this kernel has no guard regions");
	guard(10, 1, GUARD_INSTALL);
	pid_t pid = cr_fork(child, NULL);
	cr_wait();
	check("parent", 3ul << 4 | 1ul << 10);
	cr_join(pid);
	return cr_end();
}
