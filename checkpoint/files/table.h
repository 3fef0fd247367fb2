/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_TABLE_H
#define FILES_TABLE_H

#include "dump.h"

/* The dump's table of open file descriptions: two descriptors (of whichever tasks) that share one get the same id. Candidates
 * are found by (device, inode); only they are compared with kcmp(2). */
int files_begin(struct dump *d);
void files_end(struct dump *d);
/* All descriptors of a task: fills task->fds. The task is stopped;
 * its leader's remote serves pidfd_getfd. */
int files_dump_task(struct dump *d, struct task *t);
/* A file that is known by path: cwd, root, executable, mapped file. *id is the reg_file id. `local` is an O_PATH or ordinary
 * descriptor (kept by the caller), link the text of the /proc link. Same (mount, inode, flags) gives the same id. */
int files_dump_path(struct dump *d, struct task *t, int what, int local, const char *link, uint32_t flags, uint32_t *id);
/* All tasks were seen, they still stand: runs the kinds' dump_end (queues, peers). */
int files_collected(struct dump *d);
/* Writes files.img and the fdinfo images. */
int files_write(struct dump *d);

#endif
