/* SPDX-License-Identifier: Apache-2.0 */
/* eventfd(2): a counter. fdinfo shows it ("eventfd-count", hexadecimal, since 3.8) and, since 6.6, whether it is a semaphore
 * ("eventfd-semaphore"). EFD_SEMAPHORE is not among the open flags; in the image it is their lowest bit (O_WRONLY, which an
 * eventfd never has), where readers that do not know it ignore it. */
#include "files/eventfd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"

static bool eventfd_match(const struct file_info *f)
{
	return strcmp(f->link, "anon_inode:[eventfd]") == 0;
}

static int eventfd_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	uint64_t semaphore = 0;

	e->efd = ARENA_MESSAGE(d->arena, EventfdFileEntry, EVENTFD_FILE_ENTRY__INIT);
	e->efd->id = e->id;
	if (!proc_field_u64(f->fdinfo, "eventfd-count", 16, &e->efd->counter))
		return fail_text(EPROTO, FILE_FMT ": its counter is not in fdinfo", FILE_ARG(f));
	proc_field_u64(f->fdinfo, "eventfd-semaphore", 10, &semaphore);
	e->efd->flags = f->flags | (semaphore ? EFD_SEMAPHORE : 0);
	return file_fown(d, f, &e->efd->fown);
}

static int eventfd_open(struct restore *r, const FileEntry *e)
{
	(void)r;
	if (e->efd->counter == UINT64_MAX)
		return fail_text(EBADMSG, ENTRY_FMT ": the counter is out of range", ENTRY_ARG(e));
	autoclose int fd = eventfd(0, EFD_CLOEXEC | (e->efd->flags & EFD_SEMAPHORE));
	if (fd < 0)
		return fail(errno, ENTRY_FMT ": make it", ENTRY_ARG(e));
	if (e->efd->counter && write(fd, &e->efd->counter, sizeof e->efd->counter) < 0)
		return fail(errno, ENTRY_FMT ": set its counter", ENTRY_ARG(e));
	int ret = file_set_flags(e, fd, e->efd->flags);
	return ret < 0 ? ret : take_fd(&fd);
}

const struct file_kind eventfd_kind = {
	.name = "eventfd",
	.type = FD_TYPES__EVENTFD,
	.match = eventfd_match,
	.dump = eventfd_dump,
	.open = eventfd_open,
};
