/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BUILD_H
#define BUILD_H

#include "restore.h"

/* Husks: the processes of the tree before they are what they were. */

/* The root: the runtime's parked process, or one of our own making with the namespaces in r->clone_flags. It is empty afterwards, has a
 * channel and no descriptors. */
int build_root(struct restore *r);
/* Every other task, with its memory, in the sessions that plan_births() laid out. */
int build_tree(struct restore *r);
/* Process groups; helpers end. */
int build_groups(struct restore *r);
/* Zombies die, with their parents told nothing. */
int build_zombies(struct restore *r);
/* Kills whatever exists. */
void build_kill(struct restore *r);

#endif
