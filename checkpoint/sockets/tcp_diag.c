/* SPDX-License-Identifier: Apache-2.0 */
/* What only sock_diag tells of a TCP connection: whom it connects to before it is connected, and the keys that its segments are signed with
 * (TCP MD5, RFC 2385). The keys are stored, and set again when the contents are there: what the restore injects is not signed.
 *
 * Kernel facts relied on:
 * - The answer to one with CAP_NET_ADMIN has the keys themselves (INET_DIAG_MD5SIG: an array of struct tcp_diag_md5sig). Of a listening
 *   socket it has them if INET_DIAG_INFO is asked for. Keys of a socket in no state are not seen, and lost; nor is the device seen that one
 *   may be limited to.
 * - What asks for one listening socket gets any of those that share its port: all are listed, once.
 *
 * Not handled: TCP-AO keys, protocols on top (TLS): refused. */
#define LOG_PREFIX "tcp"
#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/netlink.h"
#include "sockets/diag.h"
#include "sockets/tcp.h"

#ifndef TCP_AO_INFO
#define TCP_AO_INFO 40
#endif
#define KEYS_MAX 256

enum { SYN_SENT = 2, LISTENING = 10 };

struct keys {
	struct dump *d;
	InetSkEntry *e;
};

/* A listening socket that has keys. */
struct listening {
	struct listening *next;
	uint32_t inode;
	struct tcp_diag_md5sig *keys;
	size_t n;
};

struct asker {
	struct netlink nl;
	struct listening *first;
	bool listed;
	struct arena *arena;
};

static void close_diag(void *arg)
{
	netlink_close(arg);
}

static int open_diag(struct dump *d, struct asker **out)
{
	struct asker *a = arena_new(d->arena, struct asker);
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/net", tree_root(d->tree)->host_pid);
	autoclose int netns = open(path, O_RDONLY | O_CLOEXEC);
	int r = netns < 0 ? -errno : netlink_open(&a->nl, NETLINK_SOCK_DIAG, netns);
	if (r < 0)
		return fail(-r, "ask for sockets in the network namespace of task %d", tree_root(d->tree)->pid);
	file_at_end(d, close_diag, &a->nl);
	a->arena = d->arena;
	*out = a;
	return 0;
}

static int asker_of(struct dump *d, struct asker **out)
{
	struct asker **a = (struct asker **)file_state(d, STATE_TCP);
	int r = *a ? 0 : open_diag(d, a);

	*out = *a;
	return r;
}

struct wanted {
	uint32_t inode;
	bool found;
	struct inet_diag_sockid id;
};

static int see_socket(const struct nlmsghdr *m, void *arg)
{
	struct wanted *w = arg;
	struct diag_inet s;

	if (diag_inet(m, &s) < 0)
		return -EBADMSG;
	if (s.inode == w->inode) {
		w->id = s.id;
		w->found = true;
	}
	return 0;
}

/* getpeername() does not tell before it is connected. */
int tcp_ask_peer(struct dump *d, const struct file_info *f, const InetSkEntry *i, union inet_address *peer)
{
	const struct inet_diag_req_v2 q = { .sdiag_family = (uint8_t)i->family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = 1u << SYN_SENT };
	struct wanted w = { .inode = i->ino };
	struct asker *a = NULL;
	int r = asker_of(d, &a);

	if (r < 0)
		return r;
	do {
		netlink_begin(&a->nl, SOCK_DIAG_BY_FAMILY, 0, &q, sizeof q);
		r = netlink_dump(&a->nl, see_socket, &w);
	} while (r == -EINTR);
	if (r < 0)
		return fail(-r, FILE_FMT ": ask whom it connects to (sock_diag)", FILE_ARG(f));
	if (!w.found) {
		fail_text(EAGAIN, FILE_FMT ": the TCP connection is opened or given up at this moment", FILE_ARG(f));
		fail_hint("try again");
		return -EAGAIN;
	}
	if (i->family == AF_INET)
		memcpy(&peer->v4.sin_addr, w.id.idiag_dst, sizeof peer->v4.sin_addr);
	else
		memcpy(&peer->v6.sin6_addr, w.id.idiag_dst, sizeof peer->v6.sin6_addr);
	peer->v4.sin_port = w.id.idiag_dport;   /* at the same place in both */
	return 0;
}

