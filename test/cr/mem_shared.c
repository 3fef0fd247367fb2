/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared anonymous memory: a segment that parent and child map, a segment mapped twice in one process (mremap of an
 * old size of 0), a segment of which the child keeps only the second half, and one that is read-only for the child.
 * It must stay one memory: what one side writes after the restore, the other side sees. With the argument `once` no segment
 * is mapped twice: CRIU waits for itself when it restores such a one that another process has as well.
 */
#include "cr.h"

#include <sys/mman.h>

#define SIZE (1UL << 20)

static char *both, *twice, *alias, *half, *readonly;

static char *map(size_t size)
{
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	need(at != MAP_FAILED);
	return at;
}

static void await(char *at, char value)
{
	for (int i = 0; i < 20000 && __atomic_load_n(at, __ATOMIC_SEQ_CST) != value; i++)
		cr_sleep_ms(1);
	expect(*at == value, "process %d: a write of the other side did not arrive: %d instead of %d", getpid(), *at, value);
}

static int child(void *arg)
{
	(void)arg;
	need(munmap(half, SIZE / 2) == 0 && mprotect(readonly, SIZE, PROT_READ) == 0);
	cr_child_ready();
	cr_wait_go();
	cr_check_fill("child: both", both + 4096, SIZE - 4096, 11);
	cr_check_fill("child: second half", half + SIZE / 2, SIZE / 2, 13);
	cr_check_fill("child: read-only", readonly, SIZE, 14);
	await(both, 1);
	half[SIZE - 1] = 77;
	__atomic_store_n(both, 2, __ATOMIC_SEQ_CST);
	return 0;
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	both = map(SIZE);
	twice = map(SIZE);
	half = map(SIZE);
	readonly = map(SIZE);
	alias = argc > 2 ? twice : mremap(twice, 0, SIZE, MREMAP_MAYMOVE);
	need(alias != MAP_FAILED);
	cr_fill(both + 4096, SIZE - 4096, 11);
	cr_fill(twice, SIZE / 2, 12); /* the rest is never touched */
	cr_fill(half + SIZE / 2, SIZE / 2, 13);
	cr_fill(readonly, SIZE, 14);
	pid_t pid = cr_fork(child, NULL);
	cr_wait();

	cr_check_fill("both", both + 4096, SIZE - 4096, 11);
	cr_check_fill("alias", alias, SIZE / 2, 12);
	expect(cr_is_zero(alias + SIZE / 2, SIZE / 2), "untouched pages are not zero");
	twice[5] = 99;
	expect(alias[5] == 99, "two mappings of one segment are two segments now");
	__atomic_store_n(both, 1, __ATOMIC_SEQ_CST);
	await(both, 2);
	expect(half[SIZE - 1] == 77, "the second half is not shared any more");
	cr_join(pid);
	return cr_end();
}
