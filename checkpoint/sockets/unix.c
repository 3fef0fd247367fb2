/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets, dump.
 *
 * Kernel facts relied on:
 * - sock_diag (unix_diag, asked for one inode in the tree's network namespace) has state, name, backlog, shutdown, the inode of
 *   the peer and, of a listening socket, those of the clients that wait to be accepted. A peer that was closed, or that is still
 *   waiting in somebody's backlog, has inode 0.
 * - A socket bound to a path refers to a file; ioctl SIOCUNIXFILE opens it (O_PATH), whatever its name leads to now. Accepted
 *   sockets share name and file of the listening one.
 *
 * Stream and seqpacket sockets are connected both ways, datagram sockets one way. The image has the inode of the peer; a client that is
 * not accepted yet has that of the listening socket. Relations are checked when all sockets of the tree are known: a peer outside is
 * an error, but for a connection that the caller gives up (--external unix[INODE]), and a datagram socket (syslog's /dev/log) with
 * --ext-unix-sk: then the image has an entry for the peer, with its name, no descriptor, and the flag UNIX_EXTERNAL.
 *
 * Not handled: descriptors in flight (queue.c); what a client has sent before it was accepted; datagram sockets whose connected peer
 * has no name and is not connected back; credentials of the peer (SO_PEERCRED), which after a restore are those of the restorer. */
#include "sockets/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/netlink.h"
#include "base/proc.h"
#include "base/str.h"
#include "sockets/diag.h"
#include "sockets/socket.h"

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif
#define DELETED " (deleted)"
#define SINGLE_QUESTIONS 32

static bool unix_match(const struct file_info *f)
{
	return S_ISSOCK(f->st.st_mode) && sock_int(f, SOL_SOCKET, SO_DOMAIN) == AF_UNIX;
}

struct unix_sock {
	struct unix_sock *next;
	struct task *task;
	int fd;
	FileEntry *entry;
	bool external, unsent;         /* unsent: the peer has not read everything */
	const uint32_t *clients;       /* of a listening socket: waiting to be accepted */
	size_t n_clients;
	const void *peer_name;
	size_t peer_name_size;
};

/* --- asking the kernel --- */

struct unix_state {
	struct arena *arena;
	struct unix_sock *all;
	size_t n;
	struct unix_sock **by_ino;     /* when all are known */
	struct netlink diag;
	ARRAY(struct diag_unix) answers;    /* ascending by inode once `complete` */
	bool complete;
};

static void unix_done(void *arg)
{
	struct unix_state *s = arg;

	netlink_close(&s->diag);
	array_free(&s->answers);
}

static int unix_state(struct dump *d, struct unix_state **out)
{
	struct unix_state **at = (struct unix_state **)file_state(d, STATE_UNIX);

	*out = *at;
	if (*out)
		return 0;
	autoclose int ns = d->own_net_ns ? proc_open(tree_root(d->tree)->host_pid, "ns/net") : -1;
	if (d->own_net_ns && ns < 0)
		return fail(-ns, "open the network namespace of task %d", tree_root(d->tree)->pid);
	*at = *out = arena_new(d->arena, struct unix_state);
	(*out)->arena = d->arena;
	file_at_end(d, unix_done, *out);
	int r = netlink_open(&(*out)->diag, NETLINK_SOCK_DIAG, ns);
	return r < 0 ? fail(-r, "open sock_diag in the network namespace of task %d", tree_root(d->tree)->pid) : 0;
}

static int take_diag(const struct nlmsghdr *m, void *arg)
{
	struct unix_state *s = arg;
	struct diag_unix g;

	if (diag_unix(m, &g) < 0)
		return -EBADMSG;
	if (g.name)
		g.name = arena_dup(s->arena, g.name, g.name_size);
	if (g.clients)
		g.clients = arena_dup(s->arena, g.clients, g.n_clients * sizeof *g.clients);
	array_push(&s->answers) = g;
	return 0;
}

static int compare_answers(const void *a, const void *b)
{
	const struct diag_unix *x = a, *y = b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

static const struct diag_unix *find_answer(const struct unix_state *s, uint32_t ino)
{
	const struct diag_unix key = { .ino = ino };

	if (s->complete)
		return bsearch(&key, s->answers.data, s->answers.n, sizeof key, compare_answers);
	return s->answers.n && s->answers.data[s->answers.n - 1].ino == ino ? &s->answers.data[s->answers.n - 1] : NULL;
}

/* The kernel looks for a single inode among all sockets: it is asked for a few of them, and then for all at once. */
static int ask(struct dump *d, const struct file_info *f, struct diag_unix *out)
{
	struct unix_state *s;
	struct unix_diag_req q = {
		.sdiag_family = AF_UNIX,
		.udiag_states = ~0u,
		.udiag_ino = (uint32_t)f->st.st_ino,
		.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN,
		.udiag_cookie = { ~0u, ~0u },
	};
	int r = unix_state(d, &s);

	if (r < 0)
		return r;
	if (!s->complete) {
		s->complete = s->n > SINGLE_QUESTIONS;
		netlink_begin(&s->diag, SOCK_DIAG_BY_FAMILY, 0, &q, sizeof q);
		r = s->complete ? netlink_dump(&s->diag, take_diag, s) : netlink_request(&s->diag, take_diag, s);
		if (s->complete && s->answers.n)
			qsort(s->answers.data, s->answers.n, sizeof *s->answers.data, compare_answers);
	}
	const struct diag_unix *g = r < 0 ? NULL : find_answer(s, q.udiag_ino);
	if (!g)
		return fail(r < 0 ? -r : ENOENT, FILE_FMT ": ask for its state (sock_diag)", FILE_ARG(f));
	*out = *g;
	return 0;
}

/* --- names --- */

/* What a relative name is relative to: the path without the name at its end. */
static int fill_name_dir(struct dump *d, const struct file_info *f, UnixSkEntry *u, char *path)
{
	size_t name = strnlen((const char *)u->name.data, u->name.len), length = strlen(path);

	if (u->name.data[0] == '/')
		return 0;
	if (length <= name || path[length - name - 1] != '/' || memcmp(path + length - name, u->name.data, name) != 0)
		return fail_text(ENOTSUP, FILE_FMT ": the socket was bound to '%.*s', whose directory cannot be told from %s", FILE_ARG(f),
				 (int)name, (const char *)u->name.data, path);
	path[length - name - (length - name > 1)] = 0;
	u->name_dir = arena_str(d->arena, path[0] ? path : "/");
	return 0;
}

static int fill_path(struct dump *d, const struct file_info *f, UnixSkEntry *u)
{
	char path[PATH_MAX];
	struct stat st, now;
	autoclose int fd = ioctl(f->local, SIOCUNIXFILE);

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(errno, FILE_FMT ": open the file the socket is bound to (SIOCUNIXFILE)", FILE_ARG(f));
	ssize_t n = readlink(FD_PATH(fd), path, sizeof path - 1);
	if (n < 0)
		return fail(errno, FILE_FMT ": ask for the path it is bound to", FILE_ARG(f));
	path[n] = 0;
	if (str_ends(path, DELETED))
		path[n - (ssize_t)strlen(DELETED)] = 0;
	if (!st.st_nlink || file_stat_path(d, path, &now) < 0 || now.st_dev != st.st_dev || now.st_ino != st.st_ino)
		u->has_deleted = u->deleted = true;
	u->file_perms = ARENA_MESSAGE(d->arena, FilePermsEntry, FILE_PERMS_ENTRY__INIT);
	u->file_perms->mode = st.st_mode;
	u->file_perms->uid = st.st_uid;
	u->file_perms->gid = st.st_gid;
	return fill_name_dir(d, f, u, path);
}

/* --- one socket --- */

static int fill_peer_name(struct dump *d, const struct file_info *f, struct unix_sock *k)
{
	struct sockaddr_un a;
	socklen_t size = sizeof a;

	if (getpeername(f->local, (struct sockaddr *)&a, &size) < 0 || size <= offsetof(struct sockaddr_un, sun_path))
		return 0;
	k->peer_name_size = size - offsetof(struct sockaddr_un, sun_path);
	if (k->peer_name_size > sizeof a.sun_path)
		k->peer_name_size = sizeof a.sun_path;
	k->peer_name = arena_dup(d->arena, a.sun_path, k->peer_name_size);
	return 0;
}

static int fill_socket(struct dump *d, const struct file_info *f, UnixSkEntry *u, struct unix_sock *k)
{
	struct diag_unix g = { 0 };
	int unsent = 0, r = sock_check_netns(d, f);

	if (r >= 0)
		r = ask(d, f, &g);
	if (r < 0)
		return r;
	u->state = g.state;
	u->backlog = g.backlog;
	u->peer = g.peer;
	u->name.data = (uint8_t *)(uintptr_t)g.name;
	u->name.len = g.name_size;
	if (g.shutdown & 3) {
		u->has_shutdown = true;
		u->shutdown = (SkShutdown)(g.shutdown & 3);
	}
	k->clients = g.clients;
	k->n_clients = g.n_clients;
	if (u->type != SOCK_DGRAM && u->state == TCP_ESTABLISHED && !u->peer)
		k->unsent = ioctl(f->local, SIOCOUTQ, &unsent) == 0 && unsent > 0;
	fill_peer_name(d, f, k);
	if (u->name.len && u->name.data[0])
		r = fill_path(d, f, u);
	if (r >= 0 && u->state != TCP_LISTEN)
		r = sock_queue_dump(d, f, u->id, (int)u->type, (g.shutdown & SK_SHUTDOWN__READ) != 0);
	return r;
}

static int unix_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	UnixSkEntry *u = e->usk = ARENA_MESSAGE(d->arena, UnixSkEntry, UNIX_SK_ENTRY__INIT);
	struct unix_sock *k = arena_new(d->arena, struct unix_sock);
	struct unix_state *s;

	u->id = e->id;
	u->ino = (uint32_t)f->st.st_ino;
	u->type = (uint32_t)sock_int(f, SOL_SOCKET, SO_TYPE);
	u->flags = f->flags;
	u->state = TCP_ESTABLISHED;
	u->name.data = arena_alloc(d->arena, 1);
	int r = file_fown(d, f, &u->fown);
	if (r >= 0)
		r = sock_opts_dump(d, f, &u->opts);
	u->has_torpor_external = u->torpor_external = f->external;
	if (r >= 0 && f->external)
		return 0;   /* the caller gives it back as it is */
	if (r >= 0)
		r = unix_state(d, &s);
	if (r < 0)
		return r;
	*k = (struct unix_sock){ .next = s->all, .task = f->task, .fd = f->fd, .entry = e };
	s->all = k;
	s->n++;
	return fill_socket(d, f, u, k);
}

/* --- relations --- */

static int compare_socks(const void *a, const void *b)
{
	uint32_t x = (*(struct unix_sock *const *)a)->entry->usk->ino, y = (*(struct unix_sock *const *)b)->entry->usk->ino;

	return (x > y) - (x < y);
}

static void sort_socks(struct unix_state *s)
{
	size_t i = 0;

	s->by_ino = arena_array(s->arena, struct unix_sock *, s->n + 1);
	for (struct unix_sock *k = s->all; k; k = k->next)
		s->by_ino[i++] = k;
	qsort(s->by_ino, s->n, sizeof *s->by_ino, compare_socks);
}

static struct unix_sock *find_ino(const struct unix_state *s, uint32_t ino)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		if (s->by_ino[mid]->entry->usk->ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->n && s->by_ino[low]->entry->usk->ino == ino ? s->by_ino[low] : NULL;
}

#define SOCK_FMT "task %d (%s), descriptor %d (socket:[%u])"
#define SOCK_ARG(k) (k)->task->pid, file_comm(&(struct file_info){ .task = (k)->task }), (k)->fd, (k)->entry->usk->ino

static int waiting_client(const struct unix_state *s, struct unix_sock *listener, uint32_t ino)
{
	struct unix_sock *k = ino ? find_ino(s, ino) : NULL;

	if (!ino)
		return 0;   /* the client has gone already: accept() would return a closed connection */
	if (!k) {
		fail_text(ENOTSUP, SOCK_FMT ": a client outside the tree (socket inode %u) waits to be accepted", SOCK_ARG(listener), ino);
		fail_hint("try again when it is accepted or gone");
		return -ENOTSUP;
	}
	if (k->unsent) {
		fail_text(ENOTSUP, SOCK_FMT ": it has sent data to a server that has not accepted it yet, which is not supported", SOCK_ARG(k));
		fail_hint("try again when it is accepted");
		return -ENOTSUP;
	}
	k->entry->usk->peer = listener->entry->usk->ino;
	return 0;
}

static int check_clients(const struct unix_state *s)
{
	for (struct unix_sock *k = s->all; k; k = k->next)
		for (size_t i = 0; i < k->n_clients; i++) {
			int r = waiting_client(s, k, k->clients[i]);
			if (r < 0)
				return r;
		}
	return 0;
}

/* An entry for a datagram peer outside, by which the restored socket connects again. */
static int add_external(struct dump *d, const struct unix_sock *k)
{
	const UnixSkEntry *u = k->entry->usk;
	FileEntry *e = file_add_entry(d, FD_TYPES__UNIXSK);
	UnixSkEntry *x = e->usk = ARENA_MESSAGE(d->arena, UnixSkEntry, UNIX_SK_ENTRY__INIT);

	x->id = e->id;
	x->ino = u->peer;
	x->type = u->type;
	x->state = TCP_CLOSE;
	x->flags = O_RDWR;
	x->uflags = UNIX_EXTERNAL;
	x->fown = u->fown;
	x->opts = u->opts;
	x->name.data = (uint8_t *)(uintptr_t)k->peer_name;
	x->name.len = k->peer_name_size;
	return 0;
}

/* --external unix[INODE], of the socket or its peer: the restored socket has lost its peer. */
static bool may_be_dropped(const struct dump *d, const UnixSkEntry *u)
{
	char own[32], peer[32];

	snprintf(own, sizeof own, "unix[%u]", u->ino);
	snprintf(peer, sizeof peer, "unix[%u]", u->peer);
	return file_listed(d, own) || file_listed(d, peer);
}

static int peer_outside(struct dump *d, const struct unix_sock *k)
{
	UnixSkEntry *u = k->entry->usk;

	if (may_be_dropped(d, u)) {
		u->peer = 0;
		if (u->type != SOCK_DGRAM) {
			u->has_shutdown = true;
			u->shutdown = SK_SHUTDOWN__BOTH;
		}
		return 0;
	}

	for (size_t i = 0; i < d->tree->files.n; i++)
		if (d->tree->files.data[i]->usk && d->tree->files.data[i]->usk->ino == u->peer)
			return 0;   /* there is an entry for it already */
	if (u->type == SOCK_DGRAM && k->peer_name && d->o->ext_unix_sk)
		return add_external(d, k);
	fail_text(ENOTCONN, SOCK_FMT ": its peer (socket inode %u%s%.*s) is outside the tree", SOCK_ARG(k), u->peer,
		  k->peer_name ? ", " : "", k->peer_name ? (int)k->peer_name_size : 0, k->peer_name ? (const char *)k->peer_name : "");
	if (u->type == SOCK_DGRAM && k->peer_name)
		fail_hint("use --ext-unix-sk to connect to it again by its name");
	else
		fail_hint("only a named datagram peer can be outside (--ext-unix-sk); a connection can be given up (--external 'unix[%u]'), or "
			  "the socket be the caller's (--external 'socket:[%u]')", u->ino, u->ino);
	return -ENOTCONN;
}

static int check_peer(struct dump *d, const struct unix_state *s, const struct unix_sock *k)
{
	const UnixSkEntry *u = k->entry->usk;
	const struct unix_sock *p = u->peer ? find_ino(s, u->peer) : NULL;

	if (u->peer && !p)
		return peer_outside(d, k);
	if (!u->peer && u->type != SOCK_DGRAM && u->state == TCP_ESTABLISHED && !u->shutdown)
		return fail_text(ENOTCONN, SOCK_FMT ": it waits to be accepted by a server outside the tree (%.*s)", SOCK_ARG(k),
				 (int)k->peer_name_size, k->peer_name ? (const char *)k->peer_name : "");
	if (p && u->type == SOCK_DGRAM && !p->entry->usk->name.len && p->entry->usk->peer != u->ino)
		return fail_text(ENOTSUP, SOCK_FMT ": it is connected to a socket without a name that is not connected back", SOCK_ARG(k));
	return 0;
}

static int unix_dump_end(struct dump *d)
{
	struct unix_state *s = *file_state(d, STATE_UNIX);

	if (!s)
		return 0;
	sort_socks(s);
	int r = check_clients(s);
	for (const struct unix_sock *k = s->all; k && r >= 0; k = k->next)
		r = check_peer(d, s, k);
	return r;
}

const struct file_kind unix_kind = {
	.name = "unix socket",
	.type = FD_TYPES__UNIXSK,
	.match = unix_match,
	.dump = unix_dump,
	.dump_end = unix_dump_end,
	.open = unix_open,
	.finish = unix_finish,
};
