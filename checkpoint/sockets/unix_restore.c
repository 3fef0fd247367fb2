/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets, restore (in the builder).
 *
 * What a socket becomes when it is opened:
 *
 *   listening             socket, bind, listen
 *   stream, two ends      both without a name: socketpair
 *                         else: connect to the listening socket that has that name (or one made for the moment), accept
 *   stream, peer gone     the same, with an end of our own, which is closed when the contents are in
 *   stream, not accepted  socket; connects to the listening one at the end
 *   datagram              a pair without names: socketpair; else socket, bind; connects at the end
 *
 * At the end, when all are open, in this order: 1. contents of all sockets, sent by the peer or by a nameless socket of ours;
 * 2. connections; 3. shutdown, options (SO_PASSCRED would give clients a name), buffer sizes, flags.
 *
 * Kernel facts relied on:
 * - An accepted socket shares the name of the listening one: no second bind. So names survive, abstract ones too.
 * - connect(2) to /proc/self/fd/N with N from SIOCUNIXFILE reaches a bound socket whatever became of its path. The builder's
 *   /proc/self/fd is its working directory for that moment, since the container may have no /proc. */
#include "sockets/unix.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "files/builder.h"
#include "sockets/socket.h"
#include "sockets/unix_bind.h"

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

/* What is waited with until all are open: our end of a connection whose other end has gone. */
struct loose_end {
	struct loose_end *next;
	uint32_t ino;                  /* of the socket that is restored */
	int fd;
};

struct unix_restore {
	const FileEntry **by_ino;
	size_t n;
	struct loose_end *loose;
	bool filled;                   /* contents were sent, connections made */
	bool *connected;               /* by the index of by_ino */
};

static int compare_ino(const void *a, const void *b)
{
	uint32_t x = (*(const FileEntry *const *)a)->usk->ino, y = (*(const FileEntry *const *)b)->usk->ino;

	return (x > y) - (x < y);
}

static struct unix_restore *state_of(struct restore *r)
{
	struct unix_restore **at = (struct unix_restore **)file_restore_state(r, STATE_UNIX), *s = *at;

	if (s)
		return s;
	*at = s = arena_new(r->arena, struct unix_restore);
	s->by_ino = arena_array(r->arena, const FileEntry *, r->tree->files.n + 1);
	for (size_t i = 0; i < r->tree->files.n; i++)
		if (r->tree->files.data[i]->type == FD_TYPES__UNIXSK && r->tree->files.data[i]->usk)
			s->by_ino[s->n++] = r->tree->files.data[i];
	s->connected = arena_array(r->arena, bool, s->n + 1);
	qsort(s->by_ino, s->n, sizeof *s->by_ino, compare_ino);
	return s;
}

