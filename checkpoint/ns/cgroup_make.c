/* SPDX-License-Identifier: Apache-2.0 */
/* The groups of a restored tree are made, and their settings written.
 *
 * A setting that has its value already is not written: some can be read only. In cgroup2 the controllers of a setting that is not there are
 * enabled from the top. */
#define LOG_PREFIX "cgroup"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "ns/cgroup.h"
#include "ns/cgroup_plan.h"
#include "ns/internal.h"

#define LEVELS_MAX 64

/* --- groups --- */

/* A new cpuset has no processors and no memory, and takes no task. */
static int copy_cpuset(int root, const char *path)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	autofree char *parent = str_dup(path);
	char *slash = strrchr(parent, '/');

	if (slash)
		*slash = 0;
	for (size_t i = 0; i < 2; i++) {
		autofree char *from = str_printf("%s/%s", slash ? parent : ".", files[i]), *to = str_printf("%s/%s", path, files[i]), *text = NULL;
		if (file_read(root, from, &text, 4096) > 0 && file_write(root, to, text) < 0)
			return fail(errno, "set %s of cgroup %s", files[i], path);
	}
	return 0;
}

/* Makes what is missing of the path. 1: the last of it was made. */
static int make_path(struct restore *r, const struct hierarchy *h, const char *path)
{
	autofree char *copy = str_dup(path);
	int made = 0;

	for (char *at = copy; at;) {
		char *slash = strchr(at, '/');
		if (slash)
			*slash = 0;
		made = mkdirat(h->root, copy, 0755) == 0;
		if (!made && errno != EEXIST)
			return fail(errno, "make cgroup %s:%s", h->name, copy);
		if (made)
			array_push(&r->cgroups->made) = (struct made){ h->root, arena_str(r->arena, copy) };
		if (made && cgroup_name_has(h->name, "cpuset") && copy_cpuset(h->root, copy) < 0)
			return -EINVAL;
		if (slash)
			*slash = '/';
		at = slash ? slash + 1 : NULL;
	}
	return made;
}

