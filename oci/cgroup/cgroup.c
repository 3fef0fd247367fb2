/* SPDX-License-Identifier: Apache-2.0 */
/* A container's cgroups: where they are, making, entering, and the table of layouts.
 *
 * Three layouts of one file tree at /sys/fs/cgroup:
 *   v2      cgroup2 is mounted there; one directory has everything.
 *   v1      a tmpfs with one hierarchy per controller (or group of controllers) below it.
 *   hybrid  v1, and a cgroup2 without (most) controllers at `unified`. Limits are set in the v1 hierarchies. Freezing and killing
 *           are done in the cgroup2 one, always: a task in a frozen v1 group cannot be seized by ptrace, a task in a frozen cgroup2
 *           can, and only cgroup2 has cgroup.kill and a file that tells when the last task has gone.
 *
 * Every directory costs time when it is made, when a task enters it and when it goes (0.06 ms in all). So in v1 hierarchies a container
 * gets groups for memory, pids, cpuacct and blkio (statistics that every engine asks for), devices (the default policy must hold), the
 * freezer where there is no cgroup2, and others only when the configuration sets one of their limits. (A new cpu group takes no
 * real-time task, where the kernel shares real-time bandwidth out.) name=systemd is systemd's.
 *
 * Invariants:
 * 1. The list of directories is decided (and saved by the caller) before the first one is made: a crash leaves nothing unknown.
 * 2. On v1 a task enters by writing 0 into `tasks` itself. A pid in `cgroup.procs` makes the kernel wait for all of the
 *    machine's forks to drain (5 to 15 ms); a single thread that moves itself does not (0.03 ms). Only when a limit comes later
 *    (update) whose hierarchy the container is not in, its processes are moved that way; its cgroup namespace, if it has one, then shows
 *    that hierarchy's group by its whole path.
 * 3. On cgroup2 a task is born inside (clone3 CLONE_INTO_CGROUP).
 *
 * A relative or absent cgroupsPath is below /torpor. That base directory is left in place when its last container goes, so
 * that two commands never race about it. Not handled: the systemd manager; hierarchies mounted elsewhere than below
 * /sys/fs/cgroup; a cgroup2 in hybrid whose controllers are to be used. */
#include "cgroup/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "cgroup/internal.h"

#define LOG_PREFIX "cgroup"
#include "base/log.h"

#define ROOT "/sys/fs/cgroup"
#define GROUPS_MAX 16

const struct cgroup_ops cgroup_v1_ops = {
	"v1", cgroup_v1_apply, cgroup_v1_devices, cgroup_v1_freeze, cgroup_v1_frozen, cgroup_v1_kill,
};
const struct cgroup_ops cgroup_hybrid_ops = {
	"hybrid", cgroup_v1_apply, cgroup_v1_devices, cgroup_v2_freeze, cgroup_v2_frozen, cgroup_v2_kill,
};
const struct cgroup_ops cgroup_v2_ops = {
	"v2", cgroup_v2_apply, cgroup_v2_devices, cgroup_v2_freeze, cgroup_v2_frozen, cgroup_v2_kill,
};

const struct cgroup_ops *cgroup_ops_of(const struct spec_pairs *cgroups)
{
	if (!cgroup_path(cgroups, ""))
		return &cgroup_v1_ops;
	return cgroups->n == 1 ? &cgroup_v2_ops : &cgroup_hybrid_ops;
}

static bool is_fs(const char *path, long magic)
{
	struct statfs st;
	return statfs(path, &st) == 0 && st.f_type == magic;
}

enum cgroup_layout cgroup_host_layout(void)
{
	if (is_fs(ROOT, CGROUP2_SUPER_MAGIC))
		return CGROUP_V2;
	if (is_fs(ROOT "/unified", CGROUP2_SUPER_MAGIC))
		return CGROUP_HYBRID;
	return is_fs(ROOT "/memory", CGROUP_SUPER_MAGIC) || is_fs(ROOT "/freezer", CGROUP_SUPER_MAGIC) ? CGROUP_V1 : CGROUP_NONE;
}

/* "cpu" is in "cpu,cpuacct". */
static bool has_controller(const char *hierarchy, const char *controller)
{
	size_t n = strlen(controller);

	for (const char *at = hierarchy; (at = strstr(at, controller)); at += n)
		if ((at == hierarchy || at[-1] == ',') && (at[n] == 0 || at[n] == ','))
			return true;
	return false;
}