static const FileEntry *find_ino(struct restore *r, uint32_t ino)
{
	const struct unix_restore *s = state_of(r);
	size_t low = 0, high = s->n;

	while (ino && low < high) {
		size_t mid = (low + high) / 2;
		uint32_t at = s->by_ino[mid]->usk->ino;
		if (at == ino)
			return s->by_ino[mid];
		if (at < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* --- reaching a bound socket --- */

/* An address by which `fd` is reached from the builder. Changes the working directory. */
static int reach(struct restore *r, const FileEntry *e, int fd, struct sockaddr_un *a, socklen_t *size, int *file)
{
	if (!unix_by_path(e->usk))
		return unix_address(e, a, size);
	*file = ioctl(fd, SIOCUNIXFILE);
	if (*file < 0 || file_chdir_self(r) < 0)
		return fail(errno, ENTRY_FMT ": open the file it is bound to", ENTRY_ARG(e));
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(a->sun_path, sizeof a->sun_path, "%d", *file);
	*size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n + 1);
	return 0;
}

static int connect_to(struct restore *r, const FileEntry *e, int fd, const FileEntry *target, int target_fd)
{
	struct sockaddr_un a;
	socklen_t size;
	autoclose int file = -1;
	int ret = reach(r, target, target_fd, &a, &size, &file);

	if (ret < 0)
		return ret;
	if (connect(fd, (struct sockaddr *)&a, size) < 0)
		return fail(errno, ENTRY_FMT ": connect it to file %u", ENTRY_ARG(e), target->id);
	return 0;
}

static int new_socket(const FileEntry *e)
{
	int fd = socket(AF_UNIX, (int)e->usk->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? fail(errno, ENTRY_FMT ": make it", ENTRY_ARG(e)) : fd;
}

/* --- connections --- */

/* A listening socket of the tree with that name; NULL if there is none. */
static const FileEntry *find_listener(struct restore *r, const UnixSkEntry *u)
{
	const struct unix_restore *s = state_of(r);

	for (size_t i = 0; i < s->n; i++) {
		const UnixSkEntry *l = s->by_ino[i]->usk;
		if (l->state == TCP_LISTEN && l->type == u->type && l->name.len == u->name.len &&
		    memcmp(l->name.data, u->name.data, u->name.len) == 0 &&
		    strcmp(l->name_dir ? l->name_dir : "", u->name_dir ? u->name_dir : "") == 0)
			return s->by_ino[i];
	}
	return NULL;
}

/* One for the moment, with the name of the accepted socket e. */
static int temporary_listener(const FileEntry *e)
{
	autoclose int fd = new_socket(e);

	if (fd < 0)
		return fd;
	int r = unix_bind(e, fd, true);
	if (r < 0)
		return r;
	return listen(fd, 1) < 0 ? fail(errno, ENTRY_FMT ": listen by its name", ENTRY_ARG(e)) : take_fd(&fd);
}

static int accept_from(struct restore *r, const FileEntry *e, int client, const FileEntry *listener, int fd)
{
	int ret = connect_to(r, e, client, listener, fd);

	if (ret < 0)
		return ret;
	int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return accepted < 0 ? fail(errno, ENTRY_FMT ": accept its connection", ENTRY_ARG(e)) : accepted;
}

/* Connects `client` to the name of e and accepts e. */
static int accept_by_name(struct restore *r, const FileEntry *e, int client)
{
	const FileEntry *listener = find_listener(r, e->usk);

	if (listener) {
		int fd = builder_need(r, listener->id);
		return fd < 0 ? fd : accept_from(r, e, client, listener, fd);
	}
	autoclose int own = temporary_listener(e);
	return own < 0 ? own : accept_from(r, e, client, e, own);
}

static int make_pair(const FileEntry *e, int ends[2])
{
	if (socketpair(AF_UNIX, (int)e->usk->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return fail(errno, ENTRY_FMT ": make a socket pair", ENTRY_ARG(e));
	return 0;
}

/* Both ends of a stream connection: ends[0] is e, ends[1] its peer p (NULL: gone, an end of ours stands for it). */
static int connection(struct restore *r, const FileEntry *e, const FileEntry *p, int ends[2])
{
	const FileEntry *server = unix_named(e->usk) ? e : p && unix_named(p->usk) ? p : NULL;

	/* Both may have names; the accepted one shares that of a listening socket. */
	if (server == e && p && unix_named(p->usk) && !find_listener(r, e->usk))
		server = p;
	if (!server)
		return make_pair(e, ends);
	const FileEntry *client = server == e ? p : e;
	autoclose int fd = new_socket(e);
	int ret = fd < 0 ? fd : client ? unix_bind(client, fd, client->usk->has_deleted && client->usk->deleted) : 0;
	if (ret < 0)
		return ret;
	int accepted = accept_by_name(r, server, fd);
	if (accepted < 0)
		return accepted;
	ends[server == e ? 0 : 1] = accepted;
	ends[server == e ? 1 : 0] = take_fd(&fd);
	return 0;
}

static int open_connected(struct restore *r, const FileEntry *e, const FileEntry *p)
{
	struct unix_restore *s = state_of(r);
	int ends[2] = { -1, -1 }, ret;

	if (e->usk->type == SOCK_DGRAM)
		ret = make_pair(e, ends);
	else
		ret = connection(r, e, p, ends);
	if (ret < 0)
		return ret;
	if (p)
		ret = builder_put(r, p->id, ends[1]);
	if (!p) {
		struct loose_end *l = arena_new(r->arena, struct loose_end);
		*l = (struct loose_end){ s->loose, e->usk->ino, ends[1] };
		s->loose = l;
	}
	return ret < 0 ? ret : ends[0];
}

static int open_single(const FileEntry *e)
{
	const UnixSkEntry *u = e->usk;
	autoclose int fd = new_socket(e);
	int r = fd < 0 ? fd : unix_bind(e, fd, u->has_deleted && u->deleted);

	if (r < 0)
		return r;
	if (u->state == TCP_LISTEN && listen(fd, (int)u->backlog) < 0)
		return fail(errno, ENTRY_FMT ": listen", ENTRY_ARG(e));
	return take_fd(&fd);
}

static int take_inherited(const FileEntry *e, int fd)
{
	autoclose int owned = fd;
	int r = file_set_flags(e, fd, e->usk->flags);

	return r < 0 ? r : take_fd(&owned);
}

int unix_open(struct restore *r, const FileEntry *e)
{
	const UnixSkEntry *u = e->usk;
	const FileEntry *p = find_ino(r, u->peer);
	char key[32];

	snprintf(key, sizeof key, "socket:[%u]", u->ino);
	int given = file_inherited(r, key);
	if (given != -ENOENT)
		return given < 0 ? given : take_inherited(e, given);
	if (u->torpor_external)
		return sock_not_given(u->ino);
	if (u->type != SOCK_STREAM && u->type != SOCK_DGRAM && u->type != SOCK_SEQPACKET)
		return fail_text(EBADMSG, ENTRY_FMT ": socket type %u", ENTRY_ARG(e), u->type);
	if (u->peer && !p)
		return fail_text(EBADMSG, ENTRY_FMT ": its peer (inode %u) is not in the images", ENTRY_ARG(e), u->peer);
	bool mutual = p && p != e && p->usk->peer == u->ino && p->usk->type == u->type;
	if (u->type == SOCK_DGRAM)
		return mutual && !unix_named(u) && !unix_named(p->usk) ? open_connected(r, e, p) : open_single(e);
	if (mutual || (u->state == TCP_ESTABLISHED && !u->peer))
		return open_connected(r, e, p);
	if (p && p->usk->state != TCP_LISTEN)
		return fail_text(EBADMSG, ENTRY_FMT ": its peer %u is not connected to it", ENTRY_ARG(e), p->id);
	return open_single(e);
}

/* --- when all are open --- */

static bool is_inherited(struct restore *r, const FileEntry *e)
{
	char key[32];

	snprintf(key, sizeof key, "socket:[%u]", e->usk->ino);
	autoclose int fd = file_inherited(r, key);
	return fd >= 0;
}

static struct loose_end *loose_of(struct restore *r, uint32_t ino)
{
	struct loose_end *l = state_of(r)->loose;

	while (l && l->ino != ino)
		l = l->next;
	return l;
}

static int send_packet(const FileEntry *e, int from, const struct packet *k, const struct sockaddr_un *a, socklen_t size)
{
	const char *at = k->data;
	size_t left = k->length;
	bool grown = false;

	do {
		ssize_t n = sendto(from, at, left, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)a, size);
		if (n < 0 && (errno == EAGAIN || errno == EMSGSIZE) && !grown) {
			int room = 1 << 30;
			grown = setsockopt(from, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) == 0;
			if (grown)
				continue;
		}
		if (n < 0)
			return fail(errno, ENTRY_FMT ": put %u bytes back into it", ENTRY_ARG(e), k->length);
		at += n;
		left -= (size_t)n;
	} while (left);
	return 0;
}

/* A datagram socket with a name gets its packets from a nameless socket: it is not connected yet. */
static int send_by_name(struct restore *r, const FileEntry *e, int fd, const struct packet *k)
{
	struct sockaddr_un a;
	socklen_t size;
	autoclose int file = -1, from = new_socket(e);
	int ret = from < 0 ? from : reach(r, e, fd, &a, &size, &file);

	if (ret < 0)
		return ret;
	return send_packet(e, from, k, &a, size);
}

static int fill_one(struct restore *r, const struct packet *k)
{
	const FileEntry *e = file_entry(r, FD_TYPES__UNIXSK, k->id_for);
	int fd = e ? builder_fd(r, e->id) : -1;

	if (fd < 0)
		return fail_text(EBADMSG, "sk-queues.img: a packet for file %u, which is not an open unix socket", k->id_for);
	const FileEntry *p = find_ino(r, e->usk->peer);
	const struct loose_end *l = loose_of(r, e->usk->ino);
	int from = l ? l->fd : p && p->usk->peer == e->usk->ino ? builder_fd(r, p->id) : -1;
	if (e->usk->type == SOCK_DGRAM && unix_named(e->usk))
		return send_by_name(r, e, fd, k);
	if (from < 0)
		return fail_text(EBADMSG, ENTRY_FMT ": it has contents, and no peer that could have sent them", ENTRY_ARG(e));
	return send_packet(e, from, k, NULL, 0);
}

static int fill_all(struct restore *r)
{
	struct packets *p;
	int ret = sock_queues_read(r, &p);

	for (size_t i = 0; i < p->n && ret >= 0; i++)
		ret = fill_one(r, &p->data[i]);
	for (struct loose_end *l = state_of(r)->loose; l && ret >= 0; l = l->next)
		fd_close(&l->fd);
	return ret;
}

static int connect_external(const FileEntry *e, int fd, const FileEntry *p)
{
	struct sockaddr_un a;
	socklen_t size;
	int r = unix_address(p, &a, &size);

	if (r >= 0 && chdir("/") < 0)
		r = fail(errno, "change to the root directory");
	if (r < 0)
		return r;
	if (connect(fd, (struct sockaddr *)&a, size) < 0)
		return fail(errno, ENTRY_FMT ": connect it to %.*s, outside the tree", ENTRY_ARG(e), (int)p->usk->name.len,
			    (const char *)p->usk->name.data);
	return 0;
}

static int connect_one(struct restore *r, const FileEntry *e, int fd)
{
	const FileEntry *p = find_ino(r, e->usk->peer);

	if (!p || p == e)
		return 0;
	if (p->usk->uflags & UNIX_EXTERNAL)
		return connect_external(e, fd, p);
	int target = builder_fd(r, p->id);
	if (target < 0 || (p->usk->state != TCP_LISTEN && e->usk->type != SOCK_DGRAM))
		return 0;
	if (e->usk->type == SOCK_DGRAM && !unix_named(p->usk))
		return 0;   /* a pair */
	return connect_to(r, e, fd, p, target);
}

/* A datagram socket that is connected takes connections from its peer only: those that others have to it are made before. There are no
 * circles but of two, for the same reason. */
static int connect_late(struct restore *r, size_t i)
{
	struct unix_restore *s = state_of(r);
	const FileEntry *e = s->by_ino[i];
	int fd = builder_fd(r, e->id), ret = 0;

	if (s->connected[i] || fd < 0 || is_inherited(r, e))
		return 0;
	s->connected[i] = true;
	for (size_t k = 0; e->usk->peer && e->usk->type == SOCK_DGRAM && k < s->n && ret >= 0; k++)
		if (s->by_ino[k]->usk->peer == e->usk->ino && s->by_ino[k]->usk->type == SOCK_DGRAM)
			ret = connect_late(r, k);
	return ret < 0 ? ret : connect_one(r, e, fd);
}

static int connect_all(struct restore *r)
{
	struct unix_restore *s = state_of(r);
	int ret = 0;

	for (size_t i = 0; i < s->n && ret >= 0; i++)
		ret = connect_late(r, i);
	return ret;
}

int unix_finish(struct restore *r, const FileEntry *e, int fd)
{
	struct unix_restore *s = state_of(r);
	const UnixSkEntry *u = e->usk;
	int ret = 0;

	if (!s->filled) {
		s->filled = true;
		ret = fill_all(r);
		if (ret >= 0)
			ret = connect_all(r);
	}
	if (ret < 0 || is_inherited(r, e))
		return ret;
	if (u->has_shutdown && u->shutdown && shutdown(fd, (int)u->shutdown - 1) < 0 && errno != ENOTCONN)
		return fail(errno, ENTRY_FMT ": shut it down", ENTRY_ARG(e));
	if (u->opts)
		ret = sock_opts_restore(NULL, e, fd, u->opts);
	if (ret >= 0 && u->opts)
		ret = sock_buffers_restore(e, fd, u->opts);
	return ret < 0 ? ret : file_set_flags(e, fd, u->flags);
}
