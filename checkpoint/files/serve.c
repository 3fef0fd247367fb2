/* SPDX-License-Identifier: Apache-2.0 */
/* The builder itself: enters the tree's namespaces, opens every file of files.img once, sends descriptors to whoever asks.
 *
 * Invariants:
 * 1. It dies with the engine: PR_SET_PDEATHSIG (set again after the namespaces are entered, which may clear it), and end of file on
 *    its socket.
 * 2. No signal reaches it but SIGKILL; handlers of the engine's program never run here.
 * 3. It keeps only the descriptors it needs: the ends of other channels must not stay open here.
 * 4. /proc/self/fd is opened before the namespaces are entered: the container may have no /proc, or another one.
 *
 * The pid namespace is not entered: that would only count for children. The root directory is the husk's, which differs from that
 * of its mount namespace if the runtime used chroot. */
#define LOG_PREFIX "builder"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "files/builder_state.h"
#include "files/path_ids.h"
#include "files/tty.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

/* --- the table of open files --- */

struct slot *builder_slot(const struct restore *r, uint32_t id)
{
	const struct builder *b = r->builder;
	size_t low = 0, high = b->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		if (b->slots[mid].entry->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low < b->n && b->slots[low].entry->id == id ? &b->slots[low] : NULL;
}

const FileEntry *file_entry(const struct restore *r, FdTypes type, uint32_t id)
{
	const struct builder *b = r->builder;

	for (const struct slot *s = builder_slot(r, id); s && s < b->slots + b->n && s->entry->id == id; s++)
		if (s->entry->type == type)
			return s->entry;
	return NULL;
}

int builder_put(struct restore *r, uint32_t id, int fd)
{
	struct slot *s = builder_slot(r, id);

	if (!s || s->fd >= 0) {
		close(fd);
		return fail_text(EBADMSG, s ? "file %u of the images was opened twice" : "file %u is not in the images", id);
	}
	s->fd = fd;
	return 0;
}

int builder_fd(struct restore *r, uint32_t id)
{
	const struct slot *s = builder_slot(r, id);

	return s && s->fd >= 0 ? s->fd : -ENOENT;
}

int builder_need(struct restore *r, uint32_t id)
{
	struct slot *s = builder_slot(r, id);

	if (!s)
		return fail_text(EBADMSG, "file %u is not in the images", id);
	if (s->fd >= 0)
		return s->fd;
	const struct file_kind *k = file_kind_of(s->entry->type);
	if (!k || s->opening)
		return fail_text(EBADMSG, k ? "file %u of the images needs itself to be opened" : "file %u is of an unknown type", id);
	s->opening = true;
	int fd = k->open(r, s->entry);
	s->opening = false;
	if (fd < 0)
		return fd;
	int ret = builder_put(r, id, fd);
	return ret < 0 ? ret : fd;
}

void **file_restore_state(struct restore *r, enum file_state which)
{
	return &r->builder->state[which];
}

int file_reopen(const struct restore *r, int fd, uint32_t flags)
{
	char name[16];

	snprintf(name, sizeof name, "%d", fd);
	int new = openat(r->builder->self_fd, name, (int)flags);
	return new < 0 ? -errno : new;
}

int file_chdir_self(const struct restore *r)
{
	return fchdir(r->builder->self_fd) < 0 ? -errno : 0;
}

int file_set_flags(const FileEntry *e, int fd, uint32_t flags)
{
	const uint32_t settable = O_NONBLOCK | O_APPEND | O_DIRECT | O_NOATIME;
	int now = fcntl(fd, F_GETFL);

	if (now < 0)
		return fail(errno, ENTRY_FMT ": ask for its flags", ENTRY_ARG(e));
	if ((now & O_PATH) || !(((uint32_t)now ^ flags) & settable))
		return 0;
	if (fcntl(fd, F_SETFL, (int)(((uint32_t)now & ~settable) | (flags & settable))) < 0)
		return fail(errno, ENTRY_FMT ": set its flags to %#o", ENTRY_ARG(e), flags & settable);
	return 0;
}

int file_inherited(const struct restore *r, const char *key)
{
	for (size_t i = 0; i < r->o->n_inherit; i++) {
		const struct ck_inherit *in = &r->o->inherit[i];
		if (strcmp(in->key, key) != 0)
			continue;
		int fd = fcntl(in->fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? fail(errno, "use descriptor %d, given for %s", in->fd, key) : fd;
	}
	return -ENOENT;
}

/* --- becoming the builder --- */

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;
	return (x > y) - (x < y);
}

static void close_others(const struct restore *r, int root)
{
	ARRAY(int) keep = { 0 };
	unsigned next = 0;

	array_push(&keep) = r->builder->sock;
	array_push(&keep) = r->builder->self_fd;
	array_push(&keep) = r->images->fd;
	array_push(&keep) = root;
	array_push(&keep) = r->builder->terminal;
	array_push(&keep) = log_fd();
	for (size_t i = 0; i < r->o->n_inherit; i++)
		array_push(&keep) = r->o->inherit[i].fd;
	qsort(keep.data, keep.n, sizeof *keep.data, compare_ints);
	for (size_t i = 0; i < keep.n; i++) {
		if (keep.data[i] < 0 || (unsigned)keep.data[i] < next)
			continue;
		if ((unsigned)keep.data[i] > next)
			close_range(next, (unsigned)keep.data[i] - 1, 0);
		next = (unsigned)keep.data[i] + 1;
	}
	close_range(next, ~0u, 0);
	array_free(&keep);
}

/* Which namespaces of the task are not ours, as setns() flags. */
static int foreign_namespaces(pid_t pid, int *flags)
{
	static const struct {
		const char *name;
		int flag;
	} kinds[] = {
		{ "user", CLONE_NEWUSER }, { "mnt", CLONE_NEWNS },   { "net", CLONE_NEWNET },      { "uts", CLONE_NEWUTS },
		{ "ipc", CLONE_NEWIPC },   { "time", CLONE_NEWTIME }, { "cgroup", CLONE_NEWCGROUP },
	};

	*flags = 0;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		char path[64];
		struct stat own, its;
		snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i].name);
		if (stat(path, &own) < 0)
			continue;   /* the kernel has none of that kind */
		snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, kinds[i].name);
		if (stat(path, &its) < 0)
			return fail(errno, "look at the namespaces of the new root task %d", pid);
		if (own.st_ino != its.st_ino)
			*flags |= kinds[i].flag;
	}
	return 0;
}

