/* SPDX-License-Identifier: Apache-2.0 */
/* Reading /proc (proc(5)). Text files are read whole: the kernel gives a consistent view only within one read. */
#include "base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define TEXT_MAX (256u << 20)   /* maps of a program with a million mappings */

static void proc_path(char out[PATH_MAX], pid_t pid, const char *name)
{
	snprintf(out, PATH_MAX, "/proc/%d%s%s", pid, name ? "/" : "", name ? name : "");
}

#define PF_EXITING 4u         /* linux/sched.h, a field of /proc/PID/stat */
#define PF_FORKNOEXEC 0x40u   /* from fork() to execve() */

int proc_open(pid_t pid, const char *name)
{
	char path[PATH_MAX];
	proc_path(path, pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

ssize_t proc_read(pid_t pid, const char *name, char **text)
{
	char path[PATH_MAX];
	proc_path(path, pid, name);
	return file_read(AT_FDCWD, path, text, TEXT_MAX);
}

int proc_readlink(pid_t pid, const char *name, char **target)
{
	char path[PATH_MAX], to[PATH_MAX];
	proc_path(path, pid, name);
	ssize_t n = readlink(path, to, sizeof to - 1);
	if (n < 0)
		return -errno;
	to[n] = 0;
	*target = str_dup(to);
	return 0;
}

int proc_ns_inode(pid_t pid, const char *name, uint64_t *inode)
{
	char path[PATH_MAX];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, name);
	if (stat(path, &st) < 0)
		return -errno;
	*inode = st.st_ino;
	return 0;
}

ssize_t proc_ns_links(pid_t pid, char **text)
{
	static const char *const names[] = { "pid", "net", "ipc", "uts", "time", "mnt", "user", "cgroup" };
	char path[PATH_MAX], all[512];
	size_t n = 0;

	proc_path(path, pid, "ns");
	autoclose int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		ssize_t got = readlinkat(dir, names[i], all + n, 64);
		if (got < 0 && errno == ENOENT)   /* a kernel without this kind */
			continue;
		if (got < 0)
			return -errno;
		n += (size_t)got;
		all[n++] = ' ';
	}
	all[n] = 0;
	*text = str_dup(all);
	return (ssize_t)n;
}

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;
	return (x > y) - (x < y);
}

ssize_t proc_numbers(pid_t pid, const char *name, int **list)
{
	char path[PATH_MAX];
	ARRAY(int) a = { 0 };

	if (name)
		proc_path(path, pid, name);
	else
		snprintf(path, sizeof path, "/proc");
	DIR *d = opendir(path);
	if (!d)
		return -errno;
	for (struct dirent *e; (e = readdir(d));) {
		uint64_t v;
		if (parse_u64(e->d_name, 10, &v) == 0 && v <= INT_MAX)
			array_push(&a) = (int)v;
	}
	closedir(d);
	if (a.n)
		qsort(a.data, a.n, sizeof *a.data, compare_ints);
	*list = a.data;
	return (ssize_t)a.n;
}

struct pids {
	ARRAY(pid_t) list;
};

static int add_children(pid_t pid, int tid, struct pids *to)
{
	char name[64];
	autofree char *text = NULL;

	snprintf(name, sizeof name, "task/%d/children", tid);
	ssize_t len = proc_read(pid, name, &text);
	if (len == -ENOENT || len == -ESRCH)
		return 0;   /* that thread has gone */
	if (len < 0)
		return (int)len;
	char *at = text, *end;
	for (long v; (v = strtol(at, &end, 10)) > 0 && end != at; at = end)
		array_push(&to->list) = (pid_t)v;
	return 0;
}

static ssize_t children_of(pid_t pid, const int *tids, size_t n, pid_t **list)
{
	struct pids a = { 0 };
	int r = 0;

	for (size_t i = 0; i < n && r >= 0; i++)
		r = add_children(pid, tids[i], &a);
	if (r < 0) {
		free(a.list.data);
		return r;
	}
	if (a.list.n)
		qsort(a.list.data, a.list.n, sizeof *a.list.data, compare_ints);
	*list = a.list.data;
	return (ssize_t)a.list.n;
}

ssize_t proc_thread_children(pid_t pid, pid_t **list)
{
	return children_of(pid, &pid, 1, list);
}

ssize_t proc_children(pid_t pid, pid_t **list)
{
	autofree int *tids = NULL;
	ssize_t n = proc_numbers(pid, "task", &tids);

	return n < 0 ? n : children_of(pid, tids, (size_t)n, list);
}

const char *proc_field(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (strncmp(line, key, len) == 0 && line[len] == ':') {
			line += len + 1;
			return line + strspn(line, " \t");
		}
	}
	return NULL;
}

bool proc_field_u64(const char *text, const char *key, int base, uint64_t *value)
{
	const char *at = proc_field(text, key);
	char *end;

	if (!at)
		return false;
	errno = 0;
	*value = strtoull(at, &end, base);
	return end != at && !errno;
}

int proc_stat_parse(const char *text, struct proc_stat *s)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	uint64_t f[60] = { 0 };

	memset(s, 0, sizeof *s);
	if (!open || !close || close < open || !close[1] || !close[2])
		return -EBADMSG;
	size_t len = (size_t)(close - open - 1);
	if (len >= sizeof s->comm)
		len = sizeof s->comm - 1;
	memcpy(s->comm, open + 1, len);
	s->state = close[2];
	const char *at = close + 3;
	int n = 4;   /* proc(5) numbers the fields from 1; ppid is the fourth */
	for (char *end; n < 60; n++, at = end) {
		f[n] = (uint64_t)strtoll(at, &end, 10);
		if (f[n] == (uint64_t)INT64_MAX)
			f[n] = strtoull(at, &end, 10);
		if (end == at)
			break;
	}
	if (n < 53)
		return -EBADMSG;
	s->ppid = (pid_t)f[4];
	s->pgrp = (pid_t)f[5];
	s->session = (pid_t)f[6];
	s->tty_nr = (int)f[7];
	s->tpgid = (pid_t)f[8];
	s->flags = (unsigned)f[9];
	s->nice = (int64_t)f[19];
	s->starttime = f[22];
	s->start_code = f[26];
	s->end_code = f[27];
	s->start_stack = f[28];
	s->start_data = f[45];
	s->end_data = f[46];
	s->exit_signal = (int)f[38];
	s->start_brk = f[47];
	s->arg_start = f[48];
	s->arg_end = f[49];
	s->env_start = f[50];
	s->env_end = f[51];
	s->exit_code = (int)f[52];
	return 0;
}

int proc_stat_read(pid_t pid, struct proc_stat *s)
{
	autofree char *text = NULL;
	ssize_t n = proc_read(pid, "stat", &text);
	return n < 0 ? (int)n : proc_stat_parse(text, s);
}

bool proc_has_executed(const struct proc_stat *s)
{
	return !(s->flags & PF_FORKNOEXEC);
}

bool proc_is_ending(pid_t pid)
{
	struct proc_stat st;

	return proc_stat_read(pid, &st) < 0 || st.flags & PF_EXITING;
}

uint64_t proc_resident(pid_t pid)
{
	autofree char *text = NULL;
	char *end;

	if (proc_read(pid, "statm", &text) < 0)
		return 0;
	strtoull(text, &end, 10);
	return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}
