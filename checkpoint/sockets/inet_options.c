/* SPDX-License-Identifier: Apache-2.0 */
/* Options of internet sockets that CRIU's messages have no place for: numbers, as (level, name, value) in messages of torpor's own, which
 * others skip. Those are stored that differ from what the kernel gives to a new socket, and only what differs is set at restore.
 *
 * The order is that in which they can be set: a binding that needs an option comes after all of these. */
#define LOG_PREFIX "inet"
#include <errno.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/log.h"
#include "sockets/tcp.h"

enum family { ANY, V4, V6, V4_PACKETS, V6_PACKETS, TCP, TCP_SINGLE };   /* the last: before it is connected */

/* Names that older headers lack are given by number, with the name beside. */
static const struct row {
	enum family of;
	int level, option, usual;
	const char *name;
} rows[] = {
	{ V4, IPPROTO_IP, IP_TRANSPARENT, 0, "IP_TRANSPARENT" },
	{ V4, IPPROTO_IP, 24, 0, "IP_BIND_ADDRESS_NO_PORT" },
	{ V4, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT, "IP_MTU_DISCOVER" },
	{ V4, IPPROTO_IP, IP_RECVERR, 0, "IP_RECVERR" },
	{ V4, IPPROTO_IP, IP_RECVTTL, 0, "IP_RECVTTL" },
	{ V4, IPPROTO_IP, IP_RECVTOS, 0, "IP_RECVTOS" },
	{ V4, IPPROTO_IP, IP_RECVORIGDSTADDR, 0, "IP_RECVORIGDSTADDR" },
	{ V4, IPPROTO_IP, IP_MINTTL, 0, "IP_MINTTL" },
	{ V4, IPPROTO_IP, 51, 0, "IP_LOCAL_PORT_RANGE" },
	{ V4_PACKETS, IPPROTO_IP, IP_MULTICAST_TTL, 1, "IP_MULTICAST_TTL" },
	{ V4_PACKETS, IPPROTO_IP, IP_MULTICAST_LOOP, 1, "IP_MULTICAST_LOOP" },
	{ V4_PACKETS, IPPROTO_IP, IP_MULTICAST_ALL, 1, "IP_MULTICAST_ALL" },
	{ V6, IPPROTO_IPV6, 75, 0, "IPV6_TRANSPARENT" },
	{ V6, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT, "IPV6_MTU_DISCOVER" },
	{ V6, IPPROTO_IPV6, IPV6_RECVERR, 0, "IPV6_RECVERR" },
	{ V6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0, "IPV6_RECVHOPLIMIT" },
	{ V6, IPPROTO_IPV6, IPV6_RECVTCLASS, 0, "IPV6_RECVTCLASS" },
	{ V6, IPPROTO_IPV6, IPV6_DONTFRAG, 0, "IPV6_DONTFRAG" },
	{ V6, IPPROTO_IPV6, 73, 0, "IPV6_MINHOPCOUNT" },
	{ V6_PACKETS, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1, "IPV6_MULTICAST_HOPS" },
	{ V6_PACKETS, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1, "IPV6_MULTICAST_LOOP" },
	{ TCP, IPPROTO_TCP, TCP_SYNCNT, 0, "TCP_SYNCNT" },
	{ TCP, IPPROTO_TCP, TCP_LINGER2, 0, "TCP_LINGER2" },
	{ TCP, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, "TCP_DEFER_ACCEPT" },
	{ TCP, IPPROTO_TCP, TCP_WINDOW_CLAMP, 0, "TCP_WINDOW_CLAMP" },
	{ TCP, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 0, "TCP_THIN_LINEAR_TIMEOUTS" },
	{ TCP, IPPROTO_TCP, TCP_USER_TIMEOUT, 0, "TCP_USER_TIMEOUT" },
	{ TCP_SINGLE, IPPROTO_TCP, TCP_FASTOPEN, 0, "TCP_FASTOPEN" },
	{ TCP, IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1, "TCP_NOTSENT_LOWAT" },
	{ TCP, IPPROTO_TCP, TCP_SAVE_SYN, 0, "TCP_SAVE_SYN" },
	{ TCP_SINGLE, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0, "TCP_FASTOPEN_CONNECT" },
	{ TCP, IPPROTO_TCP, 36, 0, "TCP_INQ" },
	{ ANY, SOL_SOCKET, SO_ZEROCOPY, 0, "SO_ZEROCOPY" },
	{ ANY, SOL_SOCKET, SO_RXQ_OVFL, 0, "SO_RXQ_OVFL" },
	{ ANY, SOL_SOCKET, SO_TIMESTAMP, 0, "SO_TIMESTAMP" },
	{ ANY, SOL_SOCKET, SO_TIMESTAMPNS, 0, "SO_TIMESTAMPNS" },
	{ ANY, SOL_SOCKET, SO_BUSY_POLL, 0, "SO_BUSY_POLL" },
};
#define ROWS (sizeof rows / sizeof *rows)

