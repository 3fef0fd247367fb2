/* SPDX-License-Identifier: Apache-2.0 */
/* Which namespaces a tree has of its own, and what the images call them.
 *
 * One counter numbers the namespaces of all kinds, and the dumping tool's own come first, in a fixed order: equality with the ids
 * in inventory.root_ids says "not a namespace of the tree's own". All tasks of the tree must be in the root task's namespaces: a task
 * with another one of any kind stops the dump, with its name. A user namespace is refused for now. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "model/external.h"
#include "ns/internal.h"
#include "remote/ahead.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

const struct ns_row ns_rows[NSK_KINDS] = {
	[NSK_PID] = { "pid", CLONE_NEWPID },   [NSK_NET] = { "net", CLONE_NEWNET }, [NSK_IPC] = { "ipc", CLONE_NEWIPC },
	[NSK_UTS] = { "uts", CLONE_NEWUTS },   [NSK_TIME] = { "time", CLONE_NEWTIME }, [NSK_MNT] = { "mnt", CLONE_NEWNS },
	[NSK_USER] = { "user", CLONE_NEWUSER }, [NSK_CGROUP] = { "cgroup", CLONE_NEWCGROUP },
};

struct ns_table {
	uint64_t mine[NSK_KINDS], root[NSK_KINDS];   /* inode numbers; 0: the kernel has no such kind */
	uint32_t mine_id[NSK_KINDS], root_id[NSK_KINDS];
};

/* Out of the links' texts. 0: the kernel has no such kind. */
static void take_inodes(const char *links, uint64_t inodes[NSK_KINDS])
{
	char key[16];

	for (int k = 0; k < NSK_KINDS; k++) {
		snprintf(key, sizeof key, "%s:[", ns_rows[k].proc);
		const char *at = strstr(links, key);
		inodes[k] = at ? strtoull(at + strlen(key), NULL, 10) : 0;
	}
}

static int read_inodes(struct dump *d, const struct task *t, uint64_t inodes[NSK_KINDS])
{
	autofree char *links = NULL;
	ssize_t n = ahead_read(d, t, AHEAD_NS, &links);

	if (n < 0)
		return fail((int)-n, "read the namespaces of task %d", t->host_pid);
	take_inodes(links, inodes);
	return 0;
}

static int check_task(struct dump *d, const struct task *t)
{
	uint64_t inodes[NSK_KINDS];
	int r = read_inodes(d, t, inodes);

	for (int k = 0; k < NSK_KINDS && r >= 0; k++)
		if (inodes[k] != d->ns->root[k])
			return fail_text(ENOTSUP, "task %d is in a %s namespace of its own (%s:[%" PRIu64 "]), not in the root task's: not supported",
					 t->pid, ns_rows[k].proc, ns_rows[k].proc, inodes[k]);
	return r;
}

int ns_begin(struct dump *d)
{
	autofree char *links = NULL;
	ssize_t n = proc_ns_links(getpid(), &links);

	if (n < 0)
		return fail((int)-n, "read the engine's own namespaces");
	d->ns = arena_new(d->arena, struct ns_table);
	take_inodes(links, d->ns->mine);
	return cgroup_begin(d);
}

static void number(struct dump *d, bool own[NSK_KINDS])
{
	uint32_t next = 1;

	for (int k = 0; k < NSK_KINDS; k++)
		d->ns->mine_id[k] = next++;
	for (int k = 0; k < NSK_KINDS; k++) {
		own[k] = d->ns->root[k] != d->ns->mine[k];
		d->ns->root_id[k] = own[k] ? next++ : d->ns->mine_id[k];
	}
}

/* A runtime names its bundle's directory, whose mount in the namespace may be another: only without a namespace it says something. */
static int check_root(const struct dump *d)
{
	struct stat there, named;

	if (!d->o->root || d->own_mnt_ns)
		return 0;
	if (fstat(d->root_fd, &there) < 0 || stat(d->o->root, &named) < 0)
		return fail(errno, "--root %s", d->o->root);
	if (there.st_dev != named.st_dev || there.st_ino != named.st_ino)
		return fail_text(EINVAL, "--root %s: the root directory of task %d is another, and it has no mount namespace of its own", d->o->root,
				 d->o->pid);
	return 0;
}

