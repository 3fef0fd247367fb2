/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, routes, routing rules and neighbours: raw images of the kernel's own messages, with the numbers in front that iproute2 puts
 * there, so that `ip address restore`, `ip route restore` and `ip rule restore` (CRIU's way) read them, and theirs are read here.
 *
 *   ifaddr   IPv4 and IPv6 addresses         route, route6   routes of all tables, but those that come with addresses
 *   rule     IPv4 rules, in order            rule6, neigh    torpor's own: IPv6 rules (if they are not the default), permanent neighbours
 *                                            fdb             torpor's own: what somebody has put into a bridge's forwarding table
 *
 * 1. The order of restore is the table's: a route needs the address that its gateway is reached from.
 * 2. A route may need another that comes later: what is refused is tried again as long as something succeeds.
 * 3. What is there already is well: a prefix route came with its address.
 * 4. Rules are compared as a whole; if they differ, those of the new namespace are removed first.
 *
 * What is on a device made by others (the caller said so: prepared_net) is theirs too, and is left out.
 *
 * Not handled: entries of a bridge's multicast table. */
#define LOG_PREFIX "net"
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "ns/net.h"

#define MAGIC_ADDRESS 0x47361222u
#define MAGIC_ROUTE 0x45311224u
#define MAGIC_RULE 0x71706986u
#define MAGIC_NEIGHBOUR 0x4e454947u   /* nobody else's */
#define IMAGE_MAX (256u << 20)

static const struct row {
	const char *image, *what;
	enum net_table table;
	uint32_t magic;
	uint16_t get;
	uint8_t family;
	bool optional;     /* no image, if there is nothing in it */
} rows[] = {
	{ "ifaddr", "addresses", NET_ADDRESS, MAGIC_ADDRESS, RTM_GETADDR, AF_UNSPEC, false },
	{ "route", "IPv4 routes", NET_ROUTE, MAGIC_ROUTE, RTM_GETROUTE, AF_INET, false },
	{ "route6", "IPv6 routes", NET_ROUTE, MAGIC_ROUTE, RTM_GETROUTE, AF_INET6, false },
	{ "rule", "IPv4 routing rules", NET_RULE, MAGIC_RULE, RTM_GETRULE, AF_INET, false },
	{ "rule6", "IPv6 routing rules", NET_RULE, MAGIC_RULE, RTM_GETRULE, AF_INET6, true },
	{ "neigh", "neighbours", NET_NEIGHBOUR, MAGIC_NEIGHBOUR, RTM_GETNEIGH, AF_UNSPEC, true },
	{ "fdb", "entries of bridges", NET_FORWARDING, MAGIC_NEIGHBOUR, RTM_GETNEIGH, AF_BRIDGE, true },
};
#define ROWS (sizeof rows / sizeof *rows)
#define NEIGHBOURS (&rows[5])

struct table {
	const struct row *row;
	const struct net_links *links;   /* NULL: no device is somebody else's */
	ARRAY(char) text;
};

/* --- saving --- */

static bool is_foreign(const struct net_links *links, int device)
{
	for (size_t i = 0; links && i < links->list.n; i++)
		if ((int)links->list.data[i]->ifindex == device)
			return links->list.data[i]->type == ND_TYPE__EXTLINK && !links->list.data[i]->has_link;
	return false;
}

static void append(struct table *t, const void *data, size_t size)
{
	while (t->text.cap < t->text.n + size)
		t->text.data = array_grow(t->text.data, t->text.cap, &t->text.cap, 1);
	memcpy(t->text.data + t->text.n, data, size);
	t->text.n += size;
}

static int take(const struct nlmsghdr *m, void *arg)
{
	static const char zero[8];
	struct table *t = arg;
	int r = net_message_wanted(m, t->row->table);

	if (r <= 0)
		return r;
	r = net_message_device(m, t->row->table);
	if (r < 0 || is_foreign(t->links, r))
		return r < 0 ? r : 0;
	append(t, m, m->nlmsg_len);
	append(t, zero, -m->nlmsg_len & 3);
	return 0;
}

static int list(struct netlink *nl, struct table *t, uint8_t flags)
{
	/* Every request's header begins with the family; for neighbours there are flags. */
	union {
		struct ifaddrmsg address;
		struct rtmsg route;
		struct fib_rule_hdr rule;
		struct ndmsg neighbour;
	} all = { .address.ifa_family = t->row->family };
	static const size_t sizes[] = { sizeof all.address, sizeof all.route, sizeof all.rule, sizeof all.neighbour, sizeof all.neighbour };
	size_t mark = t->text.n;
	int r;

	all.neighbour.ndm_flags = t->row->table == NET_NEIGHBOUR ? flags : all.neighbour.ndm_flags;
	do {
		t->text.n = mark;
		netlink_begin(nl, t->row->get, 0, &all, sizes[t->row->table]);
		r = netlink_dump(nl, take, t);
	} while (r == -EINTR);
	if (r == -EOPNOTSUPP || r == -EAFNOSUPPORT)   /* no such family in this kernel */
		return 0;
	return r < 0 ? fail(-r, "list the %s of the network namespace", t->row->what) : 0;
}

static int write_image(struct dump *d, const struct table *t, uint32_t id)
{
	char name[32];

	snprintf(name, sizeof name, "%s-%u.img", t->row->image, id);
	autoclose int fd = image_create_raw(d->images, name);
	if (fd < 0)
		return fd;
	int r = fd_write_all(fd, &t->row->magic, sizeof t->row->magic);
	if (r >= 0)
		r = fd_write_all(fd, t->text.data, t->text.n);
	return r < 0 ? fail(-r, "write %s", name) : 0;
}

/* Rules as a new namespace has them: local, main (and, for IPv4, default), without conditions. */
static bool is_default(const struct table *t)
{
	struct net_text text = { t->text.data, t->text.n, 0 };
	const struct nlmsghdr *m;
	unsigned n = 0;

	while (net_next(&text, &m) == 1) {
		const struct fib_rule_hdr *h = netlink_header(m, sizeof *h);
		const struct nlattr *a[FRA_PRIORITY + 1];
		uint32_t priority = 0;
		if (!h || netlink_attributes(m, sizeof *h, a, FRA_PRIORITY + 1) < 0)
			return false;
		netlink_get_u32(a[FRA_PRIORITY], &priority);
		if (h->src_len || h->dst_len || h->tos || h->flags || h->action != FR_ACT_TO_TBL || h->table != (n ? RT_TABLE_MAIN : RT_TABLE_LOCAL) ||
		    priority != (n ? 32766 : 0))
			return false;
		n++;
	}
	return n == 2 || n == 0;
}

static int save_table(struct dump *d, struct netlink *nl, const struct row *row, uint32_t id, const struct net_links *links)
{
	struct table t = { .row = row, .links = d->o->prepared_net ? links : NULL };
	int r = list(nl, &t, 0);

	if (r >= 0 && row == NEIGHBOURS)
		r = list(nl, &t, NTF_PROXY);
	if (r >= 0 && !(row->optional && (row->table == NET_RULE ? is_default(&t) : !t.text.n)))
		r = write_image(d, &t, id);
	array_free(&t.text);
	return r;
}

int net_tables_save(struct dump *d, struct netlink *nl, uint32_t id, const struct net_links *links)
{
	int r = 0;

	for (size_t i = 0; i < ROWS && r >= 0; i++)
		r = save_table(d, nl, &rows[i], id, links);
	return r;
}

/* --- restoring --- */

/* The messages of an image: a bare -ENOENT if there is none. */
static int read_image(struct restore *r, const struct row *row, uint32_t id, char **text, size_t *size)
{
	char name[32];
	struct stat st;
	uint32_t magic;

	snprintf(name, sizeof name, "%s-%u.img", row->image, id);
	autoclose int fd = image_open_raw(r->images, name);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return fail(errno, "look at %s", name);
	if (st.st_size == 0)
		return -ENOENT;
	if ((size_t)st.st_size < sizeof magic || st.st_size > IMAGE_MAX)
		return fail_text(EBADMSG, "%s has %lld bytes: it is damaged", name, (long long)st.st_size);
	*size = (size_t)st.st_size - sizeof magic;
	*text = mem_alloc(*size + 1);
	int ret = fd_read_all(fd, &magic, sizeof magic);
	if (ret >= 0)
		ret = fd_read_all(fd, *text, *size);
	if (ret < 0)
		return fail(-ret, "read %s", name);
	return magic == row->magic ? 0 : fail_text(EBADMSG, "%s begins with %#x, not with %#x: it is no image of %s", name, magic, row->magic, row->what);
}

static int damaged(const struct row *row, uint32_t id)
{
	return fail_text(EBADMSG, "%s-%u.img: a message is damaged", row->image, id);
}

struct pending {
	ARRAY(const struct nlmsghdr *) list;
};

static bool is_left(const struct net_restore *x, int device)
{
	for (size_t i = 0; i < x->foreign.n; i++)
		if ((int)x->foreign.data[i] == device)
			return true;
	return false;
}

static int split(const struct net_restore *x, const struct row *row, const char *text, size_t size, struct pending *out)
{
	struct net_text t = { text, size, 0 };
	const struct nlmsghdr *m;
	int ret;

	while ((ret = net_next(&t, &m)) == 1) {
		int wanted = net_message_wanted(m, row->table);
		int device = net_message_device(m, row->table);
		if (wanted < 0 || device < 0)
			return damaged(row, x->id);
		if (wanted && !is_left(x, device))
			array_push(&out->list) = m;
	}
	return ret < 0 ? damaged(row, x->id) : 0;
}

/* One round: what was refused stays in the list. Returns how much was done. */
static int make_round(struct netlink *nl, const struct row *row, uint32_t id, struct pending *p, int *why)
{
	size_t left = 0, n = p->list.n;

	for (size_t i = 0; i < n; i++) {
		if (net_message_request(nl, p->list.data[i], row->table) < 0)
			return damaged(row, id);
		int r = netlink_request(nl, NULL, NULL);
		if (r >= 0 || r == -EEXIST)
			continue;
		*why = r;
		p->list.data[left++] = p->list.data[i];
	}
	p->list.n = left;
	return (int)(n - left);
}

static int make_all(struct netlink *nl, const struct row *row, uint32_t id, struct pending *p)
{
	size_t total = p->list.n;
	int why = 0, r = 1;

	while (p->list.n && r > 0)
		r = make_round(nl, row, id, p, &why);
	if (r < 0 || !p->list.n)
		return r < 0 ? r : 0;
	return fail(-why, "make %zu of %zu %s again%s%s", p->list.n, total, row->what, nl->reason[0] ? ": " : "", nl->reason);
}

static int delete_rule(struct netlink *nl, const struct nlmsghdr *m)
{
	const struct fib_rule_hdr *h = netlink_header(m, sizeof *h);
	struct net_attributes w = net_attributes(m, sizeof *h);

	if (!h)
		return -EBADMSG;
	netlink_begin(nl, RTM_DELRULE, 0, h, sizeof *h);
	for (const struct nlattr *a; (a = net_attribute(&w));) {
		size_t size;
		const void *data = netlink_data(a, &size);
		netlink_put(nl, a->nla_type, data, size);
	}
	return netlink_request(nl, NULL, NULL);
}

static bool same_messages(const struct pending *a, const struct pending *b)
{
	for (size_t i = 0; i < a->list.n && a->list.n == b->list.n; i++) {
		const struct nlmsghdr *x = a->list.data[i], *y = b->list.data[i];
		if (x->nlmsg_len != y->nlmsg_len || memcmp(x + 1, y + 1, x->nlmsg_len - sizeof *x) != 0)
			return false;
	}
	return a->list.n == b->list.n;
}

/* Makes room for the rules: nothing is left to do if they are there. */
static int clear_rules(struct net_restore *x, const struct row *row, struct pending *wanted)
{
	struct table now = { .row = row };
	struct pending present = { 0 };
	int r = list(&x->nl, &now, 0);

	if (r >= 0)
		r = split(x, row, now.text.data, now.text.n, &present);
	if (r >= 0 && same_messages(&present, wanted))
		wanted->list.n = 0;
	for (size_t i = 0; i < present.list.n && r >= 0 && wanted->list.n; i++) {
		r = delete_rule(&x->nl, present.list.data[i]);
		r = r < 0 ? fail(-r, "remove the %s of the new network namespace", row->what) : 0;
	}
	array_free(&present.list);
	array_free(&now.text);
	return r;
}

static int restore_table(struct net_restore *x, const struct row *row)
{
	autofree char *text = NULL;
	struct pending p = { 0 };
	size_t size = 0;
	int ret = read_image(x->r, row, x->id, &text, &size);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	ret = split(x, row, text, size, &p);
	if (ret >= 0 && row->table == NET_RULE && p.list.n)
		ret = clear_rules(x, row, &p);
	if (ret >= 0)
		ret = make_all(&x->nl, row, x->id, &p);
	array_free(&p.list);
	return ret;
}

int net_tables_restore(struct net_restore *x)
{
	int ret = 0;

	for (size_t i = 0; i < ROWS && ret >= 0; i++)
		ret = restore_table(x, &rows[i]);
	return ret;
}
