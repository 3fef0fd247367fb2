/* SPDX-License-Identifier: Apache-2.0 */
/* Time namespaces: the monotonic and boot-time clocks of a restored tree go on where they stood.
 *
 * The image holds both clocks as the tree saw them at the dump. A restore makes a time namespace whose offsets put its clocks at these
 * values: CLOCK_MONOTONIC then neither runs on through the time in which the tree did not exist, nor falls back after a reboot or on
 * another machine. A process enters a new time namespace only by birth (5.6): the parent calls unshare(CLONE_NEWTIME), writes the
 * offsets to /proc/self/timens_offsets before the first child, clones, and comes back by setns. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "ns/internal.h"
#include "timens.pb-c.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#define SECOND 1000000000ll
#define CLOCK_LIMIT (INT64_MAX / SECOND / 4)   /* seconds: the kernel's own bound for a clock with an offset is of this order */

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* The offset of one clock ("monotonic", "boottime") in a task's time namespace, ns. */
static int64_t task_offset(const char *text, const char *clock)
{
	const char *at = text ? strstr(text, clock) : NULL;
	int64_t s, ns;

	if (!at || sscanf(at + strlen(clock), "%" SCNd64 " %" SCNd64, &s, &ns) != 2)
		return 0;
	return s * SECOND + ns;
}

int time_save(struct dump *d, uint32_t id)
{
	TimensEntry e = TIMENS_ENTRY__INIT;
	Timespec monotonic = TIMESPEC__INIT, boottime = TIMESPEC__INIT;
	autofree char *theirs = NULL, *mine = NULL;

	if (d->own_time_ns) {
		ssize_t n = proc_read(tree_root(d->tree)->host_pid, "timens_offsets", &theirs);
		if (n < 0)
			return fail((int)-n, "read the clock offsets of task %d", d->o->pid);
		proc_read(getpid(), "timens_offsets", &mine);
	}
	int64_t m = now_ns(CLOCK_MONOTONIC) + task_offset(theirs, "monotonic") - task_offset(mine, "monotonic");
	int64_t b = now_ns(CLOCK_BOOTTIME) + task_offset(theirs, "boottime") - task_offset(mine, "boottime");
	monotonic.tv_sec = (uint64_t)(m / SECOND);
	monotonic.tv_nsec = (uint64_t)(m % SECOND);
	boottime.tv_sec = (uint64_t)(b / SECOND);
	boottime.tv_nsec = (uint64_t)(b % SECOND);
	e.monotonic = &monotonic;
	e.boottime = &boottime;
	return image_write_one(d->images, IMG_TIMENS, id, &e);
}

static bool valid(const Timespec *t)
{
	return t->tv_sec < CLOCK_LIMIT && t->tv_nsec < SECOND;
}

int time_read(struct restore *r, uint32_t id)
{
	TimensEntry *e;
	int ret = image_read_one(r->images, IMG_TIMENS, id, r->arena, &e);

	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return ret;
	if (!valid(e->monotonic) || !valid(e->boottime))
		return fail_text(EBADMSG, "timens-%u.img: a clock is out of range", id);
	r->has_times = true;
	r->monotonic = (int64_t)e->monotonic->tv_sec * SECOND + (int64_t)e->monotonic->tv_nsec;
	r->boottime = (int64_t)e->boottime->tv_sec * SECOND + (int64_t)e->boottime->tv_nsec;
	return 0;
}

static void print_offset(char *out, size_t size, const char *clock, int64_t offset)
{
	int64_t s = offset / SECOND, ns = offset % SECOND;

	if (ns < 0) {   /* the kernel wants nanoseconds in 0…999999999 */
		ns += SECOND;
		s--;
	}
	snprintf(out, size, "%s %" PRId64 " %" PRId64 "\n", clock, s, ns);
}

int ck_timens_enter(int64_t monotonic, int64_t boottime, int *saved)
{
	autofree char *mine = NULL;
	char a[96], b[96], both[192];

	*saved = -1;
	autoclose int own = open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return errno == ENOENT ? -EOPNOTSUPP : fail(errno, "open /proc/self/ns/time");
	proc_read(getpid(), "timens_offsets", &mine);
	if (unshare(CLONE_NEWTIME) < 0)
		return errno == EINVAL || errno == ENOSYS ? -EOPNOTSUPP : fail(errno, "make a time namespace");
	*saved = take_fd(&own);
	print_offset(a, sizeof a, "monotonic", monotonic - now_ns(CLOCK_MONOTONIC) + task_offset(mine, "monotonic"));
	print_offset(b, sizeof b, "boottime", boottime - now_ns(CLOCK_BOOTTIME) + task_offset(mine, "boottime"));
	snprintf(both, sizeof both, "%s%s", a, b);
	int r = file_write(AT_FDCWD, "/proc/self/timens_offsets", both);
	if (r < 0) {
		fail(-r, "set the clocks of the new time namespace");
		ck_timens_leave(saved);
	}
	return r;
}

int ck_timens_leave(int *saved)
{
	int r = 0;

	if (*saved >= 0 && setns(*saved, CLONE_NEWTIME) < 0)
		r = fail(errno, "come back to the engine's own time namespace");
	fd_close(saved);
	return r;
}