static bool concerns(const struct row *row, const InetSkEntry *i)
{
	if (row->of == TCP || row->of == TCP_SINGLE)
		return i->type == SOCK_STREAM && (row->of == TCP || !tcp_connected(i->state));
	if ((row->of == V4_PACKETS || row->of == V6_PACKETS) && i->type == SOCK_STREAM)
		return false;
	return (row->of != V6 && row->of != V6_PACKETS) || i->family == AF_INET6;
}

static const struct row *find(uint32_t level, uint32_t name)
{
	for (size_t i = 0; i < ROWS; i++)
		if ((uint32_t)rows[i].level == level && (uint32_t)rows[i].option == name)
			return &rows[i];
	return NULL;
}

void inet_options_dump(struct dump *d, const struct file_info *f, InetSkEntry *i)
{
	char congestion[64] = "";
	socklen_t size = sizeof congestion - 1;

	i->torpor_options = arena_array(d->arena, TorporSockopt *, ROWS);
	for (size_t k = 0; k < ROWS; k++) {
		int value = 0;
		socklen_t n = sizeof value;
		if (!concerns(&rows[k], i) || getsockopt(f->local, rows[k].level, rows[k].option, &value, &n) < 0 || value == rows[k].usual)
			continue;
		TorporSockopt *o = ARENA_MESSAGE(d->arena, TorporSockopt, TORPOR_SOCKOPT__INIT);
		o->level = (uint32_t)rows[k].level;
		o->name = (uint32_t)rows[k].option;
		o->value = value;
		i->torpor_options[i->n_torpor_options++] = o;
	}
	if (i->type == SOCK_STREAM && getsockopt(f->local, IPPROTO_TCP, TCP_CONGESTION, congestion, &size) == 0 && congestion[0])
		i->torpor_congestion = arena_str(d->arena, congestion);
}

static int set_congestion(const FileEntry *e, int fd, const char *name)
{
	char now[64] = "";
	socklen_t size = sizeof now - 1;

	if (!name || (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, now, &size) == 0 && !strcmp(now, name)))
		return 0;
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) < 0)
		log_warn(ENTRY_FMT ": congestion control %s: %s; it goes on with %s", ENTRY_ARG(e), name, strerror(errno), now);
	return 0;
}

int inet_options_restore(struct restore *restore, const FileEntry *e, int fd)
{
	const InetSkEntry *i = e->isk;
	int r = 0;

	for (size_t k = 0; k < i->n_torpor_options && r >= 0; k++) {
		const TorporSockopt *o = i->torpor_options[k];
		const struct row *row = find(o->level, o->name);
		if (!row)
			return fail_text(ENOTSUP, ENTRY_FMT ": option %u of level %u is not known", ENTRY_ARG(e), o->name, o->level);
		if (row->option == TCP_WINDOW_CLAMP && row->level == IPPROTO_TCP)   /* which a connection has as soon as it is one */
			r = sock_set_int(e, fd, row->level, row->option, o->value, row->name);
		else
			r = sock_set_new(restore, e, fd, row->level, row->option, o->value, row->name);
	}
	return r < 0 ? r : set_congestion(e, fd, i->torpor_congestion);
}
