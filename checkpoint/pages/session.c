/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the page server.
 *
 *            OPEN2, OPEN              ADD_F (order and id checked)
 *   begin ---------------> pagemap <----+
 *     |    session_open       | OPEN2: the one before is complete
 *     +-----------------------+--- CLOSE ---> put into place, answer 0, end       session_close
 *
 * 1. Everything that a message says has been checked by wire_decode(); here is checked that it fits what came before.
 * 2. Files have temporary names, with the session's number in them, until CLOSE: a connection that ends before leaves nothing. With more
 *    sessions than one no file replaces another.
 * 3. A peer that sends nonsense, too much for the disk, or nothing more ends its own session only. */
#define LOG_PREFIX "page-server"
#include "pages/session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "image/stream.h"
#include "pagemap.pb-c.h"
#include "pages/channel.h"
#include "pages/intake.h"
#include "pages/listed.h"
#include "pages/wire.h"

struct stretch {
	uint64_t start, end;
};
struct session {
	struct channel *peer;
	struct image_dir *dir;
	unsigned number;
	uint32_t next_pages_id;
	struct image_dir *before;    /* the link `parent`: an earlier round; NULL: none */
	ARRAY(struct stretch) listed;   /* its pages of what is open, and which of them is next */
	size_t listed_at;
	bool spoken, old;            /* a message came; an older CRIU's (wire.c) */
	bool open, parent;           /* a pagemap is; the parent images have one too */
	struct wire_message id;      /* of it */
	struct image *pagemap;
	PagemapEntry entry;          /* collected, not yet written; nr_pages 0: none */
	uint64_t behind;             /* where the next address may be at the earliest */
	struct intake *in;
	uint64_t total;
};

/* --- messages --- */

static int entry_write(struct session *s)
{
	int r = s->entry.nr_pages ? image_write_message(s->pagemap, &s->entry) : 0;

	s->entry.nr_pages = 0;
	return r;
}

static int pagemap_close(struct session *s)
{
	if (!s->open)
		return 0;
	int r = entry_write(s);
	if (r == 0)
		r = intake_close(s->in);
	if (r == 0)
		r = image_close(&s->pagemap);
	s->open = false;
	return r;
}

static void list_add(void *arg, uint64_t start, uint64_t end)
{
	struct session *s = arg;
	struct stretch *last = s->listed.n ? &s->listed.data[s->listed.n - 1] : NULL;

	if (last && last->end == start)
		last->end = end;
	else
		array_push(&s->listed) = (struct stretch){ start, end };
}

