/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What madvise, mlock and mmap flags leave on a mapping, as the VmFlags of /proc/self/smaps show it: do not copy on
 * fork, wipe on fork, do not dump, huge page advice both ways, sequential and random reading, mergeable, locked,
 * no reserve, growing down. Every mapping has the same two-letter flags before and after, whatever they are. While memory still comes
 * (lazy), they are watched as well (um): that must end.
 */
#include "cr.h"

#include <sys/mman.h>

#define SIZE (16 * 4096UL)

static const struct {
	const char *name;
	int advice, flags;
} kinds[] = {
	{ "plain", -1, 0 },
	{ "dontfork", MADV_DONTFORK, 0 },
	{ "wipeonfork", MADV_WIPEONFORK, 0 },
	{ "dontdump", MADV_DONTDUMP, 0 },
	{ "hugepage", MADV_HUGEPAGE, 0 },
	{ "nohugepage", MADV_NOHUGEPAGE, 0 },
	{ "mergeable", MADV_MERGEABLE, 0 },
	{ "sequential", MADV_SEQUENTIAL, 0 },
	{ "random", MADV_RANDOM, 0 },
	{ "locked", -1, MAP_LOCKED },
	{ "noreserve", -1, MAP_NORESERVE },
	{ "growsdown", -1, MAP_GROWSDOWN },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* The flags of the mapping that starts at an address, without "sd" (soft-dirty), which any restore sets. */
static void vm_flags(const void *at, char *flags, size_t size)
{
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long from, to;
	bool here = false;

	flags[0] = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from == (unsigned long)at;
		else if (here && !strncmp(line, "VmFlags:", 8))
			snprintf(flags, size, "%.120s", line + 9);
	}
	if (f)
		fclose(f);
	char *sd = strstr(flags, "sd ");
	if (sd)
		memmove(sd, sd + 3, strlen(sd + 3) + 1);
	flags[strcspn(flags, "\n")] = 0;
}

int main(int argc, char **argv)
{
	char *at[KINDS], before[KINDS][128], after[128];
	bool have[KINDS] = { 0 };

	cr_begin(argc, argv);
	for (size_t i = 0; i < KINDS; i++) {
		/* A page without access in front of each keeps the kernel from merging two of them. */
		char *m = mmap(NULL, SIZE + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		need(m != MAP_FAILED);
		at[i] = mmap(m + 4096, SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | kinds[i].flags, -1, 0);
		have[i] = at[i] != MAP_FAILED && (kinds[i].advice < 0 || madvise(at[i], SIZE, kinds[i].advice) == 0);
		if (!have[i])
			continue;
		cr_fill(at[i], SIZE, i);
		vm_flags(at[i], before[i], sizeof(before[i]));
		need(before[i][0]);
	}
	cr_wait();
	for (size_t i = 0; i < KINDS; i++) {
		if (!have[i])
			continue;
		for (int ms = 0; ms < 20000; ms += 10) {
			vm_flags(at[i], after, sizeof(after));
			if (!strstr(after, "um "))
				break;
			cr_sleep_ms(10);
		}
		expect(!strcmp(before[i], after), "%s: flags '%s' instead of '%s'", kinds[i].name, after, before[i]);
		cr_check_fill(kinds[i].name, at[i], SIZE, i);
	}
	return cr_end();
}
