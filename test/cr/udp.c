/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP sockets: bound, bound and connected, connected without a port of its own choice, IPv6; an option. Empty
 * queues: what is in flight of UDP may be lost, on any network.
 */
#include "cr.h"

#include <netinet/in.h>
#include <sys/socket.h>

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static union address name(int fd, bool peer)
{
	union address a = { 0 };
	socklen_t size = sizeof(a);

	if ((peer ? getpeername : getsockname)(fd, &a.any, &size) < 0)
		a.any.sa_family = AF_UNSPEC;
	return a;
}

static int open_socket(int family)
{
	union address a = { .any.sa_family = family };
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	if (family == AF_INET)
		a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a.v6.sin6_addr = in6addr_loopback;
	if (fd < 0 || bind(fd, &a.any, sizeof(a)) < 0)
		return -1;
	return fd;
}

static void expect_arrives(const char *what, int from, int to)
{
	union address a = name(to, false);
	char text[16] = "";

	expect(sendto(from, "hello", 5, 0, &a.any, sizeof(a)) == 5, "%s: send: %s", what, strerror(errno));
	for (int i = 0; i < 20000 && recv(to, text, sizeof(text), MSG_PEEK) < 0; i++)
		cr_sleep_ms(1);
	expect(recv(to, text, sizeof(text), 0) == 5 && !strcmp(text, "hello"), "%s: '%s' arrives", what, text);
}

int main(int argc, char **argv)
{
	int on = 1, value = 0;
	socklen_t size = sizeof(value);

	cr_begin(argc, argv);
	int a = open_socket(AF_INET), b = open_socket(AF_INET), v6 = open_socket(AF_INET6), fresh = socket(AF_INET, SOCK_DGRAM, 0);
	int c = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	need(a >= 0 && b >= 0 && c >= 0 && fresh >= 0);
	union address of_a = name(a, false), of_b = name(b, false);
	need(connect(b, &of_a.any, sizeof(of_a)) == 0 && connect(c, &of_a.any, sizeof(of_a)) == 0);
	union address of_c = name(c, false);
	need(setsockopt(a, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) == 0);
	cr_wait();

	union address now = name(a, false);
	expect(!memcmp(&now, &of_a, sizeof(now)), "bound: another address, port %d", ntohs(now.v4.sin_port));
	now = name(b, false);
	expect(!memcmp(&now, &of_b, sizeof(now)), "bound and connected: another address, port %d", ntohs(now.v4.sin_port));
	now = name(b, true);
	expect(!memcmp(&now, &of_a, sizeof(now)), "bound and connected: another peer, port %d", ntohs(now.v4.sin_port));
	now = name(c, false);
	expect(!memcmp(&now, &of_c, sizeof(now)), "connected: another address, port %d", ntohs(now.v4.sin_port));
	expect(getsockopt(a, SOL_SOCKET, SO_BROADCAST, &value, &size) == 0 && value == 1, "SO_BROADCAST is lost");
	expect(fcntl(a, F_GETFL) & O_NONBLOCK && fcntl(c, F_GETFD) == FD_CLOEXEC, "flags");
	expect(send(b, "from b", 6, 0) == 6 && send(c, "from c", 6, 0) == 6, "connected: send: %s", strerror(errno));
	for (int i = 0; i < 2; i++) {
		char text[16] = "";
		for (int k = 0; k < 20000 && recv(a, text, sizeof(text), MSG_PEEK) < 0; k++)
			cr_sleep_ms(1);
		expect(recv(a, text, sizeof(text), 0) == 6, "a datagram of a connected socket does not arrive");
	}
	expect_arrives("only created", fresh, a);
	if (v6 >= 0)
		expect_arrives("IPv6", v6, v6);
	return cr_end();
}
