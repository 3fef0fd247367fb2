/* SPDX-License-Identifier: Apache-2.0 */
/* Rule sets and tracked connections of a network namespace, in CRIU's images:
 *
 *   nftables            the text of `nft list table` for each table, but for the tables of a network lock (torpor's and CRIU's)
 *   iptables, ip6tables the text of iptables-legacy-save, if the namespace has tables of the older kind
 *   netns-ct, netns-exp the kernel's own messages (nfnetlink) about connections and expectations
 *
 * nft and iptables are programs that have to be there when there is something to save or to restore, and only then; this thread is in the
 * namespace, so that what it starts is too. A rule that nft cannot say in its own words (it comes from iptables-nft and has an extension of
 * iptables) stops the dump.
 *
 * At restore a namespace that has tables already is left alone: it was prepared with its rules. A connection that exists already stays. */
#define LOG_PREFIX "net"
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "ns/net_tool.h"

#define IMAGE_MAX (256u << 20)
#define TYPE(subsystem, message) (uint16_t)((subsystem) << 8 | (message))

static int open_netfilter(struct netlink *nl)
{
	int r = netlink_open(nl, NETLINK_NETFILTER, -1);

	return r == -EPROTONOSUPPORT || r >= 0 ? r : fail(-r, "open a netfilter socket in the network namespace");
}

/* Without a subsystem in the kernel there is nothing to list: 0. */
static int list(struct netlink *nl, uint16_t type, netlink_handler handler, void *arg, const char *what)
{
	struct nfgenmsg all = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };
	int r;

	do {
		netlink_begin(nl, type, 0, &all, sizeof all);
		r = netlink_dump(nl, handler, arg);
	} while (r == -EINTR);
	return r < 0 && r != -EINVAL && r != -EOPNOTSUPP ? fail(-r, "list the %s of the network namespace", what) : 0;
}

/* --- nftables --- */

struct tables {
	struct arena *arena;
	ARRAY(char *) words;      /* "inet", "name" */
};

static const char *family_name(unsigned family)
{
	static const struct {
		unsigned family;
		const char *name;
	} names[] = { { NFPROTO_INET, "inet" }, { NFPROTO_IPV4, "ip" }, { NFPROTO_IPV6, "ip6" }, { NFPROTO_ARP, "arp" },
		      { NFPROTO_BRIDGE, "bridge" }, { NFPROTO_NETDEV, "netdev" } };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].family == family)
			return names[i].name;
	return NULL;
}

static int take_table(const struct nlmsghdr *m, void *arg)
{
	struct tables *t = arg;
	const struct nfgenmsg *h = netlink_header(m, sizeof *h);
	const struct nlattr *a[NFTA_TABLE_NAME + 1];

	if (!h || netlink_attributes(m, sizeof *h, a, NFTA_TABLE_NAME + 1) < 0)
		return -EBADMSG;
	const char *name = netlink_get_string(a[NFTA_TABLE_NAME]), *family = family_name(h->nfgen_family);
	if (!name || !family)
		return -EBADMSG;
	if (h->nfgen_family == NFPROTO_INET && (str_starts(name, "torpor-") || str_starts(name, "CRIU")))
		return 0;
	array_push(&t->words) = arena_str(t->arena, family);
	array_push(&t->words) = arena_str(t->arena, name);
	return 0;
}

static int list_tables(struct tables *t)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	int r = open_netfilter(&nl);

	t->words.n = 0;
	return r < 0 ? (r == -EPROTONOSUPPORT ? 0 : r) : list(&nl, TYPE(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE), take_table, t, "nftables tables");
}

