/* SPDX-License-Identifier: Apache-2.0 */
/* The network lock with nftables: finding, making, removing the tables (what is in one: netlock_rules.c).
 *
 * Each change is one transaction, and a table is looked at before it is replaced or removed. nfnetlink answers EINVAL without a word when a
 * subsystem is not in the kernel, and EOPNOTSUPP to a transaction.
 *
 * What a transaction has removed is freed after a grace period of RCU, 10 ms and more; a socket of nfnetlink that is closed waits for that.
 * So the caller may take it over, and close it when the tasks run. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/netlink.h"
#include "base/str.h"
#include "netlock.h"
#include "netlock_private.h"

#define PREFIX "torpor-"

struct table_name {
	char text[NFT_NAME_MAXLEN];
};

/* A name that is too long is cut, and told from others by a number. */
static struct table_name table_of(const char *name)
{
	struct table_name t;

	if (strlen(name) < sizeof t.text - sizeof PREFIX)
		snprintf(t.text, sizeof t.text, PREFIX "%s", name);
	else
		snprintf(t.text, sizeof t.text, PREFIX "%.200s-%016llx", name, (unsigned long long)netlock_hash(name));
	return t;
}

/* -- what is there -------------------------------------------------------------------------------------------------------------- */

struct listing {
	int (*each)(void *arg, const char *table, bool ours);
	void *arg;
};

/* CRIU's: of the run that made it (4.x), of the tree's root (3.x). */
static struct table_name table_of_criu(const char *name)
{
	struct table_name t;

	snprintf(t.text, sizeof t.text, "CRIU-%.200s", name);
	return t;
}

static bool is_ours(const struct nlattr *userdata)
{
	size_t size;
	const unsigned char *data = netlink_data(userdata, &size);

	return data && size == sizeof nft_comment && !memcmp(data, nft_comment, size);
}

static int take_table(const struct nlmsghdr *m, void *arg)
{
	const struct listing *l = arg;
	const struct nlattr *a[NFTA_TABLE_USERDATA + 1];

	if (netlink_attributes(m, sizeof(struct nfgenmsg), a, NFTA_TABLE_USERDATA + 1) < 0)
		return -EBADMSG;
	const char *name = netlink_get_string(a[NFTA_TABLE_NAME]);
	return name ? l->each(l->arg, name, is_ours(a[NFTA_TABLE_USERDATA])) : 0;
}

static int ask(struct netlink *nl, int type, const char *table, const struct listing *l)
{
	const struct nfgenmsg header = { .nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0 };
	int r;

	do {
		netlink_begin(nl, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), 0, &header, sizeof header);
		if (table)
			netlink_put_string(nl, NFTA_TABLE_NAME, table);
		r = table ? netlink_request(nl, take_table, (void *)(uintptr_t)l) : netlink_dump(nl, take_table, (void *)(uintptr_t)l);
	} while (r == -EINTR);
	return r;
}

static int fail_nft(const struct netlink *nl, int err, const char *what, const char *table)
{
	/* What nfnetlink says of a subsystem, and the kernel of a protocol, that is not there. */
	if (err == EPROTONOSUPPORT || err == EOPNOTSUPP || err == EAFNOSUPPORT || (err == EINVAL && !nl->reason[0])) {
		int r = fail_text(EOPNOTSUPP, "%s: this kernel has no nftables for IPv4 and IPv6 (CONFIG_NF_TABLES_INET)", what);
		fail_hint("--network-lock iptables locks by iptables; --network-lock skip leaves the lock to you");
		return r < 0 ? -EOPNOTSUPP : r;
	}
	return fail(err, "%s: nftables: table inet %s%s%s", what, table, nl->reason[0] ? ": " : "", nl->reason);
}

static int note_ours(void *arg, const char *table, bool ours)
{
	(void)table;
	*(bool *)arg = ours;
	return 0;
}

/* 1: a lock; 0: no such table. */
static int find(struct netlink *nl, const char *what, const char *table)
{
	bool ours = false;
	const struct listing l = { note_ours, &ours };
	int r = ask(nl, NFT_MSG_GETTABLE, table, &l);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return fail_nft(nl, -r, what, table);
	return ours ? 1 : fail_text(EEXIST, "%s: the table inet %s is not a network lock of torpor's: it is left alone", what, table);
}

static int open_nft(struct netlink *nl, int netns, const char *what)
{
	int r = netlink_open(nl, NETLINK_NETFILTER, netns);

	return r == -EPROTONOSUPPORT ? fail_nft(nl, -r, what, "") : r < 0 ? fail(-r, "%s: open a netlink socket", what) : 0;
}

/* The socket's way out; the other of two is closed at once. */
static void close_later(struct netlink *nl, const struct ck_lock *l)
{
	if (l->later && *l->later < 0)
		*l->later = fcntl(nl->socket, F_DUPFD_CLOEXEC, 3);
}

/* -- the method ----------------------------------------------------------------------------------------------------------------- */

