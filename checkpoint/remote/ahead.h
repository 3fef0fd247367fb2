/* SPDX-License-Identifier: Apache-2.0 */
#ifndef REMOTE_AHEAD_H
#define REMOTE_AHEAD_H

#include "dump.h"

/* Texts of /proc/PID of the tree's tasks, read by a thread ahead of the dump, which takes them in the tree's order. */
enum ahead_text {
	AHEAD_NS,            /* proc_ns_links() */
	AHEAD_STAT,
	AHEAD_STATUS,
	AHEAD_AUXV,
	AHEAD_TIMERS,
	AHEAD_OOM,           /* oom_score_adj */
	AHEAD_LOGINUID,
	AHEAD_SMAPS,
	AHEAD_TEXTS
};

/* Resident bytes from which a task is large: its smaps is not read if the dump has another way (d->lean_maps). Another number than the
 * measured one (CPPFLAGS=-DAHEAD_LARGE=1 make) is for tests. */
#ifndef AHEAD_LARGE
#define AHEAD_LARGE (32u << 20)
#endif

/* Before the tree stands: the thread is there when it is needed. Without it everything works, only slower. */
void ahead_begin(struct dump *d);
/* All tasks stand and are in their order: everything but smaps may be read. */
void ahead_standing(struct dump *d);
/* The first n tasks have their batch pages, and nothing is mapped or unmapped in them any more: their smaps may be read. */
void ahead_mapped(struct dump *d, size_t n);
/* As proc_read(): the length, NUL-terminated text to be freed; a bare -errno. Each text once. */
ssize_t ahead_read(struct dump *d, const struct task *t, enum ahead_text which, char **text);
/* /proc/PID/stat, kept in t->stat: 0 or a bare -errno. */
int ahead_stat(struct dump *d, struct task *t);
/* The thread is gone afterwards. Harmless when there is none. */
void ahead_end(struct dump *d);

#endif
