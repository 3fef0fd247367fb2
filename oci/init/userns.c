/* SPDX-License-Identifier: Apache-2.0 */
/* User namespaces: maps, and what a process must get before it is inside.
 *
 * A new one is made by the clone, together with the pid namespace (which it must own, or its proc could not be mounted). The child then
 * has all capabilities there and nobody's ids; the runtime gives it its maps, and what needs privileges on the host: limits above its
 * own, OOM score, scheduling, stdio that belong to its user. At GO the child becomes root of the namespace and goes on.
 *
 * Who may write maps: one with CAP_SETUID and CAP_SETGID in the parent namespace any; another user his own id alone (for the group only
 * when setgroups() is given up), and ranges of /etc/subuid and /etc/subgid through newuidmap and newgidmap, which are set-uid programs.
 * In that order it is tried. /proc/PID belongs to the user only while the child is dumpable (namespaces.c).
 *
 * A namespace that is joined has its maps; those of the configuration must be the same. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"
#include "init/internal.h"

bool oci_unprivileged(void)
{
	autofree char *text = NULL;
	uint64_t inside, outside, size;

	if (geteuid() != 0)
		return true;
	return proc_read(getpid(), "uid_map", &text) > 0 &&
		(sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &inside, &outside, &size) != 3 || inside || outside || size < UINT32_MAX);
}

/* newuidmap PID CONTAINER HOST SIZE… */
static int run_helper(const char *helper, pid_t pid, const struct spec_id_maps *maps)
{
	autofree char **argv = mem_zalloc((3 + 3 * maps->n) * sizeof *argv);
	struct arena arena = { 0 };
	size_t n = 0;
	pid_t child;
	int status = 0;

	argv[n++] = arena_str(&arena, helper);
	argv[n++] = arena_printf(&arena, "%d", pid);
	for (size_t i = 0; i < maps->n; i++) {
		argv[n++] = arena_printf(&arena, "%u", maps->data[i].container);
		argv[n++] = arena_printf(&arena, "%u", maps->data[i].host);
		argv[n++] = arena_printf(&arena, "%u", maps->data[i].size);
	}
	int err = posix_spawnp(&child, helper, NULL, NULL, argv, environ);
	arena_done(&arena);
	if (err) {
		int r = fail(err, "run %s, which this user's id maps need", helper);
		fail_hint("install it (package uidmap), or map only the user's own id");
		return r;
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 :
		fail_text(EPERM, "%s refused the id maps of linux.%cidMappings (are the ranges in /etc/sub%cid?)", helper, helper[3], helper[3]);
}

static bool is_own_id(const struct spec_id_maps *maps, uint32_t id)
{
	return maps->n == 1 && maps->data[0].size == 1 && maps->data[0].host == id;
}

static int write_file(pid_t pid, const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	return file_write(AT_FDCWD, path, text);
}

static int set_map(pid_t pid, bool groups, const struct spec_id_maps *maps)
{
	autofree char *text = spec_id_map_text(maps);
	const char *file = groups ? "gid_map" : "uid_map";
	int r = write_file(pid, file, text);

	if (r == -EPERM && groups && is_own_id(maps, getegid())) {
		r = write_file(pid, "setgroups", "deny");
		if (r >= 0)
			r = write_file(pid, file, text);
	}
	if (r == -EPERM)
		return run_helper(groups ? "newgidmap" : "newuidmap", pid, maps);
	return r < 0 ? fail(-r, "linux.%s: write the maps", groups ? "gidMappings" : "uidMappings") : 0;
}

static int oom_score(const struct spec_process *p, pid_t pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
	return oom_score_set(AT_FDCWD, path, p);
}

int userns_settle(const struct init *i, pid_t pid)
{
	const struct spec *s = i->spec;
	bool is_new = !s->namespaces[NS_USER].path;
	int r = is_new ? set_map(pid, false, &s->uids) : 0;

	if (r >= 0 && is_new)
		r = set_map(pid, true, &s->gids);
	if (r >= 0)
		r = rlimits_raise(pid, i->process);
	if (r >= 0)
		r = oom_score(i->process, pid);
	if (r >= 0)
		r = attributes_schedule(i->process, pid);
	uint32_t owner = spec_host_id(&s->uids, i->process->uid);
	if (r >= 0 && owner != UINT32_MAX && geteuid() == 0)
		r = process_give_stdio(owner);
	return r < 0 ? r : channel_go(i->runtime_sock);
}

/* The kernel's table of maps, blanks and all, against the configuration's. */
static int compare_map(int proc, const char *file, const char *property, const struct spec_id_maps *maps)
{
	autofree char *text = NULL;
	uint32_t inside, outside, size;
	int n, at = 0;

	if (!maps->n)
		return 0;
	if (file_read(proc, file, &text, 1 << 20) < 0)
		return fail(EIO, "read the maps of the user namespace");
	for (size_t i = 0; i < maps->n; i++, at += n)
		if (sscanf(text + at, "%u %u %u%n", &inside, &outside, &size, &n) != 3 || inside != maps->data[i].container ||
			outside != maps->data[i].host || size != maps->data[i].size)
			return fail_text(EINVAL, "linux.%s: not the maps of the user namespace that is joined", property);
	return 0;
}

/* An id 0 that the maps leave out stays nobody's; groups that cannot be given up stay (of a user whose namespace has no setgroups). */
int userns_become_root(const struct init *i)
{
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return fail(errno, "user namespace: give up the groups");
	if ((syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0) && errno != EINVAL)
		return fail(errno, "user namespace: become its root");
	prctl(PR_SET_DUMPABLE, i->target < 0 && i->unprivileged, 0, 0, 0);   /* so that /proc/self is the user's until namespaces are set up */
	return 0;
}

int userns_enter(const struct init *i)
{
	const struct spec *s = i->spec;
	int r;

	if (!s->namespaces[NS_USER].wanted)
		return 0;
	r = channel_wait_go(i->sock);
	if (r >= 0 && s->namespaces[NS_USER].path) {
		r = compare_map(i->proc, "self/uid_map", "uidMappings", &s->uids);
		if (r >= 0)
			r = compare_map(i->proc, "self/gid_map", "gidMappings", &s->gids);
	}
	return r < 0 ? r : userns_become_root(i);
}
