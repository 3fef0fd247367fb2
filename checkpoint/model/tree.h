/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_TREE_H
#define MODEL_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"
#include "core.pb-c.h"
#include "fdinfo.pb-c.h"
#include "fs.pb-c.h"
#include "mm.pb-c.h"
#include "pstree.pb-c.h"

/* The snapshot: what a dump collects and a restore has read. Facts only, no system calls. What the image format says in one
 * message is kept as that message; all messages live in the tree's arena. Pids without a word are those of the tree's own
 * innermost pid namespace ("virtual", as the images have them); host pids are the engine's. */
struct thread {
	struct task *task;
	pid_t tid;                  /* virtual */
	pid_t host_tid;             /* 0 before it exists */
	CoreEntry *core;            /* of a leader: with tc; of other threads: thread_core and arch info */
	struct remote *remote;      /* how it is driven, NULL if it is not */
};

enum task_state {
	TASK_ALIVE = 1, TASK_DEAD = 2, TASK_STOPPED = 3,   /* as task_core_entry.task_state; dead = zombie */
	TASK_HELPER = 100,                                 /* restore only: stands in for a session or group leader that has gone */
};

struct task {
	struct tree *tree;
	pid_t pid, host_pid, pgid, sid;
	enum task_state state;
	int stop_signal;            /* of a stopped task */
	struct task *parent;        /* NULL: root */
	ARRAY(struct task *) children;
	struct thread *threads;     /* threads[0] is the leader */
	size_t n_threads;
	TaskKobjIdsEntry *ids;
	MmEntry *mm;                /* NULL for a zombie */
	FsEntry *fs;
	struct fdtable *fds;        /* shared by tasks with the same files_id; NULL for a zombie */
	const struct proc_stat *stat;   /* of a dump (ahead_stat) */
	void *priv;                 /* of the dump or the restore in progress */
};

/* A descriptor table: fdinfo-<files_id>. */
struct fdtable {
	uint32_t id;
	struct task *owner;         /* the first task that has it */
	ARRAY(FdinfoEntry *) fds;
};

struct tree {
	struct arena arena;
	ARRAY(struct task *) tasks;          /* parents before children, root first */
	ARRAY(struct fdtable *) fdtables;
	ARRAY(FileEntry *) files;            /* the open file descriptions: files.img */
};

struct tree *tree_new(void);
void tree_free(struct tree *t);                                      /* NULL is harmless */
struct task *tree_add(struct tree *t, struct task *parent, pid_t pid, size_t n_threads);   /* n_threads zeroed threads */
struct task *tree_find(const struct tree *t, pid_t pid);             /* by virtual pid; NULL */
FileEntry *tree_file(const struct tree *t, uint32_t id);             /* NULL */
struct fdtable *tree_fdtable(const struct tree *t, uint32_t id);     /* NULL */
struct fdtable *tree_add_fdtable(struct tree *t, uint32_t id, struct task *owner);
static inline struct task *tree_root(const struct tree *t)
{
	return t->tasks.n ? t->tasks.data[0] : NULL;
}

/* vma_entry.status bits of the image format. */
enum vma_status {
	VMA_REGULAR = 1 << 0, VMA_STACK = 1 << 1, VMA_VSYSCALL = 1 << 2, VMA_VDSO = 1 << 3, VMA_HEAP = 1 << 5,
	VMA_FILE_PRIVATE = 1 << 6, VMA_FILE_SHARED = 1 << 7, VMA_ANON_SHARED = 1 << 8, VMA_ANON_PRIVATE = 1 << 9,
	VMA_SYSVIPC = 1 << 10, VMA_SOCKET = 1 << 11, VMA_VVAR = 1 << 12, VMA_AIORING = 1 << 13, VMA_MEMFD = 1 << 14,
	VMA_SHSTK = 1 << 15, VMA_GUARD = 1 << 16, VMA_UPROBES = 1 << 17,
};

/* pagemap_entry.flags */
enum pagemap_flag { PAGEMAP_PARENT = 1, PAGEMAP_LAZY = 2, PAGEMAP_PRESENT = 4 };

#endif
