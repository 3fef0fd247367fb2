/* SPDX-License-Identifier: Apache-2.0 */
/* Multicast groups that a datagram socket has joined. The kernel does not list them by socket; but it lists the groups of each network device
 * (/proc/PID/net/igmp and igmp6), and tells a socket's filter for a group and a device that it is asked about (MCAST_MSFILTER): so each
 * group there is tried. CRIU's format has no place for them; they are in a message of torpor's own, with the device's number, which
 * a network namespace's restore keeps, and its name, by which it is found elsewhere.
 *
 * A group that cannot be joined again is no failure: the restore says so in its log. */
#define LOG_PREFIX "inet"
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/log.h"
#include "base/proc.h"
#include "sockets/tcp.h"

#define SOURCES_MAX 64

struct candidate {
	const struct file_info *f;
	InetSkEntry *i;
	struct dump *d;
	unsigned device;
	char name[IF_NAMESIZE];
	union inet_address group;
};

static int level_of(int family)
{
	return family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
}

static void put_bytes(struct dump *d, const struct sockaddr *a, ProtobufCBinaryData *out)
{
	const union inet_address *any = (const union inet_address *)a;
	bool v6 = a->sa_family == AF_INET6;

	out->len = v6 ? 16 : 4;
	out->data = arena_dup(d->arena, v6 ? (const void *)&any->v6.sin6_addr : (const void *)&any->v4.sin_addr, out->len);
}

/* Whether the socket is in the group there. */
static void try_group(const struct candidate *c)
{
	_Alignas(struct group_filter) char room[GROUP_FILTER_SIZE(SOURCES_MAX)] = "";
	struct group_filter *g = (struct group_filter *)room;
	socklen_t size = sizeof room;

	g->gf_interface = c->device;
	memcpy(&g->gf_group, &c->group, sizeof c->group);
	g->gf_numsrc = SOURCES_MAX;
	if (getsockopt(c->f->local, level_of(c->group.any.sa_family), MCAST_MSFILTER, g, &size) < 0)
		return;
	TorporGroup *e = ARENA_MESSAGE(c->d->arena, TorporGroup, TORPOR_GROUP__INIT);
	e->device = c->device;
	e->name = arena_str(c->d->arena, c->name);
	e->exclude = g->gf_fmode == MCAST_EXCLUDE;
	put_bytes(c->d, &c->group.any, &e->address);
	if (g->gf_numsrc > SOURCES_MAX)
		log_warn(FILE_FMT ": of %u sources of a multicast group %u are kept", FILE_ARG(c->f), g->gf_numsrc, SOURCES_MAX);
	e->n_sources = g->gf_numsrc < SOURCES_MAX ? g->gf_numsrc : SOURCES_MAX;
	e->sources = arena_array(c->d->arena, ProtobufCBinaryData, e->n_sources + 1);
	for (size_t k = 0; k < e->n_sources; k++)
		put_bytes(c->d, (const struct sockaddr *)&g->gf_slist[k], &e->sources[k]);
	TorporGroup **all = arena_array(c->d->arena, TorporGroup *, c->i->n_torpor_groups + 1);
	if (c->i->n_torpor_groups)
		memcpy(all, c->i->torpor_groups, c->i->n_torpor_groups * sizeof *all);
	all[c->i->n_torpor_groups++] = e;
	c->i->torpor_groups = all;
}

/* A device's line, then its groups, each with a tab before it. */
static void read_v4(struct candidate *c, const char *text)
{
	unsigned group;

	c->group.v4.sin_family = AF_INET;
	for (const char *at = text; at && *at; at = strchr(at, '\n'), at += at != NULL) {
		if (*at != '\t') {
			if (sscanf(at, "%u %15[^: \t]", &c->device, c->name) != 2)
				c->device = 0;
		} else if (c->device && sscanf(at, " %8x", &group) == 1) {
			c->group.v4.sin_addr.s_addr = group;   /* as it is in memory */
			try_group(c);
		}
	}
}