static bool is_here(int root)
{
	struct stat here, there;

	return stat("/", &here) == 0 && fstat(root, &there) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino && chdir("/") == 0;
}

static int join(pid_t pid, int root)
{
	int flags, r = foreign_namespaces(pid, &flags);

	if (r < 0)
		return r;
	autoclose int pidfd = flags ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (flags && (pidfd < 0 || setns(pidfd, flags) < 0))
		return fail(errno, "enter the namespaces of the new root task %d", pid);
	if ((flags & CLONE_NEWUSER) && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		return fail(errno, "become root in the user namespace of the new root task %d", pid);
	if (!(flags & CLONE_NEWNS) && is_here(root))
		return 0;
	if (fchdir(root) < 0 || chroot(".") < 0)
		return fail(errno, "enter the root directory of the new root task %d", pid);
	return 0;
}

static void raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);   /* what it is good for fails by itself */
	}
}

static int become_builder(struct restore *r, pid_t engine, pid_t root_pid)
{
	struct builder *b = r->builder;
	sigset_t all;
	char path[64];

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	err_clear();
	raise_limit();
	umask(0);
	b->self_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof path, "/proc/%d/root", root_pid);
	autoclose int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (b->self_fd < 0 || root < 0)
		return fail(errno, "open %s", b->self_fd < 0 ? "/proc/self/fd" : path);
	close_others(r, root);
	int ret = join(root_pid, root);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != engine)
		_exit(1);
	return ret;
}

/* --- serving --- */

static int open_table(struct restore *r, const struct fdtable *t)
{
	for (size_t i = 0; i < t->fds.n; i++) {
		int fd = builder_need(r, t->fds.data[i]->id);
		if (fd < 0)
			return fd;
	}
	return 0;
}

