/* SPDX-License-Identifier: Apache-2.0 */
/* The network devices of netdev.img in a new namespace, with the numbers (ifindex) they had.
 *
 * 1. A device is made after its parent; both ends of a veth in one request, wherever the other end is.
 * 2. What joins the engine's own namespace with the new one is the caller's decision (--external):
 *      veth[IN]:OUT[@BRIDGE]   the other end is called OUT here, is up, and a port of BRIDGE
 *      macvlan[IN]:OUT         the parent is OUT, here
 *      netdev[IN]:OUT          OUT moves into the namespace and is called IN there; without OUT: it is there already
 * 3. A device that is there already by its name was made by whoever prepared the namespace: it is only set up. What is missing in a
 *    prepared namespace (a container's) is named in a warning.
 * 4. Ports join their bridges, settings are made, then devices are brought up, parents first; meanwhile IPv6 makes no addresses of its
 *    own and looks for no duplicates: the addresses of the checkpoint come next. net_links_finish() puts both back. */
#define LOG_PREFIX "net"
#include <errno.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_vlan.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "macvlan.pb-c.h"
#include "ns/net_kinds.h"

#define SETTABLE (IFF_UP | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI | IFF_MULTICAST)
#define GEN_MODE_EUI64 0
#define GEN_MODE_NONE 1
#define MTU_UNLIMITED 65536    /* loopback's; it needs no setting */

struct relink {
	NetDeviceEntry *e;
	const struct net_link *l;      /* name NULL: CRIU's entry, without the kernel's message */
	const struct net_kind *kind;
	bool made, absent;
};

static const char *failure(const struct netlink *nl)
{
	return nl->reason[0] ? nl->reason : "the kernel gives no reason";
}

static const char *external(const struct net_restore *x, const char *kind, const char *name)
{
	return net_external(x->r->o->external, kind, name);
}

static struct relink *by_index(struct relink *list, size_t n, uint32_t index)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].e->ifindex == index)
			return &list[i];
	return NULL;
}

/* --- requests --- */

static void put_identity(struct netlink *nl, const NetDeviceEntry *e)
{
	netlink_put_string(nl, IFLA_IFNAME, e->name);
	if (e->mtu)
		netlink_put_u32(nl, IFLA_MTU, e->mtu);
	if (e->has_address)
		netlink_put(nl, IFLA_ADDRESS, e->address.data, e->address.len);
}

static bool listed(const uint16_t *list, uint16_t type)
{
	for (; *list; list++)
		if (*list == type)
			return true;
	return false;
}

static void put_listed(struct netlink *nl, const struct nlattr *nest, const uint16_t *list)
{
	struct net_attributes w = net_attributes_in(nest);

	for (const struct nlattr *a; (a = net_attribute(&w));) {
		size_t size;
		const void *data = netlink_data(a, &size);
		if (listed(list, a->nla_type & NLA_TYPE_MASK))
			netlink_put(nl, a->nla_type, data, size);
	}
}

/* The kernel tells them with a mask of all bits, of which it takes back those that it knows; if none is set, it says nothing. */
static void put_vlan_flags(struct netlink *nl, const struct nlattr *data)
{
	const struct nlattr *a[IFLA_VLAN_FLAGS + 1];
	struct ifla_vlan_flags f = { 0 };

	if (netlink_nested(data, a, IFLA_VLAN_FLAGS + 1) >= 0)
		netlink_get(a[IFLA_VLAN_FLAGS], &f, sizeof f);
	f.mask = VLAN_FLAG_REORDER_HDR | VLAN_FLAG_GVRP | VLAN_FLAG_LOOSE_BINDING | VLAN_FLAG_MVRP | VLAN_FLAG_BRIDGE_BINDING;
	f.flags &= f.mask;
	netlink_put(nl, IFLA_VLAN_FLAGS, &f, sizeof f);
}

static void put_data(struct netlink *nl, const struct relink *d)
{
	if (d->l->name) {
		put_listed(nl, d->l->data, d->kind->attributes);
		if (!strcmp(d->kind->name, "vlan"))
			put_vlan_flags(nl, d->l->data);
	} else if (d->e->macvlan) {
		netlink_put_u32(nl, IFLA_MACVLAN_MODE, d->e->macvlan->mode);
		uint16_t flags = (uint16_t)d->e->macvlan->flags;
		if (d->e->macvlan->has_flags)
			netlink_put(nl, IFLA_MACVLAN_FLAGS, &flags, sizeof flags);
	}
}

