/* SPDX-License-Identifier: Apache-2.0 */
/* Pages into address spaces by their userfaultfds.
 *
 *   EAGAIN            the kernel has something to tell, or its task has not gone on since it was told: later
 *   EEXIST            somebody was there before: that page is what the program has made of it
 *   ENOENT, EINVAL    not one registered mapping: page by page, and what is none is no longer missing. But a mapping that moves is gone before
 *                     the kernel says so; asked again, it says that there is something to tell
 *   ESRCH             the address space has gone
 *
 * A place that cannot be had is woken, so that who waits there sees for itself what is there now. */
#define LOG_PREFIX "lazy"
#include <errno.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include "base/err.h"
#include "base/log.h"
#include "lazy/internal.h"

#ifndef UFFDIO_POISON              /* Linux 6.6 */
struct uffdio_poison {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

#define LOWEST UINT64_C(0x10000)   /* no mapping is below (vm.mmap_min_addr) */

void task_over(struct lazy_task *l, const char *why)
{
	if (l->gone)
		return;
	log_debug("task %d: %s, %" PRIu64 " KiB missing", l->task->pid, why, l->space.size >> 10);
	l->gone = true;
	space_done(&l->space);
	array_free(&l->faults);
}

static void wake(struct lazy_task *l, uint64_t address)
{
	struct uffdio_range range = { address, PAGE };

	ioctl(l->uffd, UFFDIO_WAKE, &range);
}

void wake_all(struct lazy_task *l)
{
	struct uffdio_range range = { LOWEST, TASK_END - LOWEST };

	ioctl(l->uffd, UFFDIO_WAKE, &range);
}

/* One step of put(): what there was to do with *done bytes has been done, of *at_once that were tried; or -errno. */
static int put_step(struct lazy_task *l, uint64_t address, const char *data, uint64_t *at_once, bool *again, uint64_t *done)
{
	struct uffdio_copy c = { .dst = address, .src = (uintptr_t)data, .len = *at_once };
	int e = ioctl(l->uffd, UFFDIO_COPY, &c) == 0 ? 0 : errno;

	*done = e == 0 ? *at_once : c.copy > 0 ? (uint64_t)c.copy : 0;
	if (e == EEXIST)
		wake(l, address);
	if ((e == ENOENT || e == EINVAL) && (*at_once > PAGE || !*again)) {
		*again = *at_once == PAGE;
		*at_once = PAGE;
		return 0;
	}
	*again = false;
	*at_once = UINT64_MAX;
	if (e == EEXIST || e == ENOENT || e == EINVAL)
		*done = PAGE;
	return *done ? 0 : e == ENOMEM ? -EAGAIN : -e;
}

int put(struct pager *p, struct lazy_task *l, uint64_t address, const char *data, uint64_t size)
{
	bool again = false;

	for (uint64_t at_once = size, done; size && !l->gone; address += done, data += done, size -= done) {
		at_once = at_once < size ? at_once : size;
		int e = put_step(l, address, data, &at_once, &again, &done);
		if (e == -ESRCH)
			task_over(l, "its memory has gone");
		else if (e < 0)
			return e == -EAGAIN ? e : fail(-e, "task %d: put %" PRIu64 " bytes at %" PRIx64, l->task->pid, size, address);
		space_cut(&l->space, address, address + done);
		p->pages += done / PAGE;
	}
	return 0;
}

int put_zero(struct lazy_task *l, uint64_t address)
{
	struct uffdio_zeropage z = { .range = { address, PAGE } };

	if (ioctl(l->uffd, UFFDIO_ZEROPAGE, &z) == 0)
		return 0;
	if (errno == ESRCH) {
		task_over(l, "its memory has gone");
		return 0;
	}
	if (errno == EAGAIN || errno == ENOMEM)
		return -EAGAIN;
	wake(l, address);
	return 0;
}

/* Nobody shall take for zeroes what could not be had. */
void put_poison(struct lazy_task *l)
{
	for (const struct missing *m = space_next(&l->space, 0); m; m = space_next(&l->space, m->end)) {
		for (uint64_t at = m->start, tries = 0; at < m->end;) {
			struct uffdio_poison c = { .range = { at, m->end - at } };
			int e = ioctl(l->uffd, UFFDIO_POISON, &c) == 0 ? 0 : errno;
			if (e == ESRCH)
				return;
			at += e == 0 ? m->end - at : c.updated > 0 ? (uint64_t)c.updated : e == EAGAIN && tries++ < 1000 ? 0 : PAGE;
		}
	}
	if (l->space.size)
		log_error("task %d: %" PRIu64 " KiB of its memory are lost: it gets SIGBUS where it needs them", l->task->pid, l->space.size >> 10);
}
