/* SPDX-License-Identifier: Apache-2.0 */
/* epoll(7).
 *
 * Kernel facts relied on:
 * - fdinfo has one line for each target: the descriptor number with which it was added, events, data, position, inode and device of
 *   the target (since 4.13). Lines come in the order of the set's tree, which kcmp(KCMP_EPOLL_TFD) counts in as well.
 * - A target is a description *and* a number. It stays when the number is closed or reused, as long as the description is open
 *   anywhere. kcmp(KCMP_EPOLL_TFD) tells whether a descriptor is the target.
 *
 * The image names a target by its number alone, in the descriptor table of the epoll's owner. The rule for both directions: the
 * first table, in the order of tasks, that holds the epoll file and has that number. Dump checks for every target that the rule finds
 * it (by inode for sockets, whose inode has one description; by kcmp otherwise). If the number is another file now, or closed, the
 * number of another descriptor of the same description takes its place in the image; the program sees no difference, except that
 * EPOLL_CTL_DEL by the new number would work. If there is none, the dump stops.
 *
 * Restore adds targets in the builder, when all files are open: the target is put at its number for the moment, and what the builder
 * itself has there is moved aside and back.
 *
 * Not kept: that a target with EPOLLONESHOT has fired and not been armed again also masks EPOLLERR and EPOLLHUP; after a restore
 * those two are reported. An edge-triggered target that is ready is reported once more. */
#include "files/eventpoll.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "files/builder.h"

static bool eventpoll_match(const struct file_info *f)
{
	return strcmp(f->link, "anon_inode:[eventpoll]") == 0;
}

/* --- dump --- */

struct epoll {
	struct epoll *next;
	struct task *task;             /* where it was first seen */
	int fd;
	FileEntry *entry;
};

static int parse_line(struct dump *d, const char *at, EventpollTfdEntry **out)
{
	char line[160];   /* sscanf() looks for the end of all the text that it is given, each time */
	EventpollTfdEntry *t = ARENA_MESSAGE(d->arena, EventpollTfdEntry, EVENTPOLL_TFD_ENTRY__INIT);
	uint64_t pos, ino;
	unsigned fd, events, dev;
	uint64_t data;

	snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
	if (sscanf(line, "tfd: %u events: %x data: %" SCNx64 " pos:%" SCNu64 " ino:%" SCNx64 " sdev:%x", &fd, &events, &data, &pos, &ino,
		   &dev) != 6)
		return -EPROTO;
	t->tfd = fd;
	t->events = events;
	t->data = data;
	t->has_dev = t->has_inode = t->has_pos = true;
	t->dev = dev;
	t->inode = ino;
	t->pos = pos;
	*out = t;
	return 0;
}

static size_t count_lines(const char *text)
{
	size_t n = 0;

	for (const char *at = strstr(text, "tfd:"); at; at = strstr(at + 4, "\ntfd:"))
		n++;
	return n;
}

static int eventpoll_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	struct epoll **all = (struct epoll **)file_state(d, STATE_EVENTPOLL), *k = arena_new(d->arena, struct epoll);
	EventpollFileEntry *p = e->epfd = ARENA_MESSAGE(d->arena, EventpollFileEntry, EVENTPOLL_FILE_ENTRY__INIT);

	p->id = e->id;
	p->flags = f->flags;
	p->tfd = arena_array(d->arena, EventpollTfdEntry *, count_lines(f->fdinfo) + 1);
	for (const char *at = strstr(f->fdinfo, "tfd:"); at; at = strstr(at, "\ntfd:")) {
		at += *at == '\n';
		if (parse_line(d, at, &p->tfd[p->n_tfd]) < 0)
			return fail_text(EPROTO, FILE_FMT ": cannot read its targets: %.*s", FILE_ARG(f), (int)strcspn(at, "\n"), at);
		p->n_tfd++;
	}
	*k = (struct epoll){ *all, f->task, f->fd, e };
	*all = k;
	return file_fown(d, f, &p->fown);
}

struct target {
	const struct epoll *epoll;
	const EventpollTfdEntry *t;
	uint32_t offset;               /* among the targets with that number */
	int error;
};

static bool is_target(pid_t host_pid, int fd, void *arg)
{
	struct target *g = arg;
	struct kcmp_epoll_slot slot = { (uint32_t)g->epoll->fd, g->t->tfd, g->offset };
	long r = syscall(SYS_kcmp, host_pid, g->epoll->task->host_pid, KCMP_EPOLL_TFD, fd, &slot);

	if (r < 0)
		g->error = errno;
	return r == 0;
}

static bool holds(const struct fdtable *t, uint32_t id)
{
	for (size_t i = 0; i < t->fds.n; i++)
		if (t->fds.data[i]->id == id)
			return true;
	return false;
}

/* The rule: the table in which number fd of epoll `id` is looked up. */
static const struct fdtable *table_of(const struct tree *tree, uint32_t id, int fd)
{
	for (size_t i = 0; i < tree->fdtables.n; i++)
		if (file_id_at(tree->fdtables.data[i], fd) && holds(tree->fdtables.data[i], id))
			return tree->fdtables.data[i];
	return NULL;
}

static bool is_socket(const FileEntry *e, uint64_t ino)
{
	return (e->usk && e->usk->ino == (uint32_t)ino) || (e->isk && e->isk->ino == (uint32_t)ino);
}

static bool rule_finds(struct dump *d, struct target *g)
{
	const struct fdtable *t = table_of(d->tree, g->epoll->entry->id, (int)g->t->tfd);

	if (!t)
		return false;
	const FileEntry *e = tree_file(d->tree, file_id_at(t, (int)g->t->tfd));
	return is_socket(e, g->t->inode) || is_target(t->owner->host_pid, (int)g->t->tfd, g);
}

