/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_STREAM_H
#define IMAGE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "image/kinds.h"

/* A directory of images. While it is written every file has a temporary name (".NAME.part"); image_dir_commit() renames all
 * of them, the inventory last, so that a directory with an inventory is a whole checkpoint. */
struct image_dir {
	int fd;
	char *path;                    /* for messages */
	bool writing, keep_partial, made, committing;
	bool pages_elsewhere;          /* a page server writes the pages; it may be into this directory */
	bool in_memory;                /* nothing of it is ever on a disk */
	bool unsynced;                 /* nobody waits until it is */
	bool write_early;              /* the disk is to begin while pages still come: nothing else waits for the processors */
	bool keep_old;                 /* a file that is there already is not replaced */
	char suffix[16];               /* of temporary names; "": part. What image_dir_begin() clears away is that alone */
	ARRAY(char *) written;         /* final names of the files written so far */
	uint32_t *places;              /* where they are in it, by hash (dir.c) */
	size_t n_places;
};

int image_dir_create(const char *path, struct image_dir **out);   /* for a dump; makes the directory if needed */
/* No other dump works in it, and what a killed one has left there goes. The lock lasts until image_dir_free(). */
int image_dir_begin(struct image_dir *d);
bool image_dir_has(const struct image_dir *d, const char *name);   /* it has been written */
int image_dir_open(const char *path, struct image_dir **out);     /* for a restore */
int image_dir_adopt(int fd, const char *path, struct image_dir **out);   /* the same, of an open directory, which is taken; 0 */
/* Makes the checkpoint whole: an old inventory is removed, files renamed, the inventory last. sync: file contents are on the
 * disk before that. */
int image_dir_commit(struct image_dir *d, bool sync);
/* For files that are whole by themselves (statistics): renames what was written, touches nothing else. */
int image_dir_publish(struct image_dir *d);
/* A checkpoint that was committed just now is none after all: freeing it removes it. */
void image_dir_void(struct image_dir *d);
/* Removes what was published: nobody will use it. */
void image_dir_withdraw(struct image_dir *d);
/* Closes; what was not committed is removed, unless keep_partial (then the temporary names stay). NULL is harmless. */
void image_dir_free(struct image_dir *d);

struct image;   /* one open file */
int image_create(struct image_dir *d, enum image_kind kind, uint64_t id, struct image **out);
int image_write(struct image *i, const void *message);             /* a message of the kind's type, framed */
int image_write_raw(struct image *i, const void *data, size_t size);   /* payload after an entry */
int image_close(struct image **i);                                 /* flushes; reports what a write could not do */
/* One entry, the whole file. */
int image_write_one(struct image_dir *d, enum image_kind kind, uint64_t id, const void *message);
/* A raw file (pages-N.img, a tar of a tmpfs): a descriptor to write into, owned by the caller. */
int image_create_raw(struct image_dir *d, const char *name);
/* A symbolic link, put into place with the files. */
int image_create_link(struct image_dir *d, const char *name, const char *target);

/* A bare -ENOENT if there is no such image; every other error explains itself. */
int image_open(struct image_dir *d, enum image_kind kind, uint64_t id, struct image **out);
/* The next entry into *(type **)message_pointer, allocated in *arena. Returns 1, 0 at the end, or -errno (explained: file and
 * offset). */
int image_read(struct image *i, struct arena *arena, void *message_pointer);
int image_read_message(struct image *i, const ProtobufCMessageDescriptor *type, struct arena *arena, void *message_pointer);
int image_read_raw(struct image *i, void *data, size_t size);
int image_copy_raw(struct image *i, int to_fd, uint64_t size);     /* payload of any size into a descriptor */
int image_read_one(struct image_dir *d, enum image_kind kind, uint64_t id, struct arena *arena, void *message_pointer);
int image_open_raw(struct image_dir *d, const char *name);         /* descriptor, bare -ENOENT if missing */
const char *image_name(const struct image *i);                     /* for messages */
int image_write_message(struct image *i, const void *message);     /* framed, of any type (pagemap head and entries, ghost chunks) */
void image_free(struct image **i);                                 /* closes without complaint (readers, error paths) */
#define auto_image __attribute__((cleanup(image_free)))

#endif
