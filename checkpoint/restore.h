/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RESTORE_H
#define RESTORE_H

#include "base/turns.h"
#include "checkpoint.h"
#include "image/stream.h"
#include "model/tree.h"
#include "seccomp.pb-c.h"

/* What the restore knows of a task besides its images (task->priv). */
struct restore_task {
	bool inherits;        /* the husk was cloned from its parent's husk when that had its memory, and still has all of it */
	pid_t born_sid;       /* the session it is born in */
	bool early;           /* made before its maker calls setsid() */
	struct task *maker;   /* who clones it: its parent, or a member of the session it needs (then a sibling: CLONE_PARENT) */
	pid_t helper;         /* instead: a helper with this pid, leader of a session whose real leader has gone */
	bool made;
};
static inline struct restore_task *restore_task(const struct task *t)
{
	return t->priv;
}

/* A restore in progress.
 *
 * The engine drives the husks. What ordinary code in the tree's namespaces does best (opening files, making sockets) is done by
 * one *builder* process: a fork of the engine that entered the root husk's namespaces with one setns(); it holds every open
 * file description of the tree as a descriptor of its own and sends them to the tasks over their channels. */
struct restore {
	const struct ck_restore_options *o;
	struct tree *tree;
	struct image_dir *images;
	struct arena *arena;
	bool tcp_closed;                 /* TCP connections were not saved */
	struct inet_map *address_map;    /* sockets/: --map-address */
	struct builder *builder;         /* files/builder.h */
	struct memory *memory;           /* mem/: page images and shared segments */
	uint64_t area;                   /* where the batch pages go: free in every task's address space */
	TaskKobjIdsEntry *root_ids;      /* of the dumping tool; NULL if the inventory has none */
	bool own_ns[8];                  /* the tree had its own; by enum ns_kind */
	uint64_t clone_flags;            /* new namespaces of a husk that the engine makes */
	bool terminals;                  /* some file is a terminal */
	struct NetnsEntry *netns;        /* what the network namespace is to be; NULL: nothing is done in it */
	int net_fd;                      /* the one given by the caller (--join-ns, --inherit-fd), > 0 if there is one */
	bool net_given;                  /* it is left alone */
	struct ns_joins *joins;          /* ns/join.c: those that it has with others; NULL: none */
	uint32_t own_cgroup_set;         /* of the dumping tool, in the images; 0: they do not say */
	struct cgroup_plan *cgroups;     /* ns/cgroup_restore.c; NULL: the groups are the caller's */
	bool own_husk;                   /* it did (the husk is our child) */
	pid_t husk_pid;                  /* host numbering; 0 before there is one */
	struct helpers *helpers;         /* build.c */
	bool has_times;                  /* clocks at the time of the dump, ns */
	int64_t monotonic, boottime;
	uint64_t lazy_mark;              /* of the lazy dump, to know its page server again (pages/wire.h); 0: it does not tell */
	struct net_lock *lock;           /* network_lock.c */
	const char *lock_left;           /* the lock that the dump may have left; NULL: none */
	const char *criu_lock;           /* likewise CRIU's, by nftables: what its name ends with; NULL: none */
	bool criu_iptables;              /* likewise, by iptables */
	char *pidfile_made;
	struct turns turns;              /* the engine, the builder and the husks share a processor */
	SeccompEntry *seccomp;           /* seccomp.img; read by task_check */
	struct restore_stats {
		uint64_t pages_restored, pages_compared, pages_skipped_cow, forking_us, restore_us;
	} stats;
};

/* Between the two, what is logged goes to the task's own file, if it has one (--log-pid). */
int restore_log_begin(struct restore *r, const struct task *t);
void restore_log_end(int before);

#endif
