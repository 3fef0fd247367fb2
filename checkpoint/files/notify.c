/* SPDX-License-Identifier: Apache-2.0 */
/* inotify(7) and fanotify(7): what is watched, shown by fdinfo with the inode's handle (handle.c finds a path).
 *
 * inotify: watch descriptors keep their numbers: INOTIFY_IOC_SETNEXTWD (CONFIG_CHECKPOINT_RESTORE, Linux 4.16) names the next one.
 * fanotify: the group's flags and marks on inodes and mounts; a mark has two masks, of events and of ignored events.
 *
 * Restore: watches are added when all files are open (finish), by numbers below /proc/self/fd; what they have noticed of the restore
 * itself by then is thrown away.
 *
 * Not kept: events that were not read yet (a warning in the log says how many bytes). Not handled, refused by name: fanotify marks on
 * whole file systems, for which the format has no place. Permission events must not be under way. */
#define LOG_PREFIX "files"
#include "files/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "files/handle.h"

#define SET_NEXT_WD _IOW('I', 0, int32_t)   /* INOTIFY_IOC_SETNEXTWD */

static size_t count_lines(const char *text, const char *start)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, start)); at++)
		n++;
	return n;
}

static void warn_unread(const struct file_info *f)
{
	int bytes = 0;

	if (ioctl(f->local, FIONREAD, &bytes) == 0 && bytes > 0)
		log_warn(FILE_FMT ": %d bytes of events that it has not read are not saved", FILE_ARG(f), bytes);
}

/* What the restore itself has caused. */
static void drain(int fd)
{
	char events[4096];
	int bytes = 0;

	while (ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0 && read(fd, events, sizeof events) > 0)
		;
}

/* The same of events that bring an open file each. */
static void drain_files(int fd)
{
	struct fanotify_event_metadata events[64];
	int bytes = 0;

	while (ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0) {
		ssize_t n = read(fd, events, sizeof events);
		if (n <= 0)
			break;
		for (struct fanotify_event_metadata *m = events; FAN_EVENT_OK(m, n); m = FAN_EVENT_NEXT(m, n))
			if (m->fd >= 0)
				close(m->fd);
	}
}

/* --- inotify: dump --- */

static bool inotify_match(const struct file_info *f)
{
	return strcmp(f->link, "anon_inode:inotify") == 0 || strcmp(f->link, "anon_inode:[inotify]") == 0;
}

static int watch_dump(struct dump *d, const struct file_info *f, const char *line, InotifyWdEntry **out)
{
	InotifyWdEntry *e = *out = ARENA_MESSAGE(d->arena, InotifyWdEntry, INOTIFY_WD_ENTRY__INIT);
	struct watched w = { 0 };

	if (sscanf(line, "inotify wd:%x ino:%" SCNx64 " sdev:%x mask:%x ignored_mask:%x", &e->wd, &w.inode, &w.device, &e->mask,
		   &e->ignored_mask) != 5)
		return fail_text(EPROTO, FILE_FMT ": cannot read what it watches: %.*s", FILE_ARG(f), (int)strcspn(line, "\n"), line);
	watched_handle(line, &w);
	e->i_ino = w.inode;
	e->s_dev = w.device;
	return handle_dump(d, f, &w, &e->f_handle);
}

static int inotify_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	static const char start[] = "inotify wd:";
	InotifyFileEntry *n = e->ify = ARENA_MESSAGE(d->arena, InotifyFileEntry, INOTIFY_FILE_ENTRY__INIT);

	n->id = e->id;
	n->flags = f->flags;
	n->wd = arena_array(d->arena, InotifyWdEntry *, count_lines(f->fdinfo, start) + 1);
	warn_unread(f);
	for (const char *at = f->fdinfo; (at = strstr(at, start)); at++) {
		int r = watch_dump(d, f, at, &n->wd[n->n_wd++]);
		if (r < 0)
			return r;
	}
	return file_fown(d, f, &n->fown);
}

/* --- inotify: restore --- */

static int inotify_open(struct restore *r, const FileEntry *e)
{
	(void)r;
	autoclose int fd = inotify_init1(IN_CLOEXEC);
	if (fd < 0)
		return fail(errno, ENTRY_FMT ": make it", ENTRY_ARG(e));
	int ret = file_set_flags(e, fd, e->ify->flags);
	return ret < 0 ? ret : take_fd(&fd);
}

