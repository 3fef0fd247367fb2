/* SPDX-License-Identifier: Apache-2.0 */
/* The IPC namespace: the limits of System V IPC and POSIX message queues (sysctls, proc(5)). They are read and written with this
 * thread in the namespace: files below /proc/sys/kernel and /proc/sys/fs/mqueue show the opener's. Values that are the same in the
 * new namespace are left alone. The objects in it are ipc_objects.c, ipc_shm.c and ipc_msg.c. */
#define LOG_PREFIX "ipc"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "ipc-var.pb-c.h"
#include "ns/internal.h"
#include "ns/ipc_objects.h"

#define U32(field) offsetof(IpcVarEntry, field), -1, 4
#define U32_OPTIONAL(field) offsetof(IpcVarEntry, field), offsetof(IpcVarEntry, has_##field), 4
#define U64(field) offsetof(IpcVarEntry, field), -1, 8

static const struct var {
	const char *path;
	size_t offset;
	long has;      /* offset of the has_ flag, or -1 */
	int size;
	bool absent_ok;
} vars[] = {
	{ "/proc/sys/kernel/msgmax", U32(msg_ctlmax) },
	{ "/proc/sys/kernel/msgmnb", U32(msg_ctlmnb) },
	{ "/proc/sys/kernel/msgmni", U32(msg_ctlmni) },
	{ "/proc/sys/kernel/auto_msgmni", U32(auto_msgmni), .absent_ok = true },
	{ "/proc/sys/kernel/shmmax", U64(shm_ctlmax) },
	{ "/proc/sys/kernel/shmall", U64(shm_ctlall) },
	{ "/proc/sys/kernel/shmmni", U32(shm_ctlmni) },
	{ "/proc/sys/kernel/shm_rmid_forced", U32(shm_rmid_forced) },
	{ "/proc/sys/fs/mqueue/queues_max", U32(mq_queues_max), .absent_ok = true },
	{ "/proc/sys/fs/mqueue/msg_max", U32(mq_msg_max), .absent_ok = true },
	{ "/proc/sys/fs/mqueue/msgsize_max", U32(mq_msgsize_max), .absent_ok = true },
	{ "/proc/sys/fs/mqueue/msg_default", U32_OPTIONAL(mq_msg_default), .absent_ok = true },
	{ "/proc/sys/fs/mqueue/msgsize_default", U32_OPTIONAL(mq_msgsize_default), .absent_ok = true },
};
#define VARS (sizeof vars / sizeof *vars)
#define SEM_CTLS 4

static int read_number(const char *path, uint64_t *value)
{
	autofree char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text, 256);

	if (n < 0)
		return (int)n;
	*value = strtoull(text, NULL, 10);
	return 0;
}

static int collect(IpcVarEntry *e, uint32_t sem[SEM_CTLS])
{
	autofree char *text = NULL;
	int r = 0;

	if (file_read(AT_FDCWD, "/proc/sys/kernel/sem", &text, 256) < 0 ||
	    sscanf(text, "%u %u %u %u", &sem[0], &sem[1], &sem[2], &sem[3]) != SEM_CTLS)
		return fail(errno, "read /proc/sys/kernel/sem");
	for (size_t i = 0; i < VARS; i++) {
		uint64_t v = 0;
		r = read_number(vars[i].path, &v);
		if (r == -ENOENT && vars[i].absent_ok)
			continue;
		if (r < 0)
			return fail(-r, "read %s", vars[i].path);
		if (vars[i].size == 8)
			*(uint64_t *)((char *)e + vars[i].offset) = v;
		else
			*(uint32_t *)((char *)e + vars[i].offset) = (uint32_t)v;
		if (vars[i].has >= 0)
			*(protobuf_c_boolean *)((char *)e + vars[i].has) = 1;
	}
	return 0;
}

static int save_objects(struct dump *d, uint32_t id)
{
	int r = ipc_queues_refuse();

	if (r >= 0)
		r = ipc_shm_save(d, id);
	if (r >= 0)
		r = ipc_sem_save(d, id);
	return r < 0 ? r : ipc_msg_save(d, id);
}

int ipc_save(struct dump *d, uint32_t id)
{
	IpcVarEntry e = IPC_VAR_ENTRY__INIT;
	uint32_t sem[SEM_CTLS];
	int saved = -1, r = ns_enter(tree_root(d->tree)->host_pid, NSK_IPC, &saved);

	if (r < 0)
		return r;
	r = collect(&e, sem);
	if (r >= 0)
		r = save_objects(d, id);
	int back = ns_leave(NSK_IPC, &saved);
	if (r < 0 || back < 0)
		return r < 0 ? r : back;
	e.n_sem_ctls = SEM_CTLS;
	e.sem_ctls = sem;
	return image_write_one(d->images, IMG_IPCNS_VAR, id, &e);
}

static int set_number(const struct var *v, const IpcVarEntry *e, bool weak)
{
	uint64_t now = 0, wanted = v->size == 8 ? *(const uint64_t *)((const char *)e + v->offset) :
					      *(const uint32_t *)((const char *)e + v->offset);
	char text[32];

	if (v->has >= 0 && !*(const protobuf_c_boolean *)((const char *)e + v->has))
		return 0;
	int r = read_number(v->path, &now);
	if (r == -ENOENT && weak)
		log_warn("%s is left as it is: this kernel does not have it", v->path);
	if (r == -ENOENT && (v->absent_ok || weak))
		return 0;
	if (r < 0 || now == wanted)
		return r < 0 ? fail(-r, "read %s", v->path) : 0;
	snprintf(text, sizeof text, "%" PRIu64, wanted);
	r = file_write(AT_FDCWD, v->path, text);
	return r < 0 ? fail(-r, "set %s to %s", v->path, text) : 0;
}

static int set_all(const IpcVarEntry *e, bool weak)
{
	int ret = 0;

	for (size_t i = 0; i < VARS && ret >= 0; i++)
		ret = set_number(&vars[i], e, weak);
	if (ret < 0 || e->n_sem_ctls != SEM_CTLS)
		return ret;
	autofree char *now = NULL, *wanted = str_printf("%u\t%u\t%u\t%u\n", e->sem_ctls[0], e->sem_ctls[1], e->sem_ctls[2], e->sem_ctls[3]);
	if (file_read(AT_FDCWD, "/proc/sys/kernel/sem", &now, 256) > 0 && !strcmp(now, wanted))
		return 0;
	ret = file_write(AT_FDCWD, "/proc/sys/kernel/sem", wanted);
	return ret < 0 ? fail(-ret, "set /proc/sys/kernel/sem") : 0;
}

int ipc_restore(struct restore *r, struct task *root, uint32_t id)
{
	IpcVarEntry *e;
	int saved = -1, ret = image_read_one(r->images, IMG_IPCNS_VAR, id, r->arena, &e);

	if (ret < 0)
		return ret == -ENOENT ? fail_text(ENOENT, "ipcns-var-%u.img is missing: the checkpoint is not complete", id) : ret;
	ret = ns_enter(root->host_pid, NSK_IPC, &saved);
	if (ret < 0)
		return ret;
	ret = set_all(e, r->o->weak_sysctls);
	if (ret >= 0)
		ret = ipc_shm_restore(r, id);
	if (ret >= 0)
		ret = ipc_sem_restore(r, id);
	if (ret >= 0)
		ret = ipc_msg_restore(r, id);
	int back = ns_leave(NSK_IPC, &saved);
	return ret < 0 ? ret : back;
}
