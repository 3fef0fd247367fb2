/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DUMP_H
#define DUMP_H

#include "checkpoint.h"
#include "image/stream.h"
#include "model/tree.h"

/* A dump in progress: handed to every kind. Kinds add to the tree and write their images; they keep nothing of their own
 * outside these fields. */
struct dump {
	const struct ck_dump_options *o;   /* own_options */
	struct ck_dump_options own_options;
	struct tree *tree;
	struct image_dir *images;
	struct arena *arena;             /* the tree's */
	int root_fd;                     /* the root task's root directory (/proc/PID/root), for path checks */
	int ns_depth;                    /* pid namespaces that a task of the tree is in */
	bool was_frozen, freezer_v2;     /* the freezer cgroup before the dump */
	struct strangers *strangers;     /* freezer.c: those that are not saved and stand still; NULL: none */
	bool failed;                     /* what follows is the undoing */
	bool own_pid_ns, own_mnt_ns, own_net_ns, own_ipc_ns, own_uts_ns, own_cgroup_ns, own_user_ns, own_time_ns;
	struct ns_table *ns;             /* ns/ids.c: ids of namespaces */
	struct cgroup_table *cgroups;    /* ns/cgroup.c */
	char run_id[64];                 /* of this dump: a UUID's text */
	struct image_dir *parent;        /* --prev-images-dir; NULL: none */
	struct tracker *tracker;         /* mem/track.h: change tracking; NULL: none */
	struct page_sink *sink;          /* mem/sink.h: where pages go */
	struct file_table *files;        /* files/table.c: open file descriptions found so far */
	struct tcp_closing *closing;     /* sockets/tcp_close.c: connections that are given up; NULL: none */
	struct tcp_guard *guard;         /* sockets/tcp_guard.c: who puts TCP connections back; NULL: none */
	struct mount_table *mounts;      /* ns/mount: the root task's mounts */
	struct ahead *ahead;             /* remote/ahead.c: texts of /proc read by another thread */
	bool lean_maps;                  /* mem/maps.c: smaps of large tasks is not read */
	struct shmem_table *shmem;       /* mem/shmem: shared segments found so far */
	struct task_facts *task_facts;   /* task/: seccomp filters, user mappings, objects compared so far (in the arena) */
	struct image *shared[IMG_KINDS]; /* images that many resources append to, opened when first needed (dump_image) */
	bool released;                   /* the tasks are no longer held */
	struct net_lock *lock;           /* network_lock.c */
	const char *lock_left;           /* the name of a lock that may outlive the dump; NULL: none */
	bool killed;                     /* the tree has ended by our hand */
	bool taken;                      /* lazy: the program may run at the other side, and must not go on here by itself */
	struct lazy_source *lazy;        /* mem/give.c */
	uint64_t freeze_begin_us;
	struct dump_stats {
		uint64_t pages_scanned, pages_written, pages_skipped_parent, pages_lazy, shpages_scanned, shpages_written;
		uint64_t freezing_us, frozen_us, memdump_us, memwrite_us;
	} stats;
};

/* ns/mount.c: a mount of the root task's mount namespace; NULL: it is not in it. */
struct mount_info;
const struct mount_info *mount_by_id(const struct dump *d, int mnt_id);

/* The image of a kind that many resources append to, opened at the first use. */
int dump_image(struct dump *d, enum image_kind kind, struct image **out);

#endif