/* Where the number cannot be asked for, watches are added and removed until it comes. */
static int watch_add(int fd, const InotifyWdEntry *w, const char *name)
{
	int32_t next = (int32_t)w->wd;
	bool asked = ioctl(fd, SET_NEXT_WD, next) == 0;

	for (;;) {
		int got = inotify_add_watch(fd, name, w->mask);
		if (got < 0)
			return -errno;
		if (got == next)
			return 0;
		inotify_rm_watch(fd, got);
		if (asked || got > next)
			return -EEXIST;
	}
}

static int watch_restore(struct restore *r, const FileEntry *e, const InotifyWdEntry *w, int fd)
{
	autoclose int at = handle_open(r, e, w->f_handle);
	char name[16];

	if (at < 0)
		return at;
	snprintf(name, sizeof name, "%d", at);
	int ret = w->wd && w->wd <= INT32_MAX ? watch_add(fd, w, name) : -EBADMSG;
	return ret < 0 ? fail(-ret, ENTRY_FMT ": watch %s with number %u", ENTRY_ARG(e), w->f_handle->path ? w->f_handle->path : "a file", w->wd)
		       : 0;
}

static int compare_watches(const void *a, const void *b)
{
	const InotifyWdEntry *x = *(InotifyWdEntry *const *)a, *y = *(InotifyWdEntry *const *)b;

	return (x->wd > y->wd) - (x->wd < y->wd);
}

static int inotify_finish(struct restore *r, const FileEntry *e, int fd)
{
	int ret = file_chdir_self(r);

	if (ret < 0)
		return fail(-ret, ENTRY_FMT ": enter /proc/self/fd", ENTRY_ARG(e));
	if (e->ify->n_wd)
		qsort(e->ify->wd, e->ify->n_wd, sizeof *e->ify->wd, compare_watches);
	for (size_t i = 0; i < e->ify->n_wd && ret >= 0; i++)
		ret = watch_restore(r, e, e->ify->wd[i], fd);
	drain(fd);
	return ret;
}

const struct file_kind inotify_kind = {
	.name = "inotify instance",
	.type = FD_TYPES__INOTIFY,
	.match = inotify_match,
	.dump = inotify_dump,
	.open = inotify_open,
	.finish = inotify_finish,
};

/* --- fanotify: dump --- */

static bool fanotify_match(const struct file_info *f)
{
	return strcmp(f->link, "anon_inode:[fanotify]") == 0;
}

static int inode_mark(struct dump *d, const struct file_info *f, const char *line, FanotifyMarkEntry *m)
{
	struct watched w = { 0 };

	if (sscanf(line, "fanotify ino:%" SCNx64 " sdev:%x mflags:%x mask:%x ignored_mask:%x", &w.inode, &w.device, &m->mflags, &m->mask,
		   &m->ignored_mask) != 5)
		return -EPROTO;
	watched_handle(line, &w);
	m->type = MARK_TYPE__INODE;
	m->s_dev = w.device;
	m->ie = ARENA_MESSAGE(d->arena, FanotifyInodeMarkEntry, FANOTIFY_INODE_MARK_ENTRY__INIT);
	m->ie->i_ino = w.inode;
	return handle_dump(d, f, &w, &m->ie->f_handle);
}

static int mount_mark(struct dump *d, const struct file_info *f, const char *line, FanotifyMarkEntry *m)
{
	unsigned id;
	struct stat st;

	if (sscanf(line, "fanotify mnt_id:%x mflags:%x mask:%x ignored_mask:%x", &id, &m->mflags, &m->mask, &m->ignored_mask) != 4)
		return -EPROTO;
	autofree char *point = handle_mountpoint(d, (int)id);
	if (!point || file_stat_path(d, point, &st) < 0)
		return fail_text(ENOTSUP, FILE_FMT ": it watches mount %u, which the tree's root task does not see", FILE_ARG(f), id);
	m->type = MARK_TYPE__MOUNT;
	m->s_dev = major(st.st_dev) << 20 | minor(st.st_dev);
	m->me = ARENA_MESSAGE(d->arena, FanotifyMountMarkEntry, FANOTIFY_MOUNT_MARK_ENTRY__INIT);
	m->me->mnt_id = id;
	m->me->path = arena_str(d->arena, point);
	return 0;
}