/* nft's own comments say what it had no words for. */
static int check_text(int fd, const char *name)
{
	static const char *const unsaid[] = { "xt match", "xt target", "# xt_", "unknown expression" };
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size > IMAGE_MAX)
		return fail(st.st_size > IMAGE_MAX ? EFBIG : errno, "look at what nft says");
	autofree char *text = mem_zalloc((size_t)st.st_size + 1);
	int r = fd_pread_all(fd, text, (size_t)st.st_size, 0);
	for (size_t i = 0; i < sizeof unsaid / sizeof *unsaid && r >= 0; i++)
		if (strstr(text, unsaid[i]))
			return fail_text(ENOTSUP, "the nftables table %s has rules of iptables that nft cannot list (%s): saving them is not supported", name,
					 unsaid[i]);
	return r < 0 ? fail(-r, "read what nft says") : 0;
}

static int save_nftables(struct dump *d, uint32_t id)
{
	struct tables t = { .arena = d->arena };
	autofree char *name = str_printf("nftables-%u.img", id);
	int r = list_tables(&t);
	autoclose int fd = r < 0 || !t.words.n ? -1 : image_create_raw(d->images, name);

	if (r >= 0 && t.words.n && fd < 0)
		r = fd;
	for (size_t i = 0; i + 1 < t.words.n && r >= 0; i += 2) {
		const char *const argv[] = { "nft", "list", "table", t.words.data[i], t.words.data[i + 1], NULL };
		r = net_tool(argv, -1, fd);
		if (r >= 0)
			r = check_text(fd, t.words.data[i + 1]);
	}
	array_free(&t.words);
	return r;
}

/* -ENOENT: nothing was saved, or nothing was there. */
static int open_saved(struct restore *r, const char *name)
{
	struct stat st;
	autoclose int fd = image_open_raw(r->images, name);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return fail(errno, "look at %s", name);
	return st.st_size ? take_fd(&fd) : -ENOENT;
}

static int restore_nftables(struct restore *r, uint32_t id)
{
	static const char *const argv[] = { "nft", "-f", "-", NULL };
	autofree char *name = str_printf("nftables-%u.img", id);
	struct tables t = { .arena = r->arena };
	autoclose int fd = open_saved(r, name);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	int ret = list_tables(&t);
	size_t present = t.words.n;
	array_free(&t.words);
	if (ret < 0)
		return ret;
	if (present) {
		log_info("the network namespace has nftables tables already: those of the checkpoint are not added");
		return 0;
	}
	return net_tool(argv, fd, -1);
}

/* --- iptables --- */

static const struct legacy {
	const char *image, *names, *save, *restore;
} legacy[] = {
	{ "iptables", "/proc/thread-self/net/ip_tables_names", "iptables-legacy-save", "iptables-legacy-restore" },
	{ "ip6tables", "/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy-save", "ip6tables-legacy-restore" },
};

static int save_legacy(struct dump *d, const struct legacy *l, uint32_t id)
{
	const char *const argv[] = { l->save, "-c", NULL };
	autofree char *name = str_printf("%s-%u.img", l->image, id), *tables = NULL;

	if (file_read(AT_FDCWD, l->names, &tables, 4096) <= 0)
		return 0;
	autoclose int fd = image_create_raw(d->images, name);
	return fd < 0 ? fd : net_tool(argv, -1, fd);
}

static int restore_legacy(struct restore *r, const struct legacy *l, uint32_t id)
{
	const char *const argv[] = { l->restore, "-w", "-c", NULL };
	autofree char *name = str_printf("%s-%u.img", l->image, id);
	autoclose int fd = open_saved(r, name);

	return fd < 0 ? fd == -ENOENT ? 0 : fd : net_tool(argv, fd, -1);
}

/* --- connections --- */

static const struct tracked {
	const char *image, *what;
	uint16_t get, made;
} tracked[] = {
	{ "netns-ct", "tracked connections", TYPE(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET), TYPE(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW) },
	{ "netns-exp", "expected connections", TYPE(NFNL_SUBSYS_CTNETLINK_EXP, IPCTNL_MSG_EXP_GET),
	  TYPE(NFNL_SUBSYS_CTNETLINK_EXP, IPCTNL_MSG_EXP_NEW) },
};

