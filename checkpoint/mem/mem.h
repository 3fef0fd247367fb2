/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_H
#define MEM_H

#include "dump.h"
#include "remote/remote.h"
#include "restore.h"

/* --- dump --- */
/* Where the pages will go, by the options (sink.h). */
int mem_begin(struct dump *d);
/* Reads /proc/PID/smaps and friends into task->mm (vmas, auxv; exe and mapped files get ids through files_dump_path). The
 * batch pages of `r` are left out. The task may be running a batch. */
int mm_collect(struct dump *d, struct task *t, struct remote *r);
/* What only the task can tell of its memory: calls for a batch of its leader, and their results into task->mm. */
#define MM_QUESTIONS 3
void mm_ask(struct call calls[MM_QUESTIONS]);
int mm_take(struct task *t, const struct call calls[MM_QUESTIONS]);
/* Saves the pages: pagemap-<pid>, pages-<n>. */
int mm_save_pages(struct dump *d, struct task *t, struct remote *r);
/* Shared segments (anonymous MAP_SHARED): found during mm_collect, saved once: pagemap-shmem-<id>. No pages come after them. */
int shmem_save(struct dump *d);
void shmem_end(struct dump *d);
/* A round of a pre-dump: the anonymous pages of a task, which may run. One that has ended has none. */
int mm_pre_collect(struct dump *d, struct task *t);
int mm_pre_save(struct dump *d, struct task *t);

/* A lazy dump (give.c): listens, before anything stands still; serves, when the images are whole. */
int lazy_listen(struct dump *d);
int lazy_serve(struct dump *d);
void lazy_end(struct dump *d);

/* Frees in the parents of these images the pages that they have themselves; whole: and in the parents' parents what those have. */
int mem_dedup(struct image_dir *images, bool whole);

/* --- restore --- */
/* An address where `size` bytes are free in every task of the tree and in this process. 0: none. */
uint64_t mm_find_hole(const struct tree *t, uint64_t size);
/* Checks a task's mappings and page counts before anything is created. */
int mm_check(struct restore *r, struct task *t);
/* Lays out the address space of a husk: mappings, vdso, brk, exe, auxv (PR_SET_MM_MAP); fills the pages. The husk is empty
 * (remote_empty), or, for the copy-on-write sharing of a forked program, still has its parent's restored memory: what matches is
 * kept, the rest goes. Files come from the builder over the husk's channel. */
int mm_restore(struct restore *r, struct task *t, struct remote *husk);
int shmem_check(struct restore *r);     /* after mm_check of all tasks: the segments' pagemaps */
int shmem_prepare(struct restore *r);   /* the shared segments as files in the engine */
void shmem_done(struct restore *r);

#endif
