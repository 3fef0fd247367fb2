/* SPDX-License-Identifier: Apache-2.0 */
/* What a pager has been told, so that another can go on where it was killed.
 *
 * The kernel tells every change of an address space once: whoever has read it has to remember it. So it is read right into memory that
 * outlives the reader: a page that all pagers and guardians of a restore share (they descend from each other), and a log in a memfd,
 * whose number is in that page (they share their descriptors). Pages that have been put are not in the log: to put one again fails with EEXIST.
 *
 *   head: two logs, of which one counts │ the read that is going on │ descriptors, the restore's word
 *   log:  task │ event │ end │ …        rewritten when it is full: known │ missing │ missing │ known │ …
 *
 * 1. A kill comes between two instructions of the writer: a record is written before it is counted, and the other log before it counts.
 * 2. The kernel takes an event from its queue and stores it without a place to be killed at. Where the events of a read begin in the log is
 *    noted before; found unfinished, they are taken down again from there. An event is never all zeroes, as the place is before the read.
 * 3. The head is populated: a fault in the midst of such a read could fail.
 * 4. An end is written before its descriptor is closed. If it is the last record, the closing may be what was missed. */
#define LOG_PREFIX "lazy"
#include "lazy/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

#define RECORDS_MIN 8192u

enum kind { TASK = 1, KNOWN, MISSING, EVENT, END };
struct record {
	uint32_t kind, task;
	union {
		struct {
			int32_t pid, uffd;
		} known;
		struct missing missing;
		struct uffd_msg event;
	};
};

struct log {
	int fd;
	size_t n, max;
};

struct head {
	struct log logs[2];
	size_t active;
	struct {
		bool valid;
		size_t task, base;
		struct uffd_msg events[JOURNAL_EVENTS];
	} reading;
	int fds[JOURNAL_FDS];
	uint32_t go;
	bool asked, begun;
};

struct journal {
	struct head *head;               /* shared */
	struct record *records[2];       /* of the logs, mapped by this process; NULL: not yet */
};

#define before_what_follows() __atomic_thread_fence(__ATOMIC_SEQ_CST)

