/* SPDX-License-Identifier: Apache-2.0 */
/* Hearing of a container that is out of memory.
 *
 * v1: an eventfd registered in cgroup.event_control with memory.oom_control is counted up at each such moment, killed or not, and once when
 * the group is removed.
 *
 * cgroup2: inotify on memory.events (a line "oom_kill N") and a changed file's last event, IN_IGNORED, when the group goes. Limits of groups
 * below raise the count here as well.
 *
 * On hybrid the limits, hence the events, are v1's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"
#include "cgroup/stats.h"

static int killed(const struct cgroup_oom *o, uint64_t *n)
{
	char path[PATH_MAX];
	autofree char *text = NULL;

	snprintf(path, sizeof path, "%s/memory.events", o->dir);
	ssize_t r = file_read(AT_FDCWD, path, &text, 4096);
	if (r < 0)
		return r == -ENODEV ? -ENOENT : (int)r;
	const char *line = strstr(text, "oom_kill ");
	*n = line ? strtoull(line + strlen("oom_kill "), NULL, 10) : 0;
	return 0;
}

static int open_v1(struct cgroup_oom *o)
{
	char path[PATH_MAX], text[32];

	snprintf(path, sizeof path, "%s/memory.oom_control", o->dir);
	autoclose int control = open(path, O_RDONLY | O_CLOEXEC);
	autoclose int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (control < 0 || event < 0)
		return -errno;
	snprintf(text, sizeof text, "%d %d", event, control);
	snprintf(path, sizeof path, "%s/cgroup.event_control", o->dir);
	int r = file_write(AT_FDCWD, path, text);
	return r < 0 ? r : take_fd(&event);
}

static int open_v2(struct cgroup_oom *o)
{
	char path[PATH_MAX];

	autoclose int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	snprintf(path, sizeof path, "%s/memory.events", o->dir);
	return fd < 0 || inotify_add_watch(fd, path, IN_MODIFY) < 0 ? -errno : take_fd(&fd);
}

int cgroup_oom_open(const struct spec_pairs *cgroups, struct cgroup_oom *o)
{
	*o = (struct cgroup_oom){ .fd = -1, .v1 = cgroup_ops_of(cgroups) != &cgroup_v2_ops };
	o->dir = cgroup_path(cgroups, o->v1 ? "memory" : "");
	if (!o->dir)
		return fail_text(EOPNOTSUPP, "the container has no memory cgroup, so there is no word of its being out of memory");
	o->fd = o->v1 ? open_v1(o) : open_v2(o);
	if (o->fd < 0)
		return fail(-o->fd, "watch cgroup %s for being out of memory", o->dir);
	return o->v1 ? 0 : killed(o, &o->seen);
}

static int count_v1(struct cgroup_oom *o)
{
	uint64_t n = 0;

	if (read(o->fd, &n, sizeof n) != sizeof n)
		n = 0;
	return access(o->dir, F_OK) < 0 ? -ENOENT : n > 0;
}

int cgroup_oom_count(struct cgroup_oom *o)
{
	char events[4096];
	uint64_t now;

	if (o->v1)
		return count_v1(o);
	while (read(o->fd, events, sizeof events) > 0)
		;
	int r = killed(o, &now);
	if (r < 0)
		return r;
	uint64_t before = o->seen;
	o->seen = now;
	return now > before ? (int)(now - before) : 0;
}
