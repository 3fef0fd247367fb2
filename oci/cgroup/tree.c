/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of a cgroup hierarchy: making, listing their processes, removing.
 *
 * A group can be removed when it has no sub-groups and no live tasks; zombies do not count (they leave the group when they
 * exit), but a task that was just sent SIGKILL is in it until it has died. On cgroup2 the file cgroup.events tells when the last
 * one went, and poll() on it waits for that; v1 has nothing to wait on, so the removal is tried again with growing pauses. In
 * hybrid the cgroup2 directory is first in the list, so its event covers the v1 ones: the same tasks are in all of them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "cgroup/internal.h"

#define WAIT_MS 10000   /* for killed tasks: one in uninterruptible sleep may take long */
#define DEPTH_MAX 32

int cgroup_mkdir(const char *path, int (*each)(const char *path), bool *made)
{
	bool above;

	*made = mkdir(path, 0755) == 0;
	if (*made)
		return each ? each(path) : 0;
	if (errno == EEXIST)
		return 0;
	const char *slash = strrchr(path, '/');
	if (errno != ENOENT || !slash || slash == path)
		return fail(errno, "make cgroup %s", path);
	autofree char *parent = strndup(path, (size_t)(slash - path));
	int r = cgroup_mkdir(parent, each, &above);
	if (r < 0)
		return r;
	*made = mkdir(path, 0755) == 0;
	if (!*made)
		return errno == EEXIST ? 0 : fail(errno, "make cgroup %s", path);
	return each ? each(path) : 0;
}

typedef ARRAY(pid_t) pid_array;

static int read_procs(const char *dir, pid_array *pids)
{
	char path[PATH_MAX];
	autofree char *text = NULL;

	snprintf(path, sizeof path, "%s/cgroup.procs", dir);
	ssize_t n = file_read(AT_FDCWD, path, &text, 64 << 20);
	if (n == -EOPNOTSUPP)   /* a threaded sub-group: its processes are listed by the domain above */
		return 0;
	if (n < 0)
		return n == -ENOENT || n == -ENODEV ? 0 : fail((int)-n, "read %s", path);
	for (char *at = text, *end; *at; at = end) {
		long pid = strtol(at, &end, 10);
		if (end == at)
			break;
		if (pid > 0)   /* 0: a process that this pid namespace cannot see */
			array_push(pids) = (pid_t)pid;
	}
	return 0;
}

static int is_child(const struct dirent *e)
{
	return e->d_type == DT_DIR && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

/* Calls each() for the directory and those below it, deepest first. */
static int walk(const char *dir, unsigned depth, int (*each)(const char *dir, void *arg), void *arg)
{
	char path[PATH_MAX];
	struct stat st;

	/* The link count of a v1 or v2 directory is 2 + its sub-groups: most have none, and need no listing. */
	if (stat(dir, &st) < 0)
		return errno == ENOENT ? 0 : fail(errno, "cgroup %s", dir);
	DIR *d = st.st_nlink > 2 && depth < DEPTH_MAX ? opendir(dir) : NULL;
	int r = 0;
	for (struct dirent *e; d && r >= 0 && (e = readdir(d));)
		if (is_child(e) && snprintf(path, sizeof path, "%s/%s", dir, e->d_name) < (int)sizeof path)
			r = walk(path, depth + 1, each, arg);
	if (d)
		closedir(d);
	return r < 0 ? r : each(dir, arg);
}

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
	return (x > y) - (x < y);
}

static int collect(const char *dir, void *arg)
{
	return read_procs(dir, arg);
}

ssize_t cgroup_list(const char *path, pid_t **pids)
{
	pid_array a = { 0 };
	int r = walk(path, 0, collect, &a);

	if (r < 0) {
		array_free(&a);
		return r;
	}
	if (a.n)
		qsort(a.data, a.n, sizeof *a.data, compare_pids);
	*pids = a.data;
	return (ssize_t)a.n;
}

/* "KEY VALUE" on a line of cgroup.events. */
static bool event_is(const char *text, const char *key, int value)
{
	size_t n = strlen(key);
	for (const char *at = text; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (strncmp(at, key, n) == 0 && at[n] == ' ')
			return atoi(at + n) == value;
	return false;
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int cgroup_wait_event(const char *dir, const char *key, int value, int timeout_ms)
{
	char path[PATH_MAX], text[256];
	int64_t deadline = now_ms() + timeout_ms;

	snprintf(path, sizeof path, "%s/cgroup.events", dir);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = pread(fd, text, sizeof text - 1, 0);
		if (n < 0)
			return errno == ENODEV ? -ENOENT : -errno;
		text[n] = 0;
		if (event_is(text, key, value))
			return 0;
		int64_t left = deadline - now_ms();
		struct pollfd p = { .fd = fd, .events = POLLPRI };
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
	}
}

static int remove_one(const char *dir, void *arg)
{
	(void)arg;
	return rmdir(dir) == 0 || errno == ENOENT ? 0 : -errno;
}

int cgroup_rmdir(const char *path)
{
	return walk(path, 0, remove_one, NULL);
}

/* v1 only has trying again: 1, 2, 4 … 64 ms, then every 64. */
static int remove_patiently(const char *dir, bool unified)
{
	int64_t deadline = now_ms() + WAIT_MS;
	struct timespec pause = { .tv_nsec = 1000000 };
	int r;

	while ((r = cgroup_rmdir(dir)) == -EBUSY && now_ms() < deadline) {
		if (unified && cgroup_wait_event(dir, "populated", 0, (int)(deadline - now_ms())) == -ETIMEDOUT)
			break;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 64000000)
			pause.tv_nsec *= 2;
	}
	if (r >= 0)
		return 0;
	if (r != -EBUSY)
		return fail(-r, "remove cgroup %s", dir);
	autofree pid_t *pids = NULL;
	ssize_t n = cgroup_list(dir, &pids);
	return n > 0 ? fail_text(EBUSY, "remove cgroup %s: %zd processes are still in it (pid %d first)", dir, n, pids[0])
		     : fail(EBUSY, "remove cgroup %s", dir);
}

int cgroup_remove(const struct spec_pairs *cgroups)
{
	int first = 0;

	for (size_t i = 0; i < cgroups->n; i++) {
		int r = remove_patiently(cgroups->data[i].value, !*cgroups->data[i].key);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}
