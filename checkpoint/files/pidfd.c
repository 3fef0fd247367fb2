/* SPDX-License-Identifier: Apache-2.0 */
/* pidfd_open(2): a process. fdinfo has its pid in the engine's namespace ("Pid"; -1: it has ended and was waited for). In the image it is
 * the pid of a task of the tree, or -1.
 *
 * Restore: when the husks exist; the builder is told their pids with the request to open everything. One that has ended is a child
 * of the builder in the tree's pid namespace, which ends at once: its exit status (PIDFD_INFO_EXIT, Linux 6.15) is not kept.
 *
 * Not handled, refused by name: processes outside the tree, threads (PIDFD_THREAD, Linux 6.9). */
#include "files/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"

static bool pidfd_match(const struct file_info *f)
{
	return strcmp(f->link, "anon_inode:[pidfd]") == 0 || str_starts(f->link, "pidfd:");
}

/* In the tree's numbering; 0: not in the tree. */
static pid_t virtual_pid(const struct tree *tree, pid_t host_pid)
{
	for (size_t i = 0; i < tree->tasks.n; i++)
		if (tree->tasks.data[i]->host_pid == host_pid)
			return tree->tasks.data[i]->pid;
	return 0;
}

static int pidfd_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	const char *text = proc_field(f->fdinfo, "Pid");
	int pid = text ? atoi(text) : 0;

	if (!text)
		return fail_text(EPROTO, FILE_FMT ": the pid is not in fdinfo", FILE_ARG(f));
	pid_t virtual = pid > 0 ? virtual_pid(d->tree, pid) : pid;
	if ((f->flags & O_EXCL) && pid > 0)
		return fail_text(ENOTSUP, FILE_FMT ": it is a pidfd of a thread (%d), which is not supported", FILE_ARG(f), pid);
	if (!virtual) {
		fail_text(ENOTSUP, FILE_FMT ": it is a pidfd of process %d, which is not in the tree", FILE_ARG(f), pid);
		fail_hint("let the program close it before the checkpoint");
		return -ENOTSUP;
	}
	e->pidfd = ARENA_MESSAGE(d->arena, PidfdEntry, PIDFD_ENTRY__INIT);
	e->pidfd->id = e->id;
	e->pidfd->ino = (uint32_t)f->st.st_ino;
	e->pidfd->flags = f->flags & ~(uint32_t)O_ACCMODE;
	e->pidfd->nspid = virtual;
	return file_fown(d, f, &e->pidfd->fown);
}

/* Its number is of the tree's pid namespace, in which a number of the builder's would mean nothing. */
static pid_t fork_inside(const struct restore *r)
{
	autoclose int root = (int)syscall(SYS_pidfd_open, tree_root(r->tree)->host_pid, 0);

	if (root < 0 || setns(root, CLONE_NEWPID) < 0)
		return -1;
	return fork();
}

static int open_ended(const struct restore *r, const FileEntry *e)
{
	pid_t child = fork_inside(r);

	if (child == 0)
		_exit(0);
	int fd = child < 0 ? -1 : (int)syscall(SYS_pidfd_open, child, 0);
	int err = errno;
	if (child > 0)
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	return fd < 0 ? fail(err, ENTRY_FMT ": make a process that has ended", ENTRY_ARG(e)) : fd;
}

static int open_living(struct restore *r, const FileEntry *e)
{
	const struct task *t = tree_find(r->tree, e->pidfd->nspid);

	if (!t || t->host_pid <= 0)
		return fail_text(EBADMSG, ENTRY_FMT ": process %d is not in the checkpoint", ENTRY_ARG(e), e->pidfd->nspid);
	int fd = (int)syscall(SYS_pidfd_open, t->host_pid, 0);
	return fd < 0 ? fail(errno, ENTRY_FMT ": open process %d", ENTRY_ARG(e), e->pidfd->nspid) : fd;
}

static int pidfd_open_entry(struct restore *r, const FileEntry *e)
{
	autoclose int fd = e->pidfd->nspid < 0 ? open_ended(r, e) : open_living(r, e);

	if (fd < 0)
		return fd;
	int ret = file_set_flags(e, fd, e->pidfd->flags);
	return ret < 0 ? ret : take_fd(&fd);
}

const struct file_kind pidfd_kind = {
	.name = "pidfd",
	.type = FD_TYPES__PIDFD,
	.match = pidfd_match,
	.dump = pidfd_dump,
	.open = pidfd_open_entry,
};
