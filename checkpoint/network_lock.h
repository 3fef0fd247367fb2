/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETWORK_LOCK_H
#define NETWORK_LOCK_H

#include "dump.h"
#include "restore.h"

/* network-lock and network-unlock (network_lock.c). ctx is the struct dump: a stage of its own. */
int net_lock_dump(void *ctx);
void net_lock_dump_undo(void *ctx);
void net_lock_dump_release(struct dump *d);      /* the tasks are about to go on; their connections work again */
void net_lock_dump_end(struct dump *d);          /* what nothing waits for */

int net_lock_restore(struct restore *r);         /* once there is a root task, with its network namespace */
void net_lock_restore_undo(struct restore *r);   /* the tree is gone again */
int net_lock_restore_scripts(struct restore *r); /* network-unlock is told to those who asked */
int net_lock_restore_release(struct restore *r); /* the tasks are about to be let go */
void net_lock_restore_end(struct restore *r);

#endif
