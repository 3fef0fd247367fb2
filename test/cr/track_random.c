/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that changes in every way there is while rounds are saved: a process does random things to its private memory, and keeps a
 * shadow of what each page must hold in shared memory, which is saved as a whole each time. Its children do the same: some are forks
 * of it, with a copy of its memory, some have called exec. When `go` comes, all compare.
 *
 *     track_random DIR/ready [SEED]        SEED 0 or none: TRACK_SEED of the environment, or the time
 *
 * A page's content is told by its stamp (0: zeroes). All of a page follows from the stamp, the place does not matter: pages are moved.
 */
#include "cr.h"

#include <signal.h>
#include <sys/mman.h>

#define PAGE 4096UL
#define AREAS 40
#define PAGES 96
#define ARENA 0x200000000000UL /* where areas are put: few places, so that they are used again */
#define PLACES 64
#define PLACE_SIZE (1UL << 20)
#define HUGE (4UL << 20)
#define CHILDREN 2

struct area {
	char *at; /* NULL: none */
	size_t pages;
	int prot;
	uint32_t stamp[PAGES];
};
struct shadow {
	uint64_t random, done[16];
	uint32_t next;
	struct area areas[AREAS];
	uint32_t huge[HUGE / PAGE], stack[16];
};

static struct shadow *s;
static char *huge;
static pid_t children[CHILDREN];
static int depth;
static const char *self;

static uint32_t rnd(uint32_t n)
{
	s->random = s->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(s->random >> 33) % n;
}

static void stamp_page(char *page, uint32_t *stamp)
{
	*stamp = ++s->next;
	cr_fill(page, PAGE, *stamp);
}

static bool right(const char *page, uint32_t stamp)
{
	if (!stamp)
		return cr_is_zero(page, PAGE);
	for (size_t i = 0; i < PAGE / 8; i++)
		if (((const uint64_t *)page)[i] != cr_pattern(stamp, i))
			return false;
	return true;
}

static void check_page(const char *what, const char *page, uint32_t stamp, size_t i)
{
	expect(right(page, stamp), "%s, process %d (depth %d), page %zu at %p: stamp %u is not there, but %#jx (%u done)", what,
	       getpid(), depth, i, page, stamp, (uintmax_t)((const uint64_t *)page)[0], (unsigned)s->done[15]);
}

/* --- what is done --- */

static struct area *some(bool used)
{
	for (int tries = 0; tries < 60; tries++) {
		struct area *a = &s->areas[rnd(AREAS)];
		if (!a->at == !used)
			return a;
	}
	return NULL;
}

/* A free place of the arena. */
static char *place(size_t pages)
{
	char *at = (char *)(ARENA + rnd(PLACES) * PLACE_SIZE + rnd(4) * PAGE);
	size_t size = pages * PAGE;

	for (int i = 0; i < AREAS; i++) {
		const struct area *a = &s->areas[i];
		if (a->at && at < a->at + a->pages * PAGE && a->at < at + size)
			return NULL;
	}
	return at;
}

static void do_map(void)
{
	struct area *a = some(false);
	size_t pages = 1 + rnd(PAGES);
	char *at = a ? place(pages) : NULL;

	if (!at)
		return;
	if (mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != at)
		return;
	memset(a->stamp, 0, sizeof(a->stamp));
	a->pages = pages;
	a->prot = PROT_READ | PROT_WRITE;
	a->at = at;
	for (size_t i = 0; i < pages; i += 1 + rnd(3))
		stamp_page(at + i * PAGE, &a->stamp[i]);
}

/* The end of an area, or all of it. */
static void do_unmap(void)
{
	struct area *a = some(true);

	if (!a)
		return;
	size_t left = rnd(2) ? rnd(a->pages) : 0;
	need(munmap(a->at + left * PAGE, (a->pages - left) * PAGE) == 0);
	a->pages = left;
	if (!left)
		a->at = NULL;
}

