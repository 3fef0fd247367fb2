/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups in the images, while a tree is saved: the sets of groups that tasks are in, and what these groups are like.
 *
 * A set is a group per hierarchy (v1 controllers, named hierarchies, cgroup2). Set 1 is the engine's own: a tree that is in the same groups
 * as the engine has no cgroup image, and comes back into the groups of whoever restores it. Otherwise every hierarchy in which the
 * root task is in another group than the engine is described from that group downwards: directories, their owners, and those of their
 * files that are settings (cgroup_props.c). Hierarchies are read through mounts of the engine's own (fsmount), attached nowhere, so that
 * it does not matter what is mounted at /sys/fs/cgroup.
 *
 * A runtime makes its groups itself: then the sets alone are saved (o->manage_cgroups NULL).
 *
 * Not handled: threads in other groups than their process (v1 allows it in any hierarchy, cgroup2 in threaded ones): they come back in
 * those of the process. */
#define LOG_PREFIX "cgroup"
#include "ns/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "ns/fstype.h"
#include "ns/internal.h"

#define MEMBERS_MAX 64
#define SETTING_MAX (64u << 10)
#define LEVELS_MAX 64
#define OWN_SET 1

struct cgroup_table {
	char *mine;                    /* /proc/self/cgroup */
	ARRAY(char *) texts;           /* of sets 2, 3, …; in the arena */
	struct cgroup_props *props;
};

static int compare_members(const void *a, const void *b)
{
	return strcmp((*(CgMemberEntry *const *)a)->name, (*(CgMemberEntry *const *)b)->name);
}

size_t cgroup_members(struct arena *arena, char *text, CgMemberEntry ***out)
{
	CgMemberEntry **list = *out = arena_array(arena, CgMemberEntry *, MEMBERS_MAX);
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
		list[n++] = m;
	}
	qsort(list, n, sizeof *list, compare_members);
	return n;
}

bool cgroup_name_has(const char *name, const char *controller)
{
	size_t len = strlen(controller);

	for (const char *at = name;;) {
		size_t n = strcspn(at, ",");
		if (n == len && !strncmp(at, controller, n))
			return true;
		if (!at[n])
			return false;
		at += n + 1;
	}
}