static int write_message(const struct nlmsghdr *m, void *arg)
{
	static const char zero[4];
	int r = fd_write_all(*(int *)arg, m, m->nlmsg_len);

	return r < 0 ? r : fd_write_all(*(int *)arg, zero, -m->nlmsg_len & 3);
}

static int save_tracked(struct dump *d, struct netlink *nl, const struct tracked *t, uint32_t id)
{
	autofree char *name = str_printf("%s-%u.img", t->image, id);
	autoclose int fd = image_create_raw(d->images, name);

	return fd < 0 ? fd : list(nl, t->get, write_message, &fd, t->what);
}

/* CRIU has connections in both images. */
static bool is_tracked(const struct nlmsghdr *m)
{
	return m->nlmsg_type == tracked[0].made || m->nlmsg_type == tracked[1].made;
}

static int make_tracked(struct netlink *nl, const struct nlmsghdr *m)
{
	const struct nfgenmsg *h = netlink_header(m, sizeof *h);
	struct net_attributes w = net_attributes(m, sizeof *h);

	if (!h)
		return -EBADMSG;
	netlink_begin(nl, m->nlmsg_type, NLM_F_CREATE | NLM_F_EXCL, h, sizeof *h);
	for (const struct nlattr *a; (a = net_attribute(&w));) {
		size_t size;
		const void *data = netlink_data(a, &size);
		netlink_put(nl, a->nla_type, data, size);
	}
	int r = netlink_request(nl, NULL, NULL);
	return r == -EEXIST ? 0 : r;
}

static int restore_tracked(struct restore *r, struct netlink *nl, const struct tracked *t, uint32_t id)
{
	autofree char *name = str_printf("%s-%u.img", t->image, id), *data = NULL;
	const struct nlmsghdr *m;
	struct stat st;
	autoclose int fd = image_open_raw(r->images, name);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fstat(fd, &st) < 0 || st.st_size > IMAGE_MAX)
		return fail(EFBIG, "read %s", name);
	data = mem_alloc((size_t)st.st_size + 1);
	int ret = fd_read_all(fd, data, (size_t)st.st_size);
	if (ret < 0)
		return fail(-ret, "read %s", name);
	struct net_text text = { data, (size_t)st.st_size, 0 };
	while ((ret = net_next(&text, &m)) == 1) {
		ret = is_tracked(m) ? make_tracked(nl, m) : -EBADMSG;
		if (ret < 0)
			return fail(-ret, "%s: make one of the %s again%s%s", name, t->what, nl->reason[0] ? ": " : "", nl->reason);
	}
	return ret < 0 ? fail_text(EBADMSG, "%s: a message is damaged", name) : 0;
}

/* --- all --- */

int net_filter_save(struct dump *d, uint32_t id)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	int r = save_nftables(d, id);

	for (size_t i = 0; i < 2 && r >= 0; i++)
		r = save_legacy(d, &legacy[i], id);
	if (r >= 0)
		r = open_netfilter(&nl);
	if (r < 0)
		return r == -EPROTONOSUPPORT ? 0 : r;
	for (size_t i = 0; i < 2 && r >= 0; i++)
		r = save_tracked(d, &nl, &tracked[i], id);
	return r;
}

int net_filter_restore(struct restore *r, uint32_t id)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	int ret = 0;

	for (size_t i = 0; i < 2 && ret >= 0; i++)
		ret = restore_legacy(r, &legacy[i], id);
	if (ret >= 0)
		ret = restore_nftables(r, id);
	if (ret >= 0)
		ret = open_netfilter(&nl);
	if (ret < 0)
		return ret == -EPROTONOSUPPORT ? 0 : ret;
	for (size_t i = 0; i < 2 && ret >= 0; i++)
		ret = restore_tracked(r, &nl, &tracked[i], id);
	return ret;
}
