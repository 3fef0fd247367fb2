/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink, with the checks that every user needs.
 *
 * Kernel facts relied on (netlink(7), Documentation/userspace-api/netlink):
 * - A network namespace is that of the socket, fixed when it is made: to ask about another one, the calling thread enters it just for
 *   the socket() call.
 * - A dump answers in many messages, NLMSG_DONE ends it; NLM_F_DUMP_INTR on any of them says that the table changed meanwhile.
 * - With NLM_F_ACK a request is answered by an NLMSG_ERROR, code 0 for success; NETLINK_EXT_ACK (4.12) adds a text, NETLINK_CAP_ACK
 *   leaves the copy of the request out.
 * - NETLINK_GET_STRICT_CHK (4.20) makes the kernel refuse what it would have ignored in a dump's header.
 * - What an abandoned exchange still sends has an older sequence number and is skipped.
 * - Anybody may send to a netlink socket: what does not come from the kernel (port 0) is no answer.
 *
 * There is no library for it: what one would do is thirty lines here, and one more to load is felt in each start of the programs. */
#include "base/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define OUT_SIZE 8192
#define IN_SIZE 65536       /* a dump's messages come in pieces of at most 32 KiB */

static const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

/* -- opening ----------------------------------------------------------------------------------------------------------------- */

