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
 */
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
#include "ns/cgroup_plan.h"
#include "ns/internal.h"
#include "remote/remote.h"

#define REMOVE_TRIES 50

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

int cgroup_open_hierarchy(struct restore *r, const char *name, const char *from)
{
	const char *to = new_root(r, name);
	int root = cgroup_open(r->o->cgroup_yard, name);

	if (root < 0)
		return root;
	array_push(&r->cgroups->hierarchies) = (struct hierarchy){ .name = name, .from = from, .to = to ? to : from, .root = root };
	return 0;
}

const CgControllerEntry *cgroup_controller(const struct cgroup_plan *p, const char *name)
{
	for (size_t i = 0; i < p->image->n_controllers; i++) {
		const CgControllerEntry *c = p->image->controllers[i];
		if (c->n_cnames && cgroup_name_has(name, c->cnames[0]))
			return c;
	}
	return NULL;
}

struct hierarchy *cgroup_find_hierarchy(struct cgroup_plan *p, const char *name)
{
	for (size_t i = 0; i < p->hierarchies.n; i++)
		if (!strcmp(p->hierarchies.data[i].name, name))
			return &p->hierarchies.data[i];
	return NULL;
}

char *cgroup_map_path(struct restore *r, const struct hierarchy *h, const char *path)
{
	const char *from = h->from + strspn(h->from, "/"), *to = h->to + strspn(h->to, "/");
	size_t len = strlen(from);

	path += strspn(path, "/");
	if (path_goes_up(path))
		return NULL;
	if (strncmp(path, from, len) != 0 || (len && path[len] && path[len] != '/'))
		return arena_str(r->arena, path);
	const char *rest = path + len + strspn(path + len, "/");
	return arena_printf(r->arena, "%s%s%s", to, *to && *rest ? "/" : "", rest);
}

/* --- tasks --- */

static int open_entry(struct restore *r, const CgMemberEntry *m, const char *path, bool itself)
{
	const struct hierarchy *h = cgroup_find_hierarchy(r->cgroups, m->name);
	char *mapped = h ? cgroup_map_path(r, h, path) : NULL;

	if (!mapped)
		return fail_text(EBADMSG, "cgroup.img: %s:%s is no group of the root task's hierarchies", m->name, path);
	if (r->cgroups->mode != STRICT || faccessat(h->root, *mapped ? mapped : ".", F_OK, 0) < 0) {
		int made = cgroup_make_group(r, h, mapped);
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
		ret = cgroup_make_all(r, set->ctls[i]);
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
		if (!cgroup_is_late(p->name) || (strcmp(p->value, "FROZEN") != 0 && strcmp(p->value, "1") != 0))
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
		const CgControllerEntry *c = cgroup_controller(p, h->name);
		for (size_t k = 0; c && k < c->n_dirs && ret >= 0; k++)
			ret = freeze_tree(r, h, cgroup_map_path(r, h, c->dirs[k]->dir_name), c->dirs[k]);
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
