/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions of nfnetlink.
 *
 * Kernel facts relied on: the messages between NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END of one send are a transaction (nftables, 3.13).
 * It has been carried out, or refused, when the send returns, and the answers are there by then: the errors in the order of their
 * messages, then the acknowledgement that the last request asks for. So the first answer is the result. All of it must fit into the
 * socket's send buffer. An attribute's length has 16 bits. */
#include "base/netlink_batch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define ALIGN(n) (((n) + 3) & ~(size_t)3)
#define ATTRIBUTE_MAX 0xfff0u

static struct nlmsghdr *message(const struct netlink_batch *b)
{
	return (void *)(b->data + b->message);
}

/* Cleared bytes at the end. */
static void *extend(struct netlink_batch *b, size_t size)
{
	size_t at = b->size;

	while (b->cap < at + size) {
		b->cap = b->cap ? 2 * b->cap : 4096;
		b->data = mem_realloc(b->data, b->cap);
	}
	b->size += size;
	return memset(b->data + at, 0, size);
}

static void end_message(struct netlink_batch *b)
{
	if (b->size)
		message(b)->nlmsg_len = (uint32_t)(b->size - b->message);
}

void batch_begin(struct netlink_batch *b, uint16_t type, uint16_t flags, const void *header, size_t size)
{
	end_message(b);
	b->message = b->size;
	char *m = extend(b, ALIGN(NLMSG_HDRLEN + size));

	*message(b) = (struct nlmsghdr){ .nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) };
	memcpy(m + NLMSG_HDRLEN, header, size);
}

static void edge(struct netlink_batch *b, uint16_t type, uint16_t subsystem)
{
	const struct nfgenmsg header = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(subsystem) };

	batch_begin(b, type, 0, &header, sizeof header);
}

void batch_open(struct netlink_batch *b, uint16_t subsystem)
{
	b->size = 0;
	b->overflow = false;
	edge(b, NFNL_MSG_BATCH_BEGIN, subsystem);
}

void batch_put(struct netlink_batch *b, uint16_t type, const void *data, size_t size)
{
	if (size > ATTRIBUTE_MAX) {
		b->overflow = true;
		return;
	}
	char *a = extend(b, ALIGN(NLA_HDRLEN + size));
	*(struct nlattr *)(void *)a = (struct nlattr){ .nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + size) };
	memcpy(a + NLA_HDRLEN, data, size);
}

void batch_put_string(struct netlink_batch *b, uint16_t type, const char *text)
{
	batch_put(b, type, text, strlen(text) + 1);
}

void batch_put_be32(struct netlink_batch *b, uint16_t type, uint32_t value)
{
	value = htonl(value);
	batch_put(b, type, &value, sizeof value);
}

size_t batch_nest(struct netlink_batch *b, uint16_t type)
{
	size_t at = b->size;

	batch_put(b, type | NLA_F_NESTED, "", 0);
	return at;
}

void batch_nest_end(struct netlink_batch *b, size_t nest)
{
	size_t length = b->size - nest;

	b->overflow |= length > ATTRIBUTE_MAX;
	((struct nlattr *)(void *)(b->data + nest))->nla_len = (uint16_t)length;
}

size_t batch_room(const struct netlink_batch *b, size_t nest)
{
	size_t used = b->size - nest;

	return used < ATTRIBUTE_MAX ? ATTRIBUTE_MAX - used : 0;
}

int batch_send(struct netlink *nl, struct netlink_batch *b)
{
	message(b)->nlmsg_flags |= NLM_F_ACK;
	edge(b, NFNL_MSG_BATCH_END, 0);
	end_message(b);
	int r = b->overflow ? -EMSGSIZE : netlink_exchange(nl, b->data, b->size);
	b->size = 0;
	return r;
}

void batch_free(struct netlink_batch *b)
{
	free_pointer(&b->data);
	b->size = b->cap = 0;
}
