/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are found again by their path: regular files, directories, the memory devices (null, zero, full, random, urandom), and
 * anything that is open with O_PATH only.
 *
 * Kernel facts relied on:
 * - The link /proc/PID/fd/N, read by a process outside the mount namespace, is the path from the root of that namespace (of the
 *   mount tree the file is on). " (deleted)" is added when the name has gone; a name may end like that as well, so that the link
 *   count (0) decides, and the lookup of the path.
 * - Opening the path again gives a description of its own; flags that only matter when a file is made (O_CREAT, O_EXCL, O_TRUNC,
 *   O_NOCTTY) are not in f_flags any more, O_TMPFILE is.
 *
 * On dump the path is looked up below the tree's root directory and must lead to the same device and inode; for a memory device
 * another node of the same device will do, with --evasive-devices any of them in /dev. If it does not, the file is, in this order: named by
 * the caller as external, deleted (a ghost, ghost.c), a file whose name is gone while another link lives on (link_remap.c, if the caller
 * allows it), or one from outside.
 *
 * On restore type, permissions and size are compared with what the image says before anything runs; an external file comes from
 * the caller (--inherit-fd).
 *
 * Not handled: build ids (the size is compared instead), files whose only name is a link elsewhere. */
#define LOG_PREFIX "files"
#include "files/reg.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "files/builder.h"
#include "files/ghost.h"
#include "files/link_remap.h"

#define DELETED " (deleted)"

/* --- recognising --- */

static bool memory_device(const struct stat *st)
{
	static const unsigned minors[] = { 3, 5, 7, 8, 9 };   /* null, zero, full, random, urandom */

	for (size_t i = 0; i < sizeof minors / sizeof *minors; i++)
		if (st->st_rdev == makedev(1, minors[i]))
			return S_ISCHR(st->st_mode);
	return false;
}

static bool reg_match(const struct file_info *f)
{
	if (f->link[0] != '/' || str_starts(f->link, "/memfd:") || str_starts(f->link, "/anon_hugepage"))
		return false;
	return S_ISREG(f->st.st_mode) || S_ISDIR(f->st.st_mode) || memory_device(&f->st) || (f->flags & O_PATH) ||
	       (f->external && !S_ISSOCK(f->st.st_mode));
}

/* --- the path --- */

