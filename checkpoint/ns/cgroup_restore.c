/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups of a tree that the engine restores by itself (a runtime makes its own).
 *
 *   before the root husk is born     hierarchies are opened, groups made, settings written; descriptors of the files that move a task
 *   the husk, taken over             writes itself into them, by one batch: it still has the engine's descriptors, and a task that moves
 *                                    itself does not wait for the lock that moving others takes. Then it gets its cgroup namespace
 *   the tree, born into them         tasks of other sets are moved by the engine
 *   the end                          groups that were frozen are frozen
 *
 * What is done is CRIU's --manage-cgroups:
 *   ignore   nothing             none, props   groups must be there; props: settings are written
 *   soft     groups are made; settings of those that were made are written
 *   full     … of all of them    strict        as full, and none of them may be there
 * A tree that was in its dumping tool's own groups (root_cg_set) stays in those of its restorer.
 *
 * A setting that has its value already is not written: some can be read only. In cgroup2 the controllers of a setting that is not there are
 * enabled from the top. */
#define LOG_PREFIX "cgroup"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "ns/cgroup.h"
#include "ns/internal.h"
#include "remote/remote.h"

#define LEVELS_MAX 64
#define REMOVE_TRIES 50

struct hierarchy {
	const char *name;              /* "cpu,cpuacct", "name=systemd", "" */
	const char *from, *to;         /* a path that begins with `from` begins with `to` instead */
	int root;
};

struct made {
	int root;                      /* of its hierarchy */
	char *path;
};

enum mode { IGNORE, NONE, PROPS, SOFT, FULL, STRICT };

struct cgroup_plan {
	CgroupEntry *image;
	enum mode mode;
	uint32_t root_set;
	ARRAY(struct hierarchy) hierarchies;
	ARRAY(struct made) made;       /* directories, parents first */
	ARRAY(int) enter, enter_first; /* files that move who writes to them; first: of the cgroup namespace's root */
};

static int parse_mode(const char *text, enum mode *mode)
{
	static const char *const names[] = { "ignore", "none", "props", "soft", "full", "strict" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(text, names[i])) {
			*mode = (enum mode)i;
			return 0;
		}
	return fail_text(EINVAL, "--manage-cgroups=%s: ignore, none, props, soft, full or strict", text);
}

static uint32_t task_set(const struct task *t)
{
	const CoreEntry *core = t->threads[0].core;

	if (core->thread_core && core->thread_core->has_cg_set)
		return core->thread_core->cg_set;
	return core->tc && core->tc->has_cg_set ? core->tc->cg_set : 0;
}

static const CgSetEntry *find_set(const struct cgroup_plan *p, uint32_t id)
{
	for (size_t i = 0; i < p->image->n_sets; i++)
		if (p->image->sets[i]->id == id)
			return p->image->sets[i];
	return NULL;
}

int cgroup_read(struct restore *r)
{
	auto_image struct image *i = NULL;
	CgroupEntry *e;
	enum mode mode = IGNORE;
	int ret = image_open(r->images, IMG_CGROUP, 0, &i);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	ret = image_read(i, r->arena, &e);
	if (ret <= 0)
		return ret < 0 ? ret : fail_text(EBADMSG, "cgroup.img is empty");
	ret = r->o->manage_cgroups ? parse_mode(r->o->manage_cgroups, &mode) : 0;
	uint32_t set = task_set(tree_root(r->tree));
	if (ret < 0 || r->o->husk || mode == IGNORE || !set || set == r->own_cgroup_set)
		return ret;
	r->cgroups = arena_new(r->arena, struct cgroup_plan);
	*r->cgroups = (struct cgroup_plan){ .image = e, .mode = mode, .root_set = set };
	if (!find_set(r->cgroups, set))
		return fail_text(EBADMSG, "cgroup.img has no set %u, in which the root task is", set);
	r->clone_flags &= ~(uint64_t)CLONE_NEWCGROUP;
	return 0;
}

/* --- hierarchies --- */

/* "[CTRL:]/PATH" */
static const char *new_root(const struct restore *r, const char *name)
{
	const char *all = NULL;

	for (const char *const *c = r->o->cgroup_roots; c && *c; c++) {
		const char *path = strchr(*c, '/');
		if (!path)
			continue;
		if (path == *c) {
			all = path;
			continue;
		}
		char ctl[64];
		size_t len = (size_t)(path - *c) - 1;
		snprintf(ctl, sizeof ctl, "%.*s", (int)len, *c);
		if (!strcmp(ctl, name) || cgroup_name_has(name, ctl))
			return path;
	}
	return all;
}

static int open_hierarchy(struct restore *r, const char *name, const char *from)
{
	const char *to = new_root(r, name);
	int root = cgroup_open(r->o->cgroup_yard, name);

	if (root < 0)
		return root;
	array_push(&r->cgroups->hierarchies) = (struct hierarchy){ .name = name, .from = from, .to = to ? to : from, .root = root };
	return 0;
}

