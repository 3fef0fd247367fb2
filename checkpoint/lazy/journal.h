/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAZY_JOURNAL_H
#define LAZY_JOURNAL_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lazy/space.h"

/* What of a pager has to survive its being killed (journal.c). Tasks are known by their number: 0, 1, … as they come, forked ones too. */
struct journal;

/* Descriptors that a pager has open besides the tasks', which the next one has to close; -1: none. */
enum journal_fd { JOURNAL_SERVER, JOURNAL_GUARD, JOURNAL_BELL, JOURNAL_FDS };

int journal_new(size_t tasks, struct journal **out);        /* before the processes that are to share it are made; 0 or -errno, explained */
void journal_free(struct journal **j);

int *journal_fd(struct journal *j, enum journal_fd which);
uint32_t *journal_go(struct journal *j);      /* the restore's word, once it has been received */
bool *journal_asked(struct journal *j);       /* it waits for an answer */
bool *journal_begun(struct journal *j);       /* the restore has been told that its memory is in good hands */

void journal_task(struct journal *j, pid_t pid, int uffd);  /* a task of the restore: lacks all that it may lack */
void journal_end(struct journal *j, size_t task);           /* its userfaultfd is about to be closed */

/* A read of events: into JOURNAL_EVENTS messages that begin() returns, for journal_read_done() to take down. */
#define JOURNAL_EVENTS 16
struct uffd_msg *journal_read_begin(struct journal *j, size_t task);
void journal_read_done(struct journal *j);

/* Nearly full: what is known now is to be written anew, all of it, between begin and done, as journal_known() and journal_missing(). */
bool journal_is_full(const struct journal *j);
int journal_rewrite_begin(struct journal *j, size_t records);
void journal_known(struct journal *j, pid_t pid, int uffd);
void journal_missing(struct journal *j, size_t task, const struct missing *m);
void journal_rewrite_done(struct journal *j);

/* Tells all again, in order. A task whose `images` is false lacks only what follows as missing. */
struct journal_reader {
	int (*task)(void *arg, pid_t pid, int uffd, bool images);
	void (*missing)(void *arg, size_t task, const struct missing *m);
	void (*event)(void *arg, size_t task, const struct uffd_msg *m);
	void (*end)(void *arg, size_t task, bool last);   /* last: of all records, closing it may have been missed */
};
int journal_replay(struct journal *j, const struct journal_reader *r, void *arg);

#endif
