/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer on what is read of a network namespace (ns/net_parse.c, sockets/diag.c): messages one after the other, as the kernel sends them and as
 * images have them. Each is taken for a device, for an entry of each table, and made into the request that would make it again; and for what
 * sock_diag says of a socket. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ns/net.h"
#include "sockets/diag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_link(const struct nlmsghdr *m, volatile size_t *sum)
{
	struct net_link l;

	if (net_link_parse(m, &l) < 0)
		return;
	*sum += strlen(l.name) + strlen(l.kind) + (l.alias ? strlen(l.alias) : 0);
	for (size_t i = 0; i < l.address_size; i++)
		*sum += ((const uint8_t *)l.address)[i];
	const struct nlattr *const nests[] = { l.data, l.port, l.properties };
	for (size_t i = 0; i < 3; i++) {
		struct net_attributes w = net_attributes_in(nests[i]);
		for (const struct nlattr *a; nests[i] && (a = net_attribute(&w));)
			*sum += a->nla_type;
	}
}

static void as_entry(struct netlink *nl, const struct nlmsghdr *m)
{
	for (enum net_table t = NET_ADDRESS; t <= NET_FORWARDING; t++)
		if (net_message_wanted(m, t) >= 0 && net_message_device(m, t) >= 0)
			net_message_request(nl, m, t);
}

static void as_socket(const struct nlmsghdr *m, volatile size_t *sum)
{
	struct diag_inet inet;
	struct diag_unix local;

	if (diag_inet(m, &inet) == 0) {
		*sum += inet.inode + inet.id.idiag_dst[3];
		for (size_t i = 0; inet.md5 && i < inet.md5_size; i++)
			*sum += ((const unsigned char *)inet.md5)[i];
	}
	if (diag_unix(m, &local) < 0)
		return;
	for (size_t i = 0; i < local.name_size; i++)
		*sum += ((const uint8_t *)local.name)[i];
	for (size_t i = 0; i < local.n_clients; i++)
		*sum += local.clients[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of its own: what is read beyond the end is noticed. */
	char *copy = malloc(size + 1), out[8192] __attribute__((aligned(8)));
	struct netlink nl = NETLINK_CLOSED;
	struct net_text text = { copy, size, 0 };
	const struct nlmsghdr *m;
	volatile size_t sum = 0;

	memcpy(copy, data, size);
	nl.out = out;
	while (net_next(&text, &m) == 1) {
		as_link(m, &sum);
		as_entry(&nl, m);
		as_socket(m, &sum);
	}
	free(copy);
	return 0;
}
