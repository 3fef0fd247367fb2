/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_INTERNAL_H
#define NS_INTERNAL_H

#include "ns/ns.h"

/* One kind of namespace whose contents are saved: a row of ns/kinds.c. `id` is the namespace's id in the images. save is called for
 * the tree's own namespaces only (but for time: always, id 0 when it is the host's). */
struct ns_content {
	const char *name;
	enum ns_kind kind;
	int (*save)(struct dump *d, uint32_t id);
	int (*restore)(struct restore *r, struct task *root, uint32_t id);   /* engine side; NULL: nothing to do */
};
extern const struct ns_content ns_contents[];   /* ends with name NULL */

extern const struct ns_row {
	const char *proc;         /* below /proc/PID/ns */
	uint64_t clone_flag;
} ns_rows[NSK_KINDS];

int uts_save(struct dump *d, uint32_t id);
int uts_restore(struct restore *r, struct task *root, uint32_t id);
int ipc_collect(struct dump *d);   /* the segments of shared memory, before tasks are asked what they have mapped */
int ipc_save(struct dump *d, uint32_t id);
int ipc_restore(struct restore *r, struct task *root, uint32_t id);
int pid_save(struct dump *d, uint32_t id);
int net_save(struct dump *d, uint32_t id);
int net_read(struct restore *r, uint32_t id);   /* which one the tree gets: net_fd, netns */
int net_restore(struct restore *r, struct task *root, uint32_t id);
int time_save(struct dump *d, uint32_t id);
int time_read(struct restore *r, uint32_t id);
int mount_save(struct dump *d, uint32_t id);
int mount_restore(struct restore *r, struct task *root, uint32_t id);   /* of a runtime's husk: what its mounts lack */
int mount_build(struct restore *r, struct task *root, uint32_t id);     /* of the engine's own: all of them */
int cgroup_begin(struct dump *d);
int cgroup_fill(struct dump *d, struct task *t);   /* cg_set of its threads */
int cgroup_save(struct dump *d);
void cgroup_dump_end(struct dump *d);

/* ns/cgroup_restore.c */
int cgroup_read(struct restore *r);
void cgroup_end(struct restore *r);

/* ns/join.c */
int ns_join_read(struct restore *r, const TaskKobjIdsEntry *ids);
bool ns_joined(const struct restore *r, enum ns_kind kind);
void ns_join_end(struct restore *r);

/* The key of the root task's namespace if the caller says that it is external (net[INODE]:KEY); NULL: it is not. */
const char *ns_external(const struct dump *d, enum ns_kind kind);

/* This thread goes into the namespace that a task has, and back. */
int ns_enter(pid_t host_pid, enum ns_kind kind, int *saved);
int ns_leave(enum ns_kind kind, int *saved);

/* mountinfo text to a list; strings in the arena. */
struct mount_list {
	struct mount_info *data;
	size_t n;
};
int mounts_parse(struct arena *arena, char *text, struct mount_list *out);
int mounts_read(struct arena *arena, pid_t host_pid, struct mount_list *out);   /* 0: this process */

#endif
