/* SPDX-License-Identifier: Apache-2.0 */
#ifndef INVENTORY_H
#define INVENTORY_H

#include "dump.h"
#include "restore.h"

/* The images about the checkpoint as a whole: inventory, pstree, statistics. */
int pstree_write(struct dump *d);
int inventory_run_id_new(struct dump *d);   /* d->run_id */
int inventory_write(struct dump *d);      /* the last image */
int stats_dump_write(struct dump *d);     /* into the work directory, after everything */

/* Reads and checks all of inventory, pstree and the images per task (core, ids, mm, fs, fdinfo, files) into r->tree. */
int inventory_read(struct restore *r);
int tree_read(struct restore *r);
int stats_restore_write(struct restore *r);

#endif
