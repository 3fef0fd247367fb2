/* SPDX-License-Identifier: Apache-2.0 */
/* Internet sockets: listening and unconnected TCP, UDP and UDP-Lite, IPv4 and IPv6.
 *
 * Kernel facts relied on:
 * - All that is stored can be asked of a duplicate of the descriptor, from any network namespace: names, options, and TCP_INFO, which
 *   for a listening socket has the backlog (tcpi_sacked) and the connections that wait to be accepted (tcpi_unacked).
 * - poll(2) tells whether a datagram socket was shut down for reading (POLLRDHUP) or both ways (POLLHUP); for writing alone is not
 *   seen.
 *
 * Restore makes the socket in the tree's network namespace (the builder's) and binds it before the tasks run: an address that is not
 * there or in use is an error then. A TCP port is bound with SO_REUSEADDR for the moment, since connections of the dumped process
 * may still linger.
 *
 * Not handled: connected TCP, and listening sockets with connections that nobody has accepted (refused with the addresses); other
 * protocols (refused); UDP contents (datagrams may be lost by nature); multicast memberships. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/in6.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "sockets/socket.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct address_text {
	char text[INET6_ADDRSTRLEN + 16];
};

static struct address_text show(const union address *a)
{
	struct address_text t;
	char host[INET6_ADDRSTRLEN] = "?";

	if (a->any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof host);
		snprintf(t.text, sizeof t.text, "%s:%u", host, ntohs(a->v4.sin_port));
	} else {
		inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof host);
		snprintf(t.text, sizeof t.text, "[%s]:%u", host, ntohs(a->v6.sin6_port));
	}
	return t;
}

static bool inet_match(const struct file_info *f)
{
	if (!S_ISSOCK(f->st.st_mode))
		return false;
	int domain = sock_int(f, SOL_SOCKET, SO_DOMAIN), protocol = sock_int(f, SOL_SOCKET, SO_PROTOCOL);
	int type = sock_int(f, SOL_SOCKET, SO_TYPE);
	if (domain != AF_INET && domain != AF_INET6)
		return false;
	return (type == SOCK_STREAM && protocol == IPPROTO_TCP) ||
	       (type == SOCK_DGRAM && (protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE));
}

/* --- dump --- */

static void put_address(struct dump *d, const union address *a, uint32_t *port, uint32_t **words, size_t *n)
{
	bool v4 = a->any.sa_family == AF_INET;

	*port = ntohs(v4 ? a->v4.sin_port : a->v6.sin6_port);
	*n = v4 ? 1 : 4;
	*words = arena_array(d->arena, uint32_t, 4);
	memcpy(*words, v4 ? (const void *)&a->v4.sin_addr : (const void *)&a->v6.sin6_addr, *n * sizeof **words);
}

static int dump_names(struct dump *d, const struct file_info *f, InetSkEntry *i, union address *own, union address *peer, bool *connected)
{
	socklen_t size = sizeof *own;
	struct ifreq interface;

	if (getsockname(f->local, &own->any, &size) < 0)
		return fail(errno, FILE_FMT ": ask for its address", FILE_ARG(f));
	size = sizeof *peer;
	memset(peer, 0, sizeof *peer);
	*connected = getpeername(f->local, &peer->any, &size) == 0;
	peer->any.sa_family = own->any.sa_family;
	put_address(d, own, &i->src_port, &i->src_addr, &i->n_src_addr);
	put_address(d, peer, &i->dst_port, &i->dst_addr, &i->n_dst_addr);
	if (own->any.sa_family != AF_INET6 || !own->v6.sin6_scope_id)
		return 0;
	memset(&interface, 0, sizeof interface);
	interface.ifr_ifindex = (int)own->v6.sin6_scope_id;
	if (ioctl(f->local, SIOCGIFNAME, &interface) < 0)
		return fail(errno, FILE_FMT ": ask for the name of network device %d", FILE_ARG(f), interface.ifr_ifindex);
	i->ifname = arena_str(d->arena, interface.ifr_name);
	return 0;
}

static int check_tcp(const struct file_info *f, const InetSkEntry *i, const struct tcp_info *info, const union address *own,
		     const union address *peer)
{
	if (i->state == TCP_LISTEN && info->tcpi_unacked) {
		fail_text(ENOTSUP, FILE_FMT ": %u connections to %s wait to be accepted; connected TCP sockets are not supported yet", FILE_ARG(f),
			  info->tcpi_unacked, show(own).text);
		fail_hint("try again when they are accepted and closed");
		return -ENOTSUP;
	}
	if (i->state == TCP_LISTEN || i->state == TCP_CLOSE)
		return 0;
	fail_text(ENOTSUP, FILE_FMT ": TCP connection %s to %s: connected TCP sockets are not supported yet (they come with --tcp-established)",
		  FILE_ARG(f), show(own).text, show(peer).text);
	fail_hint("close the connection before the checkpoint");
	return -ENOTSUP;
}