static int mark_dump(struct dump *d, const struct file_info *f, const char *line, FanotifyMarkEntry **out)
{
	FanotifyMarkEntry *m = *out = ARENA_MESSAGE(d->arena, FanotifyMarkEntry, FANOTIFY_MARK_ENTRY__INIT);
	int r = -ENOTSUP;

	if (str_starts(line, "fanotify ino:"))
		r = inode_mark(d, f, line, m);
	else if (str_starts(line, "fanotify mnt_id:"))
		r = mount_mark(d, f, line, m);
	else
		return fail_text(ENOTSUP, FILE_FMT ": it marks what has no place in the images: %.*s", FILE_ARG(f), (int)strcspn(line, "\n"), line);
	if (r == -EPROTO)
		return fail_text(EPROTO, FILE_FMT ": cannot read what it marks: %.*s", FILE_ARG(f), (int)strcspn(line, "\n"), line);
	return r;
}

static int fanotify_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	FanotifyFileEntry *n = e->ffy = ARENA_MESSAGE(d->arena, FanotifyFileEntry, FANOTIFY_FILE_ENTRY__INIT);
	const char *at = strstr(f->fdinfo, "fanotify flags:");

	n->id = e->id;
	n->flags = f->flags;
	if (!at || sscanf(at, "fanotify flags:%x event-flags:%x", &n->faflags, &n->evflags) != 2)
		return fail_text(EPROTO, FILE_FMT ": its flags are not in fdinfo", FILE_ARG(f));
	n->mark = arena_array(d->arena, FanotifyMarkEntry *, count_lines(f->fdinfo, "fanotify ") + 1);
	warn_unread(f);
	for (at++; (at = strstr(at, "fanotify ")); at++) {
		int r = mark_dump(d, f, at, &n->mark[n->n_mark++]);
		if (r < 0)
			return r;
	}
	return file_fown(d, f, &n->fown);
}

/* --- fanotify: restore --- */

static int fanotify_open(struct restore *r, const FileEntry *e)
{
	(void)r;
	autoclose int fd = fanotify_init(e->ffy->faflags | FAN_CLOEXEC, e->ffy->evflags);
	if (fd < 0)
		return fail(errno, ENTRY_FMT ": make it with flags %#x", ENTRY_ARG(e), e->ffy->faflags);
	int ret = file_set_flags(e, fd, e->ffy->flags);
	return ret < 0 ? ret : take_fd(&fd);
}

static int mark_open(struct restore *r, const FileEntry *e, const FanotifyMarkEntry *m)
{
	if (m->type == MARK_TYPE__INODE && m->ie)
		return handle_open(r, e, m->ie->f_handle);
	if (m->type != MARK_TYPE__MOUNT || !m->me || !m->me->path)
		return fail_text(EBADMSG, ENTRY_FMT ": a mark without an inode or a path", ENTRY_ARG(e));
	int fd = open(m->me->path, O_PATH | O_CLOEXEC);
	return fd < 0 ? fail(errno, ENTRY_FMT ": open the mount %s, which it watches", ENTRY_ARG(e), m->me->path) : fd;
}

static int mark_restore(struct restore *r, const FileEntry *e, const FanotifyMarkEntry *m, int fd)
{
	unsigned flags = FAN_MARK_ADD | m->mflags | (m->type == MARK_TYPE__MOUNT ? FAN_MARK_MOUNT : 0);
	autoclose int at = mark_open(r, e, m);
	char name[16];

	if (at < 0)
		return at;
	snprintf(name, sizeof name, "%d", at);
	if (m->mask && fanotify_mark(fd, flags & ~(unsigned)FAN_MARK_IGNORED_SURV_MODIFY, m->mask, AT_FDCWD, name) < 0)
		return fail(errno, ENTRY_FMT ": mark what it watches (mask %#x)", ENTRY_ARG(e), m->mask);
	if (m->ignored_mask && fanotify_mark(fd, flags | FAN_MARK_IGNORED_MASK, m->ignored_mask, AT_FDCWD, name) < 0)
		return fail(errno, ENTRY_FMT ": mark what it ignores (mask %#x)", ENTRY_ARG(e), m->ignored_mask);
	return 0;
}

static int fanotify_finish(struct restore *r, const FileEntry *e, int fd)
{
	int ret = file_chdir_self(r);

	if (ret < 0)
		return fail(-ret, ENTRY_FMT ": enter /proc/self/fd", ENTRY_ARG(e));
	for (size_t i = 0; i < e->ffy->n_mark && ret >= 0; i++)
		ret = mark_restore(r, e, e->ffy->mark[i], fd);
	drain_files(fd);
	return ret;
}

const struct file_kind fanotify_kind = {
	.name = "fanotify group",
	.type = FD_TYPES__FANOTIFY,
	.match = fanotify_match,
	.dump = fanotify_dump,
	.open = fanotify_open,
	.finish = fanotify_finish,
};