static void begin_new(struct netlink *nl, const struct relink *d)
{
	struct ifinfomsg info = { .ifi_index = (int)d->e->ifindex };

	netlink_begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof info);
	put_identity(nl, d->e);
}

static int finish_new(struct netlink *nl, struct relink *d)
{
	int r = netlink_request(nl, NULL, NULL);

	if (r < 0)
		return fail(-r, "make network device %s (%s, number %u): %s", d->e->name, d->kind->name, d->e->ifindex, failure(nl));
	d->made = true;
	return 0;
}

/* With the parent's number in the namespace of the socket; netns: where the device is to be, -1 in the same. */
static int make_plain(struct netlink *nl, struct relink *d, uint32_t parent, int netns)
{
	begin_new(nl, d);
	if (parent)
		netlink_put_u32(nl, IFLA_LINK, parent);
	if (netns >= 0)
		netlink_put_u32(nl, IFLA_NET_NS_FD, (uint32_t)netns);
	struct nlattr *info = netlink_nest(nl, IFLA_LINKINFO);
	netlink_put_string(nl, IFLA_INFO_KIND, d->kind->name);
	struct nlattr *data = netlink_nest(nl, IFLA_INFO_DATA);
	put_data(nl, d);
	netlink_nest_end(nl, data);
	netlink_nest_end(nl, info);
	return finish_new(nl, d);
}

/* other: in the same namespace; NULL: outer, in the engine's. */
static int make_veth(struct net_restore *x, struct relink *d, struct relink *other, const char *outer)
{
	struct netlink *nl = &x->nl;
	struct ifinfomsg header = { .ifi_index = other ? (int)other->e->ifindex : 0 };

	begin_new(nl, d);
	struct nlattr *info = netlink_nest(nl, IFLA_LINKINFO);
	netlink_put_string(nl, IFLA_INFO_KIND, "veth");
	struct nlattr *data = netlink_nest(nl, IFLA_INFO_DATA), *peer = netlink_nest(nl, VETH_INFO_PEER);
	netlink_put_raw(nl, &header, sizeof header);
	if (other) {
		put_identity(nl, other->e);
	} else {
		netlink_put_string(nl, IFLA_IFNAME, outer);
		netlink_put_u32(nl, IFLA_NET_NS_FD, (uint32_t)x->home_ns);
	}
	netlink_nest_end(nl, peer);
	netlink_nest_end(nl, data);
	netlink_nest_end(nl, info);
	int r = finish_new(nl, d);
	if (r >= 0 && other)
		other->made = true;
	return r;
}

/* --- devices that reach outside --- */

static int index_at_home(struct net_restore *x, const char *name, uint32_t *index)
{
	struct net_links here = { .arena = x->r->arena };
	int r = net_list(&x->home, &here);
	const NetDeviceEntry *e = r < 0 ? NULL : net_find(&here, name);

	if (e)
		*index = e->ifindex;
	net_links_done(&here);
	return r < 0 ? r : e ? 0 : fail_text(ENODEV, "there is no network device %s here (--external)", name);
}

/* The outer end: up, a port of a bridge if one was named. */
static int connect_outer(struct net_restore *x, const char *outer, const char *bridge)
{
	struct ifinfomsg info = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	uint32_t master = 0, index;
	int r = index_at_home(x, outer, &index);

	if (r >= 0 && bridge)
		r = index_at_home(x, bridge, &master);
	if (r < 0)
		return r;
	info.ifi_index = (int)index;
	netlink_begin(&x->home, RTM_NEWLINK, 0, &info, sizeof info);
	if (master)
		netlink_put_u32(&x->home, IFLA_MASTER, master);
	r = netlink_request(&x->home, NULL, NULL);
	return r < 0 ? fail(-r, "bring %s up%s%s: %s", outer, bridge ? " as a port of " : "", bridge ? bridge : "", failure(&x->home)) : 0;
}