/* The pids that the tasks have by now come with the request. */
static int open_all(struct restore *r, const uint32_t *pids, size_t n)
{
	struct builder *b = r->builder;
	int ret = 0;

	for (size_t i = 0; i < n && i < r->tree->tasks.n; i++)
		r->tree->tasks.data[i]->host_pid = (pid_t)pids[i];
	for (size_t i = 0; i < r->tree->fdtables.n && ret >= 0; i++)
		ret = open_table(r, r->tree->fdtables.data[i]);
	for (size_t i = 0; i < b->n && ret >= 0; i++) {
		const struct slot *s = &b->slots[i];
		const struct file_kind *k = file_kind_of(s->entry->type);
		if (s->fd >= 0 && k && k->finish)
			ret = k->finish(r, s->entry, s->fd);
	}
	return ret;
}

static int open_paths(struct restore *r)
{
	struct path_ids ids = { 0 };
	int ret = 0;

	path_ids_collect(r->tree, &ids);
	for (size_t i = 0; i < ids.n && ret >= 0; i++)
		ret = builder_need(r, ids.data[i]);
	array_free(&ids);
	return ret < 0 ? ret : 0;
}

static int send_files(struct restore *r, const uint32_t *ids, size_t n, int channel)
{
	int fds[FD_PASS_MAX];

	for (size_t done = 0; done < n;) {
		size_t piece = n - done < FD_PASS_MAX ? n - done : FD_PASS_MAX;
		for (size_t i = 0; i < piece; i++) {
			fds[i] = builder_need(r, ids[done + i]);
			if (fds[i] < 0)
				return fds[i];
		}
		int ret = fd_send(channel, fds, piece);
		if (ret < 0)
			return fail(-ret, "send %zu open files to a task", piece);
		done += piece;
	}
	return 0;
}

static int answer(struct builder *b, int result)
{
	int32_t value = result;
	int r = fd_write_all(b->sock, &value, sizeof value);

	if (r >= 0)
		r = err_send(b->sock);
	err_clear();
	return r;
}

static int serve_send(struct restore *r, const uint32_t *ids, size_t n)
{
	autoclose int channel = -1;
	int ret = fd_recv(r->builder->sock, &channel, 1);

	return ret == 1 ? send_files(r, ids, n, channel) : fail_text(EPROTO, "no channel came with a request for files");
}

/* Everything but the answer to OP_GET, OP_SESSION and OP_ORPHAN fits one shape. */
static int serve_one(struct restore *r, const struct request *q, void *data)
{
	switch (q->op) {
	case OP_OPEN_PATHS:
		return open_paths(r);
	case OP_OPEN_ALL:
		return open_all(r, data, q->n);
	case OP_SEND:
		return serve_send(r, data, q->n);
	case OP_GET:
		return builder_need(r, *(uint32_t *)data);
	case OP_SESSION:
		return tty_of_session(r, (pid_t) * (uint32_t *)data);
	case OP_ORPHAN:
		return tty_orphan_master(r, *(uint32_t *)data);
	case OP_CALL:
		return q->fn(r, data, q->n);
	}
	return fail_text(EPROTO, "unknown request");
}

static void serve(struct restore *r)
{
	struct builder *b = r->builder;
	struct request q;

	while (fd_read_all(b->sock, &q, sizeof q) >= 0) {
		size_t size = q.op == OP_CALL ? q.n : q.n * sizeof(uint32_t);
		autofree void *data = mem_alloc(size + 1);
		if (fd_read_all(b->sock, data, size) < 0)
			break;
		int result = serve_one(r, &q, data);
		bool opened = q.op == OP_GET || q.op == OP_SESSION || q.op == OP_ORPHAN;
		if (answer(b, opened && result > 0 ? 0 : result) < 0)
			break;
		if (opened && result >= 0 && fd_send(b->sock, &result, 1) < 0)
			break;
	}
}

_Noreturn void builder_main(struct restore *r, pid_t engine, pid_t root)
{
	int ret = become_builder(r, engine, root);

	if (answer(r->builder, ret) >= 0 && ret >= 0)
		serve(r);
	_exit(0);
}