/* --- keys --- */

static int take_keys(struct keys *k, const struct tcp_diag_md5sig *sig, size_t n)
{
	if (n > KEYS_MAX)
		return -E2BIG;
	k->e->n_torpor_md5 = 0;
	k->e->torpor_md5 = n ? arena_array(k->d->arena, TorporMd5 *, n) : NULL;
	for (size_t i = 0; i < n; i++) {
		if (sig[i].tcpm_keylen > sizeof sig[i].tcpm_key)
			return -EBADMSG;
		TorporMd5 *m = ARENA_MESSAGE(k->d->arena, TorporMd5, TORPOR_MD5__INIT);
		m->family = sig[i].tcpm_family;
		m->prefix = sig[i].tcpm_prefixlen;
		m->n_address = sig[i].tcpm_family == AF_INET ? 1 : 4;
		m->address = arena_array(k->d->arena, uint32_t, 4);
		memcpy(m->address, sig[i].tcpm_addr, m->n_address * sizeof *m->address);
		m->key.len = sig[i].tcpm_keylen;
		m->key.data = arena_array(k->d->arena, uint8_t, sizeof sig[i].tcpm_key);
		memcpy(m->key.data, sig[i].tcpm_key, m->key.len);
		k->e->torpor_md5[k->e->n_torpor_md5++] = m;
	}
	return 0;
}

static int see_keys(const struct nlmsghdr *m, void *arg)
{
	struct keys *k = arg;
	struct diag_inet s;

	if (diag_inet(m, &s) < 0)
		return -EBADMSG;
	return s.inode == k->e->ino && s.md5 ? take_keys(k, s.md5, s.md5_size / sizeof(struct tcp_diag_md5sig)) : 0;
}

static int dump_md5(struct dump *d, const struct file_info *f, InetSkEntry *i)
{
	struct inet_diag_req_v2 q = { .sdiag_family = (uint8_t)i->family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = 1u << i->state };
	struct keys k = { d, i };
	struct asker *a = NULL;
	int r = asker_of(d, &a);

	if (r < 0)
		return r;
	q.id.idiag_sport = htons((uint16_t)i->src_port);
	q.id.idiag_dport = htons((uint16_t)i->dst_port);
	memcpy(q.id.idiag_src, i->src_addr, i->n_src_addr * sizeof *i->src_addr);
	memcpy(q.id.idiag_dst, i->dst_addr, i->n_dst_addr * sizeof *i->dst_addr);
	q.id.idiag_cookie[0] = q.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	netlink_begin(&a->nl, SOCK_DIAG_BY_FAMILY, 0, &q, sizeof q);
	r = netlink_request(&a->nl, see_keys, &k);
	return r < 0 && r != -ENOENT ? fail(-r, FILE_FMT ": ask for its keys (sock_diag)", FILE_ARG(f)) : 0;
}

static int note_listening(const struct nlmsghdr *m, void *arg)
{
	struct asker *a = arg;
	struct diag_inet s;

	if (diag_inet(m, &s) < 0)
		return -EBADMSG;
	if (!s.md5)
		return 0;
	struct listening *l = arena_new(a->arena, struct listening);
	*l = (struct listening){ a->first, s.inode, arena_dup(a->arena, s.md5, s.md5_size), s.md5_size / sizeof *l->keys };
	a->first = l;
	return 0;
}

static int list_listening(struct asker *a)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	int r = 0;

	for (size_t i = 0; i < sizeof families && r >= 0; i++) {
		const struct inet_diag_req_v2 q = { .sdiag_family = families[i], .sdiag_protocol = IPPROTO_TCP,
						    .idiag_ext = 1u << (INET_DIAG_INFO - 1), .idiag_states = 1u << LISTENING };
		do {   /* the last one noted is the first one found */
			netlink_begin(&a->nl, SOCK_DIAG_BY_FAMILY, 0, &q, sizeof q);
			r = netlink_dump(&a->nl, note_listening, a);
		} while (r == -EINTR);
		if (r == -ENOENT)   /* a kernel without IPv6 */
			r = 0;
	}
	a->listed = r >= 0;
	return r;
}

