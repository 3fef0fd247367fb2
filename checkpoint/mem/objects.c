/* SPDX-License-Identifier: Apache-2.0 */
/* Files and segments that a husk has a descriptor of while it maps them: those that the builder has open come by its channel, all in one
 * message; segments, and files that are mapped in another mode than they were opened with, from the engine. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/err.h"
#include "base/fd.h"
#include "files/builder.h"
#include "mem/layout.h"
#include "mem/memfd.h"

/* The access mode that a shared mapping of a file has to have; -1: any. One of a memfd that is sealed cannot become writable. */
static int wanted_mode(struct restore *r, const FileEntry *e, const VmaEntry *v)
{
	const MemfdInodeEntry *n = e && e->memfd ? memfd_inode(r, e->memfd->inode_id) : NULL;

	if (n && (n->seals & F_SEAL_WRITE) && (v->status & VMA_FILE_SHARED))
		return O_RDONLY;
	return v->has_fdflags && (v->fdflags & O_ACCMODE) == O_RDWR ? O_RDWR : -1;
}

static int reopen_mode(const struct layout *l, const VmaEntry *v)
{
	const FileEntry *e = v->status & VMA_ANON_SHARED ? NULL : tree_file(l->r->tree, (uint32_t)v->shmid);
	uint32_t flags = e && e->reg ? e->reg->flags : e && e->memfd ? e->memfd->flags : 0;
	int mode = wanted_mode(l->r, e, v);

	return e && mode >= 0 && (flags & O_ACCMODE) != (uint32_t)mode ? mode : -1;
}

struct object *layout_object(struct layout *l, const VmaEntry *v)
{
	bool segment = v->status & VMA_ANON_SHARED;
	int reopen = reopen_mode(l, v);

	for (size_t i = 0; i < l->objects.n; i++) {
		struct object *o = &l->objects.data[i];
		if (o->id == v->shmid && o->segment == segment && o->reopen == reopen)
			return o;
	}
	return NULL;
}

void layout_plan_objects(struct layout *l)
{
	const MmEntry *m = l->t->mm;

	l->set_exe = !l->parent || l->parent->task->mm->exe_file_id != m->exe_file_id;
	if (l->set_exe)
		array_push(&l->objects) = (struct object){ .id = m->exe_file_id, .reopen = -1, .number = -1 };
	for (size_t i = 0; i < m->n_vmas; i++) {
		const VmaEntry *v = m->vmas[i];
		if (!is_new_mapping(l, i) || (v->status & (VMA_ANON_PRIVATE | VMA_SYSVIPC)) || layout_object(l, v))
			continue;
		bool segment = v->status & VMA_ANON_SHARED;
		array_push(&l->objects) =
			(struct object){ .id = v->shmid, .segment = segment, .reopen = reopen_mode(l, v), .number = -1 };
	}
}

/* Those that the builder has open, in one message. */
static int receive_files(struct layout *l)
{
	ARRAY(uint32_t) ids = { 0 };
	size_t k = 0;

	for (size_t i = 0; i < l->objects.n; i++)
		if (!l->objects.data[i].segment && l->objects.data[i].reopen < 0)
			array_push(&ids) = (uint32_t)l->objects.data[i].id;
	if (!ids.n)
		return 0;
	autofree int *numbers = mem_alloc(ids.n * sizeof *numbers);
	int e = builder_send(l->r, remote_channel(l->husk), ids.data, ids.n);
	if (e >= 0)
		e = remote_recv_fds(l->husk, ids.n, numbers);
	for (size_t i = 0; e >= 0 && i < l->objects.n; i++)
		if (!l->objects.data[i].segment && l->objects.data[i].reopen < 0)
			l->objects.data[i].number = numbers[k++];
	array_free(&ids);
	return e < 0 ? e : 0;
}

static int receive_other(struct layout *l, struct object *o)
{
	if (o->segment)
		return remote_send_fds(l->husk, &segment_find(l->r, o->id)->fd, 1, &o->number);
	autoclose int was = builder_get(l->r, (uint32_t)o->id);
	if (was < 0)
		return was;
	autoclose int fd = open(FD_PATH(was), o->reopen | O_CLOEXEC);
	if (fd < 0)
		return fail(errno, "%s: open file %" PRIu64 " again, which is mapped shared", l->who, o->id);
	return remote_send_fds(l->husk, &fd, 1, &o->number);
}

int layout_receive_objects(struct layout *l)
{
	int e = l->objects.n ? remote_open_channel(l->husk) : 0;

	if (e >= 0)
		e = receive_files(l);
	for (size_t i = 0; e >= 0 && i < l->objects.n; i++)
		if (l->objects.data[i].segment || l->objects.data[i].reopen >= 0)
			e = receive_other(l, &l->objects.data[i]);
	return e < 0 ? e : 0;
}
