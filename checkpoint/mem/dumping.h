/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_DUMPING_H
#define MEM_DUMPING_H

#include "dump.h"
#include "mem/pool.h"
#include "mem/scan.h"
#include "mem/sink.h"
#include "mem/smaps.h"
#include "mem/track.h"
#include "remote/remote.h"

/* What a dump knows of the tree's memory besides the mappings (struct dump.shmem): freed by shmem_end(). */
struct shmem_segment {
	uint64_t inode;
	uint64_t size;               /* the end of what is mapped of it, anywhere in the tree */
	uint64_t end;                /* bytes that can be read of it, if it may end within a page; 0: all of its pages */
	int fd;                      /* the segment itself, for reading */
	bool sysv;                   /* of System V: inode is its id */
};

struct task_pages {
	const struct task *task;
	struct scan_areas areas;     /* its private mappings */
	struct scan_found found;     /* there; clean: what the parent images have as it is */
	struct ranges sole;          /* mappings none of whose pages another address space has */
};

/* A file that a task maps or runs and that is in the table of files: the sixty mappings of an interpreter are of twenty files, and the
 * tasks of a tree mostly have the same ones. */
struct seen_file {
	uint64_t device, inode;
	const char *name;
	uint32_t flags, id;
};

struct shmem_table {
	ARRAY(struct shmem_segment) segments;
	ARRAY(struct task_pages *) tasks;
	ARRAY(struct seen_file) seen;
	struct pool pool;
	struct vmflags *flags;       /* maps.c; NULL: mappings are read from smaps */
};

int shmem_add(struct dump *d, struct shmem_segment s);   /* takes its fd */
struct shmem_table *shmem_table(struct dump *d);   /* made at the first call */
/* Remembers a task; freed by shmem_end(). */
struct task_pages *task_pages_add(struct dump *d, const struct task *t);
const struct task_pages *task_pages_of(struct dump *d, const struct task *t);   /* NULL: not collected */
/* A task maps a part of a shared anonymous segment. 0 or -errno, explained. */
int shmem_found(struct dump *d, const struct task *t, const struct smaps_vma *v);
/* Saves the pages of a task: which they are, in the mappings of m. */
int task_save(struct dump *d, const struct task *t, const MmEntry *m, const struct task_pages *pages, const struct page_source *from);

#endif
