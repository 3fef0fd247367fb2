/* SPDX-License-Identifier: Apache-2.0 */
/* Tun and tap devices that stay when nobody has them open (TUNSETPERSIST): made again through /dev/net/tun of the engine, whose file belongs
 * to the network namespace of the thread that opens it.
 *
 * Kernel facts relied on: a device without a queue is held by nobody (IFLA_TUN_NUM_QUEUES, 4.20); TUNSETIFINDEX chooses its number (3.12).
 *
 * Not handled: a device that a program has open (the program's file is refused by itself; another's, here). Not kept: the size of the header
 * (TUNSETVNETHDRSZ) and of the send buffer, which whoever opens the device sets anyway. */
#define LOG_PREFIX "net"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/err.h"
#include "base/fd.h"
#include "ns/net_kinds.h"

#define HEADER_SIZE 10   /* struct virtio_net_hdr */

static bool has(const struct nlattr *a)
{
	uint8_t value = 0;

	return netlink_get(a, &value, sizeof value) && value;
}

int net_tun_save(struct arena *arena, const struct net_link *l, NetDeviceEntry *e)
{
	const struct nlattr *a[IFLA_TUN_NUM_DISABLED_QUEUES + 1];
	TunLinkEntry *t = arena_new(arena, TunLinkEntry);
	uint32_t id;
	uint8_t type = 0;

	if (netlink_nested(l->data, a, IFLA_TUN_NUM_DISABLED_QUEUES + 1) < 0 || !netlink_get(a[IFLA_TUN_TYPE], &type, sizeof type))
		return fail_text(ENOTSUP, "network device %s: the kernel does not say what kind of tun device it is (4.20 does)", e->name);
	tun_link_entry__init(t);
	t->flags = type | (has(a[IFLA_TUN_PI]) ? 0u : IFF_NO_PI) | (has(a[IFLA_TUN_VNET_HDR]) ? IFF_VNET_HDR : 0u) |
		   (has(a[IFLA_TUN_MULTI_QUEUE]) ? IFF_MULTI_QUEUE : 0u) | (has(a[IFLA_TUN_PERSIST]) ? (uint32_t)IFF_PERSIST : 0);
	t->owner = netlink_get_u32(a[IFLA_TUN_OWNER], &id) ? (int32_t)id : -1;
	t->group = netlink_get_u32(a[IFLA_TUN_GROUP], &id) ? (int32_t)id : -1;
	t->vnethdr = HEADER_SIZE;
	t->sndbuf = INT_MAX;
	e->tun = t;
	return 0;
}

const char *net_tun_obstacle(const struct net_link *l)
{
	const struct nlattr *a[IFLA_TUN_NUM_DISABLED_QUEUES + 1];
	uint32_t queues = 0, disabled = 0;

	if (netlink_nested(l->data, a, IFLA_TUN_NUM_DISABLED_QUEUES + 1) < 0)
		return "the kernel does not say what kind of tun device it is";
	netlink_get_u32(a[IFLA_TUN_NUM_QUEUES], &queues);
	netlink_get_u32(a[IFLA_TUN_NUM_DISABLED_QUEUES], &disabled);
	if (!has(a[IFLA_TUN_PERSIST]) || queues || disabled)
		return "a tun or tap device that a program has open cannot be saved";
	return NULL;
}

static int give(int fd, const NetDeviceEntry *e, unsigned long request, unsigned long value, const char *what)
{
	return ioctl(fd, request, value) < 0 ? fail(errno, "network device %s: %s", e->name, what) : 0;
}

/* CRIU's images name flags that the kernel only tells. */
static int attach(int fd, const NetDeviceEntry *e)
{
	const uint32_t told = IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_ONE_QUEUE | IFF_VNET_HDR | IFF_MULTI_QUEUE;
	unsigned index = e->ifindex;
	struct ifreq r = { .ifr_flags = (short)(e->tun->flags & told) };

	if (ioctl(fd, TUNSETIFINDEX, &index) < 0)
		return fail(errno, "network device %s: choose its number %u", e->name, index);
	snprintf(r.ifr_name, sizeof r.ifr_name, "%s", e->name);
	return ioctl(fd, TUNSETIFF, &r) < 0 ? fail(errno, "make network device %s (tun, number %u)", e->name, index) : 0;
}

int net_tun_make(const NetDeviceEntry *e)
{
	if (!e->tun)
		return fail_text(EBADMSG, "network device %s: the images do not say what kind of tun device it is", e->name);
	autoclose int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	int r = fd < 0 ? fail(errno, "open /dev/net/tun to make network device %s", e->name) : attach(fd, e);

	if (r >= 0 && e->tun->owner >= 0)
		r = give(fd, e, TUNSETOWNER, (unsigned long)e->tun->owner, "give it to its owner");
	if (r >= 0 && e->tun->group >= 0)
		r = give(fd, e, TUNSETGROUP, (unsigned long)e->tun->group, "give it to its group");
	return r < 0 ? r : give(fd, e, TUNSETPERSIST, 1, "let it stay (TUNSETPERSIST)");
}
