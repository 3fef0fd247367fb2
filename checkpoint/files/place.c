/* SPDX-License-Identifier: Apache-2.0 */
/* Putting the open files into the tasks, engine side.
 *
 * A task has nothing but its end of the channel, moved above all numbers that it needs. Descriptors that it receives get the lowest
 * free numbers. Wanted numbers ascend and are distinct, so that the i-th of them is at least i: received in that order, and moved to
 * their places from the last one down, no descriptor meets one that still waits. They come in pieces of FD_PASS_MAX, the piece with
 * the highest numbers first, for the same reason. A table 0…n-1 needs no move at all.
 *
 * What only the owner can do comes when all tasks exist: who gets the signals of a file (fown.c), and locks (lock.c). At that time the
 * task still has the engine's credentials; the ids that the kernel is to remember are put on for the call. */
#define LOG_PREFIX "files"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "files/builder_state.h"
#include "files/lock.h"
#include "remote/remote.h"

struct calls {
	ARRAY(struct call) list;
};

static void add_call(struct calls *c, long nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
	array_push(&c->list) = (struct call){ .nr = (uint64_t)nr, .arg = { a0, a1, a2 }, .must = 1 };
}

static int run_calls(struct remote *remote, struct calls *c, const struct task *t, const char *what)
{
	int ret = c->list.n ? remote_batch_checked(remote, c->list.data, c->list.n, what) : 0;

	array_free(&c->list);
	if (ret < 0)
		fail_hint("while restoring the descriptors of task %d", t->pid);
	return ret;
}

/* --- descriptors --- */

/* The soft limit of a husk is the engine's; the task's own comes later. */
static int raise_limit(struct remote *remote, const struct task *t, uint32_t highest)
{
	struct rlimit l;
	uint64_t at = remote_scratch(remote);
	int64_t ret = 0;

	if (prlimit(t->host_pid, RLIMIT_NOFILE, NULL, &l) < 0) {   /* of another user: it must ask itself */
		ret = remote_call(remote, SYS_prlimit64, 0, RLIMIT_NOFILE, 0, at, 0, 0);
		if (ret >= 0)
			ret = remote_scratch_read(remote, 0, &l, sizeof l);
	}
	if (ret < 0 || l.rlim_cur > highest)
		return ret < 0 ? fail((int)-ret, "ask for the descriptor limit of task %d", t->pid) : 0;
	if (l.rlim_max <= highest)
		return fail_text(EMFILE, "task %d has a descriptor %u, beyond the limit of open files (%llu) of who restores it", t->pid,
				 highest - 1, (unsigned long long)l.rlim_max);
	l.rlim_cur = l.rlim_max;
	ret = remote_scratch_write(remote, 0, &l, sizeof l);
	if (ret >= 0)
		ret = remote_call(remote, SYS_prlimit64, 0, RLIMIT_NOFILE, at, 0, 0, 0);
	return ret < 0 ? fail((int)-ret, "raise the descriptor limit of task %d", t->pid) : 0;
}

/* Only the channel is left, at `number`. */
static int clear_table(struct remote *remote, const struct task *t, uint32_t number)
{
	int ret = raise_limit(remote, t, number);

	if (ret >= 0)
		ret = remote_open_channel(remote);
	return ret < 0 ? ret : remote_keep_channel(remote, (int)number);
}

static int place_piece(struct restore *r, struct remote *remote, const struct task *t, size_t from, size_t n)
{
	FdinfoEntry **wanted = t->fds->fds.data + from;
	uint32_t ids[FD_PASS_MAX];
	int numbers[FD_PASS_MAX];
	struct calls c = { 0 };

	for (size_t i = 0; i < n; i++)
		ids[i] = wanted[i]->id;
	int ret = builder_send(r, remote_channel(remote), ids, n);
	if (ret >= 0)
		ret = remote_recv_fds(remote, n, numbers);
	if (ret < 0)
		return ret;
	for (size_t i = n; i-- > 0;) {
		uint64_t to = wanted[i]->fd, at = (uint64_t)numbers[i], cloexec = wanted[i]->flags & FD_CLOEXEC;
		if (at == to) {
			add_call(&c, SYS_fcntl, at, F_SETFD, cloexec);
			continue;
		}
		add_call(&c, SYS_dup3, at, to, cloexec ? O_CLOEXEC : 0);
		add_call(&c, SYS_close, at, 0, 0);
	}
	return run_calls(remote, &c, t, "put descriptors at their numbers");
}

int files_restore_task(struct restore *r, struct task *t)
{
	struct remote *remote = t->threads[0].remote;
	size_t left = t->fds->fds.n;
	uint32_t above = left ? t->fds->fds.data[left - 1]->fd + 1 : 0;
	int ret = clear_table(remote, t, above < FD_PASS_MAX ? FD_PASS_MAX : above);

	while (left && ret >= 0) {
		size_t from = (left - 1) / FD_PASS_MAX * FD_PASS_MAX;
		ret = place_piece(r, remote, t, from, left - from);
		left = from;
	}
	return ret;
}

/* --- what only the owner can do --- */

