/* SPDX-License-Identifier: Apache-2.0 */
/* The network devices of a namespace, into netdev.img: CRIU's fields, and the kernel's own message beside them (`link`), out of which a
 * restore takes what CRIU's message has no place for.
 *
 * What can be made again: loopback, and the kinds of net_kinds.c. The other end of a
 * veth, or a macvlan's parent, may be in another namespace: the caller of the restore says where (--external), or somebody has made the
 * device before (a container's network set-up). Every other kind stops the dump with its name, unless the caller has declared the device
 * as one of somebody else's (--external netdev[NAME]); so does a bridge that filters VLANs, and a queueing discipline that somebody has set.
 *
 * prepared_net (a container): a device whose parent is elsewhere, and one that cannot be made again, is the container engine's: only its name
 * is kept, and it is found ready at restore. */
#define LOG_PREFIX "net"
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/log.h"
#include "macvlan.pb-c.h"
#include "ns/net_kinds.h"

/* --- which there are --- */

static NdType device_type(const struct net_link *l)
{
	const struct net_kind *kind = net_kind_find(l->kind);

	if (l->type == ARPHRD_LOOPBACK)
		return ND_TYPE__LOOPBACK;
	return kind ? kind->type : ND_TYPE__EXTLINK;
}

static int add(const struct nlmsghdr *m, void *arg)
{
	struct net_links *links = arg;
	struct nlmsghdr *copy = arena_dup(links->arena, m, m->nlmsg_len);
	struct net_link l;

	if (net_link_parse(copy, &l) < 0)
		return -EBADMSG;
	NetDeviceEntry *e = arena_new(links->arena, NetDeviceEntry);
	net_device_entry__init(e);
	e->type = device_type(&l);
	e->ifindex = (uint32_t)l.index;
	e->mtu = l.mtu;
	e->flags = l.flags;
	e->name = arena_str(links->arena, l.name);
	e->has_link = 1;
	e->link.data = (uint8_t *)copy;
	e->link.len = m->nlmsg_len;
	if (l.address_size && e->type != ND_TYPE__LOOPBACK) {
		e->has_address = 1;
		e->address.len = l.address_size;
		e->address.data = arena_dup(links->arena, l.address, l.address_size);
	}
	array_push(&links->list) = e;
	array_push(&links->links) = l;
	return 0;
}

int net_list(struct netlink *nl, struct net_links *links)
{
	struct ifinfomsg all = { .ifi_family = AF_UNSPEC };
	int r;

	do {
		links->list.n = links->links.n = 0;
		netlink_begin(nl, RTM_GETLINK, 0, &all, sizeof all);
		r = netlink_dump(nl, add, links);
	} while (r == -EINTR);
	return r < 0 ? fail(-r, "list the network devices of the namespace") : 0;
}

void net_links_done(struct net_links *links)
{
	array_free(&links->list);
	array_free(&links->links);
}

const NetDeviceEntry *net_find(const struct net_links *links, const char *name)
{
	for (size_t k = 0; k < links->list.n; k++)
		if (!strcmp(links->list.data[k]->name, name))
			return links->list.data[k];
	return NULL;
}

const char *net_external(const char *const *list, const char *kind, const char *name)
{
	size_t a = strlen(kind), b = strlen(name);

	for (; list && *list; list++) {
		const char *s = *list;
		if (strncmp(s, kind, a) != 0 || s[a] != '[' || strncmp(s + a + 1, name, b) != 0 || s[a + 1 + b] != ']')
			continue;
		s += a + b + 2;
		return *s == ':' ? s + 1 : s;
	}
	return NULL;
}

/* --- what they need --- */

static bool has_index(const struct net_links *links, int index)
{
	for (size_t k = 0; k < links->links.n; k++)
		if (links->links.data[k].index == index)
			return true;
	return false;
}

static bool is_inside(const struct net_links *links, const struct net_link *l)
{
	return l->parent_nsid < 0 && has_index(links, l->parent);
}

static void set_parent(const struct net_links *links, NetDeviceEntry *e, const struct net_link *l, uint32_t id)
{
	if (!l->parent)
		return;
	e->has_peer_ifindex = 1;
	e->peer_ifindex = (uint32_t)l->parent;
	e->has_peer_nsid = is_inside(links, l);
	e->peer_nsid = id;
}

static void set_macvlan(struct arena *arena, NetDeviceEntry *e, const struct net_link *l)
{
	const struct nlattr *a[IFLA_MACVLAN_FLAGS + 1];
	uint16_t flags;

	if (e->type != ND_TYPE__MACVLAN || netlink_nested(l->data, a, IFLA_MACVLAN_FLAGS + 1) < 0)
		return;
	e->macvlan = arena_new(arena, MacvlanLinkEntry);
	macvlan_link_entry__init(e->macvlan);
	netlink_get_u32(a[IFLA_MACVLAN_MODE], &e->macvlan->mode);
	e->macvlan->has_flags = netlink_get(a[IFLA_MACVLAN_FLAGS], &flags, sizeof flags);
	e->macvlan->flags = e->macvlan->has_flags ? flags : 0;
}

