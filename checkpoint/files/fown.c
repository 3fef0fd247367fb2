/* SPDX-License-Identifier: Apache-2.0 */
/* Owner and signal of a file that announces input by a signal (fcntl(2): F_SETOWN_EX, F_SETSIG, O_ASYNC).
 *
 * All of it belongs to the description, so that the engine's duplicate can be asked; the owner comes as a pid of the engine's
 * namespace and is stored as one of the tree's. The kernel also keeps the user ids of who set the owner, and checks against them
 * when it sends the signal (F_GETOWNER_UIDS, CONFIG_CHECKPOINT_RESTORE).
 *
 * Restore: by the owner of the descriptor, in a batch, when all tasks exist (place.c). */
#include <errno.h>
#include <fcntl.h>

#include "base/err.h"
#include "files/kinds.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

static pid_t to_virtual(const struct tree *tree, const struct f_owner_ex *own)
{
	for (size_t i = 0; i < tree->tasks.n; i++) {
		const struct task *t = tree->tasks.data[i];
		if (t->host_pid == own->pid)
			return t->pid;
		for (size_t k = 0; own->type == F_OWNER_TID && k < t->n_threads; k++)
			if (t->threads[k].host_tid == own->pid)
				return t->threads[k].tid;
	}
	return 0;
}

int file_fown(struct dump *d, const struct file_info *f, FownEntry **out)
{
	FownEntry *e = *out = ARENA_MESSAGE(d->arena, FownEntry, FOWN_ENTRY__INIT);
	struct f_owner_ex own;
	uint32_t uids[2];

	if (f->fd < 0 || (f->flags & O_PATH))
		return 0;
	int signum = fcntl(f->local, F_GETSIG);
	if (signum < 0 || fcntl(f->local, F_GETOWN_EX, &own) < 0)
		return fail(errno, FILE_FMT ": ask who gets its signals", FILE_ARG(f));
	e->signum = (uint32_t)signum;
	if (!own.pid)
		return 0;
	pid_t pid = to_virtual(d->tree, &own);
	if (!pid && d->own_pid_ns)
		return fail_text(ENOTSUP, FILE_FMT ": its signals go to process %d, which is not in the tree", FILE_ARG(f), own.pid);
	e->pid = (uint32_t)(pid ? pid : own.pid);
	e->pid_type = (uint32_t)own.type;
	if (fcntl(f->local, F_GETOWNER_UIDS, uids) == 0) {
		e->uid = uids[0];
		e->euid = uids[1];
	}
	return 0;
}
