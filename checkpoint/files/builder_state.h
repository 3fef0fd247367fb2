/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_BUILDER_STATE_H
#define FILES_BUILDER_STATE_H

#include "files/builder.h"
#include "files/kinds.h"

/* What builder.c (engine side), serve.c (builder) and check.c share. */

struct slot {
	const FileEntry *entry;
	int fd;                        /* in the builder: -1 until it is open */
	bool opening;
};

struct builder {
	pid_t pid;
	int sock;
	bool joined;                   /* the answer to its start was read */
	int terminal;                  /* of who restores, for a job of its shell; -1: none */
	/* made by files_check(): */
	struct slot *slots;            /* ascending by id; of entries with one id the one that descriptors mean is first */
	size_t n;
	/* in the builder: */
	int self_fd;                   /* /proc/self/fd, whatever the namespace shows as /proc */
	void *state[STATES];
};

enum builder_op { OP_OPEN_PATHS, OP_OPEN_ALL, OP_SEND, OP_GET, OP_SESSION, OP_ORPHAN, OP_CALL };

struct request {
	enum builder_op op;
	uint32_t n;                    /* ids, or bytes of data */
	int (*fn)(struct restore *r, void *data, size_t size);
};
#define BUILDER_DATA_MAX (64u << 10)

_Noreturn void builder_main(struct restore *r, pid_t engine, pid_t root);
struct slot *builder_slot(const struct restore *r, uint32_t id);   /* NULL: no such file */

#endif