/* Whoever may not ask does not hear of keys, as any program. */
int tcp_dump_listening_keys(struct dump *d, const struct file_info *f, InetSkEntry *i)
{
	struct keys k = { d, i };
	struct asker *a = NULL;
	size_t mark = err_mark();
	int r = asker_of(d, &a);

	if (r == -EPERM) {
		err_rewind(mark);
		return 0;
	}
	if (r >= 0 && !a->listed)
		r = list_listening(a);
	if (r < 0)
		return fail(-r, FILE_FMT ": ask for the keys of listening sockets (sock_diag)", FILE_ARG(f));
	const struct listening *l = a->first;
	while (l && l->inode != i->ino)
		l = l->next;
	r = l ? take_keys(&k, l->keys, l->n) : 0;
	return r < 0 ? fail(-r, FILE_FMT ": take its %zu keys", FILE_ARG(f), l->n) : 0;
}

int tcp_dump_keys(struct dump *d, const struct file_info *f, InetSkEntry *i)
{
	char ao[64] = "", ulp[16] = "";
	socklen_t size = sizeof ulp - 1;

	if (getsockopt(f->local, IPPROTO_TCP, TCP_ULP, ulp, &size) == 0 && size && ulp[0]) {
		fail_text(ENOTSUP, FILE_FMT ": the protocol %s is on top of the connection, which is not supported", FILE_ARG(f), ulp);
		fail_hint("close the connection before the checkpoint");
		return -ENOTSUP;
	}
	size = sizeof ao;
	if (getsockopt(f->local, IPPROTO_TCP, TCP_AO_INFO, ao, &size) == 0) {
		fail_text(ENOTSUP, FILE_FMT ": its segments are signed by TCP-AO, which is not supported", FILE_ARG(f));
		fail_hint("close the connection before the checkpoint");
		return -ENOTSUP;
	}
	return dump_md5(d, f, i);
}

int tcp_restore_keys(struct restore *r, const FileEntry *e, int fd)
{
	for (size_t i = 0; i < e->isk->n_torpor_md5; i++) {
		const TorporMd5 *m = e->isk->torpor_md5[i];
		struct tcp_md5sig sig = { .tcpm_flags = TCP_MD5SIG_FLAG_PREFIX, .tcpm_prefixlen = (uint8_t)m->prefix, .tcpm_keylen = (uint16_t)m->key.len };
		union inet_address a = { .any.sa_family = (sa_family_t)m->family };
		bool v4 = m->family == AF_INET;
		if ((!v4 && m->family != AF_INET6) || m->n_address != (v4 ? 1u : 4u) || m->prefix > (v4 ? 32u : 128u) || m->key.len > sizeof sig.tcpm_key)
			return fail_text(EBADMSG, ENTRY_FMT ": a key for an address of family %u, prefix %u", ENTRY_ARG(e), m->family, m->prefix);
		memcpy(v4 ? (void *)&a.v4.sin_addr : (void *)&a.v6.sin6_addr, m->address, m->n_address * sizeof *m->address);
		inet_map(r, &a);
		if (v4 && e->isk->family == AF_INET6) {   /* as such a socket is asked */
			const union inet_address four = a;
			a = (union inet_address){ .v6 = { .sin6_family = AF_INET6, .sin6_addr.s6_addr = { [10] = 0xff, 0xff } } };
			memcpy(&a.v6.sin6_addr.s6_addr[12], &four.v4.sin_addr, 4);
		}
		memcpy(&sig.tcpm_addr, &a, sizeof a);
		memcpy(sig.tcpm_key, m->key.data, m->key.len);
		if (setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG_EXT, &sig, sizeof sig) < 0)
			return fail(errno, ENTRY_FMT ": set a key that its segments are signed with (TCP_MD5SIG_EXT)", ENTRY_ARG(e));
	}
	return 0;
}
