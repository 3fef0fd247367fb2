/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of a task have content of their own.
 *
 * PAGEMAP_SCAN (Linux 6.7) answers it with one call for each stretch of mappings. Facts relied on:
 * 1. PAGE_IS_FILE is every page that is not anonymous memory: page cache, shared segments, the vdso. PAGE_IS_PFNZERO is the zero
 *    page, small or huge. VM_PFNMAP mappings (vvar) are skipped.
 * 2. A guard region (6.13) looks like a swapped-out page; the category PAGE_IS_GUARD tells it apart (6.16). A kernel that does not
 *    know the category refuses it with EINVAL.
 * 3. Regions come in ascending order and complete up to the end of the last one, but walk_end may lie behind what was returned
 *    (seen with more than 512 regions). So the next call starts at the end of the last region, never at walk_end.
 *
 * 4. Asking for PAGE_IS_FILE costs a look at the kernel's record of each page: 9 ms for a GiB, where all else costs 3. In an anonymous
 *    mapping there are no such pages.
 * 5. Reporting and protecting are one step (PM_SCAN_WP_MATCHING): what is protected is exactly what is returned. PAGE_IS_WRITTEN is every
 *    page that is not protected; PAGE_IS_WPALLOWED tells that the mapping is registered for asynchronous protection.
 *
 * Large tasks are scanned by several threads, each piece by one, none longer than the task's own mmap() can wait.
 *
 * Before 6.7 there are the words of /proc/PID/pagemap (words.c). */
#include "mem/scan.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "mem/words.h"

/* The layout of linux/fs.h, which is newer than the headers of the systems that torpor is built on. */
struct scan_region {
	uint64_t start, end, categories;
};
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask, category_anyof_mask,
		return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
enum { IS_WP_ALLOWED = 1 << 0, IS_WRITTEN = 1 << 1, IS_FILE = 1 << 2, IS_PRESENT = 1 << 3, IS_SWAPPED = 1 << 4, IS_ZERO = 1 << 5, IS_GUARD = 1 << 8 };
enum { PROTECT = 1 << 0, CHECK_ASYNC = 1 << 1 };
#define REGIONS 512

void ranges_add(struct ranges *r, uint64_t start, uint64_t end)
{
	struct range *last = r->list.n ? &r->list.data[r->list.n - 1] : NULL;

	if (start >= end)
		return;
	if (last && start <= last->end)
		last->end = end > last->end ? end : last->end;
	else
		array_push(&r->list) = (struct range){ start, end };
}

/* One kind of question. */
struct query {
	uint64_t flags, skip, tell;   /* categories left out; categories told apart */
};

/* From *start on, which moves behind what has been told. */
static int scan_ioctl(int fd, uint64_t *start, uint64_t end, const struct query *q, void (*found)(void *arg, const struct scan_region *r), void *arg)
{
	struct scan_region regions[REGIONS];
	struct scan_arg a = {
		.size = sizeof a, .flags = q->flags, .end = end, .vec = (uintptr_t)regions, .vec_len = REGIONS, .category_inverted = q->skip,
		.category_mask = q->skip, .category_anyof_mask = IS_PRESENT | IS_SWAPPED, .return_mask = q->tell,
	};

	while (*start < end) {
		a.start = *start;
		int n = ioctl(fd, SCAN_IOCTL, &a);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++)
			found(arg, &regions[i]);
		if (n == 0 || (n < REGIONS && a.walk_end >= end))
			break;
		*start = regions[n - 1].end;
	}
	return 0;
}

/* With guards told apart, or left out, where the kernel knows them. */
static int scan_query(int fd, uint64_t *start, uint64_t end, struct query q, void (*found)(void *arg, const struct scan_region *r), void *arg)
{
	int r = scan_ioctl(fd, start, end, &q, found, arg);

	if (r != -EINVAL)
		return r;
	q.skip &= ~(uint64_t)IS_GUARD;
	q.tell &= ~(uint64_t)IS_GUARD;
	return scan_ioctl(fd, start, end, &q, found, arg);
}

/* --- ranges --- */

struct found_ranges {
	struct ranges *pages, *guards;
};

static void keep_range(void *arg, const struct scan_region *r)
{
	struct found_ranges *f = arg;

	ranges_add(r->categories & IS_GUARD ? f->guards : f->pages, r->start, r->end);
}

static int scan_range(int fd, const struct range *w, bool zeroes, struct ranges *pages, struct ranges *guards)
{
	const struct query q = { .skip = zeroes ? IS_FILE : IS_FILE | IS_ZERO, .tell = IS_GUARD };
	struct found_ranges f = { pages, guards };
	uint64_t start = w->start;
	int r = scan_query(fd, &start, w->end, q, keep_range, &f);

	return r == -ENOTTY || r == -EINVAL ? words_scan(fd, start, w->end, zeroes, pages, guards) : r;
}

static int scan(pid_t pid, const struct ranges *where, bool zeroes, struct ranges *pages, struct ranges *guards)
{
	autoclose int fd = proc_open(pid, "pagemap");

	if (fd < 0)
		return fail(-fd, "open the page map of process %d", pid);
	for (size_t i = 0; i < where->list.n; i++) {
		int r = scan_range(fd, &where->list.data[i], zeroes, pages, guards);
		if (r < 0)
			return fail(-r, "read the page map of process %d", pid);
	}
	return 0;
}

int scan_pages(pid_t pid, const struct ranges *where, struct ranges *pages, struct ranges *guards)
{
	return scan(pid, where, false, pages, guards);
}

int scan_touched(pid_t pid, const struct ranges *where, struct ranges *pages)
{
	struct ranges guards = { 0 };
	int r = scan(pid, where, true, pages, &guards);

	array_free(&guards.list);
	return r;
}

