/* SPDX-License-Identifier: Apache-2.0 */
/* A container's cgroups: making, entering, and the table of layouts. Where they are is decided before (plan.c).
 *
 * Three layouts of one file tree at /sys/fs/cgroup:
 *   v2      cgroup2 is mounted there; one directory has everything.
 *   v1      a tmpfs with one hierarchy per controller (or group of controllers) below it.
 *   hybrid  v1, and a cgroup2 without (most) controllers at `unified`. Limits are set in the v1 hierarchies. Freezing and killing
 *           are done in the cgroup2 one, always: a task in a frozen v1 group cannot be seized by ptrace, a task in a frozen cgroup2
 *           can, and only cgroup2 has cgroup.kill and a file that tells when the last task has gone.
 *
 * Invariants:
 * 1. The list of directories is decided (and saved by the caller) before the first one is made: a crash leaves nothing unknown.
 * 2. On v1 a task enters by writing 0 into `tasks` itself. A pid in `cgroup.procs` makes the kernel wait for all of the
 *    machine's forks to drain (5 to 15 ms); a single thread that moves itself does not (0.03 ms). Only when a limit comes later
 *    (update) whose hierarchy the container is not in, its processes are moved that way; its cgroup namespace, if it has one, then shows
 *    that hierarchy's group by its whole path.
 * 3. On cgroup2 a task is born inside (clone3 CLONE_INTO_CGROUP). */
#include "cgroup/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "cgroup/internal.h"

#define LOG_PREFIX "cgroup"
#include "base/log.h"

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

bool cgroup_has_controller(const char *hierarchy, const char *controller)
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
		if (*hierarchy ? cgroup_has_controller(key, hierarchy) : !*key)
			return cgroups->data[i].value;
	}
	return NULL;
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
	int r = cgroup_mkdir(group->value, v2 ? pass_controllers : cgroup_has_controller(group->key, "cpuset") ? inherit_cpuset : NULL, &made);

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
	return cgroup_v1_apply(&(struct cgroup_target){ .groups = &none }, &limits);
}

static int set_all(const struct spec_pairs *cgroups, const struct spec_resources *r, bool if_allowed)
{
	const struct cgroup_ops *ops = cgroup_ops_of(cgroups);
	bool has_devices = ops == &cgroup_v2_ops || cgroup_path(cgroups, "devices");
	int done = has_devices || !if_allowed ? ops->devices(cgroups, r) : 0;

	return done < 0 ? done : ops->apply(&(struct cgroup_target){ .groups = cgroups }, r);
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

int cgroup_apply(const struct spec_pairs *cgroups, const struct spec_resources *r, struct cgroup_journal *before)
{
	return cgroups->n ? cgroup_ops_of(cgroups)->apply(&(struct cgroup_target){ cgroups, before }, r) : 0;
}

int cgroup_apply_devices(const struct spec_pairs *cgroups, const struct spec_resources *r)
{
	return cgroups->n && r->n_devices ? cgroup_ops_of(cgroups)->devices(cgroups, r) : 0;
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
	if (sub && (*sub == '/' || path_goes_up(sub)))
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
	const char *dir = cgroup_path(cgroups, ""), *mount = cgroup_ops_of(cgroups) == &cgroup_v2_ops ? CGROUP_ROOT : CGROUP_ROOT "/unified";
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
