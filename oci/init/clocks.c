/* SPDX-License-Identifier: Apache-2.0 */
/* A new time namespace whose clocks have offsets (linux.timeOffsets).
 *
 * Offsets can be written until the first process is in the namespace, and a process enters it by birth (5.6) or by execve() (6.3), never
 * by unshare(). So the runtime makes the namespace for its children, writes the offsets, clones, and comes back by setns(), where it
 * may; a runtime without privileges leaves that to the child, which is root in its user namespace: its program is then the first
 * in the time namespace. A namespace without offsets is made by the clone itself. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "init/internal.h"

bool clocks_wanted(const struct spec *s)
{
	return s->has_monotonic || s->has_boottime;
}

int clocks_write(int proc, const struct spec *s)
{
	char text[160];

	snprintf(text, sizeof text, "monotonic %" PRId64 " %u\nboottime %" PRId64 " %u\n", s->monotonic.secs, s->monotonic.nanosecs,
		s->boottime.secs, s->boottime.nanosecs);
	int r = file_write(proc, "self/timens_offsets", text);
	if (r >= 0)
		return 0;
	r = fail(-r, "linux.timeOffsets: set monotonic %" PRId64 " s, boottime %" PRId64 " s", s->monotonic.secs, s->boottime.secs);
	if (r == -ERANGE)
		fail_hint("no clock may be below zero at any time");
	return r;
}

int clocks_begin(int proc, const struct spec *s, int *saved)
{
	autoclose int own = openat(proc, "self/ns/time", O_RDONLY | O_CLOEXEC);

	if (own < 0 || unshare(CLONE_NEWTIME) < 0)
		return fail(errno, "config.json: linux.namespaces: make a time namespace");
	*saved = take_fd(&own);
	return clocks_write(proc, s);
}

int clocks_end(int *saved)
{
	int r = *saved >= 0 && setns(*saved, CLONE_NEWTIME) < 0 ? fail(errno, "return to the own time namespace") : 0;

	fd_close(saved);
	return r;
}