int cgroup_open(const char *yard, const char *name)
{
	if (!yard)
		return *name ? fstype_mount("cgroup", "cgroup", name, false) : fstype_mount("cgroup2", "cgroup2", "", false);
	autofree char *path = str_printf("%s/%s", yard, *name ? name : "unified");
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && str_starts(name, "name=")) {   /* as the system mounts a hierarchy without controllers */
		autofree char *plain = str_printf("%s/%s", yard, name + strlen("name="));
		fd = open(plain, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd < 0 ? fail(errno, "--cgroup-yard: open %s", path) : fd;
}

/* --- sets --- */

int cgroup_begin(struct dump *d)
{
	autofree char *text = NULL;
	ssize_t n = proc_read(getpid(), "cgroup", &text);

	if (n < 0)
		return fail((int)-n, "read the engine's own cgroups");
	d->cgroups = arena_new(d->arena, struct cgroup_table);
	d->cgroups->mine = arena_str(d->arena, text);
	if (d->o->cgroup_props)
		return cgroup_props_parse(d->arena, d->o->cgroup_props, &d->cgroups->props);
	if (!d->o->cgroup_props_file)
		return 0;
	autofree char *spec = NULL;
	n = file_read(AT_FDCWD, d->o->cgroup_props_file, &spec, 1u << 20);
	return n < 0 ? fail((int)-n, "--cgroup-props-file: read %s", d->o->cgroup_props_file) :
		       cgroup_props_parse(d->arena, spec, &d->cgroups->props);
}

static uint32_t set_of(struct dump *d, const char *text)
{
	struct cgroup_table *c = d->cgroups;

	if (!strcmp(text, c->mine))
		return OWN_SET;
	for (size_t i = 0; i < c->texts.n; i++)
		if (!strcmp(text, c->texts.data[i]))
			return (uint32_t)i + OWN_SET + 1;
	array_push(&c->texts) = arena_str(d->arena, text);
	return (uint32_t)c->texts.n + OWN_SET;
}

int cgroup_fill(struct dump *d, struct task *t)
{
	autofree char *text = NULL;

	if (t->state == TASK_DEAD || (d->o->manage_cgroups && !strcmp(d->o->manage_cgroups, "ignore")))
		return 0;
	ssize_t n = proc_read(t->host_pid, "cgroup", &text);
	if (n < 0)
		return fail((int)-n, "read the cgroups of task %d", t->pid);
	uint32_t id = set_of(d, text);
	for (size_t i = 0; i < t->n_threads; i++)
		if (t->threads[i].core && t->threads[i].core->thread_core)
			t->threads[i].core->thread_core->cg_set = id;
	return 0;
}

void cgroup_dump_end(struct dump *d)
{
	if (d->cgroups)
		array_free(&d->cgroups->texts);
}

/* --- groups --- */

static CgroupPerms *perms_of(struct dump *d, const struct stat *st)
{
	CgroupPerms *p = arena_new(d->arena, CgroupPerms);

	cgroup_perms__init(p);
	p->mode = st->st_mode;
	p->uid = st->st_uid;
	p->gid = st->st_gid;
	return p;
}

/* What the setting was before the engine froze the group; and what can be written back. */
static char *value_of(struct dump *d, const char *name, char *text)
{
	size_t len = strlen(text);

	while (len && text[len - 1] == '\n')
		text[--len] = 0;
	if (!strcmp(name, "cgroup.procs") || !strcmp(name, "tasks") || !strcmp(name, "cgroup.threads"))
		return arena_str(d->arena, "");
	if (!strcmp(name, "freezer.state"))
		return arena_str(d->arena, d->was_frozen ? "FROZEN" : "THAWED");
	if (!strcmp(name, "cgroup.freeze"))
		return arena_str(d->arena, d->was_frozen ? "1" : "0");
	if (!strcmp(name, "memory.oom_control"))
		return arena_str(d->arena, strstr(text, "oom_kill_disable 1") ? "1" : "0");
	return arena_str(d->arena, text);
}

static int save_setting(struct dump *d, int dir, const char *name, CgroupDirEntry *e)
{
	struct stat st;
	autofree char *text = NULL;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;   /* another kernel's */
	ssize_t n = st.st_mode & 0444 ? file_read(dir, name, &text, SETTING_MAX) : 0;
	if (n == -EOPNOTSUPP || n == -ENODEV || n == -EINVAL)
		return 0;
	if (n < 0 && n != -EFBIG)
		return fail((int)-n, "read %s of cgroup %s", name, e->dir_name);
	CgroupPropEntry *p = arena_new(d->arena, CgroupPropEntry);
	cgroup_prop_entry__init(p);
	p->name = arena_str(d->arena, name);
	p->value = text ? value_of(d, name, text) : arena_str(d->arena, "");
	p->perms = perms_of(d, &st);
	e->properties[e->n_properties++] = p;
	return 0;
}

static int save_settings(struct dump *d, int dir, const CgControllerEntry *c, CgroupDirEntry *e)
{
	const char *const *lists[MEMBERS_MAX + 1];
	size_t n = 0, total = 0;
	int r = 0;

	for (size_t i = 0; i < c->n_cnames && n < MEMBERS_MAX; i++)
		lists[n++] = cgroup_props_of(d->cgroups->props, c->cnames[i]);
	lists[n++] = *c->cnames[0] ? cgroup_props_v1 : cgroup_props_v2;
	for (size_t i = 0; i < n; i++)
		for (const char *const *name = lists[i]; *name; name++)
			total++;
	e->properties = arena_array(d->arena, CgroupPropEntry *, total);
	for (size_t i = 0; i < n && r >= 0; i++)
		for (const char *const *name = lists[i]; *name && r >= 0; name++)
			r = save_setting(d, dir, *name, e);
	return r;
}

static int save_group(struct dump *d, int parent, const char *path, const CgControllerEntry *c, CgroupDirEntry **out, unsigned levels);

static int save_children(struct dump *d, int dir, const CgControllerEntry *c, CgroupDirEntry *e, unsigned levels)
{
	ARRAY(CgroupDirEntry *) list = { 0 };
	DIR *entries = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 0));
	int r = entries ? 0 : fail(errno, "list cgroup %s", e->dir_name);

	for (struct dirent *de; r >= 0 && (de = readdir(entries));) {
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		CgroupDirEntry *child;
		r = save_group(d, dir, de->d_name, c, &child, levels - 1);
		if (r >= 0)
			array_push(&list) = child;
	}
	if (entries)
		closedir(entries);
	e->n_children = list.n;
	e->children = arena_dup(d->arena, list.data, list.n * sizeof *list.data);
	array_free(&list);
	return r;
}