static void read_v6(struct candidate *c, const char *text)
{
	char digits[33];

	memset(&c->group, 0, sizeof c->group);
	c->group.v6.sin6_family = AF_INET6;
	for (const char *at = text; at && *at; at = strchr(at, '\n'), at += at != NULL) {
		if (sscanf(at, "%u %15s %32[0-9a-f]", &c->device, c->name, digits) != 3 || strlen(digits) != 32)
			continue;
		for (int k = 0; k < 16; k++)
			sscanf(digits + 2 * k, "%2hhx", &c->group.v6.sin6_addr.s6_addr[k]);
		try_group(c);
	}
}

void multicast_dump(struct dump *d, const struct file_info *f, InetSkEntry *i)
{
	struct candidate c = { .f = f, .i = i, .d = d };
	autofree char *v4 = NULL, *v6 = NULL;

	if (i->type != SOCK_DGRAM)
		return;
	if (proc_read(f->task->host_pid, "net/igmp", &v4) > 0)
		read_v4(&c, v4);
	if (i->family == AF_INET6 && proc_read(f->task->host_pid, "net/igmp6", &v6) > 0)
		read_v6(&c, v6);
}

/* --- restore --- */

static bool get_address(const ProtobufCBinaryData *b, struct sockaddr_storage *out)
{
	union inet_address *a = (union inet_address *)out;

	memset(out, 0, sizeof *out);
	if (b->len == 4) {
		a->v4.sin_family = AF_INET;
		memcpy(&a->v4.sin_addr, b->data, 4);
	} else if (b->len == 16) {
		a->v6.sin6_family = AF_INET6;
		memcpy(&a->v6.sin6_addr, b->data, 16);
	}
	return out->ss_family != 0;
}

static int join(int fd, const TorporGroup *e)
{
	_Alignas(struct group_filter) char room[GROUP_FILTER_SIZE(SOURCES_MAX)] = "";
	struct group_filter *g = (struct group_filter *)room;
	unsigned named = e->name ? if_nametoindex(e->name) : 0;
	struct group_req q = { .gr_interface = named ? named : e->device };

	if (!get_address(&e->address, &q.gr_group) || e->n_sources > SOURCES_MAX)
		return -EBADMSG;
	int level = level_of(q.gr_group.ss_family);
	if (setsockopt(fd, level, MCAST_JOIN_GROUP, &q, sizeof q) < 0)
		return -errno;
	if (e->exclude && !e->n_sources)
		return 0;
	g->gf_interface = q.gr_interface;
	g->gf_group = q.gr_group;
	g->gf_fmode = e->exclude ? MCAST_EXCLUDE : MCAST_INCLUDE;
	g->gf_numsrc = (uint32_t)e->n_sources;
	for (size_t k = 0; k < e->n_sources; k++)
		if (!get_address(&e->sources[k], &g->gf_slist[k]))
			return -EBADMSG;
	return setsockopt(fd, level, MCAST_MSFILTER, g, GROUP_FILTER_SIZE(e->n_sources)) < 0 ? -errno : 0;
}

void multicast_restore(const FileEntry *e, int fd)
{
	char text[INET6_ADDRSTRLEN] = "?";

	for (size_t i = 0; i < e->isk->n_torpor_groups; i++) {
		const TorporGroup *g = e->isk->torpor_groups[i];
		int r = join(fd, g);
		if (g->address.len == 4 || g->address.len == 16)
			inet_ntop(g->address.len == 16 ? AF_INET6 : AF_INET, g->address.data, text, sizeof text);
		if (r < 0)
			log_warn(ENTRY_FMT ": it is not in the multicast group %s of device %s (%u) any more: %s", ENTRY_ARG(e), text, g->name ? g->name : "?",
				 g->device, strerror(-r));
	}
}
