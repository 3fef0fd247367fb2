/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_TRACK_H
#define MEM_TRACK_H

#include "dump.h"
#include "mem/scan.h"
#include "mem/words.h"
#include "remote/remote.h"

/* Change tracking: which pages of a tree are unchanged since the last round. */

enum tracker_kind { TRACKER_NONE, TRACKER_SOFT_DIRTY, TRACKER_UFFD };
#define ROUND_SIZE 64

struct tracked {
	pid_t pid;                   /* host */
	uint64_t start_time;         /* of the process, which a pid alone does not name */
	int uffd;                    /* -1: none */
	bool seen;                   /* by this dump */
	struct witnesses witnesses;  /* soft-dirty: of the last round */
};

/* What is known between two rounds: held by a keeper (keeper.c) while no dump is at work. */
struct tracking {
	enum tracker_kind kind;
	char round[ROUND_SIZE];      /* run id of the dump that protected the memory last; empty: none did */
	ARRAY(struct tracked) tasks;
};
void tracking_done(struct tracking *t);
void tracked_done(struct tracked *t);

struct tracker {
	struct tracking now;
	pid_t root;
	uint64_t root_start;
	bool arm;                    /* this dump begins a round: what is written from now on is known at the next one */
	bool trusted;                /* what is unchanged since the last round is in the parent images */
};

/* Before the tree is stopped: takes what a keeper has, decides by the options. d->tracker stays NULL if there is nothing to do. */
int tracker_begin(struct dump *d);
/* Whether a task has to stand still while tracker_clean() looks at it. */
bool tracker_needs_stop(const struct dump *d);
/* Whether tracker_attach() has something to do. */
bool tracker_lacks(struct dump *d, const struct task *t);
/* A task that stands and can run batches gets what tracking it takes. */
int tracker_attach(struct dump *d, const struct task *t, struct remote *r);
/* Is a mapping that has a userfaultfd registered by us, or by the program itself? */
bool tracker_owns(struct dump *d, const struct task *t, uint64_t start, uint64_t end);
/* Before the pages of these areas, private anonymous memory of a task, are scanned: what the tracker knows of each, and whether it is to be
 * protected. */
void tracker_mark(struct dump *d, const struct task *t, struct scan_areas *areas);
/* After that: leaves in `clean` what is unchanged since the last round and in its images. */
int tracker_clean(struct dump *d, const struct task *t, const struct scan_areas *areas, struct ranges *clean);
/* The end of the dump: tracking goes on in a keeper if the tree does. */
void tracker_end(struct dump *d, bool tree_lives);

/* --- parent.c --- */
/* Opens --prev-images-dir, if given, as d->parent, which is to be the directory of a whole round. */
int parent_begin(struct dump *d);
/* The link `parent`, among what is renamed into place at the end. */
int parent_link(struct dump *d);
/* Leaves of `pages` those that the parent's pagemap of that name lists. */
int parent_limit(struct dump *d, enum image_kind kind, uint64_t id, struct ranges *pages);

/* --- keeper.c --- */
/* What is kept of the tree with this root; a bare -ENOENT if nothing is, -ECONNREFUSED if it has been lost. */
int keeper_take(pid_t root, uint64_t start, struct tracking *out);
/* Hands it to a new process, which ends when it is taken, or with the root task. The descriptors stay the caller's. */
int keeper_start(pid_t root, uint64_t start, const struct tracking *t);

#endif
