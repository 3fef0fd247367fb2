/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_RESTORING_H
#define MEM_RESTORING_H

#include "mem/pool.h"
#include "remote/remote.h"
#include "restore.h"

#define PAGE UINT64_C(4096)
#define TASK_END UINT64_C(0x7ffffffff000)       /* user addresses end here (four levels of page tables) */
#define VSYSCALL_START UINT64_C(0xffffffffff600000)

/* What a restore knows of the tree's memory besides the mm images (struct restore.memory): freed by shmem_done(). */

/* A stretch of pages with content, and where it is in a pages file. */
struct image_run {
	uint64_t start, end, offset;
	uint32_t file;                           /* index in image_pages.files */
};
struct image_file {
	struct image_dir *dir;                   /* the images to be restored, or a checkpoint that they were saved upon */
	uint32_t id;                             /* pages-ID.img */
	uint64_t size;                           /* bytes that it has to have */
	int fd;                                  /* pages_open(); -1 */
	const char *map;                         /* pages_map(); NULL. To be given to the kernel alone: the file may be cut */
	bool writable;                           /* it is open for writing as well */
	bool fetched;                            /* a file in memory, which stays open until pages_done() */
	bool remote;                             /* no file: the source of a lazy dump has the content */
};
struct image_pages {
	ARRAY(struct image_file) files;
	uint64_t size;                           /* bytes of content */
	ARRAY(struct image_run) runs;            /* ascending, not overlapping */
	bool consume;                            /* content goes from the files when it is in place (consume.c) */
};

struct task_memory {
	const struct task *task;
	struct image_pages pages;
	bool filled;                             /* its husk has it: children may inherit */
	int uffd;                                /* lazy memory (lazy.c): of the husk, -1: none */
};

struct segment {
	uint64_t shmid, size;
	uint32_t huge;                           /* flags of a mapping of huge pages (huge.h), 0: it is of small ones */
	struct image_pages pages;
	void *mapping;                           /* ours, which keeps it alive */
	int fd;
	bool filled;
	bool sysv, made, removed;                /* of System V; in the tree's IPC namespace; it is to go when it is attached */
	uint32_t memfd_file;                     /* it is the content of a memfd: this file of the images; 0: it is not */
};

/* A file of the images that is none, but a segment (foreign.c). */
struct foreign_segment {
	uint32_t file, huge;         /* huge: flags of its mappings */
	uint64_t shmid;
};

struct memory {
	ARRAY(struct image_dir *) chain;         /* parent, its parent, … (chain.c) */
	ARRAY(struct task_memory *) tasks;
	ARRAY(struct foreign_segment) foreign;
	ARRAY(struct MemfdInodeEntry *) memfds;  /* memfd.c */
	ARRAY(struct segment) segments;
	struct pool pool;
	int lazy;                                /* connection to the pager, 0: none */
	bool lazy_answers;                       /* which says when it has taken over */
	uint64_t vvar_size, vdso_size;           /* of this kernel; 0: no vdso */
	const void *vdso;
};

struct memory *memory(struct restore *r);                                    /* made at the first call */
struct task_memory *task_memory(struct restore *r, const struct task *t);    /* NULL: not checked yet */
struct segment *segment_find(struct restore *r, uint64_t shmid);             /* NULL */

/* --- chain.c --- */
/* Reads and checks a pagemap image, and those of the parents that it refers to. A bare -ENOENT if there is none. */
int pages_read(struct restore *r, enum image_kind kind, uint64_t id, const char *who, struct image_pages *p);
int pages_open(struct image_pages *p);       /* The index of the first run that ends behind the address; the number of runs when none does. */
size_t image_run_at(const struct image_pages *p, uint64_t address);
/* the pages files that runs refer to; explained */
uint64_t pages_remote(const struct image_pages *p);   /* bytes whose content only the source has */
void pages_map(struct image_pages *p);          /* those files that are in memory, until they are closed */
void pages_close(struct image_pages *p);
void pages_done(struct image_pages *p);

/* Entries of mm_entry.vmas that are no mappings but guard regions within one. */
static inline bool vma_is_guard(const VmaEntry *v)
{
	return v->status & VMA_GUARD;
}
/* The content of the page images belongs to it. */
static inline bool vma_is_private(const VmaEntry *v)
{
	return v->status & (VMA_ANON_PRIVATE | VMA_FILE_PRIVATE) && !(v->status & (VMA_VVAR | VMA_VSYSCALL));
}

/* --- vdso.c --- */
int vdso_check(struct restore *r, const struct task *t);
/* The range of vvar and vdso in the image; false: the task has none. */
bool vdso_range(const MmEntry *m, uint64_t *start, uint64_t *end);

/* --- foreign.c --- */
/* Mappings that CRIU stored as those of a memfd become the shared anonymous ones that they were. */
int foreign_segments(struct restore *r, struct task *t);

/* --- inherit.c: copy-on-write --- */

/* For every entry of mm->vmas whether the husk, which still has its parent's memory, keeps it. */
bool *inherit_plan(const MmEntry *child, const MmEntry *parent);

/* --- consume.c: --auto-dedup --- */
/* Whether the content of a task may go as it is put into place. */
bool consume_at_once(struct restore *r, const struct task *t);
/* After a task has its memory: what nobody needs any more goes. */
int consume_after(struct restore *r, const struct task *t);
int pages_punch(const struct image_pages *p, uint32_t file, uint64_t offset, uint64_t size);

/* --- fill.c --- */
struct fill_piece {
	uint64_t address, size, offset;
	uint64_t compare;            /* offset in the parent's pages file of what is there already; FILL_NEW: nothing is */
	uint32_t file, compare_file; /* which one; of `own`, of `parent` */
	bool writable, uffd;         /* the mapping can be written to; is a new private anonymous one */
};
#define FILL_NEW UINT64_MAX
struct fill_where {
	uint64_t start, end;
	bool writable, uffd;
};
struct fill_chunk {
	size_t first, n;             /* pieces that follow each other in one pages file */
	uint64_t size;
};
struct fill {
	ARRAY(struct fill_piece) pieces;
	ARRAY(struct image_run) drop;            /* what the parent has and the child has not */
	ARRAY(struct fill_chunk) chunks;
	uint64_t size, uffd_size;                /* bytes in all; of them in new private anonymous mappings */
	const struct image_pages *own, *parent;  /* open (pages_open()); parent NULL: nothing is inherited */
	pid_t pid;
	int mem_fd, uffd;                        /* uffd -1: none */
	const char *who;
	uint64_t restored, compared, skipped;    /* pages */
};
/* Adds the content of a new mapping; addresses in the task are those of the image plus `shift`. */
void fill_add(struct fill *f, const struct fill_where *w, uint64_t shift);
/* Adds what differs in a mapping kept from the parent. */
void fill_add_inherited(struct fill *f, const struct fill_where *w);
int fill_run(struct fill *f, struct pool *pool);
void fill_done(struct fill *f);

/* --- segment.c --- */
/* Fills a segment through a mapping of all of it in the husk. */
int segment_fill(struct restore *r, struct segment *s, struct remote *husk, uint64_t address);

#endif
