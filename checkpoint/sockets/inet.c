/* SPDX-License-Identifier: Apache-2.0 */
/* Internet sockets: TCP (a connection's contents are tcp_save.c and tcp_restore.c), UDP and UDP-Lite, IPv4 and IPv6.
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
 * With --tcp-close a connection is saved, or restored, as a socket that has none: its program learns that at its next use.
 *
 * A listening MPTCP socket (Go's default) is one with another protocol number. Connections that nobody has accepted are lost with
 * --skip-in-flight, else refused.
 *
 * Not handled: connected MPTCP; other protocols (refused); UDP contents (datagrams may be lost by nature: a warning says so). */
#define LOG_PREFIX "inet"
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
#include "base/log.h"
#include "files/builder.h"
#include "sockets/inet.h"
#include "sockets/tcp.h"
#include "sockets/tcp_close.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

static bool inet_match(const struct file_info *f)
{
	if (!S_ISSOCK(f->st.st_mode))
		return false;
	int domain = sock_int(f, SOL_SOCKET, SO_DOMAIN), protocol = sock_int(f, SOL_SOCKET, SO_PROTOCOL);
	int type = sock_int(f, SOL_SOCKET, SO_TYPE);
	if (domain != AF_INET && domain != AF_INET6)
		return false;
	return (type == SOCK_STREAM && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP)) ||
	       (type == SOCK_DGRAM && (protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE));
}

/* --- dump --- */

static void put_address(struct dump *d, const union inet_address *a, uint32_t *port, uint32_t **words, size_t *n)
{
	bool v4 = a->any.sa_family == AF_INET;

	*port = ntohs(v4 ? a->v4.sin_port : a->v6.sin6_port);
	*n = v4 ? 1 : 4;
	*words = arena_array(d->arena, uint32_t, 4);
	memcpy(*words, v4 ? (const void *)&a->v4.sin_addr : (const void *)&a->v6.sin6_addr, *n * sizeof **words);
}

static int dump_names(struct dump *d, const struct file_info *f, InetSkEntry *i, union inet_address *own, union inet_address *peer, bool *connected)
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

static int check_listening(const struct dump *d, const struct file_info *f, const struct tcp_info *info, const union inet_address *own)
{
	if (!info->tcpi_unacked)
		return 0;
	if (d->o->skip_in_flight) {
		log_warn(FILE_FMT ": %u connections to %s, which nobody has accepted, are not saved", FILE_ARG(f), info->tcpi_unacked,
			 inet_show(own).text);
		return 0;
	}
	fail_text(ENOTSUP, FILE_FMT ": %u connections to %s wait to be accepted and cannot be saved", FILE_ARG(f), info->tcpi_unacked,
		  inet_show(own).text);
	fail_hint("try again when they are accepted, or give them up (--skip-in-flight)");
	return -ENOTSUP;
}

