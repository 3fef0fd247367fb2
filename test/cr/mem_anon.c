/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private anonymous memory: patterns, pages that are zero, holes never touched, protections (none, read-only,
 * read-execute), a hole unmapped in the middle, a mapping that grows down, one of 64 MiB, neighbours that the kernel
 * merges and neighbours that it does not, and the stack.
 */
#include "cr.h"

#include <sys/mman.h>

#define PAGE 4096UL
#define BIG (64UL << 20)

static char *map(size_t pages, int prot, int flags)
{
	char *at = mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	need(at != MAP_FAILED);
	return at;
}

/* Whether the mapping that holds an address shows these four letters in /proc/self/maps; "" when there is none. */
static const char *protection(const void *at)
{
	static char prot[8];
	char line[512];
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long from, to, a = (unsigned long)at;

	prot[0] = 0;
	while (f && fgets(line, sizeof(line), f)) {
		char p[8];
		if (sscanf(line, "%lx-%lx %4s", &from, &to, p) == 3 && from <= a && a < to)
			strcpy(prot, p);
	}
	if (f)
		fclose(f);
	return prot;
}

static void expect_protection(const char *what, const void *at, const char *prot)
{
	const char *is = protection(at);

	expect(!strcmp(is, prot), "%s at %p: protection '%s' instead of '%s'", what, at, is, prot);
}

int main(int argc, char **argv)
{
	static char in_data[3 * PAGE] = { 1 }, in_bss[3 * PAGE];
	uint64_t on_stack[1024];

	cr_begin(argc, argv);
	char *plain = map(16, PROT_READ | PROT_WRITE, 0);
	char *none = map(4, PROT_READ | PROT_WRITE, 0);
	char *readonly = map(4, PROT_READ | PROT_WRITE, 0);
	char *code = map(1, PROT_READ | PROT_WRITE, 0);
	char *holes = map(64, PROT_READ | PROT_WRITE, 0);
	char *cut = map(9, PROT_READ | PROT_WRITE, 0);
	char *big = map(BIG / PAGE, PROT_READ | PROT_WRITE, 0);
	char *down = map(8, PROT_READ | PROT_WRITE, MAP_GROWSDOWN);
	char *reserve = map(1UL << 20, PROT_NONE, MAP_NORESERVE);

	cr_fill(plain, 16 * PAGE, 1);
	memset(plain + 3 * PAGE, 0, PAGE); /* present, and zero */
	cr_fill(none, 4 * PAGE, 2);
	cr_fill(readonly, 4 * PAGE, 3);
	memcpy(code, "\xb8\x2a\x00\x00\x00\xc3", 6); /* mov $42, %eax; ret */
	for (int i = 0; i < 64; i += 3)
		cr_fill(holes + i * PAGE, PAGE, 100 + i);
	expect(holes[PAGE] == 0, "a page read but never written");
	cr_fill(cut, 9 * PAGE, 4);
	need(munmap(cut + 4 * PAGE, PAGE) == 0);
	cr_fill(big, BIG, 5);
	cr_fill(down, 8 * PAGE, 6);
	cr_fill(in_data, sizeof(in_data), 7);
	cr_fill(in_bss, sizeof(in_bss), 8);
	cr_fill(on_stack, sizeof(on_stack), 9);
	need(mprotect(none, 4 * PAGE, PROT_NONE) == 0 && mprotect(readonly, 4 * PAGE, PROT_READ) == 0);
	need(mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0);
	cr_wait();

	expect_protection("no access", none, "---p");
	expect_protection("read-only", readonly, "r--p");
	expect_protection("code", code, "r-xp");
	expect_protection("reserved", reserve, "---p");
	expect_protection("unmapped", cut + 4 * PAGE, "");
	cr_check_fill("plain", plain, 3 * PAGE, 1);
	expect(cr_is_zero(plain + 3 * PAGE, PAGE), "the zero page is not zero");
	for (size_t i = 4 * PAGE / 8; i < 16 * PAGE / 8; i++)
		if (((uint64_t *)plain)[i] != cr_pattern(1, i)) {
			expect(0, "plain: word %zu", i);
			break;
		}
	cr_check_fill("read-only", readonly, 4 * PAGE, 3);
	expect(((int (*)(void))(uintptr_t)code)() == 42, "code returns another number");
	for (int i = 0; i < 64; i++)
		if (i % 3 == 0)
			cr_check_fill("between holes", holes + i * PAGE, PAGE, 100 + i);
		else
			expect(cr_is_zero(holes + i * PAGE, PAGE), "hole %d is not zero", i);
	cr_check_fill("before the cut", cut, 4 * PAGE, 4);
	cr_check_fill("big", big, BIG, 5);
	cr_check_fill("growing down", down, 8 * PAGE, 6);
	cr_check_fill("data", in_data, sizeof(in_data), 7);
	cr_check_fill("bss", in_bss, sizeof(in_bss), 8);
	cr_check_fill("stack", on_stack, sizeof(on_stack), 9);
	expect(mprotect(none, 4 * PAGE, PROT_READ) == 0, "mprotect: %s", strerror(errno));
	cr_check_fill("no access", none, 4 * PAGE, 2);
	return cr_end();
}
