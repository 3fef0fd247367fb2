/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAZY_INTERNAL_H
#define LAZY_INTERNAL_H

#include <pthread.h>

#include "lazy/content.h"
#include "lazy/journal.h"
#include "lazy/space.h"

#define COPIERS_MAX 4

struct waiting {
	uint64_t address;
	bool remote, asked;          /* a page server has the content; it has been asked for it */
};

/* An address space. */
struct lazy_task {
	size_t number;               /* in the journal */
	const struct task *task;     /* whose images are its content */
	int uffd;                    /* -1: closed */
	struct space space;
	uint64_t near;               /* where copying goes on */
	ARRAY(struct waiting) faults;   /* that could not be served at once */
	unsigned flights;            /* pieces of it that a copier is at */
	bool wanted;                 /* the main thread waits for their end: no new ones */
	bool local_done;             /* what is missing is with the page server, all of it */
	bool gone;                   /* nothing is missing any more, or there is no memory */
};

/* A request that is not answered yet. */
struct asked {
	struct lazy_task *t;
	uint64_t address, at, size;
};

/* What a copier is at. */
struct flight {
	struct lazy_task *t;         /* NULL: nothing */
	uint64_t start, end;
};

struct copiers {
	size_t n;
	bool quit;
	char *error;                 /* of one that failed; the others have stopped */
	pthread_cond_t work, landed;
	struct copier {
		struct pager *p;
		pthread_t thread;
		struct flight flight;
		char *buffer;
	} list[COPIERS_MAX];
};

struct pager {
	struct restore *r;
	const struct ck_page_peer *server;
	struct content *content;
	struct journal *journal;
	int sock;                    /* to the restore, -1: it has said its last word */
	bool go, lost;
	uint64_t lost_us, fault_us;  /* when the connection was lost; of the last fault */
	pthread_mutex_t lock;        /* of all of this, while there are copiers */
	struct copiers copiers;
	ARRAY(struct lazy_task *) tasks;
	ARRAY(struct asked) asked;   /* in order */
	size_t turn;
	char *buffer;
	uint64_t faults, pages;
};

/* --- put.c; with the lock --- */
/* What is missing of [address, address + size) gets its content, which is here. 0, or a bare -EAGAIN: later. */
int put(struct pager *p, struct lazy_task *l, uint64_t address, const char *data, uint64_t size);
int put_zero(struct lazy_task *l, uint64_t address);
void put_poison(struct lazy_task *l);         /* where something is missing */
void wake_all(struct lazy_task *l);           /* who waits asks again */
/* Nothing more to do for it: its userfaultfd is closed when nobody is at it any more (pager.c). */
void task_over(struct lazy_task *l, const char *why);

/* --- copy.c --- */
int copiers_start(struct pager *p);           /* 0 or -errno, explained */
void copiers_stop(struct pager *p);           /* without the lock */
/* With the lock: no copier is at this task any more until hold_end(). */
void hold(struct pager *p, struct lazy_task *l);
void hold_end(struct pager *p, struct lazy_task *l);
bool is_flying(const struct pager *p, const struct lazy_task *l, uint64_t address);
struct piece {
	uint64_t address, at, size;  /* at: where its content was */
};
/* The next piece to be copied, of some task in turn, that nobody is at: from the images, or from the page server; NULL: none now. */
struct lazy_task *next_piece(struct pager *p, bool remote, uint64_t limit, struct piece *out);
uint64_t piece_size(const struct pager *p);   /* that does not keep faults waiting */

/* --- fetch.c; with the lock --- */
#define FETCH_RETRY_US 1000000
void fetch_pages(struct pager *p, struct lazy_task *l, uint64_t address, uint64_t at, uint64_t size);
void fetch_some(struct pager *p);        /* for what is missing, as much as is good now */
int fetch_answer(struct pager *p);           /* takes one: 0 (lost connections too) or -errno, explained */
void fetch_reconnect(struct pager *p);       /* if it is lost, and time */
const struct asked *fetch_find(const struct pager *p, const struct lazy_task *l, uint64_t address);

/* --- events.c; with the lock. 0 or -errno, explained --- */
int events_read(struct pager *p, struct lazy_task *l);    /* all that the kernel has to tell; held (hold()) */
int faults_serve(struct pager *p, struct lazy_task *l);   /* those that wait */
int events_room(struct pager *p);                         /* a journal that is nearly full is written anew */
void events_ready(struct lazy_task *l);                   /* a userfaultfd as the kernel or the restore made it */
void event_take(void *pager, size_t number, const struct uffd_msg *m);   /* a change of an address space */

/* --- pager.c --- */
struct lazy_task *lazy_task_add(struct pager *p, const struct task *t, int uffd);

#endif