static const FownEntry *fown_of(const FileEntry *e)
{
	switch ((int)e->type) {
	case FD_TYPES__REG:
		return e->reg->fown;
	case FD_TYPES__PIPE:
		return e->pipe->fown;
	case FD_TYPES__INETSK:
		return e->isk->fown;
	case FD_TYPES__UNIXSK:
		return e->usk->fown;
	case FD_TYPES__EVENTFD:
		return e->efd->fown;
	case FD_TYPES__EVENTPOLL:
		return e->epfd->fown;
	case FD_TYPES__SIGNALFD:
		return e->sgfd->fown;
	case FD_TYPES__TIMERFD:
		return e->tfd->fown;
	case FD_TYPES__TTY:
		return e->tty->fown;
	case FD_TYPES__MEMFD:
		return e->memfd->fown;
	case FD_TYPES__PIDFD:
		return e->pidfd->fown;
	case FD_TYPES__INOTIFY:
		return e->ify->fown;
	case FD_TYPES__FANOTIFY:
		return e->ffy->fown;
	}
	return NULL;
}

static uint32_t flags_of(const FileEntry *e)
{
	switch ((int)e->type) {
	case FD_TYPES__PIPE:
		return e->pipe->flags;
	case FD_TYPES__INETSK:
		return e->isk->flags;
	case FD_TYPES__UNIXSK:
		return e->usk->flags;
	case FD_TYPES__TTY:
		return e->tty->flags;
	case FD_TYPES__INOTIFY:
		return e->ify->flags;
	case FD_TYPES__FANOTIFY:
		return e->ffy->flags;
	}
	return e->reg ? e->reg->flags : 0;
}

/* fifos have both in the entry of their path */
static const FileEntry *entry_with_fown(const struct restore *r, const FdinfoEntry *f)
{
	const struct slot *s = builder_slot(r, f->id);
	const FileEntry *e = s ? s->entry : NULL;

	if (e && e->type == FD_TYPES__FIFO)
		e = file_entry(r, FD_TYPES__REG, e->fifo->has_regf_id ? e->fifo->regf_id : e->id);
	return e;
}

static int set_owner(struct remote *remote, const struct task *t, uint32_t fd, const FileEntry *e, const FownEntry *own)
{
	const struct f_owner_ex ex = { (int)own->pid_type, (pid_t)own->pid };
	struct calls c = { 0 };
	int ret = remote_scratch_write(remote, 0, &ex, sizeof ex);

	if (ret < 0)
		return ret;
	if (own->signum)
		add_call(&c, SYS_fcntl, fd, F_SETSIG, own->signum);
	if (own->pid && (own->uid || own->euid))
		add_call(&c, SYS_setresuid, own->uid, own->euid, (uint64_t)-1);
	if (own->pid) {
		add_call(&c, SYS_fcntl, fd, F_SETOWN_EX, remote_scratch(remote));
		c.list.data[c.list.n - 1].must = 0;   /* it may be dead: then there is nobody to tell */
	}
	if (own->pid && (own->uid || own->euid))
		add_call(&c, SYS_setresuid, 0, 0, 0);
	if (flags_of(e) & O_ASYNC)
		add_call(&c, SYS_fcntl, fd, F_SETFL, flags_of(e));
	return run_calls(remote, &c, t, "set who gets the signals of a file");
}

static int restore_owners(struct restore *r, const struct task *t, struct remote *remote)
{
	for (size_t i = 0; i < t->fds->fds.n; i++) {
		const FdinfoEntry *f = t->fds->fds.data[i];
		const FileEntry *e = entry_with_fown(r, f);
		const FownEntry *own = e ? fown_of(e) : NULL;
		if (!own || (!own->pid && !own->signum && !(flags_of(e) & O_ASYNC)))
			continue;
		if (own->signum > 64 || own->pid_type > F_OWNER_PGRP)
			return fail_text(EBADMSG, ENTRY_FMT ": owner of type %u with signal %u", ENTRY_ARG(e), own->pid_type, own->signum);
		int ret = set_owner(remote, t, f->fd, e, own);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int take_lock(struct remote *remote, const struct task *t, const FileLockEntry *e)
{
	struct flock l = { .l_type = (short)e->type, .l_whence = SEEK_SET, .l_start = e->start, .l_len = e->len };
	int64_t ret;

	if (e->flag == 2) {
		int how = e->type == F_WRLCK ? LOCK_EX : e->type == F_RDLCK ? LOCK_SH : LOCK_UN;
		ret = remote_call(remote, SYS_flock, (uint64_t)e->fd, (uint64_t)(how | LOCK_NB), 0, 0, 0, 0);
	} else {
		ret = remote_scratch_write(remote, 0, &l, sizeof l);
		if (ret >= 0)
			ret = remote_call(remote, SYS_fcntl, (uint64_t)e->fd, e->flag == 4 ? F_OFD_SETLK : F_SETLK,
					  remote_scratch(remote), 0, 0, 0);
	}
	if (ret == -EAGAIN || ret == -EACCES)
		return fail_text(EBUSY, "task %d, descriptor %d: somebody else holds the file lock that it had", t->pid, e->fd);
	return ret < 0 ? fail((int)-ret, "task %d, descriptor %d: take its file lock again", t->pid, e->fd) : 0;
}

static int restore_locks(struct restore *r, const struct task *t, struct remote *remote)
{
	struct file_locks *l;
	int ret = locks_read(r, &l);

	for (size_t i = 0; i < l->n && ret >= 0; i++)
		if (l->data[i]->pid == t->pid)
			ret = take_lock(remote, t, l->data[i]);
	return ret;
}

int files_restore_owner(struct restore *r, struct task *t)
{
	struct remote *remote = t->threads[0].remote;
	int ret = restore_owners(r, t, remote);

	return ret < 0 ? ret : restore_locks(r, t, remote);
}
