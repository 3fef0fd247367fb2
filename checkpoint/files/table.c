/* SPDX-License-Identifier: Apache-2.0 */
/* The dump's table of open file descriptions.
 *
 * Two descriptors are one entry of files.img if they refer to one open file description: dup(2), fork(2), SCM_RIGHTS. Only
 * kcmp(2) (CONFIG_KCMP) tells. What is different in device or inode cannot be the same, so that only descriptions of one inode are
 * compared, and since kcmp orders what it compares (the order holds until the next boot), each inode keeps its descriptions sorted:
 * a new one costs log2 of the known ones. All anonymous inodes (eventfd, epoll…) are one inode; of those, eventfds have a number of
 * their own in fdinfo (5.2), which tells them apart without kcmp.
 * Whole descriptor tables (CLONE_FILES) are found the same way, among the tasks.
 *
 * Per descriptor: pidfd_getfd, fstat and fdinfo (which alone has FD_CLOEXEC and the mount). The rest (link, kind) is asked once per
 * description, on the duplicate, which is closed again at once: a tree may have more descriptors than the engine may open.
 *
 * Invariants:
 * 1. Ids count from 1 in the order of first sight; entry id N is tree->files.data[N - 1].
 * 2. An entry enters the tree before its kind fills it, so that a kind may add further entries.
 *
 * Not handled: processes that share a table, and a thread with a table of its own (unshare(CLONE_FILES)), are refused by name. */
#define LOG_PREFIX "files"
#include "files/table.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "files/kinds.h"
#include "files/lock.h"
#include "files/memfd.h"
#include "files/reg.h"
#include "remote/remote.h"

#define FDINFO_MAX (256u << 20)

struct description {
	pid_t pid;                    /* host; where to find it */
	int fd;
	uint32_t id;
	FdTypes type;
};

struct path {
	int mnt_id;
	uint32_t flags, id;
};

struct inode {
	struct inode *next;           /* in the bucket */
	dev_t dev;
	ino_t ino;
	uint64_t part;                /* of an inode that many share; 0 otherwise */
	ARRAY(struct description) open;   /* sorted by kcmp */
	ARRAY(struct path) paths;
};

struct at_end {
	void (*fn)(void *arg);
	void *arg;
};

struct file_table {
	struct inode **buckets;
	size_t n_buckets, n_inodes;
	ARRAY(struct fdtable *) tables;   /* sorted by kcmp */
	void *state[STATES];
	ARRAY(struct at_end) at_end;
};

int files_begin(struct dump *d)
{
	struct file_table *t = mem_zalloc(sizeof *t);

	t->n_buckets = 256;
	t->buckets = mem_zalloc(t->n_buckets * sizeof(struct inode *));
	d->files = t;
	return 0;
}

void files_end(struct dump *d)
{
	struct file_table *t = d->files;

	if (!t)
		return;
	for (size_t i = 0; i < t->at_end.n; i++)
		t->at_end.data[i].fn(t->at_end.data[i].arg);
	array_free(&t->at_end);
	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct inode *n = t->buckets[i], *next; n; n = next) {
			next = n->next;
			array_free(&n->open);
			array_free(&n->paths);
			free(n);
		}
	free(t->buckets);
	array_free(&t->tables);
	free(t);
	d->files = NULL;
}

void **file_state(struct dump *d, enum file_state which)
{
	return &d->files->state[which];
}

void file_at_end(struct dump *d, void (*fn)(void *arg), void *arg)
{
	array_push(&d->files->at_end) = (struct at_end){ fn, arg };
}

static size_t bucket_of(const struct file_table *t, dev_t dev, ino_t ino, uint64_t part)
{
	return (size_t)((((uint64_t)dev * 31 + ino) * 31 + part) * 0x9e3779b97f4a7c15u >> 32) & (t->n_buckets - 1);
}

static void grow(struct file_table *t)
{
	size_t n = t->n_buckets;
	struct inode **old = t->buckets;

	t->n_buckets = n * 4;
	t->buckets = mem_zalloc(t->n_buckets * sizeof(struct inode *));
	for (size_t i = 0; i < n; i++)
		for (struct inode *e = old[i], *next; e; e = next) {
			struct inode **to = &t->buckets[bucket_of(t, e->dev, e->ino, e->part)];
			next = e->next;
			e->next = *to;
			*to = e;
		}
	free(old);
}

static struct inode *inode_get(struct file_table *t, dev_t dev, ino_t ino, uint64_t part)
{
	struct inode **at = &t->buckets[bucket_of(t, dev, ino, part)];

