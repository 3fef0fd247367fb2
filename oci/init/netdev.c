/* SPDX-License-Identifier: Apache-2.0 */
/* linux.netDevices: devices of the host that become the container's.
 *
 * The runtime moves them, with the host's privileges, while init waits between making its network namespace and setting kernel parameters
 * (which may be those of the device). What goes along by itself: index (unless it is taken there), MTU, hardware address. A move takes
 * a device down and its addresses away: those of global scope that do not expire are noted before and added afterwards, and the device is
 * brought up. Routes and neighbours are not kept, as the specification has it.
 *
 * After an error all devices go back under their own names. At the container's end the kernel returns physical ones to the host's first
 * network namespace, and removes virtual ones with the namespace. */
#define LOG_PREFIX "netdev"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/netlink.h"
#include "base/str.h"
#include "init/internal.h"

struct address {
	struct ifaddrmsg head;
	unsigned char local[16], peer[16], broadcast[4];
	size_t size;
	bool has_broadcast;
};

struct side {
	struct netlink nl;
	int netns;
	const char *what;
};

struct addresses {
	unsigned index;
	ARRAY(struct address) list;
};

static int note_address(const struct nlmsghdr *m, void *arg)
{
	struct addresses *all = arg;
	const struct ifaddrmsg *head = netlink_header(m, sizeof *head);
	const struct nlattr *a[IFA_MAX + 1];
	uint32_t flags;

	if (!head || netlink_attributes(m, sizeof *head, a, IFA_MAX + 1) < 0)
		return -EBADMSG;
	flags = head->ifa_flags;
	netlink_get_u32(a[IFA_FLAGS], &flags);
	size_t size = head->ifa_family == AF_INET ? 4 : 16;
	if (head->ifa_index != all->index || head->ifa_scope != RT_SCOPE_UNIVERSE || !(flags & IFA_F_PERMANENT))
		return 0;
	struct address one = { .head = *head, .size = size };
	one.head.ifa_flags = 0;
	if (!netlink_get(a[IFA_LOCAL], one.local, size) && !netlink_get(a[IFA_ADDRESS], one.local, size))
		return 0;
	if (!netlink_get(a[IFA_ADDRESS], one.peer, size))
		memcpy(one.peer, one.local, size);
	one.has_broadcast = size == 4 && netlink_get(a[IFA_BROADCAST], one.broadcast, 4);
	array_push(&all->list) = one;
	return 0;
}

static int list_addresses(struct netlink *nl, struct addresses *all)
{
	struct ifaddrmsg any = { .ifa_family = AF_UNSPEC };
	int r;

	do {
		all->list.n = 0;
		netlink_begin(nl, RTM_GETADDR, 0, &any, sizeof any);
		r = netlink_dump(nl, note_address, all);
	} while (r == -EINTR);
	return r;
}

static int add_address(struct netlink *nl, const struct address *a, unsigned index)
{
	struct ifaddrmsg head = a->head;

	head.ifa_index = index;
	netlink_begin(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof head);
	netlink_put(nl, IFA_LOCAL, a->local, a->size);
	netlink_put(nl, IFA_ADDRESS, a->peer, a->size);
	if (a->has_broadcast)
		netlink_put(nl, IFA_BROADCAST, a->broadcast, 4);
	return netlink_request(nl, NULL, NULL);
}

struct found {
	const char *name;
	unsigned index;
};

static int match_name(const struct nlmsghdr *m, void *arg)
{
	struct found *f = arg;
	const struct ifinfomsg *info = netlink_header(m, sizeof *info);
	const struct nlattr *a[IFLA_MAX + 1];

	if (!info || netlink_attributes(m, sizeof *info, a, IFLA_MAX + 1) < 0)
		return -EBADMSG;
	const char *name = netlink_get_string(a[IFLA_IFNAME]);
	if (name && !strcmp(name, f->name))
		f->index = (unsigned)info->ifi_index;
	return 0;
}

/* The index of a device by name; 0: there is none. */
static unsigned find(struct netlink *nl, const char *name)
{
	struct found f = { .name = name };
	struct ifinfomsg any = { .ifi_family = AF_UNSPEC };
	int r;

	do {
		netlink_begin(nl, RTM_GETLINK, 0, &any, sizeof any);
		r = netlink_dump(nl, match_name, &f);
	} while (r == -EINTR);
	return r < 0 ? 0 : f.index;
}

