/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of internet sockets: in messages, in the images, mapped to others (--map-address), and whether a restore has them.
 *
 * A local address is looked for before any task is made: by a question to the routing tables of the network namespace that the tree will be
 * in (RTM_GETROUTE), which know local ones by their type. Not asked for: the loopback's own (the device may come up later), those of a
 * link (their device is looked for at bind), and what a program may bind without having it (IP_FREEBIND). If the namespace is not there
 * yet, bind() tells. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/netlink.h"
#include "sockets/inet.h"
#include "sockets/tcp.h"

struct inet_pair {
	union inet_address from, to;
};
struct inet_map {
	struct inet_pair *data;
	size_t n, cap;
};

struct inet_text inet_show(const union inet_address *a)
{
	struct inet_text t;
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

socklen_t inet_size(const union inet_address *a)
{
	return a->any.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6;
}

static bool mapped_v4(const union inet_address *a)
{
	return a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr);
}

/* The bytes of an IPv4 address, also of one in IPv6's clothes; NULL: it is another. */
static uint8_t *v4_bytes(union inet_address *a)
{
	return a->any.sa_family == AF_INET ? (uint8_t *)&a->v4.sin_addr : mapped_v4(a) ? &a->v6.sin6_addr.s6_addr[12] : NULL;
}

/* --- the map --- */

static int parse_host(const char *text, union inet_address *a)
{
	*a = (union inet_address){ .any.sa_family = AF_INET };
	if (inet_pton(AF_INET, text, &a->v4.sin_addr) == 1)
		return 0;
	a->any.sa_family = AF_INET6;
	return inet_pton(AF_INET6, text, &a->v6.sin6_addr) == 1 ? 0 : -EINVAL;
}

static int read_map(struct restore *r)
{
	r->address_map = arena_new(r->arena, struct inet_map);
	for (const char *const *m = r->o->map_address; m && *m; m++) {
		char *text = arena_str(r->arena, *m), *mark = strchr(text, '=');
		struct inet_pair *p = arena_new(r->arena, struct inet_pair);
		if (mark)
			*mark = 0;
		if (!mark || parse_host(text, &p->from) < 0 || parse_host(mark + 1, &p->to) < 0 ||
		    p->from.any.sa_family != p->to.any.sa_family)
			return fail_text(EINVAL, "--map-address %s: give two addresses of one family, OLD=NEW", *m);
		struct inet_pair *all = arena_array(r->arena, struct inet_pair, r->address_map->n + 1);
		if (r->address_map->n)
			memcpy(all, r->address_map->data, r->address_map->n * sizeof *all);
		all[r->address_map->n++] = *p;
		r->address_map->data = all;
	}
	return 0;
}

void inet_map(const struct restore *r, union inet_address *a)
{
	const struct inet_map *m = r->address_map;

	for (size_t i = 0; m && i < m->n; i++) {
		struct inet_pair *p = &m->data[i];
		uint8_t *v4 = v4_bytes(a), *from = v4_bytes(&p->from), *to = v4_bytes(&p->to);
		if (v4 && from && to && !memcmp(v4, from, 4)) {
			memcpy(v4, to, 4);
			return;
		}
		if (!v4 && !from && !memcmp(&a->v6.sin6_addr, &p->from.v6.sin6_addr, 16)) {
			a->v6.sin6_addr = p->to.v6.sin6_addr;
			return;
		}
	}
}

/* --- of an entry --- */

static int get_address(struct restore *r, const FileEntry *e, uint32_t port, const uint32_t *words, size_t n, union inet_address *a)
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
	inet_map(r, a);
	return 0;
}

static int set_scope(const FileEntry *e, union inet_address *a)
{
	const InetSkEntry *i = e->isk;

	if (i->family == AF_INET || !i->ifname || !i->ifname[0])
		return 0;
	a->v6.sin6_scope_id = if_nametoindex(i->ifname);
	return a->v6.sin6_scope_id ? 0 : fail(errno, ENTRY_FMT ": the network device %s", ENTRY_ARG(e), i->ifname);
}

int inet_own_address(struct restore *r, const FileEntry *e, union inet_address *a)
{
	int ret = get_address(r, e, e->isk->src_port, e->isk->src_addr, e->isk->n_src_addr, a);

	return ret < 0 ? ret : set_scope(e, a);
}

int inet_peer_address(struct restore *r, const FileEntry *e, union inet_address *a)
{
	int ret = get_address(r, e, e->isk->dst_port, e->isk->dst_addr, e->isk->n_dst_addr, a);

	return ret < 0 ? ret : set_scope(e, a);
}

/* --- is it there? --- */

struct asked {
	struct asked *next;
	union inet_address a;
};

struct asking {
	struct netlink nl;
	bool open, ready;                /* ready: the network namespace is there */
	struct asked *known;
};

static int see_route(const struct nlmsghdr *m, void *arg)
{
	const struct rtmsg *route = netlink_header(m, sizeof *route);

	if (!route)
		return -EBADMSG;
	*(bool *)arg = route->rtm_type == RTN_LOCAL || route->rtm_type == RTN_BROADCAST || route->rtm_type == RTN_MULTICAST ||
		       route->rtm_type == RTN_ANYCAST;
	return 0;
}

