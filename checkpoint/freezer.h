/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FREEZER_H
#define FREEZER_H

#include "dump.h"

/* Each does nothing where the dump's options name no freezer cgroup. */

/* Which kind it is, and whether the group is frozen: into the dump. */
int freezer_look(struct dump *d);
/* Thaws a group that was frozen, if it is of that version. */
int freezer_thaw(struct dump *d, bool v2);
/* When the tree stands: processes in the group that are not of the tree. Refused unless it is left running; of a frozen group they stand still as well. */
int freezer_strangers(struct dump *d);
void freezer_let_go(struct dump *d);
/* Back to what it was before the dump. */
void freezer_end(struct dump *d);

#endif
