/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_HANDLE_H
#define FILES_HANDLE_H

#include "files/kinds.h"

/* What fdinfo tells of an inode that is watched. */
struct watched {
	uint64_t inode;
	uint32_t device;             /* the kernel's number: major << 20 | minor */
	uint32_t bytes, type;        /* of its handle; bytes 0: it has none */
	unsigned char handle[128];
};

/* The end of an fdinfo line, "fhandle-bytes:… fhandle-type:… f_handle:…"; false: there is none. */
bool watched_handle(const char *line, struct watched *w);
/* Its handle, and a path that leads to it in the tree. */
int handle_dump(struct dump *d, const struct file_info *f, const struct watched *w, FhEntry **out);
/* In the builder: the inode as an O_PATH descriptor. */
int handle_open(struct restore *r, const FileEntry *e, const FhEntry *h);
/* Mount point of a mount of the tree by its id: NULL if there is none. To be freed. */
char *handle_mountpoint(struct dump *d, int mnt_id);

#endif