static void do_replace(void) /* another mapping in the same place, at once */
{
	struct area *a = some(true);

	if (!a)
		return;
	need(mmap(a->at, a->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == a->at);
	memset(a->stamp, 0, sizeof(a->stamp));
	a->prot = PROT_READ | PROT_WRITE;
	if (rnd(2))
		stamp_page(a->at, &a->stamp[0]);
}

static void do_remap(void)
{
	struct area *a = some(true);
	size_t pages = 1 + rnd(PAGES);
	char *to = a ? place(pages) : NULL, *at;

	if (!to)
		return;
	if (rnd(3)) /* somewhere else */
		at = mremap(a->at, a->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	else
		at = mremap(a->at, a->pages * PAGE, (pages = pages < a->pages ? pages : a->pages) * PAGE, 0);
	if (at == MAP_FAILED) { /* an area that the kernel keeps in two pieces; it may have cut it all the same */
		if (pages < a->pages) {
			need(munmap(a->at + pages * PAGE, (a->pages - pages) * PAGE) == 0);
			a->pages = pages;
		}
		return;
	}
	for (size_t i = pages; i < a->pages; i++)
		a->stamp[i] = 0;
	for (size_t i = a->pages; i < pages; i++)
		a->stamp[i] = 0;
	a->at = at;
	a->pages = pages;
}

/* Two areas change places: each page has been somewhere else before. */
static void do_swap(void)
{
	struct area *a = some(true), *b = some(true);
	char *aside = (char *)(ARENA + (PLACES + 1) * PLACE_SIZE);

	if (!a || !b || a == b || a->pages != b->pages)
		return;
	size_t size = a->pages * PAGE;
	char *x = a->at, *y = b->at;
	if (mremap(x, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, aside) == MAP_FAILED)
		return;
	if (mremap(y, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, x) == MAP_FAILED) {
		need(mremap(aside, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, x) == x);
		return;
	}
	need(mremap(aside, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, y) == y);
	a->at = y;
	b->at = x;
}

static void do_write(void)
{
	struct area *a = some(true);

	if (!a || !(a->prot & PROT_WRITE))
		return;
	for (uint32_t n = 1 + rnd(8); n; n--) {
		size_t i = rnd((uint32_t)a->pages);
		stamp_page(a->at + i * PAGE, &a->stamp[i]);
	}
}

static void do_read(void)
{
	struct area *a = some(true);
	size_t i = a ? rnd((uint32_t)a->pages) : 0;

	if (a && (a->prot & PROT_READ))
		check_page("while it runs", a->at + i * PAGE, a->stamp[i], i);
}

static void do_protect(void)
{
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE };
	struct area *a = some(true);

	if (a) {
		a->prot = prots[rnd(4)];
		need(mprotect(a->at, a->pages * PAGE, a->prot) == 0);
	}
}

static void do_drop(void)
{
	struct area *a = some(true);

	if (!a)
		return;
	size_t from = rnd((uint32_t)a->pages), n = 1 + rnd((uint32_t)(a->pages - from));
	need(madvise(a->at + from * PAGE, n * PAGE, MADV_DONTNEED) == 0);
	memset(&a->stamp[from], 0, n * sizeof(a->stamp[0]));
}

static void do_huge(void)
{
	if (!rnd(40)) {
		need(madvise(huge, HUGE, rnd(2) ? MADV_DONTNEED : MADV_HUGEPAGE) == 0);
		if (cr_is_zero(huge, HUGE))
			memset(s->huge, 0, sizeof(s->huge));
	}
	for (uint32_t n = rnd(3); n; n--) {
		size_t i = rnd(HUGE / PAGE);
		stamp_page(huge + i * PAGE, &s->huge[i]);
	}
}

static void life(void);

/* A child with a copy of all this, which goes on by itself. */
static void become_child(bool exec, struct shadow *own)
{
	char seed[32], level[32];

	s = own;
	s->random ^= (uint64_t)getpid() << 20;
	depth++;
	cr_faults = 0;
	memset(children, 0, sizeof(children));
	if (exec) {
		snprintf(seed, sizeof(seed), "%u", 1 + rnd(1u << 30));
		snprintf(level, sizeof(level), "%d", depth);
		execl(self, self, cr_path("ready"), seed, level, NULL);
		_exit(9);
	}
	life();
	_exit(cr_faults ? 1 : 0);
}

static void do_fork(void)
{
	int i = (int)rnd(CHILDREN);

	if (depth || rnd(8)) /* a grandchild would outlive its parent, outside the tree */
		return;
	if (children[i]) {
		int status;
		kill(children[i], SIGTERM);
		need(waitpid(children[i], &status, 0) == children[i]);
		children[i] = 0;
		return;
	}
	bool exec = !rnd(3);
	struct shadow *copy = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(copy != MAP_FAILED);
	memcpy(copy, s, sizeof(*s));
	pid_t pid = fork();
	need(pid >= 0);
	if (!pid)
		become_child(exec, copy);
	need(munmap(copy, sizeof(*s)) == 0);
	children[i] = pid;
}

static void (*const deeds[])(void) = { do_map, do_map, do_unmap, do_replace, do_remap, do_remap, do_swap, do_write, do_write,
	do_write, do_write, do_read, do_protect, do_drop, do_huge, do_huge, do_fork };

/* --- the whole --- */

static void check_all(void)
{
	for (int k = 0; k < AREAS; k++) {
		const struct area *a = &s->areas[k];
		if (!a->at)
			continue;
		need(mprotect(a->at, a->pages * PAGE, PROT_READ) == 0);
		for (size_t i = 0; i < a->pages; i++)
			check_page("an area", a->at + i * PAGE, a->stamp[i], i);
	}
	for (size_t i = 0; i < HUGE / PAGE; i++)
		check_page("huge", huge + i * PAGE, s->huge[i], i);
}

static void life(void)
{
	char on_stack[16 * PAGE];

	memset(on_stack, 0, sizeof(on_stack));
	memset(s->stack, 0, sizeof(s->stack));
	while (access(cr_path("go"), F_OK) < 0) {
		for (int i = 0; i < 20; i++) {
			deeds[rnd(sizeof(deeds) / sizeof(deeds[0]))]();
			s->done[15]++;
		}
		size_t i = rnd(16);
		stamp_page(on_stack + i * PAGE, &s->stack[i]);
		cr_sleep_ms(1);
	}
	check_all();
	for (size_t i = 0; i < 16; i++)
		check_page("stack", on_stack + i * PAGE, s->stack[i], i);
	for (int i = 0; i < CHILDREN; i++)
		if (children[i])
			cr_join(children[i]);
}

int main(int argc, char **argv)
{
	const char *seed = argc > 2 && strcmp(argv[2], "0") ? argv[2] : getenv("TRACK_SEED");

	cr_begin(argc, argv);
	self = argv[0];
	depth = argc > 3 ? atoi(argv[3]) : 0;
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	huge = mmap((char *)(ARENA + 2 * PLACES * PLACE_SIZE), HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(s != MAP_FAILED && huge != MAP_FAILED);
	s->random = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	if (depth == 0) {
		for (int i = 0; i < 300; i++)
			deeds[rnd(sizeof(deeds) / sizeof(deeds[0]) - 1)]();
		cr_ready();
	}
	life();
	return depth ? cr_faults != 0 : cr_end();
}