const char *cgroup_path(const struct spec_pairs *cgroups, const char *hierarchy)
{
	for (size_t i = 0; i < cgroups->n; i++) {
		const char *key = cgroups->data[i].key;
		if (*hierarchy ? has_controller(key, hierarchy) : !*key)
			return cgroups->data[i].value;
	}
	return NULL;
}

/* The path below a hierarchy: no "..", no empty or "." components. */
static int group_path(struct arena *arena, const struct spec *s, const char *id, char **out)
{
	const char *wanted = s->cgroups_path && *s->cgroups_path ? s->cgroups_path : id;
	char *clean = arena_alloc(arena, strlen(wanted) + sizeof "/torpor//"), *at = clean;

	if (*wanted != '/')
		at = stpcpy(at, "/torpor");
	for (const char *p = wanted; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.')
			return fail_text(EINVAL, "config.json: linux.cgroupsPath: \"%s\" has a \"..\" in it", wanted);
		if (n && !(n == 1 && *p == '.'))
			at += sprintf(at, "/%.*s", (int)n, p);
		p += n + (p[n] == '/');
	}
	if (at == clean)
		return fail_text(EINVAL, "config.json: linux.cgroupsPath: \"%s\" is the root of the hierarchy, not a group of its own", wanted);
	*out = clean;
	return 0;
}

/* Whether the configuration sets one of a v1 controller's limits. */
static bool v1_limited(const char *hierarchy, const struct spec_resources *r)
{
	const struct {
		const char *controller;
		bool limited;
	} all[] = {
		{ "cpu", r->has_cpu_shares || r->has_cpu_quota || r->has_cpu_period || r->has_cpu_burst || r->has_cpu_idle ||
				 r->has_cpu_rt_period || r->has_cpu_rt_runtime },
		{ "cpuset", r->cpuset_cpus || r->cpuset_mems },
		{ "hugetlb", r->n_hugepages },
		{ "net_cls", r->has_class_id },
		{ "net_prio", r->n_priorities },
		{ "rdma", r->n_rdma },
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].limited && has_controller(hierarchy, all[i].controller))
			return true;
	return false;
}

/* What a hierarchy is wanted for on v1. */
static bool v1_wanted(const char *hierarchy, const struct spec_resources *r, bool unified)
{
	static const char *const always[] = { "memory", "pids", "devices", "cpuacct", "blkio" };

	for (size_t i = 0; i < sizeof always / sizeof *always; i++)
		if (has_controller(hierarchy, always[i]))
			return true;
	return has_controller(hierarchy, "freezer") ? !unified : v1_limited(hierarchy, r);
}

static void add_pair(struct arena *arena, struct spec_pairs *list, const char *key, char *value)
{
	list->data[list->n].key = arena_str(arena, key);
	list->data[list->n++].value = value;
}

/* A hierarchy's mount point: systemd names it as the kernel does ("cpu,cpuacct") and adds a link per controller; others have a
 * directory per controller. */
static char *v1_mount(struct arena *arena, char *hierarchy)
{
	char *path = arena_printf(arena, ROOT "/%s", hierarchy);
	if (is_fs(path, CGROUP_SUPER_MAGIC))
		return path;
	char *comma = strchr(hierarchy, ',');
	path = arena_printf(arena, ROOT "/%.*s", comma ? (int)(comma - hierarchy) : 0, hierarchy);
	return comma && is_fs(path, CGROUP_SUPER_MAGIC) ? path : NULL;
}

static bool listed(const struct spec_pairs *cgroups, const char *hierarchy)
{
	for (size_t i = 0; i < cgroups->n; i++)
		if (!strcmp(cgroups->data[i].key, hierarchy))
			return true;
	return false;
}

/* /proc/self/cgroup: "ID:CONTROLLERS:PATH" per hierarchy. Adds those that are wanted and not in the list. */
static int plan_v1(struct arena *arena, const struct spec_resources *resources, const char *group, bool unified, struct spec_pairs *cgroups)
{
	autofree char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, "/proc/self/cgroup", &text, 1 << 20);
	if (n < 0)
		return fail((int)-n, "read /proc/self/cgroup");
	char *save, *line = strtok_r(text, "\n", &save);
	for (; line && cgroups->n < GROUPS_MAX; line = strtok_r(NULL, "\n", &save)) {
		char *name = strchr(line, ':');
		char *end = name ? strchr(++name, ':') : NULL;
		if (!end || end == name || str_starts(name, "name="))
			continue;
		*end = 0;
		char *mount = v1_wanted(name, resources, unified) && !listed(cgroups, name) ? v1_mount(arena, name) : NULL;
		if (mount)
			add_pair(arena, cgroups, name, arena_printf(arena, "%s%s", mount, group));
	}
	return 0;
}