/* What the round before has of an object: 1 with its list, 0 without, or -errno. */
static int parent_read(struct session *s, const struct wire_message *m)
{
	enum image_kind kind = m->segment ? IMG_PAGEMAP_SHMEM : IMG_PAGEMAP;

	s->listed.n = s->listed_at = 0;
	int r = s->before ? pagemap_listed(s->before, kind, m->id, list_add, s) : -ENOENT;
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

/* Addresses only ascend. */
static bool parent_lists(struct session *s, uint64_t start, uint64_t end)
{
	while (s->listed_at < s->listed.n && s->listed.data[s->listed_at].end <= start)
		s->listed_at++;
	return s->listed_at < s->listed.n && s->listed.data[s->listed_at].start <= start && s->listed.data[s->listed_at].end >= end;
}

static int session_open(struct session *s, const struct wire_message *m)
{
	unsigned char answer;
	char name[64];
	int r = pagemap_close(s);

	snprintf(name, sizeof name, "pagemap-%s%" PRIu64 ".img", m->segment ? "shmem-" : "", m->id);
	if (r == 0 && image_dir_has(s->dir, name))
		return fail_text(EPROTO, "the dump has opened %s twice", name);
	if (r == 0)
		r = image_create(s->dir, m->segment ? IMG_PAGEMAP_SHMEM : IMG_PAGEMAP, m->id, &s->pagemap);
	if (r < 0)
		return r;
	PagemapHead head = PAGEMAP_HEAD__INIT;
	head.pages_id = s->next_pages_id++;
	snprintf(name, sizeof name, "pages-%" PRIu32 ".img", head.pages_id);
	r = image_write_message(s->pagemap, &head);
	int out = r < 0 ? r : image_create_raw(s->dir, name);
	if (out < 0)
		return out;
	intake_open(s->in, out);
	r = parent_read(s, m);
	if (r < 0)
		return r;
	s->open = true;
	s->parent = r;
	s->id = *m;
	s->behind = 0;
	answer = s->parent;
	r = m->command == WIRE_OPEN2 ? channel_send(s->peer, &answer, sizeof answer) : 0;
	return r;
}

static int session_add(struct session *s, const struct wire_message *m)
{
	if (!s->open || m->id != s->id.id || m->segment != s->id.segment)
		return fail_text(EPROTO, "pages of %s %" PRIu64 ", whose pagemap is not open", m->segment ? "segment" : "task", m->id);
	if (m->address < s->behind)
		return fail_text(EPROTO, "pages at %" PRIx64 " of %s %" PRIu64 " are out of order", m->address,
				 m->segment ? "segment" : "task", m->id);
	if (!m->flags)
		return fail_text(EPROTO, "pages at %" PRIx64 " that are nowhere", m->address);
	if ((m->flags & 1) && !s->parent)
		return fail_text(EPROTO, "pages at %" PRIx64 " of %s %" PRIu64 " are said to be in the parent images, which have none of it",
				 m->address, m->segment ? "segment" : "task", m->id);
	if ((m->flags & 1) && !parent_lists(s, m->address, m->address + m->pages * WIRE_PAGE))
		return fail_text(EPROTO, "pages at %" PRIx64 " of %s %" PRIu64 " are said to be in the parent images, which do not have them", m->address,
				 m->segment ? "segment" : "task", m->id);
	int r = 0;
	if (s->entry.nr_pages && (m->address != s->behind || m->flags != s->entry.flags))
		r = entry_write(s);
	if (!s->entry.nr_pages) {
		s->entry.vaddr = m->address;
		s->entry.flags = m->flags;
	}
	s->entry.nr_pages += m->pages;
	s->behind = m->address + m->pages * WIRE_PAGE;
	s->total += wire_content(m);
	return r < 0 ? r : intake_content(s->in, wire_content(m));
}

static int session_parent(struct session *s, const struct wire_message *m)
{
	char path[64];

	snprintf(path, sizeof path, "pagemap-%s%" PRIu64 ".img", m->segment ? "shmem-" : "", m->id);
	int32_t answer = s->before && faccessat(s->before->fd, path, R_OK, 0) == 0;
	return channel_send(s->peer, &answer, sizeof answer);
}

static int session_close(struct session *s, bool wait)
{
	int32_t status = 0;
	char byte;
	int r = pagemap_close(s);

	if (r == 0)
		r = image_dir_publish(s->dir);
	if (r == 0)
		fsync(s->dir->fd);
	status = r;
	size_t mark = err_mark();
	int sent = channel_send(s->peer, &status, sizeof status);
	if (r == 0 && sent < 0) {   /* a dump that cannot hear it has failed */
		image_dir_withdraw(s->dir);
		return sent;
	}
	if (r == 0 && wait)
		channel_read(s->peer, &byte, 1);   /* until the dump has gone: whether with a reset does not matter any more */
	err_rewind(mark);
	return r;
}

static int session_header(struct session *s, unsigned char *bytes)
{
	int r = intake_header(s->in, bytes, WIRE_OLD_SIZE);

	if (r < 0)
		return r;
	if (!s->spoken && wire_is_old(bytes)) {
		log_info("the dump speaks as CRIU before 4 does");
		s->old = true;
	}
	s->spoken = true;
	if (!s->old)
		return intake_header(s->in, bytes + WIRE_OLD_SIZE, WIRE_SIZE - WIRE_OLD_SIZE);
	wire_widen(bytes);
	return 0;
}

static int session_loop(struct session *s)
{
	unsigned char bytes[WIRE_SIZE];
	struct wire_message m;

	for (;;) {
		int r = session_header(s, bytes);
		if (r == 0)
			r = wire_decode(bytes, &m);
		if (r < 0)
			return r;
		switch (m.command) {
		case WIRE_OPEN:
		case WIRE_OPEN2: r = session_open(s, &m); break;
		case WIRE_ADD_F: r = session_add(s, &m); break;
		case WIRE_PARENT: r = session_parent(s, &m); break;
		case WIRE_CLOSE:
		case WIRE_FORCE_CLOSE: return session_close(s, m.command == WIRE_CLOSE);
		default: r = fail_text(EPROTO, "a request for pages: this server takes pages, it has none");
		}
		if (r < 0)
			return r;
	}
}

static int parent_open(struct session *s)
{
	autofree char *path = str_printf("%s/parent", s->dir->path);
	autoclose int fd = openat(s->dir->fd, "parent", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : fail(errno, "open %s", path);
	return image_dir_adopt(take_fd(&fd), path, &s->before);
}

static int session_begin(struct session *s, const struct ck_page_server_options *o, bool alone)
{
	int r = image_dir_create(o->images_dir, &s->dir);

	if (r < 0)
		return r;
	s->dir->made = false;   /* the server's, not this session's */
	s->dir->keep_old = !alone;
	snprintf(s->dir->suffix, sizeof s->dir->suffix, "recv%u", s->number);
	s->in = intake_new(s->peer, s->dir->path);
	s->entry = (PagemapEntry)PAGEMAP_ENTRY__INIT;
	s->entry.has_nr_pages = s->entry.has_flags = true;
	return parent_open(s);
}

static void session_end(struct session *s)
{
	image_free(&s->pagemap);
	intake_free(&s->in);
	image_dir_free(s->before);
	image_dir_free(s->dir);
	array_free(&s->listed);
	channel_free(&s->peer);
}

int session_run(int sock, const struct ck_page_server_options *o, unsigned number, bool alone)
{
	struct session s = { .number = number, .next_pages_id = (number + 1) << 16 | 1 };
	int r = channel_accept(&o->where, sock, "the dump", &s.peer);

	if (r == 0)
		r = session_begin(&s, o, alone);
	if (r == 0)
		r = session_loop(&s);
	log_info("session %u: %" PRIu64 " MiB of pages, %s", number, s.total >> 20, r < 0 ? "not complete" : "complete");
	session_end(&s);
	return r;
}
