/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the mappings of a task: of a small one smaps, which is one file; of a large one, where counting its pages would take
 * milliseconds, maps and what the kernel tells of their flags (vmflags.c). Getting ready for that takes some milliseconds too, so it is
 * done before the tree is stopped, and only if there is a large task in it then. */
#define LOG_PREFIX "mem"
#include "mem/maps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/proc.h"
#include "mem/dumping.h"
#include "mem/vmflags.h"
#include "remote/ahead.h"

#define TASKS_LOOKED_AT 64

static bool is_large(pid_t pid)
{
	return proc_resident(pid) >= AHEAD_LARGE;
}

static bool has_large(pid_t pid, int *left)
{
	autofree pid_t *children = NULL;

	if (is_large(pid))
		return true;
	ssize_t n = (*left)-- > 0 ? proc_children(pid, &children) : 0;
	for (ssize_t i = 0; i < n; i++)
		if (has_large(children[i], left))
			return true;
	return false;
}

void maps_begin(struct dump *d)
{
	int left = TASKS_LOOKED_AT;

	if (has_large(d->o->pid, &left))
		shmem_table(d)->flags = vmflags_begin();
	d->lean_maps = shmem_table(d)->flags != NULL;
}

static int read_lean(struct dump *d, const struct task *t, char **text, struct smaps *out)
{
	ssize_t n = proc_read(t->host_pid, "maps", text);
	int r = n < 0 ? (int)n : smaps_parse(*text, out);

	if (r == 0)
		r = vmflags_read(shmem_table(d)->flags, t->host_pid, out);
	if (r == 0)
		return 0;
	array_free(&out->vmas);
	free_pointer(text);
	log_debug("task %d: its mappings are read from smaps: %s", t->pid, strerror(-r));
	return r;
}

int maps_read(struct dump *d, const struct task *t, char **text, struct smaps *out)
{
	if (d->lean_maps && is_large(t->host_pid) && read_lean(d, t, text, out) == 0)
		return 0;
	ssize_t n = ahead_read(d, t, AHEAD_SMAPS, text);
	return n < 0 ? (int)n : smaps_parse(*text, out);
}
