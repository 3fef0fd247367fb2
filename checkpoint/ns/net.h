/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_NET_H
#define NS_NET_H

#include <linux/netlink.h>

#include "base/netlink.h"
#include "base/str.h"
#include "netdev.pb-c.h"
#include "ns/internal.h"

/* --- net_parse.c: what the kernel or an image says, bounds checked, no system calls --- */

/* A message about a network device (RTM_NEWLINK). Pointers point into the message. */
struct net_link {
	int index, parent;             /* parent: IFLA_LINK, 0 none; that of a veth is its other end */
	int parent_nsid;               /* the parent is in another namespace, by this one's number for it; -1: in the same */
	uint32_t master, mtu, txqlen, flags;
	unsigned type;                 /* ARPHRD_… */
	const char *name, *kind;       /* kind "": none (a piece of hardware, or loopback) */
	const void *address;
	size_t address_size;
	const struct nlattr *data;     /* IFLA_INFO_DATA, NULL: none */
	const struct nlattr *port;     /* IFLA_INFO_SLAVE_DATA of a bridge's port, NULL: none */
	int gen_mode;                  /* how IPv6 makes link-local addresses; -1: not known */
	uint32_t group;
	const char *alias;             /* NULL: none */
	const struct nlattr *properties;   /* with its other names, NULL: none */
	bool xdp;                      /* a program is attached to it */
};
int net_link_parse(const struct nlmsghdr *m, struct net_link *out);   /* 0 or -EBADMSG */

/* The next of the messages that lie one after the other in an image: 1, 0 at the end, -EBADMSG. */
struct net_text {
	const char *data;
	size_t size, at;
};
int net_next(struct net_text *t, const struct nlmsghdr **out);
/* Attributes one after the other: NULL at the end, and at what is not one. header: bytes after the nlmsghdr before them. */
struct net_attributes {
	const char *at;
	size_t left;
};
struct net_attributes net_attributes(const struct nlmsghdr *m, size_t header);
struct net_attributes net_attributes_in(const struct nlattr *nest);
const struct nlattr *net_attribute(struct net_attributes *w);

/* The kinds of messages kept as raw images, by what a message is. */
enum net_table { NET_ADDRESS, NET_ROUTE, NET_RULE, NET_NEIGHBOUR, NET_FORWARDING };
/* The device that an address, a route or a neighbour is on (0: none, or several), or -EBADMSG for a malformed message. */
int net_message_device(const struct nlmsghdr *m, enum net_table table);
/* Whether a message belongs into the image (the kernel makes the others by itself), or -EBADMSG. */
int net_message_wanted(const struct nlmsghdr *m, enum net_table table);
/* As a request that makes it again. 0, or -EBADMSG. */
int net_message_request(struct netlink *nl, const struct nlmsghdr *m, enum net_table table);

/* --- net_links.c, net_relink.c --- */

struct net_links {
	struct arena *arena;
	ARRAY(NetDeviceEntry *) list;
	ARRAY(struct net_link) links;  /* of the same order */
};
int net_list(struct netlink *nl, struct net_links *links);
void net_links_done(struct net_links *links);
const NetDeviceEntry *net_find(const struct net_links *links, const char *name);

/* What the caller says of a resource of a kind ("veth", "macvlan", "netdev"): the text after "KIND[NAME]:", "" if there is none, NULL if the
 * list does not have it. */
const char *net_external(const char *const *list, const char *kind, const char *name);

/* net_refuse.c: what else is there that cannot be saved. prepared: by others, who make it again. This thread is in the namespace. */
int net_refuse(struct netlink *nl, const struct net_links *links, bool prepared);

int net_links_save(struct dump *d, struct netlink *nl, uint32_t id, struct net_links *links);

/* A restore of one namespace. This thread is in it. */
struct net_restore {
	struct restore *r;
	uint32_t id;
	struct netlink nl, home;       /* rtnetlink there, and where the engine is */
	int netns, home_ns;
	struct net_links saved;        /* netdev.img; links: what their messages say, name NULL where there is none */
	struct net_links present;
	const NetnsEntry *e;
	ARRAY(uint32_t) foreign;       /* devices of the images, by number, that others have made, or nobody: nothing is done on them */
};
int net_links_make(struct net_restore *x);      /* all devices, up */
int net_links_finish(struct net_restore *x);    /* when the addresses are there */

/* --- net_tables.c: addresses, routes, rules, neighbours --- */

int net_tables_save(struct dump *d, struct netlink *nl, uint32_t id, const struct net_links *links);
int net_tables_restore(struct net_restore *x);

/* --- net_sysctls.c; this thread is in the namespace --- */

int net_sysctls_save(struct arena *arena, NetnsEntry *e);
int net_sysctls_save_device(struct arena *arena, NetDeviceEntry *e);
int net_sysctls_restore(const NetnsEntry *e);
int net_sysctls_restore_device(const NetnsEntry *n, const NetDeviceEntry *e);
/* No duplicate address detection until the second call: the addresses were in use. */
int net_dad_off(const char *device);
int net_dad_back(const NetnsEntry *e, const struct net_links *saved);

/* --- net_filter.c: nftables, iptables, connections that are tracked; this thread is in the namespace --- */

int net_filter_save(struct dump *d, uint32_t id);
int net_filter_restore(struct restore *r, uint32_t id);

#endif
