/* SPDX-License-Identifier: Apache-2.0 */
/* System V message queues. A message is read without being taken by its place (msgrcv(2) with MSG_COPY, Linux 3.8,
 * CONFIG_CHECKPOINT_RESTORE). A queue's entry in the image is followed by its messages: a framed ipc_msg, then the text, filled up to
 * eight bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>

#include "base/err.h"
#include "ipc-msg.pb-c.h"
#include "ns/ipc_objects.h"

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif
#define TEXT_MAX (16u << 20)

struct message {
	long type;
	char text[];
};

static size_t padded(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

/* Larger and larger, until it fits. */
static ssize_t peek(int id, unsigned place, struct message **m, size_t *room)
{
	for (;;) {
		ssize_t n = msgrcv(id, *m, *room, place, IPC_NOWAIT | MSG_COPY);
		if (n >= 0 || errno != E2BIG || *room >= TEXT_MAX)
			return n;
		*room *= 2;
		*m = mem_realloc(*m, sizeof **m + *room + 8);
	}
}

static int write_messages(struct image *i, int id, unsigned n)
{
	size_t room = 8192;
	struct message *m = mem_alloc(sizeof *m + room + 8);
	int r = 0;

	for (unsigned k = 0; k < n && r >= 0; k++) {
		IpcMsg e = IPC_MSG__INIT;
		ssize_t size = peek(id, k, &m, &room);
		if (size < 0) {
			r = fail(errno, "read message %u of System V message queue %d", k, id);
			break;
		}
		e.mtype = (uint64_t)m->type;
		e.msize = (uint32_t)size;
		memset(m->text + size, 0, padded((size_t)size) - (size_t)size);
		r = image_write_message(i, &e);
		if (r >= 0)
			r = image_write_raw(i, m->text, padded((size_t)size));
	}
	free(m);
	return r;
}

static int msg_write(struct dump *d, struct image *i, int id)
{
	IpcMsgEntry e = IPC_MSG_ENTRY__INIT;
	struct msqid_ds ds;

	if (msgctl(id, IPC_STAT, &ds) < 0)
		return fail(errno, "look at System V message queue %d", id);
	e.desc = ipc_desc(d, id, &ds.msg_perm);
	e.qbytes = (uint32_t)ds.msg_qbytes;
	e.qnum = (uint32_t)ds.msg_qnum;
	int r = image_write(i, &e);
	return r < 0 ? r : write_messages(i, id, e.qnum);
}

int ipc_msg_save(struct dump *d, uint32_t id)
{
	auto_image struct image *i = NULL;
	struct ipc_ids ids = { 0 };
	int r = ipc_ids_read("msg", &ids);

	if (r >= 0)
		r = image_create(d->images, IMG_IPCNS_MSG, id, &i);
	for (size_t k = 0; k < ids.list.n && r >= 0; k++)
		r = msg_write(d, i, ids.list.data[k]);
	array_free(&ids.list);
	return r < 0 ? r : image_close(&i);
}

static int make_queue(key_t key, int flags, const void *arg)
{
	(void)arg;
	return msgget(key, flags);
}

static int set_queue(const IpcMsgEntry *e)
{
	struct msqid_ds ds = { 0 };

	if (msgctl((int)e->desc->id, IPC_STAT, &ds) < 0)
		return fail(errno, "look at System V message queue %u", e->desc->id);
	ipc_set_perm(e->desc, &ds.msg_perm);
	ds.msg_qbytes = e->qbytes;
	return msgctl((int)e->desc->id, IPC_SET, &ds) < 0 ? fail(errno, "set owner and size of System V message queue %u", e->desc->id) : 0;
}

static int send_message(struct restore *r, struct image *i, const IpcMsgEntry *e)
{
	IpcMsg *m;
	int ret = image_read_message(i, &ipc_msg__descriptor, r->arena, &m);

	if (ret <= 0)
		return ret < 0 ? ret : fail_text(EBADMSG, "%s ends before the last message of queue %u", image_name(i), e->desc->id);
	if (m->msize > TEXT_MAX || (int64_t)m->mtype <= 0)
		return fail_text(EBADMSG, "%s: a message of type %jd with %u bytes", image_name(i), (intmax_t)m->mtype, m->msize);
	autofree struct message *text = mem_alloc(sizeof *text + padded(m->msize));
	text->type = (long)m->mtype;
	ret = image_read_raw(i, text->text, padded(m->msize));
	if (ret < 0)
		return ret;
	return msgsnd((int)e->desc->id, text, m->msize, IPC_NOWAIT) < 0 ? fail(errno, "put a message into System V message queue %u", e->desc->id) : 0;
}

int ipc_msg_restore(struct restore *r, uint32_t id)
{
	auto_image struct image *i = NULL;
	IpcMsgEntry *e;
	int ret = image_open(r->images, IMG_IPCNS_MSG, id, &i);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = image_read(i, r->arena, &e)) > 0) {
		ret = ipc_make("msg", e->desc, "System V message queue", make_queue, NULL);
		if (ret >= 0)
			ret = set_queue(e);
		for (uint32_t k = 0; k < e->qnum && ret >= 0; k++)
			ret = send_message(r, i, e);
		if (ret < 0)
			return ret;
	}
	return ret;
}
