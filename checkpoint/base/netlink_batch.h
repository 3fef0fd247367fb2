/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_NETLINK_BATCH_H
#define BASE_NETLINK_BATCH_H

#include "base/netlink.h"

/* Requests of nfnetlink that the kernel takes as one transaction: all of them happen, or none. Begins cleared to zero. An attribute that
 * is too large for its message is remembered and refused when the batch is sent. */
struct netlink_batch {
	char *data;
	size_t size, cap, message;   /* message: where the last one begins */
	bool overflow;
};
#define autobatch __attribute__((cleanup(batch_free)))

/* The first message says which subsystem (NFNL_SUBSYS_…) the transaction is for; batch_send() adds the last. */
void batch_open(struct netlink_batch *b, uint16_t subsystem);
void batch_begin(struct netlink_batch *b, uint16_t type, uint16_t flags, const void *header, size_t size);
void batch_put(struct netlink_batch *b, uint16_t type, const void *data, size_t size);
void batch_put_string(struct netlink_batch *b, uint16_t type, const char *text);
void batch_put_be32(struct netlink_batch *b, uint16_t type, uint32_t value);   /* in network order, as nftables has its numbers */
size_t batch_nest(struct netlink_batch *b, uint16_t type);
void batch_nest_end(struct netlink_batch *b, size_t nest);
size_t batch_room(const struct netlink_batch *b, size_t nest);   /* bytes that a nest can still take */

/* 0, or the first error with the kernel's words in nl->reason. The batch is empty afterwards. */
int batch_send(struct netlink *nl, struct netlink_batch *b);
void batch_free(struct netlink_batch *b);

#endif