	for (struct inode *n = *at; n; n = n->next)
		if (n->dev == dev && n->ino == ino && n->part == part)
			return n;
	if (++t->n_inodes > 2 * t->n_buckets) {
		grow(t);
		at = &t->buckets[bucket_of(t, dev, ino, part)];
	}
	struct inode *n = mem_zalloc(sizeof *n);
	n->dev = dev;
	n->ino = ino;
	n->part = part;
	n->next = *at;
	*at = n;
	return n;
}

/* kcmp: 0 the same, 1 before, 2 behind. */
static int compare(pid_t a, pid_t b, int type, int fd_a, int fd_b)
{
	long r = syscall(SYS_kcmp, a, b, type, fd_a, fd_b);

	if (r < 0)
		return fail(errno, "compare what tasks %d and %d share (kcmp)", a, b);
	return r > 2 ? fail_text(EINVAL, "kcmp cannot order what tasks %d and %d share", a, b) : (int)r;
}

/* The place of a descriptor among the inode's known ones: 1 it is there, 0 it belongs there. */
static int find_open(const struct inode *n, pid_t pid, int fd, size_t *place)
{
	size_t low = 0, high = n->open.n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int r = compare(pid, n->open.data[mid].pid, KCMP_FILE, fd, n->open.data[mid].fd);
		if (r <= 0) {
			*place = mid;
			return r < 0 ? r : 1;
		}
		if (r == 1)
			high = mid;
		else
			low = mid + 1;
	}
	*place = low;
	return 0;
}

/* --- entries --- */

FileEntry *file_add_entry(struct dump *d, FdTypes type)
{
	FileEntry *e = ARENA_MESSAGE(d->arena, FileEntry, FILE_ENTRY__INIT);

	array_push(&d->tree->files) = e;
	e->type = type;
	e->id = (uint32_t)d->tree->files.n;
	return e;
}

uint32_t file_id_at(const struct fdtable *t, int fd)
{
	size_t low = 0, high = t->fds.n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const FdinfoEntry *e = t->fds.data[mid];
		if ((int)e->fd == fd)
			return e->id;
		if ((int)e->fd < fd)
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

uint32_t file_find(struct dump *d, dev_t dev, ino_t ino, bool (*same)(pid_t host_pid, int fd, void *arg), void *arg)
{
	const struct file_table *t = d->files;

	/* Rarely needed: the parts of a shared inode are in different buckets. */
	for (size_t b = 0; b < t->n_buckets; b++)
		for (const struct inode *n = t->buckets[b]; n; n = n->next)
			for (size_t i = 0; n->dev == dev && n->ino == ino && i < n->open.n; i++)
				if (same(n->open.data[i].pid, n->open.data[i].fd, arg))
					return n->open.data[i].id;
	return 0;
}

static int dump_new(struct dump *d, const struct file_info *f, FileEntry **out)
{
	for (const struct file_kind *const *k = file_kinds; *k; k++) {
		if (!(*k)->match(f))
			continue;
		FileEntry *e = file_add_entry(d, (*k)->type);
		int r = (*k)->dump(d, f, e);
		*out = e;
		return r;
	}
	return file_unsupported(f);
}

/* --- the descriptors of a task --- */

struct task_dirs {
	int fd, fdinfo;               /* /proc/PID/fd and fdinfo */
};

static int read_link(int dir, const char *name, char **out)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(dir, name, text, sizeof text - 1);

	if (n < 0)
		return -errno;
	text[n] = 0;
	*out = str_dup(text);
	return 0;
}

static int read_fdinfo(struct file_info *f, const struct task_dirs *dirs)
{
	char name[16];
	uint64_t flags = 0, pos = 0, mnt_id = 0;

	snprintf(name, sizeof name, "%d", f->fd);
	ssize_t n = file_read(dirs->fdinfo, name, &f->fdinfo, FDINFO_MAX);
	if (n < 0)
		return fail((int)-n, "read /proc/%d/fdinfo/%d of task %d (%s)", f->task->host_pid, f->fd, f->task->pid, file_comm(f));
	proc_field_u64(f->fdinfo, "flags", 8, &flags);
	proc_field_u64(f->fdinfo, "pos", 10, &pos);
	f->mnt_id = proc_field_u64(f->fdinfo, "mnt_id", 10, &mnt_id) ? (int)mnt_id : -1;
	f->flags = (uint32_t)flags;
	f->pos = pos;
	int r = read_link(dirs->fd, name, &f->link);
	return r < 0 ? fail(-r, "read what descriptor %d of task %d is", f->fd, f->task->pid) : 0;
}

