/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of the network lock, by their names; removing what any of them has made. */
#include "netlock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "netlock_private.h"

/* FNV-1a. */
uint64_t netlock_hash(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
	return hash;
}

int netlock_find(const char *name, const struct ck_lock_method **method)
{
	static const struct {
		const char *name;
		const struct ck_lock_method *method;
	} methods[] = { { "nftables", &netlock_nftables }, { "iptables", &netlock_iptables }, { "skip", NULL }, { "none", NULL } };

	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		if (!name || !strcmp(name, methods[i].name)) {
			*method = methods[i].method;
			return 0;
		}
	return fail_text(EINVAL, "network lock %s: nftables, iptables, skip and none are known", name);
}

int netlock_clean(int netns)
{
	int r = netlock_clean_nft(netns);
	int s = r < 0 ? r : netlock_clean_iptables(netns);

	return s < 0 ? s : r + s;
}

static int parse_end(const char *text, size_t size, uint8_t address[16], uint16_t *port, bool *v6)
{
	char copy[INET6_ADDRSTRLEN + 16];
	uint64_t number;

	if (size >= sizeof copy)
		return -EINVAL;
	memcpy(copy, text, size);
	copy[size] = 0;
	char *colon = strrchr(copy, ':'), *host = copy;
	if (!colon || parse_u64(colon + 1, 10, &number) < 0 || number > 65535)
		return -EINVAL;
	*colon = 0;
	*port = (uint16_t)number;
	*v6 = *host == '[' && colon > host + 1 && colon[-1] == ']';
	if (*v6) {
		colon[-1] = 0;
		host++;
	}
	memset(address, 0, 16);
	return inet_pton(*v6 ? AF_INET6 : AF_INET, host, address) == 1 ? 0 : -EINVAL;
}

int netlock_parse_flow(const char *text, struct ck_flow *flow)
{
	const char *comma = strchr(text, ',');
	bool v6 = false;

	if (!comma || parse_end(text, (size_t)(comma - text), flow->local, &flow->local_port, &flow->v6) < 0 ||
	    parse_end(comma + 1, strlen(comma + 1), flow->remote, &flow->remote_port, &v6) < 0 || v6 != flow->v6)
		return fail_text(EINVAL, "%s: expected LOCAL-ADDRESS:PORT,REMOTE-ADDRESS:PORT of one TCP connection, IPv6 addresses in brackets", text);
	return 0;
}
