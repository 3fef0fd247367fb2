/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_SINK_H
#define MEM_SINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "checkpoint.h"
#include "image/stream.h"
#include "mem/pool.h"
#include "mem/scan.h"

/* Saved pages on their way: from a source (a task, a shared segment) into a sink (image files, a page server). */

/* Where page content is read from, by address: /proc/PID/mem, or the file that a shared segment is. */
struct page_source {
	int fd;
	uint64_t end;                /* bytes of it, if it is a file that may end within a page; 0: whole pages */
	pid_t pid;                   /* of a process, with `sole`: what process_vm_readv may read */
	const struct ranges *sole;   /* ranges none of whose pages another address space has; NULL: none */
	bool running;                /* the task runs on: what is no longer there when it is read is left out, as if it had not been asked for */
	const char *what;            /* for messages: "task 12 (redis-server)" */
};
struct page_run {
	uint64_t start, end;
	uint32_t flags;              /* PAGEMAP_ */
};
struct page_runs {
	ARRAY(struct page_run) list;
};

/* --- source.c: reading --- */

/* A stretch of the source. Pieces handed to source_read() are all in `sole`, or none is. */
struct page_piece {
	uint64_t address, size;
};
#define PIECES_MAX 256
bool source_is_sole(const struct page_source *from, uint64_t start, uint64_t end);
/* The content of n (at most PIECES_MAX) pieces, one after another, into a buffer. Any thread may call it. With from->running, what has
 * vanished reads as zeroes and is added to *gone (ascending; touching ranges merged); without, that is an error. 0 or -errno, explained. */
int source_read(const struct page_source *from, const struct page_piece *pieces, size_t n, bool sole, char *buffer, struct ranges *gone);

/* --- sinks --- */

/* One pagemap at a time is open. Functions return 0 or -errno, explained. A sink's own struct has this as its first member. */
struct page_sink;
struct page_sink_ops {
	/* A new pagemap (IMG_PAGEMAP by pid, IMG_PAGEMAP_SHMEM by segment) whose pages come from `from`, which lives until close(). */
	int (*open)(struct page_sink *s, enum image_kind kind, uint64_t id, const struct page_source *from);
	/* The next run, ascending. PAGEMAP_PRESENT: with its content, which is read now or until close(); else the entry alone. */
	int (*add)(struct page_sink *s, const struct page_run *run);
	/* The pagemap and its pages are with the sink. *gone, if not NULL, gets what from->running left out. */
	int (*close)(struct page_sink *s, struct ranges *gone);
	/* Nothing more comes: all that was handed over is where it has to be (a server has acknowledged it). */
	int (*finish)(struct page_sink *s);
	void (*free)(struct page_sink *s);
};
struct page_sink {
	const struct page_sink_ops *ops;
};

/* Image files: pagemap-ID and pages-N, numbered from first_id (1). The pool's buffers are used for what is on its way. */
struct page_sink *sink_files(struct image_dir *images, struct pool *pool, uint32_t first_id);

/* A page server: connected, and the other side of a dump's connection from here on. record, if not NULL, gets a list of the pages sent of each
 * task (sent-pagemap-PID), for the next round. */
int sink_server(const struct ck_page_peer *peer, struct pool *pool, struct image_dir *record, struct page_sink **out);

/* Opens, adds all runs, closes. */
int sink_put(struct page_sink *s, enum image_kind kind, uint64_t id, const struct page_source *from, const struct page_runs *runs,
	     struct ranges *gone);

#endif