static int save_group(struct dump *d, int parent, const char *path, const CgControllerEntry *c, CgroupDirEntry **out, unsigned levels)
{
	CgroupDirEntry *e = *out = arena_new(d->arena, CgroupDirEntry);
	autoclose int dir = openat(parent, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	cgroup_dir_entry__init(e);
	e->dir_name = arena_str(d->arena, path);
	if (dir < 0 || fstat(dir, &st) < 0)
		return fail(errno, "open cgroup %s", path);
	if (!levels)
		return fail_text(ELOOP, "cgroup %s: more than %d levels below the container's", path, LEVELS_MAX);
	e->dir_perms = perms_of(d, &st);
	int r = save_settings(d, dir, c, e);
	return r < 0 ? r : save_children(d, dir, c, e, levels);
}

/* --- hierarchies --- */

static bool within(const char *path, const CgControllerEntry *c)
{
	for (size_t i = 0; i < c->n_dirs; i++) {
		size_t len = strlen(c->dirs[i]->dir_name);
		if (!strncmp(path, c->dirs[i]->dir_name, len) && (!len || !path[len] || path[len] == '/'))
			return true;
	}
	return false;
}

static void split_names(struct dump *d, const char *name, CgControllerEntry *c)
{
	char *save, *copy = arena_str(d->arena, name), *word = strtok_r(copy, ",", &save);

	c->cnames = arena_array(d->arena, char *, MEMBERS_MAX);
	for (; word && c->n_cnames < MEMBERS_MAX; word = strtok_r(NULL, ",", &save))
		c->cnames[c->n_cnames++] = word;
	if (!c->n_cnames)
		c->cnames[c->n_cnames++] = arena_str(d->arena, "");
}

static const CgMemberEntry *member(CgMemberEntry *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i]->name, name))
			return list[i];
	return NULL;
}

static bool wanted(const struct dump *d, const char *name)
{
	const char *const *only = d->o->cgroup_controllers;

	if (!only || !*only)
		return true;
	for (; *only; only++)
		if (cgroup_name_has(name, *only))
			return true;
	return false;
}

static int save_hierarchy(struct dump *d, const CgroupEntry *e, const char *name, CgControllerEntry *c)
{
	autoclose int root = cgroup_open(d->o->cgroup_yard, name);
	int r = root < 0 ? root : 0;

	cg_controller_entry__init(c);
	split_names(d, name, c);
	c->dirs = arena_array(d->arena, CgroupDirEntry *, e->n_sets);
	c->has_is_threaded = true;
	c->is_threaded = *name != 0;
	for (size_t i = 0; i < e->n_sets && r >= 0; i++) {
		const CgMemberEntry *m = member(e->sets[i]->ctls, e->sets[i]->n_ctls, name);
		const char *path = m ? m->path + strspn(m->path, "/") : NULL;
		if (!path || !*path || within(path, c))
			continue;
		r = save_group(d, root, path, c, &c->dirs[c->n_dirs], LEVELS_MAX);
		c->n_dirs += r >= 0;
	}
	return r;
}