/* Only the descriptor's own flag is needed of a description that is known already. */
static int collect_known(struct dump *d, struct file_info *f, const struct description *known, FdinfoEntry *e)
{
	e->id = known->id;
	e->type = known->type;
	return lock_dump(d, f, e->id, false);
}

static int collect_new(struct dump *d, struct file_info *f, struct inode *inode, size_t place, FdinfoEntry *e)
{
	FileEntry *entry = NULL;

	f->external = file_is_external(d, f);
	int r = dump_new(d, f, &entry);
	if (r < 0)
		return r;
	array_push(&inode->open) = (struct description){ 0 };
	memmove(&inode->open.data[place + 1], &inode->open.data[place],
		(inode->open.n - 1 - place) * sizeof *inode->open.data);
	inode->open.data[place] = (struct description){ f->task->host_pid, f->fd, entry->id, entry->type };
	e->id = entry->id;
	e->type = entry->type;
	return lock_dump(d, f, e->id, true);
}

static uint64_t eventfd_id(const struct file_info *f)
{
	uint64_t id;

	return (f->st.st_mode & S_IFMT) == 0 || S_ISREG(f->st.st_mode) ? proc_field_u64(f->fdinfo, "eventfd-id", 10, &id) ? id + 1 : 0 : 0;
}

static int collect_described(struct dump *d, struct file_info *f, const struct task_dirs *dirs)
{
	size_t place;

	if (fstat(f->local, &f->st) < 0)
		return fail(errno, "fstat descriptor %d of task %d (%s)", f->fd, f->task->pid, file_comm(f));
	int r = read_fdinfo(f, dirs);
	if (r < 0)
		return r;
	FdinfoEntry *e = ARENA_MESSAGE(d->arena, FdinfoEntry, FDINFO_ENTRY__INIT);
	e->fd = (uint32_t)f->fd;
	e->flags = f->flags & O_CLOEXEC ? FD_CLOEXEC : 0;
	f->flags &= ~(uint32_t)O_CLOEXEC;
	struct inode *inode = inode_get(d->files, f->st.st_dev, f->st.st_ino, eventfd_id(f));
	r = find_open(inode, f->task->host_pid, f->fd, &place);
	if (r < 0)
		return r;
	array_push(&f->task->fds->fds) = e;
	return r ? collect_known(d, f, &inode->open.data[place], e) : collect_new(d, f, inode, place, e);
}

static int collect(struct dump *d, struct task *t, int fd, const struct task_dirs *dirs)
{
	struct file_info f = { .task = t, .fd = fd };

	f.local = remote_get_fd(t->threads[0].remote, fd);
	if (f.local < 0)
		return fail(-f.local, "duplicate descriptor %d of task %d (%s)", fd, t->pid, file_comm(&f));
	int r = collect_described(d, &f, dirs);
	fd_close(&f.local);
	free(f.link);
	free(f.fdinfo);
	return r;
}

/* --- tables --- */

static int place_of_table(const struct file_table *ft, const struct task *t, size_t *place)
{
	size_t low = 0, high = ft->tables.n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int r = compare(t->host_pid, ft->tables.data[mid]->owner->host_pid, KCMP_FILES, 0, 0);
		if (r <= 0) {
			*place = mid;
			return r < 0 ? r : 1;
		}
		if (r == 1)
			high = mid;
		else
			low = mid + 1;
	}
	*place = low;
	return 0;
}

static int check_threads(const struct task *t)
{
	for (size_t i = 1; i < t->n_threads; i++) {
		int r = compare(t->host_pid, t->threads[i].host_tid, KCMP_FILES, 0, 0);
		if (r < 0)
			return r;
		if (r > 0)
			return fail_text(ENOTSUP, "thread %d of task %d has a descriptor table of its own (unshare), which is not supported",
					 t->threads[i].tid, t->pid);
	}
	return 0;
}

static int collect_all(struct dump *d, struct task *t)
{
	autofree int *numbers = NULL;
	char path[64];
	ssize_t n = proc_numbers(t->host_pid, "fd", &numbers);

	if (n < 0)
		return fail((int)-n, "list the descriptors of task %d", t->pid);
	snprintf(path, sizeof path, "/proc/%d/fd", t->host_pid);
	autoclose int fds = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof path, "/proc/%d/fdinfo", t->host_pid);
	autoclose int fdinfo = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fds < 0 || fdinfo < 0)
		return fail(errno, "open %s", path);
	struct task_dirs dirs = { fds, fdinfo };
	for (ssize_t i = 0; i < n; i++) {
		int r = collect(d, t, numbers[i], &dirs);
		if (r < 0)
			return r;
	}
	log_debug("task %d: %zd descriptors, %zu files so far", t->pid, n, d->tree->files.n);
	return 0;
}

