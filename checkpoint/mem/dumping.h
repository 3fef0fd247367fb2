/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_DUMPING_H
#define MEM_DUMPING_H

#include "dump.h"
#include "mem/ahead.h"
#include "mem/pool.h"
#include "mem/scan.h"
#include "remote/remote.h"

/* What a dump knows of the tree's memory besides the mappings (struct dump.shmem): freed by shmem_end(). */
struct shmem_segment {
	uint64_t inode;
	uint64_t size;               /* the end of what is mapped of it, anywhere in the tree */
	int fd;                      /* the segment itself, for reading */
};

struct task_pages {
	const struct task *task;
	struct ranges pages;         /* found by mm_collect; the task stands still since then */
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
	struct ahead *ahead;
};

struct shmem_table *shmem_table(struct dump *d);   /* made at the first call */
/* A task maps [pgoff, pgoff + size) of a shared anonymous segment. */
int shmem_found(struct dump *d, const struct task *t, uint64_t inode, uint64_t vma_start, uint64_t vma_end, uint64_t pgoff);

/* Where page content is read from, by address: /proc/PID/mem, or the file that a shared segment is. */
struct page_source {
	int fd;
	pid_t pid;                   /* of a process, with `sole`: what process_vm_readv may read */
	const struct ranges *sole;   /* NULL: none */
	const char *what;            /* for messages: "task 12 (redis-server)" */
};
struct page_run {
	uint64_t start, end;
	uint32_t flags;              /* PAGEMAP_ */
};
struct page_runs {
	ARRAY(struct page_run) list;
};
/* Writes a pagemap image and its pages file. */
int pages_save(struct dump *d, enum image_kind kind, uint64_t id, const struct page_source *from, const struct page_runs *runs);

#endif
