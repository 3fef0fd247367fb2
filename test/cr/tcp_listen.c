/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening TCP sockets: IPv4 and IPv6 on the loopback with ports of the kernel's choice, their backlog and options; two
 * that share a port (SO_REUSEPORT); one bound and not listening; one only created. Clients get through afterwards.
 */
#include "cr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static union address loopback(int family, int port)
{
	union address a = { 0 };

	a.any.sa_family = family;
	a.v4.sin_port = htons(port);
	if (family == AF_INET)
		a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a.v6.sin6_addr = in6addr_loopback;
	return a;
}

static int port_of(int fd)
{
	union address a = { 0 };
	socklen_t size = sizeof(a);

	return getsockname(fd, &a.any, &size) < 0 ? -1 : ntohs(a.v4.sin_port);
}

static int serve(int family, int port, int backlog, bool reuse_port)
{
	union address a = loopback(family, port);
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0)
		return -1;
	need(setsockopt(fd, SOL_SOCKET, reuse_port ? SO_REUSEPORT : SO_REUSEADDR, &on, sizeof(on)) == 0);
	if (bind(fd, &a.any, sizeof(a)) < 0)
		return close(fd), -1;
	need(backlog < 0 || listen(fd, backlog) == 0);
	return fd;
}

static void expect_serves(const char *what, int server, int family)
{
	union address a = loopback(family, port_of(server));
	int client = socket(family, SOCK_STREAM, 0);
	char text[8] = "";

	expect(connect(client, &a.any, sizeof(a)) == 0, "%s: connect to port %d: %s", what, ntohs(a.v4.sin_port), strerror(errno));
	poll(&(struct pollfd){ server, POLLIN, 0 }, 1, 20000);   /* it knows a moment after the client */
	int conn = accept4(server, NULL, NULL, 0);
	expect(conn >= 0 && write(client, "hello", 5) == 5 && read(conn, text, 8) == 5, "%s: no way through: %s", what,
	       strerror(errno));
	close(client);
	close(conn);
}

static const struct {
	int level, name, value;
} options[] = {
	{ SOL_SOCKET, SO_KEEPALIVE, 1 },    { SOL_SOCKET, SO_RCVBUF, 40000 },  { SOL_SOCKET, SO_OOBINLINE, 1 },
	{ SOL_SOCKET, SO_PRIORITY, 3 },	    { SOL_SOCKET, SO_RCVLOWAT, 2 },    { SOL_TCP, TCP_NODELAY, 1 },
	{ SOL_TCP, TCP_KEEPIDLE, 77 },	    { SOL_TCP, TCP_KEEPINTVL, 33 },    { SOL_TCP, TCP_KEEPCNT, 4 },
	{ SOL_IP, IP_FREEBIND, 1 },	    { SOL_IP, IP_TTL, 55 },	       { SOL_IP, IP_TOS, 16 },
};
#define OPTIONS (int)(sizeof(options) / sizeof(options[0]))

static int get(int fd, int i)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, options[i].level, options[i].name, &value, &size) < 0 ? -1 : value;
}

int main(int argc, char **argv)
{
	int was[OPTIONS], v6only = 1, v6only_now = -1;
	socklen_t size = sizeof(v6only);

	cr_begin(argc, argv);
	int v4 = serve(AF_INET, 0, 11, false), v6 = serve(AF_INET6, 0, 13, false), with = serve(AF_INET, 0, 5, false);
	int one = serve(AF_INET, 0, 5, true), two = serve(AF_INET, port_of(one), 5, true);
	int bound = serve(AF_INET, 0, -1, false), plain = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(v4 >= 0 && with >= 0 && one >= 0 && two >= 0 && bound >= 0 && plain >= 0);
	for (int i = 0; i < OPTIONS; i++)
		setsockopt(with, options[i].level, options[i].name, &options[i].value, sizeof(int));
	for (int i = 0; i < OPTIONS; i++)
		was[i] = get(with, i);
	if (v6 >= 0)
		need(getsockopt(v6, SOL_IPV6, IPV6_V6ONLY, &v6only, &size) == 0);
	int ports[] = { port_of(v4), v6 < 0 ? 0 : port_of(v6), port_of(one), port_of(bound) };
	cr_wait();

	expect(port_of(v4) == ports[0] && (v6 < 0 || port_of(v6) == ports[1]) && port_of(one) == ports[2] && port_of(two) == ports[2] &&
		       port_of(bound) == ports[3], "other ports");
	expect_serves("IPv4", v4, AF_INET);
	if (v6 >= 0)
		expect_serves("IPv6", v6, AF_INET6);
	expect(v6 < 0 || (getsockopt(v6, SOL_IPV6, IPV6_V6ONLY, &v6only_now, &size) == 0 && v6only == v6only_now), "IPV6_V6ONLY is %d", v6only_now);
	for (int i = 0; i < OPTIONS; i++)
		expect(get(with, i) == was[i], "option %d of level %d: %d instead of %d", options[i].name, options[i].level, get(with, i), was[i]);
	expect(fcntl(v4, F_GETFL) & O_NONBLOCK && fcntl(plain, F_GETFD) == FD_CLOEXEC, "flags");
	expect(listen(bound, 3) == 0, "bound: listen: %s", strerror(errno));
	expect_serves("bound, listening now", bound, AF_INET);
	union address a = loopback(AF_INET, port_of(v4));
	expect(connect(plain, &a.any, sizeof(a)) == 0, "only created: connect: %s", strerror(errno));
	int again = serve(AF_INET, ports[0], 1, false);
	expect(again < 0, "a port that is in use can be bound again");
	return cr_end();
}