static TcpOptsEntry *tcp_options(struct dump *d, const struct file_info *f)
{
	TcpOptsEntry *o = ARENA_MESSAGE(d->arena, TcpOptsEntry, TCP_OPTS_ENTRY__INIT);

	o->has_cork = o->has_nodelay = o->has_keepcnt = o->has_keepidle = o->has_keepintvl = true;
	o->cork = sock_int(f, IPPROTO_TCP, TCP_CORK) > 0;
	o->nodelay = sock_int(f, IPPROTO_TCP, TCP_NODELAY) > 0;
	o->keepcnt = (uint32_t)sock_int(f, IPPROTO_TCP, TCP_KEEPCNT);
	o->keepidle = (uint32_t)sock_int(f, IPPROTO_TCP, TCP_KEEPIDLE);
	o->keepintvl = (uint32_t)sock_int(f, IPPROTO_TCP, TCP_KEEPINTVL);
	return o;
}

static int dump_tcp(struct dump *d, const struct file_info *f, InetSkEntry *i, const union address *own, const union address *peer)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof info;

	if (getsockopt(f->local, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return fail(errno, FILE_FMT ": ask for its state (TCP_INFO)", FILE_ARG(f));
	i->state = info.tcpi_state;
	i->backlog = i->state == TCP_LISTEN ? info.tcpi_sacked : 0;
	i->tcp_opts = tcp_options(d, f);
	return check_tcp(f, i, &info, own, peer);
}

static int dump_udp(const struct file_info *f, InetSkEntry *i, bool connected)
{
	struct pollfd p = { .fd = f->local, .events = POLLRDHUP };

	i->state = connected ? TCP_ESTABLISHED : TCP_CLOSE;
	if (i->proto == IPPROTO_UDP && sock_int(f, IPPROTO_UDP, UDP_CORK) > 0)
		return fail_text(ENOTSUP, FILE_FMT ": a UDP socket with UDP_CORK on is not supported", FILE_ARG(f));
	if (poll(&p, 1, 0) < 0)
		return fail(errno, FILE_FMT ": ask whether it is shut down", FILE_ARG(f));
	if (p.revents & (POLLRDHUP | POLLHUP)) {
		i->has_shutdown = true;
		i->shutdown = p.revents & POLLHUP ? SK_SHUTDOWN__BOTH : SK_SHUTDOWN__READ;
	}
	return 0;
}

static IpOptsEntry *ip_options(struct dump *d, const struct file_info *f, bool v6)
{
	IpOptsEntry *o = ARENA_MESSAGE(d->arena, IpOptsEntry, IP_OPTS_ENTRY__INIT);
	int hops = v6 ? sock_int(f, IPPROTO_IPV6, IPV6_UNICAST_HOPS) : sock_int(f, IPPROTO_IP, IP_TTL);
	int tos = v6 ? sock_int(f, IPPROTO_IPV6, IPV6_TCLASS) : sock_int(f, IPPROTO_IP, IP_TOS);

	o->has_freebind = o->has_pktinfo = true;
	o->freebind = (v6 ? sock_int(f, IPPROTO_IPV6, IPV6_FREEBIND) : sock_int(f, IPPROTO_IP, IP_FREEBIND)) > 0;
	o->pktinfo = (v6 ? sock_int(f, IPPROTO_IPV6, IPV6_RECVPKTINFO) : sock_int(f, IPPROTO_IP, IP_PKTINFO)) > 0;
	if (tos > 0 || !v6) {
		o->has_tos = true;
		o->tos = (uint32_t)tos;
	}
	if (hops > 0) {
		o->has_ttl = true;
		o->ttl = (uint32_t)hops;
	}
	return o;
}

static int inet_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	InetSkEntry *i = e->isk = ARENA_MESSAGE(d->arena, InetSkEntry, INET_SK_ENTRY__INIT);
	union address own, peer;
	bool connected = false;

	i->id = e->id;
	i->ino = (uint32_t)f->st.st_ino;
	i->family = (uint32_t)sock_int(f, SOL_SOCKET, SO_DOMAIN);
	i->type = (uint32_t)sock_int(f, SOL_SOCKET, SO_TYPE);
	i->proto = (uint32_t)sock_int(f, SOL_SOCKET, SO_PROTOCOL);
	i->flags = f->flags;
	i->state = TCP_CLOSE;
	int r = file_fown(d, f, &i->fown);
	if (r >= 0)
		r = sock_opts_dump(d, f, &i->opts);
	if (r < 0 || f->external)
		return r;   /* the caller gives it back as it is */
	r = sock_check_netns(d, f);
	if (r >= 0)
		r = dump_names(d, f, i, &own, &peer, &connected);
	if (r >= 0)
		r = i->type == SOCK_STREAM ? dump_tcp(d, f, i, &own, &peer) : dump_udp(f, i, connected);
	if (r < 0)
		return r;
	if (i->family == AF_INET6) {
		i->has_v6only = true;
		i->v6only = sock_int(f, IPPROTO_IPV6, IPV6_V6ONLY) > 0;
	}
	i->ip_opts = ip_options(d, f, i->family == AF_INET6);
	return 0;
}