int ns_collect(struct dump *d)
{
	bool own[NSK_KINDS];
	int r = read_inodes(d, tree_root(d->tree), d->ns->root);

	if (r < 0)
		return r;
	number(d, own);
	d->own_pid_ns = own[NSK_PID];
	d->own_net_ns = own[NSK_NET];
	d->own_ipc_ns = own[NSK_IPC];
	d->own_uts_ns = own[NSK_UTS];
	d->own_time_ns = own[NSK_TIME];
	d->own_mnt_ns = own[NSK_MNT];
	d->own_user_ns = own[NSK_USER];
	d->own_cgroup_ns = own[NSK_CGROUP];
	if (d->own_user_ns)
		return fail_text(ENOTSUP, "task %d is in a user namespace of its own: not supported yet", d->o->pid);
	if (d->own_pid_ns && tree_root(d->tree)->pid != 1 && !ns_external(d, NSK_PID))
		return fail_text(EINVAL, "task %d is in another pid namespace but not its init: dump the namespace's first task", d->o->pid);
	int ret = check_root(d);
	return ret < 0 || !d->own_ipc_ns ? ret : ipc_collect(d);
}

const char *ns_external(const struct dump *d, enum ns_kind kind)
{
	char inode[24];

	snprintf(inode, sizeof inode, "%" PRIu64, d->ns->root[kind]);
	return external_find(d->o->external, ns_rows[kind].proc, inode);
}

static void fill(TaskKobjIdsEntry *e, const uint32_t id[NSK_KINDS])
{
	e->has_pid_ns_id = e->has_net_ns_id = e->has_ipc_ns_id = e->has_uts_ns_id = e->has_mnt_ns_id = 1;
	e->has_user_ns_id = e->has_cgroup_ns_id = e->has_time_ns_id = 1;
	e->pid_ns_id = id[NSK_PID];
	e->net_ns_id = id[NSK_NET];
	e->ipc_ns_id = id[NSK_IPC];
	e->uts_ns_id = id[NSK_UTS];
	e->time_ns_id = id[NSK_TIME];
	e->mnt_ns_id = id[NSK_MNT];
	e->user_ns_id = id[NSK_USER];
	e->cgroup_ns_id = id[NSK_CGROUP];
}

int ns_fill_ids(struct dump *d, struct task *t)
{
	int r = cgroup_fill(d, t);

	fill(t->ids, d->ns->root_id);
	return r < 0 || t == tree_root(d->tree) ? r : check_task(d, t);
}

void ns_fill_root_ids(struct dump *d, TaskKobjIdsEntry *ids)
{
	fill(ids, d->ns->mine_id);
}

uint32_t ns_id(const struct dump *d, enum ns_kind kind)
{
	return d->ns->root_id[kind];
}

int ns_enter(pid_t host_pid, enum ns_kind kind, int *saved)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/thread-self/ns/%s", ns_rows[kind].proc);
	autoclose int mine = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof path, "/proc/%d/ns/%s", host_pid, ns_rows[kind].proc);
	autoclose int other = open(path, O_RDONLY | O_CLOEXEC);
	if (mine < 0 || other < 0 || setns(other, (int)ns_rows[kind].clone_flag) < 0)
		return fail(errno, "enter the %s namespace of task %d", ns_rows[kind].proc, host_pid);
	*saved = take_fd(&mine);
	return 0;
}

int ns_leave(enum ns_kind kind, int *saved)
{
	int r = *saved >= 0 && setns(*saved, (int)ns_rows[kind].clone_flag) < 0 ?
			fail(errno, "come back to the engine's own %s namespace", ns_rows[kind].proc) : 0;

	fd_close(saved);
	return r;
}
