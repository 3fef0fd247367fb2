/* SPDX-License-Identifier: Apache-2.0 */
/* The network lock with nftables: one table, made and removed in one transaction each.
 *
 *     table inet torpor-ID { comment "torpor network lock"
 *         chain in  { type filter hook prerouting priority -2147483648; policy drop; meta mark 0xc114 accept }
 *         chain out { type filter hook output priority -2147483648; policy drop; meta mark 0xc114 accept }
 *     }
 *
 * or, for connections among others, sets of them, and a policy to accept:
 *
 *         set four { type ipv4_addr . inet_service . ipv4_addr . inet_service }         (remote, its port, local, its port)
 *         chain in { …; meta mark 0xc114 accept; meta nfproto ipv4 meta l4proto tcp ip saddr . tcp sport . ip daddr . tcp dport @four drop; … }
 *
 * Facts relied on:
 * - A packet goes through all base chains of a hook, by priority; `drop` in one is final, `accept` only ends that chain. So the lock works
 *   beside any firewall. It has the first of all priorities: nothing can answer (reject) or count a packet before, not even conntrack.
 * - A table has user data (5.10), which nft shows as its comment: by that a table is known as a lock of ours, and a table without it is
 *   never touched, whatever its name.
 * - Tables belong to the namespace, and go with it. They outlive the socket that made them.
 * - Replacing a table within one transaction leaves no moment without.
 *
 * Not seen: what does not go through IP's hooks (ARP, packets of a bridge inside the namespace); later fragments of TCP packets when only
 * connections are locked. IPv6's neighbour discovery is dropped with the rest: a neighbour that has forgotten the address finds it again
 * afterwards. */
#include <arpa/inet.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include "netlock.h"
#include "netlock_private.h"

#define FOUR "four"
#define SIX "six"

/* As nft numbers the types of a set's key, six bits each. */
#define TYPE_ADDRESS4 7u
#define TYPE_ADDRESS6 8u
#define TYPE_PORT 13u
#define KEY_TYPE(address) ((((address) << 6 | TYPE_PORT) << 6 | (address)) << 6 | TYPE_PORT)

/* Type 0 (a table's comment), length, text. */
const unsigned char nft_comment[22] = "\0\x14torpor network lock";

static void begin(struct netlink_batch *b, int type, uint16_t flags)
{
	const struct nfgenmsg header = { .nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0 };

	batch_begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &header, sizeof header);
}

void nft_put_table(struct netlink_batch *b, const char *table, bool create)
{
	begin(b, create ? NFT_MSG_NEWTABLE : NFT_MSG_DELTABLE, create ? NLM_F_CREATE | NLM_F_EXCL : 0);
	batch_put_string(b, NFTA_TABLE_NAME, table);
	if (create)
		batch_put(b, NFTA_TABLE_USERDATA, nft_comment, sizeof nft_comment);
}

static void put_chain(struct netlink_batch *b, const char *table, const char *chain, unsigned hook, bool drop)
{
	begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	batch_put_string(b, NFTA_CHAIN_TABLE, table);
	batch_put_string(b, NFTA_CHAIN_NAME, chain);
	size_t nest = batch_nest(b, NFTA_CHAIN_HOOK);
	batch_put_be32(b, NFTA_HOOK_HOOKNUM, hook);
	batch_put_be32(b, NFTA_HOOK_PRIORITY, (uint32_t)INT_MIN);
	batch_nest_end(b, nest);
	batch_put_be32(b, NFTA_CHAIN_POLICY, drop ? NF_DROP : NF_ACCEPT);
	batch_put_string(b, NFTA_CHAIN_TYPE, "filter");
}

struct expression {
	size_t outer, data;
};

static struct expression expression(struct netlink_batch *b, const char *name)
{
	struct expression e = { .outer = batch_nest(b, NFTA_LIST_ELEM) };

	batch_put_string(b, NFTA_EXPR_NAME, name);
	e.data = batch_nest(b, NFTA_EXPR_DATA);
	return e;
}

static void expression_end(struct netlink_batch *b, struct expression e)
{
	batch_nest_end(b, e.data);
	batch_nest_end(b, e.outer);
}

static void put_meta(struct netlink_batch *b, unsigned key)
{
	struct expression e = expression(b, "meta");

	batch_put_be32(b, NFTA_META_KEY, key);
	batch_put_be32(b, NFTA_META_DREG, NFT_REG_1);
	expression_end(b, e);
}

static void put_compare(struct netlink_batch *b, const void *data, size_t size)
{
	struct expression e = expression(b, "cmp");

	batch_put_be32(b, NFTA_CMP_SREG, NFT_REG_1);
	batch_put_be32(b, NFTA_CMP_OP, NFT_CMP_EQ);
	size_t nest = batch_nest(b, NFTA_CMP_DATA);
	batch_put(b, NFTA_DATA_VALUE, data, size);
	batch_nest_end(b, nest);
	expression_end(b, e);
}

static void put_verdict(struct netlink_batch *b, unsigned verdict)
{
	struct expression e = expression(b, "immediate");

	batch_put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	size_t data = batch_nest(b, NFTA_IMMEDIATE_DATA), nest = batch_nest(b, NFTA_DATA_VERDICT);
	batch_put_be32(b, NFTA_VERDICT_CODE, verdict);
	batch_nest_end(b, nest);
	batch_nest_end(b, data);
	expression_end(b, e);
}

static void put_payload(struct netlink_batch *b, unsigned base, unsigned offset, unsigned size, unsigned reg)
{
	struct expression e = expression(b, "payload");

	batch_put_be32(b, NFTA_PAYLOAD_DREG, NFT_REG32_00 + reg);
	batch_put_be32(b, NFTA_PAYLOAD_BASE, base);
	batch_put_be32(b, NFTA_PAYLOAD_OFFSET, offset);
	batch_put_be32(b, NFTA_PAYLOAD_LEN, size);
	expression_end(b, e);
}

