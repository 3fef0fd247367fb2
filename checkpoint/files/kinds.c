/* SPDX-License-Identifier: Apache-2.0 */
/* The table of kinds of open files, and how one that is in no row is refused. */
#include "files/kinds.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"
#include "files/eventfd.h"
#include "files/eventpoll.h"
#include "files/fifo.h"
#include "files/memfd.h"
#include "files/notify.h"
#include "files/pidfd.h"
#include "files/pipe.h"
#include "files/reg.h"
#include "files/signalfd.h"
#include "files/timerfd.h"
#include "files/tty.h"

const struct file_kind *const file_kinds[] = {
	&reg_kind, &pipe_kind, &fifo_kind, &eventfd_kind, &eventpoll_kind, &timerfd_kind, &signalfd_kind, &memfd_kind, &pidfd_kind, &inotify_kind,
	&fanotify_kind, &tty_kind, &unix_kind, &inet_kind, NULL,
};

const struct file_kind *file_kind_of(FdTypes type)
{
	for (const struct file_kind *const *k = file_kinds; *k; k++)
		if ((*k)->type == type)
			return *k;
	return NULL;
}

const char *file_comm(const struct file_info *f)
{
	static _Thread_local char comm[64];
	autofree char *text = NULL;

	if (proc_read(f->task->host_pid, "comm", &text) < 0)
		return "?";
	snprintf(comm, sizeof comm, "%.*s", (int)strcspn(text, "\n"), text);
	return comm;
}

bool file_listed(const struct dump *d, const char *key)
{
	size_t len = strlen(key);

	for (const char *const *e = d->o->external; e && *e; e++)
		if (strncmp(*e, key, len) == 0 && ((*e)[len] == 0 || (*e)[len] == ':'))
			return true;
	return false;
}

/* --- what is refused --- */

static const struct {
	const char *prefix, *name;    /* of the link's text */
} refused_links[] = {
	{ "anon_inode:[userfaultfd]", "a userfaultfd" },
	{ "anon_inode:[io_uring]", "an io_uring" },
	{ "anon_inode:[perf_event]", "a performance counter" },
	{ "anon_inode:bpf", "a BPF object" },
	{ "anon_inode:[bpf", "a BPF object" },
	{ "anon_inode:seccomp", "a seccomp listener" },
	{ "anon_inode:kvm", "a virtual machine (KVM)" },
	{ "anon_inode:[fscontext]", "a file system context" },
	{ "anon_inode:[landlock", "a Landlock rule set" },
	{ "anon_inode:", "an anonymous file" },
	{ "/memfd:", "a memfd" },
	{ "/anon_hugepage", "an anonymous huge page file" },
	{ "/dev/net/tun", "a tun or tap device" },
	{ "/dev/fuse", "a FUSE device" },
	{ "mnt:[", "a namespace" }, { "net:[", "a namespace" }, { "pid:[", "a namespace" }, { "user:[", "a namespace" },
	{ "uts:[", "a namespace" }, { "ipc:[", "a namespace" }, { "cgroup:[", "a namespace" }, { "time:[", "a namespace" },
};

static const char *refused_name(const struct file_info *f)
{
	for (size_t i = 0; i < sizeof refused_links / sizeof *refused_links; i++)
		if (str_starts(f->link, refused_links[i].prefix))
			return refused_links[i].name;
	switch (f->st.st_mode & S_IFMT) {
	case S_IFSOCK:
		return socket_describe(f);
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	case S_IFIFO:
		return "a pipe";
	}
	return "a file of a kind that is not known";
}

static const char *path_role(int what)
{
	return what == FILE_CWD ? "working directory" : what == FILE_ROOT ? "root directory" : what == FILE_EXE ? "executable" : "mapped file";
}

int file_unsupported(const struct file_info *f)
{
	if (f->fd < 0)
		fail_text(ENOTSUP, "task %d (%s), %s %s: it is %s, which is not supported", f->task->pid, file_comm(f), path_role(f->fd),
			  f->link, refused_name(f));
	else if (S_ISCHR(f->st.st_mode) || S_ISBLK(f->st.st_mode))
		fail_text(ENOTSUP, FILE_FMT ": it is %s (%u:%u), which is not supported", FILE_ARG(f), refused_name(f),
			  major(f->st.st_rdev), minor(f->st.st_rdev));
	else
		fail_text(ENOTSUP, FILE_FMT ": it is %s, which is not supported", FILE_ARG(f), refused_name(f));
	fail_hint("let the program close it before the checkpoint");
	return -ENOTSUP;
}