static int push(struct netlink *nl, unsigned index, int netns, const char *name)
{
	struct ifinfomsg link = { .ifi_index = (int)index };

	netlink_begin(nl, RTM_NEWLINK, 0, &link, sizeof link);
	netlink_put_u32(nl, IFLA_NET_NS_FD, (uint32_t)netns);
	netlink_put_string(nl, IFLA_IFNAME, name);
	return netlink_request(nl, NULL, NULL);
}

static int bring_up(struct netlink *nl, unsigned index)
{
	struct ifinfomsg link = { .ifi_index = (int)index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };

	netlink_begin(nl, RTM_NEWLINK, 0, &link, sizeof link);
	return netlink_request(nl, NULL, NULL);
}

static int move(struct side *from, struct side *to, const char *name, const char *new_name)
{
	struct addresses all = { .index = find(&from->nl, name) };
	int r;

	if (!all.index)
		return fail_text(ENODEV, "linux.netDevices: there is no network device %s in %s network namespace", name, from->what);
	r = list_addresses(&from->nl, &all);
	if (r >= 0 && (r = push(&from->nl, all.index, to->netns, new_name)) < 0)
		r = fail(-r, "linux.netDevices: move %s to %s network namespace as %s%s%s", name, to->what, new_name, *from->nl.reason ? ": " : "",
			from->nl.reason);
	unsigned index = r < 0 ? 0 : find(&to->nl, new_name);
	for (size_t i = 0; r >= 0 && i < all.list.n; i++) {
		r = add_address(&to->nl, &all.list.data[i], index);
		if (r < 0)
			r = fail(-r, "linux.netDevices: give %s its address number %zu again", new_name, i + 1);
	}
	array_free(&all.list);
	if (r < 0)
		return r;
	r = bring_up(&to->nl, index);
	return r < 0 ? fail(-r, "linux.netDevices: bring %s up", new_name) : 0;
}

static int open_side(struct side *s, const char *path, const char *what)
{
	s->what = what;
	s->netns = open(path, O_RDONLY | O_CLOEXEC);
	int r = s->netns < 0 ? -errno : netlink_open(&s->nl, NETLINK_ROUTE, s->netns);
	return r < 0 ? fail(-r, "linux.netDevices: open %s network namespace", what) : 0;
}

static void close_side(struct side *s)
{
	netlink_close(&s->nl);
	fd_close(&s->netns);
}

static const char *name_inside(const struct spec_net_device *d)
{
	return d->name && *d->name ? d->name : d->host;
}

int netdevs_move(const struct spec *s, pid_t pid, int *netns)
{
	struct side host = { .netns = -1 }, inside = { .netns = -1 };
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	int r = open_side(&host, "/proc/self/ns/net", "the host's");
	if (r >= 0)
		r = open_side(&inside, path, "the container's");
	for (size_t i = 0; r >= 0 && i < s->n_net_devices; i++) {
		const struct spec_net_device *d = &s->net_devices[i];
		r = move(&host, &inside, d->host, name_inside(d));
	}
	*netns = take_fd(&inside.netns);
	close_side(&inside);
	close_side(&host);
	return r;
}

void netdevs_return(const struct spec *s, int netns)
{
	struct side host = { .netns = -1 }, inside = { .netns = -1 };
	size_t mark = err_mark();
	int r = open_side(&host, "/proc/self/ns/net", "the host's");

	if (r >= 0)
		r = open_side(&inside, FD_PATH(netns), "the container's");
	for (size_t i = 0; r >= 0 && i < s->n_net_devices; i++) {
		const struct spec_net_device *d = &s->net_devices[i];
		/* Not if it never left. */
		if (!find(&host.nl, d->host) && find(&inside.nl, name_inside(d)) && move(&inside, &host, name_inside(d), d->host) < 0)
			log_warn("%s", err_line(mark));
		err_rewind(mark);
	}
	err_rewind(mark);
	close_side(&inside);
	close_side(&host);
}