int cgroup_plan(struct arena *arena, const struct spec *s, const char *id, struct spec_pairs *cgroups)
{
	enum cgroup_layout layout = cgroup_host_layout();
	char *group = NULL;
	int r = group_path(arena, s, id, &group);

	*cgroups = (struct spec_pairs){ .data = arena_array(arena, struct spec_pair, GROUPS_MAX) };
	if (r < 0)
		return r;
	switch (layout) {
	case CGROUP_NONE:
		r = fail_text(ENOENT, "no cgroups are mounted below " ROOT);
		fail_hint("mount cgroup2 there: mount -t cgroup2 none " ROOT);
		return r;
	case CGROUP_V2:
		add_pair(arena, cgroups, "", arena_printf(arena, ROOT "%s", group));
		return 0;
	case CGROUP_HYBRID:
		add_pair(arena, cgroups, "", arena_printf(arena, ROOT "/unified%s", group));
		break;
	case CGROUP_V1:
		break;
	}
	return plan_v1(arena, &s->resources, group, layout == CGROUP_HYBRID, cgroups);
}

/* The groups' path below the hierarchies, from one that is there. */
static const char *path_below(struct arena *arena, const struct spec_pair *group)
{
	const char *mount = *group->key ? v1_mount(arena, arena_str(arena, group->key)) : ROOT "/unified";

	return mount && str_starts(group->value, mount) ? group->value + strlen(mount) : NULL;
}

int cgroup_plan_more(struct arena *arena, struct spec_pairs *cgroups, const struct spec_resources *r)
{
	const struct cgroup_ops *ops = cgroup_ops_of(cgroups);
	size_t had = cgroups->n;

	if (!had || ops == &cgroup_v2_ops)
		return 0;
	const char *group = path_below(arena, &cgroups->data[had - 1]);
	if (!group)
		return 0;
	struct spec_pairs more = { arena_array(arena, struct spec_pair, GROUPS_MAX), had };
	memcpy(more.data, cgroups->data, had * sizeof *more.data);
	int done = plan_v1(arena, r, group, ops == &cgroup_hybrid_ops, &more);
	if (done < 0)
		return done;
	*cgroups = more;
	return (int)(more.n - had);
}

/* v1: a new cpuset has no processors and no memory, and takes no task until it has both. */
static int inherit_cpuset(const char *path)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	char at[PATH_MAX];

	for (size_t i = 0; i < 2; i++) {
		autofree char *value = NULL;
		snprintf(at, sizeof at, "%s/../%s", path, files[i]);
		ssize_t n = file_read(AT_FDCWD, at, &value, 1 << 16);
		if (n < 0)
			return fail((int)-n, "read %s", at);
		snprintf(at, sizeof at, "%s/%s", path, files[i]);
		int r = file_write(AT_FDCWD, at, value);
		if (r < 0)
			return fail(-r, "write %s", at);
	}
	return 0;
}

/* v2: a group can set limits only for controllers that its parent passes down. What cannot be passed down (because the parent
 * has processes of its own, or did not get it itself) matters only if a limit of it is wanted: that write then fails by name. */
static int pass_controllers(const char *path)
{
	char at[PATH_MAX], add[64];
	autofree char *have = NULL;

	snprintf(at, sizeof at, "%s/../cgroup.controllers", path);
	ssize_t n = file_read(AT_FDCWD, at, &have, 4096);
	if (n < 0)
		return fail((int)-n, "read %s", at);
	snprintf(at, sizeof at, "%s/../cgroup.subtree_control", path);
	autofree char *passed = NULL;
	if (file_read(AT_FDCWD, at, &passed, 4096) >= 0 && strcmp(passed, have) == 0)
		return 0;
	char *save, *word = strtok_r(have, " \n", &save);
	for (; word; word = strtok_r(NULL, " \n", &save)) {
		snprintf(add, sizeof add, "+%s", word);
		int r = file_write(AT_FDCWD, at, add);
		if (r < 0)
			log_debug("%s is not passed down at %s: %s", word, at, strerror(-r));
	}
	return 0;
}