int cgroup_make_group(struct restore *r, const struct hierarchy *h, const char *path)
{
	enum mode mode = r->cgroups->mode;
	struct stat st;

	if (!*path)
		return 0;
	if (mode != STRICT && fstatat(h->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (mode == NONE || mode == PROPS)
		return fail_text(ENOENT, "cgroup %s:%s is not there, and --manage-cgroups=%s makes none", h->name, path, r->o->manage_cgroups);
	int made = make_path(r, h, path);
	return made || mode != STRICT ? made :
					fail_text(EEXIST, "cgroup %s:%s is there already (--manage-cgroups=strict)", h->name, path);
}

/* --- settings --- */

static bool has_value(int dir, const char *name, const char *value)
{
	autofree char *text = NULL;
	ssize_t n = file_read(dir, name, &text, 64u << 10);

	while (n > 0 && text[n - 1] == '\n')
		text[--n] = 0;
	if (n < 0)
		return false;
	if (!strcmp(name, "memory.oom_control"))
		return !!strstr(text, "oom_kill_disable 1") == (*value == '1');
	return !strcmp(text, value);
}

/* "cpu memory" becomes "+cpu +memory" */
static char *enabling(struct restore *r, const char *value)
{
	char *text = arena_str(r->arena, ""), *save, *copy = arena_str(r->arena, value), *word = strtok_r(copy, " \n", &save);

	for (; word; word = strtok_r(NULL, " \n", &save))
		text = arena_printf(r->arena, "%s%s+%s", text, *text ? " " : "", word);
	return text;
}

/* cgroup2: "memory.max" is there when the groups above give their children the memory controller. */
static void enable_controller(const struct hierarchy *h, const char *path, const char *setting)
{
	autofree char *copy = str_dup(path), *text = str_printf("+%.*s", (int)strcspn(setting, "."), setting);

	file_write(h->root, "cgroup.subtree_control", text);
	for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		autofree char *file = str_printf("%s/cgroup.subtree_control", copy);
		file_write(h->root, file, text);   /* what fails here fails with the setting */
		*slash = '/';
	}
}

static int write_devices(int dir, const char *value)
{
	autofree char *copy = str_dup(value);
	int ret = file_write(dir, "devices.deny", "a");
	char *save, *line = strtok_r(copy, "\n", &save);

	for (; line && ret >= 0; line = strtok_r(NULL, "\n", &save))
		ret = file_write(dir, "devices.allow", line);
	return ret;
}

bool cgroup_is_late(const char *name)
{
	return !strcmp(name, "freezer.state") || !strcmp(name, "cgroup.freeze");
}

static bool is_written(const CgroupPropEntry *p)
{
	static const char *const lacks[] = { "cgroup.procs", "tasks", "cgroup.threads", NULL };

	for (const char *const *n = lacks; *n; n++)
		if (!strcmp(*n, p->name))
			return false;
	return *p->value && !strchr(p->name, '/') && !cgroup_is_late(p->name);
}

static int write_setting(struct restore *r, const struct hierarchy *h, int dir, const char *path, const CgroupPropEntry *p)
{
	const char *value = p->value;

	if (!is_written(p) || has_value(dir, p->name, value))
		return 0;
	if (!*h->name && faccessat(dir, p->name, F_OK, 0) < 0)
		enable_controller(h, path, p->name);
	if (!strcmp(p->name, "cgroup.subtree_control"))
		value = enabling(r, value);
	int ret = !strcmp(p->name, "devices.list") ? write_devices(dir, value) : file_write(dir, p->name, value);
	if (ret == -ENOENT) {
		log_warn("cgroup %s:%s: this kernel has no %s, which was %s", h->name, path, p->name, value);
		return 0;
	}
	return ret < 0 ? fail(-ret, "write \"%s\" to %s of cgroup %s:%s", value, p->name, h->name, path) : 0;
}

static int give_away(int dir, const char *name, const CgroupPerms *p, const char *path)
{
	if (!p || (p->uid == 0 && p->gid == 0))
		return 0;
	if (fchownat(dir, name, p->uid, p->gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
		return fail(errno, "give %s of cgroup %s to user %u", name, path, p->uid);
	return 0;
}

static int write_settings(struct restore *r, const struct hierarchy *h, const char *path, const CgroupDirEntry *e)
{
	autoclose int dir = openat(h->root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int ret = dir < 0 ? fail(errno, "open cgroup %s:%s", h->name, path) : 0;

	for (size_t i = 0; i < e->n_properties && ret >= 0; i++)
		ret = write_setting(r, h, dir, path, e->properties[i]);
	if (ret >= 0)
		ret = give_away(dir, ".", e->dir_perms, path);
	for (size_t i = 0; i < e->n_properties && ret >= 0; i++)
		if (e->properties[i]->perms && e->properties[i]->perms->mode & 0222 && !strchr(e->properties[i]->name, '/'))
			ret = give_away(dir, e->properties[i]->name, e->properties[i]->perms, path);
	return ret;
}

static int make_tree(struct restore *r, const struct hierarchy *h, const char *path, const CgroupDirEntry *e, unsigned levels)
{
	enum mode mode = r->cgroups->mode;
	int made = cgroup_make_group(r, h, path), ret = made < 0 ? made : 0;

	if (ret >= 0 && !levels)
		ret = fail_text(EBADMSG, "cgroup.img: more than %d levels of groups", LEVELS_MAX);
	if (ret >= 0 && (made || mode == FULL || mode == PROPS))
		ret = write_settings(r, h, path, e);
	for (size_t i = 0; i < e->n_children && ret >= 0; i++) {
		const CgroupDirEntry *child = e->children[i];
		if (strchr(child->dir_name, '/') || !strcmp(child->dir_name, "..") || !*child->dir_name)
			return fail_text(EBADMSG, "cgroup.img: \"%s\" is no name of a group", child->dir_name);
		ret = make_tree(r, h, arena_printf(r->arena, "%s/%s", path, child->dir_name), child, levels - 1);
	}
	return ret;
}

int cgroup_make_all(struct restore *r, const CgMemberEntry *m)
{
	const CgControllerEntry *c = cgroup_controller(r->cgroups, m->name);
	int ret = cgroup_open_hierarchy(r, m->name, c && c->n_dirs ? c->dirs[0]->dir_name : m->path);

	if (ret < 0)
		return ret;
	const struct hierarchy h = *cgroup_find_hierarchy(r->cgroups, m->name);
	for (size_t i = 0; c && i < c->n_dirs && ret >= 0; i++) {
		char *path = cgroup_map_path(r, &h, c->dirs[i]->dir_name);
		ret = path ? make_tree(r, &h, path, c->dirs[i], LEVELS_MAX) :
			     fail_text(EBADMSG, "cgroup.img: \"%s\" is no path of a group", c->dirs[i]->dir_name);
	}
	return ret;
}
