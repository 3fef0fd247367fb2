/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes what reads the kernel's netlink answers: messages, attributes and nests of them stay within what was received. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/netlink.h"
#include "netlock_nft.c"   /* with its handlers */

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* Of a file that is not linked in. */
uint64_t netlock_hash(const char *text)
{
	return strlen(text);
}

#define TYPES 70

struct bounds {
	const char *begin, *end;
	unsigned long sum;   /* so that every byte is looked at */
};

static void look(struct bounds *b, const void *data, size_t size)
{
	const unsigned char *p = data;

	if (size && ((const char *)data < b->begin || (const char *)data + size > b->end))
		abort();
	for (size_t i = 0; i < size; i++)
		b->sum += p[i];
}

static void look_at(struct bounds *b, const struct nlattr *const *table, int depth)
{
	for (size_t t = 0; t < TYPES; t++) {
		const struct nlattr *inner[TYPES];
		size_t size;
		uint32_t word;
		const void *value = netlink_data(table[t], &size);
		if (!value != !table[t])
			abort();
		look(b, value, size);
		const char *text = netlink_get_string(table[t]);
		if (text)
			look(b, text, strlen(text) + 1);
		if (netlink_get_u32(table[t], &word) && size != sizeof word)
			abort();
		if (table[t] && depth && netlink_nested(table[t], inner, TYPES) == 0)
			look_at(b, inner, depth - 1);
	}
}

static int handle(const struct nlmsghdr *m, void *arg)
{
	struct bounds *b = arg;
	const struct nlattr *table[TYPES];
	static const size_t headers[] = { 0, 4, 16, 20, 72 };
	bool flag = false;
	const struct listing l = { note_ours, &flag };

	look(b, m, m->nlmsg_len);
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		const void *header = netlink_header(m, headers[i]);
		if (header)
			look(b, header, headers[i]);
		if (netlink_attributes(m, headers[i], table, TYPES) == 0)
			look_at(b, table, 2);
	}
	take_table(m, (void *)(uintptr_t)&l);
	note_policy(m, &flag);
	return m->nlmsg_type & 0x8000 ? -ECANCELED : 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct netlink nl = NETLINK_CLOSED;
	char *copy = malloc(size ? size : 1);   /* aligned, and of its exact size */
	struct bounds b = { copy, copy + size, 0 };

	memcpy(copy, data, size);
	err_clear();
	nl.seq = size >= 12 ? *(const uint32_t *)(const void *)(copy + 8) : 0;   /* that of the first message */
	netlink_take(&nl, copy, size, handle, &b);
	if (strlen(nl.reason) >= sizeof nl.reason)
		abort();
	free(copy);
	return 0;
}