/* --- areas --- */

#define PIECE (UINT64_C(256) << 20)
#define THREADS_FROM (UINT64_C(512) << 20)   /* what is worth a second thread: some 1.5 ms */

/* What one call of the pool does: areas, each at most a piece long, and what was found there. */
struct part {
	size_t first, n;
	struct scan_found found;
	bool known;               /* the area that is being scanned */
};
struct areas_scan {
	int fd;
	bool stands;
	struct scan_areas areas;
	ARRAY(struct part) parts;
};

static bool is_alike(const struct scan_area *a, const struct scan_area *b)
{
	return a->anonymous == b->anonymous && a->known == b->known && a->protect == b->protect;
}

/* Neighbours as one, long ones in pieces. */
static void cut_areas(struct areas_scan *s, const struct scan_areas *in)
{
	struct scan_area *last = NULL;

	for (size_t i = 0; i < in->list.n; i++) {
		struct scan_area a = in->list.data[i];
		if (last && last->end == a.start && is_alike(last, &a) && a.end - last->start <= PIECE) {
			last->end = a.end;
			continue;
		}
		for (uint64_t end; a.start < a.end; a.start = end) {
			end = a.end - a.start > PIECE ? a.start + PIECE : a.end;
			last = &array_push(&s->areas.list);
			*last = a;
			last->end = end;
		}
	}
}

static uint64_t make_parts(struct areas_scan *s)
{
	uint64_t size = 0, all = 0;

	for (size_t i = 0; i < s->areas.list.n; i++) {
		const struct scan_area *a = &s->areas.list.data[i];
		if (i == 0 || size + (a->end - a->start) > PIECE) {
			array_push(&s->parts) = (struct part){ .first = i };
			size = 0;
		}
		s->parts.data[s->parts.n - 1].n++;
		size += a->end - a->start;
		all += a->end - a->start;
	}
	return all;
}

static void keep_found(void *arg, const struct scan_region *r)
{
	struct part *p = arg;

	if (r->categories & IS_GUARD) {
		ranges_add(&p->found.guards, r->start, r->end);
		return;
	}
	ranges_add(&p->found.pages, r->start, r->end);
	if (p->known && (r->categories & (IS_WRITTEN | IS_WP_ALLOWED)) == IS_WP_ALLOWED)
		ranges_add(&p->found.clean, r->start, r->end);
}

static void forget_found(void *arg, const struct scan_region *r)
{
	(void)arg;
	(void)r;
}

/* What the task has changed of its mappings meanwhile (EPERM: no longer registered as a whole) is found, but not as clean. */
static int scan_running(int fd, const struct scan_area *a, struct part *p)
{
	const struct query q = { PROTECT | CHECK_ASYNC, IS_ZERO | IS_GUARD, IS_WRITTEN | IS_WP_ALLOWED };
	struct found_ranges f = { &p->found.pages, &p->found.guards };
	uint64_t start = a->start;
	int r = scan_query(fd, &start, a->end, q, keep_found, p);

	if (r != -EPERM)
		return r;
	const struct query plain = { .skip = IS_ZERO | IS_FILE, .tell = IS_GUARD };
	return scan_query(fd, &start, a->end, plain, keep_range, &f);
}

static int scan_area(int fd, const struct scan_area *a, bool stands, struct part *p)
{
	const struct query plain = { .skip = a->anonymous ? IS_ZERO : IS_ZERO | IS_FILE, .tell = a->known ? IS_GUARD | IS_WRITTEN | IS_WP_ALLOWED : IS_GUARD },
			   protect = { PROTECT, IS_ZERO | IS_GUARD, IS_WRITTEN };
	uint64_t start = a->start;

	p->known = a->known;
	if (a->protect && !stands)
		return scan_running(fd, a, p);
	int r = scan_query(fd, &start, a->end, plain, keep_found, p);
	if (r == -ENOTTY || r == -EINVAL)
		return words_scan(fd, start, a->end, false, &p->found.pages, &p->found.guards);
	start = a->start;
	return r == 0 && a->protect ? scan_query(fd, &start, a->end, protect, forget_found, NULL) : r;
}

static int scan_part(void *arg, size_t i, void *buffer)
{
	struct areas_scan *s = arg;
	struct part *p = &s->parts.data[i];
	int r = 0;

	(void)buffer;
	for (size_t k = 0; r == 0 && k < p->n; k++)
		r = scan_area(s->fd, &s->areas.list.data[p->first + k], s->stands, p);
	return r;
}

static void take_ranges(struct ranges *to, struct ranges *from)
{
	for (size_t i = 0; i < from->list.n; i++)
		ranges_add(to, from->list.data[i].start, from->list.data[i].end);
	array_free(&from->list);
}

int scan_areas(pid_t pid, const struct scan_areas *areas, bool stands, struct pool *pool, struct scan_found *out)
{
	struct areas_scan s = { .fd = proc_open(pid, "pagemap"), .stands = stands };

	if (s.fd < 0)
		return s.fd;
	cut_areas(&s, areas);
	uint64_t size = make_parts(&s);
	int r = pool_run(pool, s.parts.n, size < THREADS_FROM ? 0 : size, scan_part, &s);
	for (size_t i = 0; i < s.parts.n; i++) {
		take_ranges(&out->pages, &s.parts.data[i].found.pages);
		take_ranges(&out->clean, &s.parts.data[i].found.clean);
		take_ranges(&out->guards, &s.parts.data[i].found.guards);
	}
	array_free(&s.parts);
	array_free(&s.areas.list);
	fd_close(&s.fd);
	return r;
}

void scan_found_done(struct scan_found *f)
{
	array_free(&f->pages.list);
	array_free(&f->clean.list);
	array_free(&f->guards.list);
}
