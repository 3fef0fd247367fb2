/* SPDX-License-Identifier: Apache-2.0 */
/* A process's umask, working directory and root directory.
 *
 * The directories are files known by path to files/: their ids are in fs-<pid>.img. A restored task gets descriptors of them from the builder,
 * changes into them (fchdir) and closes them. The root is changed (chroot to the descriptor) only when it is not the root of the tree's
 * mounts, where a husk already is; afterwards the working directory is set, which may lie outside of it. */
#include "task/subject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "files/builder.h"
#include "files/kinds.h"
#include "files/table.h"
#include "regfile.pb-c.h"

static int directory_dump(struct dump *d, struct task *t, int what, const char *name, uint32_t *id)
{
	char path[64];
	autofree char *link = NULL;

	snprintf(path, sizeof path, "/proc/%d/%s", t->host_pid, name);
	autoclose int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(errno, "open the %s directory of " TASK_FMT, name, TASK_ARG(t));
	int r = proc_readlink(t->host_pid, name, &link);
	if (r < 0)
		return fail(-r, "read %s", path);
	return files_dump_path(d, t, what, fd, link, O_RDONLY, id);
}

int fs_dump(struct dump *d, struct task *t, uint32_t umask)
{
	t->fs = arena_new(d->arena, FsEntry);
	fs_entry__init(t->fs);
	t->fs->has_umask = true;
	t->fs->umask = umask;
	int r = directory_dump(d, t, FILE_CWD, "cwd", &t->fs->cwd_id);
	return r < 0 ? r : directory_dump(d, t, FILE_ROOT, "root", &t->fs->root_id);
}

static int directory_check(struct restore *r, const struct task *t, const char *what, uint32_t id)
{
	const FileEntry *e = tree_file(r->tree, id);

	if (!e)
		return fail_text(EBADMSG, "fs-%d.img: the %s directory is file %u, which files.img does not have", t->pid, what, id);
	if (e->type != FD_TYPES__REG || !e->reg)
		return fail_text(EBADMSG, "fs-%d.img: the %s directory, file %u, is not a file with a path", t->pid, what, id);
	return 0;
}

int fs_check(struct restore *r, const struct task *t)
{
	if (!t->fs)
		return fail_text(EBADMSG, "fs-%d.img is missing", t->pid);
	if (t->fs->has_umask && t->fs->umask > 0777)
		return fail_text(EBADMSG, "fs-%d.img: umask %#o is none", t->pid, t->fs->umask);
	int ret = directory_check(r, t, "working", t->fs->cwd_id);
	return ret < 0 ? ret : directory_check(r, t, "root", t->fs->root_id);
}

int fs_restore(struct restore *r, struct task *t)
{
	struct remote *remote = t->threads[0].remote;
	const FileEntry *root = tree_file(r->tree, t->fs->root_id);
	bool change_root = strcmp(root->reg->name, "/") != 0;
	const uint32_t ids[2] = { t->fs->cwd_id, t->fs->root_id };
	size_t n = change_root ? 2 : 1;
	int fds[2];
	struct ask a;

	int ret = remote_open_channel(remote);
	if (ret >= 0)
		ret = builder_send(r, remote_channel(remote), ids, n);
	if (ret >= 0)
		ret = remote_recv_fds(remote, n, fds);
	if (ret < 0)
		return ret;
	ask_begin(&a, &t->threads[0], true);
	if (change_root) {
		ask(&a, "change into the root directory", SYS_fchdir, (uint64_t)fds[1]);
		ask(&a, "change the root directory", SYS_chroot, ask_data(&a, ".", 2));
		ask(&a, "close a directory", SYS_close, (uint64_t)fds[1]);
	}
	ask(&a, "change into the working directory", SYS_fchdir, (uint64_t)fds[0]);
	ask(&a, "close a directory", SYS_close, (uint64_t)fds[0]);
	if (t->fs->has_umask)
		ask(&a, "set the umask", SYS_umask, t->fs->umask);
	return ask_run(&a);
}
