/* SPDX-License-Identifier: Apache-2.0 */
/* File locks: flock(2), POSIX record locks and open file description locks (fcntl(2)).
 *
 * fdinfo has a line for each lock that is held through the descriptor (since 4.1): for a record lock, those of this process; for the
 * other two, those of this description. So a FLOCK or OFDLCK line appears with every descriptor of the description in any task, and
 * counts once; a POSIX line appears with every descriptor of the description in one table, and counts once there.
 *
 * Locks are restored only if the caller asked for them at the dump (--file-locks): somebody else may take them meanwhile. Each is
 * taken by a batch in its owner without waiting; if that fails somebody else has it.
 *
 * Not handled: leases are refused. */
#include "files/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"

enum lock_flag { LOCK_POSIX = 1, LOCK_FLOCK = 2, LOCK_OFD = 4 };   /* of the images */

static int parse_lock(const char *line, FileLockEntry *e, char kind[16])
{
	char mode[16], type[16], end[32];
	int64_t start;

	if (sscanf(line, "lock:\t%*d: %15s %15s %15s %*d %*x:%*x:%*u %" SCNd64 " %31s", kind, mode, type, &start, end) != 5)
		return -EPROTO;
	e->flag = strcmp(kind, "POSIX") == 0 ? LOCK_POSIX : strcmp(kind, "FLOCK") == 0 ? LOCK_FLOCK : strcmp(kind, "OFDLCK") == 0 ? LOCK_OFD : 0;
	if (strcmp(type, "READ") != 0 && strcmp(type, "WRITE") != 0)
		return -EPROTO;
	e->type = strcmp(type, "WRITE") == 0 ? F_WRLCK : F_RDLCK;
	e->start = start;
	int64_t last;
	if (strcmp(end, "EOF") == 0)
		e->len = 0;
	else if (parse_i64(end, 10, &last) == 0 && last >= start)
		e->len = last - start + 1;
	else
		return -EPROTO;
	return 0;
}

/* An earlier descriptor of the same table has shown the same locks. */
static bool shown_before(const struct file_info *f, uint32_t id)
{
	const struct fdtable *t = f->task->fds;

	for (size_t i = 0; i < t->fds.n && (int)t->fds.data[i]->fd < f->fd; i++)
		if (t->fds.data[i]->id == id)
			return true;
	return false;
}

static int dump_line(struct dump *d, const struct file_info *f, const char *line, uint32_t id, bool first)
{
	FileLockEntry e = FILE_LOCK_ENTRY__INIT;
	struct image *i;
	char kind[16] = "";
	int r = parse_lock(line, &e, kind);

	if (strcmp(kind, "LEASE") == 0 || (r >= 0 && !e.flag))
		return fail_text(ENOTSUP, FILE_FMT ": it holds a lock of the kind %s, which is not supported", FILE_ARG(f), kind);
	if (r < 0)
		return fail_text(EPROTO, FILE_FMT ": cannot read the lock '%.*s'", FILE_ARG(f), (int)strcspn(line, "\n"), line);
	if (e.flag == LOCK_POSIX ? shown_before(f, id) : !first)
		return 0;
	if (!d->o->file_locks) {
		fail_text(EBUSY, FILE_FMT ": it holds a file lock (%s)", FILE_ARG(f), kind);
		fail_hint("use --file-locks to save it; somebody else may take the lock before the restore");
		return -EBUSY;
	}
	e.pid = f->task->pid;
	e.fd = f->fd;
	r = dump_image(d, IMG_FILELOCKS, &i);
	return r < 0 ? r : image_write(i, &e);
}

int lock_dump(struct dump *d, const struct file_info *f, uint32_t id, bool first)
{
	int r = 0;

	for (const char *at = strstr(f->fdinfo, "\nlock:"); at && r >= 0; at = strstr(at + 1, "\nlock:"))
		r = dump_line(d, f, at + 1, id, first);
	return r;
}

int locks_read(struct restore *r, struct file_locks **out)
{
	struct file_locks **state = (struct file_locks **)file_restore_state(r, STATE_LOCK), *l = *state;
	auto_image struct image *i = NULL;
	FileLockEntry *e;

	*out = l;
	if (l)
		return 0;
	*out = *state = l = arena_new(r->arena, struct file_locks);
	int ret = image_open(r->images, IMG_FILELOCKS, 0, &i);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = image_read(i, r->arena, &e)) > 0) {
		if (e->type > F_UNLCK || (e->flag != LOCK_POSIX && e->flag != LOCK_FLOCK && e->flag != LOCK_OFD)) {
			ret = fail_text(ENOTSUP, "filelocks.img: task %d, descriptor %d: lock of flag %u and type %u is not supported", e->pid,
					e->fd, e->flag, e->type);
			break;
		}
		array_push(l) = e;
	}
	void *grown = l->data;   /* from here on it lives as long as the restore */
	l->data = arena_dup(r->arena, grown, l->n * sizeof *l->data);
	free_pointer(&grown);
	return ret;
}
