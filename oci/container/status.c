/* SPDX-License-Identifier: Apache-2.0 */
/* What a container is doing, and its description.
 *
 * The state file says what create made; whether that still lives is asked of /proc each time:
 *
 *   no init yet, somebody holds the lock           creating
 *   init is gone, a zombie, or another process     stopped      (start time differs: the number was given again)
 *   its freezer is frozen                          paused
 *   start socket is there, no program executed     created      (init waits for start)
 *   otherwise                                      running
 *
 * A start that was killed between its word to init and the removal of the socket leaves one; init is a clone, and the kernel notes until
 * its execve() that it is no more than that (PF_FORKNOEXEC, in /proc/PID/stat).
 *
 * A pid that is not in /proc because /proc is another pid namespace's counts as gone. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "cgroup/cgroup.h"
#include "container/internal.h"
#include "spec/json.h"

const char *const oci_status_names[] = {
	[OCI_CREATING] = "creating", [OCI_CREATED] = "created", [OCI_RUNNING] = "running",
	[OCI_PAUSED] = "paused", [OCI_STOPPED] = "stopped",
};

static bool look_at_init(const struct container *c, struct proc_stat *st)
{
	return c->pid > 0 && proc_stat_read(c->pid, st) == 0 && st->starttime == c->pid_start && st->state != 'Z' && st->state != 'X';
}

static bool is_init(const struct container *c)
{
	struct proc_stat st;

	return look_at_init(c, &st);
}

int container_init_pidfd(struct container *c)
{
	autoclose int fd = c->pid > 0 ? (int)syscall(SYS_pidfd_open, c->pid, 0) : -1;

	/* In this order: once the descriptor is open, the number cannot change hands between the check and a signal. */
	return fd >= 0 && is_init(c) ? take_fd(&fd) : -ESRCH;
}

/* A lock held by somebody else: a create at work. Asked on a description of its own, as the container may hold one itself. */
static bool is_being_made(struct container *c)
{
	autoclose int fd = openat(c->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return c->locked || (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0);
}

enum oci_status container_status(struct container *c)
{
	struct proc_stat init;
	struct stat st;

	if (!c->pid)
		return is_being_made(c) ? OCI_CREATING : OCI_STOPPED;
	if (!look_at_init(c, &init))
		return OCI_STOPPED;
	size_t mark = err_mark();
	bool frozen = cgroup_frozen(&c->cgroups) > 0;
	err_rewind(mark);   /* what cannot be asked is not frozen */
	if (frozen)
		return OCI_PAUSED;
	return !proc_has_executed(&init) && fstatat(c->dir_fd, CONTAINER_START_SOCKET, &st, AT_SYMLINK_NOFOLLOW) == 0 ? OCI_CREATED : OCI_RUNNING;
}

pid_t container_init_pid(struct container *c)
{
	return is_init(c) ? c->pid : 0;
}

const char *container_id(struct container *c)
{
	return c->id;
}

/* Those whose pid namespace is init's, its children's included only as far as they are visible there; without a namespace of its own
 * init alone is known to be the container's. */
static ssize_t namespace_pids(struct container *c, pid_t **pids)
{
	autofree int *all = NULL;
	uint64_t own, other;
	ssize_t count = 0;
	pid_t init = container_init_pid(c);

	*pids = NULL;
	if (!init)
		return 0;
	ssize_t n = c->private_pid && proc_ns_inode(init, "pid", &own) >= 0 ? proc_numbers(0, NULL, &all) : 0;
	*pids = mem_alloc((size_t)(n > 0 ? n + 1 : 1) * sizeof **pids);
	(*pids)[count++] = init;
	for (ssize_t i = 0; i < n; i++)
		if (all[i] != init && proc_ns_inode(all[i], "pid", &other) >= 0 && other == own)
			(*pids)[count++] = all[i];
	return count;
}

ssize_t container_pids(struct container *c, pid_t **pids)
{
	return c->cgroups.n ? cgroup_pids(&c->cgroups, pids) : namespace_pids(c, pids);
}

void container_describe(struct container *c, struct json_out *o)
{
	enum oci_status status = container_status(c);

	json_open_object(o, NULL);
	json_add_string(o, "ociVersion", c->oci_version ? c->oci_version : "1.3.0");
	json_add_string(o, "id", c->id);
	json_add_i64(o, "pid", status == OCI_STOPPED ? 0 : c->pid);
	json_add_string(o, "status", oci_status_names[status]);
	json_add_string(o, "bundle", c->bundle ? c->bundle : "");
	json_add_string(o, "rootfs", c->rootfs ? c->rootfs : "");
	json_add_string(o, "created", c->created ? c->created : "");
	if (c->annotations.n) {
		json_open_object(o, "annotations");
		for (size_t i = 0; i < c->annotations.n; i++)
			json_add_string(o, c->annotations.data[i].key, c->annotations.data[i].value);
		json_close_object(o);
	}
	json_add_string(o, "owner", c->owner ? c->owner : "");
	json_close_object(o);
}

int container_state_json(struct container *c, char **json)
{
	struct json_out o = { .pretty = true };

	container_describe(c, &o);
	*json = json_take(&o);
	return 0;
}