int file_stat_path(const struct dump *d, const char *path, struct stat *st)
{
	int dir = AT_FDCWD;

	if (d->own_mnt_ns) {
		dir = d->root_fd;
		path += strspn(path, "/");
	}
	return fstatat(dir, *path ? path : ".", st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static bool same_file(const struct file_info *f, const struct stat *st)
{
	if (f->st.st_dev == st->st_dev && f->st.st_ino == st->st_ino)
		return true;
	return memory_device(&f->st) && S_ISCHR(st->st_mode) && st->st_rdev == f->st.st_rdev;
}

static bool path_leads_there(const struct dump *d, const struct file_info *f)
{
	struct stat st;

	return file_stat_path(d, f->link, &st) >= 0 && same_file(f, &st);
}

static char *external_key(struct dump *d, const struct file_info *f)
{
	return arena_printf(d->arena, "file[%x:%" PRIx64 "]", (unsigned)f->mnt_id, (uint64_t)f->st.st_ino);
}

bool file_is_external(const struct dump *d, const struct file_info *f)
{
	char key[64];

	if (!d->o->external)
		return false;
	if (f->link[0] != '/')
		return file_listed(d, f->link);
	snprintf(key, sizeof key, "file[%x:%" PRIx64 "]", (unsigned)f->mnt_id, (uint64_t)f->st.st_ino);
	if (file_listed(d, key))
		return true;
	return file_listed(d, f->link + 1) && !path_leads_there(d, f);
}

/* The path without what the kernel adds to it, and without the suffix of an earlier restore's ghost. */
static char *plain_path(struct dump *d, const struct file_info *f)
{
	char *path = arena_str(d->arena, f->link);

	if (str_ends(path, DELETED))
		path[strlen(path) - strlen(DELETED)] = 0;
	ghost_strip_suffix(path);
	return path;
}

static int name_gone(const struct file_info *f, const char *reason)
{
	fail_text(ENOTSUP, FILE_FMT ": %s, while the file has %ju other link(s)", FILE_ARG(f), reason, (uintmax_t)f->st.st_nlink);
	fail_hint("such a file can get a temporary name for the checkpoint: --link-remap");
	return -ENOTSUP;
}

static int from_outside(struct dump *d, const struct file_info *f, const char *reason)
{
	fail_text(ENOENT, FILE_FMT ": %s: the file was opened outside the container", FILE_ARG(f), reason);
	fail_hint("name it with --external '%s', and give it back at restore with --inherit-fd 'fd[N]:%s'", external_key(d, f),
		  external_key(d, f));
	return -ENOENT;
}

/* Another node of the same device, in /dev (--evasive-devices). */
static char *other_node(struct dump *d, const struct file_info *f, uint32_t *mode)
{
	autoclose int dir = d->own_mnt_ns ? openat(d->root_fd, "dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
					  : open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *nodes = dir < 0 ? NULL : fdopendir(dir);
	char *found = NULL;
	struct stat st;

	if (!nodes)
		return NULL;
	take_fd(&dir);
	for (const struct dirent *e; !found && (e = readdir(nodes));)
		if (fstatat(dirfd(nodes), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == (f->st.st_mode & S_IFMT) &&
		    st.st_rdev == f->st.st_rdev)
			found = arena_printf(d->arena, "/dev/%s", e->d_name), *mode = st.st_mode;
	closedir(nodes);
	return found;
}

/* Decides how the file is found again: fills name, and ext or a remap. */
static int find_path(struct dump *d, const struct file_info *f, RegFileEntry *reg)
{
	struct stat st;

	if (f->external) {
		char *key = external_key(d, f);
		reg->name = file_listed(d, key) ? key : arena_str(d->arena, f->link);
		reg->has_ext = reg->ext = true;
		return 0;
	}
	if (f->st.st_nlink == 0) {
		reg->name = plain_path(d, f);
		return ghost_dump(d, f, reg->id);
	}
	reg->name = arena_str(d->arena, f->link);
	int r = file_stat_path(d, f->link, &st);
	if (r >= 0 && same_file(f, &st))
		return 0;
	char *node = d->o->evasive_devices && (S_ISCHR(f->st.st_mode) || S_ISBLK(f->st.st_mode)) ? other_node(d, f, &reg->mode) : NULL;
	if (node) {
		log_info(FILE_FMT ": found again as %s", FILE_ARG(f), node);
		reg->name = node;
		return 0;
	}
	if (d->own_mnt_ns && f->mnt_id >= 0 && !mount_by_id(d, f->mnt_id))
		return from_outside(d, f, r < 0 ? "there is no such path in the container" : "that path is another file in the container");
	if (d->o->link_remap && S_ISREG(f->st.st_mode)) {
		reg->name = plain_path(d, f);
		return link_remap_dump(d, f, reg->name, reg->id);
	}
	if (str_ends(f->link, DELETED))
		return name_gone(f, "the name it was opened by is gone");
	if (r >= 0)
		return name_gone(f, "its path leads to another file now (replaced, or covered by a mount)");
	return fail(-r, FILE_FMT ": look its path up", FILE_ARG(f));
}

int reg_dump_path(struct dump *d, const struct file_info *f, FileEntry *e)
{
	RegFileEntry *reg = ARENA_MESSAGE(d->arena, RegFileEntry, REG_FILE_ENTRY__INIT);

	e->reg = reg;
	reg->id = e->id;
	reg->flags = f->flags;
	reg->pos = f->pos;
	reg->has_mode = true;
	reg->mode = f->st.st_mode;
	if (S_ISREG(f->st.st_mode)) {
		reg->has_size = true;
		reg->size = (uint64_t)f->st.st_size;
	}
	if (d->own_mnt_ns && mount_by_id(d, f->mnt_id)) {
		reg->has_mnt_id = true;
		reg->mnt_id = f->mnt_id;
	}
	int r = file_fown(d, f, &reg->fown);
	return r < 0 ? r : find_path(d, f, reg);
}

static int reg_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	return reg_dump_path(d, f, e);
}

/* --- restore --- */

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "a regular file";
	case S_IFDIR:
		return "a directory";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	case S_IFIFO:
		return "a fifo";
	case S_IFSOCK:
		return "a socket";
	case S_IFLNK:
		return "a symbolic link";
	}
	return "a file of unknown type";
}

static int check_same(const struct restore *r, const RegFileEntry *e, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(errno, "fstat %s", e->name);
	if (e->has_mode && (e->mode & S_IFMT) != (st.st_mode & S_IFMT))
		return fail_text(EINVAL, "%s is %s now, it was %s when the checkpoint was taken", e->name, type_name(st.st_mode),
				 type_name(e->mode));
	if ((S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) && !memory_device(&st) && !(e->flags & O_PATH))
		return fail_text(ENOTSUP, "%s is %s (%u:%u), which is not supported", e->name, type_name(st.st_mode), major(st.st_rdev),
				 minor(st.st_rdev));
	if (e->has_mode && !r->o->skip_file_rwx_check && (e->mode & 07777) != (st.st_mode & 07777)) {
		fail_text(EINVAL, "%s has mode %04o now, it had %04o when the checkpoint was taken", e->name, st.st_mode & 07777u,
			  e->mode & 07777u);
		fail_hint("put the mode back, or restore with --skip-file-rwx-check");
		return -EINVAL;
	}
	if (e->has_size && S_ISREG(st.st_mode) && e->size != (uint64_t)st.st_size) {
		fail_text(EINVAL, "%s has %ju bytes now, it had %" PRIu64 " when the checkpoint was taken", e->name,
			  (uintmax_t)st.st_size, e->size);
		fail_hint("restore the file as it was together with the checkpoint");
		return -EINVAL;
	}
	return 0;
}

static uint32_t open_flags(const RegFileEntry *e, uint32_t flags)
{
	if ((flags & O_TMPFILE) == O_TMPFILE)
		flags &= ~(uint32_t)O_TMPFILE;
	flags &= ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC);
	if ((flags & O_PATH) && e->has_mode && S_ISLNK(e->mode))
		flags |= O_NOFOLLOW;
	return flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;   /* never wait for what has taken the file's place */
}

