/* SPDX-License-Identifier: Apache-2.0 */
/* Freezing and killing all tasks of a container.
 *
 * cgroup2: cgroup.freeze takes 1 or 0; cgroup.events says "frozen 1" once every task has stopped, and poll() waits for it. A frozen
 * task can be killed and can be seized by ptrace. cgroup.kill (5.14) kills every task, those being forked meanwhile included.
 *
 * v1: freezer.state takes FROZEN or THAWED and reads FREEZING while a task is on its way. There is no event, and a task that
 * entered the group meanwhile can leave the state at FREEZING until FROZEN is written once more, so it is written again on
 * every look. Killing is: freeze, signal all, thaw (a frozen v1 task dies only when thawed). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"

#define FREEZE_MS 10000

static int write_file(const char *dir, const char *file, const char *value)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", dir, file);
	return file_write(AT_FDCWD, path, value);
}

int cgroup_v2_freeze(const struct spec_pairs *cgroups, bool frozen)
{
	const char *dir = cgroup_path(cgroups, "");
	int r = write_file(dir, "cgroup.freeze", frozen ? "1" : "0");

	if (r < 0)
		return fail(-r, "%s cgroup %s", frozen ? "freeze" : "thaw", dir);
	r = cgroup_wait_event(dir, "frozen", frozen, FREEZE_MS);
	if (r == 0)
		return 0;
	if (frozen)
		write_file(dir, "cgroup.freeze", "0");
	return fail(-r, "wait until cgroup %s is %s", dir, frozen ? "frozen" : "thawed");
}

static int read_word(const char *dir, const char *file, char **text)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", dir, file);
	ssize_t n = file_read(AT_FDCWD, path, text, 4096);
	return n < 0 ? fail((int)-n, "read %s", path) : 0;
}

int cgroup_v2_frozen(const struct spec_pairs *cgroups)
{
	autofree char *text = NULL;
	int r = read_word(cgroup_path(cgroups, ""), "cgroup.freeze", &text);
	return r < 0 ? r : *text == '1';
}

static const char *freezer(const struct spec_pairs *cgroups)
{
	const char *dir = cgroup_path(cgroups, "freezer");
	if (!dir)
		fail_text(EOPNOTSUPP, "the container has no cgroup that can be frozen: neither cgroup2 nor the freezer controller is mounted");
	return dir;
}

int cgroup_v1_freeze(const struct spec_pairs *cgroups, bool frozen)
{
	const char *dir = freezer(cgroups), *wanted = frozen ? "FROZEN" : "THAWED";
	struct timespec pause = { .tv_nsec = 200000 };

	if (!dir)
		return -EOPNOTSUPP;
	for (int64_t waited = 0; waited < FREEZE_MS * 1000000ll; waited += pause.tv_nsec) {
		autofree char *state = NULL;
		int r = write_file(dir, "freezer.state", wanted);
		if (r < 0)
			return fail(-r, "%s cgroup %s", frozen ? "freeze" : "thaw", dir);
		r = read_word(dir, "freezer.state", &state);
		if (r < 0 || str_starts(state, wanted))
			return r;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 10000000)
			pause.tv_nsec *= 2;
	}
	if (frozen)
		write_file(dir, "freezer.state", "THAWED");
	return fail(ETIMEDOUT, "wait until cgroup %s is %s", dir, wanted);
}

int cgroup_v1_frozen(const struct spec_pairs *cgroups)
{
	const char *dir = cgroup_path(cgroups, "freezer");
	autofree char *state = NULL;

	if (!dir)
		return 0;
	int r = read_word(dir, "freezer.state", &state);
	return r < 0 ? r : !str_starts(state, "THAWED");
}

/* Holds all still, so that none forks out of the list, and kills them. freeze: NULL where there is nothing to hold them with. */
static int kill_frozen(const struct spec_pairs *cgroups, int (*freeze)(const struct spec_pairs *cgroups, bool frozen))
{
	autofree pid_t *pids = NULL;
	int r = freeze ? freeze(cgroups, true) : 0;

	if (r < 0)
		return r;
	ssize_t n = cgroup_pids(cgroups, &pids);
	for (ssize_t i = 0; i < n; i++)
		if (kill(pids[i], SIGKILL) < 0 && errno != ESRCH)
			r = fail(errno, "kill pid %d", pids[i]);
	int thawed = freeze ? freeze(cgroups, false) : 0;
	return n < 0 ? (int)n : r < 0 ? r : thawed;
}

int cgroup_v1_kill(const struct spec_pairs *cgroups)
{
	return kill_frozen(cgroups, cgroup_path(cgroups, "freezer") ? cgroup_v1_freeze : NULL);
}

/* Kernels before 5.14 have no cgroup.kill; frozen cgroup2 tasks die at once. */
int cgroup_v2_kill(const struct spec_pairs *cgroups)
{
	const char *dir = cgroup_path(cgroups, "");
	int r = write_file(dir, "cgroup.kill", "1");

	if (r == 0 || access(dir, F_OK) < 0)   /* a group that is gone has nobody in it */
		return 0;
	return r == -ENOENT ? kill_frozen(cgroups, cgroup_v2_freeze) : fail(-r, "kill the processes of cgroup %s", dir);
}
