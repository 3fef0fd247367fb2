/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of rtnetlink about a network namespace: reading them out of the kernel's answers and out of images, and turning them into
 * requests that make the same thing again. Nothing here calls the kernel; every size is checked, since images come from anywhere.
 *
 * What the kernel adds to a message when it tells, and refuses or misreads when it is told, is left out of a request:
 * - of an address: the flags that say how far duplicate address detection is, and IFA_CACHEINFO's times of creation (ignored anyway);
 * - of an entry of a bridge: which bridge it is, since it is told to the port; times;
 * - of a route: the state of the device (RTNH_F_DEAD, RTNH_F_LINKDOWN), in the header and in each next hop, and what hardware does.
 *
 * Not wanted in an image: routes that come and go with addresses (protocol kernel in the table local), copies of routes, neighbours that the
 * kernel has found itself, and default routing rules of multicast. */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "ns/net.h"

#define NHA_ROUTE_STATE (RTNH_F_DEAD | RTNH_F_LINKDOWN | RTNH_F_OFFLOAD | RTNH_F_TRAP | RTNH_F_UNRESOLVED)
#define INET6_GEN_MODE 8   /* IFLA_INET6_ADDR_GEN_MODE */

static size_t header_size(enum net_table table)
{
	switch (table) {
	case NET_ADDRESS: return sizeof(struct ifaddrmsg);
	case NET_ROUTE: return sizeof(struct rtmsg);
	case NET_RULE: return sizeof(struct fib_rule_hdr);
	case NET_NEIGHBOUR:
	case NET_FORWARDING: return sizeof(struct ndmsg);
	}
	return 0;
}

/* --- walking --- */

int net_next(struct net_text *t, const struct nlmsghdr **out)
{
	size_t left = t->size - t->at;
	const struct nlmsghdr *m = (const void *)(t->data + t->at);

	if (!left)
		return 0;
	if (left < sizeof *m || m->nlmsg_len < sizeof *m || m->nlmsg_len > left)
		return -EBADMSG;
	size_t step = NLMSG_ALIGN((size_t)m->nlmsg_len);
	t->at += step < left ? step : left;
	*out = m;
	return 1;
}

struct net_attributes net_attributes(const struct nlmsghdr *m, size_t header)
{
	size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(header);

	if (m->nlmsg_len <= skip)
		return (struct net_attributes){ NULL, 0 };
	return (struct net_attributes){ (const char *)m + skip, m->nlmsg_len - skip };
}

struct net_attributes net_attributes_in(const struct nlattr *nest)
{
	struct net_attributes w = { NULL, 0 };

	w.at = netlink_data(nest, &w.left);
	return w;
}

const struct nlattr *net_attribute(struct net_attributes *w)
{
	const struct nlattr *a = (const void *)w->at;

	if (w->left < sizeof *a || a->nla_len < sizeof *a || a->nla_len > w->left)
		return NULL;
	size_t step = NLMSG_ALIGN((size_t)a->nla_len);
	step = step < w->left ? step : w->left;
	w->at += step;
	w->left -= step;
	return a;
}

/* --- devices --- */

static int parse_info(const struct nlattr *info, struct net_link *out)
{
	const struct nlattr *a[IFLA_INFO_SLAVE_DATA + 1];

	if (netlink_nested(info, a, IFLA_INFO_SLAVE_DATA + 1) < 0)
		return -EBADMSG;
	const char *kind = netlink_get_string(a[IFLA_INFO_KIND]), *slave = netlink_get_string(a[IFLA_INFO_SLAVE_KIND]);
	out->kind = kind ? kind : "";
	out->data = a[IFLA_INFO_DATA];
	out->port = slave && !strcmp(slave, "bridge") ? a[IFLA_INFO_SLAVE_DATA] : NULL;
	return 0;
}

static int parse_families(const struct nlattr *families, struct net_link *out)
{
	const struct nlattr *a[AF_INET6 + 1], *b[INET6_GEN_MODE + 1];
	uint8_t mode;

	if (netlink_nested(families, a, AF_INET6 + 1) < 0 || netlink_nested(a[AF_INET6], b, INET6_GEN_MODE + 1) < 0)
		return -EBADMSG;
	if (netlink_get(b[INET6_GEN_MODE], &mode, sizeof mode))
		out->gen_mode = mode;
	return 0;
}

static int parse_xdp(const struct nlattr *xdp, struct net_link *out)
{
	const struct nlattr *a[IFLA_XDP_ATTACHED + 1];
	uint8_t mode = 0;

	if (netlink_nested(xdp, a, IFLA_XDP_ATTACHED + 1) < 0)
		return -EBADMSG;
	out->xdp = netlink_get(a[IFLA_XDP_ATTACHED], &mode, sizeof mode) && mode != XDP_ATTACHED_NONE;
	return 0;
}

