/* SPDX-License-Identifier: Apache-2.0 */
/* signalfd(2): a mask, shown by fdinfo ("sigmask", hexadecimal). What it would return are the pending signals of whoever reads. */
#include "files/signalfd.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"

static bool signalfd_match(const struct file_info *f)
{
	return strcmp(f->link, "anon_inode:[signalfd]") == 0;
}

static int signalfd_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	e->sgfd = ARENA_MESSAGE(d->arena, SignalfdEntry, SIGNALFD_ENTRY__INIT);
	e->sgfd->id = e->id;
	e->sgfd->flags = f->flags;
	if (!proc_field_u64(f->fdinfo, "sigmask", 16, &e->sgfd->sigmask))
		return fail_text(EPROTO, FILE_FMT ": its signal mask is not in fdinfo", FILE_ARG(f));
	return file_fown(d, f, &e->sgfd->fown);
}

static int signalfd_open(struct restore *r, const FileEntry *e)
{
	(void)r;
	autoclose int fd = (int)syscall(SYS_signalfd4, -1, &e->sgfd->sigmask, sizeof e->sgfd->sigmask, SFD_CLOEXEC);
	if (fd < 0)
		return fail(errno, ENTRY_FMT ": make it", ENTRY_ARG(e));
	int ret = file_set_flags(e, fd, e->sgfd->flags);
	return ret < 0 ? ret : take_fd(&fd);
}

const struct file_kind signalfd_kind = {
	.name = "signalfd",
	.type = FD_TYPES__SIGNALFD,
	.match = signalfd_match,
	.dump = signalfd_dump,
	.open = signalfd_open,
};
