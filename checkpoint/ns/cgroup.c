/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups in the images: the sets of groups that tasks are in. Set 1 is the root task's, which all tasks refer to: a runtime
 * makes the container's groups and puts the stub into them before the engine begins; torpor-cr leaves restored tasks in the groups it
 * runs in itself (CRIU's --manage-cgroups=ignore). Properties of groups are the runtime's business and are not saved. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/proc.h"
#include "cgroup.pb-c.h"
#include "ns/internal.h"

#define MEMBERS_MAX 64

static int compare_members(const void *a, const void *b)
{
	return strcmp((*(CgMemberEntry *const *)a)->name, (*(CgMemberEntry *const *)b)->name);
}

/* Lines "4:memory:/path" of /proc/PID/cgroup; cgroup2 has an empty name. */
static size_t parse(struct arena *arena, char *text, CgMemberEntry **out)
{
	size_t n = 0;
	char *save, *line = strtok_r(text, "\n", &save);

	for (; line && n < MEMBERS_MAX; line = strtok_r(NULL, "\n", &save)) {
		char *name = strchr(line, ':'), *path = name ? strchr(name + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = 0;
		CgMemberEntry *m = arena_new(arena, CgMemberEntry);
		cg_member_entry__init(m);
		m->name = name + 1;
		m->path = path;
		out[n++] = m;
	}
	qsort(out, n, sizeof *out, compare_members);
	return n;
}

int cgroup_save(struct dump *d, uint32_t id)
{
	CgroupEntry e = CGROUP_ENTRY__INIT;
	CgSetEntry set = CG_SET_ENTRY__INIT, *sets = &set;
	CgMemberEntry *members[MEMBERS_MAX];
	autofree char *text = NULL;
	ssize_t n = proc_read(tree_root(d->tree)->host_pid, "cgroup", &text);

	if (n < 0)
		return fail((int)-n, "read the cgroups of task %d", d->o->pid);
	set.id = 1;
	set.n_ctls = parse(d->arena, arena_str(d->arena, text), members);
	set.ctls = members;
	e.n_sets = 1;
	e.sets = &sets;
	return image_write_one(d->images, IMG_CGROUP, id, &e);
}

int cgroup_read(struct restore *r)
{
	auto_image struct image *i = NULL;
	CgroupEntry *e;
	int ret = image_open(r->images, IMG_CGROUP, 0, &i);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = image_read(i, r->arena, &e)) > 0)
		;
	return ret;
}
