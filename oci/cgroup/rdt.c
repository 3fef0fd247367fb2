/* SPDX-License-Identifier: Apache-2.0 */
/* Intel RDT: caches and memory bandwidth, divided among groups of the resctrl filesystem (4.10).
 *
 * A group is a directory of the mount; its file `schemata` takes a line per resource ("L3:0=f;1=f0", "MB:0=50"), `tasks` a task's number
 * (children follow), and mon_groups/ holds groups that only count. The number of groups is the processor's; making one more fails with
 * ENOSPC.
 *
 * The container's group is called closID, or by its id. One that is there already may be shared: it is used as it is if nothing is asked of
 * it; if shares are asked for, they must be those that it has (so the specification), and it stays when the container goes. A missing
 * group without shares is an error where closID names it: whoever meant it has not made it.
 *
 * Without the filesystem the property is refused. It is not mounted here: that switches what the processor counts for everybody. */
#include "cgroup/rdt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"

#define RESCTRL_MAGIC 0x7655821

bool rdt_is_there(const char *root)
{
	struct statfs st;
	return statfs(root, &st) == 0 && st.f_type == RESCTRL_MAGIC;
}

static bool asks_for_shares(const struct spec_intel_rdt *r)
{
	return r->schemata.n || r->l3 || r->bandwidth;
}

static char *group_path(const char *root, const struct spec_intel_rdt *r, const char *id)
{
	return str_printf("%s/%s", root, r->clos_id && *r->clos_id ? r->clos_id : id);
}

static bool is_root_group(const struct spec_intel_rdt *r)
{
	return r->clos_id && !strcmp(r->clos_id, "/");
}

static void add(struct arena *arena, struct spec_pairs *made, const char *key, const char *path)
{
	made->data[made->n].key = arena_str(arena, key);
	made->data[made->n++].value = arena_str(arena, path);
}

int rdt_plan(struct arena *arena, const char *root, const struct spec_intel_rdt *r, const char *id, struct spec_pairs *made)
{
	struct stat st;

	*made = (struct spec_pairs){ .data = arena_array(arena, struct spec_pair, 2) };
	if (!r->present)
		return 0;
	if (!rdt_is_there(root) && !strcmp(root, RDT_ROOT))
		return fail_text(EOPNOTSUPP, "config.json: linux.intelRdt: there is no resctrl filesystem at " RDT_ROOT ": kernel or processor may not "
					     "have it, or it is not mounted");
	autofree char *group = group_path(root, r, id);
	bool there = is_root_group(r) || stat(group, &st) == 0;
	if (!there && r->clos_id && *r->clos_id && !asks_for_shares(r))
		return fail_text(ENOENT, "config.json: linux.intelRdt.closID: there is no group %s, and no schemata to make it with", group);
	if (!there)
		add(arena, made, "group", group);
	if (r->monitoring) {
		autofree char *monitor = str_printf("%s/mon_groups/%s", group, id);
		add(arena, made, "monitor", monitor);
	}
	return 0;
}

/* All lines in one write: the kernel takes all or none. */
static char *schemata_text(const struct spec_intel_rdt *r)
{
	autofree char *text = str_dup("");

	for (size_t i = 0; i < r->schemata.n + 2; i++) {
		const char *line = i < r->schemata.n ? r->schemata.data[i] : i == r->schemata.n ? r->l3 : r->bandwidth;
		if (!line || !*line)
			continue;
		char *longer = str_printf("%s%s\n", text, line);
		free_pointer(&text);
		text = longer;
	}
	return take_ptr(&text);
}

static int set_shares(const char *group, const char *text, const char *property)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/schemata", group);
	int r = file_write(AT_FDCWD, path, text);
	return r < 0 ? fail(-r, "%s: write \"%.*s\" into %s", property, (int)strcspn(text, "\n"), text, path) : 0;
}

static bool line_is_there(const char *have, const char *line, size_t n)
{
	for (const char *at = have; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		at += strspn(at, " ");
		if (!strncmp(at, line, n) && (at[n] == '\n' || !at[n]))
			return true;
	}
	return false;
}

/* Of a group that somebody else made. */
static int compare_shares(const char *group, const char *wanted)
{
	char path[PATH_MAX];
	autofree char *have = NULL;

	snprintf(path, sizeof path, "%s/schemata", group);
	ssize_t n = file_read(AT_FDCWD, path, &have, 1 << 16);
	if (n < 0)
		return fail((int)-n, "read %s", path);
	for (const char *line = wanted; *line; line += strcspn(line, "\n") + 1)
		if (!line_is_there(have, line, strcspn(line, "\n")))
			return fail_text(EEXIST, "config.json: linux.intelRdt: the group %s is there already and has not \"%.*s\"", group,
				(int)strcspn(line, "\n"), line);
	return 0;
}

static const char *planned(const struct spec_pairs *made, const char *key)
{
	for (size_t i = 0; i < made->n; i++)
		if (!strcmp(made->data[i].key, key))
			return made->data[i].value;
	return NULL;
}

int rdt_create(const char *root, const struct spec_intel_rdt *r, const char *id, const struct spec_pairs *made)
{
	int done = 0;

	if (!r->present)
		return 0;
	autofree char *group = group_path(root, r, id), *text = schemata_text(r);
	const char *monitor = planned(made, "monitor");
	if (planned(made, "group") && mkdir(group, 0755) < 0)
		return fail(errno, "config.json: linux.intelRdt: make the group %s", group);
	if (*text)
		done = planned(made, "group") ? set_shares(group, text, "linux.intelRdt") : compare_shares(group, text);
	if (done >= 0 && monitor && mkdir(monitor, 0755) < 0)
		done = fail(errno, "config.json: linux.intelRdt.enableMonitoring: make the group %s", monitor);
	if (done < 0)
		rdt_remove(made);
	return done;
}

static int join(const char *dir, pid_t pid)
{
	char path[PATH_MAX], text[16];

	snprintf(path, sizeof path, "%s/tasks", dir);
	snprintf(text, sizeof text, "%d", pid);
	int r = file_write(AT_FDCWD, path, text);
	return r < 0 ? fail(-r, "linux.intelRdt: write %d into %s", pid, path) : 0;
}

int rdt_join(const char *root, const struct spec_intel_rdt *r, const char *id, pid_t pid)
{
	if (!r->present)
		return 0;
	autofree char *group = group_path(root, r, id), *monitor = str_printf("%s/mon_groups/%s", group, id);
	int done = join(group, pid);
	return done < 0 || !r->monitoring ? done : join(monitor, pid);
}

/* The one inside first. */
void rdt_remove(const struct spec_pairs *made)
{
	for (size_t i = made->n; i-- > 0;)
		rmdir(made->data[i].value);
}

int rdt_update(const struct spec_pairs *made, const char *l3, const char *bandwidth, struct cgroup_journal *before)
{
	const char *group = planned(made, "group");
	struct spec_intel_rdt r = { .l3 = l3 ? (char *)(uintptr_t)l3 : NULL, .bandwidth = bandwidth ? (char *)(uintptr_t)bandwidth : NULL };

	if (!l3 && !bandwidth)
		return 0;
	if (!group)
		return fail_text(EOPNOTSUPP, "update of Intel RDT: the container has no resctrl group of its own");
	autofree char *text = schemata_text(&r);
	cgroup_journal_note(before, group, "schemata", text);
	return set_shares(group, text, "update of Intel RDT");
}