int net_link_parse(const struct nlmsghdr *m, struct net_link *out)
{
	const struct ifinfomsg *info = netlink_header(m, sizeof *info);
	const struct nlattr *a[IFLA_PROP_LIST + 1];
	uint32_t parent = 0;

	*out = (struct net_link){ .parent_nsid = -1, .gen_mode = -1, .kind = "" };
	if (!info || netlink_attributes(m, sizeof *info, a, IFLA_PROP_LIST + 1) < 0)
		return -EBADMSG;
	out->index = info->ifi_index;
	out->type = info->ifi_type;
	out->flags = info->ifi_flags;
	out->name = netlink_get_string(a[IFLA_IFNAME]);
	if (!out->name || !*out->name || strlen(out->name) >= IFNAMSIZ || strchr(out->name, '/'))
		return -EBADMSG;
	netlink_get_u32(a[IFLA_LINK], &parent);
	out->parent = (int)parent;
	netlink_get(a[IFLA_LINK_NETNSID], &out->parent_nsid, sizeof out->parent_nsid);
	netlink_get_u32(a[IFLA_MASTER], &out->master);
	netlink_get_u32(a[IFLA_MTU], &out->mtu);
	netlink_get_u32(a[IFLA_TXQLEN], &out->txqlen);
	out->address = netlink_data(a[IFLA_ADDRESS], &out->address_size);
	netlink_get_u32(a[IFLA_GROUP], &out->group);
	out->alias = netlink_get_string(a[IFLA_IFALIAS]);
	out->properties = a[IFLA_PROP_LIST];
	int r = parse_info(a[IFLA_LINKINFO], out);
	if (r >= 0)
		r = parse_xdp(a[IFLA_XDP], out);
	return r < 0 ? r : parse_families(a[IFLA_AF_SPEC], out);
}

/* --- tables --- */

static const void *header_of(const struct nlmsghdr *m, enum net_table table)
{
	return netlink_header(m, header_size(table));
}

int net_message_device(const struct nlmsghdr *m, enum net_table table)
{
	const void *header = header_of(m, table);
	const struct nlattr *a[RTA_OIF + 1];
	uint32_t device = 0;

	if (!header)
		return -EBADMSG;
	if (table == NET_ADDRESS)
		return (int)(((const struct ifaddrmsg *)header)->ifa_index & INT32_MAX);
	if (table == NET_NEIGHBOUR || table == NET_FORWARDING)
		return ((const struct ndmsg *)header)->ndm_ifindex & INT32_MAX;
	if (table == NET_RULE)
		return 0;
	if (netlink_attributes(m, header_size(table), a, RTA_OIF + 1) < 0)
		return -EBADMSG;
	netlink_get_u32(a[RTA_OIF], &device);
	return (int)(device & INT32_MAX);
}

/* An entry of a bridge's table that somebody has made: neither learned nor a device's list of its own (which has no bridge). A port's own address is
 * not told from one that was given; it is there already when it is made again. The bridge's own stays with it. */
static int is_static(const struct nlmsghdr *m, const struct ndmsg *n)
{
	const struct nlattr *a[NDA_MASTER + 1];
	uint32_t bridge = 0;

	if (netlink_attributes(m, sizeof *n, a, NDA_MASTER + 1) < 0)
		return -EBADMSG;
	netlink_get_u32(a[NDA_MASTER], &bridge);
	return n->ndm_family == AF_BRIDGE && bridge && (int)bridge != n->ndm_ifindex && n->ndm_state & (NUD_NOARP | NUD_PERMANENT) &&
	       !(n->ndm_flags & NTF_EXT_LEARNED);
}

int net_message_wanted(const struct nlmsghdr *m, enum net_table table)
{
	const void *header = header_of(m, table);
	const struct rtmsg *route = header;
	const struct ndmsg *neighbour = header;

	if (!header)
		return -EBADMSG;
	switch (table) {
	case NET_ADDRESS: return ((const struct ifaddrmsg *)header)->ifa_family == AF_INET || ((const struct ifaddrmsg *)header)->ifa_family == AF_INET6;
	case NET_ROUTE: return !(route->rtm_flags & RTM_F_CLONED) && !(route->rtm_table == RT_TABLE_LOCAL && route->rtm_protocol == RTPROT_KERNEL);
	case NET_RULE: return ((const struct fib_rule_hdr *)header)->family == AF_INET || ((const struct fib_rule_hdr *)header)->family == AF_INET6;
	case NET_FORWARDING: return is_static(m, neighbour);
	case NET_NEIGHBOUR:
		return (neighbour->ndm_family == AF_INET || neighbour->ndm_family == AF_INET6) &&
		       (neighbour->ndm_state & NUD_PERMANENT || neighbour->ndm_flags & NTF_PROXY);
	}
	return 0;
}