/* --- restore --- */

static int get_address(const FileEntry *e, uint32_t port, const uint32_t *words, size_t n, union address *a)
{
	const InetSkEntry *i = e->isk;
	bool v4 = i->family == AF_INET;

	memset(a, 0, sizeof *a);
	a->any.sa_family = (sa_family_t)i->family;
	if (port > UINT16_MAX || (n && n != (v4 ? 1u : 4u)))
		return fail_text(EBADMSG, ENTRY_FMT ": an address of %zu words, port %u", ENTRY_ARG(e), n, port);
	if (v4)
		a->v4.sin_port = htons((uint16_t)port);
	else
		a->v6.sin6_port = htons((uint16_t)port);
	if (n)
		memcpy(v4 ? (void *)&a->v4.sin_addr : (void *)&a->v6.sin6_addr, words, n * sizeof *words);
	if (v4 || !i->ifname || !i->ifname[0])
		return 0;
	a->v6.sin6_scope_id = if_nametoindex(i->ifname);
	return a->v6.sin6_scope_id ? 0 : fail(errno, ENTRY_FMT ": the network device %s", ENTRY_ARG(e), i->ifname);
}

static socklen_t address_size(const union address *a)
{
	return a->any.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6;
}

static int set_ip_options(const FileEntry *e, int fd)
{
	const IpOptsEntry *o = e->isk->ip_opts;
	bool v6 = e->isk->family == AF_INET6;
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, r = 0;

	if (v6 && e->isk->has_v6only)
		r = sock_set_int(e, fd, IPPROTO_IPV6, IPV6_V6ONLY, e->isk->v6only, "IPV6_V6ONLY");
	if (!o)
		return r;
	if (r >= 0 && o->has_freebind)
		r = sock_set_int(e, fd, level, v6 ? IPV6_FREEBIND : IP_FREEBIND, o->freebind, "IP_FREEBIND");
	if (r >= 0 && o->has_pktinfo)
		r = sock_set_int(e, fd, level, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, o->pktinfo, "IP_PKTINFO");
	if (r >= 0 && o->has_tos)
		r = sock_set_int(e, fd, level, v6 ? IPV6_TCLASS : IP_TOS, (int)o->tos, "IP_TOS");
	if (r >= 0 && o->has_ttl)
		r = sock_set_int(e, fd, level, v6 ? IPV6_UNICAST_HOPS : IP_TTL, (int)o->ttl, "IP_TTL");
	return r;
}

static int set_tcp_options(const FileEntry *e, int fd)
{
	const TcpOptsEntry *o = e->isk->tcp_opts;
	int r = 0;

	if (!o || e->isk->type != SOCK_STREAM)
		return 0;
	if (o->has_nodelay)
		r = sock_set_int(e, fd, IPPROTO_TCP, TCP_NODELAY, o->nodelay, "TCP_NODELAY");
	if (r >= 0 && o->has_cork)
		r = sock_set_int(e, fd, IPPROTO_TCP, TCP_CORK, o->cork, "TCP_CORK");
	if (r >= 0 && o->has_keepcnt)
		r = sock_set_int(e, fd, IPPROTO_TCP, TCP_KEEPCNT, (int)o->keepcnt, "TCP_KEEPCNT");
	if (r >= 0 && o->has_keepidle)
		r = sock_set_int(e, fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)o->keepidle, "TCP_KEEPIDLE");
	if (r >= 0 && o->has_keepintvl)
		r = sock_set_int(e, fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)o->keepintvl, "TCP_KEEPINTVL");
	return r;
}

