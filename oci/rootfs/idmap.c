/* SPDX-License-Identifier: Apache-2.0 */
/* Bind mounts that the runtime opens itself, before init is cloned: init, in a user namespace, may neither map the ids of a filesystem
 * of the host nor reach every source.
 *
 * An id-mapped mount (5.12) takes its mapping from a user namespace. One is made for the purpose, with a process that does nothing
 * but wait in it until its maps are written and its descriptor is open; mounts with the same mapping share it. "idmap" and "ridmap"
 * without a mapping of their own take the container's. Only bind mounts can be mapped.
 *
 * The trees are cloned in the host's mount namespace, where mounts may be shared. Init inherits the descriptors and attaches the trees, which
 * lose that as init's own copies of the host's mounts do (mount.c). */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "rootfs/internal.h"

static int write_map(pid_t pid, const char *file, const struct spec_id_maps *maps)
{
	autofree char *path = str_printf("/proc/%d/%s", pid, file), *text = spec_id_map_text(maps);

	return file_write(AT_FDCWD, path, text);
}

static int namespace_of(pid_t pid, const struct spec_id_maps *uids, const struct spec_id_maps *gids)
{
	char path[64];
	int r = write_map(pid, "uid_map", uids);

	if (r >= 0)
		r = write_map(pid, "gid_map", gids);
	if (r < 0)
		return fail(-r, "write the id mapping of a mount");
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? fail(errno, "open the user namespace of an id-mapped mount") : fd;
}

static int new_namespace(const struct spec_id_maps *uids, const struct spec_id_maps *gids)
{
	struct clone_args a = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(errno, "make a pipe");
	pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof a);
	if (pid == 0) {
		char byte;
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) != 0);
	}
	int fd = pid < 0 ? fail(errno, "make a user namespace for an id-mapped mount") : namespace_of(pid, uids, gids);
	close(ends[0]);
	close(ends[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return fd;
}

static bool same(const struct spec_id_maps *a, const struct spec_id_maps *b)
{
	return a->n == b->n && (!a->n || memcmp(a->data, b->data, a->n * sizeof *a->data) == 0);
}

/* The user namespace for a mount; the last one is kept for the next. */
struct namespaces {
	const struct spec_id_maps *uids, *gids;
	int fd;
};

static int find_namespace(const struct spec *s, const struct spec_mount *m, struct namespaces *last)
{
	const struct spec_namespace_entry *user = &s->namespaces[NS_USER];
	bool own = m->uids.n || m->gids.n;
	const struct spec_id_maps *uids = own ? &m->uids : &s->uids, *gids = own ? &m->gids : &s->gids;

	if (own && (!m->uids.n || !m->gids.n))
		return fail_text(EINVAL, "mount %s: uidMappings and gidMappings go together", m->destination);
	if (!own && !user->wanted)
		return fail_text(EINVAL, "mount %s: the option \"idmap\" needs uidMappings and gidMappings, or a container in a user namespace",
			m->destination);
	if (last->fd >= 0 && last->uids && same(last->uids, uids) && same(last->gids, gids))
		return 0;
	fd_close(&last->fd);
	*last = (struct namespaces){ uids, gids, -1 };
	if (!own && user->path) {
		last->uids = NULL;
		last->fd = open(user->path, O_RDONLY | O_CLOEXEC);
		return last->fd < 0 ? fail(errno, "mount %s: open the user namespace %s", m->destination, user->path) : 0;
	}
	last->fd = new_namespace(uids, gids);
	return last->fd < 0 ? fail_text(-last->fd, "mount %s: id mapping", m->destination) : 0;
}

static int apply(const struct spec *s, const struct spec_mount *m, const struct mount_plan *p, int tree, struct namespaces *last)
{
	int r = find_namespace(s, m, last);

	if (r < 0)
		return r;
	r = sys_mount_idmap(tree, p->idmap_recursive, last->fd);
	if (r == -ENOSYS)
		return fail_text(ENOSYS, "mount %s: to map ids needs Linux 5.12", m->destination);
	if (r == -EINVAL)
		return fail(EINVAL, "mount %s: map its ids: the filesystem of %s may not support it", m->destination, m->source);
	return r < 0 ? fail(-r, "mount %s: map its ids", m->destination) : 0;
}

static int prepare(const struct spec *s, const struct spec_mount *m, struct namespaces *last, int *out)
{
	struct mount_plan p;
	size_t mark = err_mark();
	int r = mount_plan_read(m, &p);
	bool mapped = r >= 0 && (p.idmap || m->uids.n || m->gids.n);

	if (mapped && p.remount)
		return fail_text(EINVAL, "mount %s: ids cannot be mapped by a remount", m->destination);
	if (r < 0 || p.remount || (!mapped && !(p.bind && s->namespaces[NS_USER].wanted && geteuid() == 0)))
		return r;
	if (!p.bind)
		return fail_text(EINVAL, "mount %s: only bind mounts can have their ids mapped", m->destination);
	autoclose int tree = rootfs_open_source(s, m, &p);
	if (tree == -EPERM && !mapped) {   /* root in somebody's user namespace: the container's process binds it */
		err_rewind(mark);
		return 0;
	}
	if (tree < 0)
		return tree;
	r = mapped ? apply(s, m, &p, tree, last) : 0;
	if (r >= 0)
		*out = take_fd(&tree);
	return r;
}

int rootfs_prepare(const struct spec *s, int **trees)
{
	struct namespaces last = { .fd = -1 };
	int r = 0;

	*trees = mem_alloc((s->n_mounts + 1) * sizeof **trees);
	for (size_t i = 0; i < s->n_mounts; i++)
		(*trees)[i] = -1;
	for (size_t i = 0; r >= 0 && i < s->n_mounts; i++)
		r = prepare(s, &s->mounts[i], &last, &(*trees)[i]);
	fd_close(&last.fd);
	return r;
}

void rootfs_prepared_free(const struct spec *s, int **trees)
{
	for (size_t i = 0; *trees && i < s->n_mounts; i++)
		fd_close(&(*trees)[i]);
	free(*trees);
	*trees = NULL;
}
