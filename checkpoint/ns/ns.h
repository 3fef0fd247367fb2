/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_H
#define NS_H

#include "dump.h"
#include "restore.h"

/* Namespaces of the tree: which are its own, their ids in the images, and what they contain. */
enum ns_kind { NSK_PID, NSK_NET, NSK_IPC, NSK_UTS, NSK_TIME, NSK_MNT, NSK_USER, NSK_CGROUP, NSK_KINDS };   /* in CRIU's order of ids */

int ns_begin(struct dump *d);                                 /* before the tree stands: the engine's own namespaces */
int ns_collect(struct dump *d);                               /* own_*_ns, ids; refuses what it cannot do, by name */
/* task->ids->*_ns_id (other fields of ids stay); refuses a task with a namespace of its own. */
int ns_fill_ids(struct dump *d, struct task *t);
void ns_fill_root_ids(struct dump *d, TaskKobjIdsEntry *ids); /* the engine's own, for the inventory */
uint32_t ns_id(const struct dump *d, enum ns_kind kind);      /* of the root task's namespace */
int ns_save(struct dump *d);                                  /* uts, ipc, net, mount (tmpfs contents), cgroup, time images */
void ns_end(struct dump *d);

/* Mounts of the root task's mount namespace (files/ needs them for paths), by /proc/PID/mountinfo. */
struct mount_info {
	int mnt_id, parent_id;
	unsigned major, minor;
	char *root, *mountpoint, *options, *fstype, *source, *super_options;
	unsigned shared_id, master_id;
};
int mount_collect(struct dump *d);

int ns_read(struct restore *r);                               /* checks the images; which namespaces the tree had */
/* Around the clone of the engine's own root husk: into the namespaces that it has with others (external, --join-ns), and back. */
int ns_join_enter(struct restore *r);
int ns_join_leave(struct restore *r);
/* The engine's own root husk: its groups are made before it is born, and it goes into them while it still has the engine's descriptors;
 * then the others of the tree that are in other groups, by their host pids. A failed restore's groups go. */
int ns_cgroups_make(struct restore *r);
int ns_cgroups_enter(struct restore *r, struct remote *husk);
int ns_cgroups_spread(struct restore *r);
int ns_cgroups_settle(struct restore *r);                     /* frozen groups freeze: the tasks run */
void ns_cgroups_undo(struct restore *r);
int ns_build(struct restore *r, struct task *root);           /* the mounts of the engine's own husk, before the builder starts */
int ns_build_late(struct restore *r);                         /* … that need the terminals, when the builder has opened all files */
void ns_restored(struct restore *r);                          /* gives back what was taken */
/* Contents of the namespaces that the husk has (uts, ipc, loopback; tmpfs contents by the builder). */
int ns_restore(struct restore *r, struct task *root);

#endif
