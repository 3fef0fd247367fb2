/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ACTION_H
#define ACTION_H

#include "checkpoint.h"
#include "image/stream.h"

/* Tells whoever asked for it (o->actions) that a point has been reached. root: the root task in the engine's numbering, 0 when there
 * is none yet. Nobody asked: 0. */
int action_run(const struct ck_actions *actions, enum ck_action action, const struct image_dir *images, pid_t root);

/* The points of a dump and of a restore that are stages of their own (ctx is the struct dump or struct restore). */
int action_dump_begin(void *ctx);       /* pre-dump */
int action_dump_query(void *ctx);       /* query-ext-files: who listens may name more resources outside, now that the tree stands */
int action_dump_end(void *ctx);         /* post-dump: an error leaves the images, and lets the tree go on */
int action_restore_begin(void *ctx);    /* pre-restore */
int action_restore_made(void *ctx);     /* setup-namespaces */
int action_restore_filled(void *ctx);   /* post-setup-namespaces */
int action_restore_terminals(void *ctx); /* orphan-pts-master, of each */
int action_restore_end(void *ctx);      /* post-restore, network-unlock, pre-resume */
void action_restore_runs(void *ctx);    /* post-resume */

#endif