static void leave(struct net_restore *x, struct relink *d)
{
	d->absent = true;
	d->e->type = ND_TYPE__EXTLINK;
	d->e->has_link = 0;
	array_push(&x->foreign) = d->e->ifindex;
}

/* Whoever prepared the namespace should have made it; if nobody was to, this is an error. */
static int absent(struct net_restore *x, struct relink *d, const char *why, const char *option)
{
	d->made = true;
	leave(x, d);
	if (x->r->o->husk) {
		log_warn("network device %s of the checkpoint is not in the network namespace prepared for it", d->e->name);
		return 0;
	}
	fail_text(ENODEV, "network device %s: %s", d->e->name, why);
	fail_hint("say where it is: --external '%s'", option);
	return -ENODEV;
}

static int make_outer_veth(struct net_restore *x, struct relink *d)
{
	const char *to = external(x, "veth", d->e->name);
	autofree char *option = str_printf("veth[%s]:NAME[@BRIDGE]", d->e->name);

	if (!to || !*to)
		return absent(x, d, "the other end of this veth was outside of the network namespace", option);
	autofree char *outer = str_dup(to);
	char *bridge = strchr(outer, '@');
	if (bridge)
		*bridge++ = 0;
	int r = make_veth(x, d, NULL, outer);
	return r < 0 ? r : connect_outer(x, outer, bridge);
}

static int make_macvlan(struct net_restore *x, struct relink *d)
{
	const char *to = external(x, "macvlan", d->e->name);
	autofree char *option = str_printf("macvlan[%s]:PARENT", d->e->name);
	uint32_t parent;

	if (!to || !*to)
		return absent(x, d, "the parent of this macvlan was outside of the network namespace", option);
	int r = index_at_home(x, to, &parent);
	return r < 0 ? r : make_plain(&x->home, d, parent, x->netns);
}

static int make_tun(struct net_restore *x, struct relink *d)
{
	struct ifinfomsg info = { .ifi_index = (int)d->e->ifindex };
	int r = net_tun_make(d->e);

	d->made = r >= 0;
	if (r < 0 || !d->e->has_address)
		return r;
	netlink_begin(&x->nl, RTM_NEWLINK, 0, &info, sizeof info);
	netlink_put(&x->nl, IFLA_ADDRESS, d->e->address.data, d->e->address.len);
	r = netlink_request(&x->nl, NULL, NULL);
	return r < 0 ? fail(-r, "give network device %s its address: %s", d->e->name, failure(&x->nl)) : 0;
}

static int move_device(struct net_restore *x, struct relink *d)
{
	const char *from = external(x, "netdev", d->e->name);
	autofree char *option = str_printf("netdev[%s]:NAME", d->e->name);
	struct ifinfomsg info = { 0 };
	uint32_t index;

	if (!from || !*from)
		return absent(x, d, "it is somebody else's, and not in the network namespace", option);
	int r = index_at_home(x, from, &index);
	if (r < 0)
		return r;
	info.ifi_index = (int)index;
	netlink_begin(&x->home, RTM_NEWLINK, 0, &info, sizeof info);
	netlink_put_u32(&x->home, IFLA_NET_NS_FD, (uint32_t)x->netns);
	netlink_put_u32(&x->home, IFLA_NEW_IFINDEX, d->e->ifindex);
	netlink_put_string(&x->home, IFLA_IFNAME, d->e->name);
	r = netlink_request(&x->home, NULL, NULL);
	if (r < 0)
		return fail(-r, "move %s into the network namespace as %s: %s", from, d->e->name, failure(&x->home));
	d->made = true;
	return 0;
}

/* --- all of them --- */

static bool parent_inside(const struct relink *d)
{
	return d->e->has_peer_ifindex && (d->e->has_peer_nsid || (d->l->name && d->l->parent_nsid < 0));
}

