/* SPDX-License-Identifier: Apache-2.0 */
/* The TCP connections of a tree, before any of its descriptors is looked at.
 *
 * Kernel facts relied on:
 * - The link of a socket's descriptor has its inode number ("socket:[123]"), and so has the answer of sock_diag; two requests list all TCP
 *   sockets of a network namespace, IPv4 and IPv6.
 * - A connection that nobody has accepted has no inode (0), in any state from SYN-RECV on; whose it is, its local port says. TIME-WAIT has
 *   none either, and needs none: it answers, but nobody is there to be reset.
 * - A socket of IPv6 can speak IPv4 (::ffff:10.0.0.1): on the wire that is IPv4. */
#include "sockets/flows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/netlink.h"
#include "base/proc.h"
#include "files/kinds.h"
#include "sockets/diag.h"
#include "sockets/tcp.h"

struct found {
	struct ck_flow flow;
	uint32_t inode;
	bool listens;
};

struct search {
	ARRAY(uint32_t) inodes;      /* of the tree's sockets, sorted */
	ARRAY(struct found) sockets;
	bool ports[65536];           /* that the tree listens at */
};

/* Addresses as words in network order. */
static void fill(struct ck_flow *f, int family, const void *local, const void *remote)
{
	const struct in6_addr *a = local, *b = remote;
	bool v4 = family == AF_INET || (IN6_IS_ADDR_V4MAPPED(a) && IN6_IS_ADDR_V4MAPPED(b));
	size_t skip = family == AF_INET6 && v4 ? 12 : 0;

	f->v6 = !v4;
	memcpy(f->local, (const char *)local + skip, v4 ? 4 : 16);
	memcpy(f->remote, (const char *)remote + skip, v4 ? 4 : 16);
}

static int take_socket(const struct nlmsghdr *m, void *arg)
{
	struct search *s = arg;
	struct diag_inet i;

	if (diag_inet(m, &i) < 0)
		return -EBADMSG;
	if (i.family != AF_INET && i.family != AF_INET6)
		return 0;
	struct found *f = &array_push(&s->sockets);
	fill(&f->flow, i.family, i.id.idiag_src, i.id.idiag_dst);
	f->flow.local_port = ntohs(i.id.idiag_sport);
	f->flow.remote_port = ntohs(i.id.idiag_dport);
	f->inode = i.inode;
	f->listens = i.state == TCP_LISTEN;
	return 0;
}

static int list_sockets(struct search *s, int netns)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	int r = netlink_open(&nl, NETLINK_SOCK_DIAG, netns);

	for (size_t i = 0; i < sizeof families && r >= 0; i++) {
		const struct inet_diag_req_v2 all = {
			.sdiag_family = families[i], .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~(1u << TCP_TIME_WAIT | 1u << TCP_CLOSE),
		};
		size_t before = s->sockets.n;
		do {
			s->sockets.n = before;
			netlink_begin(&nl, SOCK_DIAG_BY_FAMILY, 0, &all, sizeof all);
			r = netlink_dump(&nl, take_socket, s);
		} while (r == -EINTR);
		if (r == -ENOENT)   /* a kernel without IPv6 */
			r = 0;
	}
	return r < 0 ? fail(-r, "list the TCP sockets of the tree's network namespace") : 0;
}

static int add_inodes(struct search *s, const struct task *t)
{
	autofree int *fds = NULL;
	char path[64], link[64];
	ssize_t n = proc_numbers(t->host_pid, "fd", &fds);

	if (n < 0)
		return fail((int)-n, "list the descriptors of task %d", t->host_pid);
	snprintf(path, sizeof path, "/proc/%d/fd", t->host_pid);
	autoclose int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (ssize_t i = 0; i < n; i++) {
		unsigned inode;
		snprintf(path, sizeof path, "%d", fds[i]);
		ssize_t size = readlinkat(dir, path, link, sizeof link - 1);
		link[size < 0 ? 0 : size] = 0;
		if (sscanf(link, "socket:[%u]", &inode) == 1)
			array_push(&s->inodes) = inode;
	}
	return 0;
}

static int by_inode(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static bool is_ours(const struct search *s, const struct found *f)
{
	return f->inode && s->inodes.n && bsearch(&f->inode, s->inodes.data, s->inodes.n, sizeof *s->inodes.data, by_inode);
}

static void pick(struct search *s, struct flows *out)
{
	for (size_t i = 0; i < s->sockets.n; i++)
		if (s->sockets.data[i].listens && is_ours(s, &s->sockets.data[i]))
			s->ports[s->sockets.data[i].flow.local_port] = true;
	for (size_t i = 0; i < s->sockets.n; i++) {
		const struct found *f = &s->sockets.data[i];
		if (!f->listens && (f->inode ? is_ours(s, f) : s->ports[f->flow.local_port]))
			array_push(out) = f->flow;
	}
}

int flows_of_tasks(struct dump *d, int netns, struct flows *out)
{
	autofree struct search *s = mem_zalloc(sizeof *s);
	int r = 0;

	for (size_t i = 0; i < d->tree->tasks.n && r >= 0; i++)
		if (d->tree->tasks.data[i]->state != TASK_DEAD)
			r = add_inodes(s, d->tree->tasks.data[i]);
	if (r >= 0 && s->inodes.n) {
		qsort(s->inodes.data, s->inodes.n, sizeof *s->inodes.data, by_inode);
		r = list_sockets(s, netns);
	}
	if (r >= 0)
		pick(s, out);
	array_free(&s->inodes);
	array_free(&s->sockets);
	return r;
}

/* As it is now (--map-address). */
static const void *mapped(const struct restore *r, const InetSkEntry *e, const uint32_t *words, union inet_address *a)
{
	void *bytes = e->family == AF_INET6 ? (void *)&a->v6.sin6_addr : (void *)&a->v4.sin_addr;

	*a = (union inet_address){ .any.sa_family = (sa_family_t)e->family };
	memcpy(bytes, words, e->family == AF_INET6 ? 16 : 4);
	inet_map(r, a);
	return bytes;
}

void flows_of_images(const struct restore *r, struct flows *out)
{
	for (size_t i = 0; i < r->tree->files.n; i++) {
		const InetSkEntry *e = r->tree->files.data[i]->isk;
		size_t words = e && e->family == AF_INET6 ? 4 : 1;
		union inet_address own, peer;
		if (!e || e->proto != IPPROTO_TCP || e->state == TCP_LISTEN || e->state == TCP_CLOSE || e->n_src_addr < words || e->n_dst_addr < words)
			continue;
		struct ck_flow *f = &array_push(out);
		fill(f, (int)e->family, mapped(r, e, e->src_addr, &own), mapped(r, e, e->dst_addr, &peer));
		f->local_port = (uint16_t)e->src_port;
		f->remote_port = (uint16_t)e->dst_port;
	}
}