static void put_lookup(struct netlink_batch *b, const char *set)
{
	struct expression e = expression(b, "lookup");

	batch_put_string(b, NFTA_LOOKUP_SET, set);
	batch_put_be32(b, NFTA_LOOKUP_SREG, NFT_REG32_00);
	expression_end(b, e);
}

static size_t rule(struct netlink_batch *b, const char *table, const char *chain)
{
	begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	batch_put_string(b, NFTA_RULE_TABLE, table);
	batch_put_string(b, NFTA_RULE_CHAIN, chain);
	return batch_nest(b, NFTA_RULE_EXPRESSIONS);
}

static void put_mark_rule(struct netlink_batch *b, const char *table, const char *chain)
{
	const uint32_t mark = NETLOCK_MARK;
	size_t nest = rule(b, table, chain);

	put_meta(b, NFT_META_MARK);
	put_compare(b, &mark, sizeof mark);
	put_verdict(b, NF_ACCEPT);
	batch_nest_end(b, nest);
}

/* Where a header has its addresses, and how many registers one takes. */
static const struct family {
	const char *set;
	uint8_t nfproto;
	unsigned source, destination, words, type;
} families[] = {
	{ FOUR, NFPROTO_IPV4, 12, 16, 1, TYPE_ADDRESS4 },
	{ SIX, NFPROTO_IPV6, 8, 24, 4, TYPE_ADDRESS6 },
};

/* The key has the remote side first: the source of what comes in, the destination of what goes out. */
static void put_flow_rule(struct netlink_batch *b, const char *table, const char *chain, const struct family *f, bool in)
{
	const uint8_t tcp = IPPROTO_TCP;
	unsigned remote = in ? f->source : f->destination, local = in ? f->destination : f->source;
	size_t nest = rule(b, table, chain);

	put_meta(b, NFT_META_NFPROTO);
	put_compare(b, &f->nfproto, 1);
	put_meta(b, NFT_META_L4PROTO);
	put_compare(b, &tcp, 1);
	put_payload(b, NFT_PAYLOAD_NETWORK_HEADER, remote, 4 * f->words, 0);
	put_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, in ? 0 : 2, 2, f->words);
	put_payload(b, NFT_PAYLOAD_NETWORK_HEADER, local, 4 * f->words, f->words + 1);
	put_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, in ? 2 : 0, 2, 2 * f->words + 1);
	put_lookup(b, f->set);
	put_verdict(b, NF_DROP);
	batch_nest_end(b, nest);
}

static void put_set(struct netlink_batch *b, const char *table, const struct family *f)
{
	begin(b, NFT_MSG_NEWSET, NLM_F_CREATE);
	batch_put_string(b, NFTA_SET_TABLE, table);
	batch_put_string(b, NFTA_SET_NAME, f->set);
	batch_put_be32(b, NFTA_SET_FLAGS, 0);
	batch_put_be32(b, NFTA_SET_KEY_TYPE, KEY_TYPE(f->type));
	batch_put_be32(b, NFTA_SET_KEY_LEN, 8 * f->words + 8);
	batch_put_be32(b, NFTA_SET_ID, f->nfproto);
}

static void put_element(struct netlink_batch *b, const struct ck_flow *flow, unsigned size)
{
	unsigned char key[40] = { 0 };
	const uint16_t ports[2] = { htons(flow->remote_port), htons(flow->local_port) };

	memcpy(key, flow->remote, size);
	memcpy(key + size, &ports[0], 2);
	memcpy(key + size + 4, flow->local, size);
	memcpy(key + 2 * size + 4, &ports[1], 2);
	size_t element = batch_nest(b, NFTA_LIST_ELEM), nest = batch_nest(b, NFTA_SET_ELEM_KEY);
	batch_put(b, NFTA_DATA_VALUE, key, 2 * size + 8);
	batch_nest_end(b, nest);
	batch_nest_end(b, element);
}

/* As many messages as it takes: one holds some two thousand. */
static void put_elements(struct netlink_batch *b, const char *table, const struct family *f, const struct ck_lock *l)
{
	size_t nest = 0;

	for (size_t i = 0; i < l->n_flows; i++) {
		if (l->flows[i].v6 != (f->nfproto == NFPROTO_IPV6))
			continue;
		if (nest && batch_room(b, nest) < 128) {
			batch_nest_end(b, nest);
			nest = 0;
		}
		if (!nest) {
			begin(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
			batch_put_string(b, NFTA_SET_ELEM_LIST_TABLE, table);
			batch_put_string(b, NFTA_SET_ELEM_LIST_SET, f->set);
			nest = batch_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
		}
		put_element(b, &l->flows[i], 4 * f->words);
	}
	if (nest)
		batch_nest_end(b, nest);
}

void nft_put_lock(struct netlink_batch *b, const char *table, const struct ck_lock *l)
{
	static const struct {
		const char *name;
		unsigned hook;
	} chains[] = { { "in", NF_INET_PRE_ROUTING }, { "out", NF_INET_LOCAL_OUT } };

	nft_put_table(b, table, true);
	for (size_t f = 0; !l->whole && f < sizeof families / sizeof *families; f++) {
		put_set(b, table, &families[f]);
		put_elements(b, table, &families[f], l);
	}
	for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
		put_chain(b, table, chains[i].name, chains[i].hook, l->whole);
		put_mark_rule(b, table, chains[i].name);
		for (size_t f = 0; !l->whole && f < sizeof families / sizeof *families; f++)
			put_flow_rule(b, table, chains[i].name, &families[f], chains[i].hook == NF_INET_PRE_ROUTING);
	}
}