/* 0: not yet, its parent is missing. */
static int make_one(struct net_restore *x, struct relink *list, size_t n, struct relink *d)
{
	const NetDeviceEntry *now = net_find(&x->present, d->e->name);
	struct relink *other = parent_inside(d) ? by_index(list, n, d->e->peer_ifindex) : NULL;
	int r;

	if (now) {
		d->made = true;
		if (d->e->type != ND_TYPE__LOOPBACK && (x->r->o->husk || now->ifindex != d->e->ifindex))
			leave(x, d);
		return 1;
	}
	if (d->e->type == ND_TYPE__LOOPBACK)
		return fail_text(ENODEV, "the network namespace has no device %s", d->e->name);
	if (!d->kind && d->e->type != ND_TYPE__EXTLINK)
		return fail_text(ENOTSUP, "network device %s: devices of this kind (%u in CRIU's images) cannot be restored", d->e->name, d->e->type);
	if (!d->kind)
		r = move_device(x, d);
	else if (d->e->type == ND_TYPE__VETH)
		r = other ? make_veth(x, d, other, NULL) : make_outer_veth(x, d);
	else if (d->e->type == ND_TYPE__TUN)
		r = make_tun(x, d);
	else if (d->kind->parent && other && !other->made)
		return 0;
	else if (d->kind->parent && !other && (d->e->has_peer_ifindex || d->e->type == ND_TYPE__MACVLAN))
		r = make_macvlan(x, d);
	else
		r = make_plain(&x->nl, d, d->kind->parent ? d->e->peer_ifindex : 0, -1);
	return r < 0 ? r : 1;
}

static int make_all(struct net_restore *x, struct relink *list, size_t n)
{
	size_t left = n, before;

	do {
		before = left;
		left = 0;
		for (size_t i = 0; i < n; i++) {
			int r = list[i].made ? 1 : make_one(x, list, n, &list[i]);
			if (r < 0)
				return r;
			left += r == 0;
		}
	} while (left && left < before);
	for (size_t i = 0; i < n && left; i++)
		if (!list[i].made)
			return fail_text(EBADMSG, "network device %s: its parent cannot be made before itself", list[i].e->name);
	return 0;
}

static void put_gen_mode(struct netlink *nl, uint8_t mode)
{
	if (access("/proc/sys/net/ipv6", F_OK) < 0)
		return;
	struct nlattr *families = netlink_nest(nl, IFLA_AF_SPEC), *six = netlink_nest(nl, AF_INET6);
	netlink_put_u8(nl, IFLA_INET6_ADDR_GEN_MODE, mode);
	netlink_nest_end(nl, six);
	netlink_nest_end(nl, families);
}

static int set_up_one(struct net_restore *x, struct relink *list, size_t n, struct relink *d)
{
	struct ifinfomsg info = { .ifi_index = (int)d->e->ifindex };
	struct relink *master = d->e->has_master ? by_index(list, n, d->e->master) : NULL;

	netlink_begin(&x->nl, RTM_NEWLINK, 0, &info, sizeof info);
	if (d->e->mtu && d->e->mtu != MTU_UNLIMITED)
		netlink_put_u32(&x->nl, IFLA_MTU, d->e->mtu);
	if (d->l->name && d->l->txqlen)
		netlink_put_u32(&x->nl, IFLA_TXQLEN, d->l->txqlen);
	if (d->l->name && d->l->group)
		netlink_put_u32(&x->nl, IFLA_GROUP, d->l->group);
	if (d->l->name && d->l->alias)
		netlink_put_string(&x->nl, IFLA_IFALIAS, d->l->alias);
	if (master && !master->absent)
		netlink_put_u32(&x->nl, IFLA_MASTER, master->e->ifindex);
	put_gen_mode(&x->nl, GEN_MODE_NONE);
	int r = netlink_request(&x->nl, NULL, NULL);
	return r < 0 ? fail(-r, "set up network device %s: %s", d->e->name, failure(&x->nl)) : 0;
}

static int add_names(struct net_restore *x, const struct relink *d)
{
	struct ifinfomsg info = { .ifi_index = (int)d->e->ifindex };
	const uint16_t names[] = { IFLA_ALT_IFNAME, 0 };

	if (!d->l->name || !d->l->properties)
		return 0;
	netlink_begin(&x->nl, RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof info);
	struct nlattr *list = netlink_nest(&x->nl, IFLA_PROP_LIST);
	put_listed(&x->nl, d->l->properties, names);
	netlink_nest_end(&x->nl, list);
	int r = netlink_request(&x->nl, NULL, NULL);
	return r < 0 && r != -EEXIST ? fail(-r, "give network device %s its other names: %s", d->e->name, failure(&x->nl)) : 0;
}

