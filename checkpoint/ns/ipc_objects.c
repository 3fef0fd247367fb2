/* SPDX-License-Identifier: Apache-2.0 */
/* System V IPC: what its three kinds have in common, and semaphores.
 *
 * 1. /proc/sysvipc lists the objects of the reader's namespace.
 * 2. The next object gets the id that was written to /proc/sys/kernel/{shm,sem,msg}_next_id (CONFIG_CHECKPOINT_RESTORE).
 * 3. The creator (cuid, cgid) cannot be set: the thread takes these ids on while it makes the object. The raw calls change one thread only.
 *
 * POSIX message queues are files of a file system of the namespace's (mqueue), which is mounted for a look: they are refused by name.
 *
 * Not kept, there is no way to ask for them: adjustments at a process's end (SEM_UNDO), times, and who was last to use an object. A task that
 * waits in semop(2), msgsnd(2) or msgrcv(2) is told EINTR, as by a signal. */
#include "ns/ipc_objects.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "ipc-sem.pb-c.h"

#define SEMS_MAX 32000

union semun {
	int value;
	struct semid_ds *ds;
	unsigned short *array;
};

int ipc_ids_read(const char *table, struct ipc_ids *out)
{
	autofree char *path = str_printf("/proc/sysvipc/%s", table), *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text, 64u << 20);

	if (n < 0)
		return n == -ENOENT ? 0 : fail((int)-n, "read %s", path);
	for (const char *at = strchr(text, '\n'); at && at[1]; at = strchr(at + 1, '\n')) {
		int id;
		if (sscanf(at + 1, "%*d %d", &id) != 1)
			return fail_text(EPROTO, "%s is not in a form that is known", path);
		array_push(&out->list) = id;
	}
	return 0;
}

IpcDescEntry *ipc_desc(struct dump *d, int id, const struct ipc_perm *p)
{
	IpcDescEntry *e = arena_new(d->arena, IpcDescEntry);

	ipc_desc_entry__init(e);
	e->key = (uint32_t)p->__key;
	e->uid = p->uid;
	e->gid = p->gid;
	e->cuid = p->cuid;
	e->cgid = p->cgid;
	e->mode = p->mode;
	e->id = (uint32_t)id;
	return e;
}

static int make_as(const IpcDescEntry *e, int (*make)(key_t key, int flags, const void *arg), const void *arg)
{
	bool other = e->cuid || e->cgid;

	if (other && (syscall(SYS_setresgid, -1, e->cgid, -1) < 0 || syscall(SYS_setresuid, -1, e->cuid, -1) < 0))
		return -errno;
	int id = make((key_t)e->key, IPC_CREAT | IPC_EXCL | (int)(e->mode & 0777), arg), err = errno;
	if (other && (syscall(SYS_setresuid, -1, 0, -1) < 0 || syscall(SYS_setresgid, -1, 0, -1) < 0))
		abort();   /* a thread that stays somebody else would fail everywhere */
	return id < 0 ? -err : id;
}

int ipc_make(const char *table, const IpcDescEntry *e, const char *what, int (*make)(key_t key, int flags, const void *arg), const void *arg)
{
	autofree char *path = str_printf("/proc/sys/kernel/%s_next_id", table);
	char text[16];

	snprintf(text, sizeof text, "%u", e->id);
	int r = file_write(AT_FDCWD, path, text);
	if (r < 0)
		return fail(-r, "write %s to %s, for %s to get its number", text, path, what);
	int id = make_as(e, make, arg);
	if (id < 0)
		return fail(-id, "make %s %u (key %#x)", what, e->id, e->key);
	return (uint32_t)id == e->id ? 0 : fail_text(EEXIST, "%s %u has got the number %d", what, e->id, id);
}

void ipc_set_perm(const IpcDescEntry *e, struct ipc_perm *p)
{
	p->uid = e->uid;
	p->gid = e->gid;
	p->mode = (unsigned short)(e->mode & 0777);
}

/* --- semaphores --- */