static int log_open(struct journal *j, size_t which, size_t max)
{
	struct log *log = &j->head->logs[which];
	size_t size = max * sizeof(struct record);
	autoclose int fd = memfd_create("torpor-journal", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return fail(errno, "make the pager's journal");
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return fail(errno, "map the pager's journal");
	j->records[which] = at;
	*log = (struct log){ take_fd(&fd), 0, max };
	return 0;
}

static void log_close(struct journal *j, size_t which)
{
	struct log *log = &j->head->logs[which];

	if (j->records[which])
		munmap(j->records[which], log->max * sizeof(struct record));
	j->records[which] = NULL;
	fd_close(&log->fd);
	log->fd = -1;
}

int journal_new(size_t tasks, struct journal **out)
{
	struct head *head = mmap(NULL, sizeof *head, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (head == MAP_FAILED)
		return fail(errno, "make the pager's journal");
	*head = (struct head){ .logs = { { .fd = -1 }, { .fd = -1 } }, .fds = { -1, -1, -1 } };
	struct journal *j = *out = mem_zalloc(sizeof *j);
	j->head = head;
	int e = log_open(j, 0, tasks * 2 > RECORDS_MIN ? tasks * 2 : RECORDS_MIN);
	if (e < 0)
		journal_free(out);
	return e;
}

void journal_free(struct journal **j)
{
	if (!*j)
		return;
	for (size_t i = 0; i < 2; i++)
		log_close(*j, i);
	munmap((*j)->head, sizeof *(*j)->head);
	free(*j);
	*j = NULL;
}

int *journal_fd(struct journal *j, enum journal_fd which)
{
	return &j->head->fds[which];
}

uint32_t *journal_go(struct journal *j)
{
	return &j->head->go;
}

bool *journal_asked(struct journal *j)
{
	return &j->head->asked;
}

bool *journal_begun(struct journal *j)
{
	return &j->head->begun;
}

/* --- writing --- */

static void append(struct journal *j, size_t which, const struct record *r)
{
	struct log *log = &j->head->logs[which];

	if (log->n == log->max)
		abort();                     /* journal_is_full() has been ignored */
	j->records[which][log->n] = *r;
	before_what_follows();
	log->n++;
	before_what_follows();
}

void journal_task(struct journal *j, pid_t pid, int uffd)
{
	append(j, j->head->active, &(struct record){ .kind = TASK, .known = { pid, uffd } });
}

void journal_end(struct journal *j, size_t task)
{
	append(j, j->head->active, &(struct record){ .kind = END, .task = (uint32_t)task });
}

struct uffd_msg *journal_read_begin(struct journal *j, size_t task)
{
	struct head *h = j->head;

	h->reading.valid = false;
	before_what_follows();
	memset(h->reading.events, 0, sizeof h->reading.events);
	h->reading.task = task;
	h->reading.base = h->logs[h->active].n;
	before_what_follows();
	h->reading.valid = true;
	before_what_follows();
	return h->reading.events;
}

void journal_read_done(struct journal *j)
{
	struct head *h = j->head;

	for (size_t i = 0; i < JOURNAL_EVENTS && h->reading.events[i].event; i++)
		if (h->reading.events[i].event != UFFD_EVENT_PAGEFAULT)
			append(j, h->active,
			       &(struct record){ .kind = EVENT, .task = (uint32_t)h->reading.task, .event = h->reading.events[i] });
	h->reading.valid = false;
	before_what_follows();
}

/* --- rewriting --- */

bool journal_is_full(const struct journal *j)
{
	const struct log *log = &j->head->logs[j->head->active];

	return log->n + log->max / 4 > log->max;
}

int journal_rewrite_begin(struct journal *j, size_t records)
{
	size_t other = !j->head->active;

	log_close(j, other);                 /* that a killed one began */
	return log_open(j, other, records * 2 > RECORDS_MIN ? records * 2 : RECORDS_MIN);
}

void journal_known(struct journal *j, pid_t pid, int uffd)
{
	append(j, !j->head->active, &(struct record){ .kind = KNOWN, .known = { pid, uffd } });
}

void journal_missing(struct journal *j, size_t task, const struct missing *m)
{
	append(j, !j->head->active, &(struct record){ .kind = MISSING, .task = (uint32_t)task, .missing = *m });
}

void journal_rewrite_done(struct journal *j)
{
	j->head->active = !j->head->active;
	before_what_follows();
	log_close(j, !j->head->active);
}

/* --- reading --- */

static int map_log(struct journal *j)
{
	const struct log *log = &j->head->logs[j->head->active];

	/* What this process inherited may be another log than the one that counts now. */
	void *at = mmap(NULL, log->max * sizeof(struct record), PROT_READ | PROT_WRITE, MAP_SHARED, log->fd, 0);
	if (at == MAP_FAILED)
		return fail(errno, "map the pager's journal");
	j->records[0] = j->records[1] = NULL;
	j->records[j->head->active] = at;
	return 0;
}

static int tell(const struct record *r, bool last, const struct journal_reader *to, void *arg)
{
	switch (r->kind) {
	case TASK: return to->task(arg, r->known.pid, r->known.uffd, true);
	case KNOWN: return to->task(arg, r->known.pid, r->known.uffd, false);
	case MISSING: to->missing(arg, r->task, &r->missing); break;
	case EVENT: to->event(arg, r->task, &r->event); break;
	case END: to->end(arg, r->task, last); break;
	}
	return 0;
}

int journal_replay(struct journal *j, const struct journal_reader *to, void *arg)
{
	struct head *h = j->head;
	int e = map_log(j);

	if (e == 0 && h->reading.valid) {
		h->logs[h->active].n = h->reading.base;
		before_what_follows();
		journal_read_done(j);
	}
	for (size_t i = 0; e == 0 && i < h->logs[h->active].n; i++)
		e = tell(&j->records[h->active][i], i + 1 == h->logs[h->active].n, to, arg);
	return e;
}