static int save_hierarchies(struct dump *d, CgroupEntry *e)
{
	const CgSetEntry *root = e->sets[0];
	CgMemberEntry **mine;
	size_t n = cgroup_members(d->arena, arena_str(d->arena, d->cgroups->mine), &mine);
	int r = 0;

	e->controllers = arena_array(d->arena, CgControllerEntry *, root->n_ctls);
	for (size_t i = 0; i < root->n_ctls && r >= 0; i++) {
		const CgMemberEntry *own = member(mine, n, root->ctls[i]->name);
		if (!wanted(d, root->ctls[i]->name) || (own && !strcmp(own->path, root->ctls[i]->path)))
			continue;
		e->controllers[e->n_controllers] = arena_new(d->arena, CgControllerEntry);
		r = save_hierarchy(d, e, root->ctls[i]->name, e->controllers[e->n_controllers]);
		e->n_controllers += r >= 0;
	}
	return r;
}

/* How much of each path is above the root of the tree's cgroup namespace: what that namespace shows is the rest. */
static int note_namespace(struct dump *d, CgSetEntry *set)
{
	autofree char *text = NULL;
	CgMemberEntry **seen;
	int saved, r = d->own_cgroup_ns ? ns_enter(tree_root(d->tree)->host_pid, NSK_CGROUP, &saved) : 1;

	if (r)
		return r < 0 ? r : 0;
	ssize_t got = proc_read(tree_root(d->tree)->host_pid, "cgroup", &text);
	r = ns_leave(NSK_CGROUP, &saved);
	if (got < 0 || r < 0)
		return r < 0 ? r : fail((int)-got, "read the cgroups of task %d", d->o->pid);
	size_t n = cgroup_members(d->arena, text, &seen);
	for (size_t i = 0; i < set->n_ctls; i++) {
		const CgMemberEntry *s = member(seen, n, set->ctls[i]->name);
		size_t all = strlen(set->ctls[i]->path), rest = s && s->path[1] ? strlen(s->path) : 0;
		set->ctls[i]->has_cgns_prefix = s && all >= rest && strncmp(s->path, "/..", 3) != 0;
		set->ctls[i]->cgns_prefix = (uint32_t)(all - rest);
	}
	return 0;
}

static void copy_namespace(const CgSetEntry *from, CgSetEntry *to)
{
	for (size_t i = 0; i < to->n_ctls; i++) {
		const CgMemberEntry *m = member(from->ctls, from->n_ctls, to->ctls[i]->name);
		to->ctls[i]->has_cgns_prefix = m && m->has_cgns_prefix;
		to->ctls[i]->cgns_prefix = m ? m->cgns_prefix : 0;
	}
}

int cgroup_save(struct dump *d)
{
	struct cgroup_table *c = d->cgroups;
	CgroupEntry e = CGROUP_ENTRY__INIT;
	int r = 0;

	if (!c->texts.n)
		return 0;
	e.sets = arena_array(d->arena, CgSetEntry *, c->texts.n);
	for (; e.n_sets < c->texts.n && r >= 0; e.n_sets++) {
		CgSetEntry *s = e.sets[e.n_sets] = arena_new(d->arena, CgSetEntry);
		cg_set_entry__init(s);
		s->id = (uint32_t)e.n_sets + OWN_SET + 1;
		s->n_ctls = cgroup_members(d->arena, arena_str(d->arena, c->texts.data[e.n_sets]), &s->ctls);
		if (e.n_sets)
			copy_namespace(e.sets[0], s);
		else
			r = note_namespace(d, s);
	}
	if (r >= 0 && d->o->manage_cgroups)
		r = save_hierarchies(d, &e);
	return r < 0 ? r : image_write_one(d->images, IMG_CGROUP, 0, &e);
}