static int set_port(struct net_restore *x, const struct relink *d)
{
	struct ifinfomsg info = { .ifi_index = (int)d->e->ifindex };

	if (!d->l->port)
		return 0;
	netlink_begin(&x->nl, RTM_NEWLINK, 0, &info, sizeof info);
	struct nlattr *nest = netlink_nest(&x->nl, IFLA_LINKINFO);
	netlink_put_string(&x->nl, IFLA_INFO_SLAVE_KIND, "bridge");
	struct nlattr *data = netlink_nest(&x->nl, IFLA_INFO_SLAVE_DATA);
	put_listed(&x->nl, d->l->port, net_port_attributes);
	netlink_nest_end(&x->nl, data);
	netlink_nest_end(&x->nl, nest);
	int r = netlink_request(&x->nl, NULL, NULL);
	return r < 0 ? fail(-r, "set up network device %s as a bridge's port: %s", d->e->name, failure(&x->nl)) : 0;
}

static int bring_up(struct net_restore *x, const struct relink *d)
{
	struct ifinfomsg info = { .ifi_index = (int)d->e->ifindex, .ifi_flags = d->e->flags & SETTABLE, .ifi_change = SETTABLE };

	if (d->e->type == ND_TYPE__LOOPBACK)
		info.ifi_change = IFF_UP;
	netlink_begin(&x->nl, RTM_NEWLINK, 0, &info, sizeof info);
	int r = netlink_request(&x->nl, NULL, NULL);
	return r < 0 ? fail(-r, "bring network device %s up: %s", d->e->name, failure(&x->nl)) : 0;
}

/* One of ours to set up: not somebody else's that was only named. */
static bool is_ours(const struct relink *d)
{
	return !d->absent && (d->e->type != ND_TYPE__EXTLINK || d->kind);
}

static int set_up_all(struct net_restore *x, struct relink *list, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r >= 0; i++) {
		if (!is_ours(&list[i]))
			continue;
		r = set_up_one(x, list, n, &list[i]);
		if (r >= 0)
			r = set_port(x, &list[i]);
		if (r >= 0)
			r = add_names(x, &list[i]);
		if (r >= 0)
			r = net_sysctls_restore_device(x->e, list[i].e);
		if (r >= 0)
			r = net_dad_off(list[i].e->name);
	}
	/* Twice: a device whose parent comes later in the list. */
	for (int pass = 0; pass < 2 && r >= 0; pass++)
		for (size_t i = 0; i < n && r >= 0; i++)
			if (is_ours(&list[i]) && pass == (list[i].kind && list[i].kind->parent))
				r = bring_up(x, &list[i]);
	return r;
}

int net_links_make(struct net_restore *x)
{
	size_t n = x->saved.list.n;
	struct relink *list = arena_array(x->r->arena, struct relink, n + 1);
	int r = net_list(&x->nl, &x->present);

	for (size_t i = 0; i < n; i++) {
		list[i].e = x->saved.list.data[i];
		list[i].l = &x->saved.links.data[i];
		list[i].kind = list[i].l->name ? net_kind_find(list[i].l->kind) : net_kind_of(list[i].e->type);
	}
	if (r >= 0)
		r = make_all(x, list, n);
	return r < 0 ? r : set_up_all(x, list, n);
}

int net_links_finish(struct net_restore *x)
{
	int r = 0;

	for (size_t i = 0; i < x->saved.list.n && r >= 0; i++) {
		const NetDeviceEntry *e = x->saved.list.data[i];
		const struct net_link *l = &x->saved.links.data[i];
		struct ifinfomsg info = { .ifi_index = (int)e->ifindex };
		if (e->type == ND_TYPE__EXTLINK && !e->has_link)
			continue;
		netlink_begin(&x->nl, RTM_NEWLINK, 0, &info, sizeof info);
		put_gen_mode(&x->nl, l->name && l->gen_mode >= 0 ? (uint8_t)l->gen_mode : GEN_MODE_EUI64);
		r = netlink_request(&x->nl, NULL, NULL);
		if (r < 0)
			fail(-r, "let network device %s make IPv6 addresses again: %s", e->name, failure(&x->nl));
	}
	return r < 0 ? r : net_dad_back(x->e, &x->saved);
}
