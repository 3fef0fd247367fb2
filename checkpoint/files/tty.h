/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_TTY_H
#define FILES_TTY_H

#include "files/kinds.h"
#include "tty.pb-c.h"

extern const struct file_kind tty_kind;

/* --- tty.c (dump), tty_restore.c --- */
int tty_dump(struct dump *d, const struct file_info *f, FileEntry *e);
int tty_dump_end(struct dump *d);
int tty_open(struct restore *r, const FileEntry *e);
int tty_finish(struct restore *r, const FileEntry *e, int fd);

/* In the builder. The terminal that a session has as its controlling one (owned by the builder); a bare -ENOENT if it has none. Opens what
 * refers to it by /dev/tty as well: that cannot be done any more once the session has it. */
int tty_of_session(struct restore *r, pid_t sid);

/* In the builder. The masters of terminals that have none in the tree, by number in the order in which they were made; a bare -ENOENT. */
int tty_orphan_master(struct restore *r, uint32_t number);

/* --- tty_queue.c: what is on its way in a terminal --- */

/* What nobody has read yet, which stays there: input of a slave, output at a master (peer: another descriptor of its slave). Memory of the
 * arena; *size bytes. */
int tty_input_peek(struct arena *arena, int slave, void **data, size_t *size);
int tty_output_peek(struct arena *arena, int master, void **data, size_t *size);
/* Puts it there; canonical: whole lines, as the slave's mode will be. Ends with no settings in particular. */
int tty_input_put(int slave, const void *data, size_t size);
int tty_output_put(int slave, const void *data, size_t size);

#endif
