/* SPDX-License-Identifier: Apache-2.0 */
/* Where and how urgently a thread runs besides its scheduling policy: CPU affinity and I/O priority, asked and set from outside.
 *
 * CRIU's format has no place for them; they are in fields of torpor's own, which other readers skip. Each is there only if it
 * is not the default: a program that may run everywhere shall run everywhere on another machine as well. Everywhere is what its
 * cpuset allows (the control group's, looked for below /sys/fs/cgroup; without one, all processors that are online).
 *
 * On a machine with other processors an affinity that cannot be had is left away, with a warning. */
#define LOG_PREFIX "task"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "task/subject.h"

#define CPUS_MAX 8192
#define WORDS (CPUS_MAX / 64)
#define ONLINE "/sys/devices/system/cpu/online"
#define IO_CLASS_SHIFT 13
#define IO_WHO_PROCESS 1

struct cpus {
	uint64_t words[WORDS];
};

/* "0-3,8": 0, or a bare -errno. */
static int parse_list(const char *text, struct cpus *c)
{
	memset(c, 0, sizeof *c);
	while (*text && *text != '\n') {
		char *end;
		unsigned long from = strtoul(text, &end, 10), to = from;
		if (end == text)
			return -EPROTO;
		if (*end == '-')
			to = strtoul(end + 1, &end, 10);
		for (; from <= to && from < CPUS_MAX; from++)
			c->words[from / 64] |= 1ull << from % 64;
		text = *end == ',' ? end + 1 : end;
	}
	return 0;
}

static int read_list(const char *path, struct cpus *c)
{
	autofree char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text, 1u << 16);

	return n < 0 ? (int)n : n < 2 ? -ENODATA : parse_list(text, c);
}

/* The group's path in a hierarchy: the line "N:cpuset:PATH" or "0::PATH" of /proc/PID/cgroup. */
static char *group_path(const char *groups, const char *key)
{
	const char *at = strstr(groups, key);

	return at ? str_printf("%.*s", (int)strcspn(at + strlen(key), "\n"), at + strlen(key)) : NULL;
}

/* The nearest group that says so: without the controller, one has no file of it. */
static int ask_groups(const char *mount, char *path, const char *file, struct cpus *c)
{
	for (;;) {
		autofree char *name = str_printf("%s%s/%s", mount, path, file);
		int r = read_list(name, c);
		char *slash = strrchr(path, '/');
		if (r == 0 || !slash)
			return r;
		*slash = 0;
	}
}

static int allowed_cpus(pid_t pid, struct cpus *c)
{
	autofree char *groups = NULL;
	int r = -ENOENT;

	if (proc_read(pid, "cgroup", &groups) > 0) {
		autofree char *v1 = group_path(groups, ":cpuset:"), *v2 = group_path(groups, "0::");
		if (v1)
			r = ask_groups("/sys/fs/cgroup/cpuset", v1, "cpuset.effective_cpus", c);
		else if (v2)
			r = ask_groups("/sys/fs/cgroup", v2, "cpuset.cpus.effective", c);
	}
	return r == 0 ? 0 : read_list(ONLINE, c);
}

/* Asked once: nearly all threads may run everywhere. */
static const struct cpus *online_cpus(struct dump *d)
{
	struct task_facts *f = task_facts(d);

	if (!f->online) {
		f->online = arena_new(d->arena, struct cpus);
		if (read_list(ONLINE, f->online) < 0)
			memset(f->online, 0, sizeof *f->online);
	}
	return f->online;
}

static int affinity_dump(struct dump *d, struct thread *th, ThreadCoreEntry *e)
{
	struct cpus own = { 0 }, allowed;
	long n = syscall(SYS_sched_getaffinity, th->host_tid, sizeof own, &own);

	if (n < 0)
		return fail(errno, "read the CPU affinity of " THREAD_FMT, THREAD_ARG(th));
	if (!memcmp(&own, online_cpus(d), sizeof own))
		return 0;
	if (allowed_cpus(th->host_tid, &allowed) < 0 || !memcmp(&own, &allowed, sizeof own))
		return 0;
	for (size_t i = WORDS; i-- > 0 && !e->n_torpor_affinity;)
		e->n_torpor_affinity = own.words[i] ? i + 1 : 0;
	e->torpor_affinity = arena_dup(d->arena, own.words, e->n_torpor_affinity * sizeof *own.words);
	return 0;
}

int place_dump(struct dump *d, struct thread *th, ThreadCoreEntry *e)
{
	long priority = syscall(SYS_ioprio_get, IO_WHO_PROCESS, th->host_tid);

	e->has_torpor_io_priority = priority > 0 && priority >> IO_CLASS_SHIFT;
	e->torpor_io_priority = e->has_torpor_io_priority ? (uint32_t)priority : 0;
	return affinity_dump(d, th, e);
}

/* --- restore --- */

static void affinity_restore(struct thread *th, const ThreadCoreEntry *e)
{
	struct cpus c = { 0 };

	if (!e->n_torpor_affinity)
		return;
	memcpy(c.words, e->torpor_affinity, (e->n_torpor_affinity < WORDS ? e->n_torpor_affinity : WORDS) * sizeof *c.words);
	if (syscall(SYS_sched_setaffinity, th->host_tid, sizeof c, &c) < 0)
		log_warn(THREAD_FMT " may run on all processors: its CPU affinity cannot be had here (%s)", THREAD_ARG(th), strerror(errno));
}

void place_restore(struct thread *th)
{
	const ThreadCoreEntry *e = th->core->thread_core;

	affinity_restore(th, e);
	if (e->has_torpor_io_priority && syscall(SYS_ioprio_set, IO_WHO_PROCESS, th->host_tid, e->torpor_io_priority) < 0)
		log_warn(THREAD_FMT " does not have its I/O priority %#x: %s", THREAD_ARG(th), e->torpor_io_priority, strerror(errno));
}
