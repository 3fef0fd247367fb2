/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_KINDS_H
#define FILES_KINDS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "dump.h"
#include "restore.h"

/* One kind of open file, one row (files/kinds.c, sockets/kinds.c). */

/* What the collector knows of one open file description when it asks the kinds. */
struct file_info {
	struct task *task;
	int fd;                  /* its number there; negative: FILE_CWD, FILE_ROOT, FILE_EXE, FILE_MAP */
	int local;               /* our own duplicate (pidfd_getfd; O_PATH for the negative ones) */
	struct stat st;
	char *link;              /* the text of /proc/PID/fd/N */
	char *fdinfo;            /* the text of /proc/PID/fdinfo/N, "" for the negative ones */
	uint32_t flags;          /* open flags without O_CLOEXEC */
	uint64_t pos;
	int mnt_id;              /* -1: unknown */
	bool external;           /* named by the caller (stdio of a container, --external) */
};
enum { FILE_CWD = -1, FILE_ROOT = -2, FILE_EXE = -3, FILE_MAP = -4 };

struct file_kind {
	const char *name;        /* for messages: "pipe" */
	FdTypes type;            /* file_entry.type */
	bool (*match)(const struct file_info *f);
	/* Fills e (type and id are set) and writes extra images. Explains a failure with FILE_FMT/FILE_ARG(f). */
	int (*dump)(struct dump *d, const struct file_info *f, FileEntry *e);
	/* After all descriptors were seen: relations between files (peers of pipes and sockets); may be NULL. */
	int (*dump_end)(struct dump *d);
	/* In the builder: checks the entry and opens it; returns a descriptor or -errno. Called once for each entry, in any order. A
	 * kind that makes several at once (a pipe's ends, a socket pair) puts the others with builder_put(). */
	int (*open)(struct restore *r, const FileEntry *e);
	/* In the builder, when all are open: data into queues, listening, epoll entries; may be NULL. */
	int (*finish)(struct restore *r, const FileEntry *e, int fd);
};

extern const struct file_kind *const file_kinds[];     /* NULL-terminated, asked in this order */
const struct file_kind *file_kind_of(FdTypes type);    /* NULL: none */

/* "task 17 (redis-server), descriptor 3 (socket:[123])" for messages. */
#define FILE_FMT "task %d (%s), descriptor %d (%s)"
const char *file_comm(const struct file_info *f);
#define FILE_ARG(f) (f)->task->pid, file_comm(f), (f)->fd, (f)->link

/* A resource that no kind knows stops the dump with its name. */
int file_unsupported(const struct file_info *f);

#endif