/* Values fill whole words of eight bytes. */
static size_t padded(size_t nsems)
{
	return (nsems * sizeof(unsigned short) + 7) & ~(size_t)7;
}

static int sem_write(struct dump *d, struct image *i, int id)
{
	IpcSemEntry e = IPC_SEM_ENTRY__INIT;
	struct semid_ds ds;

	if (semctl(id, 0, IPC_STAT, (union semun){ .ds = &ds }) < 0)
		return fail(errno, "look at semaphore set %d", id);
	autofree unsigned short *values = mem_zalloc(padded(ds.sem_nsems) + 1);
	if (semctl(id, 0, GETALL, (union semun){ .array = values }) < 0)
		return fail(errno, "read the values of semaphore set %d", id);
	e.desc = ipc_desc(d, id, &ds.sem_perm);
	e.nsems = (uint32_t)ds.sem_nsems;
	int r = image_write(i, &e);
	return r < 0 ? r : image_write_raw(i, values, padded(ds.sem_nsems));
}

int ipc_sem_save(struct dump *d, uint32_t id)
{
	auto_image struct image *i = NULL;
	struct ipc_ids ids = { 0 };
	int r = ipc_ids_read("sem", &ids);

	if (r >= 0)
		r = image_create(d->images, IMG_IPCNS_SEM, id, &i);
	for (size_t k = 0; k < ids.list.n && r >= 0; k++)
		r = sem_write(d, i, ids.list.data[k]);
	array_free(&ids.list);
	return r < 0 ? r : image_close(&i);
}

static int make_sem(key_t key, int flags, const void *arg)
{
	return semget(key, (int)((const IpcSemEntry *)arg)->nsems, flags);
}

static int sem_make(struct image *i, const IpcSemEntry *e)
{
	struct semid_ds ds = { 0 };

	if (!e->nsems || e->nsems > SEMS_MAX)
		return fail_text(EBADMSG, "%s: a set of %u semaphores", image_name(i), e->nsems);
	autofree unsigned short *values = mem_zalloc(padded(e->nsems));
	int r = image_read_raw(i, values, padded(e->nsems));
	if (r >= 0)
		r = ipc_make("sem", e->desc, "semaphore set", make_sem, e);
	if (r < 0)
		return r;
	ipc_set_perm(e->desc, &ds.sem_perm);
	if (semctl((int)e->desc->id, 0, SETALL, (union semun){ .array = values }) < 0 ||
	    semctl((int)e->desc->id, 0, IPC_SET, (union semun){ .ds = &ds }) < 0)
		return fail(errno, "set the values of semaphore set %u", e->desc->id);
	return 0;
}

int ipc_sem_restore(struct restore *r, uint32_t id)
{
	auto_image struct image *i = NULL;
	IpcSemEntry *e;
	int ret = image_open(r->images, IMG_IPCNS_SEM, id, &i);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = image_read(i, r->arena, &e)) > 0) {
		ret = sem_make(i, e);
		if (ret < 0)
			return ret;
	}
	return ret;
}

/* --- POSIX message queues --- */

static int mount_queues(void)
{
	autoclose int fs = (int)syscall(SYS_fsopen, "mqueue", 1 /* FSOPEN_CLOEXEC */);

	if (fs < 0 || syscall(SYS_fsconfig, fs, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0) < 0)
		return -errno;
	return (int)syscall(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, 0);
}

/* A kernel without them has none. */
int ipc_queues_refuse(void)
{
	autoclose int mount = mount_queues();
	int r = 0;

	if (mount < 0)
		return 0;
	autoclose int dir = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = dir < 0 ? NULL : fdopendir(take_fd(&dir));
	if (!list)
		return fail(errno, "list the POSIX message queues of the IPC namespace");
	for (struct dirent *e; r == 0 && (e = readdir(list));)
		if (e->d_name[0] != '.' || strlen(e->d_name) > 2)
			r = fail_text(ENOTSUP, "the IPC namespace has the POSIX message queue /%s: such queues are not supported", e->d_name);
	closedir(list);
	return r;
}