static int open_here(struct netlink *nl, int family)
{
	int on = 1;

	nl->socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
	if (nl->socket < 0)
		return -errno;
	nl->is_open = true;
	if (bind(nl->socket, (const struct sockaddr *)&kernel, sizeof kernel) < 0)   /* to a port that the kernel chooses */
		return -errno;
	/* Niceties: an older kernel goes without. */
	setsockopt(nl->socket, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
	setsockopt(nl->socket, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
	if (family == NETLINK_ROUTE)
		setsockopt(nl->socket, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
	return 0;
}

static int open_in(struct netlink *nl, int family, int netns)
{
	autoclose int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (home < 0)
		return -errno;
	if (setns(netns, CLONE_NEWNET) < 0)
		return -errno;
	int r = open_here(nl, family);
	/* Who may enter a namespace may go back; a thread that stays in the wrong one would do harm everywhere. */
	if (setns(home, CLONE_NEWNET) < 0)
		abort();
	return r;
}

int netlink_open(struct netlink *nl, int family, int netns)
{
	*nl = (struct netlink)NETLINK_CLOSED;
	int r = netns < 0 ? open_here(nl, family) : open_in(nl, family, netns);

	if (r < 0) {
		netlink_close(nl);
		return r;
	}
	nl->out = mem_zalloc(OUT_SIZE);
	nl->in = mem_alloc(IN_SIZE);
	return 0;
}

void netlink_close(struct netlink *nl)
{
	if (nl->is_open)
		close(nl->socket);
	nl->is_open = false;
	free_pointer(&nl->out);
	free_pointer(&nl->in);
}

/* -- building a request ------------------------------------------------------------------------------------------------------ */

static struct nlmsghdr *request(const struct netlink *nl)
{
	return (struct nlmsghdr *)nl->out;
}

/* Room at the request's end, aligned and cleared; NULL: it is full. */
static void *extend(struct netlink *nl, size_t size)
{
	struct nlmsghdr *m = request(nl);
	size_t at = m->nlmsg_len;

	if (nl->overflow || size > OUT_SIZE || at + NLMSG_ALIGN(size) > OUT_SIZE) {
		nl->overflow = true;
		return NULL;
	}
	m->nlmsg_len += (uint32_t)NLMSG_ALIGN(size);
	return memset(nl->out + at, 0, NLMSG_ALIGN(size));
}

void netlink_put_raw(struct netlink *nl, const void *data, size_t size)
{
	void *to = extend(nl, size);

	if (to && size)
		memcpy(to, data, size);
}

void netlink_begin(struct netlink *nl, uint16_t type, uint16_t flags, const void *header, size_t size)
{
	*request(nl) = (struct nlmsghdr){ .nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) };
	nl->reason[0] = 0;
	nl->overflow = false;
	netlink_put_raw(nl, header, size);
}

void netlink_put(struct netlink *nl, uint16_t type, const void *data, size_t size)
{
	struct nlattr *a = extend(nl, size <= OUT_SIZE ? NLA_HDRLEN + size : size);

	if (!a)
		return;
	*a = (struct nlattr){ .nla_len = (uint16_t)(NLA_HDRLEN + size), .nla_type = type };
	if (size)
		memcpy(a + 1, data, size);
}

void netlink_put_u8(struct netlink *nl, uint16_t type, uint8_t value)
{
	netlink_put(nl, type, &value, sizeof value);
}

void netlink_put_u32(struct netlink *nl, uint16_t type, uint32_t value)
{
	netlink_put(nl, type, &value, sizeof value);
}

void netlink_put_string(struct netlink *nl, uint16_t type, const char *text)
{
	netlink_put(nl, type, text, strlen(text) + 1);
}

struct nlattr *netlink_nest(struct netlink *nl, uint16_t type)
{
	struct nlattr *nest = extend(nl, NLA_HDRLEN);

	if (nest)
		nest->nla_type = NLA_F_NESTED | type;
	return nest;
}

void netlink_nest_end(struct netlink *nl, struct nlattr *nest)
{
	if (nest)
		nest->nla_len = (uint16_t)(nl->out + request(nl)->nlmsg_len - (char *)nest);
}

/* -- the exchange ------------------------------------------------------------------------------------------------------------ */

static int transmit_all(struct netlink *nl, const void *messages, size_t size)
{
	return sendto(nl->socket, messages, size, 0, (const struct sockaddr *)&kernel, sizeof kernel) < 0 ? -errno : 0;
}

static int transmit(struct netlink *nl, uint16_t flags)
{
	struct nlmsghdr *m = request(nl);

	if (nl->overflow)
		return -EMSGSIZE;
	m->nlmsg_flags |= flags;
	m->nlmsg_seq = ++nl->seq;
	return transmit_all(nl, m, m->nlmsg_len);
}

/* NLMSG_DATA() takes the const away. */
static const void *payload(const struct nlmsghdr *m)
{
	return (const char *)m + NLMSG_HDRLEN;
}

/* The text that came with an error: an attribute behind the struct nlmsgerr (NETLINK_CAP_ACK: without a copy of the request,
 * except for its header). */
static void keep_reason(struct netlink *nl, const struct nlmsghdr *m)
{
	const struct nlattr *table[NLMSGERR_ATTR_MSG + 1] = { NULL };
	const struct nlmsgerr *error = payload(m);
	size_t header = sizeof *error;

	if (!(m->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(m->nlmsg_flags & NLM_F_CAPPED) && error->msg.nlmsg_len > sizeof error->msg)
		header += error->msg.nlmsg_len - sizeof error->msg;
	if (header > m->nlmsg_len || netlink_attributes(m, header, table, NLMSGERR_ATTR_MSG + 1) < 0)
		return;
	const char *text = netlink_get_string(table[NLMSGERR_ATTR_MSG]);
	if (text)
		strncpy(nl->reason, text, sizeof nl->reason - 1);
}

static int take(struct netlink *nl, const struct nlmsghdr *m, netlink_handler handler, void *arg)
{
	const struct nlmsgerr *error = payload(m);
	const int *result = netlink_header(m, sizeof *result);

	switch (m->nlmsg_type) {
	case NLMSG_ERROR:
		if (!netlink_header(m, sizeof *error))
			return -EBADMSG;
		keep_reason(nl, m);
		return error->error > 0 ? -EBADMSG : error->error;
	case NLMSG_DONE:
		return result && *result < 0 ? *result : 0;
	case NLMSG_NOOP:
		return NETLINK_MORE;
	case NLMSG_OVERRUN:
		return -ENOBUFS;
	}
	int r = handler ? handler(m, arg) : 0;
	return r < 0 ? r : NETLINK_MORE;
}

/* The message at the beginning, or NULL. (NLMSG_OK() counts in int, which a length above 2^31 is not.) */
static const struct nlmsghdr *message_at(const void *data, size_t size)
{
	const struct nlmsghdr *m = data;

	return size >= sizeof *m && m->nlmsg_len >= sizeof *m && m->nlmsg_len <= size ? m : NULL;
}

int netlink_take(struct netlink *nl, const void *data, size_t size, netlink_handler handler, void *arg)
{
	const struct nlmsghdr *m;

	for (size_t at = 0; at < size && (m = message_at((const char *)data + at, size - at)); at += NLMSG_ALIGN((size_t)m->nlmsg_len)) {
		if (m->nlmsg_seq != nl->seq)
			continue;
		nl->interrupted |= (m->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
		int r = take(nl, m, handler, arg);
		if (r != NETLINK_MORE)
			return r == 0 && nl->interrupted ? -EINTR : r;
	}
	return NETLINK_MORE;
}

static int receive(struct netlink *nl, netlink_handler handler, void *arg)
{
	int r = NETLINK_MORE;

	nl->interrupted = false;
	while (r == NETLINK_MORE) {
		struct sockaddr_nl from = kernel;
		ssize_t n = recvfrom(nl->socket, nl->in, IN_SIZE, MSG_TRUNC, (struct sockaddr *)&from, &(socklen_t){ sizeof from });
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > IN_SIZE)
			return -ENOSPC;
		if (n >= 0 && from.nl_pid == 0)
			r = netlink_take(nl, nl->in, (size_t)n, handler, arg);
	}
	return r;
}

int netlink_request(struct netlink *nl, netlink_handler handler, void *arg)
{
	int r = transmit(nl, NLM_F_ACK);
	return r < 0 ? r : receive(nl, handler, arg);
}

int netlink_dump(struct netlink *nl, netlink_handler handler, void *arg)
{
	int r = transmit(nl, NLM_F_DUMP);
	return r < 0 ? r : receive(nl, handler, arg);
}

int netlink_exchange(struct netlink *nl, void *messages, size_t size)
{
	int room = (int)size + 4096;

	nl->reason[0] = 0;
	nl->seq++;
	for (size_t at = 0; at < size;) {
		struct nlmsghdr *m = (void *)((char *)messages + at);
		m->nlmsg_seq = nl->seq;
		at += NLMSG_ALIGN(m->nlmsg_len);
	}
	if (size > 65536)   /* a refusal shows when it is sent */
		setsockopt(nl->socket, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
	int r = transmit_all(nl, messages, size);
	return r < 0 ? r : receive(nl, NULL, NULL);
}

/* -- reading attributes ------------------------------------------------------------------------------------------------------ */

static int fill(const char *data, size_t size, const struct nlattr **table, size_t n)
{
	memset(table, 0, n * sizeof *table);
	while (size >= sizeof(struct nlattr)) {
		const struct nlattr *a = (const void *)data;
		if (a->nla_len < sizeof *a || a->nla_len > size)
			return -EBADMSG;
		uint16_t type = a->nla_type & NLA_TYPE_MASK;
		if (type < n)
			table[type] = a;
		size_t step = NLMSG_ALIGN(a->nla_len);
		data += step < size ? step : size;
		size -= step < size ? step : size;
	}
	return 0;
}

int netlink_attributes(const struct nlmsghdr *m, size_t header, const struct nlattr **table, size_t n)
{
	size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(header);

	if (m->nlmsg_len < skip) {
		memset(table, 0, n * sizeof *table);
		return m->nlmsg_len >= NLMSG_HDRLEN + header ? 0 : -EBADMSG;
	}
	return fill((const char *)m + skip, m->nlmsg_len - skip, table, n);
}

int netlink_nested(const struct nlattr *nest, const struct nlattr **table, size_t n)
{
	size_t size;
	const void *data = netlink_data(nest, &size);

	return fill(data, data ? size : 0, table, n);
}

const void *netlink_header(const struct nlmsghdr *m, size_t size)
{
	return m->nlmsg_len >= NLMSG_HDRLEN + size ? payload(m) : NULL;
}

const void *netlink_data(const struct nlattr *a, size_t *size)
{
	*size = a ? a->nla_len - NLA_HDRLEN : 0;
	return a ? (const char *)a + NLA_HDRLEN : NULL;
}

bool netlink_get(const struct nlattr *a, void *value, size_t size)
{
	size_t got;
	const void *data = netlink_data(a, &got);

	if (!data || got != size)
		return false;
	memcpy(value, data, size);
	return true;
}

bool netlink_get_u32(const struct nlattr *a, uint32_t *value)
{
	return netlink_get(a, value, sizeof *value);
}

const char *netlink_get_string(const struct nlattr *a)
{
	size_t size;
	const char *text = netlink_data(a, &size);

	return text && memchr(text, 0, size) ? text : NULL;
}
