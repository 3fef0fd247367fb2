/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_NETLINK_H
#define BASE_NETLINK_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Netlink requests: one socket, one request at a time.
 *
 *     autonetlink struct netlink nl = NETLINK_CLOSED;
 *     int r = netlink_open(&nl, NETLINK_ROUTE, -1);
 *     struct ifinfomsg link = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
 *     netlink_begin(&nl, RTM_NEWLINK, 0, &link, sizeof link);
 *     netlink_put_string(&nl, IFLA_IFNAME, "lo");
 *     r = netlink_request(&nl, NULL, NULL);
 *
 * Functions return 0 or a bare -errno: the caller knows what it asked for. nl.reason has the kernel's own words about the last
 * refusal, if it gave any ("" otherwise). */
struct netlink {
	bool is_open;
	int socket;
	uint32_t seq;
	bool interrupted;            /* what was listed has changed meanwhile */
	bool overflow;               /* an attribute did not fit: the request is refused */
	char *out, *in;
	char reason[128];
};
#define NETLINK_CLOSED { .is_open = false }

/* family: NETLINK_ROUTE, NETLINK_SOCK_DIAG, … netns: a network namespace's descriptor, or -1 for the caller's own. */
int netlink_open(struct netlink *nl, int family, int netns);
void netlink_close(struct netlink *nl);
#define autonetlink __attribute__((cleanup(netlink_close)))

/* Begins a request: NLM_F_REQUEST is implied, header is what follows the nlmsghdr (ifinfomsg, inet_diag_req_v2, …). */
void netlink_begin(struct netlink *nl, uint16_t type, uint16_t flags, const void *header, size_t size);
void netlink_put(struct netlink *nl, uint16_t type, const void *data, size_t size);
void netlink_put_u8(struct netlink *nl, uint16_t type, uint8_t value);
void netlink_put_u32(struct netlink *nl, uint16_t type, uint32_t value);
void netlink_put_string(struct netlink *nl, uint16_t type, const char *text);
void netlink_put_raw(struct netlink *nl, const void *data, size_t size);   /* a header inside a nest */
struct nlattr *netlink_nest(struct netlink *nl, uint16_t type);
void netlink_nest_end(struct netlink *nl, struct nlattr *nest);

/* Called for each message of an answer; a value < 0 ends the exchange with that error. */
typedef int (*netlink_handler)(const struct nlmsghdr *m, void *arg);

/* Sends what was begun, asks for an acknowledgement and waits for it; answers before it go to the handler (may be NULL). */
int netlink_request(struct netlink *nl, netlink_handler handler, void *arg);
/* Sends it as a dump. -EINTR: the table changed meanwhile and the answer may be inconsistent; begin again. */
int netlink_dump(struct netlink *nl, netlink_handler handler, void *arg);

/* Several requests in one send (netlink_batch.h); size bytes of whole messages. Waits for the first answer that is one: an error, or an
 * acknowledgement. */
int netlink_exchange(struct netlink *nl, void *messages, size_t size);

/* What a socket has given: hands its messages to the handler, as the two above do. 0 or -errno when the exchange is over, else NETLINK_MORE. Anything
 * may be in there. */
#define NETLINK_MORE 1
int netlink_take(struct netlink *nl, const void *data, size_t size, netlink_handler handler, void *arg);

/* Reading attributes, all sizes checked against the message. netlink_attributes() fills table[type] for types < n, the last one
 * of a type; header is the size of what precedes them. Returns 0 or -EBADMSG. */
int netlink_attributes(const struct nlmsghdr *m, size_t header, const struct nlattr **table, size_t n);
int netlink_nested(const struct nlattr *nest, const struct nlattr **table, size_t n);
/* The fixed header after the nlmsghdr, or NULL if the message is too short for it. */
const void *netlink_header(const struct nlmsghdr *m, size_t size);
const void *netlink_data(const struct nlattr *a, size_t *size);           /* NULL for no attribute */
bool netlink_get(const struct nlattr *a, void *value, size_t size);       /* exact size; false: absent or of another size */
bool netlink_get_u32(const struct nlattr *a, uint32_t *value);
const char *netlink_get_string(const struct nlattr *a);                   /* NULL unless NUL-terminated within the attribute */

#endif