static int bind_socket(const FileEntry *e, int fd)
{
	const InetSkEntry *i = e->isk;
	union address a;
	int r = get_address(e, i->src_port, i->src_addr, i->n_src_addr, &a);

	if (r < 0 || !i->src_port)
		return r;
	if (i->type == SOCK_STREAM)
		r = sock_set_int(e, fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
	if (r >= 0 && bind(fd, &a.any, address_size(&a)) < 0) {
		r = fail(errno, ENTRY_FMT ": bind it to %s", ENTRY_ARG(e), show(&a).text);
		if (r == -EADDRNOTAVAIL)
			fail_hint("the restored network has no such address: restore with the same addresses");
		if (r == -EADDRINUSE)
			fail_hint("another program uses the port: end it first");
	}
	return r;
}

static int enter_state(const FileEntry *e, int fd)
{
	const InetSkEntry *i = e->isk;
	union address a;

	if (i->type == SOCK_STREAM && i->state == TCP_LISTEN) {
		if (listen(fd, (int)i->backlog) < 0)
			return fail(errno, ENTRY_FMT ": listen on port %u", ENTRY_ARG(e), i->src_port);
		return 0;
	}
	if (i->type != SOCK_DGRAM || i->state != TCP_ESTABLISHED)
		return 0;
	int r = get_address(e, i->dst_port, i->dst_addr, i->n_dst_addr, &a);
	if (r >= 0 && connect(fd, &a.any, address_size(&a)) < 0)
		r = fail(errno, ENTRY_FMT ": connect it to %s", ENTRY_ARG(e), show(&a).text);
	if (r >= 0 && i->has_shutdown && i->shutdown && shutdown(fd, (int)i->shutdown - 1) < 0)
		r = fail(errno, ENTRY_FMT ": shut it down", ENTRY_ARG(e));
	return r;
}

static int check_entry(const FileEntry *e)
{
	const InetSkEntry *i = e->isk;

	if (i->family != AF_INET && i->family != AF_INET6)
		return fail_text(EBADMSG, ENTRY_FMT ": address family %u", ENTRY_ARG(e), i->family);
	if (i->type == SOCK_STREAM && i->proto == IPPROTO_TCP && (i->state == TCP_LISTEN || i->state == TCP_CLOSE))
		return 0;
	if (i->type == SOCK_DGRAM && (i->proto == IPPROTO_UDP || i->proto == IPPROTO_UDPLITE))
		return 0;
	return fail_text(ENOTSUP, ENTRY_FMT ": type %u, protocol %u, state %u is not supported%s", ENTRY_ARG(e), i->type, i->proto, i->state,
			 i->proto == IPPROTO_TCP ? " (connected TCP)" : "");
}

static int set_up(const FileEntry *e, int fd)
{
	const InetSkEntry *i = e->isk;
	int r = sock_opts_restore(e, fd, i->opts);

	if (r >= 0)
		r = set_ip_options(e, fd);
	if (r >= 0)
		r = bind_socket(e, fd);
	if (r >= 0 && i->opts->has_reuseaddr)
		r = sock_set_int(e, fd, SOL_SOCKET, SO_REUSEADDR, i->opts->reuseaddr, "SO_REUSEADDR");
	if (r >= 0)
		r = enter_state(e, fd);
	if (r >= 0)
		r = set_tcp_options(e, fd);
	if (r >= 0)
		r = sock_buffers_restore(e, fd, i->opts);
	return r < 0 ? r : file_set_flags(e, fd, i->flags);
}

static int inet_open(struct restore *r, const FileEntry *e)
{
	const InetSkEntry *i = e->isk;
	char key[32];
	int ret;

	snprintf(key, sizeof key, "socket:[%u]", i->ino);
	autoclose int fd = file_inherited(r, key);
	if (fd != -ENOENT) {
		ret = fd < 0 ? fd : file_set_flags(e, fd, i->flags);
		return ret < 0 ? ret : take_fd(&fd);
	}
	ret = check_entry(e);
	if (ret < 0)
		return ret;
	fd = socket((int)i->family, (int)i->type | SOCK_CLOEXEC, (int)i->proto);
	if (fd < 0)
		return fail(errno, ENTRY_FMT ": make it", ENTRY_ARG(e));
	ret = set_up(e, fd);
	return ret < 0 ? ret : take_fd(&fd);
}

const struct file_kind inet_kind = {
	.name = "internet socket",
	.type = FD_TYPES__INETSK,
	.match = inet_match,
	.dump = inet_dump,
	.open = inet_open,
};
