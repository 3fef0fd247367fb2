/* SPDX-License-Identifier: Apache-2.0 */
/* What a network namespace may have that cannot be saved, and would be missed: it stops the dump by its name. (Network devices: net_links.c.)
 *
 *   queueing disciplines   with a handle: somebody's choice        next hop objects   routes refer to them by number
 *   IPsec                  policies and states of XFRM             address sets       ipsets, which rules of iptables name
 *   virtual servers        IPVS                                    arptables
 *
 * In a prepared namespace (a container's) the last four are not looked for: whoever prepared it has made them, and will again.
 *
 * Not looked for: multicast routing and policies of sockets, which belong to sockets that are refused themselves; MPTCP's end points. */
#define LOG_PREFIX "net"
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/nexthop.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/fd.h"
#include "ns/net.h"

struct disciplines {
	const struct net_links *links;
	const NetDeviceEntry *found;
	char kind[32];
};

static int look_at_discipline(const struct nlmsghdr *m, void *arg)
{
	struct disciplines *x = arg;
	const struct tcmsg *t = netlink_header(m, sizeof *t);
	const struct nlattr *a[TCA_KIND + 1];

	if (!t || netlink_attributes(m, sizeof *t, a, TCA_KIND + 1) < 0)
		return -EBADMSG;
	if (x->found || !t->tcm_handle)   /* without a handle: the kernel's choice */
		return 0;
	for (size_t k = 0; k < x->links->list.n; k++)
		if ((int)x->links->list.data[k]->ifindex == t->tcm_ifindex && x->links->list.data[k]->has_link)
			x->found = x->links->list.data[k];
	const char *kind = netlink_get_string(a[TCA_KIND]);
	snprintf(x->kind, sizeof x->kind, "%s", kind ? kind : "?");
	return 0;
}

static int refuse_disciplines(struct netlink *nl, const struct net_links *links)
{
	struct disciplines x = { .links = links };
	struct tcmsg all = { .tcm_family = AF_UNSPEC };

	netlink_begin(nl, RTM_GETQDISC, 0, &all, sizeof all);
	int r = netlink_dump(nl, look_at_discipline, &x);
	if (r < 0 && r != -EINTR && r != -EOPNOTSUPP)
		return fail(-r, "list the queueing disciplines of the network namespace");
	return x.found ? fail_text(ENOTSUP, "network device %s has a queueing discipline (%s): saving it is not supported", x.found->name, x.kind) : 0;
}

/* --- anything at all --- */

static int found_one(const struct nlmsghdr *m, void *arg)
{
	(void)m;
	*(bool *)arg = true;
	return 0;
}

static int refuse(const char *what)
{
	return fail_text(ENOTSUP, "the network namespace has %s: saving them is not supported", what);
}

static int refuse_hops(struct netlink *nl)
{
	struct nhmsg all = { .nh_family = AF_UNSPEC };
	bool found = false;

	netlink_begin(nl, RTM_GETNEXTHOP, 0, &all, sizeof all);
	int r = netlink_dump(nl, found_one, &found);
	if (r < 0 && r != -EINTR && r != -EOPNOTSUPP)
		return fail(-r, "list the next hop objects of the network namespace");
	return found ? refuse("next hop objects (ip nexthop)") : 0;
}

/* A kernel without it has none. */
static int refuse_ipsec(void)
{
	static const union {
		struct xfrm_userpolicy_id policy;
		struct xfrm_usersa_id state;
	} all;
	autonetlink struct netlink nl = NETLINK_CLOSED;
	bool found = false;

	if (netlink_open(&nl, NETLINK_XFRM, -1) < 0)
		return 0;
	netlink_begin(&nl, XFRM_MSG_GETPOLICY, 0, &all.policy, sizeof all.policy);
	int r = netlink_dump(&nl, found_one, &found);
	netlink_begin(&nl, XFRM_MSG_GETSA, 0, &all.state, sizeof all.state);
	if (r >= 0 || r == -EINTR)
		r = netlink_dump(&nl, found_one, &found);
	if (r < 0 && r != -EINTR && r != -EOPNOTSUPP && r != -EINVAL)
		return fail(-r, "list the IPsec policies and states of the network namespace");
	return found ? refuse("IPsec policies or states (ip xfrm)") : 0;
}

static int see_set(const struct nlmsghdr *m, void *arg)
{
	const struct nlattr *a[IPSET_ATTR_SETNAME + 1];

	if (!netlink_header(m, sizeof(struct nfgenmsg)) || netlink_attributes(m, sizeof(struct nfgenmsg), a, IPSET_ATTR_SETNAME + 1) < 0)
		return -EBADMSG;
	*(bool *)arg |= a[IPSET_ATTR_SETNAME] != NULL;
	return 0;
}

static int refuse_sets(void)
{
	const struct nfgenmsg all = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };
	autonetlink struct netlink nl = NETLINK_CLOSED;
	bool found = false;

	if (netlink_open(&nl, NETLINK_NETFILTER, -1) < 0)
		return 0;
	netlink_begin(&nl, NFNL_SUBSYS_IPSET << 8 | IPSET_CMD_LIST, 0, &all, sizeof all);
	netlink_put_u8(&nl, IPSET_ATTR_PROTOCOL, IPSET_PROTOCOL_MIN);
	int r = netlink_dump(&nl, see_set, &found);
	if (r < 0 && r != -EINTR && r != -EOPNOTSUPP && r != -EINVAL && r != -ENOENT)
		return fail(-r, "list the address sets (ipset) of the network namespace");
	return found ? refuse("address sets (ipset)") : 0;
}

/* The services are indented by nothing: "TCP  0A000001:0050 rr". */
static bool serves(const char *text)
{
	return strstr(text, "\nTCP ") || strstr(text, "\nUDP ") || strstr(text, "\nSCTP ") || strstr(text, "\nFWM ");
}

static int refuse_text(const char *path, const char *what, bool (*wanted)(const char *text))
{
	autofree char *text = NULL;

	if (file_read(AT_FDCWD, path, &text, 1 << 20) <= 0 || !wanted(text))
		return 0;
	return refuse(what);
}

static bool any_text(const char *text)
{
	return *text != 0;
}

int net_refuse(struct netlink *nl, const struct net_links *links, bool prepared)
{
	int r = refuse_disciplines(nl, links);

	if (r >= 0)
		r = refuse_hops(nl);
	if (r < 0 || prepared)
		return r;
	r = refuse_ipsec();
	if (r >= 0)
		r = refuse_sets();
	if (r >= 0)
		r = refuse_text("/proc/thread-self/net/ip_vs", "virtual servers (IPVS)", serves);
	return r < 0 ? r : refuse_text("/proc/thread-self/net/arp_tables_names", "tables of arptables", any_text);
}
