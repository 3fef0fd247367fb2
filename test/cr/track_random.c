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
#define BIG (ARENA + 2 * PLACES * PLACE_SIZE) /* slots of 2 MiB, which may be one huge page, and move as one page table */
#define SLOTS 4
#define SLOT (2UL << 20)
#define HEAP 48
#define FILE_PAGES 24
#define CHILDREN 2

struct area {
	char *at; /* NULL: none */
	size_t pages;
	int prot;
	bool patched; /* the kernel may keep it in several pieces, which mremap() refuses, or moves in part (6.17) */
	uint32_t stamp[PAGES];
};
struct shadow {
	uint64_t random, done[16];
	uint32_t next;
	struct area areas[AREAS];
	uint32_t slot[SLOTS][SLOT / PAGE], stack[16], heap[HEAP], file[FILE_PAGES];
	bool mapped[SLOTS];
	size_t heap_pages;
};

static struct shadow *s;
static char *heap, *file;
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
	a->patched = false;
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
	a->patched = false;
	if (rnd(2))
		stamp_page(a->at, &a->stamp[0]);
}

static void do_remap(void)
{
	struct area *a = some(true);
	size_t pages = 1 + rnd(PAGES);
	char *to = a ? place(pages) : NULL, *at;

	if (!to || a->patched)
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

	if (!a || !b || a == b || a->pages != b->pages || a->patched || b->patched)
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

/* Out to the swap space, if there is any. */
static void do_page_out(void)
{
	struct area *a = some(true);

	if (a)
		madvise(a->at, a->pages * PAGE, MADV_PAGEOUT);
}

/* A hole in the middle, filled at once by a new mapping: three where there was one, or one again. */
static void do_patch(void)
{
	struct area *a = some(true);

	if (!a || !(a->prot & PROT_WRITE))
		return;
	size_t from = rnd((uint32_t)a->pages), n = 1 + rnd((uint32_t)(a->pages - from));
	char *at = a->at + from * PAGE;
	need(munmap(at, n * PAGE) == 0);
	need(mmap(at, n * PAGE, a->prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at);
	memset(&a->stamp[from], 0, n * sizeof(a->stamp[0]));
	a->patched = true;
	if (rnd(2))
		stamp_page(at, &a->stamp[from]);
}

static char *slot_at(int i)
{
	return (char *)BIG + (size_t)i * 2 * SLOT;
}

static void map_slot(int i)
{
	need(mmap(slot_at(i), SLOT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == slot_at(i));
	madvise(slot_at(i), SLOT, rnd(2) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(s->slot[i], 0, sizeof(s->slot[i]));
	s->mapped[i] = true;
}

static void move_slot(int from, int to)
{
	int keep = rnd(2) ? MREMAP_DONTUNMAP : 0;

	if (mremap(slot_at(from), SLOT, SLOT, MREMAP_MAYMOVE | MREMAP_FIXED | keep, slot_at(to)) == MAP_FAILED)
		return;
	memcpy(s->slot[to], s->slot[from], sizeof(s->slot[to]));
	memset(s->slot[from], 0, sizeof(s->slot[from]));
	s->mapped[to] = true;
	s->mapped[from] = keep;
}

static void read_slot(int i)
{
	for (size_t k = 0; k < SLOT / PAGE; k++)
		check_page("read in a slot", slot_at(i) + k * PAGE, s->slot[i][k], k);
}

static void do_big(void)
{
	int i = (int)rnd(SLOTS), to = (int)rnd(SLOTS);

	if (!s->mapped[i]) {
		map_slot(i);
		return;
	}
	switch (rnd(12)) {
	case 0:
		if (to != i)
			move_slot(i, to);
		break;
	case 1:
		need(munmap(slot_at(i), SLOT) == 0);
		s->mapped[i] = false;
		break;
	case 2:
		need(madvise(slot_at(i), SLOT, MADV_DONTNEED) == 0);
		memset(s->slot[i], 0, sizeof(s->slot[i]));
		break;
	case 3:
		madvise(slot_at(i), SLOT, rnd(2) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		break;
	case 4:
		madvise(slot_at(i), SLOT, MADV_PAGEOUT);
		break;
	case 5: /* zero pages, a huge one perhaps */
		read_slot(i);
		break;
	default:
		for (uint32_t n = rnd(4); n; n--) {
			size_t k = rnd(SLOT / PAGE);
			stamp_page(slot_at(i) + k * PAGE, &s->slot[i][k]);
		}
	}
}

/* The break up and down; never once somebody else has moved it. */
static void do_heap(void)
{
	size_t pages = rnd(HEAP);

	if (sbrk(0) != heap + s->heap_pages * PAGE || brk(heap + pages * PAGE) < 0)
		return;
	for (size_t i = s->heap_pages; i < pages; i++)
		s->heap[i] = 0;
	s->heap_pages = pages;
	for (size_t i = rnd(8); i < pages; i += 1 + rnd(8))
		stamp_page(heap + i * PAGE, &s->heap[i]);
}

/* A private mapping of a file of zeroes: its own pages, or the file's again. */
static void do_file(void)
{
	size_t i = rnd(FILE_PAGES);

	if (rnd(4)) {
		stamp_page(file + i * PAGE, &s->file[i]);
	} else {
		need(madvise(file + i * PAGE, PAGE, MADV_DONTNEED) == 0);
		s->file[i] = 0;
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
	do_write, do_write, do_read, do_protect, do_drop, do_page_out, do_patch, do_big, do_big, do_heap, do_file, do_fork };

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
	for (int i = 0; i < SLOTS; i++)
		if (s->mapped[i])
			read_slot(i);
	for (size_t i = 0; i < s->heap_pages; i++)
		check_page("heap", heap + i * PAGE, s->heap[i], i);
	for (size_t i = 0; i < FILE_PAGES; i++)
		check_page("file", file + i * PAGE, s->file[i], i);
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

static void begin(void)
{
	FILE *f = fopen(cr_path("zeroes"), "a");

	need(f && ftruncate(fileno(f), FILE_PAGES * PAGE) == 0);
	fclose(f);
	int fd = open(cr_path("zeroes"), O_RDONLY);
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	file = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	need(s != MAP_FAILED && file != MAP_FAILED);
	close(fd);
	heap = (char *)(((uintptr_t)sbrk(0) + PAGE - 1) & ~(PAGE - 1));
	need(brk(heap) == 0);
}

int main(int argc, char **argv)
{
	const char *seed = argc > 2 && strcmp(argv[2], "0") ? argv[2] : getenv("TRACK_SEED");

	cr_begin(argc, argv);
	self = argv[0];
	depth = argc > 3 ? atoi(argv[3]) : 0;
	begin();
	s->random = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	if (depth == 0) {
		for (int i = 0; i < 300; i++)
			deeds[rnd(sizeof(deeds) / sizeof(deeds[0]) - 1)]();
		cr_ready();
	}
	life();
	return depth ? cr_faults != 0 : cr_end();
}