/* The next hops of a route, each with its own flags. */
static int put_hops(struct netlink *nl, const struct nlattr *a)
{
	size_t size;
	const char *data = netlink_data(a, &size);
	autofree char *copy = mem_dup(data, size ? size : 1);

	for (size_t at = 0; at < size;) {
		struct rtnexthop *hop = (void *)(copy + at);
		if (size - at < sizeof *hop || hop->rtnh_len < sizeof *hop || hop->rtnh_len > size - at)
			return -EBADMSG;
		hop->rtnh_flags &= (unsigned char)~NHA_ROUTE_STATE;
		at += RTNH_ALIGN((size_t)hop->rtnh_len) < size - at ? RTNH_ALIGN((size_t)hop->rtnh_len) : size - at;
	}
	netlink_put(nl, RTA_MULTIPATH, copy, size);
	return 0;
}

#define ADDRESS_STATE (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TEMPORARY | IFA_F_STABLE_PRIVACY | IFA_F_PERMANENT)

static int put_attribute(struct netlink *nl, const struct nlattr *a, enum net_table table)
{
	uint16_t type = a->nla_type & NLA_TYPE_MASK;
	size_t size;
	const void *data = netlink_data(a, &size);
	uint32_t flags;

	if (table == NET_ROUTE && type == RTA_MULTIPATH)
		return put_hops(nl, a);
	if (table == NET_ROUTE && type == RTA_CACHEINFO)
		return 0;
	if (table == NET_NEIGHBOUR && (type == NDA_CACHEINFO || type == NDA_PROBES))
		return 0;
	if (table == NET_FORWARDING && type != NDA_LLADDR && type != NDA_VLAN)
		return 0;
	if (table == NET_ADDRESS && type == IFA_FLAGS && netlink_get_u32(a, &flags))
		netlink_put_u32(nl, type, flags & ~(uint32_t)ADDRESS_STATE);
	else
		netlink_put(nl, a->nla_type, data, size);
	return 0;
}

static uint16_t new_type(enum net_table table)
{
	static const uint16_t types[] = { RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWRULE, RTM_NEWNEIGH, RTM_NEWNEIGH };

	return types[table];
}

static uint16_t new_flags(const struct nlmsghdr *m, enum net_table table)
{
	/* Of IPv4 routes that differ in their next hop alone the first counts: the others are put behind it. For IPv6 this would join them. */
	bool append = table == NET_ROUTE && ((const struct rtmsg *)header_of(m, table))->rtm_family == AF_INET;

	return (uint16_t)(NLM_F_CREATE | (table == NET_NEIGHBOUR ? NLM_F_REPLACE : 0) | (append ? NLM_F_APPEND : 0) |
			  (table == NET_RULE || table == NET_ADDRESS || table == NET_FORWARDING ? NLM_F_EXCL : 0));
}

int net_message_request(struct netlink *nl, const struct nlmsghdr *m, enum net_table table)
{
	size_t size = header_size(table);
	char header[sizeof(struct rtmsg) + sizeof(struct ndmsg)] __attribute__((aligned(8)));

	if (!header_of(m, table))
		return -EBADMSG;
	memcpy(header, header_of(m, table), size);
	if (table == NET_ROUTE)
		((struct rtmsg *)(void *)header)->rtm_flags &= ~(unsigned)NHA_ROUTE_STATE;
	if (table == NET_ADDRESS)
		((struct ifaddrmsg *)(void *)header)->ifa_flags &= (unsigned char)~ADDRESS_STATE;
	if (table == NET_FORWARDING)
		((struct ndmsg *)(void *)header)->ndm_flags = NTF_MASTER;
	if (table == NET_RULE)
		((struct fib_rule_hdr *)(void *)header)->flags &= FIB_RULE_INVERT;
	netlink_begin(nl, new_type(table), new_flags(m, table), header, size);
	struct net_attributes w = net_attributes(m, size);
	for (const struct nlattr *a; (a = net_attribute(&w));) {
		int r = put_attribute(nl, a, table);
		if (r < 0)
			return r;
	}
	return w.left >= sizeof(struct nlattr) ? -EBADMSG : 0;
}
