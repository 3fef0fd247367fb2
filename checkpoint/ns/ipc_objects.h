/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_IPC_OBJECTS_H
#define NS_IPC_OBJECTS_H

#include <sys/ipc.h>

#include "ipc-desc.pb-c.h"
#include "ns/internal.h"

/* What System V IPC objects of all three kinds have in common. The calling thread is in the IPC namespace. */

struct ipc_ids {
	ARRAY(int) list;
};
/* The ids in a table of /proc/sysvipc ("shm"). */
int ipc_ids_read(const char *table, struct ipc_ids *out);
IpcDescEntry *ipc_desc(struct dump *d, int id, const struct ipc_perm *p);

/* Makes an object with the id, key and creator of the images: make() calls shmget() or the like with these flags. The result is 0 or an
 * error, explained: `what` names it. */
int ipc_make(const char *table, const IpcDescEntry *e, const char *what, int (*make)(key_t key, int flags, const void *arg), const void *arg);
/* Owner and mode into what IPC_SET takes. */
void ipc_set_perm(const IpcDescEntry *e, struct ipc_perm *p);

int ipc_shm_save(struct dump *d, uint32_t id);
int ipc_sem_save(struct dump *d, uint32_t id);
int ipc_msg_save(struct dump *d, uint32_t id);
int ipc_shm_restore(struct restore *r, uint32_t id);
int ipc_sem_restore(struct restore *r, uint32_t id);
int ipc_msg_restore(struct restore *r, uint32_t id);
/* Refuses POSIX message queues, by name. */
int ipc_queues_refuse(void);

#endif
