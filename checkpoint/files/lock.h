/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_LOCK_H
#define FILES_LOCK_H

#include "file-lock.pb-c.h"
#include "files/kinds.h"

/* Locks that a descriptor holds. first: its description is seen for the first time. */
int lock_dump(struct dump *d, const struct file_info *f, uint32_t id, bool first);

/* Restore, engine side: all locks of filelocks.img (read at the first call), to be taken by their owners. */
struct file_locks {
	FileLockEntry **data;
	size_t n, cap;
};
int locks_read(struct restore *r, struct file_locks **out);

#endif
