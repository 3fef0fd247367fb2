/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_CHAIN_H
#define MEM_CHAIN_H

#include "restore.h"

/* One pagemap as it is in a directory. */
struct level_run {
	uint64_t start, end, offset;   /* offset: in the pages file, if the content is there */
	bool parent, remote;           /* remote: a lazy dump's, whose content is with its page server */
};
struct level {
	struct image_dir *dir;
	uint32_t id;                   /* of the pages file */
	uint64_t size;                 /* of the content listed */
	ARRAY(struct level_run) runs;
};

/* The images `depth` steps behind r->images; `who` is for messages. */
int chain_directory(struct restore *r, size_t depth, const char *who, struct image_dir **out);
/* Reads the pagemap in l->dir; a bare -ENOENT if there is no such pagemap. */
int level_read(struct level *l, enum image_kind kind, uint64_t id, const char *who);

#endif