int reg_open_entry(struct restore *r, const RegFileEntry *e, uint32_t flags)
{
	flags = open_flags(e, flags);
	autoclose int fd = -1;
	int ret = ghost_open(r, e, flags, &fd);

	if (ret == 0 && e->name[0] != '/')
		return fail_text(EBADMSG, "file %u of the images has the relative path '%s'", e->id, e->name);
	if (ret == 0) {
		fd = open(e->name, (int)flags);
		if (fd < 0)
			ret = fail(errno, "open %s, which the checkpoint needs%s", e->name,
				   errno == ENOENT ? " (it was there when the checkpoint was taken)" : "");
	}
	if (ret >= 0)
		ret = check_same(r, e, fd);
	return ret < 0 ? ret : take_fd(&fd);
}

/* A plain path is the caller's only if no entry from outside claims the same key. */
static bool key_is_taken(const struct restore *r, const RegFileEntry *e)
{
	for (size_t i = 0; i < r->tree->files.n; i++) {
		const RegFileEntry *o = r->tree->files.data[i]->reg;
		if (o && o != e && o->has_ext && o->ext && strcmp(o->name, e->name) == 0)
			return true;
	}
	return false;
}

static int inherited(const struct restore *r, const RegFileEntry *e)
{
	autoclose int fd = file_inherited(r, e->name + strspn(e->name, "/"));

	if (fd < 0 || (e->has_ext && e->ext) || !key_is_taken(r, e))
		return take_fd(&fd);
	return -ENOENT;
}

static int missing_external(const RegFileEntry *e)
{
	const char *key = e->name + strspn(e->name, "/");

	fail_text(ENOENT, "file %s was opened outside the container and must come from the caller", e->name);
	fail_hint("restore with --inherit-fd 'fd[N]:%s'", key);
	return -ENOENT;
}

/* As the caller has it; opened anew when it was open for something else. */
static int take_inherited(struct restore *r, const FileEntry *fe, int fd)
{
	autoclose int owned = fd;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return fail(errno, "ask for the flags of the descriptor given for %s", fe->reg->name);
	if ((flags & O_ACCMODE) != O_RDWR && ((uint32_t)flags & O_ACCMODE) != (fe->reg->flags & O_ACCMODE)) {
		int other = file_reopen(r, fd, open_flags(fe->reg, fe->reg->flags));
		if (other < 0)
			return fail(-other, "the descriptor given for %s is open for something else; open it again", fe->reg->name);
		close(owned);
		owned = other;
	}
	/* one that appends goes on to do so: it was not ours to begin with */
	int ret = file_set_flags(fe, owned, fe->reg->flags | ((uint32_t)flags & O_APPEND));
	return ret < 0 ? ret : take_fd(&owned);
}

static int reg_open(struct restore *r, const FileEntry *fe)
{
	const RegFileEntry *e = fe->reg;
	int given = inherited(r, e);

	if (given != -ENOENT)
		return given < 0 ? given : take_inherited(r, fe, given);
	if (e->has_ext && e->ext)
		return missing_external(e);
	autoclose int fd = reg_open_entry(r, e, e->flags);
	if (fd < 0)
		return fd;
	if (e->pos && !(e->flags & O_PATH) && lseek(fd, (off_t)e->pos, SEEK_SET) < 0)
		return fail(errno, "set the position of %s to %" PRIu64, e->name, e->pos);
	int ret = file_set_flags(fe, fd, e->flags);
	return ret < 0 ? ret : take_fd(&fd);
}

static int reg_finish(struct restore *r, const FileEntry *e, int fd)
{
	(void)fd;
	return ghost_finish(r, e->reg);
}

const struct file_kind reg_kind = {
	.name = "file",
	.type = FD_TYPES__REG,
	.match = reg_match,
	.dump = reg_dump,
	.open = reg_open,
	.finish = reg_finish,
};
