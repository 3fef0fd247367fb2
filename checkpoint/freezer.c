/* SPDX-License-Identifier: Apache-2.0 */
/* The freezer cgroup of a container that is dumped.
 *
 * The engine stops tasks without it, which costs less. It matters when the group is frozen already (a paused container): no batch
 * can run in it. With cgroup2 a frozen task can be seized: the group is thawed when all stand. A task frozen by cgroup v1 never
 * reaches its ptrace stop: that group is thawed first. Either is frozen again before the tasks are let go, so that none goes on for a
 * moment; with v1 once more afterwards, since a group with a task that stood at the first time may be FREEZING for ever.
 *
 * Not handled: with v1 a task goes on from the thaw until it is seized. */
#include "freezer.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

static int freezer_read(const char *dir, const char *file, char *out, size_t size)
{
	autofree char *path = str_printf("%s/%s", dir, file), *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text, 65536);

	if (n < 0)
		return (int)n;
	snprintf(out, size, "%.*s", (int)strcspn(text, "\n"), text);
	return 0;
}

static int freezer_write(const char *dir, const char *file, const char *text)
{
	autofree char *path = str_printf("%s/%s", dir, file);
	int r = file_write(AT_FDCWD, path, text);

	return r < 0 ? fail(-r, "write %s to %s", text, path) : 0;
}

int freezer_look(struct dump *d)
{
	char state[32];

	if (!d->o->freeze_cgroup)
		return 0;
	if (freezer_read(d->o->freeze_cgroup, "cgroup.freeze", state, sizeof state) == 0) {
		d->freezer_v2 = true;
		d->was_frozen = !strcmp(state, "1");
		return 0;
	}
	int r = freezer_read(d->o->freeze_cgroup, "freezer.state", state, sizeof state);
	if (r < 0)
		return fail(-r, "%s is not a freezer cgroup", d->o->freeze_cgroup);
	d->was_frozen = strcmp(state, "THAWED") != 0;
	return 0;
}

int freezer_thaw(struct dump *d, bool v2)
{
	if (!d->was_frozen || d->freezer_v2 != v2)
		return 0;
	return v2 ? freezer_write(d->o->freeze_cgroup, "cgroup.freeze", "0") : freezer_write(d->o->freeze_cgroup, "freezer.state", "THAWED");
}

void freezer_end(struct dump *d)
{
	size_t mark = err_mark();

	if (d->was_frozen && d->freezer_v2)
		freezer_write(d->o->freeze_cgroup, "cgroup.freeze", "1");
	else if (d->was_frozen)
		freezer_write(d->o->freeze_cgroup, "freezer.state", "FROZEN");
	err_rewind(mark);
}