static int dump_connection(struct dump *d, const struct file_info *f, InetSkEntry *i, const union inet_address *own, union inet_address *peer)
{
	if (d->o->tcp_close) {
		tcp_close_note(d, f->local);
		return 0;
	}
	if (i->proto != IPPROTO_TCP) {
		fail_text(ENOTSUP, FILE_FMT ": connected MPTCP (%s to %s) is not supported", FILE_ARG(f), inet_show(own).text, inet_show(peer).text);
		fail_hint("close the connection before the checkpoint, or let it be closed by the restore (--tcp-close)");
		return -ENOTSUP;
	}
	if (!d->o->tcp_established) {
		fail_text(EINVAL, FILE_FMT ": TCP connection %s to %s", FILE_ARG(f), inet_show(own).text, inet_show(peer).text);
		fail_hint("save it with --tcp-established, or as a closed one with --tcp-close");
		return -EINVAL;
	}
	int r = i->state == TCP_SYN_SENT ? tcp_ask_peer(d, f, i, peer) : 0;
	if (r >= 0) {
		put_address(d, peer, &i->dst_port, &i->dst_addr, &i->n_dst_addr);
		r = tcp_dump_keys(d, f, i);
	}
	return r < 0 ? r : tcp_save(d, f, i, own, peer);
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

static int dump_tcp(struct dump *d, const struct file_info *f, InetSkEntry *i, const union inet_address *own, union inet_address *peer)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof info;

	if (getsockopt(f->local, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return fail(errno, FILE_FMT ": ask for its state (TCP_INFO)", FILE_ARG(f));
	i->state = info.tcpi_state;
	i->backlog = i->state == TCP_LISTEN ? info.tcpi_sacked : 0;
	i->tcp_opts = tcp_options(d, f);
	if (i->state == TCP_LISTEN) {
		int r = check_listening(d, f, &info, own);
		return r < 0 || i->proto != IPPROTO_TCP ? r : tcp_dump_listening_keys(d, f, i);
	}
	return tcp_connected(i->state) ? dump_connection(d, f, i, own, peer) : 0;
}

static int dump_udp(const struct file_info *f, InetSkEntry *i, bool connected)
{
	struct pollfd p = { .fd = f->local, .events = POLLIN | POLLRDHUP };

	i->state = connected ? TCP_ESTABLISHED : TCP_CLOSE;
	if (i->proto == IPPROTO_UDP && sock_int(f, IPPROTO_UDP, UDP_CORK) > 0)
		return fail_text(ENOTSUP, FILE_FMT ": a UDP socket with UDP_CORK on is not supported", FILE_ARG(f));
	if (poll(&p, 1, 0) < 0)
		return fail(errno, FILE_FMT ": ask whether it is shut down", FILE_ARG(f));
	if (p.revents & POLLIN && !(p.revents & POLLRDHUP))
		log_warn(FILE_FMT ": datagrams that nobody has read are not saved (UDP may lose them)", FILE_ARG(f));
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

	int freebind = v6 ? sock_int(f, IPPROTO_IPV6, IPV6_FREEBIND) : sock_int(f, IPPROTO_IP, IP_FREEBIND);
	int pktinfo = v6 ? sock_int(f, IPPROTO_IPV6, IPV6_RECVPKTINFO) : sock_int(f, IPPROTO_IP, IP_PKTINFO);

	o->has_freebind = freebind >= 0;   /* MPTCP has fewer options */
	o->freebind = freebind > 0;
	o->has_pktinfo = pktinfo >= 0;
	o->pktinfo = pktinfo > 0;
	if (tos > 0 || (!v6 && !tos)) {
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
	union inet_address own, peer;
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
	i->has_torpor_external = i->torpor_external = f->external;
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
	inet_options_dump(d, f, i);
	multicast_dump(d, f, i);
	return 0;
}

/* --- restore --- */

static int set_ip_options(struct restore *r, const FileEntry *e, int fd)
{
	const IpOptsEntry *o = e->isk->ip_opts;
	bool v6 = e->isk->family == AF_INET6;
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, ret = 0;

	if (v6 && e->isk->has_v6only)
		ret = sock_set_new(r, e, fd, IPPROTO_IPV6, IPV6_V6ONLY, e->isk->v6only, "IPV6_V6ONLY");
	if (!o)
		return ret;
	if (ret >= 0 && o->has_freebind)
		ret = sock_set_new(r, e, fd, level, v6 ? IPV6_FREEBIND : IP_FREEBIND, o->freebind, "IP_FREEBIND");
	if (ret >= 0 && o->has_pktinfo)
		ret = sock_set_new(r, e, fd, level, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, o->pktinfo, "IP_PKTINFO");
	if (ret >= 0 && o->has_tos)
		ret = sock_set_new(r, e, fd, level, v6 ? IPV6_TCLASS : IP_TOS, (int)o->tos, "IP_TOS");
	if (ret >= 0 && o->has_ttl)
		ret = sock_set_new(r, e, fd, level, v6 ? IPV6_UNICAST_HOPS : IP_TTL, (int)o->ttl, "IP_TTL");
	return ret;
}

static int set_tcp_options(struct restore *r, const FileEntry *e, int fd)
{
	const TcpOptsEntry *o = e->isk->tcp_opts;
	int ret = 0;

	if (!o || e->isk->type != SOCK_STREAM)
		return 0;
	if (o->has_nodelay)
		ret = sock_set_new(r, e, fd, IPPROTO_TCP, TCP_NODELAY, o->nodelay, "TCP_NODELAY");
	if (ret >= 0 && o->has_cork)
		ret = sock_set_new(r, e, fd, IPPROTO_TCP, TCP_CORK, o->cork, "TCP_CORK");
	if (ret >= 0 && o->has_keepcnt)
		ret = sock_set_new(r, e, fd, IPPROTO_TCP, TCP_KEEPCNT, (int)o->keepcnt, "TCP_KEEPCNT");
	if (ret >= 0 && o->has_keepidle)
		ret = sock_set_new(r, e, fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)o->keepidle, "TCP_KEEPIDLE");
	if (ret >= 0 && o->has_keepintvl)
		ret = sock_set_new(r, e, fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)o->keepintvl, "TCP_KEEPINTVL");
	return ret;
}

static int bind_socket(struct restore *r, const FileEntry *e, int fd)
{
	const InetSkEntry *i = e->isk;
	union inet_address a;
	int ret = inet_own_address(r, e, &a);

	if (ret < 0 || !i->src_port)
		return ret;
	if (i->type == SOCK_STREAM)
		ret = sock_set_int(e, fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
	if (ret >= 0 && bind(fd, &a.any, inet_size(&a)) < 0) {
		ret = fail(errno, ENTRY_FMT ": bind it to %s", ENTRY_ARG(e), inet_show(&a).text);
		if (ret == -EADDRNOTAVAIL)
			fail_hint("the restored network has no such address: give it to a device, or map it to another (--map-address)");
		if (ret == -EADDRINUSE)
			fail_hint("another program uses the port: end it first");
	}
	return ret;
}

static int enter_state(struct restore *r, const FileEntry *e, int fd)
{
	const InetSkEntry *i = e->isk;
	union inet_address a;

	if (i->type == SOCK_STREAM && i->state == TCP_LISTEN) {
		if (listen(fd, (int)i->backlog) < 0)
			return fail(errno, ENTRY_FMT ": listen on port %u", ENTRY_ARG(e), i->src_port);
		return 0;
	}
	if (i->type != SOCK_DGRAM || i->state != TCP_ESTABLISHED)
		return 0;
	int ret = inet_peer_address(r, e, &a);
	if (ret >= 0 && connect(fd, &a.any, inet_size(&a)) < 0)
		ret = fail(errno, ENTRY_FMT ": connect it to %s", ENTRY_ARG(e), inet_show(&a).text);
	if (ret >= 0 && i->has_shutdown && i->shutdown && shutdown(fd, (int)i->shutdown - 1) < 0)
		ret = fail(errno, ENTRY_FMT ": shut it down", ENTRY_ARG(e));
	return ret;
}

static bool is_connection(const InetSkEntry *i)
{
	return i->type == SOCK_STREAM && tcp_connected(i->state);
}

static int check_entry(const FileEntry *e)
{
	const InetSkEntry *i = e->isk;

	if (i->family != AF_INET && i->family != AF_INET6)
		return fail_text(EBADMSG, ENTRY_FMT ": address family %u", ENTRY_ARG(e), i->family);
	if (i->type == SOCK_STREAM && i->proto == IPPROTO_TCP && i->state <= TCP_CLOSING && i->state != TCP_SYN_RECV)
		return 0;
	if (i->type == SOCK_STREAM && i->proto == IPPROTO_MPTCP && !tcp_connected(i->state))
		return 0;
	if (i->type == SOCK_DGRAM && (i->proto == IPPROTO_UDP || i->proto == IPPROTO_UDPLITE))
		return 0;
	return fail_text(ENOTSUP, ENTRY_FMT ": type %u, protocol %u, state %u is not supported", ENTRY_ARG(e), i->type, i->proto, i->state);
}

/* Options that a binding may need come first (and those of IP before the priority that they change), those that stand in the way of contents
 * last. */
static int set_up(struct restore *r, const FileEntry *e, int fd, bool connection)
{
	const InetSkEntry *i = e->isk;
	int ret = set_ip_options(r, e, fd);

	if (ret >= 0)
		ret = sock_opts_restore(r, e, fd, i->opts);
	if (connection) {
		if (ret >= 0)
			ret = set_tcp_options(r, e, fd);
		if (ret >= 0)
			ret = tcp_rebuild(r, e, fd);
		if (ret >= 0)
			ret = tcp_restore_keys(r, e, fd);
		return ret < 0 ? ret : inet_options_restore(r, e, fd);
	}
	if (ret >= 0)
		ret = inet_options_restore(r, e, fd);
	if (ret >= 0)
		multicast_restore(e, fd);
	if (ret >= 0 && !is_connection(i))   /* --tcp-close: its address need not be there */
		ret = bind_socket(r, e, fd);
	if (ret >= 0 && !is_connection(i))
		ret = tcp_restore_keys(r, e, fd);
	if (ret >= 0)
		ret = enter_state(r, e, fd);
	if (ret >= 0 && i->opts->has_reuseaddr)   /* listen() asks for the port once more */
		ret = sock_set_int(e, fd, SOL_SOCKET, SO_REUSEADDR, i->opts->reuseaddr, "SO_REUSEADDR");
	if (ret >= 0)
		ret = set_tcp_options(r, e, fd);
	return ret < 0 ? ret : sock_buffers_restore(e, fd, i->opts);
}

static int resume_all(struct restore *r, void *data, size_t size)
{
	(void)data;
	(void)size;
	return tcp_resume(r);
}

int inet_resume(struct restore *r)
{
	bool any = false;

	for (size_t i = 0; i < r->tree->files.n && !any && !r->o->tcp_close; i++) {
		const FileEntry *e = r->tree->files.data[i];
		any = e->type == FD_TYPES__INETSK && is_connection(e->isk);
	}
	return any ? builder_call(r, resume_all, NULL, 0) : 0;
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
	ret = i->torpor_external ? sock_not_given(i->ino) : check_entry(e);
	if (ret < 0)
		return ret;
	fd = socket((int)i->family, (int)i->type | SOCK_CLOEXEC, (int)i->proto);
	if (fd < 0)
		return fail(errno, ENTRY_FMT ": make it", ENTRY_ARG(e));
	ret = set_up(r, e, fd, is_connection(i) && !r->o->tcp_close);
	if (ret >= 0)
		ret = file_set_flags(e, fd, i->flags);
	return ret < 0 ? ret : take_fd(&fd);
}

const struct file_kind inet_kind = {
	.name = "internet socket",
	.type = FD_TYPES__INETSK,
	.match = inet_match,
	.dump = inet_dump,
	.open = inet_open,
};