static int open_routes(struct restore *r, struct asking *q)
{
	char path[64] = "/proc/self/ns/net";

	if (r->o->husk)
		snprintf(path, sizeof path, "/proc/%d/ns/net", r->o->husk);
	autoclose int netns = open(path, O_RDONLY | O_CLOEXEC);
	int ret = netns < 0 ? -errno : netlink_open(&q->nl, NETLINK_ROUTE, r->o->husk ? netns : -1);
	q->open = ret >= 0;
	return ret < 0 ? fail(-ret, "ask for the addresses of the network namespace %s", path) : 0;
}

static bool not_to_ask(const FileEntry *e, union inet_address *a)
{
	const uint8_t *v4 = v4_bytes(a);
	static const uint8_t any[4];

	if (e->isk->ip_opts && e->isk->ip_opts->freebind)
		return true;
	if (v4)
		return v4[0] == 127 || !memcmp(v4, any, 4);
	return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr) || IN6_IS_ADDR_LINKLOCAL(&a->v6.sin6_addr);
}

static bool was_asked(const struct asking *q, const union inet_address *a)
{
	const struct asked *k = q->known;

	while (k && (k->a.any.sa_family != a->any.sa_family || memcmp(&k->a.any, &a->any, inet_size(a)) != 0))
		k = k->next;
	return k != NULL;
}

static int missing(const FileEntry *e, union inet_address *a)
{
	const InetSkEntry *i = e->isk;
	char host[INET6_ADDRSTRLEN] = "?";
	const uint8_t *v4 = v4_bytes(a);

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)v4 : (const void *)&a->v6.sin6_addr, host, sizeof host);
	fail_text(EADDRNOTAVAIL, ENTRY_FMT ": the network here does not have the address %s, port %u of which it had", ENTRY_ARG(e), host, i->src_port);
	fail_hint("give it to a network device before the restore, or map it to one that is here (--map-address %s=NEW)%s", host,
		  i->proto == IPPROTO_TCP && tcp_connected(i->state) ? ", or restore connections as closed (--tcp-close)" : "");
	return -EADDRNOTAVAIL;
}

static int check_address(struct restore *r, struct asking *q, const FileEntry *e)
{
	union inet_address a;
	bool local = false;
	int ret = get_address(r, e, 0, e->isk->src_addr, e->isk->n_src_addr, &a);

	if (ret < 0 || !e->isk->src_port || not_to_ask(e, &a) || was_asked(q, &a))
		return ret;
	if (!q->open)
		ret = open_routes(r, q);
	if (ret < 0)
		return ret;
	const uint8_t *v4 = v4_bytes(&a);
	const struct rtmsg route = { .rtm_family = v4 ? AF_INET : AF_INET6, .rtm_dst_len = v4 ? 32 : 128 };
	netlink_begin(&q->nl, RTM_GETROUTE, 0, &route, sizeof route);
	netlink_put(&q->nl, RTA_DST, v4 ? (const void *)v4 : (const void *)&a.v6.sin6_addr, v4 ? 4 : 16);
	netlink_request(&q->nl, see_route, &local);   /* no route: not local */
	if (!local)
		return missing(e, &a);
	struct asked *k = arena_new(r->arena, struct asked);
	*k = (struct asked){ q->known, a };
	q->known = k;
	return 0;
}

/* --- */

static int check_wanted(struct restore *r, const FileEntry *e)
{
	union inet_address own, peer;

	if (e->isk->proto != IPPROTO_TCP || !tcp_connected(e->isk->state) || r->o->tcp_established || r->o->tcp_close)
		return 0;
	int ret = get_address(r, e, e->isk->src_port, e->isk->src_addr, e->isk->n_src_addr, &own);
	if (ret >= 0)
		ret = get_address(r, e, e->isk->dst_port, e->isk->dst_addr, e->isk->n_dst_addr, &peer);
	if (ret < 0)
		return ret;
	fail_text(EINVAL, ENTRY_FMT ": it is a TCP connection, %s to %s", ENTRY_ARG(e), inet_show(&own).text, inet_show(&peer).text);
	fail_hint("restore it with --tcp-established, or as a closed one with --tcp-close");
	return -EINVAL;
}

static bool given(struct restore *r, const FileEntry *e)
{
	char key[32];

	snprintf(key, sizeof key, "socket:[%u]", e->isk->ino);
	autoclose int fd = file_inherited(r, key);
	return fd >= 0;
}

static int check_all(struct restore *r, struct asking *q)
{
	int ret = 0;

	for (size_t i = 0; i < r->tree->files.n && ret >= 0; i++) {
		const FileEntry *e = r->tree->files.data[i];
		if (e->type != FD_TYPES__INETSK || given(r, e))
			continue;
		ret = check_wanted(r, e);
		bool closed = r->o->tcp_close && e->isk->proto == IPPROTO_TCP && tcp_connected(e->isk->state);
		if (ret >= 0 && !closed && q->ready)
			ret = check_address(r, q, e);
	}
	return ret;
}

int inet_check(struct restore *r, bool ready)
{
	struct asking q = { .nl = NETLINK_CLOSED, .ready = ready };
	int ret = read_map(r);

	if (ret >= 0 && r->tcp_closed && !r->o->tcp_close)
		ret = fail_text(EINVAL, "%s: TCP connections were not saved (--tcp-close): restore with --tcp-close", r->images->path);
	if (ret >= 0)
		ret = check_all(r, &q);
	if (q.open)
		netlink_close(&q.nl);
	return ret;
}
