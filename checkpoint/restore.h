/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RESTORE_H
#define RESTORE_H

#include "checkpoint.h"
#include "image/stream.h"
#include "model/tree.h"
#include "seccomp.pb-c.h"

/* What the restore knows of a task besides its images (task->priv). */
struct restore_task {
	bool inherits;        /* the stub was cloned from its parent's stub when that had its memory, and still has all of it */
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
 * The engine drives the stubs. What ordinary code in the tree's namespaces does best (opening files, making sockets) is done by
 * one *builder* process: a fork of the engine that entered the root stub's namespaces with one setns(); it holds every open
 * file description of the tree as a descriptor of its own and sends them to the tasks over their channels. */
struct restore {
	const struct ck_restore_options *o;
	struct tree *tree;
	struct image_dir *images;
	struct arena *arena;
	struct builder *builder;         /* files/builder.h */
	struct memory *memory;           /* mem/: page images and shared segments */
	uint64_t area;                   /* where the batch pages go: free in every task's address space */
	TaskKobjIdsEntry *root_ids;      /* of the dumping tool; NULL if the inventory has none */
	bool own_ns[8];                  /* the tree had its own; by enum ns_kind */
	uint64_t clone_flags;            /* new namespaces of a stub that the engine makes */
	bool terminals;                  /* some file is a terminal */
	bool own_stub;                   /* it did (the stub is our child) */
	pid_t stub_pid;                  /* host numbering; 0 before there is one */
	struct helpers *helpers;         /* build.c */
	bool has_times;                  /* clocks at the time of the dump, ns */
	int64_t monotonic, boottime;
	uint64_t lazy_mark;              /* of the lazy dump, to know its page server again (pages/wire.h); 0: it does not tell */
	struct net_lock *lock;           /* network_lock.c */
	const char *lock_left;           /* the lock that the dump may have left; NULL: none */
	char *pidfile_made;
	SeccompEntry *seccomp;           /* seccomp.img; read by task_check */
	struct restore_stats {
		uint64_t pages_restored, pages_compared, pages_skipped_cow, forking_us, restore_us;
	} stats;
};

#endif