static int nft_lock(const struct ck_lock *l)
{
	static const char what[] = "lock the network";
	const struct table_name table = table_of(l->name);
	autonetlink struct netlink nl = NETLINK_CLOSED;
	autobatch struct netlink_batch b = { 0 };
	int r = open_nft(&nl, l->netns, what);
	int there = r < 0 ? r : find(&nl, what, table.text);

	if (there < 0)
		return there;
	batch_open(&b, NFNL_SUBSYS_NFTABLES);
	if (there)
		nft_put_table(&b, table.text, false);
	nft_put_lock(&b, table.text, l);
	r = batch_send(&nl, &b);
	if (r >= 0 && there)
		close_later(&nl, l);
	return r < 0 ? fail_nft(&nl, -r, what, table.text) : !there;
}

static int remove_table(struct netlink *nl, const char *what, const char *table)
{
	autobatch struct netlink_batch b = { 0 };

	batch_open(&b, NFNL_SUBSYS_NFTABLES);
	nft_put_table(&b, table, false);
	int r = batch_send(nl, &b);
	return r == -ENOENT ? 0 : r < 0 ? fail_nft(nl, -r, what, table) : 1;
}

static int unlock_criu(const struct ck_lock *l)
{
	static const char what[] = "take CRIU's lock of the network away";
	const struct table_name table = table_of_criu(l->name);
	autonetlink struct netlink nl = NETLINK_CLOSED;
	int r = open_nft(&nl, l->netns, what);

	r = r < 0 ? r : remove_table(&nl, what, table.text);
	if (r > 0)
		close_later(&nl, l);
	return r;
}

static int nft_unlock(const struct ck_lock *l)
{
	static const char what[] = "unlock the network";
	const struct table_name table = table_of(l->name);
	autonetlink struct netlink nl = NETLINK_CLOSED;
	int r = open_nft(&nl, l->netns, what);
	int there = r < 0 ? r : find(&nl, what, table.text);

	if (there <= 0)
		return there;
	r = remove_table(&nl, what, table.text);
	close_later(&nl, l);
	return r;
}

const struct ck_lock_method netlock_nftables = { "nftables", nft_lock, nft_unlock, unlock_criu };

/* -- all of them ------------------------------------------------------------------------------------------------------------------ */

struct tables {
	ARRAY(char *) list;
};

static int note_lock(void *arg, const char *table, bool ours)
{
	struct tables *t = arg;

	if (ours && str_starts(table, PREFIX))
		array_push(&t->list) = str_dup(table);
	return 0;
}

static void tables_free(struct tables *t)
{
	for (size_t i = 0; i < t->list.n; i++)
		free_pointer(&t->list.data[i]);
	array_free(&t->list);
}

static int list_locks(struct netlink *nl, const char *what, int netns, struct tables *t)
{
	const struct listing l = { note_lock, t };
	int r = open_nft(nl, netns, what);

	if (r < 0)
		return r;
	r = ask(nl, NFT_MSG_GETTABLE, NULL, &l);
	return r < 0 ? fail_nft(nl, -r, what, "") : 0;
}

static int note_policy(const struct nlmsghdr *m, void *arg)
{
	const struct nlattr *a[NFTA_CHAIN_POLICY + 1];
	uint32_t policy;

	if (netlink_attributes(m, sizeof(struct nfgenmsg), a, NFTA_CHAIN_POLICY + 1) < 0)
		return -EBADMSG;
	if (netlink_get_u32(a[NFTA_CHAIN_POLICY], &policy))
		*(bool *)arg = ntohl(policy) == NF_DROP;
	return 0;
}

/* By the policy of its chain. */
static bool is_whole(struct netlink *nl, const char *table)
{
	const struct nfgenmsg header = { .nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0 };
	bool whole = false;

	netlink_begin(nl, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, 0, &header, sizeof header);
	netlink_put_string(nl, NFTA_CHAIN_TABLE, table);
	netlink_put_string(nl, NFTA_CHAIN_NAME, "in");
	netlink_request(nl, note_policy, &whole);
	return whole;
}

int netlock_list(int netns, int (*each)(void *arg, const char *name, bool whole), void *arg)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct tables t = { 0 };
	int r = list_locks(&nl, "list the locks of the network", netns, &t);

	for (size_t i = 0; i < t.list.n && r >= 0; i++)
		r = each(arg, t.list.data[i] + strlen(PREFIX), is_whole(&nl, t.list.data[i]));
	tables_free(&t);
	return r;
}

int netlock_clean_nft(int netns)
{
	static const char what[] = "remove the locks of the network";
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct tables t = { 0 };
	int r = list_locks(&nl, what, netns, &t), n = 0;

	for (size_t i = 0; i < t.list.n && r >= 0; i++) {
		r = remove_table(&nl, what, t.list.data[i]);
		n += r > 0;
	}
	tables_free(&t);
	return r < 0 ? r : n;
}
