/* SPDX-License-Identifier: Apache-2.0 */
/* The network namespace of a tree: devices (net_links.c), settings (net_sysctls.c), addresses, routes, rules and neighbours (net_tables.c),
 * rule sets and tracked connections (net_filter.c).
 *
 * At a restore the namespace is, in this order:
 *   given      by a runtime whose configuration names one (net_ready), by --join-ns, or by --inherit-fd for a checkpoint that was made with
 *              --external net[INODE]:KEY: it is left alone
 *   empty      --empty-ns net: a new one, in which nothing is made; action scripts may (setup-namespaces)
 *   made       as it was. A container's may have been prepared by hooks: what is there already stays.
 *
 * The order of making is: settings of the namespace, devices with theirs, up; addresses, routes, rules, neighbours; rule sets; connections. Until
 * tasks have their sockets nothing in the namespace talks. */
#define LOG_PREFIX "net"
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "ns/net.h"

static int open_netns(pid_t host_pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/net", host_pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? fail(errno, "open %s", path) : fd;
}

/* --- saving --- */

static int save_contents(struct dump *d, struct netlink *nl, uint32_t id, struct net_links *links)
{
	NetnsEntry ns = NETNS_ENTRY__INIT;
	int r = net_sysctls_save(d->arena, &ns);

	if (r >= 0)
		r = image_write_one(d->images, IMG_NETNS, id, &ns);
	if (r >= 0)
		r = net_links_save(d, nl, id, links);
	if (r >= 0)
		r = net_tables_save(d, nl, id, links);
	return r < 0 ? r : net_filter_save(d, id);
}

static int save_inside(struct dump *d, pid_t host_pid, uint32_t id)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct net_links links = { .arena = d->arena };
	int saved = -1, r = ns_enter(host_pid, NSK_NET, &saved);

	if (r < 0)
		return r;
	r = netlink_open(&nl, NETLINK_ROUTE, -1);
	r = r < 0 ? fail(-r, "open a netlink socket in the network namespace of task %d", host_pid) : save_contents(d, &nl, id, &links);
	net_links_done(&links);
	int back = ns_leave(NSK_NET, &saved);
	return r < 0 ? r : back;
}

/* The caller keeps the namespace and gives it back at restore: its key, "" for none. */
static const char *external_key(const struct dump *d, pid_t host_pid)
{
	uint64_t inode;
	char text[32];

	if (!d->o->external || proc_ns_inode(host_pid, "net", &inode) < 0)
		return NULL;
	snprintf(text, sizeof text, "%llu", (unsigned long long)inode);
	return net_external(d->o->external, "net", text);
}

int net_save(struct dump *d, uint32_t id)
{
	pid_t host_pid = tree_root(d->tree)->host_pid;
	const char *key = external_key(d, host_pid);
	NetnsEntry ns = NETNS_ENTRY__INIT;

	if (key && !*key)
		return fail_text(EINVAL, "--external net[INODE]: expected net[INODE]:KEY");
	if (key) {
		ns.ext_key = arena_str(d->arena, key);
		return image_write_one(d->images, IMG_NETNS, id, &ns);
	}
	return d->o->empty_net ? 0 : save_inside(d, host_pid, id);
}

/* --- restoring --- */

static int read_devices(struct net_restore *x)
{
	auto_image struct image *i = NULL;
	NetDeviceEntry *e;
	int r = image_open(x->r->images, IMG_NETDEV, x->id, &i);

	if (r < 0)
		return r == -ENOENT ? fail_text(ENOENT, "netdev-%u.img is missing: the checkpoint is not complete", x->id) : r;
	while ((r = image_read(i, x->r->arena, &e)) > 0) {
		struct net_link l = { .name = NULL, .kind = "", .parent_nsid = -1, .gen_mode = -1 };
		struct net_text text = { arena_dup(x->r->arena, e->has_link ? e->link.data : (void *)"", e->has_link ? e->link.len : 0), e->link.len, 0 };
		const struct nlmsghdr *m;
		if (e->has_link && (net_next(&text, &m) != 1 || net_link_parse(m, &l) < 0))
			return fail_text(EBADMSG, "netdev-%u.img: what the kernel said of %s is damaged", x->id, e->name);
		array_push(&x->saved.list) = e;
		array_push(&x->saved.links) = l;
	}
	return r;
}

static int make_inside(struct net_restore *x)
{
	int r = net_sysctls_restore(x->e);

	if (r >= 0)
		r = net_links_make(x);
	if (r >= 0)
		r = net_tables_restore(x);
	if (r >= 0)
		r = net_links_finish(x);
	return r < 0 ? r : net_filter_restore(x->r, x->id);
}

