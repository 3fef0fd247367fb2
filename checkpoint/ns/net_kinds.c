/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of network devices that can be made again, and which of the attributes that the kernel tells are settings: the others (timers,
 * the elected root of a spanning tree, counters) follow from what happens. What is set with effects of its own, such as a port's path
 * cost, which ceases to follow its speed then, is left to the kernel. */
#include "ns/net_kinds.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tunnel.h>
#include <string.h>

static const uint16_t none[] = { 0 };
static const uint16_t macvlan[] = { IFLA_MACVLAN_MODE, IFLA_MACVLAN_FLAGS, 0 };
static const uint16_t vlan[] = { IFLA_VLAN_ID, IFLA_VLAN_PROTOCOL, IFLA_VLAN_EGRESS_QOS, IFLA_VLAN_INGRESS_QOS, 0 };
static const uint16_t ipvlan[] = { IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS, 0 };
static const uint16_t bridge[] = {
	IFLA_BR_FORWARD_DELAY, IFLA_BR_HELLO_TIME, IFLA_BR_MAX_AGE, IFLA_BR_AGEING_TIME, IFLA_BR_STP_STATE, IFLA_BR_PRIORITY,
	IFLA_BR_VLAN_PROTOCOL, IFLA_BR_GROUP_FWD_MASK, IFLA_BR_MCAST_ROUTER, IFLA_BR_MCAST_SNOOPING, IFLA_BR_MCAST_QUERY_USE_IFADDR,
	IFLA_BR_MCAST_QUERIER, IFLA_BR_MCAST_HASH_MAX, IFLA_BR_MCAST_LAST_MEMBER_CNT, IFLA_BR_MCAST_STARTUP_QUERY_CNT,
	IFLA_BR_MCAST_LAST_MEMBER_INTVL, IFLA_BR_MCAST_MEMBERSHIP_INTVL, IFLA_BR_MCAST_QUERIER_INTVL, IFLA_BR_MCAST_QUERY_INTVL,
	IFLA_BR_MCAST_QUERY_RESPONSE_INTVL, IFLA_BR_MCAST_STARTUP_QUERY_INTVL, IFLA_BR_NF_CALL_IPTABLES, IFLA_BR_NF_CALL_IP6TABLES,
	IFLA_BR_NF_CALL_ARPTABLES, IFLA_BR_VLAN_DEFAULT_PVID, IFLA_BR_VLAN_STATS_ENABLED, IFLA_BR_MCAST_STATS_ENABLED,
	IFLA_BR_MCAST_IGMP_VERSION, IFLA_BR_MCAST_MLD_VERSION, IFLA_BR_VLAN_STATS_PER_PORT, 0,
};
const uint16_t net_port_attributes[] = {
	IFLA_BRPORT_PRIORITY, IFLA_BRPORT_MODE, IFLA_BRPORT_GUARD, IFLA_BRPORT_PROTECT, IFLA_BRPORT_FAST_LEAVE, IFLA_BRPORT_LEARNING,
	IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_PROXYARP, IFLA_BRPORT_PROXYARP_WIFI, IFLA_BRPORT_MULTICAST_ROUTER, IFLA_BRPORT_MCAST_FLOOD,
	IFLA_BRPORT_MCAST_TO_UCAST, IFLA_BRPORT_BCAST_FLOOD, IFLA_BRPORT_NEIGH_SUPPRESS, IFLA_BRPORT_ISOLATED, 0,
};

/* Tunnels: the device that IFLA_…_LINK names is the parent, if there is one. */
static const uint16_t iptun[] = {
	IFLA_IPTUN_LINK, IFLA_IPTUN_LOCAL, IFLA_IPTUN_REMOTE, IFLA_IPTUN_TTL, IFLA_IPTUN_TOS, IFLA_IPTUN_ENCAP_LIMIT, IFLA_IPTUN_FLOWINFO,
	IFLA_IPTUN_FLAGS, IFLA_IPTUN_PROTO, IFLA_IPTUN_PMTUDISC, IFLA_IPTUN_6RD_PREFIX, IFLA_IPTUN_6RD_RELAY_PREFIX, IFLA_IPTUN_6RD_PREFIXLEN,
	IFLA_IPTUN_6RD_RELAY_PREFIXLEN, IFLA_IPTUN_ENCAP_TYPE, IFLA_IPTUN_ENCAP_FLAGS, IFLA_IPTUN_ENCAP_SPORT, IFLA_IPTUN_ENCAP_DPORT,
	IFLA_IPTUN_COLLECT_METADATA, IFLA_IPTUN_FWMARK, 0,
};
static const uint16_t gre[] = {
	IFLA_GRE_LINK, IFLA_GRE_IFLAGS, IFLA_GRE_OFLAGS, IFLA_GRE_IKEY, IFLA_GRE_OKEY, IFLA_GRE_LOCAL, IFLA_GRE_REMOTE, IFLA_GRE_TTL, IFLA_GRE_TOS,
	IFLA_GRE_PMTUDISC, IFLA_GRE_ENCAP_LIMIT, IFLA_GRE_FLOWINFO, IFLA_GRE_FLAGS, IFLA_GRE_ENCAP_TYPE, IFLA_GRE_ENCAP_FLAGS,
	IFLA_GRE_ENCAP_SPORT, IFLA_GRE_ENCAP_DPORT, IFLA_GRE_COLLECT_METADATA, IFLA_GRE_IGNORE_DF, IFLA_GRE_FWMARK, 0,
};

static const struct net_kind kinds[] = {
	{ "veth", ND_TYPE__VETH, true, false, none },
	{ "bridge", ND_TYPE__BRIDGE, false, false, bridge },
	{ "macvlan", ND_TYPE__MACVLAN, true, true, macvlan },
	{ "vlan", ND_TYPE__EXTLINK, true, true, vlan },
	{ "ipvlan", ND_TYPE__EXTLINK, true, true, ipvlan },
	{ "dummy", ND_TYPE__EXTLINK, false, false, none },
	{ "ifb", ND_TYPE__EXTLINK, false, false, none },
	{ "tun", ND_TYPE__TUN, false, false, none },
	{ "sit", ND_TYPE__EXTLINK, true, true, iptun },
	{ "ipip", ND_TYPE__EXTLINK, true, true, iptun },
	{ "ip6tnl", ND_TYPE__EXTLINK, true, true, iptun },
	{ "gre", ND_TYPE__EXTLINK, true, true, gre },
	{ "gretap", ND_TYPE__EXTLINK, true, true, gre },
	{ "ip6gre", ND_TYPE__EXTLINK, true, true, gre },
	{ "ip6gretap", ND_TYPE__EXTLINK, true, true, gre },
};
#define KINDS (sizeof kinds / sizeof *kinds)

const struct net_kind *net_kind_find(const char *name)
{
	for (size_t i = 0; i < KINDS; i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

/* A tunnel's module puts one that takes all into each namespace, down. */
bool net_kind_fallback(const char *device, uint32_t flags)
{
	static const char *const names[] = { "tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0", NULL };
	const char *const *n = names;

	while (*n && strcmp(*n, device) != 0)
		n++;
	return *n && !(flags & IFF_UP);
}

const struct net_kind *net_kind_of(NdType type)
{
	for (size_t i = 0; i < KINDS; i++)
		if (kinds[i].type == type && type != ND_TYPE__EXTLINK)
			return &kinds[i];
	return NULL;
}
