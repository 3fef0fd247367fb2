/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of network devices that can be made again, and which of the attributes that the kernel tells are settings: the others (timers,
 * the elected root of a spanning tree, counters) follow from what happens. What is set with effects of its own, such as a port's path
 * cost, which ceases to follow its speed then, is left to the kernel. */
#include "ns/net_kinds.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <string.h>

static const uint16_t none[] = { 0 };
static const uint16_t macvlan[] = { IFLA_MACVLAN_MODE, IFLA_MACVLAN_FLAGS, 0 };
static const uint16_t vlan[] = { IFLA_VLAN_ID, IFLA_VLAN_PROTOCOL, IFLA_VLAN_FLAGS, IFLA_VLAN_EGRESS_QOS, IFLA_VLAN_INGRESS_QOS, 0 };
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

static const struct net_kind kinds[] = {
	{ "veth", ND_TYPE__VETH, true, false, none },
	{ "bridge", ND_TYPE__BRIDGE, false, false, bridge },
	{ "macvlan", ND_TYPE__MACVLAN, true, true, macvlan },
	{ "vlan", ND_TYPE__EXTLINK, true, true, vlan },
	{ "ipvlan", ND_TYPE__EXTLINK, true, true, ipvlan },
	{ "dummy", ND_TYPE__EXTLINK, false, false, none },
	{ "ifb", ND_TYPE__EXTLINK, false, false, none },
};
#define KINDS (sizeof kinds / sizeof *kinds)

const struct net_kind *net_kind_find(const char *name)
{
	for (size_t i = 0; i < KINDS; i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

const struct net_kind *net_kind_of(NdType type)
{
	for (size_t i = 0; i < KINDS; i++)
		if (kinds[i].type == type && type != ND_TYPE__EXTLINK)
			return &kinds[i];
	return NULL;
}
