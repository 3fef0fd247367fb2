/* SPDX-License-Identifier: Apache-2.0 */
/* memfd_create(2): a file in memory without a name in any directory. The link in /proc is "/memfd:NAME (deleted)". Several descriptions
 * of one memfd are several entries of files.img, with one entry of memfd.img for the inode: name, size, owner, mode, seals. Mappings
 * refer to it as to any file. The content is mem/memfd.c's.
 *
 * Restore: an inode is made once, with sealing allowed, and every description of it is opened through the builder's /proc/self/fd. Seals
 * come last (finish): F_SEAL_WRITE and F_SEAL_SHRINK would be in the way of the content, F_SEAL_FUTURE_WRITE of mappings, F_SEAL_EXEC of
 * the mode. One that could not be sealed has F_SEAL_SEAL, which is a seal like the others.
 *
 * Not handled, refused by name: memfds on huge pages (MFD_HUGETLB), programs that run from one. Times are not kept. */
#include "files/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "mem/memfd.h"

#define PREFIX "/memfd:"
#define DELETED " (deleted)"
#define NAME_LIMIT 249               /* of memfd_create */

struct inode {
	struct inode *next;
	dev_t dev;
	ino_t ino;
	uint32_t id;
	int fd;                      /* restore */
};

static bool memfd_match(const struct file_info *f)
{
	return str_starts(f->link, PREFIX) && S_ISREG(f->st.st_mode) && f->st.st_nlink == 0 && f->fd != FILE_EXE;
}

/* --- dump --- */

static char *name_of(struct dump *d, const struct file_info *f)
{
	char *name = arena_str(d->arena, f->link + strlen(PREFIX));

	if (str_ends(name, DELETED))
		name[strlen(name) - strlen(DELETED)] = 0;
	return name;
}

static int inode_dump(struct dump *d, const struct file_info *f, uint32_t id)
{
	MemfdInodeEntry e = MEMFD_INODE_ENTRY__INIT;
	autoclose int fd = open(FD_PATH(f->local), O_RDONLY | O_CLOEXEC);
	struct statfs fs;
	struct image *i;

	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return fail(errno, FILE_FMT ": open it", FILE_ARG(f));
	if (fs.f_type == HUGETLBFS_MAGIC)
		return fail_text(ENOTSUP, FILE_FMT ": it is a memfd on huge pages, which is not supported", FILE_ARG(f));
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0)
		return fail(errno, FILE_FMT ": ask for its seals", FILE_ARG(f));
	e.name = name_of(d, f);
	e.uid = f->st.st_uid;
	e.gid = f->st.st_gid;
	e.size = (uint64_t)f->st.st_size;
	e.shmid = (uint32_t)f->st.st_ino;
	e.seals = (uint32_t)seals;
	e.inode_id = id;
	e.has_mode = true;
	e.mode = f->st.st_mode;
	int r = dump_image(d, IMG_MEMFD, &i);
	if (r >= 0)
		r = image_write(i, &e);
	return r < 0 || !e.size ? r : memfd_found(d, fd, e.shmid, e.size);
}

static int memfd_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	struct inode **known = (struct inode **)file_state(d, STATE_MEMFD), *n;
	int r = 0;

	for (n = *known; n && (n->dev != f->st.st_dev || n->ino != f->st.st_ino); n = n->next)
		;
	if (!n) {
		n = arena_new(d->arena, struct inode);
		*n = (struct inode){ *known, f->st.st_dev, f->st.st_ino, *known ? (*known)->id + 1 : 1, -1 };
		*known = n;
		r = inode_dump(d, f, n->id);
	}
	if (r < 0)
		return r;
	e->memfd = ARENA_MESSAGE(d->arena, MemfdFileEntry, MEMFD_FILE_ENTRY__INIT);
	e->memfd->id = e->id;
	e->memfd->flags = f->flags;
	e->memfd->pos = f->pos;
	e->memfd->inode_id = n->id;
	return file_fown(d, f, &e->memfd->fown);
}

/* --- restore --- */

static int inode_make(const MemfdInodeEntry *n)
{
	if (strlen(n->name) > NAME_LIMIT)
		return fail_text(EBADMSG, "memfd.img: the name of memfd %ju is too long", (uintmax_t)n->inode_id);
	autoclose int fd = memfd_create(n->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return fail(errno, "make memfd '%s'", n->name);
	if (ftruncate(fd, (off_t)n->size) < 0)
		return fail(errno, "set the size of memfd '%s' to %ju", n->name, (uintmax_t)n->size);
	if ((n->uid || n->gid) && fchown(fd, n->uid, n->gid) < 0)
		return fail(errno, "give memfd '%s' to user %u, group %u", n->name, n->uid, n->gid);
	if (n->has_mode && fchmod(fd, n->mode & 07777) < 0)
		return fail(errno, "set the mode of memfd '%s'", n->name);
	return take_fd(&fd);
}

static struct inode *inode_find(struct restore *r, uint32_t id)
{
	struct inode *n = *(struct inode **)file_restore_state(r, STATE_MEMFD);

	while (n && n->id != id)
		n = n->next;
	return n;
}

static int inode_get(struct restore *r, uint32_t id)
{
	struct inode **known = (struct inode **)file_restore_state(r, STATE_MEMFD), *n = inode_find(r, id);

	if (n)
		return n->fd;
	const MemfdInodeEntry *e = memfd_inode(r, id);
	int fd = e ? inode_make(e) : fail_text(EBADMSG, "memfd.img has no memfd %u", id);
	if (fd < 0)
		return fd;
	n = arena_new(r->arena, struct inode);
	*n = (struct inode){ .next = *known, .id = id, .fd = fd };
	*known = n;
	return fd;
}

static int memfd_open(struct restore *r, const FileEntry *e)
{
	const uint32_t kept = O_ACCMODE | O_APPEND | O_NONBLOCK | O_NOATIME | O_PATH;
	int base = inode_get(r, e->memfd->inode_id);

	if (base < 0)
		return base;
	autoclose int fd = file_reopen(r, base, (e->memfd->flags & kept) | O_CLOEXEC);
	if (fd < 0)
		return fail(-fd, ENTRY_FMT ": open it again", ENTRY_ARG(e));
	if (e->memfd->pos && lseek(fd, (off_t)e->memfd->pos, SEEK_SET) < 0)
		return fail(errno, ENTRY_FMT ": set its position to %ju", ENTRY_ARG(e), (uintmax_t)e->memfd->pos);
	return take_fd(&fd);
}

/* Once for each description; seals that are there already do no harm, unless they forbid more. */
static int memfd_finish(struct restore *r, const FileEntry *e, int fd)
{
	const MemfdInodeEntry *n = memfd_inode(r, e->memfd->inode_id);
	int base = inode_get(r, e->memfd->inode_id);

	(void)fd;
	if (base < 0 || !n->seals || fcntl(base, F_GET_SEALS) == (int)n->seals)
		return base < 0 ? base : 0;
	return fcntl(base, F_ADD_SEALS, n->seals) < 0 ? fail(errno, "put the seals %#x on memfd '%s'", n->seals, n->name) : 0;
}

const struct file_kind memfd_kind = {
	.name = "memfd",
	.type = FD_TYPES__MEMFD,
	.match = memfd_match,
	.dump = memfd_dump,
	.open = memfd_open,
	.finish = memfd_finish,
};