/* Somebody else's: what is in the image is that there is one. */
static void make_foreign(NetDeviceEntry *e)
{
	e->type = ND_TYPE__EXTLINK;
	e->has_link = 0;
}

static int refuse(const NetDeviceEntry *e, const char *why)
{
	fail_text(ENOTSUP, "network device %s: %s", e->name, why);
	fail_hint("if another one is to be there when it is restored, declare it: --external 'netdev[%s]'", e->name);
	return -ENOTSUP;
}

/* Why it cannot be made again; NULL: it can. */
static const char *obstacle(struct arena *arena, const struct net_links *links, const NetDeviceEntry *e, const struct net_link *l)
{
	const struct net_kind *kind = net_kind_find(l->kind);
	const struct nlattr *a[IFLA_BR_VLAN_FILTERING + 1];
	uint8_t filtering = 0;

	if (e->type == ND_TYPE__LOOPBACK)
		return NULL;
	if (!kind)
		return arena_printf(arena, *l->kind ? "a device of kind %s cannot be saved" : "a piece of hardware%s cannot be saved", l->kind);
	if (l->xdp)
		return "it has an XDP program, which cannot be saved";
	if (e->type == ND_TYPE__TUN)
		return net_tun_obstacle(l);
	if (!strcmp(l->kind, "bridge") && netlink_nested(l->data, a, IFLA_BR_VLAN_FILTERING + 1) >= 0 &&
	    netlink_get(a[IFLA_BR_VLAN_FILTERING], &filtering, sizeof filtering) && filtering)
		return "a bridge that filters VLANs: the VLANs of its ports cannot be saved";
	if (e->macvlan && e->macvlan->mode == MACVLAN_MODE_SOURCE)
		return "a macvlan in source mode: its list of addresses cannot be saved";
	if (kind->parent && (l->parent || l->parent_nsid >= 0) && !is_inside(links, l) && e->type != ND_TYPE__MACVLAN)
		return arena_printf(arena, "the parent of this %s is outside of the network namespace: it cannot be saved", l->kind);
	return l->master && !has_index(links, (int)l->master) ? "its bridge is outside of the network namespace" : NULL;
}

static int complete(struct dump *d, const struct net_links *links, size_t k, uint32_t id)
{
	const struct net_link *l = &links->links.data[k];
	NetDeviceEntry *e = links->list.data[k];
	const struct net_kind *kind = net_kind_find(l->kind);

	set_parent(links, e, l, id);
	set_macvlan(d->arena, e, l);
	e->has_master = l->master != 0;
	e->master = l->master;
	if (net_external(d->o->external, "netdev", e->name) ||
	    (d->o->prepared_net && kind && kind->linked && (l->parent || l->parent_nsid >= 0) && !is_inside(links, l))) {
		make_foreign(e);
		return 0;
	}
	const char *why = obstacle(d->arena, links, e, l);
	if (!why)
		return e->type == ND_TYPE__TUN ? net_tun_save(d->arena, l, e) : 0;
	if (!d->o->prepared_net)
		return refuse(e, why);
	log_info("network device %s: %s; whoever prepares the namespace has to make it", e->name, why);
	make_foreign(e);
	return 0;
}

/* --- all --- */

static void drop_fallbacks(struct net_links *links)
{
	size_t n = 0;

	for (size_t k = 0; k < links->list.n; k++)
		if (!net_kind_fallback(links->links.data[k].name, links->links.data[k].flags)) {
			links->list.data[n] = links->list.data[k];
			links->links.data[n++] = links->links.data[k];
		}
	links->list.n = links->links.n = n;
}

int net_links_save(struct dump *d, struct netlink *nl, uint32_t id, struct net_links *links)
{
	auto_image struct image *i = NULL;
	int r = net_list(nl, links);

	drop_fallbacks(links);
	for (size_t k = 0; k < links->list.n && r >= 0; k++)
		r = complete(d, links, k, id);
	if (r >= 0)
		r = net_refuse(nl, links, d->o->prepared_net);
	if (r >= 0)
		r = image_create(d->images, IMG_NETDEV, id, &i);
	for (size_t k = 0; k < links->list.n && r >= 0; k++) {
		r = net_sysctls_save_device(d->arena, links->list.data[k]);
		if (r >= 0)
			r = image_write(i, links->list.data[k]);
	}
	return r < 0 ? r : image_close(&i);
}