static const CgControllerEntry *controller_of(const struct cgroup_plan *p, const char *name)
{
	for (size_t i = 0; i < p->image->n_controllers; i++) {
		const CgControllerEntry *c = p->image->controllers[i];
		if (c->n_cnames && cgroup_name_has(name, c->cnames[0]))
			return c;
	}
	return NULL;
}

static struct hierarchy *find_hierarchy(struct cgroup_plan *p, const char *name)
{
	for (size_t i = 0; i < p->hierarchies.n; i++)
		if (!strcmp(p->hierarchies.data[i].name, name))
			return &p->hierarchies.data[i];
	return NULL;
}

/* A path of the image in this machine's hierarchy, without leading slashes; NULL: it would lead out of it. */
static char *map_path(struct restore *r, const struct hierarchy *h, const char *path)
{
	const char *from = h->from + strspn(h->from, "/"), *to = h->to + strspn(h->to, "/");
	size_t len = strlen(from);

	path += strspn(path, "/");
	if (strstr(path, ".."))
		return NULL;
	if (strncmp(path, from, len) != 0 || (len && path[len] && path[len] != '/'))
		return arena_str(r->arena, path);
	const char *rest = path + len + strspn(path + len, "/");
	return arena_printf(r->arena, "%s%s%s", to, *to && *rest ? "/" : "", rest);
}

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

static int make_group(struct restore *r, const struct hierarchy *h, const char *path)
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

static bool is_late(const char *name)
{
	return !strcmp(name, "freezer.state") || !strcmp(name, "cgroup.freeze");
}