int files_dump_task(struct dump *d, struct task *t)
{
	struct file_table *ft = d->files;
	size_t place;
	int r = place_of_table(ft, t, &place);

	if (r < 0)
		return r;
	if (!t->ids)
		t->ids = ARENA_MESSAGE(d->arena, TaskKobjIdsEntry, TASK_KOBJ_IDS_ENTRY__INIT);
	if (r)
		return fail_text(ENOTSUP, "tasks %d and %d share one descriptor table (CLONE_FILES), which is not supported",
				 ft->tables.data[place]->owner->pid, t->pid);
	t->fds = tree_add_fdtable(d->tree, (uint32_t)ft->tables.n + 2, t);   /* 1 is the engine's own, in the inventory */
	t->ids->files_id = t->fds->id;
	array_push(&ft->tables) = NULL;
	memmove(&ft->tables.data[place + 1], &ft->tables.data[place], (ft->tables.n - 1 - place) * sizeof *ft->tables.data);
	ft->tables.data[place] = t->fds;
	r = check_threads(t);
	return r < 0 ? r : collect_all(d, t);
}

/* --- files known by path --- */

static int describe_path(struct file_info *f)
{
	struct statx sx;

	if (fstat(f->local, &f->st) < 0)
		return fail(errno, "fstat %s of task %d", f->link, f->task->pid);
	f->mnt_id = statx(f->local, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) == 0 && sx.stx_mask & STATX_MNT_ID ? (int)sx.stx_mnt_id : -1;
	return 0;
}

int files_dump_path(struct dump *d, struct task *t, int what, int local, const char *link, uint32_t flags, uint32_t *id)
{
	autofree char *text = str_dup(link);
	char nothing[1] = "";
	struct file_info f = { .task = t, .fd = what, .local = local, .link = text, .fdinfo = nothing,
			       .flags = flags & ~(uint32_t)O_CLOEXEC };
	int r = describe_path(&f);

	if (r < 0)
		return r;
	struct inode *n = inode_get(d->files, f.st.st_dev, f.st.st_ino, 0);
	for (size_t i = 0; i < n->paths.n; i++)
		if (n->paths.data[i].mnt_id == f.mnt_id && n->paths.data[i].flags == f.flags) {
			*id = n->paths.data[i].id;
			return 0;
		}
	const struct file_kind *k = memfd_kind.match(&f) ? &memfd_kind : &reg_kind;
	if (!k->match(&f))
		return file_unsupported(&f);
	f.external = file_is_external(d, &f);
	FileEntry *e = file_add_entry(d, k->type);
	r = k->dump(d, &f, e);
	if (r < 0)
		return r;
	array_push(&n->paths) = (struct path){ f.mnt_id, f.flags, e->id };
	*id = e->id;
	return 0;
}

/* --- the images --- */

int files_collected(struct dump *d)
{
	for (const struct file_kind *const *k = file_kinds; *k; k++) {
		int r = (*k)->dump_end ? (*k)->dump_end(d) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* Sockets name their network namespace, whose id is known when the tasks were seen. */
static void fill_netns(struct dump *d, FileEntry *e)
{
	const TaskKobjIdsEntry *ids = tree_root(d->tree)->ids;

	if (!ids || !ids->has_net_ns_id)
		return;
	if (e->usk) {
		e->usk->has_ns_id = true;
		e->usk->ns_id = ids->net_ns_id;
	}
	if (e->isk) {
		e->isk->has_ns_id = true;
		e->isk->ns_id = ids->net_ns_id;
	}
}

static int write_fdinfo(struct dump *d, const struct fdtable *t)
{
	auto_image struct image *i = NULL;
	int r = image_create(d->images, IMG_FDINFO, t->id, &i);

	for (size_t k = 0; k < t->fds.n && r >= 0; k++)
		r = image_write(i, t->fds.data[k]);
	return r < 0 ? r : image_close(&i);
}

int files_write(struct dump *d)
{
	auto_image struct image *i = NULL;
	int r = image_create(d->images, IMG_FILES, 0, &i);

	for (size_t k = 0; k < d->tree->files.n && r >= 0; k++) {
		fill_netns(d, d->tree->files.data[k]);
		r = image_write(i, d->tree->files.data[k]);
	}
	if (r >= 0)
		r = image_close(&i);
	for (size_t k = 0; k < d->tree->fdtables.n && r >= 0; k++)
		r = write_fdinfo(d, d->tree->fdtables.data[k]);
	return r;
}