static int make_contents(struct net_restore *x, pid_t host_pid)
{
	int saved = -1, r = netlink_open(&x->home, NETLINK_ROUTE, -1);

	if (r >= 0)
		r = netlink_open(&x->nl, NETLINK_ROUTE, x->netns);
	if (r < 0)
		return fail(-r, "open a netlink socket for the network namespace of task %d", host_pid);
	r = ns_enter(host_pid, NSK_NET, &saved);
	if (r < 0)
		return r;
	x->home_ns = saved;
	r = make_inside(x);
	int back = ns_leave(NSK_NET, &saved);
	return r < 0 ? r : back;
}

static int restore_contents(struct restore *r, pid_t host_pid, uint32_t id, const NetnsEntry *e)
{
	struct net_restore x = { .r = r, .id = id, .nl = NETLINK_CLOSED, .home = NETLINK_CLOSED, .home_ns = -1, .e = e,
				 .saved.arena = r->arena, .present.arena = r->arena };
	int ret = read_devices(&x);

	x.netns = ret < 0 ? ret : open_netns(host_pid);
	ret = x.netns < 0 ? x.netns : make_contents(&x, host_pid);
	fd_close(&x.netns);
	netlink_close(&x.nl);
	netlink_close(&x.home);
	net_links_done(&x.saved);
	net_links_done(&x.present);
	array_free(&x.foreign);
	return ret;
}

/* A namespace that was the caller's is now one that the runtime made: loopback at least is of use. */
static int loopback_up(pid_t host_pid)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct ifinfomsg up = { .ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	autoclose int netns = open_netns(host_pid);
	int r = netns < 0 ? netns : netlink_open(&nl, NETLINK_ROUTE, netns);

	if (r >= 0) {
		netlink_begin(&nl, RTM_NEWLINK, 0, &up, sizeof up);
		r = netlink_request(&nl, NULL, NULL);
	}
	return r < 0 ? fail(-r, "bring loopback up in the network namespace of task %d", host_pid) : 0;
}

/* --- which one --- */

static int take_given(struct restore *r, int fd, const char *what)
{
	int type = fd < 0 ? -1 : ioctl(fd, NS_GET_NSTYPE);

	if (fd >= 0 && type != CLONE_NEWNET) {
		close(fd);
		return fail_text(EINVAL, "%s is no network namespace", what);
	}
	if (fd < 0)
		return fail(-fd, "open the network namespace %s", what);
	r->net_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	close(fd);
	if (r->net_fd < 0)
		return fail(errno, "keep the network namespace %s", what);
	r->own_ns[NSK_NET] = r->net_given = true;
	r->clone_flags &= ~(uint64_t)CLONE_NEWNET;
	return 0;
}

static int join(struct restore *r)
{
	const char *where = r->o->join_net;
	uint64_t pid;
	autofree char *path = parse_u64(where, 10, &pid) < 0 ? str_dup(where) : str_printf("/proc/%s/ns/net", where);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return take_given(r, fd < 0 ? -errno : fd, path);
}

static int take_inherited(struct restore *r, const char *key)
{
	for (size_t i = 0; i < r->o->n_inherit; i++)
		if (!strcmp(r->o->inherit[i].key, key)) {
			int fd = fcntl(r->o->inherit[i].fd, F_DUPFD_CLOEXEC, 3);
			return take_given(r, fd < 0 ? -errno : fd, key);
		}
	fail_text(ENOENT, "the checkpoint's network namespace was the caller's (%s), who has to give it", key);
	fail_hint("restore with --inherit-fd 'fd[N]:%s', where N is a descriptor of the namespace, or with --join-ns net:FILE", key);
	return -ENOENT;
}

/* Which namespace the tree gets, before there is one. */
int net_read(struct restore *r, uint32_t id)
{
	NetnsEntry *e = NULL;

	r->net_given = r->o->net_ready;
	if (r->o->join_net)
		return join(r);
	if (!r->own_ns[NSK_NET] || r->net_given || r->o->empty_net)
		return 0;
	int ret = image_read_one(r->images, IMG_NETNS, id, r->arena, &e);
	if (ret == -ENOENT && r->o->husk) {
		log_warn("netns-%u.img is missing: nothing is done in the network namespace", id);
		return 0;
	}
	if (ret < 0)
		return ret == -ENOENT ? fail_text(ENOENT, "netns-%u.img is missing: the checkpoint is not complete, or was made with --empty-ns net and "
						  "is to be restored with it", id) : ret;
	if (e->ext_key && !r->o->husk)
		return take_inherited(r, e->ext_key);
	r->netns = e;
	return 0;
}

int net_restore(struct restore *r, struct task *root, uint32_t id)
{
	const NetnsEntry *e = r->netns;

	if (r->net_given || !e)
		return 0;
	return e->ext_key ? loopback_up(root->host_pid) : restore_contents(r, root->host_pid, id, e);
}
