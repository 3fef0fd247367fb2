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
extern const struct file_kind unix_kind, inet_kind;    /* sockets/ */
/* "a netlink socket", for a socket that no kind takes. */
const char *socket_describe(const struct file_info *f);

/* "task 17 (redis-server), descriptor 3 (socket:[123])" for messages. */
#define FILE_FMT "task %d (%s), descriptor %d (%s)"
const char *file_comm(const struct file_info *f);
#define FILE_ARG(f) (f)->task->pid, file_comm(f), (f)->fd, (f)->link

/* A resource that no kind knows stops the dump with its name. */
int file_unsupported(const struct file_info *f);

/* --- for the kinds, dump --- */

/* A message in the arena, initialised: ARENA_MESSAGE(d->arena, PipeEntry, PIPE_ENTRY__INIT). */
#define ARENA_MESSAGE(arena, type, init) ({ type *message = arena_new(arena, type); *message = (type)init; message; })

/* Owner and signal of asynchronous input (F_SETOWN_EX, F_SETSIG), in the tree's pids; never NULL on success. */
int file_fown(struct dump *d, const struct file_info *f, FownEntry **out);
/* lstat() of an absolute path below the tree's root directory: 0 or a bare -errno. */
int file_stat_path(const struct dump *d, const char *path, struct stat *st);
/* Whether the caller named this key (--external KEY or KEY:label). */
bool file_listed(const struct dump *d, const char *key);
/* An entry that no descriptor refers to by itself (the path of a fifo, a socket outside the tree): a new id. */
FileEntry *file_add_entry(struct dump *d, FdTypes type);
/* What a kind remembers between its calls: a pointer, NULL at first; put there what the arena holds. */
enum file_state {
	STATE_GHOST, STATE_PIPE, STATE_FIFO, STATE_PIPE_DATA, STATE_FIFO_DATA, STATE_EVENTPOLL, STATE_UNIX, STATE_QUEUE, STATE_NETNS, STATE_LOCK,
	STATE_TTY, STATE_SOCKET, STATE_TCP, STATE_MEMFD, STATE_LINK_REMAP, STATES
};
void **file_state(struct dump *d, enum file_state which);
/* Calls fn(arg) when the dump ends, however it ends: for what a kind keeps open. */
void file_at_end(struct dump *d, void (*fn)(void *arg), void *arg);
/* The id that number fd of a descriptor table has; 0: none. Entries ascend. */
uint32_t file_id_at(const struct fdtable *t, int fd);
/* Among the descriptions of that inode, the id of the first for which same() says so; 0: none. For dump_end(). */
uint32_t file_find(struct dump *d, dev_t dev, ino_t ino, bool (*same)(pid_t host_pid, int fd, void *arg), void *arg);

/* --- for the kinds, restore (in the builder) --- */

#define ENTRY_FMT "file %u of the images (%s)"
#define ENTRY_ARG(e) (e)->id, file_kind_of((e)->type) ? file_kind_of((e)->type)->name : "unknown kind"
/* The caller's descriptor for this key as a duplicate, -ENOENT if it gave none. */
int file_inherited(const struct restore *r, const char *key);
/* A new description of what fd refers to, by its /proc link: -errno, bare. */
int file_reopen(const struct restore *r, int fd, uint32_t flags);
/* Makes the builder's /proc/self/fd its working directory: an open file is reached there by its number. */
int file_chdir_self(const struct restore *r);
/* O_NONBLOCK, O_APPEND, O_DIRECT and O_NOATIME as the image has them (F_SETFL). */
int file_set_flags(const FileEntry *e, int fd, uint32_t flags);
/* The entry of that type and id, NULL if there is none. */
const FileEntry *file_entry(const struct restore *r, FdTypes type, uint32_t id);
void **file_restore_state(struct restore *r, enum file_state which);

#endif