static int check_empty(const char *dir)
{
	autofree pid_t *pids = NULL;
	ssize_t n = cgroup_list(dir, &pids);

	if (n <= 0)
		return (int)n;
	int r = fail_text(EBUSY, "cgroup %s has processes already (pid %d first)", dir, pids[0]);
	fail_hint("another container may be using this linux.cgroupsPath: each needs one of its own");
	return r;
}

static int make_one(const struct spec_pair *group, bool v2)
{
	bool made = false;
	int r = cgroup_mkdir(group->value, v2 ? pass_controllers : has_controller(group->key, "cpuset") ? inherit_cpuset : NULL, &made);

	return r < 0 || made ? r : check_empty(group->value);
}

static bool is_permission(int error)
{
	return error == -EACCES || error == -EPERM || error == -EROFS;
}

static int make_groups(struct spec_pairs *cgroups, bool if_allowed)
{
	bool v2 = cgroup_ops_of(cgroups) == &cgroup_v2_ops;
	size_t kept = 0;
	int done = 0;

	for (size_t i = 0; done >= 0 && i < cgroups->n; i++) {
		size_t mark = err_mark();
		done = make_one(&cgroups->data[i], v2);
		if (if_allowed && is_permission(done)) {
			err_rewind(mark);
			done = 0;
			continue;
		}
		cgroups->data[kept++] = cgroups->data[i];
	}
	if (done >= 0)
		cgroups->n = kept;
	return done;
}

/* Of a container without groups of its own: nothing can be limited, so a limit fails by its name. Engines write that there is none. */
static int check_unlimited(const struct spec_resources *r)
{
	const struct spec_pairs none = { 0 };
	struct spec_resources limits = *r;

	limits.has_disable_oom_killer &= r->disable_oom_killer;
	limits.has_pids_limit &= r->pids_limit > 0;
	return cgroup_v1_apply(&none, &limits);
}

static int set_all(const struct spec_pairs *cgroups, const struct spec_resources *r, bool if_allowed)
{
	const struct cgroup_ops *ops = cgroup_ops_of(cgroups);
	bool has_devices = ops == &cgroup_v2_ops || cgroup_path(cgroups, "devices");
	int done = has_devices || !if_allowed ? ops->devices(cgroups, r) : 0;

	return done < 0 ? done : ops->apply(cgroups, r);
}

/* What somebody else's processes are in stays: it cannot be removed. */
int cgroup_create(struct spec_pairs *cgroups, const struct spec_resources *r, bool if_allowed)
{
	int done = make_groups(cgroups, if_allowed);

	if (done >= 0)
		done = cgroups->n ? set_all(cgroups, r, if_allowed) : check_unlimited(r);
	for (size_t i = 0; done < 0 && i < cgroups->n; i++)
		rmdir(cgroups->data[i].value);
	return done;
}

int cgroup_apply(const struct spec_pairs *cgroups, const struct spec_resources *r)
{
	const struct cgroup_ops *ops = cgroup_ops_of(cgroups);

	if (!cgroups->n)
		return 0;
	int done = r->n_devices ? ops->devices(cgroups, r) : 0;
	return done < 0 ? done : ops->apply(cgroups, r);
}

/* Held still, no process forks out of the list. */
static int move_all(const struct spec_pairs *cgroups, const struct spec_pair *to)
{
	char path[PATH_MAX], text[16];
	autofree pid_t *pids = NULL;
	ssize_t n = cgroup_pids(cgroups, &pids);
	int done = n < 0 ? (int)n : 0;

	snprintf(path, sizeof path, "%s/cgroup.procs", to->value);
	for (ssize_t i = 0; done >= 0 && i < n; i++) {
		snprintf(text, sizeof text, "%d", pids[i]);
		done = file_write(AT_FDCWD, path, text);
		if (done < 0 && done != -ESRCH)
			return fail(-done, "move process %d into cgroup %s", pids[i], to->value);
		done = 0;
	}
	return done;
}

