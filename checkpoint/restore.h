/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RESTORE_H
#define RESTORE_H

#include "checkpoint.h"
#include "image/stream.h"
#include "model/tree.h"

/* A restore in progress.
 *
 * The engine drives the stubs. What ordinary code in the tree's namespaces does best (opening files, making sockets) is done by
 * one *builder* process: a fork of the engine that entered the root stub's namespaces with one setns(); it holds every open
 * file description of the tree as a descriptor of its own and sends them to the tasks over their channels. */
struct restore {
	const struct ck_restore_options *o;
	struct tree *tree;
	struct image_dir *images;
	struct arena *arena;
	struct builder *builder;         /* files/builder.h */
	uint64_t area;                   /* where the batch pages go: free in every task's address space */
	TaskKobjIdsEntry *root_ids;      /* of the dumping tool; NULL if the inventory has none */
	uint64_t clone_flags;            /* new namespaces of a stub that the engine makes */
	bool own_stub;                   /* it did (the stub is our child) */
	struct restore_stats {
		uint64_t pages_restored, pages_compared, pages_skipped_cow, forking_us, restore_us;
	} stats;
};

#endif