static bool is_written(const CgroupPropEntry *p)
{
	static const char *const lacks[] = { "cgroup.procs", "tasks", "cgroup.threads", NULL };

	for (const char *const *n = lacks; *n; n++)
		if (!strcmp(*n, p->name))
			return false;
	return *p->value && !strchr(p->name, '/') && !is_late(p->name);
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
	int made = make_group(r, h, path), ret = made < 0 ? made : 0;

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

static int make_hierarchy(struct restore *r, const CgMemberEntry *m)
{
	const CgControllerEntry *c = controller_of(r->cgroups, m->name);
	int ret = open_hierarchy(r, m->name, c && c->n_dirs ? c->dirs[0]->dir_name : m->path);

	if (ret < 0)
		return ret;
	const struct hierarchy h = *find_hierarchy(r->cgroups, m->name);
	for (size_t i = 0; c && i < c->n_dirs && ret >= 0; i++) {
		char *path = map_path(r, &h, c->dirs[i]->dir_name);
		ret = path ? make_tree(r, &h, path, c->dirs[i], LEVELS_MAX) :
			     fail_text(EBADMSG, "cgroup.img: \"%s\" is no path of a group", c->dirs[i]->dir_name);
	}
	return ret;
}

/* --- tasks --- */

static int open_entry(struct restore *r, const CgMemberEntry *m, const char *path, bool itself)
{
	const struct hierarchy *h = find_hierarchy(r->cgroups, m->name);
	char *mapped = h ? map_path(r, h, path) : NULL;

	if (!mapped)
		return fail_text(EBADMSG, "cgroup.img: %s:%s is no group of the root task's hierarchies", m->name, path);
	if (r->cgroups->mode != STRICT || faccessat(h->root, *mapped ? mapped : ".", F_OK, 0) < 0) {
		int made = make_group(r, h, mapped);
		if (made < 0)
			return made;
	}
	autofree char *file = str_printf("%s%s%s", mapped, *mapped ? "/" : "", itself && *m->name ? "tasks" : "cgroup.procs");
	int fd = openat(h->root, file, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? fail(errno, "open %s of cgroup hierarchy \"%s\"", file, m->name) : fd;
}

static int open_entries(struct restore *r, const CgSetEntry *set)
{
	struct cgroup_plan *p = r->cgroups;

	for (size_t i = 0; i < set->n_ctls; i++) {
		const CgMemberEntry *m = set->ctls[i];
		size_t len = strlen(m->path), prefix = m->has_cgns_prefix && r->own_ns[NSK_CGROUP] ? m->cgns_prefix : 0;
		if (prefix && prefix < len) {
			int fd = open_entry(r, m, arena_printf(r->arena, "%.*s", (int)prefix, m->path), true);
			if (fd < 0)
				return fd;
			array_push(&p->enter_first) = fd;
		}
		int fd = open_entry(r, m, m->path, true);
		if (fd < 0)
			return fd;
		array_push(&p->enter) = fd;
	}
	return 0;
}

int ns_cgroups_make(struct restore *r)
{
	struct cgroup_plan *p = r->cgroups;
	const CgSetEntry *set = p ? find_set(p, p->root_set) : NULL;
	int ret = 0;

	for (size_t i = 0; set && i < set->n_ctls && ret >= 0; i++)
		ret = make_hierarchy(r, set->ctls[i]);
	return ret < 0 || !set ? ret : open_entries(r, set);
}

static int enter(struct remote *husk, const int *fds, size_t n)
{
	int ret = remote_scratch_write(husk, 0, "0", 1);

	for (size_t i = 0; i < n && ret >= 0; i++) {
		int64_t done = remote_call(husk, SYS_write, (uint64_t)fds[i], remote_scratch(husk), 1, 0, 0, 0);
		if (done < 0)
			ret = fail((int)-done, "put the root task into its cgroups (%s)", FD_PATH(fds[i]));
	}
	return ret;
}

int ns_cgroups_enter(struct restore *r, struct remote *husk)
{
	struct cgroup_plan *p = r->cgroups;
	int64_t done = 0;

	if (!p)
		return 0;
	bool two = p->enter_first.n;
	int ret = enter(husk, two ? p->enter_first.data : p->enter.data, two ? p->enter_first.n : p->enter.n);
	if (ret >= 0 && r->own_ns[NSK_CGROUP])
		done = remote_call(husk, SYS_unshare, CLONE_NEWCGROUP, 0, 0, 0, 0, 0);
	if (done < 0)
		return fail((int)-done, "give the root task a cgroup namespace");
	return ret >= 0 && two ? enter(husk, p->enter.data, p->enter.n) : ret;
}

static int move_task(struct restore *r, const struct task *t, const CgSetEntry *set)
{
	char pid[16];

	snprintf(pid, sizeof pid, "%d", t->host_pid);
	for (size_t i = 0; i < set->n_ctls; i++) {
		autoclose int fd = open_entry(r, set->ctls[i], set->ctls[i]->path, false);
		int ret = fd < 0 ? fd : fd_write_all(fd, pid, strlen(pid));
		if (ret < 0)
			return fd < 0 ? fd : fail(-ret, "put task %d into cgroup %s:%s", t->pid, set->ctls[i]->name, set->ctls[i]->path);
	}
	return 0;
}

int ns_cgroups_spread(struct restore *r)
{
	int ret = 0;

	for (size_t i = 1; r->cgroups && i < r->tree->tasks.n && ret >= 0; i++) {
		const struct task *t = r->tree->tasks.data[i];
		uint32_t id = t->state == TASK_DEAD ? 0 : task_set(t);
		if (!id || id == r->cgroups->root_set || id == r->own_cgroup_set)
			continue;
		const CgSetEntry *set = find_set(r->cgroups, id);
		ret = set ? move_task(r, t, set) : fail_text(EBADMSG, "cgroup.img has no set %u, in which task %d is", id, t->pid);
	}
	return ret;
}

/* --- the end --- */

static int freeze_tree(struct restore *r, const struct hierarchy *h, const char *path, const CgroupDirEntry *e)
{
	int ret = 0;

	for (size_t i = 0; i < e->n_properties && ret >= 0; i++) {
		const CgroupPropEntry *p = e->properties[i];
		if (!is_late(p->name) || (strcmp(p->value, "FROZEN") != 0 && strcmp(p->value, "1") != 0))
			continue;
		autofree char *file = str_printf("%s/%s", path, p->name);
		ret = file_write(h->root, file, p->value);
		if (ret < 0)
			fail(-ret, "freeze cgroup %s:%s again", h->name, path);
	}
	for (size_t i = 0; i < e->n_children && ret >= 0; i++)
		ret = freeze_tree(r, h, arena_printf(r->arena, "%s/%s", path, e->children[i]->dir_name), e->children[i]);
	return ret;
}

int ns_cgroups_settle(struct restore *r)
{
	struct cgroup_plan *p = r->cgroups;
	int ret = 0;

	for (size_t i = 0; p && i < p->hierarchies.n && ret >= 0; i++) {
		const struct hierarchy *h = &p->hierarchies.data[i];
		const CgControllerEntry *c = controller_of(p, h->name);
		for (size_t k = 0; c && k < c->n_dirs && ret >= 0; k++)
			ret = freeze_tree(r, h, map_path(r, h, c->dirs[k]->dir_name), c->dirs[k]);
	}
	return ret;
}

/* What has just died may hold a group for a moment. */
void ns_cgroups_undo(struct restore *r)
{
	unsigned tries = 0;

	for (size_t i = r->cgroups ? r->cgroups->made.n : 0; i-- > 0;)
		while (unlinkat(r->cgroups->made.data[i].root, r->cgroups->made.data[i].path, AT_REMOVEDIR) < 0 && errno == EBUSY &&
		       tries++ < REMOVE_TRIES)
			nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
}

static void close_list(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

void cgroup_end(struct restore *r)
{
	struct cgroup_plan *p = r->cgroups;

	if (!p)
		return;
	close_list(p->enter.data, p->enter.n);
	close_list(p->enter_first.data, p->enter_first.n);
	for (size_t i = 0; i < p->hierarchies.n; i++)
		close(p->hierarchies.data[i].root);
	array_free(&p->enter);
	array_free(&p->enter_first);
	array_free(&p->hierarchies);
	array_free(&p->made);
	r->cgroups = NULL;
}
