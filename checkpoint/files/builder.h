/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_BUILDER_H
#define FILES_BUILDER_H

#include "restore.h"

/* The builder: a process in the tree's namespaces that opens every file description of files.img once.
 *
 * Engine side. Requests go over a socketpair; each is answered, errors with their trail. */

/* Forks it; it joins the namespaces of root_host_pid that differ from its own (one setns on a pidfd) and its root directory,
 * and waits for requests. It dies with the engine. */
int builder_start(struct restore *r, pid_t root_host_pid);
/* Opens all files that mappings, executables, cwd and root need: before memory is laid out. */
int builder_open_paths(struct restore *r);
/* Opens everything else, now that all husks exist, then runs the kinds' `finish`. Started (returns at once) and waited for, so that it overlaps with the
 * engine's work on memory. */
int builder_open_all_start(struct restore *r);
int builder_open_all_wait(struct restore *r);
/* Sends the open descriptions of the given file ids to a task's channel (the engine's end goes with the request); the task then
 * receives them with remote_recv_fds(). ids may repeat. */
int builder_send(struct restore *r, int channel, const uint32_t *ids, size_t n);
/* A duplicate in the engine itself. */
int builder_get(struct restore *r, uint32_t id);
/* The controlling terminal of that session (a duplicate); a bare -ENOENT: it has none. Before the session has it. */
int builder_terminal(struct restore *r, pid_t sid);
/* The master (a duplicate) of the terminal that was made with that number in order and whose master nobody has; a bare -ENOENT: no more. */
int builder_orphan_master(struct restore *r, uint32_t number);
/* Engine side, from the images: the process group in its foreground; 0: none is known. */
int builder_foreground(struct restore *r, pid_t sid);
/* Calls fn in the builder (a fork of the engine: same addresses): its return value and trail come back. For one-off work in the
 * tree's namespaces. data (at most 64 KiB) is copied there. Not between open_all_start and _wait. */
int builder_call(struct restore *r, int (*fn)(struct restore *r, void *data, size_t size), const void *data, size_t size);
/* It takes turns with the engine from here on. */
void builder_share(const struct restore *r);
void builder_stop(struct restore *r);   /* ends and waits for it; harmless if there is none */

/* --- in the builder --- */
int builder_put(struct restore *r, uint32_t id, int fd);   /* file id is open as fd (now owned by the builder) */
int builder_fd(struct restore *r, uint32_t id);            /* -ENOENT: not open (yet) */
int builder_need(struct restore *r, uint32_t id);          /* opens it now if it is not: for kinds that depend on others */

/* --- engine side, per task: all descriptors of task->fds into the husk at their numbers --- */
/* The number of a terminal that tasks have and nobody of them has the other end of; -1: none. */
int files_orphan_terminal(struct restore *r, int *index);
int files_check(struct restore *r);                        /* ids, types, numbers: before anything is created */
int files_restore_task(struct restore *r, struct task *t);
/* Entries that only the owner can make (epoll by number, owner of a signal): batches, when all tasks have their descriptors. */
int files_restore_owner(struct restore *r, struct task *t);

#endif
