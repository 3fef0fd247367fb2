/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_AHEAD_H
#define MEM_AHEAD_H

#include "dump.h"

/* Reads /proc/PID/smaps of the tree's tasks ahead of the dump, which takes them in the tree's order. */
struct ahead;

/* The text for this task, NUL-terminated, to be freed; a bare -errno. The first call starts the reading. */
int ahead_smaps(struct dump *d, struct ahead **a, const struct task *t, char **text);
void ahead_end(struct ahead **a);   /* harmless if it was never started */

#endif