int cgroup_make_more(const struct spec_pairs *cgroups, size_t n)
{
	const struct spec_pairs had = { cgroups->data, cgroups->n - n };
	int was = cgroup_frozen(&had);
	int done = was == 0 ? cgroup_freeze(&had, true) : was;

	if (done < 0)
		return done;
	for (size_t i = had.n; done >= 0 && i < cgroups->n; i++) {
		done = make_one(&cgroups->data[i], false);
		if (done >= 0)
			done = move_all(&had, &cgroups->data[i]);
	}
	int thawed = was == 0 ? cgroup_freeze(&had, false) : 0;
	return done < 0 ? done : thawed;
}

static int sub_path(char out[PATH_MAX], const char *dir, const char *sub, const char *file)
{
	if (sub && (*sub == '/' || strstr(sub, "..")))
		return fail_text(EINVAL, "cgroup \"%s\" is not a path below the container's own", sub);
	int n = snprintf(out, PATH_MAX, "%s%s%s%s%s", dir, sub ? "/" : "", sub ? sub : "", *file ? "/" : "", file);
	return n < PATH_MAX ? 0 : fail(ENAMETOOLONG, "cgroup %s", dir);
}

int cgroup_join(const struct spec_pairs *cgroups, const char *sub)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < cgroups->n; i++) {
		if (!*cgroups->data[i].key)
			continue;
		int r = sub_path(path, cgroups->data[i].value, sub, "tasks");
		if (r < 0)
			return r;
		r = file_write(AT_FDCWD, path, "0");
		if (r < 0)
			return fail(-r, "join cgroup %s", path);
	}
	return 0;
}

int cgroup_open_unified(const struct spec_pairs *cgroups, const char *sub)
{
	char path[PATH_MAX];
	const char *dir = cgroup_path(cgroups, "");

	if (!dir)
		return -ENOENT;
	int r = sub_path(path, dir, sub, "");
	if (r < 0)
		return r;
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? fail(errno, "open cgroup %s", path) : fd;
}

int cgroup_unified_of(const struct spec_pairs *cgroups, pid_t pid, char **path)
{
	const char *dir = cgroup_path(cgroups, ""), *mount = cgroup_ops_of(cgroups) == &cgroup_v2_ops ? ROOT : ROOT "/unified";
	autofree char *text = NULL;
	char *save;

	*path = NULL;
	if (!dir || proc_read(pid, "cgroup", &text) < 0)
		return -ENOENT;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		autofree char *is = str_starts(line, "0::") ? str_printf("%s%s", mount, line + strlen("0::")) : NULL;
		if (is && str_starts(is, dir) && is[strlen(dir)] == '/') {
			*path = is;
			is = NULL;
			return 0;
		}
	}
	return -ENOENT;
}

/* cgroup2 sees all tasks; on v1 the freezer's hierarchy is the one nobody else moves tasks in. */
ssize_t cgroup_pids(const struct spec_pairs *cgroups, pid_t **pids)
{
	const char *dir = cgroup_path(cgroups, "");

	*pids = NULL;
	if (!dir)
		dir = cgroup_path(cgroups, "freezer");
	if (!dir && cgroups->n)
		dir = cgroups->data[0].value;
	return dir ? cgroup_list(dir, pids) : 0;
}

int cgroup_freeze(const struct spec_pairs *cgroups, bool frozen)
{
	return cgroups->n ? cgroup_ops_of(cgroups)->freeze(cgroups, frozen) : 0;
}

int cgroup_frozen(const struct spec_pairs *cgroups)
{
	return cgroups->n ? cgroup_ops_of(cgroups)->frozen(cgroups) : 0;
}

/* Signals other than SIGKILL go to the processes there are, all of them held still meanwhile. */
static int signal_all(const struct spec_pairs *cgroups, int sig)
{
	autofree pid_t *pids = NULL;
	int was = cgroup_frozen(cgroups);
	int r = was == 0 ? cgroup_freeze(cgroups, true) : was;
	if (r < 0)
		return r;
	ssize_t n = cgroup_pids(cgroups, &pids);
	for (ssize_t i = 0; i < n; i++)
		if (kill(pids[i], sig) < 0 && errno != ESRCH)
			r = fail(errno, "send signal %d to pid %d", sig, pids[i]);
	int thawed = was == 0 ? cgroup_freeze(cgroups, false) : 0;
	return n < 0 ? (int)n : r < 0 ? r : thawed;
}

int cgroup_kill(const struct spec_pairs *cgroups, int sig)
{
	if (!cgroups->n)
		return 0;
	return sig == SIGKILL ? cgroup_ops_of(cgroups)->kill(cgroups) : signal_all(cgroups, sig);
}
