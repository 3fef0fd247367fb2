/* SPDX-License-Identifier: Apache-2.0 */
/* System V shared memory segments as objects of an IPC namespace; their content and where they are attached is mem/sysv.c's.
 *
 * Dump: before tasks are looked at, each segment is attached for a moment, and its file opened through the engine's map_files: that
 * gives the content. Restore: segments are made empty, before any task attaches them.
 *
 * Not handled, refused by name: segments of huge pages. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/shm.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "ipc-shm.pb-c.h"
#include "mem/sysv.h"
#include "ns/ipc_objects.h"

#define PAGE 4096u
#ifndef SHM_LOCKED
#define SHM_LOCKED 02000
#endif

static int open_segment(int id, size_t size, int *out)
{
	char path[80];
	struct statfs fs;
	void *at = shmat(id, NULL, SHM_RDONLY);

	if (at == (void *)-1)
		return fail(errno, "attach System V segment %d", id);
	size_t mapped = (size + PAGE - 1) & ~(size_t)(PAGE - 1);
	snprintf(path, sizeof path, "/proc/self/map_files/%" PRIxPTR "-%" PRIxPTR, (uintptr_t)at, (uintptr_t)at + mapped);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err = errno;
	shmdt(at);
	if (fd < 0)
		return fail(err, "open System V segment %d through %s", id, path);
	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		return fail_text(ENOTSUP, "System V segment %d is of huge pages, which is not supported", id);
	*out = take_fd(&fd);
	return 0;
}

static int collect_segment(struct dump *d, int id)
{
	struct shmid_ds ds;
	int fd = -1;

	if (shmctl(id, IPC_STAT, &ds) < 0)
		return fail(errno, "look at System V segment %d", id);
	int r = open_segment(id, ds.shm_segsz, &fd);
	return r < 0 ? r : sysv_found(d, (uint64_t)id, fd, ds.shm_segsz);
}

int ipc_collect(struct dump *d)
{
	struct ipc_ids ids = { 0 };
	int saved = -1, r = ns_enter(tree_root(d->tree)->host_pid, NSK_IPC, &saved);

	if (r < 0)
		return r;
	r = ipc_ids_read("shm", &ids);
	for (size_t i = 0; i < ids.list.n && r >= 0; i++)
		r = collect_segment(d, ids.list.data[i]);
	array_free(&ids.list);
	int back = ns_leave(NSK_IPC, &saved);
	return r < 0 ? r : back;
}

static int shm_write(struct dump *d, struct image *i, int id)
{
	IpcShmEntry e = IPC_SHM_ENTRY__INIT;
	struct shmid_ds ds;

	if (shmctl(id, IPC_STAT, &ds) < 0)
		return fail(errno, "look at System V segment %d", id);
	e.desc = ipc_desc(d, id, &ds.shm_perm);
	e.size = ds.shm_segsz;
	e.has_in_pagemaps = e.in_pagemaps = true;
	return image_write(i, &e);
}

int ipc_shm_save(struct dump *d, uint32_t id)
{
	auto_image struct image *i = NULL;
	struct ipc_ids ids = { 0 };
	int r = ipc_ids_read("shm", &ids);

	if (r >= 0)
		r = image_create(d->images, IMG_IPCNS_SHM, id, &i);
	for (size_t k = 0; k < ids.list.n && r >= 0; k++)
		r = shm_write(d, i, ids.list.data[k]);
	array_free(&ids.list);
	return r < 0 ? r : image_close(&i);
}

static int make_segment(key_t key, int flags, const void *arg)
{
	return shmget(key, ((const IpcShmEntry *)arg)->size, flags);
}

static int shm_make(struct restore *r, const IpcShmEntry *e)
{
	struct shmid_ds ds = { 0 };
	int ret = ipc_make("shm", e->desc, "System V segment", make_segment, e);

	if (ret < 0)
		return ret;
	ipc_set_perm(e->desc, &ds.shm_perm);
	if (shmctl((int)e->desc->id, IPC_SET, &ds) < 0)
		return fail(errno, "set the owner of System V segment %u", e->desc->id);
	if ((e->desc->mode & SHM_LOCKED) && shmctl((int)e->desc->id, SHM_LOCK, NULL) < 0)
		return fail(errno, "lock System V segment %u", e->desc->id);
	sysv_made(r, e->desc->id);
	return 0;
}

int ipc_shm_restore(struct restore *r, uint32_t id)
{
	auto_image struct image *i = NULL;
	IpcShmEntry *e;
	int ret = image_open(r->images, IMG_IPCNS_SHM, id, &i);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = image_read(i, r->arena, &e)) > 0) {
		ret = shm_make(r, e);
		if (ret < 0)
			return ret;
	}
	return ret;
}
