/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multicast groups on the loopback device: one of IPv4, one with a list of sources, one of IPv6; after a restore they are had once, and
 * datagrams arrive.
 */
#include "cr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage s = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&s;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s;

	if (strchr(text, ':')) {
		v6->sin6_family = AF_INET6;
		need(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1);
	} else {
		v4->sin_family = AF_INET;
		need(inet_pton(AF_INET, text, &v4->sin_addr) == 1);
	}
	return s;
}

static int join(int fd, const char *group, const char *source)
{
	struct group_source_req s = { .gsr_interface = 1, .gsr_group = address(group) };
	struct group_req g = { .gr_interface = 1, .gr_group = address(group) };
	int level = g.gr_group.ss_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;

	if (!source)
		return setsockopt(fd, level, MCAST_JOIN_GROUP, &g, sizeof(g));
	s.gsr_source = address(source);
	return setsockopt(fd, level, MCAST_JOIN_SOURCE_GROUP, &s, sizeof(s));
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t size = sizeof(a);
	char text[16] = "";
	struct ip_mreqn out = { .imr_ifindex = 1 };

	cr_begin(argc, argv);
	int v4 = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), v6 = socket(AF_INET6, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
	need(v4 >= 0 && sender >= 0 && bind(v4, (struct sockaddr *)&a, sizeof(a)) == 0 && getsockname(v4, (struct sockaddr *)&a, &size) == 0);
	if (join(v4, "239.1.2.3", NULL) < 0)
		cr_skip(": a multicast group: %s", strerror(errno));
	need(join(v4, "232.1.2.3", "127.0.0.1") == 0);
	bool has_v6 = v6 >= 0 && join(v6, "ff02::4711", NULL) == 0;
	cr_wait();

	expect(join(v4, "239.1.2.3", NULL) < 0 && errno == EADDRINUSE, "it is not in the group: %s", strerror(errno));
	expect(join(v4, "232.1.2.3", "127.0.0.1") < 0 && errno == EADDRNOTAVAIL, "the source is not in the group's list: %s", strerror(errno));
	expect(join(v4, "232.1.2.3", "127.0.0.2") == 0, "no other source can be added: %s", strerror(errno));
	expect(!has_v6 || (join(v6, "ff02::4711", NULL) < 0 && errno == EADDRINUSE), "it is not in the group of IPv6: %s", strerror(errno));
	inet_pton(AF_INET, "239.1.2.3", &a.sin_addr);
	need(setsockopt(sender, IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof(out)) == 0);
	expect(sendto(sender, "hello", 5, 0, (struct sockaddr *)&a, sizeof(a)) == 5, "send: %s", strerror(errno));
	poll(&(struct pollfd){ v4, POLLIN, 0 }, 1, 20000);
	expect(recv(v4, text, sizeof(text), 0) == 5 && !memcmp(text, "hello", 5), "nothing arrives: %s", strerror(errno));
	return cr_end();
}
