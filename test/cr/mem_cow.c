/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private memory that parent, child and grandchild share since fork: contents differ where one of them wrote, and where
 * nobody wrote the pages must still be shared afterwards, or a restored server of many workers needs many times
 * its memory. /proc/self/smaps tells.
 */
#include "cr.h"

#include <sys/mman.h>

#define PAGE 4096UL
#define SIZE (8UL << 20)

static char *memory;

/* KiB of the mapping that other processes share. */
static long shared_kib(const void *at)
{
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long from, to, a = (unsigned long)at;
	long kib = 0, n;
	bool here = false;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= a && a < to;
		else if (here && (sscanf(line, "Shared_Clean: %ld", &n) == 1 || sscanf(line, "Shared_Dirty: %ld", &n) == 1))
			kib += n;
	}
	if (f)
		fclose(f);
	return kib;
}

static void check(const char *who, int own_page)
{
	for (int i = 0; i < (int)(SIZE / PAGE); i++)
		if (i != own_page && i != own_page - 1)
			cr_check_fill(who, memory + i * PAGE, PAGE, i);
	long kib = shared_kib(memory);
	expect(kib >= (long)(SIZE / 1024 / 2), "%s: %ld of %lu KiB are shared with another process", who, kib, SIZE / 1024);
}

static int leaf(void *arg)
{
	(void)arg;
	cr_fill(memory + 20 * PAGE, PAGE, 5020);
	cr_child_ready();
	cr_wait_go();
	cr_check_fill("grandchild: own page", memory + 20 * PAGE, PAGE, 5020);
	cr_check_fill("grandchild: page of its parent", memory + 19 * PAGE, PAGE, 4019);
	check("grandchild", 20);
	cr_wait_go();
	while (access(cr_path("leave"), F_OK) < 0)
		cr_sleep_ms(1);
	return 0;
}

static int child(void *arg)
{
	(void)arg;
	cr_fill(memory + 19 * PAGE, PAGE, 4019);
	pid_t pid = cr_fork(leaf, NULL);
	cr_fill(memory + 20 * PAGE, PAGE, 4020);
	cr_child_ready();
	cr_wait_go();
	cr_check_fill("child: first own page", memory + 19 * PAGE, PAGE, 4019);
	cr_check_fill("child: second own page", memory + 20 * PAGE, PAGE, 4020);
	check("child", 20);
	cr_join(pid);
	return 0;
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(memory != MAP_FAILED);
	need(madvise(memory, SIZE, MADV_NOHUGEPAGE) == 0 || errno == EINVAL);
	for (int i = 0; i < (int)(SIZE / PAGE); i++)
		cr_fill(memory + i * PAGE, PAGE, i);
	pid_t pid = cr_fork(child, NULL);
	cr_wait();
	check("parent", -1);
	cr_write("leave", 0, "");
	cr_join(pid);
	return cr_end();
}