/* Another number by which the rule finds the same description. */
static int find_number(struct dump *d, struct target *g)
{
	uint32_t epoll = g->epoll->entry->id;
	uint32_t id = file_find(d, makedev(g->t->dev >> 20, g->t->dev & 0xfffff), g->t->inode, is_target, g);

	for (size_t i = 0; id && i < d->tree->fdtables.n; i++) {
		const struct fdtable *t = d->tree->fdtables.data[i];
		if (!holds(t, epoll))
			continue;
		for (size_t k = 0; k < t->fds.n; k++)
			if (t->fds.data[k]->id == id && table_of(d->tree, epoll, (int)t->fds.data[k]->fd) == t)
				return (int)t->fds.data[k]->fd;
	}
	return -ENOENT;
}

static int target_lost(const struct target *g)
{
	const struct file_info f = { .task = g->epoll->task };

	if (g->error)
		return fail(g->error, "task %d (%s), descriptor %d (epoll): find its target %u (kcmp)", f.task->pid, file_comm(&f), g->epoll->fd,
			    g->t->tfd);
	fail_text(ENOTSUP, "task %d (%s), descriptor %d (epoll): its target with number %u is a file that the task does not have any more",
		  f.task->pid, file_comm(&f), g->epoll->fd, g->t->tfd);
	fail_hint("the file (inode %" PRIu64 ") is open elsewhere; such targets are not supported", g->t->inode);
	return -ENOTSUP;
}

static uint32_t offset_of(const EventpollFileEntry *p, size_t i)
{
	uint32_t n = 0;

	/* Targets with one number follow each other only by chance; numbers repeat rarely. */
	for (size_t k = 0; k < i; k++)
		n += p->tfd[k]->tfd == p->tfd[i]->tfd;
	return n;
}

static int check_targets(struct dump *d, const struct epoll *k)
{
	EventpollFileEntry *p = k->entry->epfd;
	autofree int *numbers = mem_alloc((p->n_tfd + 1) * sizeof *numbers);

	for (size_t i = 0; i < p->n_tfd; i++) {
		const FileEntry *e = NULL;
		const struct fdtable *t = table_of(d->tree, k->entry->id, (int)p->tfd[i]->tfd);
		struct target g = { .epoll = k, .t = p->tfd[i] };
		numbers[i] = (int)p->tfd[i]->tfd;
		if (t)
			e = tree_file(d->tree, file_id_at(t, numbers[i]));
		if (e && is_socket(e, g.t->inode))
			continue;
		g.offset = offset_of(p, i);
		if (!rule_finds(d, &g))
			numbers[i] = find_number(d, &g);
		if (numbers[i] < 0)
			return target_lost(&g);
	}
	for (size_t i = 0; i < p->n_tfd; i++)
		p->tfd[i]->tfd = (uint32_t)numbers[i];
	return 0;
}

static int eventpoll_dump_end(struct dump *d)
{
	for (const struct epoll *k = *file_state(d, STATE_EVENTPOLL); k; k = k->next) {
		int r = check_targets(d, k);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- restore --- */

static int eventpoll_open(struct restore *r, const FileEntry *e)
{
	(void)r;
	autoclose int fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return fail(errno, ENTRY_FMT ": make it", ENTRY_ARG(e));
	int ret = file_set_flags(e, fd, e->epfd->flags);
	return ret < 0 ? ret : take_fd(&fd);
}

/* Adds `target` under number n. Whatever the builder has there steps aside; that may be the epoll itself. */
static int add_at(int epoll, int target, int n, const EventpollTfdEntry *t)
{
	struct epoll_event event = { .events = t->events, .data.u64 = t->data };
	int r = 0;

	if (target == n)
		return epoll_ctl(epoll, EPOLL_CTL_ADD, n, &event) < 0 ? -errno : 0;
	autoclose int aside = fcntl(n, F_DUPFD_CLOEXEC, 0);
	if (aside < 0 && errno != EBADF)
		return -errno;
	if (dup3(target, n, O_CLOEXEC) < 0 || epoll_ctl(epoll == n ? aside : epoll, EPOLL_CTL_ADD, n, &event) < 0)
		r = -errno;
	if (aside < 0)
		close(n);
	else if (dup3(aside, n, O_CLOEXEC) < 0 && r >= 0)
		r = -errno;
	return r;
}

static int eventpoll_finish(struct restore *r, const FileEntry *e, int fd)
{
	for (size_t i = 0; i < e->epfd->n_tfd; i++) {
		const EventpollTfdEntry *t = e->epfd->tfd[i];
		const struct fdtable *table = table_of(r->tree, e->id, (int)t->tfd);
		int target = table ? builder_fd(r, file_id_at(table, (int)t->tfd)) : -ENOENT;
		if (target < 0)
			return fail_text(EBADMSG, ENTRY_FMT ": its target %u is not among the descriptors of its owner", ENTRY_ARG(e), t->tfd);
		int ret = add_at(fd, target, (int)t->tfd, t);
		if (ret < 0)
			return fail(-ret, ENTRY_FMT ": add target %u", ENTRY_ARG(e), t->tfd);
	}
	return 0;
}

const struct file_kind eventpoll_kind = {
	.name = "epoll",
	.type = FD_TYPES__EVENTPOLL,
	.match = eventpoll_match,
	.dump = eventpoll_dump,
	.dump_end = eventpoll_dump_end,
	.open = eventpoll_open,
	.finish = eventpoll_finish,
};
