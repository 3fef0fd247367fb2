/* SPDX-License-Identifier: Apache-2.0 */
/* The network namespace, as far as a container's own set-up goes: its devices are listed in the image, and the loopback device is
 * brought up again if it was up (in a new namespace it is down and has no address until then). Everything else in the namespace (veth
 * and other links, addresses, routes, rules) is made by whoever prepares the namespace for the runtime, and is found ready at restore:
 * a device that is missing then is named in a warning. */
#define LOG_PREFIX "net"
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/netlink.h"
#include "netdev.pb-c.h"
#include "ns/internal.h"

struct links {
	struct arena *arena;
	ARRAY(NetDeviceEntry *) list;
};

static NdType link_type(const struct ifinfomsg *info)
{
	return info->ifi_type == ARPHRD_LOOPBACK ? ND_TYPE__LOOPBACK : ND_TYPE__EXTLINK;
}

static int add_link(const struct nlmsghdr *m, void *arg)
{
	struct links *links = arg;
	const struct ifinfomsg *info = netlink_header(m, sizeof *info);
	const struct nlattr *a[IFLA_MAX + 1];

	if (!info || netlink_attributes(m, sizeof *info, a, IFLA_MAX + 1) < 0)
		return -EBADMSG;
	const char *name = netlink_get_string(a[IFLA_IFNAME]);
	uint32_t mtu = 0;
	size_t size = 0;
	const void *address = netlink_data(a[IFLA_ADDRESS], &size);
	netlink_get_u32(a[IFLA_MTU], &mtu);
	NetDeviceEntry *e = arena_new(links->arena, NetDeviceEntry);
	net_device_entry__init(e);
	e->type = link_type(info);
	e->ifindex = (uint32_t)info->ifi_index;
	e->mtu = mtu;
	e->flags = info->ifi_flags;
	e->name = arena_str(links->arena, name ? name : "");
	if (address && size && e->type != ND_TYPE__LOOPBACK) {
		e->has_address = 1;
		e->address.len = size;
		e->address.data = arena_dup(links->arena, address, size);
	}
	array_push(&links->list) = e;
	return 0;
}

static int list_links(pid_t host_pid, struct links *links)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct ifinfomsg all = { .ifi_family = AF_UNSPEC };
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/net", host_pid);
	autoclose int netns = open(path, O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return fail(errno, "open %s", path);
	int r = netlink_open(&nl, NETLINK_ROUTE, netns);
	if (r < 0)
		return fail(-r, "open a netlink socket in the network namespace of task %d", host_pid);
	do {
		links->list.n = 0;
		netlink_begin(&nl, RTM_GETLINK, 0, &all, sizeof all);
		r = netlink_dump(&nl, add_link, links);
	} while (r == -EINTR);
	return r < 0 ? fail(-r, "list the network devices of task %d", host_pid) : 0;
}

int net_save(struct dump *d, uint32_t id)
{
	struct links links = { .arena = d->arena };
	NetnsEntry ns = NETNS_ENTRY__INIT;
	auto_image struct image *i = NULL;
	int r = list_links(tree_root(d->tree)->host_pid, &links);

	if (r >= 0)
		r = image_write_one(d->images, IMG_NETNS, id, &ns);
	if (r >= 0)
		r = image_create(d->images, IMG_NETDEV, id, &i);
	for (size_t k = 0; k < links.list.n && r >= 0; k++)
		r = image_write(i, links.list.data[k]);
	array_free(&links.list);
	return r < 0 ? r : image_close(&i);
}

static const NetDeviceEntry *find_link(const struct links *links, const char *name)
{
	for (size_t k = 0; k < links->list.n; k++)
		if (!strcmp(links->list.data[k]->name, name))
			return links->list.data[k];
	return NULL;
}

static int link_up(pid_t host_pid, const NetDeviceEntry *link)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct ifinfomsg up = { .ifi_index = (int)link->ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/net", host_pid);
	autoclose int netns = open(path, O_RDONLY | O_CLOEXEC);
	int r = netns < 0 ? -errno : netlink_open(&nl, NETLINK_ROUTE, netns);
	if (r >= 0) {
		netlink_begin(&nl, RTM_NEWLINK, 0, &up, sizeof up);
		r = netlink_request(&nl, NULL, NULL);
	}
	return r < 0 ? fail(-r, "bring network device %s up in the namespace of task %d", link->name, host_pid) : 0;
}

static int restore_link(const NetDeviceEntry *e, const struct links *present, pid_t host_pid)
{
	const NetDeviceEntry *now = find_link(present, e->name);

	if (!now) {
		log_warn("network device %s of the checkpoint is not in the network namespace prepared for it", e->name);
		return 0;
	}
	if (e->type == ND_TYPE__LOOPBACK && (e->flags & IFF_UP) && !(now->flags & IFF_UP))
		return link_up(host_pid, now);
	return 0;
}

int net_restore(struct restore *r, struct task *root, uint32_t id)
{
	struct links present = { .arena = r->arena };
	auto_image struct image *i = NULL;
	NetDeviceEntry *e;
	int ret = image_open(r->images, IMG_NETDEV, id, &i);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	ret = list_links(root->host_pid, &present);
	while (ret >= 0 && (ret = image_read(i, r->arena, &e)) > 0)
		ret = restore_link(e, &present, root->host_pid);
	array_free(&present.list);
	return ret;
}
