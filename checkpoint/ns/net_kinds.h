/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_NET_KINDS_H
#define NS_NET_KINDS_H

#include "ns/net.h"

/* A kind of network device that can be made again. */
struct net_kind {
	const char *name;            /* the kernel's: IFLA_INFO_KIND */
	NdType type;                 /* CRIU's; ND_TYPE__EXTLINK: it has none */
	bool linked;                 /* IFLA_LINK is another device: a parent, or a veth's other end */
	bool parent;                 /* which must be there first, if there is one */
	const uint16_t *attributes;  /* of IFLA_INFO_DATA that a restore sets; ends with 0 */
};
const struct net_kind *net_kind_find(const char *name);      /* NULL: cannot be made */
const struct net_kind *net_kind_of(NdType type);             /* for an entry without the kernel's message */
bool net_kind_fallback(const char *device, uint32_t flags);  /* the kernel makes it, and nobody uses it */
extern const uint16_t net_port_attributes[];                 /* of IFLA_INFO_SLAVE_DATA of a bridge's port */


/* net_tun.c: tun and tap devices, which are made by an ioctl. */
int net_tun_save(struct arena *arena, const struct net_link *l, NetDeviceEntry *e);
const char *net_tun_obstacle(const struct net_link *l);      /* why it cannot be saved, or NULL */
int net_tun_make(const NetDeviceEntry *e);                   /* this thread is in the namespace */

#endif
